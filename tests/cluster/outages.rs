//! One node whose Kafka or tables are away: what it tells meanwhile, what it still does, and that
//! it goes on by itself, with all that it acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::socket::Received;
use harness::{ADMIN_KEY, Client, Project, Socket};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::sleep;

use crate::ledger::{COLLECTION, Ledger, Writer};
use crate::nodes::cluster::Cluster;
use crate::nodes::engines::{Engine, Kind};
use crate::nodes::process::Node;
use crate::scenarios::{TURN, are_wanted};

/// The longest that anything may take to be noticed, or to come back.
const PATIENCE: Duration = Duration::from_secs(90);
/// `engine.write_wait_s`, and room for a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(16);
/// How long an outage lasts once it is noticed: more than the session of the group of writers.
const OUTAGE: Duration = Duration::from_secs(12);
/// Writes that must go through afterwards, by each writer.
const MORE: usize = 20;
/// Writers at work.
const WRITERS: usize = 3;
/// What anybody is told.
const NO_LOG: &str = "Kafka (the log) can't be reached";
const NO_TABLES: &str = "ScyllaDB (the tables) can't be reached";

/// A node on a broker and a Cassandra of its own, not started yet.
async fn prepare(name: &str) -> Cluster {
    let engines = block_in_place(|| (Engine::own(Kind::Broker), Engine::own(Kind::Cassandra)));
    // A socket that hears nothing for long would look like one that is closed.
    let heartbeat = [("HEADWATER__REALTIME__HEARTBEAT_S", "3".to_owned())];
    Cluster::prepare(name, 1, engines, &heartbeat, None).await
}

/// Stops or starts engines while the node goes on.
async fn with(engine: &Arc<Engine>, act: fn(&Engine)) {
    let engine = Arc::clone(engine);
    tokio::task::spawn_blocking(move || act(&engine)).await.expect("the script succeeds");
}

fn admin(node: &Node) -> Client {
    Client::limited(node.url(), ADMIN_KEY, Duration::from_secs(30))
}

/// What `/readyz` has against the node, empty when it is ready; `None` when there is no answer.
/// The administrator is told more than anybody else.
async fn reasons(node: &Client) -> Option<String> {
    let answer = node.get("/readyz").try_send().await.ok()?;
    let told = answer.json();
    let reasons = told["reasons"].as_array().expect("reasons").iter();
    let reasons: Vec<_> = reasons.filter_map(Value::as_str).collect();
    let status = if reasons.is_empty() { 200 } else { 503 };
    assert_eq!(answer.status, status, "{told}");
    Some(reasons.join("; "))
}

/// Waits for what `/readyz` tells to be as wanted; returns it.
pub(crate) async fn told(node: &Client, what: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let started = Instant::now();
    loop {
        let now = reasons(node).await;
        if let Some(reasons) = now.as_ref().filter(|reasons| is_wanted(reasons)) {
            println!("{what} after {:.1?}: {reasons:?}", started.elapsed());
            return reasons.clone();
        }
        assert!(started.elapsed() < PATIENCE, "/readyz never told that {what}: {now:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the administrator is told of something by `detail`, and sees that anybody else is
/// told of it, but not where it is.
async fn told_of(node: &Client, engine: &Engine, brief: &str, detail: &str) {
    told(node, brief, |reasons| reasons.contains(detail)).await;
    let anybody = node.with_token("");
    let told = told(&anybody, "the same for anybody", |reasons| reasons.contains(brief)).await;
    assert!(!told.contains(&engine.addresses()), "{told}");
}

async fn told_ready(node: &Client) {
    told(node, "ready", str::is_empty).await;
}

/// A request that must be answered in time, with a 503 and when to come back.
async fn refused(request: harness::client::Request) -> Value {
    let started = Instant::now();
    let answer = request.send().await;
    let problem = answer.any_problem();
    assert_eq!(answer.status, 503, "{problem}");
    let after = answer.header("retry-after").and_then(|after| after.parse::<u32>().ok());
    assert!(after.is_some(), "no Retry-After: {problem}");
    assert!(started.elapsed() < ANSWER_MAX, "{problem} after {:?}", started.elapsed());
    problem
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_is_there_at_the_start() {
    if !are_wanted() {
        return;
    }
    let _turn = TURN.lock().await;
    let mut cluster = prepare("absent").await;
    with(&cluster.log, Engine::stop).await;
    with(&cluster.tables, Engine::stop).await;
    let admin = admin(&cluster.nodes[0]);
    // One that waits can be stopped.
    cluster.nodes[0].start();
    told(&admin, "it waits", |reasons| !reasons.is_empty()).await;
    let stopping = Instant::now();
    let status = cluster.nodes[0].stop().await;
    assert!(status.success(), "a node that waits ended with {status}");
    assert!(stopping.elapsed() < ANSWER_MAX, "stopped only after {:?}", stopping.elapsed());

    cluster.nodes[0].start();
    let neither = |reasons: &str| reasons.contains(NO_LOG) && reasons.contains(NO_TABLES);
    let told_both = told(&admin, "neither can be reached", neither).await;
    let tables_at = cluster.tables.addresses();
    assert!(!told_both.contains(&tables_at), "anybody may ask: {told_both}");
    assert!(cluster.printed(0).contains(&tables_at), "its log does not say where the tables are");
    assert_eq!(admin.get("/healthz").expect(200).await, json!({"status": "ok"}));
    let ghost = Project { id: "ghost".to_owned(), client: admin.clone() };
    for request in [
        admin.get("/v1/projects"),
        admin.get("/v1/admin/cluster"),
        admin.post("/v1/projects", &json!({"id": "p", "name": "p"})),
        ghost.get("c", "d"),
        ghost.put("c", "d", &json!({})),
        ghost.client.get(&ghost.path("/realtime/events?collection=c")),
    ] {
        assert_eq!(refused(request).await["code"], "unavailable");
    }

    with(&cluster.tables, Engine::start).await;
    let no_log = |reasons: &str| reasons.contains(NO_LOG) && !reasons.contains(NO_TABLES);
    told(&admin, "only the brokers are missing", no_log).await;
    with(&cluster.log, Engine::start).await;
    told_ready(&admin).await;
    let project = Project::create(&admin, "p").await;
    project.write("c", "d", &json!({"n": 1})).await;
    assert_eq!(project.get("c", "d").expect(200).await["data"], json!({"n": 1}));

    // Kafka alone is away.
    assert!(cluster.nodes[0].stop().await.success());
    with(&cluster.log, Engine::stop).await;
    cluster.nodes[0].start();
    told(&admin, "the brokers can't be reached", no_log).await;
    refused(project.get("c", "d")).await;
    with(&cluster.log, Engine::start).await;
    told_ready(&admin).await;
    assert_eq!(project.get("c", "d").expect(200).await["data"], json!({"n": 1}));
}

/// A node with writers and a follower, before the outage.
struct Scene {
    cluster: Cluster,
    admin: Client,
    project: Project,
    follower: JoinHandle<Followed>,
    writers: Vec<Writer>,
}

impl Scene {
    async fn start(name: &str) -> Self {
        let mut cluster = prepare(name).await;
        cluster.nodes[0].start();
        cluster.ready().await;
        let admin = admin(&cluster.nodes[0]);
        let project = Project::create(&admin, "p").await;
        project.write("still", "d", &json!({"n": 1})).await;
        let mut socket = Socket::connect(&project).await;
        socket.subscribe("s", &json!({"collection": COLLECTION}), None).await;
        let (documents, position) = socket.snapshot().await;
        assert_eq!(documents, Vec::<Value>::new());
        let position = position.as_str().expect("a position").to_owned();
        let follower = tokio::spawn(follow(project.clone(), socket, position));
        let name = |number| format!("w{number}");
        let mut writers: Vec<_> =
            (0..WRITERS).map(|number| Writer::start(&project, &name(number))).collect();
        for writer in &mut writers {
            writer.goes_on(MORE, PATIENCE).await;
        }
        Self { cluster, admin, project, follower, writers }
    }

    /// With nothing in the way any more: everything goes on, and nothing acknowledged is lost.
    async fn finish(mut self) {
        let back = Instant::now();
        told_ready(&self.admin).await;
        for writer in &mut self.writers {
            writer.goes_on(MORE, PATIENCE).await;
        }
        println!("writes go on after {:.1?}", back.elapsed());
        let mut ledgers: Vec<Ledger> = Vec::new();
        for writer in self.writers {
            ledgers.push(writer.end().await);
        }
        let count = |of: fn(&Ledger) -> usize| ledgers.iter().map(of).sum::<usize>();
        println!(
            "{} acknowledged, {} unknown, {} refused, the slowest answer after {:.1?}",
            count(|one| one.acknowledged.len()),
            count(|one| one.unknown.len()),
            count(|one| one.refused.len()),
            ledgers.iter().map(|one| one.slowest).max().unwrap_or_default(),
        );
        for ledger in &ledgers {
            assert!(ledger.slowest < ANSWER_MAX, "an answer took {:?}", ledger.slowest);
            ledger.check(&self.project).await;
        }
        self.project.write(COLLECTION, LAST, &json!({})).await;
        let followed = tokio::time::timeout(PATIENCE, self.follower).await;
        let followed = followed.expect("the follower sees the last document");
        let followed = followed.expect("the follower does not fail");
        println!("followed over {} connections", followed.connections);
        let (events, _) = self.project.events("").await;
        let events: Vec<_> = harness::events_of(&events, COLLECTION)
            .iter()
            .map(|event| event["id"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(followed.events, events, "each change once and in order");
        assert!(self.cluster.nodes[0].stop().await.success());
    }
}

/// The document that ends it all.
const LAST: &str = "last";

/// What a follower was told.
struct Followed {
    /// The ids of the events.
    events: Vec<String>,
    connections: usize,
}

/// Follows the ledger's documents up to the last, and connects again when it has to.
async fn follow(project: Project, mut socket: Socket, mut position: String) -> Followed {
    let mut followed = Followed { events: Vec::new(), connections: 1 };
    loop {
        while let Ok(Received::Frame(frame)) = socket.receive().await {
            match frame["op"].as_str() {
                Some("change") => {
                    let text = |field: &str| frame[field].as_str().unwrap_or_default().to_owned();
                    position = text("position");
                    followed.events.push(text("event"));
                    if frame["document"]["id"] == LAST {
                        return followed;
                    }
                }
                Some("live") => {}
                // What could not be fed has ended, and may be asked for again.
                Some("error") if frame["code"] == "unavailable" => break,
                _ => panic!("expected a change, got {frame}"),
            }
        }
        socket = loop {
            sleep(Duration::from_millis(300)).await;
            let Ok(mut socket) = Socket::try_connect(&project).await else { continue };
            let target = json!({"collection": COLLECTION});
            if socket.try_subscribe("s", &target, Some(&position)).await.is_ok() {
                break socket;
            }
        };
        followed.connections += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_is_stopped_and_comes_back() {
    if !are_wanted() {
        return;
    }
    let _turn = TURN.lock().await;
    let scene = Scene::start("brokerless").await;
    let Scene { cluster, admin, project, .. } = &scene;
    with(&cluster.log, Engine::stop).await;
    let stopped = Instant::now();
    refused(project.put("other", "first", &json!({}))).await;
    let brokers = cluster.log.addresses();
    told_of(admin, &cluster.log, NO_LOG, &brokers).await;
    while stopped.elapsed() < OUTAGE {
        refused(project.put("other", "more", &json!({}))).await;
        assert_eq!(project.get("still", "d").expect(200).await["data"], json!({"n": 1}));
        assert_eq!(project.list("still", "").await.len(), 1);
        sleep(Duration::from_millis(500)).await;
    }
    told_of(admin, &cluster.log, NO_LOG, &brokers).await;
    assert_eq!(admin.get("/healthz").send().await.status, 200);
    with(&cluster.log, Engine::start).await;
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cassandra_is_stopped_and_comes_back() {
    if !are_wanted() {
        return;
    }
    let _turn = TURN.lock().await;
    let scene = Scene::start("tableless").await;
    let Scene { cluster, admin, project, .. } = &scene;
    with(&cluster.tables, Engine::stop).await;
    let stopped = Instant::now();
    let read = refused(project.get("still", "d")).await;
    assert_eq!(read["code"], "unavailable");
    let detail = "the read model is unavailable";
    told_of(admin, &cluster.tables, NO_TABLES, detail).await;
    while stopped.elapsed() < OUTAGE {
        refused(project.put("other", "more", &json!({}))).await;
        refused(project.get("still", "d")).await;
        refused(project.client.get(&project.documents("still"))).await;
        sleep(Duration::from_millis(500)).await;
    }
    told_of(admin, &cluster.tables, NO_TABLES, detail).await;
    assert_eq!(admin.get("/healthz").send().await.status, 200);
    with(&cluster.tables, Engine::start).await;
    scene.finish().await;
}
