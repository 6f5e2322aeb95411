//! What is too large, too deep, too many, or too much for the disk.

use super::{Rig, options};
use crate::server::Options;

fn text_of(bytes: usize) -> String {
    format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8))
}

#[actix_web::test]
async fn over_the_limit_is_refused_and_at_the_limit_is_not() {
    let rig = Rig::new().await;
    let documents = "collections/c/documents";
    let nested =
        |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let writes = |count: usize| {
        let one = r#"{"op":"create","collection":"c","data":{}}"#;
        format!(r#"{{"writes":[{}]}}"#, vec![one; count].join(","))
    };
    let reads = |count: usize| {
        let one = r#"{"collection":"c","id":"none","version":0}"#;
        let write = r#"{"op":"create","collection":"c","data":{}}"#;
        format!(r#"{{"writes":[{write}],"reads":[{}]}}"#, vec![one; count].join(","))
    };
    rig.table(&[
        ("POST", documents, &text_of(1 << 20), 201, ""),
        ("POST", documents, &text_of((1 << 20) + 1), 413, "document-too-large"),
        ("POST", documents, &nested(64), 201, ""),
        ("POST", documents, &nested(65), 400, "too-deep"),
        ("POST", documents, &"[".repeat(1_000_000), 400, "too-deep"),
        ("POST", "commit", &"[".repeat(1_000_000), 400, "invalid-body"),
        ("POST", "commit", &writes(500), 200, ""),
        ("POST", "commit", &writes(501), 400, "invalid-body"),
        ("POST", "commit", &reads(500), 200, ""),
        ("POST", "commit", &reads(501), 400, "invalid-body"),
        ("POST", documents, &text_of((8 << 20) + 1), 413, "body-too-large"),
        ("GET", "collections/c/documents?limit=1000", "", 200, ""),
    ])
    .await;
    let patch = r#"{"b":"xx"}"#;
    let path = "collections/c/documents/full";
    rig.table(&[
        ("PUT", path, &text_of(1 << 20), 201, ""),
        ("PATCH", path, patch, 413, "document-too-large"),
    ])
    .await;
}

#[actix_web::test]
async fn a_full_disk_refuses_writes_and_recovers() {
    let rig = Rig::new().await;
    let path = "collections/c/documents/a";
    rig.log.set_full(true);
    rig.table(&[("PUT", path, "{}", 507, "storage-full")]).await;
    rig.log.set_full(false);
    rig.table(&[("PUT", path, "{}", 201, "")]).await;
}

#[actix_web::test]
async fn a_smaller_page_can_be_configured() {
    let rig = Rig::empty(Options { page_max: 10, ..options() });
    rig.table(&[
        ("GET", "/v1/projects", "", 200, ""),
        ("GET", "/v1/projects?limit=10", "", 200, ""),
        ("GET", "/v1/projects?limit=11", "", 400, "invalid-parameter"),
    ])
    .await;
}
