//! A commit happens as a whole or not at all, and only if what it has read still holds.

use futures_util::future::join_all;
use serde_json::{Value, json};

use harness::{Project, Server, Setup, events_of};

async fn started() -> (Server, Project) {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    (server, project)
}

fn write(op: &str, id: &str, data: &Value) -> Value {
    let mut write = json!({"op": op, "collection": "c", "id": id});
    if !data.is_null() {
        write["data"] = data.clone();
    }
    write
}

fn with_version(mut write: Value, version: u64) -> Value {
    write["ifVersion"] = json!(version);
    write
}

#[tokio::test]
async fn a_commit_writes_everything_side_by_side() {
    let (_server, project) = started().await;
    project.write("c", "patched", &json!({"a": 1})).await;
    project.write("c", "deleted", &json!({})).await;
    let (_, from) = project.events("").await;
    let writes = json!([
        write("create", "made", &json!({"n": 1})),
        with_version(write("patch", "patched", &json!({"b": 2})), 1),
        with_version(write("delete", "deleted", &Value::Null), 1),
        {"op": "create", "collection": "other", "id": "made", "data": {}},
    ]);
    let answer = project.commit(&writes, &json!([])).send().await;
    answer.expect(200);
    assert_eq!(project.get("c", "made").expect(200).await["data"], json!({"n": 1}));
    let patched = project.get("c", "patched").expect(200).await;
    assert_eq!((&patched["data"], &patched["version"]), (&json!({"a": 1, "b": 2}), &json!(2)));
    project.get("c", "deleted").refused(404, "document-not-found").await;
    project.get("other", "made").expect(200).await;
    let (events, _) = project.events(&from).await;
    let parts: Vec<_> = events
        .iter()
        .map(|event| (&event["transactionindex"], &event["transactioncount"]))
        .collect();
    let (count, numbers) = (json!(4), [json!(0), json!(1), json!(2), json!(3)]);
    assert_eq!(parts, numbers.each_ref().map(|index| (index, &count)));
    let id = &events[0]["transactionid"];
    assert!(id.is_string() && events.iter().all(|event| event["transactionid"] == *id));
    assert_eq!(events[3]["position"], answer.position());
    let offsets: Vec<u64> = events.iter().map(offset).collect();
    assert!(offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{offsets:?}");
}

fn offset(event: &Value) -> u64 {
    let position = event["position"].as_str().and_then(|position| position.split_once('-'));
    position.and_then(|(_, offset)| offset.parse().ok()).expect("a position")
}

#[tokio::test]
async fn one_write_in_the_way_and_nothing_is_written() {
    let (_server, project) = started().await;
    project.write("c", "there", &json!({"n": 1})).await;
    let before = project.events("").await;
    let fine = write("create", "new", &json!({}));
    for (bad, status, code) in [
        (write("create", "there", &json!({})), 409, "document-exists"),
        (write("patch", "missing", &json!({})), 404, "document-not-found"),
        (write("delete", "missing", &Value::Null), 404, "document-not-found"),
        (with_version(write("delete", "there", &Value::Null), 2), 409, "version-mismatch"),
        (write("create", "new", &json!({})), 409, "document-exists"),
    ] {
        let problem = project.commit(&json!([fine, bad]), &json!([])).refused(status, code).await;
        let field = problem["field"].as_str().unwrap_or_default();
        assert!(field.starts_with("/writes/1"), "{problem}");
    }
    assert_eq!(project.events("").await, before);
    project.get("c", "new").refused(404, "document-not-found").await;
}

#[tokio::test]
async fn a_commit_sees_its_own_earlier_writes() {
    let (_server, project) = started().await;
    let writes = json!([
        write("create", "d", &json!({"a": 1})),
        with_version(write("patch", "d", &json!({"b": 2})), 1),
        write("delete", "d", &Value::Null),
        write("create", "d", &json!({"c": 3})),
    ]);
    project.commit(&writes, &json!([])).expect(200).await;
    let document = project.get("c", "d").expect(200).await;
    assert_eq!((&document["version"], &document["data"]), (&json!(4), &json!({"c": 3})));
    assert_eq!(project.history("c", "d").await.len(), 4);
}

#[tokio::test]
async fn what_was_read_must_still_hold() {
    let (_server, project) = started().await;
    project.write("c", "read", &json!({"n": 1})).await;
    let reads = |version: u64| json!([{"collection": "c", "id": "read", "version": version}]);
    let absent = json!([{"collection": "c", "id": "absent", "version": 0}]);
    project.commit(&json!([write("create", "a", &json!({}))]), &reads(1)).expect(200).await;
    project.commit(&json!([write("create", "b", &json!({}))]), &absent).expect(200).await;
    project.write("c", "read", &json!({"n": 2})).await;
    project.write("c", "absent", &json!({})).await;
    for reads in [reads(1), absent] {
        let commit = project.commit(&json!([write("create", "x", &json!({}))]), &reads);
        let problem = commit.refused(409, "version-mismatch").await;
        assert_eq!(problem["field"].as_str().map(|f| f.starts_with("/reads/0")), Some(true));
    }
    project.get("c", "x").refused(404, "document-not-found").await;
}

#[tokio::test]
async fn no_increment_is_lost() {
    let (_server, project) = started().await;
    project.write("c", "counter", &json!({"n": 0, "who": []})).await;
    let counts = (0..200).map(|number| {
        let mut count = write("patch", "counter", &Value::Null);
        let who = number % 50;
        count["transforms"] = json!({"n": {"increment": 1}, "who": {"arrayUnion": [who]}});
        project.commit(&json!([count]), &json!([])).send()
    });
    for answer in join_all(counts).await {
        answer.expect(200);
    }
    let counter = project.get("c", "counter").expect(200).await;
    assert_eq!((&counter["data"]["n"], &counter["version"]), (&json!(200), &json!(201)));
    assert_eq!(counter["data"]["who"].as_array().map(Vec::len), Some(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_commits_in_conflict_exactly_one_wins() {
    let (_server, project) = started().await;
    project.write("c", "counter", &json!({"n": 0})).await;
    for round in 1..=5_u64 {
        let tries = (0..12).map(|who| {
            let writes = json!([
                with_version(write("replace", "counter", &json!({"n": round, "who": who})), round),
                write("create", &format!("by-{round}-{who}"), &json!({})),
            ]);
            let project = project.clone();
            async move { project.commit(&writes, &json!([])).send().await }
        });
        let answers = join_all(tries).await;
        let won: Vec<_> = answers.iter().filter(|answer| answer.is_ok()).collect();
        assert_eq!(won.len(), 1, "{round}");
        for answer in answers.iter().filter(|answer| !answer.is_ok()) {
            let problem = answer.problem(409, "version-mismatch");
            assert_eq!(problem["actualVersion"], round + 1);
        }
    }
    let made = project.list("c", "").await;
    assert_eq!(made.len(), 1 + 5);
    let winner = project.get("c", "counter").expect(200).await;
    let last = format!("by-5-{}", winner["data"]["who"]);
    project.get("c", &last).expect(200).await;
    let (events, _) = project.events("").await;
    assert_eq!(events_of(&events, "c").len(), 1 + 5 * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_with_if_match_loses_no_step() {
    let (_server, project) = started().await;
    project.write("c", "counter", &json!({"n": 0})).await;
    let count_to_ten = |project: Project| async move {
        let mut done = 0;
        while done < 10 {
            let now = project.get("c", "counter").expect(200).await;
            let version = now["version"].as_u64().expect("a version");
            let next = json!({"n": now["data"]["n"].as_u64().expect("a number") + 1});
            let answer = project.put("c", "counter", &next).if_match(version).send().await;
            match answer.status {
                200 => done += 1,
                _ => drop(answer.problem(412, "version-mismatch")),
            }
        }
    };
    join_all((0..4).map(|_| count_to_ten(project.clone()))).await;
    let counter = project.get("c", "counter").expect(200).await;
    assert_eq!((&counter["data"]["n"], &counter["version"]), (&json!(40), &json!(41)));
}
