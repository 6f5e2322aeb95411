//! Schemas of collections: held to by every way to write, whoever writes; tried before they are
//! taken; and the defaults that they fill in.

use domain::access::Access;
use domain::command::{Body, Command, Context};
use domain::documents::{ExpectedVersion, Op, Write};
use domain::projects::{CollectionConfig, ProjectCommand};
use domain::{Actor, CollectionName, DocumentId, ProjectId};
use futures_util::future::join3;
use serde_json::{Value, json};

use super::{Reply, Rig};

const ONE: &str = "collections/c/documents/a";
const ALL: &str = "collections/c/documents";

fn settings() -> Value {
    json!({"schema": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 2},
            "n": {"type": "integer", "maximum": 10},
            "status": {"enum": ["open", "done"], "default": "open"},
            "address": {"type": "object", "properties": {"country": {"default": "CH"}}},
        },
        "additionalProperties": false,
    }})
}

async fn rig() -> Rig {
    let rig = Rig::new().await;
    configure(&rig, "c", &settings()).await;
    rig
}

async fn configure(rig: &Rig, collection: &str, settings: &Value) {
    let path = format!("collections/{collection}");
    let put = rig.ask("PUT", &path, &[], &settings.to_string()).await;
    assert!(put.status < 300, "{}", put.text);
}

fn mismatch(reply: &Reply) -> String {
    assert_eq!((reply.status, reply.code()), (400, "schema-mismatch".to_owned()), "{}", reply.text);
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("expected "), "{detail}");
    reply.json()["field"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_schema_is_checked_shown_and_taken_back() {
    let rig = rig().await;
    let shown = rig.ask("GET", "collections/c", &[], "").await.json();
    assert_eq!(shown["schema"], settings()["schema"]);
    for (schema, field) in [
        (json!({"type": "strin"}), "/schema/type"),
        (json!({"properties": {"a": {"requird": []}}}), "/schema/properties/a/requird"),
        (json!({"$ref": "https://example.com/schema"}), "/schema/$ref"),
        (json!({"properties": {"a": {"pattern": "(a)\\1"}}}), "/schema/properties/a/pattern"),
        (json!({"$ref": "#"}), "/schema"),
        (json!({"description": "x".repeat(70_000)}), "/schema"),
        (json!([]), "/schema"),
    ] {
        let body = json!({"schema": schema}).to_string();
        let refused = rig.ask("PUT", "collections/c", &[], &body).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid-body"), "{body:.80}");
        assert_eq!(refused.json()["field"], field, "{}", refused.text);
    }
    assert_eq!(mismatch(&rig.ask("PUT", ONE, &[], "{}").await), "/data/name");
    configure(&rig, "c", &json!({})).await;
    assert_eq!(rig.ask("PUT", ONE, &[], "{}").await.status, 201);
    configure(&rig, "c", &settings()).await;
    assert_eq!(rig.ask("DELETE", "collections/c", &[], "").await.status, 204);
    assert_eq!(rig.ask("PUT", ONE, &[], r#"{"x":1}"#).await.status, 200);
}

#[actix_web::test]
async fn every_way_to_write_is_held_to_it() {
    let rig = rig().await;
    let ask =
        async |method, path: &str, body: Value| rig.ask(method, path, &[], &body.to_string()).await;
    assert_eq!(mismatch(&ask("POST", ALL, json!({"n": 1})).await), "/data/name");
    assert_eq!(mismatch(&ask("PUT", ONE, json!({"name": "x"})).await), "/data/name");
    assert_eq!(mismatch(&ask("PUT", ONE, json!({"name": "xy", "o": 1})).await), "/data/o");
    assert_eq!(ask("PUT", ONE, json!({"name": "xy", "n": 9})).await.status, 201);
    assert_eq!(mismatch(&ask("PATCH", ONE, json!({"n": "9"})).await), "/data/n");
    assert_eq!(mismatch(&ask("PATCH", ONE, json!({"name": null})).await), "/data/name");
    assert_eq!(mismatch(&ask("PUT", ONE, json!({"name": "x"})).await), "/data/name");
    assert_eq!(ask("PATCH", ONE, json!({"n": 10})).await.status, 200);
    let commit = async |writes: Value| ask("POST", "commit", json!({"writes": writes})).await;
    let increment = |by: i32| {
        let transforms = json!({"n": {"increment": by}});
        json!({"op": "patch", "collection": "c", "id": "a", "transforms": transforms})
    };
    let create = json!({"op": "create", "collection": "c", "id": "b", "data": {"name": "bb"}});
    assert_eq!(mismatch(&commit(json!([create, increment(1)])).await), "/writes/1/data/n");
    assert_eq!(rig.ask("GET", "collections/c/documents/b", &[], "").await.status, 404);
    // What a later write would mend is wrong all the same.
    assert_eq!(mismatch(&commit(json!([increment(1), increment(-1)])).await), "/writes/0/data/n");
    assert_eq!(commit(json!([create, increment(-1)])).await.status, 200);
    // What was right once must be right now to be restored.
    let stricter = json!({"schema": {"properties": {"n": {"maximum": 9}}}});
    configure(&rig, "c", &stricter).await;
    let restored = ask("POST", &format!("{ONE}/restore"), json!({"version": 2})).await;
    assert_eq!(mismatch(&restored), "/data/n");
    let restored = ask("POST", &format!("{ONE}/restore"), json!({"version": 1})).await;
    assert_eq!(restored.status, 200, "{}", restored.text);
    let gone = rig.ask("DELETE", ONE, &[], "").await;
    assert_eq!(gone.status, 204);
    let restored = ask("POST", &format!("{ONE}/restore"), json!({"version": 2})).await;
    assert_eq!(mismatch(&restored), "/data/n");
}

#[actix_web::test]
async fn rules_come_first_and_hold_nobody_back_from_the_schema() {
    let rig = rig().await;
    let mut with_rules = settings();
    with_rules["rules"] = json!({"read": "true", "create": "request.resource.n == 1",
        "update": "request.resource.n == 1"});
    configure(&rig, "c", &with_rules).await;
    let key = rig.key("publishable").await;
    let ask = async |method, path: &str, body: Value| {
        rig.ask_as(&key, method, path, &[], &body.to_string()).await
    };
    assert_eq!(ask("PUT", ONE, json!({"n": 2})).await.code(), "forbidden");
    assert_eq!(mismatch(&ask("PUT", ONE, json!({"n": 1})).await), "/data/name");
    // Rules see what is filled in.
    with_rules["rules"]["create"] = json!("request.resource.status == 'open'");
    configure(&rig, "c", &with_rules).await;
    let made = ask("PUT", ONE, json!({"name": "xy", "n": 1})).await;
    assert_eq!((made.status, &made.json()["data"]["status"]), (201, &json!("open")));
    assert_eq!(ask("PATCH", ONE, json!({"n": 2, "name": 7})).await.code(), "forbidden");
    assert_eq!(mismatch(&ask("PATCH", ONE, json!({"n": 1, "name": 7})).await), "/data/name");
    let write = json!({"op": "patch", "collection": "c", "id": "a", "data": {"name": "x"}});
    let commit = ask("POST", "commit", json!({"writes": [write]})).await;
    assert_eq!(mismatch(&commit), "/writes/0/data/name");
}

#[actix_web::test]
async fn defaults_are_part_of_what_is_made_and_of_its_event() {
    let rig = rig().await;
    let made = rig.ask("POST", &format!("{ALL}?id=a"), &[], r#"{"name":"xy","address":{}}"#).await;
    let full = json!({"name": "xy", "address": {"country": "CH"}, "status": "open"});
    assert_eq!((made.status, &made.json()["data"]), (201, &full));
    let events = rig.ask("GET", "events?types=document.created", &[], "").await.json();
    assert_eq!(events["events"][0]["data"]["data"], full);
    // Neither a patch nor a replacement fills anything in.
    let patched = rig.ask("PATCH", ONE, &[], r#"{"status":null}"#).await.json();
    assert_eq!(patched["data"], json!({"name": "xy", "address": {"country": "CH"}}));
    let replaced = rig.ask("PUT", ONE, &[], r#"{"name":"zz"}"#).await.json();
    assert_eq!(replaced["data"], json!({"name": "zz"}));
    // A replacement that makes a document does, and so do creates in a commit; transforms see it.
    let put = rig.ask("PUT", "collections/c/documents/b", &[], r#"{"name":"bb"}"#).await.json();
    assert_eq!(put["data"], json!({"name": "bb", "status": "open"}));
    let body = json!({"writes": [
        {"op": "create", "collection": "c", "id": "d", "data": {"name": "dd"},
            "transforms": {"status": {"delete": true}}},
        {"op": "replace", "collection": "c", "id": "e", "data": {"name": "ee", "status": "done"}},
        {"op": "replace", "collection": "c", "id": "d", "data": {"name": "dd"}},
    ]});
    let commit = rig.ask("POST", "commit", &[], &body.to_string()).await.json();
    assert_eq!(commit["results"][0]["document"]["data"], json!({"name": "dd"}));
    assert_eq!(commit["results"][1]["document"]["data"], json!({"name": "ee", "status": "done"}));
    assert_eq!(commit["results"][2]["document"]["data"], json!({"name": "dd"}));
    // A repeat is told what was made then, whatever the defaults are by now.
    let keyed = [("Idempotency-Key", "k")];
    let first = rig.ask("POST", ALL, &keyed, r#"{"name":"ff"}"#).await;
    configure(&rig, "c", &json!({"schema": {"properties": {"x": {"default": 1}}}})).await;
    let again = rig.ask("POST", ALL, &keyed, r#"{"name":"ff"}"#).await;
    assert_eq!(first.json(), again.json());
}

#[actix_web::test]
async fn personal_fields_are_seen_as_they_were_written() {
    let rig = Rig::new().await;
    let settings = json!({
        "subject": "$id",
        "fields": {"mail": {"personal": true}},
        "schema": {"properties": {"mail": {"type": "string", "format": "email"}}},
    });
    configure(&rig, "people", &settings).await;
    let path = "collections/people/documents/ann";
    rig.table(&[
        ("POST", "users", r#"{"id":"ann"}"#, 201, ""),
        ("PUT", path, r#"{"mail":"nobody"}"#, 400, "schema-mismatch"),
        ("PUT", path, r#"{"mail":"ann@example.com"}"#, 201, ""),
        ("PATCH", path, r#"{"n":1}"#, 200, ""),
    ])
    .await;
    assert!(!rig.log_text().await.contains("ann@example.com"));
    let body = json!({"schema": settings["schema"]}).to_string();
    let checked = rig.ask("POST", "collections/people/schema/check", &[], &body).await.json();
    assert_eq!((&checked["checked"], &checked["invalid"]), (&json!(1), &json!(0)));
}

#[actix_web::test]
async fn a_schema_is_tried_on_what_is_there() {
    let rig = Rig::new().await;
    for n in 0..25 {
        let path = format!("collections/c/documents/{n:02}");
        let body = if n % 5 == 0 { json!({"n": "x", "o": 1}) } else { json!({"n": n}) };
        assert_eq!(rig.ask("PUT", &path, &[], &body.to_string()).await.status, 201);
    }
    let schema = json!({"properties": {"n": {"type": "integer"}}, "additionalProperties": false});
    let (mut cursor, mut found, mut checked) = (Value::Null, Vec::new(), 0);
    loop {
        let body = json!({"schema": schema, "limit": 10, "cursor": cursor}).to_string();
        let told = rig.ask("POST", "collections/c/schema/check", &[], &body).await;
        assert_eq!(told.status, 200, "{}", told.text);
        let told = told.json();
        checked += told["checked"].as_u64().unwrap();
        let offenders = told["offenders"].as_array().unwrap();
        assert_eq!(told["invalid"], offenders.len());
        found.extend(offenders.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        for one in offenders {
            let mut fields: Vec<&str> = one["errors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["field"].as_str().unwrap())
                .collect();
            fields.sort_unstable();
            assert_eq!(fields, ["/data/n", "/data/o"]);
        }
        cursor = told["cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!((found, checked), (["00", "05", "10", "15", "20"].map(String::from).to_vec(), 25));
    // It is taken all the same; what is there stays until it is written again.
    configure(&rig, "c", &json!({"schema": schema})).await;
    rig.table(&[
        ("GET", "collections/c/documents/05", "", 200, ""),
        ("PATCH", "collections/c/documents/05", r#"{"n":1}"#, 400, "schema-mismatch"),
        ("PATCH", "collections/c/documents/05", r#"{"n":1,"o":null}"#, 200, ""),
        ("DELETE", "collections/c/documents/10", "", 204, ""),
        ("POST", "collections/c/schema/check", r#"{"schema":{"type":1}}"#, 400, "invalid-body"),
        ("POST", "collections/c/schema/check", r#"{}"#, 400, "invalid-body"),
    ])
    .await;
    let key = rig.key("publishable").await;
    let body = json!({"schema": schema}).to_string();
    let refused = rig.ask_as(&key, "POST", "collections/c/schema/check", &[], &body).await;
    assert_eq!(refused.code(), "forbidden");
}

#[actix_web::test]
async fn an_imported_log_is_taken_as_it_is() {
    let rig = rig().await;
    rig.ask("POST", "/v1/projects", &[], r#"{"id":"other","name":"O"}"#).await;
    let other = "/v1/projects/other/collections/c/documents/1";
    assert_eq!(rig.ask("PUT", other, &[], r#"{"o":1}"#).await.status, 201);
    let events = "/v1/projects/other/events?types=document.created";
    let line = rig.ask("GET", events, &[], "").await.json()["events"][0].to_string();
    let headers = [("Content-Type", "application/x-ndjson")];
    let taken = rig.ask("POST", "import", &headers, &line).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
    let got = rig.ask("GET", "collections/c/documents/1", &[], "").await.json();
    assert_eq!(got["data"], json!({"o": 1}));
    let patched = rig.ask("PATCH", "collections/c/documents/1", &[], r#"{"n":1}"#).await;
    assert_eq!(mismatch(&patched), "/data/o");
}

#[actix_web::test]
async fn a_schema_holds_for_what_is_decided_along_with_it() {
    let rig = Rig::new().await;
    let engine = &rig.shared.engine;
    let schema = json!({"properties": {"n": {"type": "integer", "default": 7}}});
    for round in 0..30 {
        let collection = CollectionName::new(&format!("c{round}")).unwrap();
        let command = |body: Body| {
            let context = Context {
                project: ProjectId::new("p").unwrap(),
                actor: Actor::Admin,
                access: Access::PastRules,
                correlation_id: "x".into(),
                causation_id: None,
                depth: 0,
                traceparent: None,
                idempotency: None,
            };
            engine.submit(Command { context, body })
        };
        let schema = schema.as_object().cloned();
        let config = CollectionConfig { schema, ..CollectionConfig::default() };
        let configure = ProjectCommand::ConfigureCollection {
            collection: collection.clone(),
            config: Box::new(config),
        };
        let create = |id: &str, data: &'static str| {
            let (id, op) = (DocumentId::new(id).unwrap(), Op::Create(data.into()));
            let (collection, expected) = (collection.clone(), ExpectedVersion::Any);
            let writes = vec![Write { collection, id, op, expected }];
            command(Body::Documents { writes, reads: Vec::new() })
        };
        // They wait together for the writer, in this order.
        let (configured, wrong, filled) = join3(
            command(Body::Project(configure)),
            create("wrong", r#"{"n":"7"}"#),
            create("filled", "{}"),
        )
        .await;
        configured.unwrap();
        let refused = wrong.expect_err("the schema is in force");
        assert!(refused.to_string().starts_with("expected the type integer"), "{refused}");
        let document = engine::Document::after(&filled.unwrap().events[0]).unwrap().unwrap();
        assert_eq!(document.data, r#"{"n":7}"#);
    }
}
