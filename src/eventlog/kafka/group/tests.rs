//! Against a real broker, named by `HEADWATER_TEST_KAFKA` as `host:port`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::PartitionId;
use proptest::prelude::*;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::owners::assigned;
use super::{Group, Timing};
use crate::Membership;
use crate::kafka::options::Options;

const PARTITIONS: u32 = 8;
/// What the test in a process of its own is to join: `topic node`.
const CHILD: &str = "HEADWATER_TEST_MEMBER";

fn brokers() -> String {
    std::env::var("HEADWATER_TEST_KAFKA")
        .expect("this test needs a Kafka broker: set HEADWATER_TEST_KAFKA to its host:port")
}

/// The group `topic`, as the node `node`.
fn options(topic: &str, node: &str) -> Options {
    let mut options = Options::new(&brokers(), topic, PARTITIONS);
    topic.clone_into(&mut options.group);
    options.advertise = format!("http://{node}:8080");
    options
}

async fn topic() -> String {
    let name = format!("group-{}", Uuid::now_v7());
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    let topic = NewTopic::new(&name, PARTITIONS as i32, TopicReplication::Fixed(1));
    admin.create_topics(&[topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    name
}

/// A node whose writers need `drain` to stop.
struct Node {
    group: Arc<Group>,
    name: String,
    engine: JoinHandle<()>,
}

impl Node {
    fn start(topic: &str, name: &str, drain: Duration) -> Self {
        let group = Group::join(&options(topic, name), Timing::default()).unwrap();
        let engine = tokio::spawn(run(Arc::clone(&group), drain));
        Self { group, name: name.to_owned(), engine }
    }

    fn assigned(&self) -> BTreeSet<PartitionId> {
        self.group.assigned().borrow().clone()
    }

    fn address(&self) -> String {
        format!("http://{}:8080", self.name)
    }

    async fn leave(self) {
        self.group.leave().await;
        self.engine.abort();
    }
}

/// What the engine does: stops what has left the set, and says so.
async fn run(group: Arc<Group>, drain: Duration) {
    let mut assigned = group.assigned();
    let mut writing = BTreeSet::new();
    loop {
        let now = assigned.borrow_and_update().clone();
        let gone: Vec<PartitionId> = writing.difference(&now).copied().collect();
        if !gone.is_empty() {
            tokio::time::sleep(drain).await;
            gone.iter().for_each(|partition| group.released(*partition));
        }
        writing = now;
        if assigned.changed().await.is_err() {
            return;
        }
    }
}

/// Waits until the nodes share all partitions, with so many each; returns how long that took.
async fn settle(nodes: &[&Node], counts: &[usize], within: Duration) -> Duration {
    let start = Instant::now();
    loop {
        let sets: Vec<BTreeSet<PartitionId>> = nodes.iter().map(|node| node.assigned()).collect();
        let mut found: Vec<usize> = sets.iter().map(BTreeSet::len).collect();
        found.sort_unstable();
        let all: BTreeSet<&PartitionId> = sets.iter().flatten().collect();
        if found == counts && all.len() == PARTITIONS as usize {
            return start.elapsed();
        }
        let troubles: Vec<_> = nodes.iter().map(|node| node.group.trouble()).collect();
        assert!(start.elapsed() < within, "not settled: {sets:?}, {troubles:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every node knows who owns what.
async fn assert_owners_are_known(nodes: &[&Node]) {
    for node in nodes {
        for other in nodes {
            for partition in other.assigned() {
                let owner = node.group.owner(partition, true).await.unwrap();
                assert_eq!(owner, Some(other.address()), "{partition} by {}", node.name);
            }
        }
    }
}

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_shared_out_and_passed_on() {
    let topic = topic().await;
    let a = Node::start(&topic, "a", Duration::ZERO);
    println!("first alone: {:?}", settle(&[&a], &[8], SOON).await);
    let b = Node::start(&topic, "b", Duration::ZERO);
    println!("second joins: {:?}", settle(&[&a, &b], &[4, 4], SOON).await);
    assert_owners_are_known(&[&a, &b]).await;
    let c = Node::start(&topic, "c", Duration::ZERO);
    println!("third joins: {:?}", settle(&[&a, &b, &c], &[2, 3, 3], SOON).await);
    assert_owners_are_known(&[&a, &b, &c]).await;
    assert_eq!(a.group.trouble(), None);

    // One that leaves passes its partitions on at once, and no others move. (The client joins
    // once a second at most, so that right after another change it would take longer.)
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (kept_a, kept_b) = (a.assigned(), b.assigned());
    let start = Instant::now();
    let left = c.group.clone();
    c.leave().await;
    let gone = start.elapsed();
    assert!(left.assigned().borrow().is_empty());
    settle(&[&a, &b], &[4, 4], SOON).await;
    println!("third leaves: gone after {gone:?}, taken over after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(kept_a.is_subset(&a.assigned()) && kept_b.is_subset(&b.assigned()));
    assert_owners_are_known(&[&a, &b]).await;
    // It still knows where to send what reaches it.
    let partition = *a.assigned().first().unwrap();
    assert_eq!(left.owner(partition, true).await.unwrap(), Some(a.address()));

    // The last one that leaves leaves nobody.
    b.leave().await;
    settle(&[&a], &[8], SOON).await;
    let last = a.group.clone();
    a.leave().await;
    assert_eq!(last.owner(partition, true).await.unwrap(), None);
    assert_eq!(last.trouble(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_released_is_waited_for() {
    let topic = topic().await;
    let slow = Node::start(&topic, "slow", Duration::from_millis(1500));
    settle(&[&slow], &[8], SOON).await;
    let (start, mut released) = (Instant::now(), slow.group.assigned());
    released.mark_unchanged();
    let other = Node::start(&topic, "other", Duration::ZERO);
    released.changed().await.unwrap();
    let revoked = start.elapsed();
    settle(&[&slow, &other], &[4, 4], SOON).await;
    let taken = start.elapsed();
    println!("revoked after {revoked:?}, taken over after {taken:?}");
    assert!(taken - revoked >= Duration::from_millis(1500));
    assert!(taken - revoked < Duration::from_millis(3000));

    // The same for one that leaves.
    let start = Instant::now();
    let mut others = other.group.assigned();
    others.mark_unchanged();
    slow.leave().await;
    others.wait_for(|assigned| assigned.len() == 8).await.unwrap();
    println!("left and taken over after {:?}", start.elapsed());
    assert!(start.elapsed() >= Duration::from_millis(1500));
    assert!(start.elapsed() < Duration::from_millis(2500));
    other.leave().await;
}

/// One that never releases can't keep others waiting for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_is_bounded() {
    let topic = topic().await;
    let timing = Timing { release_wait: Duration::from_millis(700), ..Timing::default() };
    let stuck = Group::join(&options(&topic, "stuck"), timing).unwrap();
    let mut watched = stuck.assigned();
    watched.wait_for(|assigned| assigned.len() == 8).await.unwrap();
    let start = Instant::now();
    stuck.leave().await;
    println!("left after {:?}", start.elapsed());
    assert!(start.elapsed() >= timing.release_wait);
    assert!(start.elapsed() < timing.release_wait + Duration::from_secs(2));
    assert!(watched.borrow().is_empty());
}

/// One that is dropped leaves as well, and nothing holds it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_it_is_leaving() {
    let topic = topic().await;
    let a = Node::start(&topic, "a", Duration::ZERO);
    settle(&[&a], &[8], SOON).await;
    let b = Group::join(&options(&topic, "b"), Timing::default()).unwrap();
    settle_at(&a, 4).await;
    drop(b);
    let start = Instant::now();
    settle_at(&a, 8).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    a.leave().await;
}

/// Joins, never releases anything, and tells how many partitions it has; run by the tests below in
/// a process of its own.
#[test]
#[ignore = "is run by other tests"]
fn a_member_in_a_process() {
    let Ok(wanted) = std::env::var(CHILD) else { return };
    let (topic, node) = wanted.split_once(' ').unwrap();
    let group = Group::join(&options(topic, node), Timing::default()).unwrap();
    let mut assigned = group.assigned();
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if assigned.has_changed().unwrap() {
            println!("\nassigned {}", assigned.borrow_and_update().len());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A node in a process of its own, which ends with the test that started it.
struct Process {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(topic: &str, node: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kafka::group::tests::a_member_in_a_process"])
            .args(["--ignored", "--nocapture"])
            .env(CHILD, format!("{topic} {node}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, output }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it tells that it has so many; returns what it had before.
    fn wait_for(&mut self, count: usize) -> Vec<usize> {
        let mut seen = Vec::new();
        for line in self.output.by_ref() {
            let line = line.unwrap();
            let Some(found) = line.strip_prefix("assigned ") else { continue };
            match found.parse().unwrap() {
                found if found == count => return seen,
                other => seen.push(other),
            }
        }
        panic!("it ended after {seen:?}")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_dies_is_replaced() {
    let topic = topic().await;
    let a = Node::start(&topic, "a", Duration::ZERO);
    settle(&[&a], &[8], SOON).await;
    let child = Process::start(&topic, "child");
    settle_at(&a, 4).await;
    // Every partition has an owner, and half of them the child.
    let mut owners = BTreeMap::new();
    for partition in (0..PARTITIONS).map(PartitionId) {
        let owner = loop {
            match a.group.owner(partition, true).await.unwrap() {
                Some(owner) => break owner,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        *owners.entry(owner).or_insert(0) += 1;
    }
    let expected = [(a.address(), 4), ("http://child:8080".to_owned(), 4)];
    assert_eq!(owners, BTreeMap::from(expected));

    let start = Instant::now();
    drop(child);
    settle(&[&a], &[8], SOON).await;
    println!("killed and taken over after {:?}", start.elapsed());
    assert!(start.elapsed() < Timing::default().session + Duration::from_secs(2));
    a.leave().await;
}

/// One that stands still for too long loses its partitions, and is told so without a wait when it
/// goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_slept_loses_its_partitions() {
    let topic = topic().await;
    let a = Node::start(&topic, "a", Duration::ZERO);
    settle(&[&a], &[8], SOON).await;
    let mut child = Process::start(&topic, "child");
    settle_at(&a, 4).await;
    child.wait_for(4);
    child.signal("STOP");
    settle_at(&a, 8).await;
    child.signal("CONT");
    let start = Instant::now();
    child.wait_for(0);
    let lost = start.elapsed();
    assert!(lost < Duration::from_secs(2), "{lost:?}");
    child.wait_for(4);
    println!("lost after {lost:?}, back after {:?}", start.elapsed());
    settle_at(&a, 4).await;
    a.leave().await;
}

async fn settle_at(node: &Node, count: usize) {
    let mut assigned = node.group.assigned();
    let wait = assigned.wait_for(|assigned| assigned.len() == count);
    tokio::time::timeout(SOON, wait).await.expect("shared out in time").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_it_says_so() {
    let mut options = options("nowhere", "n");
    options.brokers = "127.0.0.1:1".to_owned();
    let timing = Timing { reach_wait: Duration::from_millis(300), ..Timing::default() };
    let group = Group::join(&options, timing).unwrap();
    let start = Instant::now();
    while group.trouble().is_none() {
        assert!(start.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("after {:?}: {}", start.elapsed(), group.trouble().unwrap());
    let error = group.owner(PartitionId(0), true).await.unwrap_err();
    assert!(matches!(error, crate::Error::Unreachable { .. }), "{error}");
    let start = Instant::now();
    group.leave().await;
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

fn assignment(topics: &[(&str, &[i32])]) -> Vec<u8> {
    let mut bytes = vec![0, 1];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for (topic, partitions) in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
        bytes.extend((partitions.len() as i32).to_be_bytes());
        bytes.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

#[test]
fn an_assignment_is_read() {
    let bytes = assignment(&[("other", &[1, 2]), ("t", &[0, 5]), ("more", &[])]);
    assert_eq!(assigned(&bytes, "t"), [PartitionId(0), PartitionId(5)]);
    assert_eq!(assigned(&bytes, "more"), []);
    assert_eq!(assigned(&[], "t"), []);
    // As much as is there.
    let whole = assignment(&[("t", &[0, 5])]);
    assert_eq!(assigned(&whole[..whole.len() - 8], "t"), [PartitionId(0)]);
}

proptest! {
    #[test]
    fn random_assignments_do_not_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
        assigned(&bytes, "t");
        let mut bytes = assignment(&[("t", &[0, 5]), ("u", &[1])]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        assigned(&bytes, "t");
    }
}
