//! One fault each, in the middle of the work, on three nodes with Kafka and Cassandra beneath. They
//! take minutes and need Java, so they run only where `HEADWATER_TEST_CLUSTER` is set; one after
//! the other, since each would starve the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::task::block_in_place;

use crate::nodes::cluster::Cluster;
use crate::nodes::engines::{Engine, Kind};
use crate::nodes::network::Namespace;
use crate::workload::{Plan, Run};

const NODES: usize = 3;
/// How long everybody works before and after a fault.
const CALM: Duration = Duration::from_secs(5);
/// How long a fault lasts, where it does not end by itself.
const FAULT: Duration = Duration::from_secs(20);
/// How long a node is paused: longer than it takes the others to give it up.
const PAUSE: Duration = Duration::from_secs(30);

/// Held by the scenario that runs.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

/// Whether scenarios are wanted; says so when they are not.
pub(crate) fn are_wanted() -> bool {
    let are_wanted = std::env::var_os("HEADWATER_TEST_CLUSTER").is_some();
    if !are_wanted {
        println!("left out: HEADWATER_TEST_CLUSTER is not set");
    }
    are_wanted
}

struct Scenario {
    run: Run,
    cluster: Cluster,
    /// Dropped after the cluster, and before the next one's turn.
    namespace: Option<Namespace>,
    _turn: MutexGuard<'static, ()>,
}

impl Scenario {
    /// Nodes with everybody at work on them. `None` where that is not wanted.
    async fn start(name: &str, tables: Kind) -> Option<Self> {
        Self::start_with(name, tables, false).await
    }

    /// With one node in a network of its own, if it is to be apart.
    async fn start_with(name: &str, tables: Kind, is_apart: bool) -> Option<Self> {
        if !are_wanted() {
            return None;
        }
        let mut namespace = None;
        if is_apart {
            namespace = Namespace::new();
            if namespace.is_none() {
                println!("left out: a network namespace is not permitted here");
                return None;
            }
        }
        // Held while waiting for its turn, so that the engines stay for the next one.
        let engines = || (Engine::shared(Kind::Kafka), Engine::shared(tables));
        let engines: (Arc<Engine>, Arc<Engine>) = block_in_place(engines);
        let turn = TURN.lock().await;
        let cluster = Cluster::start(name, NODES, engines, namespace.as_mut()).await;
        let mut run = Run::start(Plan::new(), &cluster.urls(), harness::ADMIN_KEY).await;
        run.work(CALM).await;
        Some(Self { run, cluster, namespace, _turn: turn })
    }

    /// The node that owns some project's partition.
    async fn owner(&self) -> usize {
        self.cluster.owner(self.run.partition(0)).await
    }

    /// Without faults again: everything must come back, and nothing must be wrong.
    async fn finish(mut self) {
        self.run.recovered().await;
        self.run.work(CALM).await;
        self.run.subscribe_late().await;
        self.run.finish().await;
    }
}

/// Without a fault nothing may be refused for good, and everything goes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_without_a_fault() {
    let Some(scenario) = Scenario::start("calm", Kind::Cassandra).await else { return };
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_owner() {
    let Some(mut scenario) = Scenario::start("sigkill", Kind::Cassandra).await else { return };
    for _ in 0..2 {
        let owner = scenario.owner().await;
        scenario.cluster.nodes[owner].kill();
        scenario.run.work(FAULT).await;
        scenario.cluster.nodes[owner].start();
        scenario.cluster.nodes[owner].ready().await;
        scenario.run.work(CALM).await;
    }
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_owner() {
    let Some(mut scenario) = Scenario::start("pause", Kind::Cassandra).await else { return };
    let owner = scenario.owner().await;
    scenario.cluster.nodes[owner].pause();
    scenario.run.work(PAUSE).await;
    scenario.cluster.nodes[owner].resume();
    scenario.run.work(CALM).await;
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_restart() {
    let Some(mut scenario) = Scenario::start("rolling", Kind::Cassandra).await else { return };
    for node in 0..NODES {
        let status = scenario.cluster.nodes[node].stop().await;
        assert!(status.success(), "node {node} ended with {status}");
        scenario.run.work(CALM).await;
        scenario.cluster.nodes[node].start();
        scenario.cluster.nodes[node].ready().await;
        scenario.run.work(CALM).await;
    }
    scenario.finish().await;
}

/// One of three brokers may go at any time, with two that must have each event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_killed() {
    let Some(mut scenario) = Scenario::start("broker", Kind::Cassandra).await else { return };
    for broker in 1..=Kind::Kafka.node_count() {
        let log = Arc::clone(&scenario.cluster.log);
        block_in_place(|| log.kill_node(broker));
        scenario.run.work(FAULT / 2).await;
        block_in_place(|| log.start_node(broker));
        scenario.run.work(CALM * 2).await;
    }
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cassandra_killed() {
    let Some(mut scenario) = Scenario::start("cassandra", Kind::Cassandras).await else { return };
    let tables = Arc::clone(&scenario.cluster.tables);
    // With one of three nothing stops; with two of three nothing goes on.
    block_in_place(|| tables.kill_node(2));
    scenario.run.work(FAULT / 2).await;
    block_in_place(|| tables.kill_node(3));
    scenario.run.work(FAULT / 2).await;
    for node in [2, 3] {
        block_in_place(|| tables.start_node(node));
    }
    scenario.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn network_cut() {
    let started = Scenario::start_with("cut", Kind::Cassandra, true).await;
    let Some(mut scenario) = started else { return };
    let cut = |scenario: &Scenario| scenario.namespace.as_ref().map(Namespace::cut);
    let heal = |scenario: &Scenario| scenario.namespace.as_ref().map(Namespace::heal);
    cut(&scenario).expect("there is a namespace");
    scenario.run.work(FAULT).await;
    heal(&scenario).expect("there is a namespace");
    scenario.run.work(CALM).await;
    scenario.finish().await;
}
