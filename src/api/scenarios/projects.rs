//! Projects, keys and collections.

use serde_json::json;

use super::Rig;

#[actix_web::test]
async fn projects_are_made_listed_renamed_and_deleted() {
    let rig = Rig::new().await;
    let long = format!(r#"{{"id":"x","name":"{}"}}"#, "ä".repeat(201));
    rig.table(&[
        ("POST", "/v1/projects", r#"{"id":"p","name":"P"}"#, 409, "project-exists"),
        ("POST", "/v1/projects", r#"{"id":"_p","name":"P"}"#, 400, "invalid-body"),
        ("POST", "/v1/projects", r#"{"id":"q","name":""}"#, 400, "invalid-body"),
        ("POST", "/v1/projects", &long, 400, "invalid-body"),
        ("POST", "/v1/projects", r#"{"id":"q"}"#, 400, "invalid-body"),
        ("POST", "/v1/projects", r#"{"id":"q","name":"Q","plan":1}"#, 400, "invalid-body"),
        ("POST", "/v1/projects?x=1", r#"{"id":"q","name":"Q"}"#, 400, "invalid-parameter"),
        ("POST", "/v1/projects", r#"{"id":"q","name":"Q"}"#, 201, ""),
        ("PATCH", "/v1/projects/q", r#"{"name":7}"#, 400, "invalid-body"),
        ("PATCH", "/v1/projects/q", r#"{"name":"Q2"}"#, 200, ""),
        ("POST", "/v1/projects", r#"{"id":"r","name":"R"}"#, 201, ""),
    ])
    .await;
    let first = rig.ask("GET", "/v1/projects?limit=2", &[], "").await.json();
    assert_eq!((&first["projects"][1]["name"], &first["cursor"]), (&json!("Q2"), &json!("q")));
    let rest = rig.ask("GET", "/v1/projects?cursor=q", &[], "").await.json();
    assert_eq!((&rest["projects"][0]["id"], &rest["cursor"]), (&json!("r"), &json!(null)));
    rig.table(&[
        ("DELETE", "/v1/projects/q", "", 204, ""),
        ("DELETE", "/v1/projects/q", "", 404, "project-not-found"),
        ("GET", "/v1/projects/q", "", 404, "project-not-found"),
        ("POST", "/v1/projects", r#"{"id":"q","name":"Q"}"#, 409, "project-exists"),
    ])
    .await;
}

#[actix_web::test]
async fn a_key_is_shown_once() {
    let rig = Rig::new().await;
    let body = r#"{"kind":"secret","name":"ci"}"#;
    let key = [("Idempotency-Key", "k")];
    let made = rig.ask("POST", "keys", &key, body).await.json();
    let text = made["key"].as_str().unwrap();
    assert!(text.starts_with("hw_sk_") && text.len() == 42, "{text}");
    assert!(text.ends_with(made["hint"].as_str().unwrap()));
    let repeat = rig.ask("POST", "keys", &key, body).await;
    assert_eq!((repeat.status, &repeat.json()["key"]), (201, &json!(null)));
    assert_eq!(repeat.json()["id"], made["id"]);
    let keys = rig.ask("GET", "keys", &[], "").await;
    assert_eq!(keys.json()["keys"].as_array().unwrap().len(), 1);
    assert!(!keys.text.contains(text) && !keys.text.contains("\"key\""));
    assert!(rig.key("publishable").await.starts_with("hw_pk_"));
    rig.table(&[
        ("POST", "keys", r#"{"kind":"root","name":"x"}"#, 400, "invalid-body"),
        ("POST", "keys", r#"{"kind":"secret"}"#, 400, "invalid-body"),
        ("POST", "keys", r#"{"kind":"secret","name":""}"#, 400, "invalid-body"),
        ("DELETE", "keys/none", "", 404, "key-not-found"),
        ("DELETE", "keys/_", "", 400, "invalid-id"),
    ])
    .await;
}

#[actix_web::test]
async fn collections_are_configured_or_merely_used() {
    let rig = Rig::new().await;
    let settings = r#"{"rules":{"read":"true"},
        "indexes":[{"fields":[{"field":"n"},{"field":"ts","direction":"desc"}]}]}"#;
    rig.table(&[
        ("PUT", "collections/b", settings, 201, ""),
        ("PUT", "collections/b", settings, 200, ""),
        ("PUT", "collections/a", "{}", 201, ""),
        ("PUT", "collections/a", r#"{"rules":{"write":"true"}}"#, 400, "invalid-body"),
        ("PUT", "collections/a", r#"{"indexes":[{"fields":[]}]}"#, 400, "invalid-body"),
        ("PUT", "collections/a", r#"{"shape":{}}"#, 400, "invalid-body"),
        ("PUT", "collections/_a", "{}", 400, "invalid-id"),
        ("POST", "collections/c/documents", "{}", 201, ""),
        ("GET", "collections/none", "", 404, "collection-not-found"),
        ("DELETE", "collections/none", "", 404, "collection-not-found"),
    ])
    .await;
    let b = rig.ask("GET", "collections/b", &[], "").await.json();
    assert_eq!(b["rules"], json!({"read": "true"}));
    assert_eq!(b["indexes"][0]["fields"][1], json!({"field": "ts", "direction": "desc"}));
    let c = rig.ask("GET", "collections/c", &[], "").await.json();
    assert_eq!((&c["configured"], &c["createdAt"]), (&json!(false), &json!(null)));
    let page = rig.ask("GET", "collections?limit=2", &[], "").await.json();
    let names = |page: &serde_json::Value| -> Vec<String> {
        let of = |one: &serde_json::Value| one["name"].as_str().unwrap().to_owned();
        page["collections"].as_array().unwrap().iter().map(of).collect()
    };
    assert_eq!((names(&page), &page["cursor"]), (vec!["a".into(), "b".into()], &json!("b")));
    let rest = rig.ask("GET", "collections?cursor=b", &[], "").await.json();
    assert_eq!((names(&rest), &rest["cursor"]), (vec!["c".into()], &json!(null)));
    rig.table(&[
        ("DELETE", "collections/a", "", 204, ""),
        ("GET", "collections/a", "", 404, "collection-not-found"),
    ])
    .await;
}
