//! Runs one projection over one partition: reads on from its checkpoint, folds, and stores rows
//! and checkpoint at once.

use std::sync::Arc;

use domain::{Offset, PartitionId, Recorded};
use eventlog::{EventLog, Read, ReadLimit};
use readmodel::{Batch, Space};

use crate::error::Error;
use crate::projection::{Fault, Projection, Registration, Work};

/// One read of the log: large enough to make a batch worth its commit, small enough to hold.
const BATCH: ReadLimit = ReadLimit { events_max: 2048, bytes_max: 2 << 20 };
/// A checkpoint with no rows is stored only this many events after the last one, to spare idle
/// consumers the writes; it bounds what they read again after a crash.
const EMPTY_COMMIT_EVENTS: u64 = 10_000;

/// A projection with its tables and its place in the log.
pub(crate) struct Consumer {
    pub(crate) name: &'static str,
    pub(crate) space: Arc<dyn Space>,
    projection: Box<dyn Projection>,
    /// Whether its tables only hold what is recent: what the log no longer has they need not have.
    forgets: bool,
    /// Next offset to apply.
    next: Offset,
    /// Next offset to apply as stored.
    stored: Offset,
    /// Whether what the projection keeps in memory is what its tables hold.
    is_loaded: bool,
}

impl Consumer {
    /// Takes up a space where it was left.
    pub(crate) async fn open(
        registration: &Registration,
        space: Arc<dyn Space>,
    ) -> Result<Self, Error> {
        let (name, forgets) = (registration.name, registration.forgets);
        let mut projection = (registration.make)();
        let next = space.checkpoint().await?;
        projection.load(&*space).await.map_err(fault)?;
        Ok(Self { name, space, projection, forgets, next, stored: next, is_loaded: true })
    }

    /// The next offset to apply.
    pub(crate) fn next(&self) -> Offset {
        self.next
    }

    /// Folds the events from `from` up to `checkpoint`, which are all there are in between;
    /// those that were applied before are passed over.
    ///
    /// After an error nothing of the batch counts as applied.
    pub(crate) async fn apply(
        &mut self,
        from: Offset,
        events: &[Arc<Recorded>],
        checkpoint: Offset,
    ) -> Result<(), Error> {
        if from > self.next {
            // A checkpoint past events that were not folded would lose them without a word.
            let gap = format!("{}: expected offset {}, got {from}", self.name, self.next);
            return Err(Error::Corrupt(gap));
        }
        if checkpoint <= self.next {
            return Ok(());
        }
        self.load().await?;
        let fresh = events.partition_point(|event| event.position.offset < self.next);
        let events = &events[fresh..];
        let mut writes = Vec::with_capacity(events.len() * 2);
        let folded = self.projection.apply(events, &*self.space, &mut writes).await;
        let stored = match folded {
            Ok(()) if writes.is_empty() && checkpoint < self.stored + EMPTY_COMMIT_EVENTS => {
                self.next = checkpoint;
                return Ok(());
            }
            Ok(()) => self.space.commit(Batch { writes, checkpoint }).await.map_err(Error::from),
            Err(error) => Err(fault(error)),
        };
        if let Err(error) = stored {
            self.is_loaded = false;
            return Err(error);
        }
        self.next = checkpoint;
        self.stored = checkpoint;
        Ok(())
    }

    /// Whether there is something to do beside events.
    pub(crate) fn has_work(&self) -> bool {
        !self.is_loaded || self.projection.has_work()
    }

    /// Does a bounded part of it.
    pub(crate) async fn work(&mut self) -> Result<(), Error> {
        self.load().await?;
        let newest = self.next.saturating_sub(1);
        let stored = match self.projection.work(&*self.space, newest).await {
            Ok(work) => self.store(work).await,
            Err(error) => Err(fault(error)),
        };
        if stored.is_err() {
            self.is_loaded = false;
        }
        stored
    }

    /// Where a commit may be stored in part, what says that rows are there must come after them.
    async fn store(&mut self, Work { rows, progress }: Work) -> Result<(), Error> {
        let checkpoint = self.next;
        let mut writes = rows;
        if !self.space.is_exact() {
            self.space.commit(Batch { writes, checkpoint }).await?;
            writes = Vec::new();
        }
        writes.extend(progress);
        self.space.commit(Batch { writes, checkpoint }).await?;
        self.stored = self.next;
        Ok(())
    }

    /// Reads again what the projection keeps in memory, where that may be ahead of its tables:
    /// after a failure, and until it succeeds.
    async fn load(&mut self) -> Result<(), Error> {
        if !self.is_loaded {
            self.projection.load(&*self.space).await.map_err(fault)?;
            self.is_loaded = true;
        }
        Ok(())
    }

    /// Stores the checkpoint although there may be no rows to go with it.
    pub(crate) async fn store_checkpoint(&mut self) -> Result<(), Error> {
        if self.stored < self.next {
            self.space.commit(Batch { writes: Vec::new(), checkpoint: self.next }).await?;
            self.stored = self.next;
        }
        Ok(())
    }

    /// Reads and applies up to `until`, calling `progress` with the next offset after each batch.
    pub(crate) async fn catch_up(
        &mut self,
        log: &dyn EventLog,
        partition: PartitionId,
        until: Offset,
        progress: &(dyn Fn(Offset) + Send + Sync),
    ) -> Result<(), Error> {
        if self.forgets {
            self.next = self.next.max(log.start(partition).min(until));
        }
        while self.next < until {
            let read = read_whole(log, partition, self.next, BATCH).await?;
            if read.next == self.next {
                let what = format!("the log of partition {partition} ends at {}", self.next);
                return Err(Error::Unavailable(what));
            }
            let fits = read.events.partition_point(|event| event.position.offset < until);
            self.apply(self.next, &read.events[..fits], read.next.min(until)).await?;
            progress(self.next);
        }
        Ok(())
    }
}

fn fault(Fault::Retry(error): Fault) -> Error {
    error.into()
}

/// Reads on from `from` and never ends within a transaction.
pub(crate) async fn read_whole(
    log: &dyn EventLog,
    partition: PartitionId,
    from: Offset,
    limit: ReadLimit,
) -> Result<Read, Error> {
    let mut whole = log.read(partition, from, limit).await?;
    while let Some(last) = whole.events.last().filter(|last| !last.event.ends_transaction()) {
        let more = log.read(partition, last.position.offset + 1, limit).await?;
        if more.events.is_empty() {
            break;
        }
        let end = more.events.iter().position(|event| event.event.ends_transaction());
        whole.events.extend(more.events.into_iter().take(end.map_or(usize::MAX, |end| end + 1)));
        whole.next = match end {
            Some(_) => whole.events.last().map_or(more.next, |last| last.position.offset + 1),
            None => more.next,
        };
    }
    Ok(whole)
}
