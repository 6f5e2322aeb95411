//! A server that is killed again and again in the middle of its work loses nothing that it
//! acknowledged, leaves nothing half done, and its subscribers miss nothing.

mod ledger;
mod subscriber;
mod work;
mod world;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use harness::{Project, Server, Setup, within};
use ledger::Ledger;
use subscriber::{Subscriber, Target};
use work::SHARED;
use world::World;
use writer::Writer;

/// How often the server is killed.
const KILLS: usize = 50;
/// Writers at work at the same time.
const WRITERS: usize = 6;
/// A kill comes after at most this many acknowledged writes.
const ACKS_MAX: usize = 400;
/// How many of a hundred starts are killed before they are done.
const KILLED_AT_START_PERCENT: u8 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_and_leave_nothing_half_done() {
    let seed = std::env::var("HEADWATER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("HEADWATER_SEED={seed}");
    let began = Instant::now();
    let mut run = Run::start(seed).await;
    for _ in 0..KILLS {
        run.round().await;
    }
    run.finish().await;
    println!("{KILLS} kills in {:?}", began.elapsed());
}

struct Run {
    rng: fastrand::Rng,
    setup: Setup,
    server: Option<Server>,
    project: Project,
    world: Arc<World>,
    ledger: Ledger,
    writers: JoinSet<()>,
    subscribers: JoinSet<Subscriber>,
    /// Acknowledgements that were compared with the log.
    checked: usize,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let setup = Setup::new();
        let server = setup.start().await;
        let project = server.project("crash").await;
        for id in SHARED {
            project.write("a", id, &json!({"op": "start", "n": 0})).await;
        }
        let world = Arc::new(World::new(&project));
        let mut subscribers = JoinSet::new();
        for target in Target::all() {
            let subscriber = Subscriber::start(Arc::clone(&world), target, rng.fork()).await;
            subscribers.spawn(subscriber.run());
        }
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let writer = Writer::new(number, Arc::clone(&world), rng.fork());
            writers.spawn(writer.run());
        }
        let ledger = Ledger::default();
        let server = Some(server);
        Self { rng, setup, server, project, world, ledger, writers, subscribers, checked: 0 }
    }

    /// Lets everybody work, kills the server, starts it again and looks at what is there.
    async fn round(&mut self) {
        let wanted = self.world.ack_count() + self.rng.usize(1..=ACKS_MAX);
        let worked = within("writes to be acknowledged", self.world.acked(wanted));
        tokio::select! {
            () = worked => {}
            Some(ended) = self.writers.join_next() => panic!("a writer ended: {ended:?}"),
            Some(ended) = self.subscribers.join_next() => {
                panic!("a subscriber ended: {:?}", ended.err());
            }
        }
        self.world.goes_down();
        self.server.take().expect("a round begins with a server").kill().await;
        while self.rng.u8(..100) < KILLED_AT_START_PERCENT {
            let server = self.setup.spawn();
            tokio::time::sleep(Duration::from_millis(self.rng.u64(..150))).await;
            server.kill().await;
        }
        let server = self.setup.start().await;
        self.project = self.project.at(&server.url);
        self.check().await;
        self.world.comes_up(&server.url);
        self.server = Some(server);
    }

    /// Compares what is new with the log and the documents. Nobody writes meanwhile.
    async fn check(&mut self) {
        let touched = self.ledger.read_on(&self.project).await;
        let acks = self.world.acks_from(self.checked);
        self.checked += acks.len();
        for ack in &acks {
            self.ledger.check_ack(ack);
        }
        for (collection, id) in touched {
            let answer = self.project.get(&collection, &id).send().await;
            match self.ledger.document(&collection, &id) {
                (version, Some(data)) => {
                    let document = answer.expect(200);
                    assert_eq!(document["version"], version, "{collection}/{id}");
                    assert_eq!(document["data"], *data, "{collection}/{id}");
                }
                (_, None) => drop(answer.problem(404, "document-not-found")),
            }
        }
    }

    async fn finish(mut self) {
        self.world.stop_writing();
        let writers = async {
            while let Some(ended) = self.writers.join_next().await {
                ended.expect("a writer ends when it is told to");
            }
        };
        within("the writers to finish", writers).await;
        // From the front, as somebody would who knows nothing yet.
        self.ledger = Ledger::default();
        self.checked = 0;
        self.check().await;
        println!("{} writes acknowledged, {} events", self.checked, self.ledger.len());
        self.check_lists().await;
        self.check_histories().await;
        self.check_subscribers().await;
        self.server.take().expect("the server runs").stop().await;
        let data = self.setup.data();
        let data = data.to_str().expect("a temporary path is UTF-8");
        self.setup.run_ok(&["rebuild", "documents", "--verify", "--data", data]).await;
    }

    async fn check_lists(&self) {
        for collection in ["a", "b"] {
            let listed = self.project.list(collection, "limit=500").await;
            let of = |document: &Value| {
                let id = document["id"].as_str().expect("an id").to_owned();
                (id, document["version"].as_u64().expect("a version"), document["data"].clone())
            };
            let listed: Vec<_> = listed.iter().map(of).collect();
            assert_eq!(listed, self.ledger.live(collection), "{collection}");
        }
    }

    /// Versions 1 to n of each document, without a hole.
    async fn check_histories(&self) {
        for (collection, id, versions) in self.ledger.histories() {
            let history = self.project.history(&collection, &id).await;
            let version = |entry: &Value| entry["version"].as_u64();
            let found: Vec<_> = history.iter().rev().filter_map(version).collect();
            let wanted: Vec<_> = (1..=versions).collect();
            assert_eq!(found, wanted, "{collection}/{id}");
        }
    }

    /// Each subscriber saw just what the log has for it, in that order.
    async fn check_subscribers(&mut self) {
        self.world.ends_at(self.ledger.last_positions());
        let subscribers = async {
            while let Some(ended) = self.subscribers.join_next().await {
                let subscriber = ended.expect("a subscriber ends when it has seen everything");
                let wanted = self.ledger.seen_by(&subscriber.target, subscriber.start);
                subscriber.check(&wanted);
            }
        };
        within("the subscribers to see the end", subscribers).await;
    }
}
