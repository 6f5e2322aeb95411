//! Where it is read: tables, checkpoints and consistent views, served by every engine under one
//! conformance suite. A read model holds only what consumers derived from the log: it may be lost
//! at any time and is then rebuilt. Nothing writes here but a consumer's batch.

mod codec;
#[cfg(test)]
mod conformance;
#[cfg(feature = "cql")]
pub mod cql;
mod digest;
pub mod documents;
pub mod embedded;
mod error;
pub mod memory;
mod table;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Offset, PartitionId};

pub use error::Error;
pub use table::{Column, Declared, Kind, Row, Table, Value};

/// Names one generation of one consumer's tables for one partition of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpaceId {
    /// The consumer's name.
    pub consumer: &'static str,
    /// The partition whose events it holds.
    pub partition: PartitionId,
    /// Counts rebuilds; the active one serves reads.
    pub generation: u32,
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-p{}-g{}", self.consumer, self.partition, self.generation)
    }
}

/// One change of one row. A put replaces the whole row.
///
/// It carries the offset of the event that caused it. Where several processes may write the same
/// row, that orders their writes: one of an older event never undoes one of a newer. So it must be
/// the event's own, however events are cut into batches, and never fall from one write of a row to
/// the next.
#[derive(Debug, Clone)]
pub enum Write {
    /// Insert or replace.
    Put {
        /// The table.
        table: &'static Table,
        /// Every key column, in order, then every other column.
        row: Row,
        /// The event that caused it.
        offset: Offset,
    },
    /// Delete; no error when the row is not there.
    Delete {
        /// The table.
        table: &'static Table,
        /// Every key column, in order.
        key: Vec<Value>,
        /// The event that caused it.
        offset: Offset,
    },
}

/// What a consumer stores at once: rows, and how far it has read.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order; a later write to the same row wins.
    pub writes: Vec<Write>,
    /// The next offset to apply once this is stored.
    pub checkpoint: Offset,
}

/// Which rows a scan wants, below a prefix of the key.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Values of the first key columns: at least the whole partition key, or none at all for every
    /// row of the table. By CQL the latter is a full table scan, so it is for starting up only.
    pub prefix: Vec<Value>,
    /// Only rows after this full key (before it, when `reverse`).
    pub after: Option<Vec<Value>>,
    /// From the largest key down.
    pub reverse: bool,
    /// Rows at most; none when 0.
    pub limit: usize,
}

/// A store that holds spaces.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Opens a space, making it when it is new.
    async fn open(&self, id: &SpaceId) -> Result<Arc<dyn Space>, Error>;

    /// Every space there is of one consumer.
    async fn list(&self, consumer: &'static str) -> Result<Vec<SpaceId>, Error>;

    /// Removes a space with all its rows; no error when it is not there. Who still has it open can
    /// read on, but no longer commit.
    async fn remove(&self, id: &SpaceId) -> Result<(), Error>;

    /// Which generation serves reads; `None` before the first `activate`.
    async fn active(
        &self,
        consumer: &'static str,
        partition: PartitionId,
    ) -> Result<Option<u32>, Error>;

    /// Makes this generation the one that serves reads. Durable on return.
    async fn activate(&self, id: &SpaceId) -> Result<(), Error>;

    /// Ends cleanly, so that the next start has nothing to replay.
    async fn close(&self) -> Result<(), Error>;
}

/// The tables of one consumer for one partition.
#[async_trait]
pub trait Space: Reader {
    /// Stores rows and checkpoint: never the checkpoint without the rows. Where views are exact,
    /// after a crash either both are there or neither. Where they are not, rows may be there
    /// without their checkpoint; committing the same events again, however cut, mends it.
    async fn commit(&self, batch: Batch) -> Result<(), Error>;

    /// What the space holds now. The view's checkpoint stays as it is now, and every row is shown
    /// as of that checkpoint or newer, never older. Where [`Reader::is_exact`], no row is newer.
    async fn view(&self) -> Result<Arc<dyn Reader>, Error>;
}

/// Reading rows, from a space as it is or from a view of it.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// The next offset to apply; 0 for a new space.
    async fn checkpoint(&self) -> Result<Offset, Error>;

    /// One row by its full key.
    async fn get(&self, table: &'static Table, key: &[Value]) -> Result<Option<Row>, Error>;

    /// Rows below a prefix, in key order.
    async fn scan(&self, table: &'static Table, scan: Scan) -> Result<Vec<Row>, Error>;

    /// SHA-256 over every row of every table in key order, without the checkpoint: equal for equal
    /// rows, whichever engine holds them. Reads everything there is.
    async fn digest(&self) -> Result<[u8; 32], Error>;

    /// Whether later commits never show in a view. If not, a reader that wants one moment must look
    /// at what a row says of its own offset. A space answers for its views.
    fn is_exact(&self) -> bool;
}
