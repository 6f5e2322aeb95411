//! Access rules over every way to a document: no detour shows or changes what a rule forbids.

use serde_json::{Value, json};

use super::{Reply, Rig};

/// Signs somebody up; who it is, and its token.
async fn person(rig: &Rig, email: &str) -> (String, String) {
    let body = json!({"email": email, "password": "long enough 1"}).to_string();
    let made = rig.ask_as("", "POST", "auth/sign-up", &[], &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let session = made.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&session["user"]["id"]), text(&session["accessToken"]))
}

async fn configure(rig: &Rig, collection: &str, settings: &Value) {
    let path = format!("collections/{collection}");
    let put = rig.ask("PUT", &path, &[], &settings.to_string()).await;
    assert!(put.status < 300, "{}", put.text);
}

fn ids(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let documents = reply.json()["documents"].as_array().unwrap().clone();
    documents.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

fn own_notes() -> Value {
    let own = "auth != null && resource.owner == auth.uid";
    json!({
        "rules": {
            "read": format!("{own} || resource.public == true"),
            "list": format!("{own} || resource.public == true"),
            "create": "auth != null && request.resource.owner == auth.uid",
            "update": format!("{own} && request.resource.owner == auth.uid"),
            "delete": own,
        },
        "fields": {
            "secret": {"read": "hasRole('auditor')"},
            "state": {"write": "hasRole('auditor')"},
        },
    })
}

#[actix_web::test]
async fn people_see_and_change_what_is_theirs() {
    let rig = Rig::new().await;
    configure(&rig, "notes", &own_notes()).await;
    let (ann, ann_token) = person(&rig, "ann@example.com").await;
    let (_, bob_token) = person(&rig, "bob@example.com").await;
    let note = json!({"owner": ann, "text": "hello", "secret": 42}).to_string();
    let notes = "collections/notes/documents";
    let one = "collections/notes/documents/a";
    let ann = async |method, path: &str, body: &str| {
        rig.ask_as(&ann_token, method, path, &[], body).await
    };
    let bob = async |method, path: &str, body: &str| {
        rig.ask_as(&bob_token, method, path, &[], body).await
    };
    let made = ann("POST", &format!("{notes}?id=a"), &note).await;
    assert_eq!(made.status, 201, "{}", made.text);
    // What it may not read is not in the answer, though it wrote it itself.
    assert!(made.json()["data"].get("secret").is_none(), "{}", made.text);
    assert_eq!(bob("POST", &format!("{notes}?id=b"), &note).await.status, 403);

    assert_eq!(ann("GET", one, "").await.status, 200);
    // Neither whether it is there, nor whether another is not.
    assert_eq!(bob("GET", one, "").await.code(), "forbidden");
    assert_eq!(bob("GET", "collections/notes/documents/none", "").await.code(), "forbidden");
    assert_eq!(ids(&ann("GET", notes, "").await), ["a"]);
    assert!(ids(&bob("GET", notes, "").await).is_empty());

    for (method, body) in [("PUT", note.as_str()), ("PATCH", r#"{"text":"x"}"#), ("DELETE", "")] {
        assert_eq!(bob(method, one, body).await.status, 403, "{method}");
    }
    let denied = ann("PATCH", one, r#"{"state":"approved"}"#).await;
    assert_eq!((denied.status, denied.json()["field"].clone()), (403, json!("/state")));
    assert_eq!(ann("PATCH", one, r#"{"owner":"bob"}"#).await.status, 403);
    assert_eq!(ann("PATCH", one, r#"{"text":"mine"}"#).await.status, 200);
    assert_eq!(ann("DELETE", one, "").await.status, 204);
}

#[actix_web::test]
async fn no_detour_shows_what_a_rule_hides() {
    let rig = Rig::new().await;
    configure(&rig, "notes", &own_notes()).await;
    let (ann, ann_token) = person(&rig, "ann@example.com").await;
    let (_, bob_token) = person(&rig, "bob@example.com").await;
    let public = json!({"owner": ann, "text": "was public", "public": true, "secret": 1});
    let path = "collections/notes/documents/a";
    let first = rig.ask("PUT", path, &[], &public.to_string()).await;
    let was = first.header("headwater-position").to_owned();
    assert_eq!(rig.ask_as(&bob_token, "GET", path, &[], "").await.status, 200);
    let private = json!({"owner": ann, "text": "private", "secret": 2}).to_string();
    assert_eq!(rig.ask("PUT", path, &[], &private).await.status, 200);

    // What was public is not any more: not as of then, not in its history, not in a list of then.
    let as_of = format!("{path}?asOf={was}");
    let history = format!("{path}/history");
    for hidden in [path, &as_of, &history] {
        let told = rig.ask_as(&bob_token, "GET", hidden, &[], "").await;
        assert_eq!(told.code(), "forbidden", "{hidden}: {}", told.text);
    }
    let list = format!("collections/notes/documents?asOf={was}");
    assert!(ids(&rig.ask_as(&bob_token, "GET", &list, &[], "").await).is_empty());
    let restore = format!("{path}/restore");
    let restored = rig.ask_as(&bob_token, "POST", &restore, &[], r#"{"version":1}"#).await;
    assert_eq!(restored.code(), "forbidden");
    // Nor does what a condition finds out.
    let stale = rig.ask_as(&bob_token, "PATCH", path, &[("if-match", "\"7\"")], "{}").await;
    assert_eq!((stale.status, stale.code()), (403, "forbidden".to_owned()));
    let create =
        rig.ask_as(&bob_token, "POST", "collections/notes/documents?id=a", &[], "{}").await;
    assert_eq!(create.code(), "forbidden");
    let reads = json!({
        "writes": [{"op": "create", "collection": "open", "id": "x", "data": {}}],
        "reads": [{"collection": "notes", "id": "a", "version": 1}],
    });
    configure(&rig, "open", &json!({"rules": {"create": "true"}})).await;
    let commit = rig.ask_as(&bob_token, "POST", "commit", &[], &reads.to_string()).await;
    assert_eq!(commit.code(), "forbidden", "{}", commit.text);
    // The owner sees all of it, without the field that nobody but an auditor sees.
    for path in [path, &as_of, &history] {
        let told = rig.ask_as(&ann_token, "GET", path, &[], "").await;
        assert_eq!(told.status, 200, "{path}: {}", told.text);
        assert!(!told.text.contains("secret"), "{path}: {}", told.text);
    }
    // The log itself takes a secret key.
    assert_eq!(rig.ask_as(&ann_token, "GET", "events", &[], "").await.status, 403);
}

#[actix_web::test]
async fn rules_ask_about_other_documents_within_bounds() {
    let rig = Rig::new().await;
    let member = "exists('members', auth.uid + '-' + resource.room)";
    let rules = json!({"rules": {
        "read": member, "list": member,
        "create": "get('rooms', request.resource.room).open == true",
    }});
    configure(&rig, "messages", &rules).await;
    let (ann, token) = person(&rig, "ann@example.com").await;
    let put = async |path: &str, body: Value| {
        assert!(rig.ask("PUT", path, &[], &body.to_string()).await.status < 300);
    };
    put("collections/messages/documents/m1", json!({"room": "r1"})).await;
    put("collections/messages/documents/m2", json!({"room": "r2"})).await;
    put(&format!("collections/members/documents/{ann}-r1"), json!({})).await;
    put("collections/rooms/documents/r1", json!({"open": true})).await;
    let list = rig.ask_as(&token, "GET", "collections/messages/documents", &[], "").await;
    assert_eq!(ids(&list), ["m1"]);
    let create = async |room: &str| {
        let body = json!({"room": room}).to_string();
        rig.ask_as(&token, "POST", "collections/messages/documents", &[], &body).await.status
    };
    assert_eq!((create("r1").await, create("r2").await), (201, 403));
}

#[actix_web::test]
async fn no_rule_is_no_access_and_a_bad_rule_is_refused() {
    let rig = Rig::new().await;
    let (_, token) = person(&rig, "ann@example.com").await;
    for (method, path, body) in [
        ("GET", "collections/any/documents", ""),
        ("GET", "collections/any/documents/a", ""),
        ("POST", "collections/any/documents", "{}"),
        ("GET", "collections/any/documents/a/history", ""),
    ] {
        let told = rig.ask_as(&token, method, path, &[], body).await;
        assert_eq!(told.code(), "forbidden", "{method} {path}: {}", told.text);
    }
    for (rules, field) in [
        (json!({"rules": {"read": "auth.uid =="}}), "/rules/read"),
        (json!({"rules": {"list": "nobody()"}}), "/rules/list"),
        (json!({"fields": {"a.b": {"read": "1 +"}}}), "/fields/a.b/read"),
    ] {
        let told = rig.ask("PUT", "collections/any", &[], &rules.to_string()).await;
        assert_eq!((told.status, told.json()["field"].clone()), (400, json!(field)));
    }
}

#[actix_web::test]
async fn roles_reach_a_token_that_is_out_already() {
    let rig = Rig::new().await;
    configure(&rig, "notes", &json!({"rules": {"list": "hasRole('reader')"}})).await;
    let (id, token) = person(&rig, "ann@example.com").await;
    rig.ask("PUT", "collections/notes/documents/a", &[], "{}").await;
    let seen = rig.ask_as(&token, "GET", "collections/notes/documents", &[], "").await;
    assert!(ids(&seen).is_empty());
    let patched = rig.ask("PATCH", &format!("users/{id}"), &[], r#"{"roles":["reader"]}"#).await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    let seen = rig.ask_as(&token, "GET", "collections/notes/documents", &[], "").await;
    assert_eq!(ids(&seen), ["a"]);
}
