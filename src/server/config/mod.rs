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
    /// How people sign in.
    pub(crate) auth: Auth,
    /// Where events are kept.
    pub(crate) log: Log,
    /// Where the tables that answer reads are kept.
    pub(crate) readmodel: ReadModel,
    /// The log on Kafka.
    pub(crate) kafka: Kafka,
    /// The tables by CQL.
    pub(crate) cql: Cql,
    /// This node among others.
    pub(crate) cluster: Cluster,
    /// Writers and consumers.
    pub(crate) engine: Engine,
    /// Live subscriptions.
    pub(crate) realtime: Realtime,
    /// Channels: broadcast and presence.
    pub(crate) channels: Channels,
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
    /// The header in which a proxy says where a request comes from; empty where there is none.
    pub(crate) client_address_header: String,
}

/// How people sign in.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    /// Where clients reach the API, an absolute URL; empty for `http://` and `server.listen`.
    pub(crate) public_url: String,
    /// Where the keys of persons are kept on one machine; empty for `keys` beside the log.
    pub(crate) keys_folder: String,
    /// Whether hooks, issuers and mail servers of projects may be at private addresses.
    pub(crate) allow_private: bool,
    /// Memory for a password's hash, in KiB.
    pub(crate) password_memory_kib: u32,
    /// Passes over that memory.
    pub(crate) password_passes: u32,
    /// How often one address may try to sign in in a minute; 0 for no limit.
    pub(crate) sign_ins_per_minute: u32,
    /// How often one address may sign up in an hour; 0 for no limit.
    pub(crate) sign_ups_per_hour: u32,
    /// How many messages one address may have sent in an hour; 0 for no limit.
    pub(crate) messages_per_hour: u32,
    /// The mail server for projects without one; empty for none.
    pub(crate) smtp_url: String,
    /// A file that holds its password.
    pub(crate) smtp_password_file: String,
    /// Who such mail is from.
    pub(crate) smtp_from: String,
    /// Requests decided by access rules that are kept in memory, to try other rules on; 0 for none.
    pub(crate) record_requests: usize,
    /// One in so many of them is kept.
    pub(crate) record_one_in: u32,
    /// For how many hours.
    pub(crate) record_hours: u32,
}

/// Where events are kept.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// `file:FOLDER`, `memory:`, or `kafka://HOST:PORT,HOST:PORT/TOPIC`.
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
    /// `file:FOLDER`, `memory:`, or `scylla://HOST:PORT,HOST:PORT/KEYSPACE`.
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

/// The log on Kafka; without effect elsewhere.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kafka {
    /// A file of further client settings by their librdkafka names, one `name=value` a line;
    /// empty for none.
    pub(crate) properties_file: String,
    /// Copies of each partition when the topic is made; 0 for 3, or as many as there are brokers.
    pub(crate) replication: u16,
    /// Copies that must have an event before it is acknowledged, when the topic is made; 0 for 2,
    /// or 1 where there is only one copy.
    pub(crate) min_insync: u16,
    /// Whether one copy of each partition will do although there are several brokers.
    pub(crate) allow_single_replica: bool,
    /// The group that shares the partitions out among the nodes.
    pub(crate) group: String,
    /// After this silence a node is taken for dead and its partitions are given to others.
    pub(crate) session_timeout_ms: u64,
    /// How often a node says that it lives.
    pub(crate) heartbeat_ms: u64,
    /// How long an append waits for the brokers before its outcome counts as unknown.
    pub(crate) append_wait_ms: u64,
    /// How long anything else waits for the brokers.
    pub(crate) reach_wait_ms: u64,
    /// How long a node that gives a partition up may take to finish what it has begun.
    pub(crate) release_wait_ms: u64,
}

/// The tables by CQL; without effect elsewhere.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cql {
    /// Who logs in; empty for nobody.
    pub(crate) user: String,
    /// A file that holds the password.
    pub(crate) password_file: String,
    /// A PEM file of the certificates that the nodes' own are checked against; empty for no TLS.
    pub(crate) ca_file: String,
    /// The data centre whose nodes are used; empty for the only one.
    pub(crate) data_center: String,
    /// Copies of each row in the data centre, when `headwater migrate` makes the keyspace.
    pub(crate) replication: u16,
    /// How long one request to the store may take.
    pub(crate) timeout_ms: u64,
}

/// This node among others; without effect on a log of its own.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    /// Where other nodes reach this one, `http://HOST:PORT`; empty for `server.listen`.
    pub(crate) advertise: String,
    /// What the node does, with commas between: api, writer, realtime.
    pub(crate) roles: String,
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
    /// How many documents a query with an ordering, a total or aggregates may look at.
    pub(crate) query_documents_max: usize,
    /// How long an idempotency key is remembered.
    pub(crate) idempotency_s: u64,
    /// How often documents are deleted whose time has been, by the field that their collection
    /// names for it.
    pub(crate) expiry_interval_s: u64,
    /// How many of those are deleted at a time, of one collection.
    pub(crate) expiry_batch: usize,
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
    /// Bytes that the windows and counts of one worker may take in memory.
    pub(crate) live_bytes_max: usize,
}

/// Channels: broadcast and presence.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channels {
    /// The largest message.
    pub(crate) message_bytes_max: usize,
    /// What one WebSocket may say in channels in a second, and twice as much at once; 0 for no
    /// limit.
    pub(crate) publishes_per_second: u32,
    /// What may wait for one connection of all its channels before it is told that it missed some.
    pub(crate) queue_messages_max: usize,
    /// The same, in bytes.
    pub(crate) queue_bytes_max: usize,
    /// Memory for the history of all channels on a node.
    pub(crate) history_bytes_max: usize,
    /// Connections that may be present in one channel.
    pub(crate) present_max: usize,
    /// The largest state of a connection that is present.
    pub(crate) state_bytes_max: usize,
    /// After this silence a node is taken for dead, and nobody on it for present.
    pub(crate) node_silence_s: u64,
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
    /// A topic on Kafka.
    Kafka {
        /// `HOST:PORT`, with commas between.
        brokers: String,
        /// Its name.
        topic: String,
    },
    /// A keyspace of ScyllaDB or Cassandra.
    Cql {
        /// `HOST:PORT` each.
        nodes: Vec<String>,
        /// Its name.
        keyspace: String,
    },
}

impl Location {
    /// Reads `memory:`, `file:FOLDER`, `kafka://…/TOPIC` or `scylla://…/KEYSPACE`.
    fn parse(url: &str) -> Option<Self> {
        match url.split_once(':')? {
            ("memory", "") => Some(Self::Memory),
            ("file", folder) if !folder.is_empty() => {
                // file:///var/lib/x says the same as file:/var/lib/x.
                Some(Self::Folder(folder.strip_prefix("//").unwrap_or(folder).into()))
            }
            ("kafka", rest) => {
                let (hosts, topic) = hosts_and_name(rest)?;
                Some(Self::Kafka { brokers: hosts.join(","), topic })
            }
            ("scylla" | "cassandra", rest) => {
                let (nodes, keyspace) = hosts_and_name(rest)?;
                Some(Self::Cql { nodes, keyspace })
            }
            _ => None,
        }
    }
}

/// Reads `//HOST:PORT,HOST:PORT/NAME`.
fn hosts_and_name(rest: &str) -> Option<(Vec<String>, String)> {
    let (hosts, name) = rest.strip_prefix("//")?.split_once('/')?;
    let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
    let is_host = |host: &String| {
        let port = host.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    };
    let is_name = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    (is_name && hosts.iter().all(is_host)).then(|| (hosts, name.to_owned()))
}

impl Config {
    /// Whether other nodes may work on the same log and tables.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.log.location(), Location::Kafka { .. })
    }
}

/// What a node of a cluster does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    /// Answers requests.
    pub(crate) api: bool,
    /// Writes partitions and brings the tables up to date.
    pub(crate) writer: bool,
    /// Serves WebSockets and event streams.
    pub(crate) realtime: bool,
}

impl Cluster {
    /// The node's roles.
    ///
    /// Errors with the name of a role that there is not.
    pub(crate) fn roles(&self) -> Result<Roles, String> {
        let mut roles = Roles { api: false, writer: false, realtime: false };
        for name in self.roles.split(',').map(str::trim) {
            match name {
                "api" => roles.api = true,
                "writer" => roles.writer = true,
                "realtime" => roles.realtime = true,
                other => return Err(other.to_owned()),
            }
        }
        Ok(roles)
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
