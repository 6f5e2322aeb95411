//! The tables are a copy that can be thrown away at any time, and a project's log is all that it
//! takes to have the project somewhere else.

use std::path::PathBuf;

use serde_json::{Value, json};

use harness::{ADMIN_KEY, Project, Server, Setup, files_below};

/// A project with a life: documents made, changed, deleted, restored, and configuration.
async fn lived(server: &Server) -> Project {
    let project = server.project("demo").await;
    for n in 0..40_u64 {
        let id = format!("d{:02}", n % 10);
        match n % 7 {
            5 => drop(project.delete("c", &format!("d{:02}", (n - 1) % 10)).send().await),
            6 => drop(project.patch("c", &id, &json!({"patched": n})).send().await),
            _ => drop(project.write("c", &id, &json!({"n": n, "ü": "ä\n\"", "x": 1.50})).await),
        }
    }
    let writes = json!([
        {"op": "create", "collection": "other", "id": "a", "data": {"n": 1}},
        {"op": "create", "collection": "other", "id": "b", "data": {"n": 2}},
    ]);
    project.commit(&writes, &json!([])).key("once").expect(200).await;
    let restore = format!("{}/restore", project.document("c", "d00"));
    project.client.post(&restore, &json!({"version": 1})).expect(200).await;
    let rules = json!({"rules": {"read": "true"}});
    let configured = project.client.put(&project.path("/collections/c"), &rules).send().await;
    assert!(configured.is_ok(), "{}", configured.text());
    let rename = server.admin().request(reqwest::Method::PATCH, "/v1/projects/demo");
    rename.json(&json!({"name": "Demo 2"})).expect(200).await;
    project
}

/// All that can be read of a project but the places of its events.
async fn everything(project: &Project) -> Value {
    let mut all = Vec::new();
    for collection in ["c", "other"] {
        all.push(json!(project.list(collection, "limit=3").await));
    }
    for n in 0..10 {
        all.push(json!(project.history("c", &format!("d{n:02}")).await));
    }
    all.push(project.client.get(&project.path("/collections")).expect(200).await);
    all.push(project.client.get(&project.path("")).expect(200).await);
    all.push(json!(project.events("").await.0));
    json!(all)
}

fn without_places(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for name in ["position", "epoch", "source"] {
                    fields.shift_remove(name);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

fn data(setup: &Setup) -> String {
    setup.data().to_str().expect("a temporary path is UTF-8").to_owned()
}

fn file(setup: &Setup, name: &str) -> PathBuf {
    setup.folder().join(name)
}

#[tokio::test]
async fn a_rebuild_gives_the_same_tables() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = lived(&server).await;
    let before = everything(&project).await;
    let refused = setup.run(&["rebuild", "documents", "--verify", "--data", &data(&setup)]).await;
    assert!(!refused.status.success(), "the server was running");
    server.stop().await;
    for _ in 0..2 {
        let rebuild = ["rebuild", "documents", "--verify", "--data", &data(&setup)];
        let text = setup.run_ok(&rebuild).await;
        assert!(text.contains("digests are equal"), "{text}");
    }
    let server = setup.start().await;
    assert_eq!(everything(&project.at(&server.url)).await, before);
}

#[tokio::test]
async fn a_verification_notices_tables_that_differ() {
    let setup = Setup::new();
    let server = setup.start().await;
    lived(&server).await;
    server.stop().await;
    let kept = file(&setup, "tables-kept");
    std::fs::rename(setup.data().join("tables"), &kept).expect("there are tables");
    // Other documents under the same names and in the same number.
    let other = Setup::new();
    let server = other.start().await;
    let project = server.project("demo").await;
    while project.events("").await.1.split_once('-').map(|(_, end)| end.len()) < Some(2) {
        project.write("c", "d00", &json!({"other": true})).await;
    }
    server.stop().await;
    std::fs::rename(other.data().join("tables"), setup.data().join("tables")).expect("tables");
    let output = setup.run(&["rebuild", "documents", "--verify", "--data", &data(&setup)]).await;
    assert_eq!(output.status.code(), Some(1), "{}", harness::server::printed(&output));
    // The rebuilt tables are what the log says, whatever was there before.
    setup.run_ok(&["rebuild", "documents", "--verify", "--data", &data(&setup)]).await;
}

#[tokio::test]
async fn tables_that_are_gone_come_back_by_themselves() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = lived(&server).await;
    let before = everything(&project).await;
    server.stop().await;
    for killed in [false, true] {
        if killed {
            setup.start().await.kill().await
        }
        std::fs::remove_dir_all(setup.data().join("tables")).expect("there are tables");
        let server = setup.start().await;
        assert_eq!(everything(&project.at(&server.url)).await, before);
        server.stop().await;
    }
}

#[tokio::test]
async fn damaged_tables_are_rebuilt_by_themselves() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = lived(&server).await;
    let before = everything(&project).await;
    server.stop().await;
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..6 {
        let files = files_below(&setup.data().join("tables"));
        let files: Vec<_> = files.into_iter().filter(|file| !file.ends_with("lock")).collect();
        for path in &files {
            let mut bytes = std::fs::read(path).expect("a table can be read");
            match round {
                0 => bytes.clear(),
                1 => bytes.truncate(bytes.len() / 2),
                2 => bytes.fill(0),
                _ => {
                    for _ in 0..1 + bytes.len() / 50 {
                        if let Some(byte) = rng.choice(bytes.iter_mut()) {
                            *byte ^= 1 << rng.u8(..8);
                        }
                    }
                }
            }
            std::fs::write(path, &bytes).expect("a table can be written");
        }
        let server = setup.start().await;
        assert_eq!(everything(&project.at(&server.url)).await, before, "round {round}");
        server.stop().await;
    }
}

#[tokio::test]
async fn tables_ahead_of_their_log_are_a_refusal_to_start() {
    let setup = Setup::new();
    let server = setup.start().await;
    lived(&server).await;
    server.stop().await;
    let log = setup.data().join("log");
    std::fs::remove_dir_all(&log).expect("there is a log");
    let mut server = setup.spawn();
    assert!(!server.ended().await.success());
    let text = server.log.text();
    // The tables are the only copy of what the log lost: no advice may be to throw them away.
    let advice = text.contains("restore the log") && text.contains("move");
    assert!(advice && !text.contains("remove"), "{text}");
}

#[tokio::test]
async fn a_project_moves_with_its_whole_log() {
    let (setup, target) = (Setup::new(), Setup::new());
    let server = setup.start().await;
    let project = lived(&server).await;
    let before = everything(&project).await;
    let out = file(&setup, "demo.ndjson");
    let path = out.to_str().expect("UTF-8");
    let remote = ["--server", &server.url, "--key", ADMIN_KEY, "--project", "demo"];
    let mut args = vec!["export", "log", "--out", path];
    args.extend(remote);
    setup.run_ok(&args).await;
    let lines = std::fs::read_to_string(&out).expect("an export");
    assert_eq!(lines.lines().count(), project.events("").await.0.len());
    let new = target.start().await;
    let remote = ["--server", &new.url, "--key", ADMIN_KEY, "--project", "demo"];
    let mut args = vec!["import", "log", path];
    args.extend(remote);
    target.run_ok(&args).await;
    // The keys came along: the old one opens the new place.
    let moved = project.at(&new.url);
    assert_eq!(without_places(everything(&moved).await), without_places(before));
    // And so did what its idempotency keys stand for.
    let writes = json!([
        {"op": "create", "collection": "other", "id": "a", "data": {"n": 1}},
        {"op": "create", "collection": "other", "id": "b", "data": {"n": 2}},
    ]);
    project.commit(&writes, &json!([])).key("once").expect(200).await;
    let again = target.run(&args).await;
    assert!(!again.status.success() || moved.events("").await.0.len() == lines.lines().count());
    new.stop().await;
    let rebuild = ["rebuild", "documents", "--verify", "--data", &data(&target)];
    target.run_ok(&rebuild).await;
}

#[tokio::test]
async fn a_project_larger_than_a_request_moves_without_cutting_a_transaction() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("large").await;
    let pad = "x".repeat(4_000);
    for round in 0..5 {
        let writes: Value = (0..500)
            .map(|n| {
                let (id, data) = (format!("d{round}-{n}"), json!({"n": n, "pad": pad}));
                json!({"op": "create", "collection": "c", "id": id, "data": data})
            })
            .collect();
        project.commit(&writes, &json!([])).expect(200).await;
    }
    let out = file(&setup, "large.ndjson");
    let path = out.to_str().expect("UTF-8");
    let remote = ["--server", &server.url, "--key", ADMIN_KEY, "--project", "large"];
    setup.run_ok(&[&["export", "log", "--out", path][..], &remote].concat()).await;
    let target = Setup::new();
    let new = target.start().await;
    let remote = ["--server", &new.url, "--key", ADMIN_KEY, "--project", "large"];
    target.run_ok(&[&["import", "log", path][..], &remote].concat()).await;
    let moved = project.at(&new.url);
    let (here, there) = (project.events("").await.0, moved.events("").await.0);
    assert_eq!(without_places(json!(there)), without_places(json!(here)));
    let (here, there) = (project.list("c", "limit=500").await, moved.list("c", "limit=500").await);
    assert_eq!(without_places(json!(there)), without_places(json!(here)));
    assert_eq!(here.len(), 2_500);
}

#[tokio::test]
async fn documents_are_exported_and_imported_as_lines() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = lived(&server).await;
    let other = server.project("copy").await;
    let out = file(&setup, "c.ndjson");
    let path = out.to_str().expect("UTF-8");
    let source = ["--server", &server.url, "--key", project.client.token()];
    let args = ["export", "documents", "--project", "demo", "--collection", "c", "--out", path];
    setup.run_ok(&[&args[..], &source].concat()).await;
    let listed = project.list("c", "").await;
    let lines = std::fs::read_to_string(&out).expect("an export");
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines, listed);
    let target = ["--server", &server.url, "--key", other.client.token()];
    let args = ["import", "documents", "--project", "copy", "--collection", "d", path];
    for again in [&[][..], &[], &["--again"]] {
        setup.run_ok(&[&args[..], &target, again].concat()).await;
        let copied = other.list("d", "").await;
        let data = |documents: &[Value]| -> Vec<Value> {
            documents.iter().map(|d| json!([d["id"], d["data"]])).collect()
        };
        assert_eq!(data(&copied), data(&listed));
    }
    // The second import was a repeat of the first; the third was asked to write once more.
    assert!(other.list("d", "").await.iter().all(|document| document["version"] == 2));
    std::fs::write(&out, "{\"id\":\"x\",\"data\":{}}\n{\"id\":\"y\",\"data\":[]}\n")
        .expect("a file");
    let output = setup.run(&[&args[..], &target].concat()).await;
    assert!(!output.status.success());
    let text = harness::server::printed(&output);
    assert!(text.contains('2'), "the bad line is named: {text}");
}

#[tokio::test]
async fn people_can_read_the_events() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("demo").await;
    let position = project.write("c", "d", &json!({"n": 1})).await.position();
    let remote = ["--server", &server.url, "--key", project.client.token(), "--project", "demo"];
    let text = setup.run_ok(&[&["events"][..], &remote].concat()).await;
    let line = text.lines().find(|line| line.starts_with(&position)).expect("the event");
    assert!(line.contains("document.created") && line.contains("document/c/d"), "{line}");
    let args = ["events", "--json", "--types", "document.created"];
    let text = setup.run_ok(&[&args[..], &remote].concat()).await;
    let event: Value = serde_json::from_str(text.trim()).expect("one event");
    assert_eq!(event, project.events(&position).await.0[0]);
}
