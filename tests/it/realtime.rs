//! A subscriber gets a snapshot and then every change in order, over either protocol; and goes on
//! exactly where it was, after any gap.

mod frames;
mod mirror;
mod queries;
mod resume;
mod slow;
mod windows;

use serde_json::{Value, json};

use harness::{Project, Server, Setup, Socket, Sse, sse};

async fn started() -> (Server, Project) {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    (server, project)
}

fn collection() -> Value {
    json!({"collection": "c"})
}

/// Makes a document, changes it, deletes it; positions of the three.
async fn live_once(project: &Project, id: &str) -> Vec<String> {
    vec![
        project.write("c", id, &json!({"n": 1})).await.position(),
        project.patch("c", id, &json!({"n": 2})).send().await.position(),
        project.delete("c", id).send().await.position(),
    ]
}

/// What matters of a change: position, type, id, version.
fn facts(change: &Value) -> (String, String, String, u64) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let document = &change["document"];
    let version = document["version"].as_u64().expect("a version");
    (text(&change["position"]), text(&change["type"]), text(&document["id"]), version)
}

fn wanted(positions: &[String], id: &str) -> Vec<(String, String, String, u64)> {
    let kinds = ["added", "modified", "removed"];
    let all = positions.iter().zip(kinds).zip(1..);
    all.map(|((at, kind), version)| (at.clone(), kind.to_owned(), id.to_owned(), version)).collect()
}

#[tokio::test]
async fn a_socket_gets_a_snapshot_and_then_each_change() {
    let (_server, project) = started().await;
    project.write("c", "old", &json!({"n": 0})).await;
    let position = project.write("other", "not-mine", &json!({})).await.position();
    let mut socket = Socket::connect(&project).await;
    assert_eq!(socket.welcome["heartbeat"], 25);
    assert!(socket.welcome["session"].is_string(), "{}", socket.welcome);
    socket.subscribe("s1", &collection(), None).await;
    let snapshot = socket.expect("snapshot").await;
    assert_eq!((&snapshot["sub"], &snapshot["reset"]), (&json!("s1"), &json!(false)));
    assert_eq!(snapshot["documents"], json!([project.get("c", "old").expect(200).await]));
    assert_eq!(snapshot["position"], position);
    let live = socket.expect("live").await;
    assert_eq!((&live["sub"], &live["position"]), (&json!("s1"), &json!(position)));
    let positions = live_once(&project, "d").await;
    let changes = socket.changes(3).await;
    assert_eq!(changes.iter().map(facts).collect::<Vec<_>>(), wanted(&positions, "d"));
    let (events, _) = project.events("").await;
    for change in &changes {
        let event = events.iter().find(|event| event["position"] == change["position"]);
        assert_eq!(change["event"], event.expect("a change is an event")["id"]);
        assert_eq!(change["sub"], "s1");
    }
    assert_eq!(changes[1]["document"]["data"], json!({"n": 2}));
}

#[tokio::test]
async fn an_event_stream_gets_the_same() {
    let (_server, project) = started().await;
    project.write("c", "old", &json!({"n": 0})).await;
    let mut stream = Sse::open(&project, "collection=c", None).await;
    let snapshot = stream.next().await;
    assert_eq!(snapshot.name, "snapshot");
    let documents = &snapshot.data["documents"];
    assert_eq!(*documents, json!([project.get("c", "old").expect(200).await]));
    let live = stream.next().await;
    assert_eq!((live.name.as_str(), &live.data["position"]), ("live", &json!(live.id)));
    let positions = live_once(&project, "d").await;
    for wanted in wanted(&positions, "d") {
        let change = stream.next().await;
        assert_eq!((change.name.as_str(), &change.id), ("change", &wanted.0));
        assert_eq!(facts(&change.data), wanted);
    }
}

#[tokio::test]
async fn a_subscription_to_one_document_gets_only_that() {
    let (_server, project) = started().await;
    let target = json!({"collection": "c", "id": "mine"});
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &target, None).await;
    let (documents, _) = socket.snapshot().await;
    assert_eq!(documents, Vec::<Value>::new(), "it does not exist yet");
    let mut stream = Sse::open(&project, "collection=c&id=mine", None).await;
    assert_eq!(stream.next().await.name, "snapshot");
    assert_eq!(stream.next().await.name, "live");
    project.write("c", "mine-too", &json!({})).await;
    project.write("d", "mine", &json!({})).await;
    let positions = live_once(&project, "mine").await;
    project.write("c", "last", &json!({})).await;
    let changes = socket.changes(3).await;
    assert_eq!(changes.iter().map(facts).collect::<Vec<_>>(), wanted(&positions, "mine"));
    for wanted in wanted(&positions, "mine") {
        assert_eq!(facts(&stream.next().await.data), wanted);
    }
}

#[tokio::test]
async fn a_commit_reaches_subscribers_whole_and_in_order() {
    let (_server, project) = started().await;
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &collection(), None).await;
    socket.snapshot().await;
    let writes: Value = (0..50)
        .map(
            |n| json!({"op": "create", "collection": "c", "id": format!("d{n}"), "data": {"n": n}}),
        )
        .collect();
    project.commit(&writes, &json!([])).expect(200).await;
    let changes = socket.changes(50).await;
    let numbers: Vec<_> = changes.iter().map(|c| c["document"]["data"]["n"].as_u64()).collect();
    assert_eq!(numbers, (0..50).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_large_snapshot_comes_in_parts() {
    let (_server, project) = started().await;
    let writes: Value = (0..230)
        .map(|n| json!({"op": "create", "collection": "c", "id": format!("d{n:03}"), "data": {}}))
        .collect();
    project.commit(&writes, &json!([])).expect(200).await;
    let listed = project.list("c", "").await;
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &collection(), None).await;
    assert_eq!(socket.snapshot().await.0, listed);
    let mut stream = Sse::open(&project, "collection=c", None).await;
    let mut documents = Vec::new();
    loop {
        let mut part = stream.next().await;
        if part.name == "live" {
            break;
        }
        let more = part.data["more"] == true;
        // A browser that comes back with the id of a part would miss the other parts.
        assert_eq!(part.id.is_empty(), more, "only the last part may have an id");
        documents.append(part.data["documents"].as_array_mut().expect("documents"));
    }
    assert_eq!(documents, listed);
}

#[tokio::test]
async fn one_socket_may_have_many_subscriptions() {
    let (_server, project) = started().await;
    let mut socket = Socket::connect(&project).await;
    for n in 0..5 {
        let target = json!({"collection": format!("c{n}")});
        socket.subscribe(&format!("s{n}"), &target, None).await;
        socket.snapshot().await;
    }
    socket.subscribe("again", &json!({"collection": "c3"}), None).await;
    socket.snapshot().await;
    project.write("c3", "d", &json!({})).await;
    let changes = socket.changes(2).await;
    let mut subs: Vec<_> = changes.iter().filter_map(|change| change["sub"].as_str()).collect();
    subs.sort_unstable();
    assert_eq!(subs, ["again", "s3"]);
    socket.send(&json!({"op": "unsubscribe", "sub": "s3"})).await;
    // Another subscription's snapshot says that the server has read the line before.
    socket.subscribe("fence", &json!({"collection": "none"}), None).await;
    socket.snapshot().await;
    project.write("c3", "e", &json!({})).await;
    project.write("none", "f", &json!({})).await;
    let changes = socket.changes(2).await;
    assert_eq!((&changes[0]["sub"], &changes[1]["sub"]), (&json!("again"), &json!("fence")));
}

#[tokio::test]
async fn fifty_subscribers_get_the_same_changes_in_the_same_order() {
    let (_server, project) = started().await;
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut socket = Socket::connect(&project).await;
        socket.subscribe("s", &collection(), None).await;
        socket.snapshot().await;
        sockets.push(socket);
    }
    let mut all = Vec::new();
    for n in 0..10 {
        let id = format!("d{n}");
        all.extend(wanted(&live_once(&project, &id).await, &id));
    }
    for socket in &mut sockets {
        let changes = socket.changes(all.len()).await;
        assert_eq!(changes.iter().map(facts).collect::<Vec<_>>(), all);
    }
}

#[tokio::test]
async fn a_stream_of_nothing_or_of_a_wrong_place_is_refused() {
    let (_server, project) = started().await;
    for (query, code) in [
        ("", "invalid-parameter"),
        ("collection=_c", "invalid-parameter"),
        ("collection=c&id=a%2Fb", "invalid-parameter"),
        ("collection=c&from=x", "invalid-position"),
        ("collection=c&more=1", "invalid-parameter"),
    ] {
        sse::refused(&project, query, 400, code).await;
    }
}
