//! The description of the API is complete and true: a stranger who knows nothing else finds no
//! answer that it does not tell.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use harness::{ADMIN_KEY, Setup, root};

/// Requests made up for each operation.
const EXAMPLES: &str = "25";
/// The longest that they may take together.
const WAIT_MAX: Duration = Duration::from_secs(150);

#[tokio::test]
async fn the_description_is_the_published_one() {
    let server = Setup::new().start().await;
    let served = server.admin().with_token("").get("/openapi.json").expect(200).await;
    assert_eq!(served["openapi"].as_str().map(|version| &version[..4]), Some("3.1."));
    let path = root().join("schemas/openapi.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = serde_json::to_string_pretty(&served).expect("JSON");
        std::fs::write(&path, text + "\n").expect("the description can be written");
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    let published: Value = serde_json::from_str(&published).unwrap_or_default();
    let hint = "schemas/openapi.json is old: run `UPDATE_DOCS=1 cargo test -p tests openapi`";
    assert!(published == served, "{hint}, and review the change");
}

#[tokio::test]
async fn every_operation_says_what_it_answers() {
    let server = Setup::new().start().await;
    let served = server.admin().get("/openapi.json").expect(200).await;
    let mut ids = std::collections::HashSet::new();
    for (path, item) in served["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path item") {
            let Some(responses) = operation["responses"].as_object() else { continue };
            let name = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert!(!id.is_empty() && ids.insert(id), "{name}: operationId {id:?}");
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{name}"
            );
            let success = |status: &String| status.starts_with(['1', '2', '3']);
            assert!(responses.keys().any(success), "{name} never succeeds");
            for (status, response) in responses {
                let problem = &response["content"]["application/problem+json"];
                let is_readiness = path == "/readyz";
                let fits = success(status) || is_readiness || problem["schema"].is_object();
                assert!(fits, "{name}: {status} has no problem: {response}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_requests_get_only_documented_answers() {
    let schemathesis = root().join(".venv/bin/schemathesis");
    assert!(schemathesis.exists(), ".venv/bin/schemathesis is missing: run `make test`");
    // A position of the future is made up often: nobody has to wait for it.
    let setup = Setup::new().set("HEADWATER__ENGINE__READ_WAIT_S", 0);
    let server = setup.start().await;
    let project = server.project("demo").await;
    for id in ["a", "b"] {
        project.write("c", id, &json!({"n": 1})).await;
    }
    let mut command = Command::new(schemathesis);
    command
        .env("SCHEMATHESIS_HOOKS", root().join("tests/it/openapi/hooks.py"))
        .arg("--config-file")
        .arg(root().join("tests/it/openapi/schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/openapi.json", server.url))
        .args(["--header", &format!("Authorization: Bearer {ADMIN_KEY}")])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--workers", "1", "--no-color"])
        .args(["--checks", "not_a_server_error,status_code_conformance"])
        .args(["--checks", "content_type_conformance,response_schema_conformance"])
        .args(["--checks", "response_headers_conformance"])
        // A stream has no end, and a socket is no request.
        .args(["--exclude-path-regex", "/realtime"])
        .current_dir(setup.folder())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(WAIT_MAX, command.output()).await;
    let output = output.expect("schemathesis takes too long").expect("schemathesis starts");
    let text = harness::server::printed(&output);
    assert!(output.status.success(), "{text}");
    server.admin().get("/readyz").expect(200).await;
}
