//! What this node knows of one partition: where it starts and ends, the newest events, and how far
//! the tail has read. The end only moves on, and only over what is decided for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use domain::{Offset, PartitionId, Recorded};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::ring::Ring;
use crate::{Error, Read, ReadLimit};

/// One partition as seen from here.
pub(super) struct Partition {
    pub(super) id: PartitionId,
    start: AtomicU64,
    ring: RwLock<Ring>,
    end: watch::Sender<Offset>,
    tail: watch::Sender<Tail>,
}

/// How far the tail has come.
#[derive(Default)]
struct Tail {
    /// Every record below this was read; some may not be decided yet.
    seen: Offset,
    stopped: Option<Stopped>,
}

/// Why the tail reads a partition no further.
pub(super) enum Stopped {
    /// The record at this offset counts and makes no sense.
    Corrupt(Offset, String),
    /// The brokers have less than they had.
    Lost(String),
}

impl Partition {
    pub(super) fn new(id: PartitionId, ring_bytes: usize) -> Self {
        Self {
            id,
            start: AtomicU64::new(0),
            ring: RwLock::new(Ring::new(ring_bytes, 0)),
            end: watch::Sender::new(0),
            tail: watch::Sender::default(),
        }
    }

    /// The tail begins at `at`, which becomes the end until more is read. Only while opening.
    pub(super) fn begin(&self, at: Offset) {
        let mut ring = self.ring.write();
        ring.restart(at);
        self.end.send_replace(at);
        drop(ring);
        self.tail.send_replace(Tail { seen: at, stopped: None });
    }

    /// The tail goes on at `at`, because retention has taken what lies before.
    pub(super) fn skip_to(&self, at: Offset) {
        self.set_start(at);
        let mut ring = self.ring.write();
        ring.restart(at);
        if at > self.end() {
            self.end.send_replace(at);
        }
        drop(ring);
        self.saw(at);
    }

    pub(super) fn start(&self) -> Offset {
        self.start.load(SeqCst).min(self.end())
    }

    pub(super) fn set_start(&self, start: Offset) {
        self.start.fetch_max(start, SeqCst);
    }

    pub(super) fn end(&self) -> Offset {
        *self.end.borrow()
    }

    pub(super) fn watch_end(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }

    /// Shows `events` and moves the end on to `end`. What lies below the end already is passed
    /// over: the writer here and the tail both come by.
    pub(super) fn publish(&self, events: &[Arc<Recorded>], end: Offset) {
        let mut ring = self.ring.write();
        let known = self.end();
        if end <= known {
            return;
        }
        for recorded in events.iter().filter(|recorded| recorded.position.offset >= known) {
            ring.push(Arc::clone(recorded));
        }
        self.end.send_replace(end);
    }

    /// Everything below `seen` was read and, where it is decided, published.
    pub(super) fn saw(&self, seen: Offset) {
        self.tail.send_if_modified(|tail| {
            let more = seen > tail.seen;
            tail.seen = tail.seen.max(seen);
            more
        });
    }

    pub(super) fn seen(&self) -> Offset {
        self.tail.borrow().seen
    }

    pub(super) fn stop(&self, why: Stopped) {
        self.tail.send_modify(|tail| {
            tail.stopped.get_or_insert(why);
        });
    }

    /// Errors: [`Error::Corrupt`] or [`Error::Refused`] when the tail reads no further.
    pub(super) fn check(&self) -> Result<(), Error> {
        let partition = self.id;
        match &self.tail.borrow().stopped {
            None => Ok(()),
            Some(Stopped::Corrupt(offset, detail)) => {
                Err(Error::Corrupt { partition, offset: *offset, detail: detail.clone() })
            }
            Some(Stopped::Lost(reason)) => {
                Err(Error::Refused { partition, reason: reason.clone() })
            }
        }
    }

    /// Waits until the tail has read everything below `target`.
    ///
    /// Errors: [`Error::Unreachable`] when that takes longer than `wait`; as [`Partition::check`].
    pub(super) async fn wait_seen(&self, target: Offset, wait: Duration) -> Result<(), Error> {
        let mut tail = self.tail.subscribe();
        let reached = tail.wait_for(|tail| tail.seen >= target || tail.stopped.is_some());
        // Whether in time or not, what was seen by now decides.
        let _ = tokio::time::timeout(wait, reached).await;
        let seen = self.seen();
        if seen >= target {
            return Ok(());
        }
        self.check()?;
        let (id, wait) = (self.id, wait.as_secs_f32());
        let reason = format!("partition {id} was read up to {seen} in {wait} s, not to {target}");
        Err(Error::Unreachable { reason })
    }

    /// Reads from memory; `None` when `from` lies further back.
    ///
    /// Errors: as [`crate::EventLog::read`].
    pub(super) fn read_ring(&self, from: Offset, limit: ReadLimit) -> Result<Option<Read>, Error> {
        let (partition, asked) = (self.id, from);
        let ring = self.ring.read();
        let (start, end) = (self.start(), self.end());
        if from > end {
            return Err(Error::BeyondEnd { partition, asked, end });
        }
        if from < start {
            return Err(Error::Trimmed { partition, asked, start });
        }
        if from == end {
            // Whoever follows is told why nothing more comes.
            self.check()?;
        }
        Ok(ring.read(from, end, limit))
    }
}
