//! Somebody who reads the topic with a stock client and the published rule sees exactly the events
//! that the API tells of, after a life with every kind of write and after takeovers by force.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;

use harness::{ADMIN_KEY, Client, Project, root};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::nodes::cluster::Cluster;
use crate::nodes::engines::{Engine, Kind};
use crate::scenarios::{TURN, are_wanted};
use crate::workload::{Plan, Run};

/// How long everybody works before and after a fault.
const CALM: Duration = Duration::from_secs(4);
/// Longer than it takes the others to give a node up.
const FAULT: Duration = Duration::from_secs(12);
/// The longest that the foreign consumer may take.
const CONSUMER_MAX: Duration = Duration::from_secs(180);

/// How often records come into the log that nobody may believe.
const INTRUSIONS: u64 = 3;
/// `log.partitions`.
const PARTITIONS: u32 = 4;
/// Sends the first record of each partition that says where it belongs once more.
const ZOMBIE: &str = "
import sys, confluent_kafka as kafka
brokers, topic = sys.argv[1:]
reader = kafka.Consumer({'bootstrap.servers': brokers, 'group.id': 'zombie'})
writer = kafka.Producer({'bootstrap.servers': brokers})
for partition in reader.list_topics(topic, timeout=30).topics[topic].partitions:
    reader.assign([kafka.TopicPartition(topic, partition, 0)])
    while True:
        record = reader.poll(30)
        headers = record.headers()
        if any(name == 'ce_expectedoffset' for name, _ in headers):
            break
    writer.produce(topic, record.value(), record.key(), partition, headers=headers)
assert writer.flush(30) == 0
";

/// What both must agree on, by position: id, type and subject.
type Events = BTreeMap<(u32, u64), [String; 3]>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_client_sees_what_the_api_tells() {
    let Some(python) = std::env::var_os("FOREIGN_PYTHON") else {
        println!("left out: FOREIGN_PYTHON is not set");
        return;
    };
    if !are_wanted() {
        return;
    }
    let engines = block_in_place(|| (Engine::shared(Kind::Kafka), Engine::shared(Kind::Cassandra)));
    let _turn = TURN.lock().await;
    let mut cluster = Cluster::start("foreign", 3, engines, None).await;
    let admin = Client::new(cluster.nodes[0].url(), ADMIN_KEY);
    let gone = write_everything(&admin).await;
    let mut run = Run::start(Plan::new(), &cluster.urls(), ADMIN_KEY).await;
    run.work(CALM).await;
    let owner = cluster.owner(run.partition(0)).await;
    cluster.nodes[owner].kill();
    run.work(FAULT).await;
    cluster.nodes[owner].start();
    cluster.nodes[owner].ready().await;
    for _ in 0..INTRUSIONS {
        intrude(&python, &cluster).await;
        run.work(CALM / 4).await;
    }
    run.work(CALM).await;
    run.recovered().await;
    run.finish().await;

    let told = told(&admin).await;
    let script = root().join("tests/foreign/consumer.py");
    let script = script.to_str().expect("the checkout's path is UTF-8");
    let (brokers, topic) = (cluster.log.addresses(), cluster.name());
    let args = [script, "--brokers", &brokers, "--topic", topic, "--wait", "60"];
    let (printed, counted) = foreign(&python, &args).await;
    println!("{} events by the API; the consumer: {}", told.len(), counted.trim());
    let counted: Value = serde_json::from_str(&counted).expect("the consumer counts");
    let void = counted["void"].as_u64().expect("a count");
    assert!(void >= INTRUSIONS * u64::from(PARTITIONS), "{counted}");
    let mut seen = Events::new();
    let mut removed = 0;
    for line in printed.lines() {
        let event: Value = serde_json::from_str(line).expect("a line is JSON");
        if event["source"] == format!("/projects/{gone}") {
            removed += 1;
            continue;
        }
        let (position, about) = told_of(&event);
        assert_eq!(seen.insert(position, about), None, "twice at one place: {event}");
    }
    // Whose API is gone with the project: made, one document, deleted.
    assert_eq!(removed, 3, "events of a project that is deleted");
    for (position, about) in &told {
        assert_eq!(seen.get(position), Some(about), "at {position:?}");
    }
    let unknown = seen.iter().find(|(position, _)| !told.contains_key(position));
    assert_eq!(unknown, None, "the API does not tell of it");
}

/// Puts a copy of an event into each partition, as a node would that was taken for dead and sends
/// once more what it had sent. What a writer has under way lands behind it, and is void, too.
async fn intrude(python: &OsStr, cluster: &Cluster) {
    foreign(python, &["-c", ZOMBIE, &cluster.log.addresses(), cluster.name()]).await;
}

/// Runs a program of Python's, which must succeed; returns what it printed on both streams.
async fn foreign(python: &OsStr, args: &[&str]) -> (String, String) {
    let mut command = Command::new(python);
    command.args(args).current_dir(root()).kill_on_drop(true);
    let output = timeout(CONSUMER_MAX, command.output()).await.expect("it ends");
    let output = output.expect("Python can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {told}", output.status);
    (printed, told)
}

/// Every event of every project that there is.
async fn told(admin: &Client) -> Events {
    let mut told = Events::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("/v1/projects?limit=100{cursor}")).expect(200).await;
        for project in page["projects"].as_array().expect("projects") {
            let id = project["id"].as_str().expect("an id").to_owned();
            let (events, _) = Project { id, client: admin.clone() }.events("").await;
            told.extend(events.iter().map(told_of));
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return told,
        }
    }
}

fn told_of(event: &Value) -> ((u32, u64), [String; 3]) {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let position = text("position");
    let (partition, offset) = position.split_once('-').expect("a position");
    let number = "a position is two numbers";
    let position = (partition.parse().expect(number), offset.parse().expect(number));
    (position, ["id", "type", "subject"].map(text))
}

/// One of each kind of write; returns the id of a project that is gone afterwards.
async fn write_everything(admin: &Client) -> &'static str {
    let project = Project::create(admin, "lived").await;
    project.write("c", "a", &json!({"n": 1, "ü": "ä\n\"", "x": 1.50})).await;
    project.write("c", "a", &json!({"n": 2})).await;
    project.patch("c", "a", &json!({"n": null, "m": 3})).expect(200).await;
    project.client.post(&project.documents("c"), &json!({"made": true})).expect(201).await;
    project.delete("c", "a").expect(204).await;
    project.write("c", "a", &json!({"n": "anew"})).await;
    let restore = format!("{}/restore", project.document("c", "a"));
    project.client.post(&restore, &json!({"version": 1})).expect(200).await;
    let writes = json!([
        {"op": "create", "collection": "other", "id": "a", "data": {"n": 1}},
        {"op": "replace", "collection": "c", "id": "a", "data": {"n": 2}},
        {"op": "patch", "collection": "other", "id": "a", "data": {"m": 2}},
        {"op": "delete", "collection": "c", "id": "a"},
    ]);
    project.commit(&writes, &json!([])).key("once").expect(200).await;
    let again = project.commit(&writes, &json!([])).key("once").send().await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let rules = json!({"rules": {"read": "true"}, "indexes": [
        {"fields": [{"field": "n", "direction": "desc"}]}
    ]});
    let path = project.path("/collections/c");
    let configured = admin.put(&path, &rules).send().await;
    assert!(configured.is_ok(), "{}", configured.text());
    admin.delete(&path).expect(204).await;
    let rename = admin.request(reqwest::Method::PATCH, &project.path(""));
    rename.json(&json!({"name": "Lived"})).expect(200).await;
    let keys = project.path("/keys");
    let body = json!({"kind": "publishable", "name": "app"});
    let key = admin.post(&keys, &body).expect(201).await;
    let key = key["id"].as_str().expect("a key has an id");
    admin.delete(&format!("{keys}/{key}")).expect(204).await;
    let gone = "gone";
    admin.post("/v1/projects", &json!({"id": gone, "name": gone})).expect(201).await;
    Project { id: gone.to_owned(), client: admin.clone() }.write("c", "d", &json!({})).await;
    admin.delete(&format!("/v1/projects/{gone}")).expect(204).await;
    gone
}
