//! Channels on several nodes: what is said on one is heard on all in one order, presence is that of
//! all nodes, and whoever was on a node that died is gone.

use std::time::{Duration, Instant};

use harness::{ADMIN_KEY, Client, Project, Socket};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::nodes::cluster::Cluster;
use crate::nodes::engines::{Engine, Kind};
use crate::nodes::process::Node;
use crate::scenarios::{TURN, are_wanted};

/// A node is taken for dead after so many seconds.
const SILENCE_S: u64 = 3;
/// What a busy machine may take more.
const GRACE: Duration = Duration::from_secs(20);
/// Messages of each publisher.
const EACH: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_the_same_on_every_node() {
    if !are_wanted() {
        return;
    }
    let engines =
        block_in_place(|| (Engine::shared(Kind::Broker), Engine::shared(Kind::Cassandra)));
    let _turn = TURN.lock().await;
    let settings = [("HEADWATER__CHANNELS__NODE_SILENCE_S", SILENCE_S.to_string())];
    let mut cluster = Cluster::prepare("channels", 2, engines, &settings, None).await;
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.ready().await;
    let urls = cluster.urls();
    let here = Project::create(&Client::new(&urls[0], ADMIN_KEY), "p").await;
    let there = here.at(&urls[1]);
    let kept = json!({"history": {"messages": 1000, "seconds": 60}});
    here.client.put(&here.path("/channels/kept"), &kept).expect(201).await;

    let first = one_order(&here, &there).await;
    let (mut watcher, key) = both_are_present(&here, &there).await;
    // Whoever comes back to another node misses nothing.
    assert_eq!(resumed(&there, &first).await, 2 * EACH - 1);

    let since = Instant::now();
    cluster.nodes[1].kill();
    let left = watcher.expect("presence").await;
    println!("a dead node's people left after {:?}", since.elapsed());
    assert_eq!(left["left"][0]["key"], key, "{left}");
    assert!(since.elapsed() < Duration::from_secs(SILENCE_S) + GRACE, "{:?}", since.elapsed());
    assert_eq!(present(&here).await, 1);

    // A node that comes up learns who is there, and what was said within the last minute.
    let before = Instant::now();
    cluster.nodes[1].start();
    cluster.nodes[1].ready().await;
    while present(&there).await != 1 {
        assert!(before.elapsed() < GRACE * 3, "the node does not learn who is present");
        sleep(Duration::from_millis(100)).await;
    }
    say(&here, json!("again")).await;
    let mut socket = Socket::connect(&there).await;
    join(&mut socket).await;
    say(&here, json!("heard")).await;
    assert_eq!(socket.expect("message").await["data"], "heard");
}

async fn say(project: &Project, data: Value) -> String {
    let path = project.path("/channels/kept/messages");
    let said = project.client.post(&path, &json!({"data": data})).expect(200).await;
    said["offset"].as_str().expect("an offset").to_owned()
}

async fn join(socket: &mut Socket) {
    socket.subscribe("s", &json!({"channel": "kept"}), None).await;
    socket.expect("joined").await;
    socket.expect("live").await;
}

/// Two publish, one on each node; both nodes hear all of it in the same order. The offset of the
/// first message.
async fn one_order(here: &Project, there: &Project) -> String {
    let mut sockets = Vec::new();
    for project in [here, there] {
        let mut socket = Socket::connect(project).await;
        join(&mut socket).await;
        sockets.push(socket);
    }
    let publisher = |project: Project, name: &'static str| {
        tokio::spawn(async move {
            for n in 0..EACH {
                say(&project, json!([name, n])).await;
            }
        })
    };
    let publishers = [publisher(here.clone(), "here"), publisher(there.clone(), "there")];
    let mut orders = Vec::new();
    for socket in &mut sockets {
        let mut heard = Vec::new();
        while heard.len() < 2 * EACH {
            heard.push(socket.expect("message").await);
        }
        orders.push(heard);
    }
    for publisher in publishers {
        publisher.await.expect("all of it is accepted");
    }
    for (one, other) in orders[0].iter().zip(&orders[1]) {
        for name in ["id", "offset", "data"] {
            assert_eq!(one[name], other[name], "{name}");
        }
    }
    for name in ["here", "there"] {
        let own = orders[0].iter().filter(|message| message["data"][0] == name);
        let own: Vec<_> = own.map(|message| message["data"][1].as_u64()).collect();
        assert_eq!(own, (0..EACH as u64).map(Some).collect::<Vec<_>>());
    }
    orders[0][0]["offset"].as_str().expect("an offset").to_owned()
}

/// How many messages come after an offset before `live`.
async fn resumed(project: &Project, from: &str) -> usize {
    let mut socket = Socket::connect(project).await;
    socket.subscribe("s", &json!({"channel": "kept"}), Some(from)).await;
    socket.expect("joined").await;
    let mut count = 0;
    loop {
        let frame = socket.frame().await;
        match frame["op"].as_str() {
            Some("message") => count += 1,
            Some("live") => return count,
            _ => panic!("{frame}"),
        }
    }
}

/// One is present on each node; both nodes show both. Who is on the first, and the other's key.
async fn both_are_present(here: &Project, there: &Project) -> (Socket, Value) {
    let mut sockets = Vec::new();
    for (project, state) in [(here, "here"), (there, "there")] {
        let mut socket = Socket::connect(project).await;
        let me = json!({"op": "subscribe", "sub": "p", "target": {"presence": "kept"},
            "state": state});
        socket.send(&me).await;
        socket.expect("presence").await;
        sockets.push(socket);
    }
    let since = Instant::now();
    while present(here).await != 2 || present(there).await != 2 {
        assert!(since.elapsed() < GRACE, "the nodes do not show both");
        sleep(Duration::from_millis(50)).await;
    }
    let mut key = Value::Null;
    while key.is_null() {
        let frame = sockets[0].expect("presence").await;
        let joined = frame["joined"].as_array().into_iter().flatten();
        let other = joined.into_iter().find(|one| one["state"] == "there");
        key = other.map_or(Value::Null, |other| other["key"].clone());
    }
    // The other socket breaks with its node.
    let other = sockets.pop();
    tokio::spawn(async move {
        let _held = other;
        std::future::pending::<()>().await;
    });
    (sockets.remove(0), key)
}

async fn present(project: &Project) -> usize {
    let listed = project.client.get(&project.path("/channels/kept/presence")).expect(200).await;
    listed["present"].as_array().map_or(0, Vec::len)
}
