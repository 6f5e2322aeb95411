//! The CQL store against the suite and a real database, named by `HEADWATER_TEST_CQL=host:port`.
//! Each test has a keyspace of its own. None is dropped, for that takes longer than a test: the
//! database is to be thrown away.

mod expired;
mod keys;
mod order;
mod outage;
mod setup;
mod sharing;
mod shifted;

use std::env;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime};

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use tokio::sync::OnceCell;

use super::*;
use crate::Store as _;
use crate::conformance::{self, TABLES};
use shifted::{GENERATIONS, Shifted};

/// Where the database is.
fn node() -> String {
    env::var("HEADWATER_TEST_CQL").expect(
        "HEADWATER_TEST_CQL is not set: it must name a Cassandra or ScyllaDB to test against, as \
         host:port",
    )
}

/// A new keyspace.
struct Keyspace {
    options: Options,
    migrated: OnceCell<()>,
    /// How many empty stores were made in it.
    stores: AtomicU32,
}

impl Keyspace {
    fn new(test: &str) -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
        let belongs: Belongs = Arc::new(conformance::belongs);
        let name = format!("test_{test}_{now}");
        let options = Options::new(vec![node()], name, TABLES, belongs);
        let options = Options { replication_factor: 1, ..options };
        Self { options, migrated: OnceCell::new(), stores: AtomicU32::new(0) }
    }

    async fn connect(&self) -> Store {
        self.migrated
            .get_or_init(|| async {
                migrate(&self.options).await.unwrap();
            })
            .await;
        Store::connect(self.options.clone()).await.unwrap()
    }

    /// A store with nothing in it: one whose generations nobody has used.
    async fn empty(&self) -> Shifted {
        let by = self.stores.fetch_add(1, Ordering::Relaxed) * GENERATIONS;
        Shifted { store: self.connect().await, by }
    }

    /// A session of a person's own.
    async fn session(&self) -> Session {
        SessionBuilder::new().known_node(node()).build().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let keyspace = Keyspace::new("conforms");
    conformance::every_store(|| keyspace.empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_what_it_was_given() {
    let keyspace = Keyspace::new("durable");
    conformance::durable_store(|| keyspace.connect()).await;
}

#[test]
fn agrees_with_the_model() {
    let keyspace = Keyspace::new("model");
    conformance::random_batches(16, || keyspace.empty());
}

/// Waits until `holds`, and panics when it takes too long.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} does not come"));
}
