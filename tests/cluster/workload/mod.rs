//! What runs against the nodes: clients that write and read, subscribers that follow; and in the
//! end what every node has to say. Works on any nodes that it is given, and knows nothing of
//! faults.

mod client;
mod gather;
mod requests;
mod run;
mod subscriber;
mod world;

use std::time::Duration;

use serde_json::Value;

use crate::checker::Reads;
pub(crate) use run::Run;

/// Documents with a balance each, whose sum never changes.
pub(crate) const ACCOUNTS: &str = "accounts";
/// A few documents that everybody writes.
pub(crate) const HOT: &str = "hot";
/// Documents that are made once, to see whether one gets lost.
pub(crate) const UNIQUE: &str = "unique";
/// All of them.
pub(crate) const COLLECTIONS: [&str; 3] = [ACCOUNTS, HOT, UNIQUE];

/// What an account has.
pub(crate) fn balance(data: &Value) -> Option<i64> {
    data["balance"].as_i64()
}

/// How much of what.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Partitions of the log, each of which gets a project.
    pub(crate) partitions: u32,
    pub(crate) clients: usize,
    /// Hot documents of each project.
    pub(crate) hot: usize,
    /// Accounts of each project.
    pub(crate) accounts: usize,
    /// The longest pause of a client between two operations.
    pub(crate) pause_max: Duration,
    /// The longest that a client waits for an answer.
    pub(crate) request_max: Duration,
    /// Of a hundred clients, so many repeat what they got no answer to.
    pub(crate) retry_percent: u8,
    pub(crate) reads: Reads,
}

impl Plan {
    /// The usual amount, with the seed that `HEADWATER_SEED` gives. With
    /// `HEADWATER_TEST_READS=session` plain reads may be stale.
    pub(crate) fn new() -> Self {
        let is_session =
            std::env::var("HEADWATER_TEST_READS").is_ok_and(|reads| reads == "session");
        let reads = if is_session { Reads::SessionOnly } else { Reads::Linearizable };
        let seed = std::env::var("HEADWATER_SEED").ok().and_then(|seed| seed.parse().ok());
        Self {
            seed: seed.unwrap_or_else(|| fastrand::u64(..)),
            partitions: 4,
            clients: 12,
            hot: 8,
            accounts: 6,
            pause_max: Duration::from_millis(60),
            request_max: Duration::from_secs(5),
            retry_percent: 70,
            reads,
        }
    }
}
