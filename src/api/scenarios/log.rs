//! The events route and import: what one project tells, another can take over.

use serde_json::json;

use super::Rig;

#[actix_web::test]
async fn a_project_moves_by_export_and_import() {
    let rig = Rig::new().await;
    rig.ask("PUT", "collections/c/documents/a", &[], r#"{"n":1}"#).await;
    rig.ask("PUT", "collections/c/documents/a", &[], r#"{"n":2}"#).await;
    rig.ask("POST", "/v1/projects", &[], r#"{"id":"other","name":"O"}"#).await;

    let all = rig.ask("GET", "events", &[], "").await.json();
    let events = all["events"].as_array().unwrap();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["project.created", "document.created", "document.updated"]);
    assert_eq!((&all["next"], &all["end"]), (&json!("0-4"), &json!("0-4")));
    let part = rig.ask("GET", "events?from=0-1&limit=1", &[], "").await.json();
    assert_eq!((&part["events"][0], &part["next"]), (&events[1], &json!("0-2")));
    let some = rig.ask("GET", "events?types=document.updated,x.y", &[], "").await.json();
    assert_eq!(some["events"].as_array().unwrap().len(), 1);

    let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
    let ndjson = [("Content-Type", "application/x-ndjson")];
    let import = "/v1/projects/copy/import";
    let done = rig.ask("POST", import, &ndjson, &format!("{}\n\n", lines.join("\n"))).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(done.json(), json!({"position": "0-6", "events": 3}));
    let copy = rig.ask("GET", "/v1/projects/copy/collections/c/documents/a", &[], "").await.json();
    assert_eq!((&copy["version"], &copy["data"]), (&json!(2), &json!({"n": 2})));

    let again = rig.ask("POST", import, &ndjson, &lines.join("\n")).await;
    assert_eq!((again.status, again.code().as_str()), (422, "import-invalid"));
    let broken = format!("{}\n{{}}", lines[0]);
    let broken = rig.ask("POST", import, &ndjson, &broken).await;
    assert_eq!((broken.status, broken.code().as_str()), (400, "invalid-body"));
    assert!(broken.json()["detail"].as_str().unwrap().starts_with("line 2:"), "{}", broken.text);
    let empty = rig.ask("POST", import, &ndjson, "\n").await;
    assert_eq!(empty.status, 400);
    rig.table(&[
        ("POST", import, "{}", 415, "unsupported-media-type"),
        ("GET", "events?from=0-99", "", 400, "position-ahead"),
        ("GET", "events?from=9-0", "", 400, "position-elsewhere"),
        ("GET", "events?from=x", "", 400, "invalid-position"),
        ("GET", "events?types=A", "", 400, "invalid-parameter"),
    ])
    .await;
}
