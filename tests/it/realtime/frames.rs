//! The protocol itself: greetings, heartbeats, ends, and what is not understood.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{collection, started};
use harness::{Project, Setup, Socket, Sse};

async fn open(project: &Project) -> Socket {
    Socket::open(project).await.expect("a socket opens before it is asked who it is")
}

#[tokio::test]
async fn who_does_not_say_hello_first_is_sent_away() {
    let (_server, project) = started().await;
    let token = project.client.token();
    for first in [
        json!({"op": "subscribe", "sub": "s", "target": {"collection": "c"}}).to_string(),
        json!({"op": "hello", "token": token, "protocol": 2}).to_string(),
        json!({"op": "hello", "token": token}).to_string(),
        json!({"op": "hello", "protocol": 1, "token": 7}).to_string(),
        "not json".to_owned(),
        "[]".to_owned(),
    ] {
        let mut socket = open(&project).await;
        socket.send_text(&first).await;
        let error = socket.expect("error").await;
        assert!(error["code"].is_string() && error["detail"].is_string(), "{error}");
        assert!(error["sub"].is_null(), "{error}");
        let (code, reason) = socket.closed().await.expect("a close has a code");
        assert_eq!(code, 4400, "{reason}");
        assert!(!reason.is_empty());
    }
    let mut socket = open(&project).await;
    socket.send(&json!({"op": "hello", "protocol": 1})).await;
    assert_eq!(socket.expect("error").await["code"], "unauthorized");
    assert_eq!(socket.closed().await.map(|(code, _)| code), Some(4401));
}

#[tokio::test]
async fn a_message_that_is_not_understood_is_answered_and_harms_nothing() {
    let (_server, project) = started().await;
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("good", &collection(), None).await;
    socket.snapshot().await;
    let long = "x".repeat(65);
    let subscribe =
        |sub: &str, target: Value| json!({"op": "subscribe", "sub": sub, "target": target});
    for (message, sub) in [
        ("not json".to_owned(), None),
        ("{}".to_owned(), None),
        (json!({"op": "dance"}).to_string(), None),
        (json!({"op": "hello", "token": "x", "protocol": 1}).to_string(), None),
        (json!({"op": "token", "token": "hw_sk_nobody"}).to_string(), None),
        (subscribe("s", json!({})).to_string(), None),
        (subscribe("s", json!({"collection": "_c"})).to_string(), None),
        (subscribe("s", json!({"collection": "c", "more": 1})).to_string(), None),
        (subscribe("", collection()).to_string(), Some("")),
        (subscribe(&long, collection()).to_string(), Some(&*long)),
        (subscribe("good", collection()).to_string(), Some("good")),
    ] {
        socket.send_text(&message).await;
        let error = socket.expect("error").await;
        assert!(error["code"].is_string() && error["status"].is_u64(), "{message}: {error}");
        assert_eq!(error["sub"].as_str(), sub, "{message}: {error}");
    }
    let position = project.write("c", "d", &json!({})).await.position();
    let partition: u32 = position.split_once('-').and_then(|(p, _)| p.parse().ok()).expect("one");
    let elsewhere = format!("{}-0", (partition + 1) % 4);
    socket.changes(1).await;
    socket.subscribe("far", &collection(), Some(&elsewhere)).await;
    let error = socket.expect("error").await;
    assert_eq!((&error["sub"], &error["code"]), (&json!("far"), &json!("position-elsewhere")));
    let position = project.write("c", "e", &json!({})).await.position();
    let change = socket.changes(1).await.remove(0);
    assert_eq!((&change["sub"], &change["position"]), (&json!("good"), &json!(position)));
}

#[tokio::test]
async fn what_is_no_text_or_too_long_closes_the_socket_with_a_reason() {
    let (_server, project) = started().await;
    for (message, wanted) in
        [(Message::binary(vec![1, 2, 3]), 1003), (Message::text("x".repeat(70_000)), 1009)]
    {
        let mut socket = Socket::connect(&project).await;
        socket.send_message(message).await;
        let (code, reason) = socket.closed().await.expect("a close has a code");
        assert_eq!(code, wanted, "{reason}");
    }
}

#[tokio::test]
async fn quiet_connections_get_heartbeats() {
    let setup = Setup::new().set("HEADWATER__REALTIME__HEARTBEAT_S", 1);
    let server = setup.start().await;
    let project = server.project("demo").await;
    let mut socket = Socket::connect(&project).await;
    assert_eq!(socket.welcome["heartbeat"], 1);
    let mut pings = 0;
    // More than two heartbeats without a word but the answers to pings, and still there.
    while pings < 4 {
        match socket.message().await {
            Some(Ok(Message::Ping(_))) => pings += 1,
            other => panic!("expected a ping, got {other:?}"),
        }
    }
    socket.subscribe("s", &collection(), None).await;
    socket.snapshot().await;
    socket.send_message(Message::Ping(vec![7].into())).await;
    loop {
        match socket.message().await {
            Some(Ok(Message::Pong(payload))) => break assert_eq!(&payload[..], [7]),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("expected a pong, got {other:?}"),
        }
    }
    let mut stream = Sse::open(&project, "collection=c", None).await;
    stream.next().await;
    stream.next().await;
    stream.heartbeat().await;
    stream.heartbeat().await;
}

#[tokio::test]
async fn a_server_that_stops_closes_its_sockets_with_a_reason() {
    let (mut server, project) = started().await;
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &collection(), None).await;
    socket.snapshot().await;
    let mut stream = Sse::open(&project, "collection=c", None).await;
    stream.next().await;
    stream.next().await;
    server.terminate();
    let (code, reason) = socket.closed().await.expect("a close has a code");
    assert_eq!(code, 1001);
    assert!(!reason.is_empty());
    let mut names = Vec::new();
    while let Some(event) = stream.try_next().await {
        names.push(event.name);
    }
    assert_eq!(names, ["problem"], "a stream tells why it ends");
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn a_client_that_says_goodbye_is_let_go() {
    let setup = Setup::new().set("HEADWATER__REALTIME__HEARTBEAT_S", 1);
    let server = setup.start().await;
    let project = server.project("demo").await;
    let connections = || async {
        let metrics = server.admin().get("/metrics").send().await.text();
        let count = metrics.lines().find_map(|l| l.strip_prefix("headwater_socket_connections "));
        count.expect("a metric").to_owned()
    };
    let mut socket = Socket::connect(&project).await;
    let stream = Sse::open(&project, "collection=c", None).await;
    assert_eq!(connections().await, "2");
    socket.send_message(Message::Close(None)).await;
    drop(stream);
    harness::eventually("both to be gone", || async { connections().await == "0" }).await;
}
