//! Who may do what: every route with every kind of token.

use super::{ADMIN, Rig};
use crate::routes::{Access, ROUTES, Route};

#[actix_web::test]
async fn every_route_checks_who_asks() {
    let mut rig = Rig::new().await;
    let secret = rig.key("secret").await;
    let publishable = rig.key("publishable").await;
    rig.ask("POST", "/v1/projects", &[], r#"{"id":"other","name":"O"}"#).await;
    let asks = |route: &&Route| !matches!(route.access, Access::Open | Access::Visitor);
    for route in ROUTES.iter().filter(asks) {
        let paths =
            |project: &str| route.pattern.replace("{project}", project).replace(['{', '}'], "");
        for (token, project, expected) in [
            ("", "p", Some(401)),
            ("hw_admin_wrong", "p", Some(401)),
            ("hw_sk_wrong", "p", None),
            (secret.as_str(), "other", None),
            (secret.as_str(), "none", None),
            (publishable.as_str(), "p", Some(publishable_gets(route))),
        ] {
            rig.token = token.to_owned();
            let reply = rig.ask(route.method.as_str(), &paths(project), &[], "").await;
            // Where only the administrator may go, a key is known for a key whosever it is.
            let is_admin_only = reply.json()["detail"].as_str().unwrap().contains("administrator");
            let expected = expected.unwrap_or(if is_admin_only { 403 } else { 401 });
            assert_eq!(reply.status, expected, "{} {} {token}", route.method, paths(project));
            let challenge = reply.header("www-authenticate");
            assert_eq!(challenge == "Bearer", reply.status == 401);
        }
    }
    rig.token = ADMIN.to_owned();
    rig.table(&[
        ("GET", "/v1/projects/none", "", 404, "project-not-found"),
        ("GET", "/v1/projects/_none", "", 400, "invalid-id"),
        ("GET", "/v1/projects/none/collections/c/documents/d", "", 404, "project-not-found"),
        ("PUT", "/v1/projects/none/collections/c/documents/d", "{}", 404, "project-not-found"),
    ])
    .await;
    rig.token = secret;
    rig.table(&[
        ("PUT", "collections/c/documents/d", "{}", 201, ""),
        ("GET", "collections/c/documents/d", "", 200, ""),
        ("PATCH", "/v1/projects/p", r#"{"name":"New"}"#, 200, ""),
        ("GET", "keys", "", 200, ""),
        ("DELETE", "/v1/projects/p", "", 403, "forbidden"),
        ("GET", "/v1/projects", "", 403, "forbidden"),
        ("POST", "import", "{}", 403, "forbidden"),
    ])
    .await;
}

/// The app's own key: a user's own things take a user; and what a transaction or a stream is about
/// must be known before it can be refused.
fn publishable_gets(route: &Route) -> u16 {
    match route.access {
        Access::User => 401,
        _ if route.pattern.ends_with("/commit") => 400,
        _ if route.pattern.ends_with("/realtime/events") => 400,
        _ => 403,
    }
}

#[actix_web::test]
async fn a_revoked_key_and_a_deleted_project_end_at_once() {
    let mut rig = Rig::new().await;
    let made = rig.ask("POST", "keys", &[], r#"{"kind":"secret","name":"k"}"#).await.json();
    let other = rig.key("secret").await;
    rig.token = made["key"].as_str().unwrap().to_owned();
    let key = format!("keys/{}", made["id"].as_str().unwrap());
    rig.table(&[
        ("GET", "keys", "", 200, ""),
        ("DELETE", &key, "", 204, ""),
        ("GET", "keys", "", 401, "unauthorized"),
    ])
    .await;
    rig.token = ADMIN.to_owned();
    rig.table(&[
        ("DELETE", &key, "", 404, "key-not-found"),
        ("DELETE", "/v1/projects/p", "", 204, ""),
    ])
    .await;
    rig.token = other;
    rig.table(&[("GET", "keys", "", 401, "unauthorized")]).await;
}
