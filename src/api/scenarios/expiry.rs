//! Documents that go by themselves: by the field that their collection names, deleted by the
//! system, and never against a newer write.

use std::time::{Duration, Instant};

use domain::Timestamp;
use serde_json::{Value, json};

use super::Rig;

/// A time so many milliseconds from now.
fn at(from_now_ms: i64) -> String {
    Timestamp::from_micros(engine::now().as_micros() + from_now_ms * 1_000).to_string()
}

async fn rig(batch: usize) -> Rig {
    let expiry_interval = Duration::from_millis(20);
    Rig::with(engine::Options { expiry_interval, expiry_batch: batch, ..Default::default() }).await
}

async fn put(rig: &Rig, id: &str, data: Value) {
    let path = format!("collections/c/documents/{id}");
    let put = rig.ask("PUT", &path, &[], &data.to_string()).await;
    assert!(put.status < 300, "{}", put.text);
}

async fn left(rig: &Rig) -> Vec<String> {
    let listed = rig.ask("GET", "collections/c/documents?limit=1000", &[], "").await.json();
    let documents = listed["documents"].as_array().unwrap();
    documents.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until only these are left.
async fn wait_for(rig: &Rig, expected: &[&str]) {
    let began = Instant::now();
    while left(rig).await != expected {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", left(rig).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix_web::test]
async fn what_is_due_is_deleted_by_the_system() {
    let rig = rig(500).await;
    // Some are there before anybody says that they go.
    put(&rig, "old-due", json!({"until": at(-60_000)})).await;
    put(&rig, "old-later", json!({"until": at(1_500)})).await;
    put(&rig, "old-never", json!({"until": "soon"})).await;
    let settings = r#"{"expires":"until"}"#;
    rig.table(&[("PUT", "collections/c", settings, 201, "")]).await;
    assert_eq!(rig.ask("GET", "collections/c", &[], "").await.json()["expires"], "until");
    put(&rig, "due", json!({"until": at(-1)})).await;
    put(&rig, "later", json!({"until": at(1_500)})).await;
    put(&rig, "never", json!({"n": 1})).await;
    put(&rig, "far", json!({"until": "9999-01-01T00:00:00Z"})).await;
    // Its time is put off before it comes.
    put(&rig, "put-off", json!({"until": at(1_000)})).await;
    put(&rig, "put-off", json!({"until": at(3_600_000)})).await;
    wait_for(&rig, &["far", "never", "old-never", "put-off"]).await;
    let history = rig.ask("GET", "collections/c/documents/due/history", &[], "").await.json();
    let deletion = &history["versions"][0];
    assert_eq!(
        (&deletion["type"], &deletion["actor"]),
        (&json!("document.deleted"), &json!("system"))
    );
    assert_eq!(history["versions"].as_array().unwrap().len(), 2);
    // One that is made anew goes anew.
    put(&rig, "due", json!({"until": at(-1)})).await;
    wait_for(&rig, &["far", "never", "old-never", "put-off"]).await;
    // What the field is, is as the collection says now.
    rig.table(&[("PUT", "collections/c", r#"{"expires":"a.end"}"#, 200, "")]).await;
    put(&rig, "later", json!({"until": at(-1), "a": {"end": at(400_000)}})).await;
    put(&rig, "far", json!({"a": {"end": at(-1)}})).await;
    wait_for(&rig, &["later", "never", "old-never", "put-off"]).await;
    rig.table(&[("PUT", "collections/c", "{}", 200, "")]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    put(&rig, "never", json!({"a": {"end": at(-1)}})).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(left(&rig).await, ["later", "never", "old-never", "put-off"]);
}

#[actix_web::test]
async fn many_go_in_small_batches() {
    let rig = rig(7).await;
    for n in 0..60 {
        put(&rig, &format!("{n:02}"), json!({"until": at(-1_000 + n)})).await;
    }
    rig.table(&[("PUT", "collections/c", r#"{"expires":"until"}"#, 201, "")]).await;
    wait_for(&rig, &[]).await;
    let events = rig.ask("GET", "events?types=document.deleted&limit=1000", &[], "").await.json();
    assert_eq!(events["events"].as_array().unwrap().len(), 60, "each once");
}

#[actix_web::test]
async fn a_newer_write_is_never_lost() {
    let rig = rig(500).await;
    rig.table(&[("PUT", "collections/c", r#"{"expires":"until"}"#, 201, "")]).await;
    for round in 0..40 {
        put(&rig, "a", json!({"until": at(15)})).await;
        tokio::time::sleep(Duration::from_millis(round % 40)).await;
        let patch = json!({"until": null, "round": round}).to_string();
        let patched = rig.ask("PATCH", "collections/c/documents/a", &[], &patch).await;
        match patched.status {
            200 => {
                tokio::time::sleep(Duration::from_millis(60)).await;
                let got = rig.ask("GET", "collections/c/documents/a", &[], "").await.json();
                assert_eq!(got["data"], json!({"round": round}), "it was put off in time");
            }
            _ => assert_eq!(patched.code(), "document-not-found"),
        }
    }
}

#[actix_web::test]
async fn a_field_that_can_not_be_read_is_refused() {
    let rig = rig(500).await;
    let personal = r#"{"expires":"a.until","subject":"$id","fields":{"a":{"personal":true}}}"#;
    rig.table(&[
        ("PUT", "collections/c", personal, 400, "invalid-body"),
        ("PUT", "collections/c", r#"{"expires":""}"#, 400, "invalid-body"),
        ("PUT", "collections/c", r#"{"expires":7}"#, 400, "invalid-body"),
    ])
    .await;
}
