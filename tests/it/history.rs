//! Nothing is forgotten: each version of a document, what was there at any position or time, and
//! back to any of them.

use serde_json::{Value, json};

use harness::{Project, Server, Setup};

async fn started() -> (Server, Project) {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    (server, project)
}

/// A document that was made, changed, deleted, made again and changed; the answers' positions.
async fn lived(project: &Project) -> Vec<String> {
    vec![
        project.write("c", "d", &json!({"n": 1})).await.position(),
        project.patch("c", "d", &json!({"n": 2})).send().await.position(),
        project.delete("c", "d").send().await.position(),
        project.write("c", "d", &json!({"n": 4})).await.position(),
        project.write("c", "d", &json!({"n": 5})).await.position(),
    ]
}

async fn as_of(project: &Project, at: &str) -> Option<Value> {
    let path = format!("{}?asOf={at}", project.document("c", "d"));
    let answer = project.client.get(&path).send().await;
    match answer.status {
        404 => {
            answer.problem(404, "document-not-found");
            None
        }
        _ => Some(answer.expect(200)),
    }
}

fn numbers(versions: &[Value]) -> Vec<u64> {
    versions.iter().map(|version| version["version"].as_u64().expect("a version")).collect()
}

#[tokio::test]
async fn a_history_tells_each_version_newest_first() {
    let (_server, project) = started().await;
    let positions = lived(&project).await;
    let versions = project.history("c", "d").await;
    assert_eq!(numbers(&versions), [5, 4, 3, 2, 1]);
    let (events, _) = project.events("").await;
    for (version, position) in versions.iter().rev().zip(&positions) {
        assert_eq!(version["position"], *position);
        let event = events.iter().find(|event| event["position"] == *position);
        let event = event.expect("each version is an event");
        assert_eq!(version["time"], event["time"]);
        assert_eq!(version["actor"], event["actor"]);
        assert!(version["actor"].as_str().expect("an actor").starts_with("key:"), "{version}");
        let of_event = &version["event"];
        assert!(*of_event == event["id"] || *of_event == event["type"], "{version}");
    }
    let data: Vec<_> = versions.iter().map(|version| version["data"]["n"].as_u64()).collect();
    assert_eq!(data, [Some(5), Some(4), None, Some(2), Some(1)]);
    let path = format!("{}/history?limit=2", project.document("c", "d"));
    let page = project.client.get(&path).expect(200).await;
    assert_eq!(numbers(page["versions"].as_array().expect("versions")), [5, 4]);
    let missing = format!("{}/history", project.document("c", "never"));
    project.client.get(&missing).refused(404, "document-not-found").await;
}

#[tokio::test]
async fn a_document_is_read_as_it_was_at_a_position() {
    let (_server, project) = started().await;
    let before = project.write("c", "other", &json!({})).await.position();
    let positions = lived(&project).await;
    assert_eq!(as_of(&project, &before).await, None);
    for (position, n) in positions.iter().zip([Some(1), Some(2), None, Some(4), Some(5)]) {
        let then = as_of(&project, position).await;
        assert_eq!(then.as_ref().and_then(|then| then["data"]["n"].as_u64()), n, "{position}");
        if let Some(then) = then {
            assert_eq!(then["position"], *position);
        }
    }
    let after = project.write("c", "other", &json!({})).await.position();
    let then = as_of(&project, &after).await.expect("it is there");
    assert_eq!(then, project.get("c", "d").expect(200).await);
}

#[tokio::test]
async fn a_document_is_read_as_it_was_at_a_time() {
    let (_server, project) = started().await;
    lived(&project).await;
    let versions = project.history("c", "d").await;
    for version in &versions {
        let then = as_of(&project, version["time"].as_str().expect("a time")).await;
        let found = then.as_ref().map(|then| then["data"].clone());
        // Several versions may have the same time; the newest of them counts.
        let newest = versions.iter().find(|other| other["time"] == version["time"]);
        let wanted = newest.expect("itself")["data"].clone();
        assert_eq!(found.unwrap_or_default(), wanted);
    }
    assert_eq!(as_of(&project, "2000-01-01T00:00:00Z").await, None);
    let now = as_of(&project, "2999-01-01T00:00:00Z").await.expect("it is there");
    assert_eq!(now["version"], 5);
    // The same moment, told from another time zone.
    let time = versions[4]["time"].as_str().expect("a time").replace('Z', "%2B00:00");
    assert!(as_of(&project, &time).await.is_some());
}

#[tokio::test]
async fn a_moment_that_is_none_is_refused() {
    let (_server, project) = started().await;
    let position = project.write("c", "d", &json!({})).await.position();
    let (partition, offset) = position.split_once('-').expect("a position");
    let (partition, offset): (u32, u64) =
        (partition.parse().expect("a number"), offset.parse().expect("a number"));
    for (at, code) in [
        (format!("{partition}-{}", offset + 1), "position-ahead"),
        (format!("{}-0", (partition + 1) % 4), "position-elsewhere"),
        ("yesterday".to_owned(), "invalid-parameter"),
        ("2026-02-30T00:00:00Z".to_owned(), "invalid-parameter"),
        (String::new(), "invalid-parameter"),
    ] {
        for path in [project.document("c", "d"), project.documents("c")] {
            project.client.get(&format!("{path}?asOf={at}")).refused(400, code).await;
        }
    }
}

#[tokio::test]
async fn a_list_is_read_as_it_was() {
    let (_server, project) = started().await;
    let mut moments = Vec::new();
    for n in 0..12_u64 {
        let id = format!("d{}", n % 5);
        let position = match n % 4 {
            3 => project.delete("c", &format!("d{}", (n - 1) % 5)).send().await.position(),
            _ => project.write("c", &id, &json!({"n": n})).await.position(),
        };
        moments.push((position, project.list("c", "").await));
    }
    for (position, then) in &moments {
        assert_eq!(project.list("c", &format!("limit=2&asOf={position}")).await, *then);
    }
    assert_eq!(project.list("c", "asOf=2000-01-01T00:00:00Z").await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_earlier_version_comes_back_as_a_new_one() {
    let (_server, project) = started().await;
    lived(&project).await;
    let path = format!("{}/restore", project.document("c", "d"));
    let restored = project.client.post(&path, &json!({"version": 2})).expect(200).await;
    assert_eq!((&restored["version"], &restored["data"]), (&json!(6), &json!({"n": 2})));
    project.client.post(&path, &json!({"version": 3})).refused(409, "version-was-deletion").await;
    project.client.post(&path, &json!({"version": 99})).refused(404, "version-not-found").await;
    project.client.post(&path, &json!({"version": 0})).send().await.any_problem();
    let stale = project.client.post(&path, &json!({"version": 1})).if_match(5);
    stale.refused(412, "version-mismatch").await;
    project.delete("c", "d").send().await.position();
    let restored = project.client.post(&path, &json!({"version": 5})).send().await;
    assert!(restored.is_ok(), "{}", restored.text());
    assert_eq!(project.get("c", "d").expect(200).await["data"], json!({"n": 5}));
    assert_eq!(numbers(&project.history("c", "d").await), [8, 7, 6, 5, 4, 3, 2, 1]);
    let missing = format!("{}/restore", project.document("c", "never"));
    project.client.post(&missing, &json!({"version": 1})).send().await.any_problem();
}

#[tokio::test]
async fn the_past_is_the_same_after_a_restart_and_a_rebuild() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("demo").await;
    let positions = lived(&project).await;
    let mut before = vec![json!(project.history("c", "d").await)];
    for position in &positions {
        before.push(json!(as_of(&project, position).await));
    }
    server.kill().await;
    for wiped in [false, true] {
        if wiped {
            std::fs::remove_dir_all(setup.data().join("tables")).expect("there are tables");
        }
        let server = setup.start().await;
        let project = project.at(&server.url);
        let mut after = vec![json!(project.history("c", "d").await)];
        for position in &positions {
            after.push(json!(as_of(&project, position).await));
        }
        assert_eq!(after, before);
        server.stop().await;
    }
}

#[tokio::test]
async fn events_are_read_by_type_and_from_any_position() {
    let (_server, project) = started().await;
    lived(&project).await;
    let (all, end) = project.events("").await;
    let kinds: Vec<_> = all.iter().filter_map(|event| event["type"].as_str()).collect();
    let documents = ["created", "updated", "deleted", "created", "updated"];
    let wanted = documents.map(|kind| format!("document.{kind}"));
    assert_eq!(kinds[kinds.len() - 5..], wanted, "{kinds:?}");
    for event in &all {
        assert_eq!(event["specversion"], "1.0", "{event}");
        for field in ["id", "source", "type", "subject", "time", "dataschema", "actor", "position"]
        {
            assert!(event[field].is_string(), "{field} of {event}");
        }
        assert!(event["correlationid"].is_string() && event["streamversion"].is_u64(), "{event}");
    }
    let path = project.path("/events?types=document.deleted,project.created");
    let some = project.client.get(&path).expect(200).await;
    let some: Vec<_> = some["events"].as_array().expect("events").iter().collect();
    assert_eq!(some.len(), 2, "{some:?}");
    let third = all[2]["position"].as_str().expect("a position");
    assert_eq!(project.events(third).await.0, all[2..]);
    assert_eq!(project.events(&end).await, (Vec::new(), end.clone()));
    let odd = project.path("/events?types=no%20type");
    project.client.get(&odd).refused(400, "invalid-parameter").await;
    let odd = project.path("/events?from=x");
    project.client.get(&odd).refused(400, "invalid-position").await;
}
