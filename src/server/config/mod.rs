//! What an operator can set, and where each value came from. `deploy/default.toml` holds every key
//! with its default; a file, the environment and flags go on top. A key that is not there, or of
//! another type, is refused by name.

mod check;
mod source;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use source::{Flag, Inputs, Loaded, load};

/// Every setting, as `deploy/default.toml` lists them.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Headwater configuration")]
pub(crate) struct Config {
    /// How clients reach it.
    pub(crate) server: Server,
    /// Where events are kept.
    pub(crate) log: Log,
    /// Where the tables that answer reads are kept.
    pub(crate) readmodel: ReadModel,
    /// Writers and consumers.
    pub(crate) engine: Engine,
    /// Live subscriptions.
    pub(crate) realtime: Realtime,
    /// What is logged and how.
    pub(crate) logging: Logging,
}

/// How clients reach it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// HOST:PORT; port 0 takes any free one.
    pub(crate) listen: String,
    /// Threads that parse requests and answer them; 0 for one per core.
    pub(crate) workers: usize,
    /// How long a stop waits for open requests, and then for the writers.
    pub(crate) shutdown_wait_s: u64,
    /// The largest request body.
    pub(crate) body_bytes_max: usize,
    /// Writes in one commit.
    pub(crate) commit_writes_max: usize,
    /// Documents or events in one page.
    pub(crate) page_max: usize,
    /// Open WebSockets and event streams, all workers together.
    pub(crate) sockets_max: usize,
}

/// Where events are kept.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// `file:FOLDER` or `memory:`.
    pub(crate) url: String,
    /// Lanes of the log; fixed at the first start.
    pub(crate) partitions: u32,
    /// A segment file ends after this many bytes.
    pub(crate) segment_bytes: u64,
    /// Events older than this may go; 0 keeps them for ever.
    pub(crate) retention_s: u64,
    /// A partition larger than this loses its oldest segments; 0 keeps them for ever.
    pub(crate) retention_bytes: u64,
    /// How often retention is applied.
    pub(crate) trim_interval_s: u64,
    /// What writes leave free on the disk; 0 for no reserve.
    pub(crate) disk_reserve_bytes: u64,
    /// The newest events of each partition that are kept in memory.
    pub(crate) ring_bytes: usize,
    /// Whether a write is answered only after its fsync.
    pub(crate) fsync: bool,
}

/// Where the tables that answer reads are kept.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadModel {
    /// `file:FOLDER` or `memory:`.
    pub(crate) url: String,
    /// Blocks kept in memory for reading.
    pub(crate) cache_bytes: u64,
    /// Rows kept in memory before they become a table, per consumer and partition.
    pub(crate) memtable_bytes: u64,
    /// Journal kept at most; bounds the start after a crash.
    pub(crate) journal_bytes_max: u64,
    /// Threads that flush and compact.
    pub(crate) compaction_threads: usize,
}

/// Writers and consumers.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Engine {
    /// Threads for subscribers and consumers; 0 for one per core, at least two.
    pub(crate) threads: usize,
    /// Commands that may wait for one partition's writer.
    pub(crate) queue_commands_max: usize,
    /// Bytes of commands that may wait for one partition's writer.
    pub(crate) queue_bytes_max: usize,
    /// Commands in one group commit.
    pub(crate) batch_commands_max: usize,
    /// How long a write waits for its answer.
    pub(crate) write_wait_s: u64,
    /// How long a read waits for the position in `Headwater-After`.
    pub(crate) read_wait_s: u64,
    /// How long an idempotency key is remembered.
    pub(crate) idempotency_s: u64,
    /// The largest document, without white space.
    pub(crate) document_bytes_max: usize,
    /// How deep a document may nest.
    pub(crate) document_depth_max: usize,
}

/// Live subscriptions.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Realtime {
    /// Time between heartbeats on a quiet socket.
    pub(crate) heartbeat_s: u64,
    /// Subscriptions of one WebSocket.
    pub(crate) socket_subscriptions_max: usize,
    /// Frames that may wait for one socket before it falls back to reading the log.
    pub(crate) queue_frames_max: usize,
    /// Bytes that may wait for one socket before it falls back to reading the log.
    pub(crate) queue_bytes_max: usize,
    /// Rounds of fan-out start this far apart for each subscriber.
    pub(crate) pace_each_us: u64,
    /// The longest that this holds a round back.
    pub(crate) pace_max_ms: u64,
    /// Documents in one frame of a snapshot.
    pub(crate) snapshot_documents: usize,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logging {
    /// For machines or for people.
    pub(crate) format: Format,
    /// Levels by target, as in `RUST_LOG`, which wins over this.
    pub(crate) level: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What a storage URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// Gone with the process.
    Memory,
    /// A folder.
    Folder(PathBuf),
}

impl Location {
    /// Reads `memory:` or `file:FOLDER`.
    fn parse(url: &str) -> Option<Self> {
        match url.split_once(':')? {
            ("memory", "") => Some(Self::Memory),
            ("file", folder) if !folder.is_empty() => {
                // file:///var/lib/x says the same as file:/var/lib/x.
                Some(Self::Folder(folder.strip_prefix("//").unwrap_or(folder).into()))
            }
            _ => None,
        }
    }
}

impl Log {
    /// Where it is; checked when the configuration was loaded.
    pub(crate) fn location(&self) -> Location {
        Location::parse(&self.url).unwrap_or(Location::Memory)
    }
}

impl ReadModel {
    /// Where it is; checked when the configuration was loaded.
    pub(crate) fn location(&self) -> Location {
        Location::parse(&self.url).unwrap_or(Location::Memory)
    }
}
