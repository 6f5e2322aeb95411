//! How it moves: partition writers, projections and their checkpoints, waits, rebuilds, and the
//! hub of live subscribers. Knows the log and the tables only by their traits; knows nothing of
//! HTTP, nor of what a consumer stores.

mod catalog;
mod clock;
mod consumer;
mod error;
pub mod hub;
mod metrics;
mod partition;
mod projection;
mod read;
mod rebuild;
mod rows;
mod start;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use domain::command::Command;
use domain::{PartitionId, Position, ProjectId, Timestamp, partition_of};
use eventlog::EventLog;
use readmodel::Store;

pub use catalog::{Catalog, Project};
pub use error::Error;
pub use metrics::Metrics;
pub use projection::{Fault, Projection, Registration};
pub use read::{AsOf, Document, EventPage, Page};
pub use rebuild::{Progress, Rebuilt};
pub use start::Parts;
pub use writer::Committed;

use partition::Partition;

/// Limits and choices of the engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Commands that may wait for one partition's writer; more are refused as busy.
    pub queue_commands_max: usize,
    /// Bytes of commands that may wait for one partition's writer.
    pub queue_bytes_max: usize,
    /// Commands in one group commit.
    pub batch_commands_max: usize,
    /// How long a client waits for the outcome of its command.
    pub write_wait_max: Duration,
    /// How long a read waits for a position that the client has seen.
    pub read_wait_max: Duration,
    /// What a document may be.
    pub document: domain::json::Limits,
    /// How long an idempotency key is remembered.
    pub idempotency_seconds: u64,
    /// Limits of live subscriptions.
    pub hub: hub::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_commands_max: 4096,
            queue_bytes_max: 64 << 20,
            batch_commands_max: 512,
            write_wait_max: Duration::from_secs(10),
            read_wait_max: Duration::from_secs(2),
            document: domain::json::Limits::DOCUMENT,
            idempotency_seconds: 24 * 3600,
            hub: hub::Options::default(),
        }
    }
}

/// The running whole below the API: give it commands, ask it for documents, follow its events.
pub struct Engine {
    options: Options,
    log: Arc<dyn EventLog>,
    store: Arc<dyn Store>,
    projections: Vec<Registration>,
    partitions: Vec<Arc<Partition>>,
    catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
}

impl Engine {
    /// The limits in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Projects, keys and collections, as the log has them.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The log below.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// Which partition a project is in.
    pub fn partition_of(&self, project: &ProjectId) -> PartitionId {
        partition_of(project, self.log.partition_count())
    }

    fn partition(&self, project: &ProjectId) -> &Arc<Partition> {
        &self.partitions[self.partition_of(project).0 as usize]
    }

    /// The position of the newest event that reads of the project show.
    pub fn head(&self, project: &ProjectId) -> Position {
        let partition = self.partition(project);
        Position { partition: partition.id, offset: partition.applied().saturating_sub(1) }
    }

    /// Hands a command to the writer of its project and waits for the outcome.
    ///
    /// Errors: refused ([`Error::Rejected`]), [`Error::Busy`] when the queue is full,
    /// [`Error::Unavailable`] when the log can't take it, [`Error::OutcomeUnknown`] when the
    /// wait is over before the answer came.
    pub async fn submit(&self, command: Command) -> Result<Committed, Error> {
        self.partition(&command.context.project).submit(command, self.options.write_wait_max).await
    }

    /// Waits until reads of the project show `position`.
    ///
    /// Errors: [`Error::StaleRead`] when the wait is over before, [`Error::PositionElsewhere`]
    /// when the position is in another partition.
    pub async fn wait_for(&self, project: &ProjectId, position: Position) -> Result<(), Error> {
        let partition = self.partition(project);
        if position.partition != partition.id {
            return Err(Error::PositionElsewhere { position });
        }
        let timer = self.metrics.read_wait_seconds.start_timer();
        let mut applied = partition.watch_applied();
        let reached = applied.wait_for(|next| *next > position.offset);
        let outcome = tokio::time::timeout(self.options.read_wait_max, reached).await;
        timer.observe_duration();
        match outcome {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::StaleRead { position }),
        }
    }

    /// Why a partition does not take writes, for `/readyz`; empty when all do.
    pub fn unready(&self) -> Vec<String> {
        self.partitions.iter().filter_map(|partition| partition.unready()).collect()
    }

    /// Stops intake, lets the writers finish what they have, and closes log and store.
    ///
    /// Errors with the first thing that could not be closed; everything acknowledged is durable
    /// all the same.
    pub async fn stop(&self) -> Result<(), Error> {
        for partition in &self.partitions {
            partition.stop().await;
        }
        self.store.close().await.map_err(Error::from)?;
        self.log.close().await.map_err(Error::from)
    }
}

/// The wall clock now.
pub fn now() -> Timestamp {
    clock::now()
}
