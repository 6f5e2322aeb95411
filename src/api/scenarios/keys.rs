//! Keys of a project: what scopes open, rotation, and when each was last used.

use serde_json::{Value, json};

use super::{ADMIN, Rig};
use crate::routes::{Access, ROUTES};

const SCOPES: [&str; 13] = [
    "documents:read",
    "documents:write",
    "collections:read",
    "collections:write",
    "users:read",
    "users:write",
    "sign-in:read",
    "sign-in:write",
    "keys:read",
    "keys:write",
    "events:read",
    "project:read",
    "project:write",
];

/// Makes a key; its id and its text.
async fn key(rig: &Rig, body: &Value) -> (String, String) {
    let made = rig.ask("POST", "keys", &[], &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let text = |name: &str| made.json()[name].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

async fn scoped(rig: &Rig, scopes: &[&str]) -> (String, String) {
    key(rig, &json!({"kind": "secret", "name": "k", "scopes": scopes})).await
}

#[test]
fn every_route_of_a_project_has_a_scope_that_there_is() {
    for route in ROUTES {
        let scope = route.scope().map(|(area, need)| format!("{area}:{}", need.as_str()));
        match &scope {
            Some(scope) => assert!(SCOPES.contains(&scope.as_str()), "{route:?}"),
            None => assert_ne!(route.access, Access::Project, "{route:?}"),
        }
    }
    let scope_of = |method: &str, pattern: &str| {
        let pattern = format!("/v1/projects/{{project}}{pattern}");
        let found = ROUTES.iter().find(|one| one.method == method && one.pattern == pattern);
        let (area, need) = found.unwrap_or_else(|| panic!("{pattern}")).scope().unwrap();
        format!("{area}:{}", need.as_str())
    };
    let documents = "/collections/{collection}/documents";
    for (method, pattern, scope) in [
        ("GET", "", "project:read"),
        ("PATCH", "", "project:write"),
        ("GET", "/collections", "collections:read"),
        ("PUT", "/collections/{collection}", "collections:write"),
        ("DELETE", "/collections/{collection}", "collections:write"),
        ("GET", documents, "documents:read"),
        ("POST", documents, "documents:write"),
        ("POST", "/collections/{collection}/query", "documents:read"),
        ("GET", &format!("{documents}/{{id}}/history"), "documents:read"),
        ("POST", &format!("{documents}/{{id}}/restore"), "documents:write"),
        ("POST", "/commit", "documents:write"),
        ("GET", "/realtime", "documents:read"),
        ("GET", "/realtime/events", "documents:read"),
        ("GET", "/events", "events:read"),
        ("GET", "/keys", "keys:read"),
        ("POST", "/keys/{key}/rotate", "keys:write"),
        ("GET", "/users/{user}/export", "users:read"),
        ("POST", "/users/{user}/impersonate", "users:write"),
        ("PUT", "/roles", "users:write"),
        ("GET", "/sign-in", "sign-in:read"),
        ("DELETE", "/signing-keys/{signingKey}", "sign-in:write"),
    ] {
        assert_eq!(scope_of(method, pattern), scope, "{method} {pattern}");
    }
}

#[actix_web::test]
async fn a_scope_opens_its_routes_and_no_others() {
    let rig = Rig::new().await;
    for scope in SCOPES {
        let (_, text) = scoped(&rig, &[scope]).await;
        let mut opened = 0;
        for route in ROUTES.iter().filter(|route| route.access == Access::Project) {
            let (area, need) = route.scope().unwrap();
            let wanted = format!("{area}:{}", need.as_str());
            let path = route.pattern.replace("{project}", "p").replace(['{', '}'], "");
            let reply = rig.ask_as(&text, route.method.as_str(), &path, &[], "").await;
            let is_kept_out = reply.status == 403 && reply.text.contains("lacks the scope");
            assert_eq!(is_kept_out, wanted != scope, "{scope}: {route:?}: {}", reply.text);
            if is_kept_out {
                let detail = reply.json()["detail"].as_str().unwrap().to_owned();
                assert!(detail.ends_with(&wanted), "{detail}");
            }
            opened += usize::from(!is_kept_out);
        }
        assert!(opened > 0, "{scope} opens nothing");
    }
}

#[actix_web::test]
async fn scopes_are_named_or_left_away() {
    let mut rig = Rig::new().await;
    let with = |kind: &str, scopes: Value| {
        json!({"kind": kind, "name": "k", "scopes": scopes}).to_string()
    };
    rig.table(&[
        ("POST", "keys", &with("secret", json!(["documents:delete"])), 400, "invalid-body"),
        ("POST", "keys", &with("secret", json!(["documents"])), 400, "invalid-body"),
        ("POST", "keys", &with("secret", json!([])), 400, "invalid-body"),
        ("POST", "keys", &with("publishable", json!(["documents:read"])), 400, "invalid-body"),
        ("POST", "keys", &with("publishable", json!([])), 400, "invalid-body"),
    ])
    .await;
    let bad = with("secret", json!(["keys:read", "x"]));
    assert_eq!(rig.ask("POST", "keys", &[], &bad).await.json()["field"], "/scopes/1");
    let twice = ["keys:write", "documents:read", "keys:write"];
    let (id, text) = scoped(&rig, &twice).await;
    let keys = rig.ask("GET", "keys", &[], "").await.json();
    assert_eq!(keys["keys"][0]["scopes"], json!(["documents:read", "keys:write"]));

    // It gives what it has and no more.
    rig.token = text;
    let full = json!({"kind": "secret", "name": "k"}).to_string();
    rig.table(&[
        ("POST", "keys", &with("secret", json!(["documents:read"])), 201, ""),
        ("POST", "keys", &with("secret", json!(twice)), 201, ""),
        ("POST", "keys", r#"{"kind":"publishable","name":"k"}"#, 201, ""),
        ("POST", "keys", &with("secret", json!(["documents:write"])), 403, "forbidden"),
        ("POST", "keys", &full, 403, "forbidden"),
        ("POST", &format!("keys/{id}/rotate"), "{}", 200, ""),
    ])
    .await;
    let by_this = rig.token.clone();
    rig.token = ADMIN.to_owned();
    let (other, _) = scoped(&rig, &["documents:write"]).await;
    let (full, _) = key(&rig, &json!({"kind": "secret", "name": "k"})).await;
    rig.token = by_this;
    rig.table(&[
        ("POST", &format!("keys/{other}/rotate"), "{}", 403, "forbidden"),
        ("POST", &format!("keys/{full}/rotate"), "{}", 403, "forbidden"),
    ])
    .await;
}

#[actix_web::test]
async fn a_rotated_key_is_taken_in_both_forms_for_a_while() {
    let rig = Rig::new().await;
    let (id, first) = scoped(&rig, &["keys:read"]).await;
    let rotate = format!("keys/{id}/rotate");
    let opens = async |text: &str| rig.ask_as(text, "GET", "keys", &[], "").await.status;
    let (idempotent, body) = ([("Idempotency-Key", "r")], r#"{"graceSeconds":60}"#);
    let rotated = rig.ask("POST", &rotate, &idempotent, body).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    let second = rotated.json()["key"].as_str().unwrap().to_owned();
    assert!(second.starts_with("hw_sk_") && second != first);
    assert!(second.ends_with(rotated.json()["hint"].as_str().unwrap()));
    assert_eq!(rotated.json()["scopes"], json!(["keys:read"]));
    assert_eq!((opens(&first).await, opens(&second).await), (200, 200));
    let again = rig.ask("POST", &rotate, &idempotent, body).await;
    assert_eq!((again.status, &again.json()["key"]), (200, &json!(null)));
    assert_eq!(again.json()["rotatedAt"], rotated.json()["rotatedAt"]);

    let third = rig.ask("POST", &rotate, &[], r#"{"graceSeconds":0}"#).await.json();
    let third = third["key"].as_str().unwrap().to_owned();
    assert_eq!(opens(&first).await, 401);
    assert_eq!((opens(&second).await, opens(&third).await), (401, 200));
    let list = rig.ask("GET", "keys", &[], "").await;
    assert!(list.json()["keys"][0]["rotatedAt"].is_string());
    assert!(!list.text.contains(&third) && !rig.log_text().await.contains(&third));

    let (id, _) = key(&rig, &json!({"kind": "publishable", "name": "app"})).await;
    let app = rig.ask("POST", &format!("keys/{id}/rotate"), &[], "{}").await.json();
    assert!(app["key"].as_str().unwrap().starts_with("hw_pk_"));
    rig.table(&[
        ("POST", &rotate, r#"{"graceSeconds":604801}"#, 400, "invalid-body"),
        ("POST", &rotate, r#"{"graceSeconds":-1}"#, 400, "invalid-body"),
        ("POST", &rotate, r#"{"grace":1}"#, 400, "invalid-body"),
        ("POST", "keys/none/rotate", "{}", 404, "key-not-found"),
    ])
    .await;
}

#[actix_web::test]
async fn the_use_of_a_key_is_known_without_an_event() {
    let rig = Rig::new().await;
    let (_, text) = key(&rig, &json!({"kind": "secret", "name": "k"})).await;
    let unused = rig.ask("GET", "keys", &[], "").await.json();
    assert_eq!(unused["keys"][0]["usedAt"], json!(null));
    assert_eq!(rig.ask_as(&text, "GET", "keys", &[], "").await.status, 200);
    assert!(rig.ask("GET", "keys", &[], "").await.json()["keys"][0]["usedAt"].is_string());
    // A key of today was used today: the log needs no event for that.
    let events = rig.ask("GET", "events?types=key.used", &[], "").await.json();
    assert_eq!(events["events"], json!([]));
}
