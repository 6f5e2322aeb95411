//! A log in memory, for tests of what stands above it: same trait, same promises, gone with the
//! process. Each event counts as a segment of its own. Never touches a disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use async_trait::async_trait;
use domain::{Event, Offset, PartitionId, Position, Recorded, Timestamp};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::{Error, EventLog, Read, ReadLimit, Retention, no_partition};

/// A topic in memory.
pub struct Log {
    partitions: Vec<Partition>,
    retention: Retention,
    full: AtomicBool,
    closed: AtomicBool,
}

struct Partition {
    id: PartitionId,
    /// Held through an append, so that a second one waits.
    appending: Mutex<()>,
    kept: RwLock<VecDeque<Arc<Recorded>>>,
    end: watch::Sender<Offset>,
}

impl Log {
    /// An empty topic of `partitions` partitions.
    pub fn new(partitions: u32, retention: Retention) -> Self {
        let partition = |id| Partition {
            id: PartitionId(id),
            appending: Mutex::new(()),
            kept: RwLock::default(),
            end: watch::Sender::new(0),
        };
        Self {
            partitions: (0..partitions).map(partition).collect(),
            retention,
            full: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Makes appends fail with [`Error::Full`] until it is called with `false`.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, SeqCst);
    }

    fn partition(&self, id: PartitionId) -> Result<&Partition, Error> {
        self.partitions.get(id.0 as usize).ok_or_else(|| no_partition(id))
    }
}

impl Partition {
    fn start(&self) -> Offset {
        let kept = self.kept.read();
        kept.front().map_or_else(|| *self.end.borrow(), |first| first.position.offset)
    }

    fn append(&self, events: Vec<Event>) -> Vec<Arc<Recorded>> {
        let _one = self.appending.lock();
        let base = *self.end.borrow();
        let recorded: Vec<_> = (base..)
            .zip(events)
            .map(|(offset, event)| {
                let position = Position { partition: self.id, offset };
                Arc::new(Recorded { position, event })
            })
            .collect();
        self.kept.write().extend(recorded.iter().cloned());
        self.end.send_replace(base + recorded.len() as u64);
        recorded
    }

    fn read(&self, from: Offset, limit: ReadLimit) -> Result<Read, Error> {
        let (partition, asked) = (self.id, from);
        let kept = self.kept.read();
        let end = kept.back().map_or_else(|| *self.end.borrow(), |last| last.position.offset + 1);
        let start = kept.front().map_or(end, |first| first.position.offset);
        if from > end {
            return Err(Error::BeyondEnd { partition, asked, end });
        }
        let Some(skip) = from.checked_sub(start) else {
            return Err(Error::Trimmed { partition, asked, start });
        };
        // The number of events kept fits a usize, and so does every part of it.
        let events = limit.take(kept.range(skip as usize..));
        Ok(Read { next: from + events.len() as u64, events })
    }

    fn trim(&self, retention: Retention, now: Timestamp) -> Offset {
        let mut kept = self.kept.write();
        let mut bytes: u64 = kept.iter().map(|recorded| recorded.event.weight() as u64).sum();
        while kept.len() > 1 {
            let Some(oldest) = kept.front() else { break };
            if !retention.takes(oldest.event.time, now, bytes) {
                break;
            }
            bytes -= oldest.event.weight() as u64;
            kept.pop_front();
        }
        drop(kept);
        self.start()
    }
}

#[async_trait]
impl EventLog for Log {
    fn partition_count(&self) -> u32 {
        self.partitions.len() as u32
    }

    fn start(&self, partition: PartitionId) -> Offset {
        self.partition(partition).map_or(0, Partition::start)
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
        let found = self.partition(partition)?;
        if self.full.load(SeqCst) {
            return Err(Error::Full { partition, detail: "set so by a test".to_owned() });
        }
        if self.closed.load(SeqCst) {
            return Err(Error::Refused { partition, reason: "the log is closed".to_owned() });
        }
        Ok(found.append(events))
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Read, Error> {
        self.partition(partition)?.read(from, limit)
    }

    async fn offset_after(&self, partition: PartitionId, time: Timestamp) -> Result<Offset, Error> {
        let partition = self.partition(partition)?;
        let kept = partition.kept.read();
        let later = kept.partition_point(|recorded| recorded.event.time <= time);
        Ok(kept
            .get(later)
            .map_or_else(|| *partition.end.borrow(), |recorded| recorded.position.offset))
    }

    async fn trim(&self, partition: PartitionId, now: Timestamp) -> Result<Offset, Error> {
        Ok(self.partition(partition)?.trim(self.retention, now))
    }

    async fn close(&self) -> Result<(), Error> {
        self.closed.store(true, SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms() {
        let engine = crate::conformance::Engine { durable: false, trims: true, takeovers: false };
        crate::conformance::run(engine, async |setup| {
            Arc::new(Log::new(setup.partitions, setup.retention)) as Arc<dyn EventLog>
        })
        .await;
    }

    #[tokio::test]
    async fn full_when_told_so() {
        let log = Log::new(1, Retention::default());
        log.set_full(true);
        let event = crate::conformance::event("p", 1, 10);
        let refused = log.append(PartitionId(0), vec![event.clone()]).await;
        assert!(matches!(refused, Err(Error::Full { .. })));
        log.set_full(false);
        assert!(log.append(PartitionId(0), vec![event]).await.is_ok());
    }
}
