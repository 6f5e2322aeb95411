//! One run from its first project to its verdict. What happens to the nodes in between is the
//! caller's affair.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use harness::root;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::client::Client;
use super::subscriber::{Protocol, Subscriber};
use super::world::{Ends, World};
use super::{ACCOUNTS, COLLECTIONS, HOT, Plan, UNIQUE, gather};
use crate::checker::streams::Stream;
use crate::checker::{self, Evidence};
use crate::history::{Operation, Outcome, to_lines};

/// The longest that clients may take to get their last answers, once nothing is in the way.
const DRAIN_MAX: Duration = Duration::from_secs(120);
/// The longest that nodes may take to serve everything again, once nothing is in the way.
const RECOVERY_MAX: Duration = Duration::from_secs(120);
/// Operations without an answer that are printed when a run fails.
const PENDING_MAX: usize = 5;
/// Violations that are printed; the others are counted.
const PRINTED_MAX: usize = 12;

/// A run.
pub(crate) struct Run {
    plan: Plan,
    rng: fastrand::Rng,
    world: Arc<World>,
    clients: JoinSet<()>,
    subscribers: JoinSet<Stream>,
    /// Clients that were made outside of the plan.
    extra: usize,
}

impl Run {
    /// Makes projects and accounts, and sends everybody to work.
    pub(crate) async fn start(plan: Plan, nodes: &[String], admin_key: &str) -> Self {
        println!("HEADWATER_SEED={}", plan.seed);
        let rng = fastrand::Rng::with_seed(plan.seed);
        let world = Arc::new(World::new(&plan, nodes, admin_key).await);
        let (clients, subscribers) = (JoinSet::new(), JoinSet::new());
        let mut run = Self { plan, rng, world, clients, subscribers, extra: 0 };
        // One that sees the accounts come, the others see them in their snapshots.
        run.subscribe(Protocol::WebSocket, 0, ACCOUNTS).await;
        run.client("a").open_accounts().await;
        for tenant in 0..run.world.tenants.len() {
            for collection in [HOT, UNIQUE] {
                run.subscribe(Protocol::WebSocket, tenant, collection).await;
            }
        }
        run.subscribe(Protocol::Sse, 0, HOT).await;
        for number in 0..run.plan.clients {
            let client = run.client(&format!("c{number}"));
            run.clients.spawn(client.run());
        }
        run
    }

    fn client(&mut self, name: &str) -> Client {
        Client::new(name.to_owned(), &self.world, &self.plan, self.rng.fork())
    }

    /// Adds a subscriber, which has its snapshot when this returns.
    async fn subscribe(&mut self, protocol: Protocol, tenant: usize, collection: &'static str) {
        let rng = self.rng.fork();
        let mut subscriber = Subscriber::new(&self.world, protocol, tenant, collection, rng);
        subscriber.begin().await;
        self.subscribers.spawn(subscriber.run());
    }

    /// Subscribers that come in the middle of it all.
    pub(crate) async fn subscribe_late(&mut self) {
        for collection in COLLECTIONS {
            let tenant = self.rng.usize(..self.world.tenants.len());
            self.subscribe(Protocol::WebSocket, tenant, collection).await;
        }
    }

    /// Lets everybody work.
    pub(crate) async fn work(&mut self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            Some(ended) = self.clients.join_next() => {
                panic!("a client ended: {:?}", ended.map_err(|e| resume_unwind(e.into_panic())));
            }
            Some(ended) = self.subscribers.join_next() => match ended {
                Ok(stream) => panic!("a subscriber ended: {}", stream.name),
                Err(error) => resume_unwind(error.into_panic()),
            }
        }
    }

    /// The project's partition, by the project's number.
    pub(crate) fn partition(&self, tenant: usize) -> u32 {
        self.world.tenants[tenant].partition
    }

    /// Writes that were acknowledged until now.
    pub(crate) fn acknowledged(&self) -> usize {
        let is_acknowledged = |operation: &&Operation| operation.acknowledged().is_some();
        self.world.history.with(|all| all.iter().filter(is_acknowledged).count())
    }

    /// Waits until every node serves every project, reads and writes, and everybody has worked on.
    pub(crate) async fn recovered(&mut self) {
        self.extra += 1;
        let mut client = self.client(&format!("r{}", self.extra));
        let (nodes, tenants) = (self.world.nodes.len(), self.world.tenants.len());
        let deadline = Instant::now() + RECOVERY_MAX;
        for node in 0..nodes {
            for tenant in 0..tenants {
                let served = timeout_at(deadline, client.write_at(node, tenant)).await;
                let (url, partition) = (&self.world.nodes[node], self.partition(tenant));
                assert!(
                    served.is_ok(),
                    "{url} does not serve partition {partition} after {RECOVERY_MAX:?}"
                );
            }
        }
        self.work(Duration::from_secs(1)).await;
    }

    /// Ends the work, gathers what there is, and panics if something is wrong.
    pub(crate) async fn finish(self) {
        let seed = self.plan.seed;
        judge(seed, &self.conclude().await);
    }

    /// Ends the work and gathers what there is.
    pub(crate) async fn conclude(mut self) -> Evidence {
        self.world.is_working.send_replace(false);
        let drained = async {
            while let Some(ended) = self.clients.join_next().await {
                ended.unwrap_or_else(|error| resume_unwind(error.into_panic()));
            }
        };
        let is_drained = tokio::time::timeout(DRAIN_MAX, drained).await.is_ok();
        assert!(is_drained, "some client got no answer within {DRAIN_MAX:?} without faults");
        gather::rest(&self.world).await;
        let mut last = self.client("f");
        for node in 0..self.world.nodes.len() {
            last.look_at_all(node).await;
        }
        let finals = gather::finals(&self.world).await.unwrap_or_else(|e| panic!("{e}"));
        let tenants = 0..self.world.tenants.len();
        let log = |tenant| finals.iter().find(|told| told.tenant == tenant).map(|f| f.log.clone());
        let logs: Vec<_> = tenants.filter_map(log).collect();
        let mut ends = Ends::new();
        for (tenant, log) in logs.iter().enumerate() {
            let last = COLLECTIONS.map(|collection| (collection, log.last_of(collection)));
            ends.extend(last.into_iter().filter_map(|(name, last)| Some(((tenant, name), last?))));
        }
        self.world.ends.send_replace(Some(ends));
        let mut streams = Vec::new();
        while let Some(ended) = self.subscribers.join_next().await {
            streams.push(ended.unwrap_or_else(|error| resume_unwind(error.into_panic())));
        }
        let operations = self.world.history.take();
        let reads = self.plan.reads;
        Evidence { reads, operations, logs, streams, finals }
    }
}

/// When something fails before the checker can tell what, the history still helps.
impl Drop for Run {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let pending = self.world.history.pending();
        println!("{} operations have no answer yet, for example:", pending.len());
        for operation in pending.iter().take(PENDING_MAX) {
            let told = operation.outcome();
            println!("* {:?}: {} attempts, {told:?}", operation.request, operation.attempts.len());
        }
        let lines = self.world.history.with(|all| to_lines(all.iter().chain(&pending)));
        write_history(self.plan.seed, &lines);
    }
}

/// Writes a history down for people, and says where.
fn write_history(seed: u64, lines: &str) {
    let path = root().join(format!("target/cluster-history-{seed}.jsonl"));
    let written = std::fs::write(&path, lines);
    println!("history ({written:?}): {}", path.display());
}

/// Checks, and tells.
fn judge(seed: u64, evidence: &Evidence) {
    println!("{}", summary(evidence));
    let violations = checker::check(evidence);
    if violations.is_empty() {
        return;
    }
    write_history(seed, &to_lines(&evidence.operations));
    for violation in violations.iter().take(PRINTED_MAX) {
        println!("* {violation}");
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for violation in &violations {
        *counts.entry(violation.rule).or_default() += 1;
    }
    panic!("{} violations {counts:?} with HEADWATER_SEED={seed}", violations.len());
}

fn summary(evidence: &Evidence) -> String {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut repeated = 0;
    for operation in &evidence.operations {
        let outcome = match operation.outcome() {
            Outcome::Written { .. } => "written",
            Outcome::Found(_) | Outcome::Absent | Outcome::Listed { .. } => "read",
            Outcome::Refused { .. } => "refused",
            Outcome::Nothing { .. } => "nothing",
            Outcome::Unknown { .. } => "unknown",
        };
        *counts.entry(outcome).or_default() += 1;
        repeated += operation.attempts.len() - 1;
    }
    let events: usize = evidence.logs.iter().map(|log| log.entries.len()).sum();
    let connections: usize = evidence.streams.iter().map(|stream| stream.connections.len()).sum();
    let told: usize = evidence.streams.iter().map(|stream| stream.told.len()).sum();
    format!(
        "{} operations {counts:?}, {repeated} sent again; {events} events; {} subscribers told \
         {told} changes over {connections} connections",
        evidence.operations.len(),
        evidence.streams.len()
    )
}
