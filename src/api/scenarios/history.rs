//! A document's past: versions, reads as of a position and a time, and restoring.

use serde_json::json;

use super::Rig;

#[actix_web::test]
async fn every_version_can_be_seen_and_restored() {
    let rig = Rig::new().await;
    let path = "collections/c/documents/a";
    for n in 1..=3 {
        rig.ask("PUT", path, &[], &format!("{{\"n\":{n}}}")).await;
    }
    rig.ask("DELETE", path, &[], "").await;

    let history = rig.ask("GET", &format!("{path}/history?limit=3"), &[], "").await.json();
    let versions = history["versions"].as_array().unwrap();
    let seen: Vec<_> =
        versions.iter().map(|v| (v["version"].as_u64().unwrap(), &v["data"])).collect();
    assert_eq!(seen, [(4, &json!(null)), (3, &json!({"n": 3})), (2, &json!({"n": 2}))]);
    assert_eq!(versions[0]["type"], "document.deleted");
    assert_eq!(versions[0]["actor"], "admin");
    assert_eq!(history["next"], 2);
    let rest = rig.ask("GET", &format!("{path}/history?before=2"), &[], "").await.json();
    assert_eq!((rest["versions"][0]["version"].as_u64(), &rest["next"]), (Some(1), &json!(null)));

    let as_of = |at: &str| format!("{path}?asOf={at}");
    let old = rig.ask("GET", &as_of(versions[2]["position"].as_str().unwrap()), &[], "").await;
    assert_eq!((old.status, &old.json()["data"]), (200, &json!({"n": 2})));
    assert_eq!(old.header("etag"), "\"2\"");
    let time = versions[1]["time"].as_str().unwrap();
    let old = rig.ask("GET", &as_of(time), &[], "").await;
    assert_eq!(old.status, 200, "{}", old.text);

    let restore = format!("{path}/restore");
    let absent = |version: u64| format!("{{\"version\":{version}}}");
    rig.table(&[
        ("POST", &restore, &absent(9), 404, "version-not-found"),
        ("POST", &restore, &absent(0), 404, "version-not-found"),
        ("POST", &restore, &absent(u64::MAX), 404, "version-not-found"),
        ("POST", &restore, &absent(4), 409, "version-was-deletion"),
        ("POST", &restore, "{}", 400, "invalid-body"),
        ("POST", &restore, r#"{"version":"1"}"#, 400, "invalid-body"),
        ("GET", &as_of("0-99"), "", 400, "position-ahead"),
        ("GET", &as_of("9-0"), "", 400, "position-elsewhere"),
        ("GET", &as_of("0-0"), "", 404, "document-not-found"),
        ("GET", &as_of("1990-01-01T00:00:00Z"), "", 404, "document-not-found"),
        ("GET", "collections/c/documents/none/history", "", 404, "document-not-found"),
        ("GET", "collections/c/documents/none/history?before=3", "", 200, ""),
        ("GET", "collections/c/documents/a/history?before=0", "", 400, "invalid-parameter"),
    ])
    .await;
    let mismatch = rig.ask("POST", &restore, &[("If-Match", "\"4\"")], &absent(1)).await;
    assert_eq!(mismatch.status, 412);
    let restored = rig.ask("POST", &restore, &[], &absent(1)).await;
    assert_eq!((restored.status, restored.json()["version"].as_u64()), (200, Some(5)));
    assert_eq!(restored.json()["data"], json!({"n": 1}));
}
