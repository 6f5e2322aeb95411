//! Where it is written: append, read, tail, trim. One trait, served by every engine under one
//! conformance suite. Knows events and positions, nothing of documents or clients. Only the
//! partition writer may call `append`.

pub mod conformance;
pub mod embedded;
pub mod ephemeral;
mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod memory;
pub mod metrics;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Event, Offset, PartitionId, Recorded, Timestamp};
use tokio::sync::watch;

pub use error::Error;

/// How much one `read` may return. At least one event is returned where there is one, whatever its
/// size; fewer than the limit does not mean that there are no more.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    /// Events at most.
    pub events_max: usize,
    /// Bytes at most, by [`Event::weight`].
    pub bytes_max: usize,
}

impl ReadLimit {
    /// The first of `events`, as many as the limit lets through.
    fn take<'a>(self, events: impl Iterator<Item = &'a Arc<Recorded>>) -> Vec<Arc<Recorded>> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        for recorded in events {
            bytes += recorded.event.weight();
            if !self.admits(taken.len(), bytes) {
                break;
            }
            taken.push(Arc::clone(recorded));
        }
        taken
    }

    /// Whether one more may join `events` others when all of them have `bytes`.
    fn admits(self, events: usize, bytes: usize) -> bool {
        events == 0 || (events < self.events_max && bytes <= self.bytes_max)
    }
}

/// What a read found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// In order of their offsets, which may have holes: not every record of a log counts.
    pub events: Vec<Arc<Recorded>>,
    /// Where to read on: past the last event, and past whatever does not count behind it.
    pub next: Offset,
}

/// What a topic keeps. `None` keeps for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this many seconds may go, a whole segment at a time.
    pub seconds_max: Option<u64>,
    /// A partition larger than this many bytes loses its oldest segments.
    pub bytes_max: Option<u64>,
}

impl Retention {
    /// Whether the oldest segment may go, given its last event's time and the partition's bytes.
    fn takes(self, last_time: Timestamp, now: Timestamp, partition_bytes: u64) -> bool {
        let age = u64::try_from(now.as_micros().saturating_sub(last_time.as_micros()));
        let old = self.seconds_max.is_some_and(|seconds_max| {
            age.is_ok_and(|age| age > seconds_max.saturating_mul(1_000_000))
        });
        old || self.bytes_max.is_some_and(|bytes_max| partition_bytes > bytes_max)
    }
}

/// The answer to a partition number that the topic does not have.
fn no_partition(partition: PartitionId) -> Error {
    Error::Refused { partition, reason: "the topic has no such partition".to_owned() }
}

/// Shares the partitions of a topic out among the nodes that write.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// The partitions that this node is to write. One that leaves the set must be released soon:
    /// another node waits for it.
    fn assigned(&self) -> watch::Receiver<BTreeSet<PartitionId>>;

    /// Tells that this node has stopped writing a partition that left the set.
    fn released(&self, partition: PartitionId);

    /// Where the node that writes a partition can be reached, as it gave its address, as far as is
    /// known; `None` when nobody writes it now. With `fresh`, what was known before is not
    /// relied on.
    ///
    /// Errors: [`Error::Unreachable`].
    async fn owner(&self, partition: PartitionId, fresh: bool) -> Result<Option<String>, Error>;

    /// Leaves the group, so that others take over at once. The set is empty from here on.
    async fn leave(&self);

    /// What keeps this node out of the group, for an operator.
    fn trouble(&self) -> Option<String>;
}

/// One topic: ordered, durable partitions of events.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// How many partitions the topic has; fixed for its life.
    fn partition_count(&self) -> u32;

    /// The oldest offset still kept; equals `end` when the partition is empty.
    fn start(&self, partition: PartitionId) -> Offset;

    /// The end of what can be read here. Everything below it is durable and will never be undone.
    fn end(&self, partition: PartitionId) -> Offset;

    /// Follows `end` without polling. The value may jump over several events at once.
    fn watch_end(&self, partition: PartitionId) -> watch::Receiver<Offset>;

    /// Waits until everything that was acknowledged to any node before this call can be read here;
    /// returns the end then. Where there is one node only, that is at once.
    ///
    /// Errors: [`Error::Unreachable`].
    async fn refresh_end(&self, partition: PartitionId) -> Result<Offset, Error> {
        Ok(self.end(partition))
    }

    /// Makes the caller the partition's only writer: from here on nothing that an earlier writer
    /// appends counts. Returns the end, all of which can be read; the next event follows on it.
    /// To be called before the first `append` and again after an append that failed by
    /// [`Error::Fenced`] or [`Error::Unsure`]. `node` is where other nodes reach this one.
    ///
    /// Errors: [`Error::Unreachable`]; nothing has changed then that another call would not mend.
    async fn take_over(&self, partition: PartitionId, node: &str) -> Result<Offset, Error> {
        let _ = node;
        Ok(self.end(partition))
    }

    /// Stops writing a partition: what is still under way is dropped where that is possible.
    fn resign(&self, partition: PartitionId) {
        let _ = partition;
    }

    /// What is wrong with the log as a whole, for an operator: which brokers can't be reached.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// What an acknowledged event survives, in one word, where the log knows better than its
    /// configuration.
    fn durability(&self) -> Option<&'static str> {
        None
    }

    /// Appends `events` as one group commit and returns them with their positions once all are
    /// durable. All or none; only after [`Error::Unsure`] and [`Error::Fenced`] may the events up
    /// to some point of the batch be read, now or later, transactions whole or not at all.
    /// One caller per partition at a time; a second one waits.
    ///
    /// Errors: [`Error::Full`] (nothing written, try later), [`Error::Unfit`] (nothing written,
    /// this batch never can be), [`Error::Refused`] or [`Error::Corrupt`] (the partition no longer
    /// serves), [`Error::Io`] and [`Error::Unsure`] (not known whether anything was written),
    /// [`Error::Fenced`] (the same, because another node writes now).
    async fn append(
        &self,
        partition: PartitionId,
        events: Vec<Event>,
    ) -> Result<Vec<Arc<Recorded>>, Error>;

    /// Reads on from `from`, in order; `next` is `from` only when that is the end. There may be no
    /// events although there is something to read on from. A transaction may be cut by the limit:
    /// whoever must see it whole reads on. An event's data may share a larger buffer with its
    /// neighbours: whoever keeps an event for long copies the data.
    ///
    /// Errors: [`Error::Trimmed`] when `from` is older than `start`, [`Error::BeyondEnd`] when it
    /// is past `end`, [`Error::Corrupt`] with the offset of a record that fails its checksum,
    /// [`Error::Refused`] for a partition that the topic does not have, [`Error::Io`],
    /// [`Error::Unreachable`].
    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Read, Error>;

    /// The first offset whose event is later than `time`; `end` when there is none. Relies on the
    /// writer's promise that times never go back within a partition.
    async fn offset_after(&self, partition: PartitionId, time: Timestamp) -> Result<Offset, Error>;

    /// Applies the topic's retention as of `now`; returns the new `start`. The newest segment
    /// always stays.
    async fn trim(&self, partition: PartitionId, now: Timestamp) -> Result<Offset, Error>;

    /// Ends cleanly: everything is on disk and the next start need not check the tail. Appends are
    /// refused from here on; reads go on.
    async fn close(&self) -> Result<(), Error>;
}
