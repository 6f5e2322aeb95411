//! What a collection says of its documents holds across a restart: what they must be like, what
//! they are filled in with, and when they go.

use std::time::Duration;

use serde_json::{Value, json};

use harness::{Project, Setup, eventually};

/// A time so many seconds from now.
fn at(from_now_s: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(from_now_s)).to_string()
}

async fn ids(project: &Project) -> Vec<String> {
    let listed = project.client.get(&project.documents("c")).expect(200).await;
    let documents = listed["documents"].as_array().expect("documents").clone();
    documents.iter().filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
}

async fn wait_for(project: &Project, expected: &[&str]) {
    eventually("what is due is gone", || async { ids(project).await == expected }).await;
}

#[tokio::test]
async fn a_schema_and_the_times_of_documents_outlive_a_restart() {
    let setup = Setup::new().set("HEADWATER__ENGINE__EXPIRY_INTERVAL_S", 1);
    let server = setup.start().await;
    let project = server.project("demo").await;
    let settings = json!({
        "schema": {
            "required": ["n"],
            "properties": {"n": {"type": "integer"}, "state": {"default": "new"}},
        },
        "expires": "until",
    });
    project.client.put(&project.path("/collections/c"), &settings).expect(201).await;
    for (id, until) in [("due", at(-5)), ("later", at(6)), ("far", at(3_600))] {
        project.put("c", id, &json!({"n": 1, "until": until})).expect(201).await;
    }
    project.put("c", "stays", &json!({"n": 1})).expect(201).await;
    project.put("c", "wrong", &json!({"n": "1"})).refused(400, "schema-mismatch").await;
    wait_for(&project, &["far", "later", "stays"]).await;
    server.stop().await;

    // Its time comes while nobody is there.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let server = setup.start().await;
    let project = project.at(&server.url);
    wait_for(&project, &["far", "stays"]).await;
    let history = project.document("c", "later") + "/history";
    let history: Value = project.client.get(&history).expect(200).await;
    let newest = &history["versions"][0];
    assert_eq!((&newest["type"], &newest["actor"]), (&json!("document.deleted"), &json!("system")));
    let stays = project.get("c", "stays").expect(200).await;
    assert_eq!(stays["data"], json!({"n": 1, "state": "new"}));
    let refused = project.patch("c", "stays", &json!({"n": 1.5}));
    let problem = refused.refused(400, "schema-mismatch").await;
    assert_eq!(problem["field"], "/data/n");
}
