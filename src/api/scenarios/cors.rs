//! Pages of other origins: they may ask, be told of refusals, and read the headers that a client
//! needs.

use super::Rig;

const PAGE: (&str, &str) = ("Origin", "https://app.example");

#[actix_web::test]
async fn a_preflight_is_answered_without_a_token() {
    let mut rig = Rig::new().await;
    rig.token.clear();
    let wants = ("Access-Control-Request-Method", "PATCH");
    let reply = rig.ask("OPTIONS", "collections/c/documents/d", &[PAGE, wants], "").await;
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert!(reply.header("access-control-allow-methods").contains("PATCH"));
    assert!(reply.header("access-control-allow-headers").contains("Idempotency-Key"));
    let reply = rig.ask("OPTIONS", "nothing/like/it", &[PAGE, wants], "").await;
    assert_eq!(reply.status, 404);
    let reply = rig.ask("OPTIONS", "collections/c/documents/d", &[], "").await;
    assert_eq!(reply.status, 405);
}

#[actix_web::test]
async fn a_page_may_read_answers_and_refusals() {
    let rig = Rig::new().await;
    let made = rig.ask("POST", "collections/c/documents", &[PAGE], "{}").await;
    assert_eq!(made.status, 201);
    assert_eq!(made.header("access-control-allow-origin"), "*");
    assert!(made.header("access-control-expose-headers").contains("Headwater-Position"));
    let refused = rig.ask("GET", "collections/c/documents/none", &[PAGE], "").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (404, "*"));
    let other = rig.ask("GET", "collections/c/documents/none", &[], "").await;
    assert_eq!(other.header("access-control-allow-origin"), "");
}
