//! Personal fields of documents: open to whoever may see them, sealed in all that is stored, and
//! gone with the person.

use std::sync::Arc;

use domain::PartitionId;
use readmodel::{Scan, SpaceId, Store as _, documents as tables, memory::Store};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{ADMIN, Rig, engine_over, options, people};
use crate::server::share;

/// The project `p` with the collection `patients`, over tables that can be looked into.
async fn rig() -> (Rig, Arc<Store>) {
    let store = Arc::new(Store::default());
    let keys = Arc::new(vault::memory::Keys::new());
    let (engine, log, registry) = engine_over(Arc::clone(&store), keys);
    let (_, stopping) = watch::channel(false);
    let shared = share(engine, registry, options(), people(), stopping).unwrap();
    let rig = Rig { shared, log, token: ADMIN.to_owned() };
    let settings = json!({
        "subject": "person",
        "fields": {"name": {"personal": true}, "address.street": {"personal": true},
            "visits.note": {"personal": true}},
    });
    rig.table(&[
        ("POST", "/v1/projects", r#"{"id":"p","name":"P"}"#, 201, ""),
        ("POST", "users", r#"{"id":"ann"}"#, 201, ""),
        ("POST", "users", r#"{"id":"bob"}"#, 201, ""),
        ("PUT", "collections/patients", &settings.to_string(), 201, ""),
    ])
    .await;
    (rig, store)
}

/// Every row of the documents.
async fn rows(store: &Store) -> String {
    let consumer = consumers::DOCUMENTS.name;
    let generation = store.active(consumer, PartitionId(0)).await.unwrap().unwrap();
    let id = SpaceId { consumer, partition: PartitionId(0), generation };
    let space = store.open(&id).await.unwrap();
    let scan = Scan { limit: 1000, ..Scan::default() };
    format!("{:?}", space.scan(&tables::DOCUMENTS, scan).await.unwrap())
}

async fn data(rig: &Rig, path: &str) -> Value {
    let got = rig.ask("GET", path, &[], "").await;
    assert_eq!(got.status, 200, "{}", got.text);
    got.json()["data"].clone()
}

const ONE: &str = "collections/patients/documents/a";
const ALL: &str = "collections/patients/documents";

#[actix_web::test]
async fn they_are_sealed_wherever_they_are_stored() {
    let (rig, store) = rig().await;
    let first = json!({
        "person": "ann", "name": "Unforgettable 1.00", "ward": 7,
        "address": {"street": {"Unforgettable road": 1}, "city": "Bern"},
        "visits": [{"note": "Unforgettable", "day": 1}, {"day": 2}, {"note": null, "day": 3}],
    });
    let made = rig.ask("PUT", ONE, &[], &first.to_string()).await;
    assert_eq!((made.status, &made.json()["data"]), (201, &first));
    let patch = r#"{"address":{"street":{"Unforgettable lane":2}},"ward":8}"#;
    let patched = rig.ask("PATCH", ONE, &[], patch).await;
    let second = patched.json()["data"].clone();
    let street = json!({"Unforgettable road": 1, "Unforgettable lane": 2});
    assert_eq!((&second["address"]["street"], &second["ward"]), (&street, &json!(8)));
    assert_eq!(data(&rig, ONE).await, second);
    let listed = rig.ask("GET", ALL, &[], "").await.json();
    assert_eq!(listed["documents"][0]["data"], second);

    // What changed is told, but not below what is sealed; and not what only was sealed anew.
    let events = rig.ask("GET", "events?types=document.updated", &[], "").await.json();
    assert_eq!(events["events"][0]["data"]["changed"], json!(["/ward", "/address/street"]));
    let history = rig.ask("GET", &format!("{ONE}/history"), &[], "").await.json();
    assert_eq!(history["versions"][0]["data"], second);
    assert_eq!(history["versions"][1]["data"], first);
    let position = made.json()["position"].as_str().unwrap().to_owned();
    assert_eq!(data(&rig, &format!("{ONE}?asOf={position}")).await, first);
    let as_of = rig.ask("GET", &format!("{ALL}?asOf={position}"), &[], "").await.json();
    assert_eq!(as_of["documents"][0]["data"], first);
    let restored = rig.ask("POST", &format!("{ONE}/restore"), &[], r#"{"version":1}"#).await;
    assert_eq!(restored.json()["data"], first, "{}", restored.text);

    let fresh = r#"{"person":"bob","name":"Unforgettable Bob"}"#;
    rig.table(&[("POST", ALL, fresh, 201, "")]).await;
    let writes = json!({"writes": [
        {"op": "patch", "collection": "patients", "id": "a", "data": {"name": "Unforgettable II"}},
        {"op": "patch", "collection": "patients", "id": "a", "data": {"name": "Unforgettable III"}},
        {"op": "create", "collection": "patients", "id": "b",
            "data": {"person": "bob", "name": "Unforgettable Bob"}},
        {"op": "delete", "collection": "patients", "id": "b"},
    ]});
    let committed = rig.ask("POST", "commit", &[], &writes.to_string()).await;
    assert_eq!(committed.status, 200, "{}", committed.text);
    assert_eq!(data(&rig, ONE).await["name"], "Unforgettable III");

    let (log, rows) = (rig.log_text().await, rows(&store).await);
    // What is there in plain text shows that both were read.
    assert!(log.contains("Bern") && rows.contains("Bern"), "{rows}");
    assert!(!log.contains("Unforgettable"), "{log}");
    assert!(!rows.contains("Unforgettable"), "{rows}");
}

#[actix_web::test]
async fn they_go_with_the_person() {
    let (rig, _) = rig().await;
    let other = "collections/patients/documents/b";
    rig.table(&[
        ("PUT", ONE, r#"{"person":"ann","name":"Ann","ward":1}"#, 201, ""),
        ("PUT", ONE, r#"{"person":"ann","name":"Anna","ward":1}"#, 200, ""),
        ("PUT", other, r#"{"person":"bob","name":"Bob"}"#, 201, ""),
    ])
    .await;
    let export = rig.ask("GET", "users/ann/export", &[], "").await.json();
    let documents = export["documents"].as_array().unwrap();
    let names: Vec<&Value> = documents.iter().map(|one| &one["data"]["name"]).collect();
    assert_eq!(names, ["Ann", "Anna"]);
    assert_eq!((&documents[1]["id"], &documents[1]["version"]), (&json!("a"), &json!(2)));
    rig.table(&[("DELETE", "users/ann", "", 204, "")]).await;
    let left = json!({"person": "ann", "name": null, "ward": 1});
    assert_eq!(data(&rig, ONE).await, left);
    assert_eq!(data(&rig, other).await["name"], "Bob");
    let history = rig.ask("GET", &format!("{ONE}/history"), &[], "").await.json();
    for version in history["versions"].as_array().unwrap() {
        assert_eq!(version["data"], left);
    }
    let (patch, erased) = (r#"{"name":"Again"}"#, "subject-erased");
    rig.table(&[
        ("PATCH", ONE, r#"{"ward":2}"#, 200, ""),
        ("PATCH", ONE, patch, 422, erased),
        ("POST", ALL, r#"{"person":"ann","name":"Again"}"#, 422, erased),
        // Another's from now on: nothing of before is in the way.
        ("PATCH", ONE, r#"{"person":"bob","name":"Bob"}"#, 200, ""),
        ("DELETE", ONE, "", 204, ""),
    ])
    .await;
}

#[actix_web::test]
async fn rules_see_them_as_they_were_written() {
    let (rig, _) = rig().await;
    let settings = json!({
        "subject": "$id",
        "rules": {
            "read": "resource.name == 'Ann'",
            "list": "get('patients', 'ann').name == 'Ann'",
            "create": "request.resource.name.startsWith('A')",
            "update": "resource.name == 'Ann' && request.resource.name == resource.name",
        },
        "fields": {"name": {"personal": true}},
    });
    let (ann, bob) = ("collections/patients/documents/ann", "collections/patients/documents/bob");
    rig.table(&[
        ("PUT", "collections/patients", &settings.to_string(), 200, ""),
        ("PUT", bob, r#"{"name":"Bob"}"#, 201, ""),
    ])
    .await;
    let anybody = rig.key("publishable").await;
    let asked = async |method, path: &str, body: &str| {
        rig.ask_as(&anybody, method, path, &[], body).await.status
    };
    assert_eq!(asked("PUT", "collections/patients/documents/c", r#"{"name":"C"}"#).await, 403);
    assert_eq!(asked("GET", ALL, "").await, 200);
    assert_eq!(asked("PUT", ann, r#"{"name":"Ann"}"#).await, 201);
    assert_eq!(asked("PATCH", ann, r#"{"ward":1}"#).await, 200);
    assert_eq!(asked("PATCH", ann, r#"{"name":"Anne"}"#).await, 403);
    assert_eq!((asked("GET", ann, "").await, asked("GET", bob, "").await), (200, 403));
    let listed = rig.ask_as(&anybody, "GET", ALL, &[], "").await.json();
    assert_eq!(listed["documents"].as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn a_person_must_be_named_for_them() {
    let (rig, _) = rig().await;
    let large = json!({"person": "ann", "name": "x".repeat(70_000)}).to_string();
    rig.table(&[
        ("PUT", ONE, r#"{"name":"Ann"}"#, 422, "subject-missing"),
        ("PUT", ONE, r#"{"person":7,"name":"Ann"}"#, 422, "subject-missing"),
        ("PUT", ONE, r#"{"person":"no id","name":"Ann"}"#, 422, "subject-missing"),
        ("PUT", ONE, r#"{"name":null,"ward":1}"#, 201, ""),
        ("PUT", ONE, r#"{"person":"ann","name":"Ann"}"#, 200, ""),
        ("PATCH", ONE, r#"{"person":null}"#, 422, "subject-missing"),
        ("PUT", ONE, &large, 413, "document-too-large"),
    ])
    .await;
    let refused = rig.ask("PUT", ONE, &[], r#"{"address":{"street":1}}"#).await;
    assert_eq!(refused.json()["field"], "/address/street");
    let writes = json!({"writes": [
        {"op": "create", "collection": "other", "id": "a", "data": {"name": "Ann"}},
        {"op": "create", "collection": "patients", "id": "n", "data": {"name": "Ann"}},
    ]});
    let refused = rig.ask("POST", "commit", &[], &writes.to_string()).await;
    assert_eq!((refused.status, &refused.json()["field"]), (422, &json!("/writes/1/data/name")));
    rig.table(&[("GET", "collections/other/documents/a", "", 404, "document-not-found")]).await;
}

#[actix_web::test]
async fn a_collection_says_what_is_personal() {
    let (rig, _) = rig().await;
    let own = async |settings: Value| {
        let put = rig.ask("PUT", "collections/c", &[], &settings.to_string()).await;
        (put.status, put.json()["field"].as_str().unwrap_or_default().to_owned())
    };
    let personal = json!({"a.b": {"personal": true}});
    let refused = |field: &str| (400, field.to_owned());
    assert_eq!(own(json!({"fields": personal})).await, refused("/subject"));
    assert_eq!(own(json!({"fields": personal, "subject": "a.b"})).await, refused("/subject"));
    assert_eq!(own(json!({"fields": personal, "subject": "/a/b/c"})).await, refused("/subject"));
    assert_eq!(own(json!({"fields": personal, "subject": "a..b"})).await, refused("/subject"));
    let index = json!([{"fields": [{"field": "x"}, {"field": "a.b.c"}]}]);
    let settings = json!({"fields": personal, "subject": "$id", "indexes": index});
    assert_eq!(own(settings).await, refused("/indexes/0/fields/1/field"));
    let settings = json!({"fields": personal, "subject": "a.c"});
    assert_eq!(own(settings.clone()).await.0, 201);
    let shown = rig.ask("GET", "collections/c", &[], "").await.json();
    assert_eq!((&shown["fields"], &shown["subject"]), (&personal, &json!("a.c")));
}

#[actix_web::test]
async fn what_was_sealed_opens_for_good_and_nothing_else_does() {
    let (rig, _) = rig().await;
    let literal = r#"{"person":"ann","name":"hw.sealed.1:ann:AAAA"}"#;
    rig.table(&[
        ("PUT", "collections/patients/documents/l", literal, 201, ""),
        ("PUT", ONE, r#"{"person":"ann","name":"Ann"}"#, 201, ""),
        ("PUT", "collections/patients", "{}", 200, ""),
        ("PUT", "collections/patients/documents/m", literal, 201, ""),
        ("PATCH", ONE, r#"{"ward":1}"#, 200, ""),
    ])
    .await;
    for id in ["l", "m"] {
        let found = data(&rig, &format!("collections/patients/documents/{id}")).await;
        assert_eq!(found["name"], "hw.sealed.1:ann:AAAA");
    }
    assert_eq!(data(&rig, ONE).await["name"], "Ann");
    let history = rig.ask("GET", &format!("{ONE}/history"), &[], "").await.json();
    assert_eq!(history["versions"][1]["data"]["name"], "Ann");
    // Moved elsewhere, sealed text is only text.
    let events = rig.ask("GET", "events?types=document.created", &[], "").await.json();
    let events = events["events"].as_array().unwrap();
    let sealed = events.iter().find(|event| event["subject"] == "document/patients/a").unwrap();
    let sealed = &sealed["data"]["data"]["name"];
    assert!(sealed.as_str().unwrap().starts_with("hw.sealed.1:ann:"), "{sealed}");
    let moved = json!({"person": "ann", "name": sealed}).to_string();
    rig.table(&[("PUT", "collections/patients/documents/m", &moved, 200, "")]).await;
    assert_eq!(data(&rig, "collections/patients/documents/m").await["name"], *sealed);
}

#[actix_web::test]
async fn what_looks_sealed_harms_nothing() {
    let (rig, _) = rig().await;
    let plain = json!({"fields": {}}).to_string();
    let city = json!({"subject": "person", "fields": {"a.b": {"personal": true}}}).to_string();
    let whole = json!({"subject": "person", "fields": {"a": {"personal": true}}}).to_string();
    let sealed =
        |person: &str| json!({"person": "bob", "a": {"b": format!("hw.sealed.1:{person}:AQ")}});
    rig.table(&[
        ("PUT", "collections/patients", &plain, 200, ""),
        ("PUT", ONE, &sealed("").to_string(), 201, ""),
        ("PUT", "collections/patients/documents/x", &sealed("nobody").to_string(), 201, ""),
        ("PUT", "collections/patients", &city, 200, ""),
        ("PUT", "collections/patients/documents/y", r#"{"person":"ann","a":{"b":"c"}}"#, 201, ""),
        ("PATCH", "collections/patients/documents/y", r#"{"a":{"b":"d"}}"#, 200, ""),
        ("PUT", "collections/patients", &whole, 200, ""),
        ("PATCH", "collections/patients/documents/x", r#"{"a":{"b":1}}"#, 200, ""),
        ("DELETE", "users/ann", "", 204, ""),
    ])
    .await;
    // Fields within each other that were both personal, and a person without a key.
    for id in ["a", "x", "y"] {
        let path = format!("collections/patients/documents/{id}");
        assert_eq!(rig.ask("GET", &path, &[], "").await.status, 200);
        assert_eq!(rig.ask("GET", &format!("{path}/history"), &[], "").await.status, 200);
        rig.table(&[("DELETE", &path, "", 204, "")]).await;
    }
}

#[actix_web::test]
async fn a_document_has_so_many_of_them() {
    let (rig, _) = rig().await;
    let visits = |count: usize| {
        let visits: Vec<Value> = (0..count).map(|n| json!({ "note": n })).collect();
        json!({"person": "ann", "visits": visits}).to_string()
    };
    rig.table(&[
        ("PUT", ONE, &visits(1_000), 201, ""),
        ("PUT", ONE, &visits(1_001), 413, "document-too-large"),
        // What was there before it was personal is in nobody's way.
        ("PUT", "collections/patients", "{}", 200, ""),
        ("PUT", ONE, &visits(2_000), 200, ""),
    ])
    .await;
    let personal = json!({"subject": "person", "fields": {"visits.note": {"personal": true}}});
    rig.table(&[
        ("PUT", "collections/patients", &personal.to_string(), 200, ""),
        ("PUT", ONE, &visits(3), 200, ""),
        ("DELETE", ONE, "", 204, ""),
    ])
    .await;
}

#[actix_web::test]
async fn a_commit_over_several_collections_seals_in_its_own_only() {
    let (rig, _) = rig().await;
    let personal = json!({"subject": "person", "fields": {"name": {"personal": true}}});
    rig.table(&[
        ("PUT", "collections/earlier", &personal.to_string(), 201, ""),
        ("PUT", "collections/earlier", "{}", 200, ""),
        ("PUT", "collections/earlier/documents/e", r#"{"n":1,"m":2}"#, 201, ""),
        ("PUT", ONE, r#"{"person":"ann","name":"Ann"}"#, 201, ""),
    ])
    .await;
    let writes = json!({"writes": [
        {"op": "patch", "collection": "patients", "id": "a", "data": {"name": "Anna"}},
        {"op": "patch", "collection": "earlier", "id": "e", "data": {"n": 3}},
    ]});
    rig.table(&[("POST", "commit", &writes.to_string(), 200, "")]).await;
    let events = rig.ask("GET", "events?types=document.updated", &[], "").await.json();
    let last = events["events"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["data"]["changed"], &last["data"]["before"]),
        (&json!(["/n"]), &json!({"/n": 1}))
    );
    // Whoever had it before is not shown what it says of whoever has it now.
    rig.table(&[("PATCH", ONE, r#"{"person":"bob","name":"Bob"}"#, 200, "")]).await;
    let export = rig.ask("GET", "users/ann/export", &[], "").await.text;
    assert!(export.contains("Anna") && !export.contains("Bob"), "{export}");
}
