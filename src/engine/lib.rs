//! How it moves: partition writers, projections and their checkpoints, waits, rebuilds, and the
//! hub of live subscribers. Knows the log and the tables only by their traits; knows nothing of
//! HTTP, nor of what a consumer stores.

pub mod access;
mod catalog;
pub mod channels;
mod clock;
mod cluster;
mod consumer;
mod error;
pub mod expand;
mod expiry;
mod follow;
mod forward;
pub mod hub;
mod keeper;
mod metrics;
mod partition;
mod people;
mod personal;
mod projection;
pub mod queries;
mod read;
mod rebuild;
mod rows;
mod shapes;
mod start;
mod unready;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{PartitionId, Position, ProjectId, Timestamp, partition_of};
use eventlog::EventLog;
use parking_lot::{Mutex, RwLock};
use readmodel::Store;
use tokio::task::JoinHandle;
use vault::Sealer;

use channels::Channels;
use personal::Personal;

pub use catalog::{Catalog, Notice, Project};
pub use cluster::{Cluster, PartitionStatus, PeerError, Peers};
pub use error::Error;
pub use metrics::Metrics;
pub use projection::{Fault, Projection, Registration, Work};
pub use read::{AsOf, Document, EventPage};
pub use rebuild::{Progress, Rebuilt};
pub use start::Parts;
pub use unready::Unready;
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
    /// How many documents a query may look at that is not answered page by page: one with an
    /// ordering, a total or aggregates.
    pub query_documents_max: usize,
    /// How long an idempotency key is remembered.
    pub idempotency_seconds: u64,
    /// How often documents are looked for whose time has been.
    pub expiry_interval: Duration,
    /// How many of those are deleted at a time, of one collection.
    pub expiry_batch: usize,
    /// Limits of live subscriptions.
    pub hub: hub::Options,
    /// Limits of channels.
    pub channels: channels::Options,
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
            query_documents_max: 10_000,
            idempotency_seconds: 24 * 3600,
            expiry_interval: Duration::from_secs(5),
            expiry_batch: 500,
            hub: hub::Options::default(),
            channels: channels::Options::default(),
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
    personal: Arc<Personal>,
    metrics: Arc<Metrics>,
    channels: Arc<Channels>,
    cluster: Option<Cluster>,
    /// Why the tables can't be reached, where that is looked after.
    store_trouble: Arc<RwLock<Option<Unready>>>,
    /// What follows and keeps shared partitions.
    tasks: Mutex<Vec<JoinHandle<()>>>,
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

    /// Seals and opens what is personal.
    pub fn sealer(&self) -> &Sealer {
        self.personal.sealer()
    }

    /// Broadcast and presence.
    pub fn channels(&self) -> &Arc<Channels> {
        &self.channels
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
        let until = Instant::now() + self.options.read_wait_max;
        let mut applied = partition.watch_applied();
        // What the wait yields is a lock on the value, so it must be gone before the next one.
        let reached = async { applied.wait_for(|next| *next > position.offset).await.is_ok() };
        let mut shown = tokio::time::timeout_at(until.into(), reached).await.unwrap_or(false);
        if shown && self.is_shared() {
            // Behind the newest event there may be places that don't count.
            let next = partition.newest().min(position.offset + 1);
            shown = partition.wait_stored(next, until).await?;
        }
        timer.observe_duration();
        if shown { Ok(()) } else { Err(Error::StaleRead { position }) }
    }

    /// Waits until what any node answered about the project before this call is known here. At
    /// once where there is no other.
    ///
    /// Errors: [`Error::Unavailable`].
    pub async fn refresh(&self, project: &ProjectId) -> Result<(), Error> {
        let partition = self.partition(project);
        match self.is_shared() {
            true => partition.refresh(&*self.log, self.options.read_wait_max).await,
            false => Ok(()),
        }
    }

    /// As [`Engine::refresh`], for every project.
    pub async fn refresh_all(&self) -> Result<(), Error> {
        if !self.is_shared() {
            return Ok(());
        }
        let wait_max = self.options.read_wait_max;
        let all = self.partitions.iter().map(|partition| partition.refresh(&*self.log, wait_max));
        futures_util::future::try_join_all(all).await.map(drop)
    }

    /// Stops intake, lets the writers finish what they have, and closes log and store.
    ///
    /// Errors with the first thing that could not be closed; everything acknowledged is durable
    /// all the same.
    pub async fn stop(&self) -> Result<(), Error> {
        self.hand_over().await;
        self.channels.stop().await;
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        for partition in &self.partitions {
            partition.stop().await;
        }
        self.store.close().await.map_err(Error::from)?;
        self.log.close().await.map_err(Error::from)
    }
}

impl Drop for Engine {
    /// What is left running when a start fails half-way, or when nobody has stopped it.
    fn drop(&mut self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        self.channels.close();
        self.partitions.iter().for_each(|partition| partition.abandon());
    }
}

/// The wall clock now.
pub fn now() -> Timestamp {
    clock::now()
}
