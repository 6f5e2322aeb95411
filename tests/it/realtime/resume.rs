//! Coming back with a position: nothing missed, nothing twice.

use serde_json::json;

use super::{collection, facts, live_once, started, wanted};
use harness::{Setup, Socket, Sse};

#[tokio::test]
async fn a_socket_resumes_after_the_position_that_it_names() {
    let (_server, project) = started().await;
    let first = live_once(&project, "a").await;
    let second = live_once(&project, "b").await;
    let all: Vec<_> = wanted(&first, "a").into_iter().chain(wanted(&second, "b")).collect();
    for (seen, position) in first.iter().chain(&second).enumerate() {
        let mut socket = Socket::connect(&project).await;
        socket.subscribe("s", &collection(), Some(position)).await;
        let mut changes = Vec::new();
        loop {
            let frame = socket.frame().await;
            match frame["op"].as_str() {
                Some("change") => changes.push(facts(&frame)),
                Some("live") => break assert_eq!(frame["position"], second[2]),
                _ => panic!("expected changes and live, got {frame}"),
            }
        }
        assert_eq!(changes, all[seen + 1..]);
    }
}

#[tokio::test]
async fn an_event_stream_resumes_by_its_last_id() {
    let (_server, project) = started().await;
    let first = live_once(&project, "a").await;
    let mut stream = Sse::open(&project, "collection=c", Some(&first[0])).await;
    for wanted in &wanted(&first, "a")[1..] {
        assert_eq!(facts(&stream.next().await.data), *wanted);
    }
    let live = stream.next().await;
    assert_eq!((live.name.as_str(), &live.id), ("live", &first[2]));
    drop(stream);
    let second = live_once(&project, "b").await;
    // Without the header, a position in the query does the same.
    let query = format!("collection=c&from={}", first[2]);
    let mut stream = Sse::open(&project, &query, None).await;
    for wanted in wanted(&second, "b") {
        assert_eq!(facts(&stream.next().await.data), wanted);
    }
    // A browser reconnects to the same address: the header is newer than the query.
    let mut stream = Sse::open(&project, &query, Some(&second[1])).await;
    assert_eq!(facts(&stream.next().await.data), wanted(&second, "b")[2]);
}

#[tokio::test]
async fn one_document_is_resumed_too() {
    let (_server, project) = started().await;
    let positions = live_once(&project, "a").await;
    live_once(&project, "b").await;
    let mut socket = Socket::connect(&project).await;
    let target = json!({"collection": "c", "id": "a"});
    socket.subscribe("s", &target, Some(&positions[0])).await;
    let changes = socket.changes(2).await;
    assert_eq!(changes.iter().map(facts).collect::<Vec<_>>(), wanted(&positions, "a")[1..]);
    socket.expect("live").await;
}

#[tokio::test]
async fn subscribers_resume_across_restarts() {
    let setup = Setup::new();
    let mut server = setup.start().await;
    let mut project = server.project("demo").await;
    let mut last = project.write("c", "first", &json!({})).await.position();
    for round in 0..4 {
        let before = live_once(&project, &format!("before{round}")).await;
        if round % 2 == 0 {
            server.kill().await
        } else {
            server.stop().await
        }
        server = setup.start().await;
        project = project.at(&server.url);
        let mut socket = Socket::connect(&project).await;
        socket.subscribe("s", &collection(), Some(&last)).await;
        let mut stream = Sse::open(&project, "collection=c", Some(&last)).await;
        let after = live_once(&project, &format!("after{round}")).await;
        let mut all = wanted(&before, &format!("before{round}"));
        all.extend(wanted(&after, &format!("after{round}")));
        let changes = socket.changes(6).await;
        assert_eq!(changes.iter().map(facts).collect::<Vec<_>>(), all);
        let mut streamed = Vec::new();
        while streamed.len() < 6 {
            let event = stream.next().await;
            assert_ne!(event.name, "snapshot");
            if event.name == "change" {
                streamed.push(facts(&event.data));
            }
        }
        assert_eq!(streamed, all);
        last.clone_from(&after[2]);
    }
}

#[tokio::test]
async fn a_position_from_the_future_gets_a_snapshot_marked_reset() {
    let (_server, project) = started().await;
    let position = project.write("c", "d", &json!({})).await.position();
    let partition = position.split_once('-').expect("a position").0;
    let ahead = format!("{partition}-999999");
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &collection(), Some(&ahead)).await;
    let snapshot = socket.expect("snapshot").await;
    assert_eq!(snapshot["reset"], true);
    assert_eq!(snapshot["documents"].as_array().map(Vec::len), Some(1));
    assert_eq!(socket.expect("live").await["position"], position);
}

#[tokio::test]
async fn what_retention_took_is_made_up_for_by_a_snapshot_marked_reset() {
    let setup = Setup::new()
        .set("HEADWATER__LOG__SEGMENT_BYTES", 1 << 20)
        .set("HEADWATER__LOG__RETENTION_BYTES", 1 << 20)
        .set("HEADWATER__LOG__TRIM_INTERVAL_S", 1);
    let server = setup.start().await;
    let project = server.project("demo").await;
    let old = project.write("c", "d", &json!({"n": 0})).await.position();
    let pad = "x".repeat(400_000);
    for n in 1..12 {
        project.write("c", "d", &json!({"n": n, "pad": pad})).await;
    }
    let path = project.path(&format!("/events?from={old}&limit=1"));
    harness::eventually("retention", || async {
        project.client.get(&path).send().await.status == 410
    })
    .await;
    project.client.get(&path).refused(410, "history-trimmed").await;
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &collection(), Some(&old)).await;
    let snapshot = socket.expect("snapshot").await;
    assert_eq!(snapshot["reset"], true);
    assert_eq!(snapshot["documents"][0]["data"]["n"], 11);
    socket.expect("live").await;
    socket.subscribe("w", &json!({"collection": "c", "limit": 1}), Some(&old)).await;
    let snapshot = socket.expect("snapshot").await;
    assert_eq!(snapshot["reset"], true);
    assert_eq!(snapshot["documents"][0]["data"]["n"], 11);
    socket.expect("live").await;
    // The present does not depend on what is gone, not even after a restart.
    server.stop().await;
    let server = setup.start().await;
    let project = project.at(&server.url);
    assert_eq!(project.get("c", "d").expect(200).await["version"], 12);
    assert_eq!(project.write("c", "d", &json!({})).await.json()["version"], 13);
}
