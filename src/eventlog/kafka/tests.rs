//! Against a real broker, whose address `HEADWATER_TEST_KAFKA` gives. Every test has topics of its
//! own.

mod crashes;
mod fencing;
mod measure;
mod reading;
mod settings;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use domain::{Event, Offset, PartitionId, Recorded, TransactionPart};
use parking_lot::Mutex;
use prometheus::Registry;
use uuid::Uuid;

use super::{Log, Options};
use crate::conformance::{self, Engine, event, read_on};
use crate::metrics::Metrics;
use crate::{Error, EventLog, ReadLimit};

const P0: PartitionId = PartitionId(0);
const ALL: ReadLimit = ReadLimit { events_max: 1000, bytes_max: 4 << 20 };
const NODE: &str = "http://127.0.0.1:1";

/// The brokers of this run.
fn brokers() -> String {
    std::env::var("HEADWATER_TEST_KAFKA").expect(
        "this test needs a Kafka broker: set HEADWATER_TEST_KAFKA to its host:port \
         (deploy/engines/kafka/kafka.sh starts one)",
    )
}

/// A topic name that no other run has.
fn unique(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, SeqCst);
    format!("test.{name}.{}.{count}", Uuid::now_v7().simple())
}

fn options(topic: &str, partitions: u32) -> Options {
    Options::new(&brokers(), topic, partitions)
}

async fn try_open(options: Options) -> Result<Log, Error> {
    Log::open(options, &Metrics::new(&Registry::new()).unwrap()).await
}

async fn open(options: Options) -> Arc<Log> {
    Arc::new(try_open(options).await.unwrap())
}

fn events(numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(|number| event("p", number, 60)).collect()
}

/// The events as one transaction.
fn transaction(mut events: Vec<Event>) -> Vec<Event> {
    let (id, count) = (Uuid::now_v7(), events.len() as u32);
    for (index, event) in (0..).zip(&mut events) {
        event.transaction = Some(TransactionPart { id, index, count });
    }
    events
}

/// Everything there is, without what the log keeps in memory.
async fn read_cold(options: &Options, from: Offset) -> Vec<Arc<Recorded>> {
    let log = open(Options { ring_bytes: 0, ..options.clone() }).await;
    read_on(&*log, P0, from.max(log.start(P0)), ALL).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    conform(1 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_without_a_ring() {
    conform(0).await;
}

async fn conform(ring_bytes: usize) {
    let engine = Engine { durable: true, trims: false, takeovers: true };
    let run = unique("conforms");
    conformance::run(engine, async |setup| {
        let topic = format!("{run}.{}", setup.topic);
        let mut options = options(&topic, setup.partitions);
        options.retention = setup.retention;
        options.ring_bytes = ring_bytes;
        open(options).await as Arc<dyn EventLog>
    })
    .await;
}
