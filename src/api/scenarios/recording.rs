//! A draft of rules is tried on requests that were decided, as their documents were then.

use serde_json::{Value, json};

use super::{Rig, options};
use crate::server::Options;

/// An API with the project `p` that keeps each request.
async fn rig(requests: usize) -> Rig {
    let rig = Rig::empty(Options { record_requests: requests, record_one_in: 1, ..options() });
    let made = rig.ask("POST", "/v1/projects", &[], r#"{"id":"p","name":"P"}"#).await;
    assert_eq!(made.status, 201, "{}", made.text);
    rig
}

/// Signs somebody up; who it is, and its token.
async fn person(rig: &Rig, email: &str) -> (String, String) {
    let body = json!({"email": email, "password": "long enough 1"}).to_string();
    let made = rig.ask_as("", "POST", "auth/sign-up", &[], &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let session = made.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&session["user"]["id"]), text(&session["accessToken"]))
}

async fn configure(rig: &Rig, settings: &Value) {
    let put = rig.ask("PUT", "collections/notes", &[], &settings.to_string()).await;
    assert!(put.status < 300, "{}", put.text);
}

async fn tried(rig: &Rig, settings: &Value) -> Value {
    let body = json!({"collection": "notes", "settings": settings}).to_string();
    let reply = rig.ask("POST", "rules/try", &[], &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

/// Each change as `op id as was would field`.
fn lines(tried: &Value) -> Vec<String> {
    let changes = tried["changes"].as_array().unwrap();
    let word = |one: &Value, name: &str| one[name].as_str().unwrap_or("-").to_owned();
    let line = |one: &Value| {
        ["op", "id", "as", "was", "would", "field"].map(|name| word(one, name)).join(" ")
    };
    changes.iter().map(line).collect()
}

fn settings() -> Value {
    let own = "auth != null && resource.owner == auth.uid";
    let open = "exists('rooms', resource.room)";
    json!({
        "rules": {
            "read": own, "list": own, "create": "auth != null",
            "update": format!("{own} && {open}"), "delete": own,
        },
        "fields": {"state": {"write": "false"}},
    })
}

#[actix_web::test]
async fn a_draft_tells_what_it_would_change() {
    let rig = rig(100).await;
    configure(&rig, &settings()).await;
    let (ann, ann_token) = person(&rig, "ann@example.com").await;
    let (bob, bob_token) = person(&rig, "bob@example.com").await;
    let note = json!({"owner": ann, "room": "r", "secret": 1}).to_string();
    let (notes, one) = ("collections/notes/documents", "collections/notes/documents/a");
    assert_eq!(rig.ask("PUT", "collections/rooms/documents/r", &[], "{}").await.status, 201);
    let asked = async |token: &str, method: &str, path: &str, body: &str, status: u16| {
        let reply = rig.ask_as(token, method, path, &[], body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text);
    };
    asked(&ann_token, "POST", &format!("{notes}?id=a"), &note, 201).await;
    asked(&ann_token, "GET", one, "", 200).await;
    asked(&bob_token, "GET", one, "", 403).await;
    asked(&bob_token, "GET", notes, "", 200).await;
    asked(&ann_token, "PATCH", one, r#"{"state":"done"}"#, 403).await;
    asked(&ann_token, "PATCH", one, r#"{"text":"x"}"#, 200).await;
    // Past the rules: not recorded. What is not there any more is seen as it was.
    assert_eq!(rig.ask("DELETE", "collections/rooms/documents/r", &[], "").await.status, 204);
    assert_eq!(rig.ask("PUT", one, &[], r#"{"owner":"nobody"}"#).await.status, 200);
    asked(&ann_token, "DELETE", one, "", 403).await;

    let same = tried(&rig, &settings()).await;
    assert_eq!((same["checked"].as_u64(), same["unchanged"].as_u64()), (Some(7), Some(7)));
    assert_eq!((same["skipped"].as_u64(), lines(&same).len()), (Some(0), 0));

    let draft = json!({
        "rules": {
            "read": "auth != null", "list": "true", "create": "auth == null",
            "update": "auth != null", "delete": "false",
        },
        "fields": {"secret": {"read": "false"}},
    });
    let change = tried(&rig, &draft).await;
    let expected = [
        format!("create a {ann} allow deny -"),
        format!("read a {ann} allow deny secret"),
        format!("read a {bob} deny allow -"),
        format!("list a {bob} deny allow -"),
        format!("update a {ann} deny allow state"),
    ];
    assert_eq!(lines(&change), expected, "{change}");
    assert_eq!((change["checked"].as_u64(), change["unchanged"].as_u64()), (Some(7), Some(2)));

    // Nothing was changed by trying, and whoever is erased is forgotten.
    asked(&bob_token, "GET", one, "", 403).await;
    assert_eq!(rig.ask("DELETE", &format!("users/{ann}"), &[], "").await.status, 204);
    assert_eq!(tried(&rig, &settings()).await["checked"], 3);
}

#[actix_web::test]
async fn drafts_are_checked_and_only_for_who_is_past_the_rules() {
    let rig = rig(100).await;
    let (_, token) = person(&rig, "ann@example.com").await;
    let key = rig.key("publishable").await;
    let body = json!({"collection": "notes", "settings": settings()}).to_string();
    for other in [&token, &key] {
        let told = rig.ask_as(other, "POST", "rules/try", &[], &body).await;
        assert_eq!(told.code(), "forbidden", "{}", told.text);
    }
    for (settings, field) in [
        (json!({"rules": {"read": "auth.nobody"}}), "/settings/rules/read"),
        (json!({"fields": {"a": {"write": "1 +"}}}), "/settings/fields/a/write"),
        (json!({"rules": {"raed": "true"}}), "/settings/rules/raed"),
    ] {
        let body = json!({"collection": "notes", "settings": settings}).to_string();
        let told = rig.ask("POST", "rules/try", &[], &body).await;
        assert_eq!(
            (told.code(), told.json()["field"].clone()),
            ("invalid-body".into(), field.into())
        );
    }
}

#[actix_web::test]
async fn nothing_is_kept_where_it_is_turned_off() {
    let rig = rig(0).await;
    configure(&rig, &json!({"rules": {"read": "true"}})).await;
    let (_, token) = person(&rig, "ann@example.com").await;
    let path = "collections/notes/documents/a";
    assert_eq!(rig.ask_as(&token, "GET", path, &[], "").await.status, 404);
    assert_eq!(tried(&rig, &json!({})).await["checked"], 0);
}
