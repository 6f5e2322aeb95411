//! Channels: who is in one hears everything in one order, sees exactly who else is there, and is
//! told when something is missing; rules hold while they last.

use std::time::Duration;

use serde_json::{Value, json};

use harness::{Person, Project, Server, Setup, Socket, Sse, nobody};

async fn started() -> (Server, Project) {
    start(Setup::new()).await
}

async fn start(setup: Setup) -> (Server, Project) {
    let server = setup.start().await;
    let project = server.project("p").await;
    (server, project)
}

async fn configure(project: &Project, channel: &str, config: Value) {
    let path = project.path(&format!("/channels/{channel}"));
    let put = project.client.put(&path, &config).send().await;
    assert!(put.is_ok(), "{}: {}", put.status, put.text());
}

/// Joins a channel; returns the offset of its `live`.
async fn join(socket: &mut Socket, sub: &str, channel: &str) -> String {
    socket.subscribe(sub, &json!({"channel": channel}), None).await;
    assert_eq!(socket.expect("joined").await["sub"], sub);
    offset(&socket.expect("live").await)
}

fn offset(frame: &Value) -> String {
    frame["offset"].as_str().unwrap_or_else(|| panic!("no offset: {frame}")).to_owned()
}

async fn publish(project: &Project, channel: &str, data: Value) -> String {
    let path = project.path(&format!("/channels/{channel}/messages"));
    offset(&project.client.post(&path, &json!({"data": data})).expect(200).await)
}

async fn say(socket: &mut Socket, channel: &str, data: Value, reference: &str) {
    let frame = json!({"op": "publish", "channel": channel, "data": data, "ref": reference});
    socket.send(&frame).await;
}

/// The data of the next messages.
async fn heard(socket: &mut Socket, count: usize) -> Vec<Value> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.push(socket.expect("message").await["data"].clone());
    }
    heard
}

/// What the server counts.
async fn gauge(server: &Server, name: &str) -> f64 {
    let metrics = server.admin().get("/metrics").send().await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn a_message_reaches_all_in_the_channel_and_is_acknowledged() {
    let (_server, project) = started().await;
    configure(&project, "room.*", json!({"rules": {"join": "auth != null"}})).await;
    configure(&project, "room.1", json!({"rules": {"join": "true", "publish": "auth != null"}}))
        .await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    let mut publisher = Socket::connect(&ann.project).await;
    let mut listener = Socket::connect(&project).await;
    let mut stream = Sse::open(&ann.project, "channel=room.1", None).await;
    assert_eq!(stream.next().await.name, "live");
    join(&mut publisher, "s", "room.1").await;
    join(&mut listener, "l", "room.1").await;
    say(&mut publisher, "room.1", json!({"a": [1, "ä"]}), "c1").await;
    // The order of the answer and of one's own message is not said.
    let (one, other) = (publisher.frame().await, publisher.frame().await);
    let (published, own) = if one["op"] == "published" { (one, other) } else { (other, one) };
    let message = listener.expect("message").await;
    assert_eq!((&published["op"], &published["ref"]), (&json!("published"), &json!("c1")));
    for name in ["id", "offset"] {
        assert_eq!(published[name], message[name], "{name}");
    }
    assert_eq!((&message["sub"], &own["sub"]), (&json!("l"), &json!("s")));
    assert_eq!(message["data"], json!({"a": [1, "ä"]}));
    assert_eq!(message["from"], json!({"user": ann.id}));
    assert!(message["time"].is_string(), "{message}");
    let event = stream.next().await;
    assert_eq!((event.name.as_str(), &json!(event.id)), ("message", &message["offset"]));
    assert_eq!(event.data["data"], message["data"]);
    // Whoever does not want to hear itself does not, and all others do.
    let quiet =
        json!({"op": "publish", "channel": "room.1", "data": 1, "echo": false, "ref": "c2"});
    publisher.send(&quiet).await;
    assert_eq!(publisher.expect("published").await["ref"], "c2");
    publish(&project, "room.1", json!(2)).await;
    let own = publisher.expect("message").await;
    assert_eq!((&own["data"], own.get("from")), (&json!(2), None));
    assert_eq!(heard(&mut listener, 2).await, [json!(1), json!(2)]);
    // Without `ref` there is no answer.
    for n in 3..5 {
        publisher.send(&json!({"op": "publish", "channel": "room.1", "data": n})).await;
    }
    assert_eq!(heard(&mut publisher, 2).await, [3, 4]);
}

#[tokio::test]
async fn rules_hold_for_joining_and_publishing_and_as_long_as_they_last() {
    let (_server, project) = started().await;
    let rules = json!({"rules": {"join": "hasRole('guest')", "publish": "hasRole('speaker')"}});
    configure(&project, "hall", rules.clone()).await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    let user = project.path(&format!("/users/{}", ann.id));
    let mut socket = Socket::connect(&ann.project).await;
    for target in [json!({"channel": "hall"}), json!({"presence": "hall"})] {
        socket.subscribe("s", &target, None).await;
        let error = socket.expect("error").await;
        assert_eq!((&error["code"], &error["sub"]), (&json!("forbidden"), &json!("s")));
    }
    project.client.patch(&user, &json!({"roles": ["guest"]})).expect(200).await;
    join(&mut socket, "s", "hall").await;
    let me = json!({"op": "subscribe", "sub": "p", "target": {"presence": "hall"}, "state": 1});
    socket.send(&me).await;
    socket.expect("presence").await;
    socket.expect("presence").await;
    say(&mut socket, "hall", json!("hi"), "c1").await;
    let error = socket.expect("error").await;
    assert_eq!((&error["code"], &error["ref"]), (&json!("forbidden"), &json!("c1")));
    let messages = project.path("/channels/hall/messages");
    ann.project.client.post(&messages, &json!({"data": 1})).refused(403, "forbidden").await;
    nobody(&project).post(&messages, &json!({"data": 1})).refused(401, "unauthorized").await;

    // The role is lost: both end, and nobody is present any more.
    project.client.patch(&user, &json!({"roles": ["speaker"]})).expect(200).await;
    let mut ended = Vec::new();
    for _ in 0..2 {
        let error = socket.expect("error").await;
        assert_eq!(error["code"], "forbidden", "{error}");
        ended.push(error["sub"].as_str().expect("a subscription").to_owned());
    }
    ended.sort_unstable();
    assert_eq!(ended, ["p", "s"]);
    let present = project.client.get(&project.path("/channels/hall/presence")).expect(200).await;
    assert_eq!(present, json!({"present": []}));
    // To say something is another right.
    say(&mut socket, "hall", json!("hi"), "c2").await;
    assert_eq!(socket.expect("published").await["ref"], "c2");

    // A rule that changes ends it as well, and so does a token of somebody else.
    project.client.patch(&user, &json!({"roles": ["guest"]})).expect(200).await;
    join(&mut socket, "s", "hall").await;
    configure(&project, "hall", json!({"rules": {"join": "false"}})).await;
    assert_eq!(socket.expect("error").await["sub"], "s");
    configure(&project, "hall", rules).await;
    join(&mut socket, "s", "hall").await;
    let bob = Person::sign_up(&project, "bob@example.com").await;
    socket.send(&json!({"op": "token", "token": bob.project.client.token()})).await;
    assert_eq!(socket.expect("error").await["sub"], "s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_subscribers_hear_many_publishers_in_one_order() {
    const EACH: usize = 60;
    let setup = Setup::new().set("HEADWATER__SERVER__WORKERS", 2);
    let (_server, project) = start(setup).await;
    let mut listeners = Vec::new();
    for _ in 0..4 {
        let mut socket = Socket::connect(&project).await;
        join(&mut socket, "s", "a").await;
        listeners.push(socket);
    }
    let publishers = (0..3).map(|publisher| {
        let project = project.clone();
        tokio::spawn(async move {
            let mut socket = Socket::connect(&project).await;
            for n in 0..EACH {
                say(&mut socket, "a", json!([publisher, n]), "c").await;
            }
            for _ in 0..EACH {
                socket.expect("published").await;
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.expect("a publisher is heard");
    }
    let mut orders = Vec::new();
    for socket in &mut listeners {
        orders.push(heard(socket, 3 * EACH).await);
    }
    assert!(orders.iter().all(|order| *order == orders[0]));
    for publisher in 0..3 {
        let own = orders[0].iter().filter(|data| data[0] == publisher);
        let own: Vec<_> = own.map(|data| data[1].as_u64()).collect();
        assert_eq!(own, (0..EACH as u64).map(Some).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn who_comes_back_gets_the_history_or_hears_that_something_is_missing() {
    let setup = Setup::new();
    let (server, project) = start_on(&setup).await;
    configure(&project, "kept", json!({"history": {"messages": 3, "seconds": 60}})).await;
    let mut socket = Socket::connect(&project).await;
    let target = json!({"channel": "kept"});
    let live = join(&mut socket, "s", "kept").await;
    let first = publish(&project, "kept", json!(0)).await;
    assert_eq!(heard(&mut socket, 1).await, [0]);
    drop(socket);
    for n in 1..4 {
        publish(&project, "kept", json!(n)).await;
        publish(&project, "another", json!(n)).await;
    }
    // From the last message that was seen, nothing is missing.
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &target, Some(&first)).await;
    socket.expect("joined").await;
    assert_eq!(heard(&mut socket, 3).await, [1, 2, 3]);
    let now = offset(&socket.expect("live").await);
    publish(&project, "kept", json!(4)).await;
    assert_eq!(heard(&mut socket, 1).await, [4]);
    // From before it, message 0 is not kept any more.
    for from in [&live, &first] {
        socket.subscribe("again", &target, Some(from)).await;
        socket.expect("joined").await;
        socket.expect("missed").await;
        assert_eq!(heard(&mut socket, 3).await, [2, 3, 4]);
        socket.expect("live").await;
        socket.send(&json!({"op": "unsubscribe", "sub": "again"})).await;
    }
    let mut stream = Sse::open(&project, "channel=kept", Some(&now)).await;
    assert_eq!(stream.next().await.data["data"], 4);
    assert_eq!(stream.next().await.name, "live");
    // What is not an offset is refused, and nobody keeps anything of the other one.
    socket.subscribe("bad", &target, Some("3-17-1")).await;
    assert_eq!(socket.expect("error").await["code"], "invalid-position");
    socket.subscribe("other", &json!({"channel": "another"}), Some(&now)).await;
    socket.expect("joined").await;
    socket.expect("missed").await;
    socket.expect("live").await;

    // Another start of the server knows that it does not know.
    server.kill().await;
    let server = setup.start().await;
    let project = project.at(&server.url);
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &target, Some(&now)).await;
    socket.expect("joined").await;
    socket.expect("missed").await;
    socket.expect("live").await;
    assert_eq!(gauge(&server, "headwater_channels").await, 1.0);
}

async fn start_on(setup: &Setup) -> (Server, Project) {
    let server = setup.start().await;
    let project = server.project("p").await;
    (server, project)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_told_what_it_missed_and_holds_nobody_up() {
    const MESSAGES: usize = 1_500;
    let setup = Setup::new()
        .set("HEADWATER__ENGINE__DOCUMENT_BYTES_MAX", 32_768)
        .set("HEADWATER__REALTIME__QUEUE_BYTES_MAX", 65_536);
    let (server, project) = start(setup).await;
    let (mut slow, mut quick) = (Socket::connect(&project).await, Socket::connect(&project).await);
    join(&mut slow, "s", "a").await;
    join(&mut quick, "s", "a").await;
    let publishing = async {
        for n in 0..MESSAGES {
            publish(&project, "a", json!({"n": n, "pad": "x".repeat(30_000)})).await;
        }
    };
    let numbers = async {
        let heard = heard(&mut quick, MESSAGES).await;
        heard.iter().filter_map(|data| data["n"].as_u64()).collect::<Vec<_>>()
    };
    let ((), numbers) = tokio::join!(publishing, numbers);
    assert_eq!(numbers, (0..MESSAGES as u64).collect::<Vec<_>>());
    // Each message is heard or counted, in order.
    let (mut next, mut missed) = (0, 0);
    while next < MESSAGES as u64 {
        let frame = slow.frame().await;
        match frame["op"].as_str() {
            Some("message") => {
                assert_eq!(frame["data"]["n"], next);
                next += 1;
            }
            Some("missed") => {
                let count = frame["count"].as_u64().expect("it is known how many");
                next += count;
                missed += count;
                slow.expect("live").await;
            }
            _ => panic!("{frame}"),
        }
    }
    assert!(missed > 0, "the slow reader was never behind");
    assert_eq!(gauge(&server, "headwater_channel_missed_total").await, missed as f64);
    // Level again, it hears as before. What was told last may be the gap itself.
    publish(&project, "a", json!("last")).await;
    assert_eq!(heard(&mut slow, 1).await, ["last"]);
}

#[tokio::test]
async fn presence_is_exact_also_after_a_socket_breaks() {
    let (server, project) = started().await;
    configure(&project, "room", json!({"rules": {"join": "auth != null"}})).await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    let mut watcher = Socket::connect(&project).await;
    watcher.subscribe("w", &json!({"presence": "room"}), None).await;
    let first = watcher.expect("presence").await;
    assert_eq!((&first["present"], &first["reset"]), (&json!([]), &json!(true)));
    let mut keys = Vec::new();
    let mut sockets = Vec::new();
    for n in 0..2 {
        let mut socket = Socket::connect(&ann.project).await;
        let me = json!({"op": "subscribe", "sub": "p", "target": {"presence": "room"},
            "state": {"n": n}});
        socket.send(&me).await;
        let all = socket.expect("presence").await;
        assert_eq!(all["present"].as_array().map(Vec::len), Some(n));
        let joined = watcher.expect("presence").await["joined"][0].clone();
        assert_eq!((&joined["user"], &joined["state"]), (&json!(ann.id), &json!({"n": n})));
        // One's own entry comes as everybody's does.
        assert_eq!(socket.expect("presence").await["joined"], json!([joined]));
        keys.push(joined["key"].clone());
        sockets.push(socket);
    }
    assert_ne!(keys[0], keys[1], "one entry per connection, whoever it is of");
    let listed = async || {
        let path = project.path("/channels/room/presence");
        let listed = project.client.get(&path).expect(200).await;
        let all = listed["present"].as_array().expect("a list").clone();
        all.into_iter().map(|one| one["key"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, keys);
    sockets[1].send(&json!({"op": "state", "sub": "p", "state": "away"})).await;
    let updated = watcher.expect("presence").await;
    assert_eq!(updated["updated"][0]["state"], "away", "{updated}");
    assert_eq!(updated["updated"][0]["key"], keys[1]);

    // The connection is gone without a word.
    drop(sockets.remove(0));
    let left = watcher.expect("presence").await;
    assert_eq!(left["left"][0]["key"], keys[0], "{left}");
    assert_eq!(listed().await, keys[1..]);
    let unsubscribe = json!({"op": "unsubscribe", "sub": "p"});
    sockets[0].send(&unsubscribe).await;
    assert_eq!(watcher.expect("presence").await["left"][0]["key"], keys[1]);
    assert_eq!(listed().await, Vec::<Value>::new());
    // To be in a state takes a subscription.
    watcher.send(&json!({"op": "state", "sub": "none", "state": 1})).await;
    assert_eq!(watcher.expect("error").await["code"], "invalid-body");
    // One connection takes no more than its share of a channel.
    let be = |n| {
        json!({"op": "subscribe", "sub": format!("p{n}"), "target": {"presence": "room"},
            "state": n})
    };
    for n in 0..4 {
        sockets[0].send(&be(n)).await;
        watcher.expect("presence").await;
    }
    let mut greedy = sockets.remove(0);
    greedy.send(&be(4)).await;
    let mut refused = json!({"op": "presence"});
    while refused["op"] == "presence" {
        refused = greedy.frame().await;
    }
    assert_eq!((&refused["code"], &refused["sub"]), (&json!("too-many"), &json!("p4")));
    assert_eq!(listed().await.len(), 4);
    drop(greedy);
    drop((watcher, sockets));
    freed(&server).await;
}

/// Waits until no channel is in memory.
async fn freed(server: &Server) {
    let mut left = 1.0;
    for _ in 0..100 {
        left = gauge(server, "headwater_channels").await;
        if left == 0.0 {
            assert_eq!(gauge(server, "headwater_channel_history_bytes").await, 0.0);
            assert_eq!(gauge(server, "headwater_subscriptions").await, 0.0);
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{left} channels are left");
}

#[tokio::test]
async fn memory_is_freed_when_everybody_has_left() {
    // Whoever only reads is known to be gone at the next heartbeat.
    let setup = Setup::new().set("HEADWATER__REALTIME__HEARTBEAT_S", 1);
    let (server, project) = start(setup).await;
    configure(&project, "kept.*", json!({"history": {"messages": 10, "seconds": 1}})).await;
    let mut sockets = Vec::new();
    for n in 0..5 {
        let mut socket = Socket::connect(&project).await;
        for m in 0..10 {
            join(&mut socket, &format!("a{m}"), &format!("room.{n}.{m}")).await;
            join(&mut socket, &format!("b{m}"), &format!("kept.{m}")).await;
        }
        sockets.push(socket);
    }
    let stream = Sse::open(&project, "channel=streamed", None).await;
    for n in 0..10 {
        publish(&project, &format!("kept.{n}"), json!("x".repeat(100))).await;
        publish(&project, &format!("nobody.{n}"), json!("x".repeat(100))).await;
    }
    assert_eq!(gauge(&server, "headwater_channels").await, 61.0);
    assert!(gauge(&server, "headwater_channel_history_bytes").await >= 1_000.0);
    drop((sockets, stream));
    freed(&server).await;
}

#[tokio::test]
async fn what_a_connection_says_is_limited() {
    let setup = Setup::new()
        .set("HEADWATER__CHANNELS__PUBLISHES_PER_SECOND", 5)
        .set("HEADWATER__CHANNELS__MESSAGE_BYTES_MAX", 1_000)
        .set("HEADWATER__CHANNELS__STATE_BYTES_MAX", 100)
        .set("HEADWATER__REALTIME__SOCKET_SUBSCRIPTIONS_MAX", 2);
    let (_server, project) = start(setup).await;
    let mut socket = Socket::connect(&project).await;
    say(&mut socket, "a", json!("x".repeat(999)), "large").await;
    let error = socket.expect("error").await;
    assert_eq!((&error["code"], &error["ref"]), (&json!("message-too-large"), &json!("large")));
    let large = json!({"op": "subscribe", "sub": "p", "target": {"presence": "a"},
        "state": "x".repeat(99)});
    socket.send(&large).await;
    let error = socket.expect("error").await;
    assert_eq!((&error["code"], &error["sub"]), (&json!("message-too-large"), &json!("p")));
    // One was counted already.
    for n in 0..10 {
        say(&mut socket, "a", json!(n), &n.to_string()).await;
    }
    let (mut published, mut refused) = (0, Vec::new());
    for _ in 0..10 {
        let frame = socket.frame().await;
        match frame["op"].as_str() {
            Some("published") => published += 1,
            _ => refused.push(frame["code"].clone()),
        }
    }
    assert!((5..=9).contains(&published), "{published}");
    assert!(refused.iter().all(|code| code == "too-many-requests"), "{refused:?}");
    join(&mut socket, "a", "a").await;
    join(&mut socket, "b", "b").await;
    for (sub, code) in [("c", "too-many"), ("a", "invalid-body")] {
        socket.subscribe(sub, &json!({"channel": "c"}), None).await;
        let error = socket.expect("error").await;
        assert_eq!((&error["code"], &error["sub"]), (&json!(code), &json!(sub)));
    }
    // A document's subscription counts among the same.
    socket.subscribe("d", &json!({"collection": "c"}), None).await;
    assert_eq!(socket.expect("error").await["code"], "too-many");
    for bad in [
        json!({"op": "subscribe", "sub": "x", "target": {"channel": "room.*"}}),
        json!({"op": "subscribe", "sub": "x", "target": {"channel": "a", "presence": "a"}}),
        json!({"op": "publish", "channel": "a"}),
        json!({"op": "state", "sub": "a", "state": 1}),
    ] {
        socket.send(&bad).await;
        assert_eq!(socket.expect("error").await["code"], "invalid-body", "{bad}");
    }
}

#[tokio::test]
async fn a_project_hears_nothing_of_another() {
    let (server, project) = started().await;
    let other = server.project("q").await;
    let (mut here, mut there) = (Socket::connect(&project).await, Socket::connect(&other).await);
    join(&mut here, "s", "a").await;
    join(&mut there, "s", "a").await;
    publish(&other, "a", json!("there")).await;
    publish(&project, "a", json!("here")).await;
    assert_eq!(heard(&mut here, 1).await, ["here"]);
    assert_eq!(heard(&mut there, 1).await, ["there"]);
}
