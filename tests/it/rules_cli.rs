//! What a developer does with access rules before they count: tests of them from files, without a
//! server, and a draft tried on what a server was asked.

use std::path::Path;

use serde_json::{Value, json};

use harness::Setup;
use harness::server::printed;

const OWN: &str = "auth != null && resource.owner == auth.uid";

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(folder).expect("a folder can be made");
    std::fs::write(folder.join(name), text).expect("a file can be written");
}

fn rules() -> Value {
    json!({
        "rules": {"read": OWN, "update": format!("{OWN} && get('rooms', resource.room).open")},
        "fields": {"secret": {"read": "hasRole('auditor')"}, "state": {"write": "false"}},
    })
}

fn tests() -> Value {
    let note = json!({"owner": "ann", "room": "r1", "secret": 1});
    json!({
        "collection": "notes",
        "documents": {"rooms/r1": {"open": true}},
        "users": {"ann": {}, "bob": {"roles": ["boss"]}},
        "people": {"roles": {"boss": {"includes": ["auditor"]}}},
        "tests": [
            {"name": "ann reads hers", "as": "ann", "op": "read", "before": note,
             "expect": "allow", "hidden": ["secret"]},
            {"name": "bob does not", "as": "bob", "op": "read", "before": note, "expect": "deny"},
            {"name": "ann can't approve", "as": "ann", "op": "update", "before": note,
             "after": {"owner": "ann", "state": "approved"}, "expect": "deny",
             "deniedField": "state"},
        ],
    })
}

#[tokio::test]
async fn tests_of_rules_need_no_server() {
    let setup = Setup::new();
    let folder = setup.folder().join("rules");
    write(&folder, "notes.rules.json", &rules().to_string());
    write(&folder, "notes.test.json", &tests().to_string());
    let told = setup.run_ok(&["rules", "test"]).await;
    assert!(told.contains("ok      rules/notes.test.json: ann reads hers\n"), "{told}");
    assert!(told.ends_with("3 tests, 0 failed, 0 bad files\n"), "{told}");

    let mut other = rules();
    other["rules"]["read"] = "resource.owned == auth.uid".into();
    write(&folder, "notes.rules.json", &other.to_string());
    for args in [&["rules", "test", "rules"][..], &["rules", "test", "rules/notes.test.json"]] {
        let output = setup.run(args).await;
        let told = printed(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let failed = "FAILED  rules/notes.test.json: ann reads hers: expected allow, got deny: \
                      a field or key is not there\n";
        assert!(told.contains(failed), "{told}");
        assert!(told.contains("ok      rules/notes.test.json: bob does not\n"), "{told}");
        assert!(told.ends_with("3 tests, 1 failed, 0 bad files\n"), "{told}");
    }
}

#[tokio::test]
async fn bad_files_are_named_with_their_place() {
    let setup = Setup::new();
    let folder = setup.folder().join("mine");
    write(&folder, "good.rules.json", "{}");
    write(&folder, "bad.rules.json", "{\"rules\": {\n  \"read\": \"true && nobody\"\n}}");
    write(&folder, "cut.rules.json", "{}");
    write(&folder, "cut.test.json", "{\"collection\": \"c\",\n  \"tests\": [");
    write(&folder, "lone.test.json", "{}");
    let output = setup.run(&["rules", "test", "mine"]).await;
    let told = printed(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for line in [
        "mine/bad.rules.json:2:20: read: there is no variable \"nobody\"\n",
        "mine/cut.test.json:2:",
        "mine/lone.rules.json:1:1: ",
        "0 tests, 0 failed, 3 bad files\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    for args in [&["rules", "test"][..], &["rules", "test", "none"], &["rules", "test", "/"]] {
        assert_eq!(setup.run(args).await.status.code(), Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn a_draft_is_tried_on_what_was_asked() {
    let setup = Setup::new().set("HEADWATER__AUTH__RECORD_ONE_IN", 1);
    let server = setup.start().await;
    let project = server.project("demo").await;
    let settings = json!({"rules": {"read": "resource.public == true", "create": "true"}});
    project.client.put(&project.path("/collections/notes"), &settings).expect(201).await;
    let key = harness::Project::key_of(&server.admin(), "demo", "publishable").await;
    project.write("notes", "a", &json!({"public": true, "text": "kept-nowhere"})).await;
    let visitor = project.client.with_token(&key);
    visitor.get(&project.document("notes", "a")).expect(200).await;
    visitor.get(&project.document("notes", "none")).refused(403, "forbidden").await;
    let sent = visitor.put(&project.document("notes", "b"), &json!({"text": "kept-nowhere"}));
    sent.expect(201).await;

    let draft = json!({"rules": {"read": "false", "create": "true"}}).to_string();
    write(setup.folder(), "notes.rules.json", &draft);
    write(setup.folder(), "same.rules.json", &settings.to_string());
    let token = project.client.token().to_owned();
    let run = async |file: &str, more: &[&str]| {
        let args = ["rules", "try", file, "--url", &server.url, "--key", &token];
        let args = [&args[..], &["--project", "demo", "--collection", "notes"], more].concat();
        let output = setup.run(&args).await;
        (output.status.code(), printed(&output))
    };
    let (code, told) = run("notes.rules.json", &[]).await;
    assert_eq!(code, Some(0), "{told}");
    let words: Vec<Vec<&str>> =
        told.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[1][1..], ["read", "a", "nobody", "allow", "deny"], "{told}");
    assert!(told.ends_with("3 checked, 1 would change, 0 skipped\n"), "{told}");
    assert_eq!(run("notes.rules.json", &["--exit-code"]).await.0, Some(1));
    let (code, told) = run("same.rules.json", &["--exit-code"]).await;
    assert_eq!((code, told.as_str()), (Some(0), "3 checked, 0 would change, 0 skipped\n"));

    // A draft that can't be used never leaves this machine.
    write(setup.folder(), "bad.rules.json", "{\"rules\": {\"read\": \"nobody\"}}");
    let (code, told) = run("bad.rules.json", &[]).await;
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("bad.rules.json:1:21: read: "), "{told}");
    assert!(!server.log.text().contains("kept-nowhere"));
}
