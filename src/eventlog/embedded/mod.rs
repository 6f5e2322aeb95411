//! The log on one machine: segment files of our own, a checksum per record, one sync per batch.
//! Nothing that was acknowledged is lost to a crash, and nothing that was changed on disk is
//! served: a torn last batch is dropped whole, any other damage is named and refused.

mod file;
mod index;
mod partition;
mod read;
pub mod record;
mod recovery;
mod reserve;
mod ring;
mod segment;
mod topic;
pub mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Event, Offset, PartitionId, Recorded, Timestamp};
use tokio::sync::watch;

use self::file::Faults;
use self::partition::{Partition, Shared};
use self::recovery::Recovery;
use self::reserve::Reserve;
use crate::metrics::Metrics;
use crate::{Error, EventLog, Read, ReadLimit, Retention, no_partition};

/// Segments longer than this would not fit their index.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Where a topic is and how it is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of all topics; made if missing.
    pub dir: PathBuf,
    /// The topic's name and folder: letters, digits, `_ - .`.
    pub topic: String,
    /// How many partitions; must stay what it was when the topic was made.
    pub partitions: u32,
    /// Bytes after which a new segment starts; at most 1 GiB.
    pub segment_bytes: u64,
    /// What `trim` may take.
    pub retention: Retention,
    /// Bytes of the newest events kept in memory, per partition, by [`Event::weight`].
    pub ring_bytes: usize,
    /// Bytes of the disk that appends leave free; 0 for none.
    pub disk_reserve_bytes: u64,
    /// Whether an append waits until the disk has its batch. Without, a power cut loses events
    /// that were acknowledged; the end of the process alone does not.
    pub fsync: bool,
}

impl Options {
    /// The defaults: 64 MiB segments, kept for ever, 4 MiB in memory, 64 MiB left free, durable.
    pub fn new(dir: impl Into<PathBuf>, topic: &str, partitions: u32) -> Self {
        Self {
            dir: dir.into(),
            topic: topic.to_owned(),
            partitions,
            segment_bytes: 64 << 20,
            retention: Retention::default(),
            ring_bytes: 1 << 20,
            disk_reserve_bytes: 64 << 20,
            fsync: true,
        }
    }
}

/// An open topic. Dropping it without `close` is what a crash is: the next start reads more.
pub struct Log {
    partitions: Vec<Arc<Partition>>,
    /// Holds the topic against other openers.
    _lock: std::fs::File,
}

impl Log {
    /// Opens or makes a topic. Blocks on the disk: after a crash the newest segment of each
    /// partition is read. A damaged partition does not stop it, but answers with
    /// [`Error::Corrupt`].
    ///
    /// Errors: [`Error::Open`] when the topic is another's or does not fit, [`Error::Io`].
    pub fn open(options: Options, metrics: &Metrics) -> Result<Self, Error> {
        Self::open_with(options, metrics, Faults::default())
    }

    fn open_with(mut options: Options, metrics: &Metrics, faults: Faults) -> Result<Self, Error> {
        options.segment_bytes = options.segment_bytes.min(SEGMENT_BYTES_MAX);
        let topic = topic::open(&options, &faults)?;
        let shared = Arc::new(Shared {
            metrics: metrics.of_topic(&options.topic),
            reserve: Reserve::new(options.disk_reserve_bytes),
            indexes: index::Cache::default(),
            options,
            faults,
        });
        let partitions = (0..topic.partitions)
            .map(|id| {
                let recovery = Recovery {
                    partition: PartitionId(id),
                    folder: &topic::partition_folder(&topic.folder, id),
                    was_fsynced: topic.was_fsynced,
                    faults: &shared.faults,
                };
                Partition::open(&recovery, Arc::clone(&shared)).map(Arc::new)
            })
            .collect::<Result<_, _>>()?;
        topic.settle(&shared.faults)?;
        Ok(Self { partitions, _lock: topic.lock })
    }

    fn partition(&self, id: PartitionId) -> Result<&Arc<Partition>, Error> {
        self.partitions.get(id.0 as usize).ok_or_else(|| no_partition(id))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.partitions.iter().for_each(|partition| partition.uncount());
    }
}

#[async_trait]
impl EventLog for Log {
    fn partition_count(&self) -> u32 {
        self.partitions.len() as u32
    }

    fn start(&self, partition: PartitionId) -> Offset {
        self.partition(partition).map_or(0, |partition| partition.state.read().start())
    }

    fn end(&self, partition: PartitionId) -> Offset {
        self.partition(partition).map_or(0, |partition| *partition.end.borrow())
    }

    fn watch_end(&self, partition: PartitionId) -> watch::Receiver<Offset> {
        match self.partition(partition) {
            Ok(partition) => partition.end.subscribe(),
            Err(_) => watch::channel(0).1,
        }
    }

    async fn append(
        &self,
        partition: PartitionId,
        events: Vec<Event>,
    ) -> Result<Vec<Arc<Recorded>>, Error> {
        // Blocks this thread on the disk, on purpose: each partition writer has a thread of its
        // own, and handing the batch to another one would cost two wake-ups per group commit.
        self.partition(partition)?.append(events)
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Read, Error> {
        let partition = self.partition(partition)?;
        let events = match partition.read_ring(from, limit)? {
            Some(events) => events,
            None => blocking(partition, move |partition| partition.read_disk(from, limit)).await?,
        };
        Ok(Read { next: from + events.len() as u64, events })
    }

    async fn offset_after(&self, partition: PartitionId, time: Timestamp) -> Result<Offset, Error> {
        let partition = self.partition(partition)?;
        blocking(partition, move |partition| partition.offset_after(time)).await
    }

    async fn trim(&self, partition: PartitionId, now: Timestamp) -> Result<Offset, Error> {
        let partition = self.partition(partition)?;
        blocking(partition, move |partition| partition.trim(now)).await
    }

    async fn close(&self) -> Result<(), Error> {
        // Every partition is closed, whatever becomes of the others; the first failure is told.
        let mut outcome = Ok(());
        for partition in &self.partitions {
            let closed = blocking(partition, |partition| partition.close()).await;
            outcome = outcome.and(closed);
        }
        outcome
    }
}

/// Does disk work where it stops no other task.
async fn blocking<T: Send + 'static>(
    partition: &Arc<Partition>,
    work: impl FnOnce(&Partition) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let partition = Arc::clone(partition);
    tokio::task::spawn_blocking(move || work(&partition)).await.map_err(|error| Error::Io {
        what: "waiting for disk work".to_owned(),
        source: std::io::Error::other(error),
    })?
}

#[cfg(test)]
mod tests;
