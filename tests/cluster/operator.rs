//! What an operator does to a cluster by the command line: a start that must be refused, and
//! tables that are made anew from the log.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harness::server::printed;
use harness::{ADMIN_KEY, Client, Project};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::ledger::Writer;
use crate::nodes::cluster::Cluster;
use crate::nodes::engines::{Engine, Kind};
use crate::scenarios::{TURN, are_wanted};

/// Commits of each project, and writes in each of them.
const COMMITS: u64 = 8;
const WRITES: u64 = 100;
const PROJECTS: usize = 8;
/// `log.partitions`; each has a project.
const PARTITIONS: usize = 4;
/// The longest until all partitions are written again.
const SETTLED_MAX: Duration = Duration::from_secs(90);
/// Writes of each project that must go through then.
const MORE: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_rebuilt_only_when_it_is_stopped() {
    if !are_wanted() {
        return;
    }
    let engines = block_in_place(|| (Engine::shared(Kind::Kafka), Engine::shared(Kind::Cassandra)));
    let _turn = TURN.lock().await;
    let mut cluster = Cluster::start("rebuild", 2, engines, None).await;
    let admin = Client::new(cluster.nodes[0].url(), ADMIN_KEY);
    let mut projects = Vec::new();
    for number in 0..PROJECTS {
        let project = Project::create(&admin, &format!("p{number}")).await;
        live(&project).await;
        projects.push(project);
    }
    let mut partitions = BTreeSet::new();
    for project in &projects {
        let position = project.write("c", "last", &json!({})).await.position();
        partitions.insert(position.split('-').next().map(str::to_owned));
    }
    assert_eq!(partitions.len(), PARTITIONS, "a partition has no project");
    let before = everything(&projects).await;
    let rebuild = ["rebuild", "documents", "--verify"];

    // With a node still running.
    assert!(cluster.nodes[0].stop().await.success());
    let elsewhere: Vec<_> =
        projects.iter().map(|project| project.at(cluster.nodes[1].url())).collect();
    let mut writers: Vec<_> =
        elsewhere.iter().map(|project| Writer::start(project, "during")).collect();
    let started = Instant::now();
    let output = cluster.run(&rebuild, &[]).await;
    let told = printed(&output);
    println!("refused after {:.1?}: {}", started.elapsed(), told.trim());
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("stop ") && told.contains(" first"), "{told}");
    let started = Instant::now();
    for writer in &mut writers {
        writer.goes_on(MORE, SETTLED_MAX).await;
    }
    println!("all partitions are written after {:.1?}", started.elapsed());
    for (project, writer) in elsewhere.iter().zip(writers) {
        let ledger = writer.end().await;
        let counts = [&ledger.acknowledged, &ledger.unknown, &ledger.refused].map(Vec::len);
        println!("acknowledged, unknown, refused meanwhile: {counts:?}");
        ledger.check(project).await;
    }
    assert_eq!(everything(&elsewhere).await, before);

    assert!(cluster.nodes[1].stop().await.success());
    let started = Instant::now();
    let output = cluster.run(&rebuild, &[]).await;
    let told = printed(&output);
    println!("rebuilt in {:.1?}: {}", started.elapsed(), told.trim());
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("digests are equal"), "{told}");

    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.ready().await;
    for of_node in [&projects, &elsewhere] {
        assert_eq!(everything(of_node).await, before);
        for project in of_node {
            project.write("after", "rebuild", &json!({})).await;
            project.get("after", "rebuild").expect(200).await;
        }
    }
}

/// Documents that were made, changed and deleted.
async fn live(project: &Project) {
    for commit in 0..COMMITS {
        let write = |n: u64| {
            let id = format!("d{:03}", n * 7 % 150);
            let collection = if n % 10 == 9 { "gone" } else { "c" };
            let data = json!({"commit": commit, "n": n});
            json!({"op": "replace", "collection": collection, "id": id, "data": data})
        };
        let writes: Vec<_> = (0..WRITES).map(write).collect();
        project.commit(&json!(writes), &json!([])).expect(200).await;
        for document in project.list("gone", "limit=500").await {
            let id = document["id"].as_str().expect("an id");
            project.delete("gone", id).expect(204).await;
        }
    }
}

/// All documents of some projects, and the history of one of each.
async fn everything(projects: &[Project]) -> Vec<Value> {
    let mut all = Vec::new();
    for project in projects {
        all.push(json!(project.list("c", "limit=500").await));
        all.push(json!(project.list("gone", "limit=500").await));
        all.push(json!(project.history("c", "d007").await));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_would_do_harm_is_refused() {
    if !are_wanted() {
        return;
    }
    let engines = block_in_place(|| (Engine::shared(Kind::Kafka), Engine::shared(Kind::Cassandra)));
    let _turn = TURN.lock().await;
    let cluster = Cluster::start("refused", 1, engines, None).await;
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    // The number of partitions is for ever.
    let output = cluster.run(&serve, &[("HEADWATER__LOG__PARTITIONS", "5")]).await;
    let told = printed(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let (brokers, topic) = (cluster.log.addresses(), cluster.name());
    for part in [
        format!("topic {topic} has 4 partitions, and the configuration says 5"),
        format!("kafka-topics.sh --bootstrap-server {brokers} --describe --topic {topic}"),
    ] {
        assert!(told.contains(&part), "{told}");
    }
    // Tables that nobody has made.
    let absent = format!("scylla://{}/absent_{topic}", cluster.tables.addresses());
    let output = cluster.run(&serve, &[("HEADWATER__READMODEL__URL", &absent)]).await;
    let told = printed(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("headwater migrate"), "{told}");
    // Neither has disturbed the node that serves.
    let admin = Client::new(cluster.nodes[0].url(), ADMIN_KEY);
    let project = Project::create(&admin, "p").await;
    project.write("c", "d", &json!({})).await;
}
