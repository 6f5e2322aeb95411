//! One idempotency key is one intent: a repeat gets the first answer, and nothing happens twice,
//! whatever happened to the server in between.

use futures_util::future::join_all;
use serde_json::json;

use harness::client::Request;
use harness::{Answer, Project, Setup, events_of};

/// Every kind of write, each with a key of its own, on documents of its own.
fn writes(project: &Project) -> Vec<Request> {
    let writes = json!([
        {"op": "create", "collection": "c", "id": "one", "data": {"n": 1}},
        {"op": "delete", "collection": "c", "id": "gone"},
    ]);
    vec![
        project.client.post(&project.documents("c"), &json!({"a": 1})).key("post"),
        project.put("c", "put", &json!({"a": 1})).if_none().key("put"),
        project.patch("c", "old", &json!({"b": 2})).if_match(1).key("patch"),
        project.delete("c", "old2").key("delete"),
        project.commit(&writes, &json!([])).key("commit"),
    ]
}

async fn send(project: &Project) -> Vec<Answer> {
    let mut answers = Vec::new();
    for request in writes(project) {
        let answer = request.send().await;
        assert!(answer.is_ok(), "{}: {}", answer.status, answer.text());
        answers.push(answer);
    }
    answers
}

async fn prepare(project: &Project) {
    for id in ["old", "old2", "gone"] {
        project.write("c", id, &json!({"a": 1})).await;
    }
}

fn check_same(first: &[Answer], again: &[Answer]) {
    for (first, again) in first.iter().zip(again) {
        let facts = |answer: &Answer| (answer.status, answer.text(), answer.position());
        assert_eq!(facts(again), facts(first));
        assert_eq!(first.header("idempotency-replayed"), None);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer() {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    prepare(&project).await;
    let first = send(&project).await;
    let events = project.events("").await;
    check_same(&first, &send(&project).await);
    // Even when the document has moved on since.
    project.write("c", "put", &json!({"a": 2})).await;
    project.delete("c", "one").send().await.position();
    let after = project.events("").await;
    assert_eq!(after.0.len(), events.0.len() + 2);
    check_same(&first, &send(&project).await);
    assert_eq!(project.events("").await, after);
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_after_a_stop_and_after_a_kill() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("demo").await;
    prepare(&project).await;
    let first = send(&project).await;
    let events = project.events("").await;
    server.kill().await;
    let server = setup.start().await;
    let project = project.at(&server.url);
    check_same(&first, &send(&project).await);
    server.stop().await;
    let server = setup.start().await;
    let project = project.at(&server.url);
    check_same(&first, &send(&project).await);
    server.stop().await;
    // The tables are only a copy: the log remembers the keys.
    std::fs::remove_dir_all(setup.data().join("tables")).expect("there are tables");
    let server = setup.start().await;
    let project = project.at(&server.url);
    check_same(&first, &send(&project).await);
    assert_eq!(project.events("").await, events);
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused() {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    project.put("c", "d", &json!({"n": 1})).key("k").expect(201).await;
    let events = project.events("").await;
    for other in [
        project.put("c", "d", &json!({"n": 2})),
        project.put("c", "e", &json!({"n": 1})),
        project.put("c", "d", &json!({"n": 1})).if_match(1),
        project.patch("c", "d", &json!({"n": 1})),
        project.delete("c", "d"),
        project.client.post(&project.documents("c"), &json!({"n": 1})),
    ] {
        other.key("k").refused(422, "idempotency-key-reused").await;
    }
    assert_eq!(project.events("").await, events);
}

#[tokio::test]
async fn a_refused_request_does_not_use_its_key_up() {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    let patch = || project.patch("c", "d", &json!({"b": 2})).key("k");
    patch().refused(404, "document-not-found").await;
    project.write("c", "d", &json!({"a": 1})).await;
    assert_eq!(patch().expect(200).await["version"], 2);
    assert_eq!(patch().expect(200).await["version"], 2);
}

#[tokio::test]
async fn keys_of_two_projects_have_nothing_to_do_with_each_other() {
    let server = Setup::new().start().await;
    for id in ["one", "two"] {
        let project = server.project(id).await;
        let answer = project.put("c", "d", &json!({"in": id})).key("k").send().await;
        assert_eq!(answer.expect(201)["data"]["in"], id);
        assert_eq!(answer.header("idempotency-replayed"), None);
    }
}

#[tokio::test]
async fn a_key_is_text_of_a_bounded_length() {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    project.put("c", "d", &json!({})).key(&"k".repeat(255)).expect(201).await;
    for key in [String::new(), "k".repeat(256), "ä".to_owned()] {
        let odd = project.put("c", "e", &json!({})).key(&key);
        odd.refused(400, "invalid-parameter").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_repeats_at_once_are_one_event() {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    for round in 0..10 {
        let key = format!("k{round}");
        let post = || project.client.post(&project.documents("c"), &json!({"n": round})).key(&key);
        let answers = join_all((0..16).map(|_| post().send())).await;
        let first = (answers[0].expect(201), answers[0].position());
        assert!(answers.iter().all(|answer| (answer.expect(201), answer.position()) == first));
        let replayed =
            answers.iter().filter(|answer| answer.header("idempotency-replayed").is_some());
        assert_eq!(replayed.count(), 15);
    }
    let (events, _) = project.events("").await;
    assert_eq!(events_of(&events, "c").len(), 10);
}
