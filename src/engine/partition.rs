//! One partition as the rest of the engine sees it: a bounded queue to its writer, its tables, and
//! how far they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use domain::command::Command;
use domain::{Offset, PartitionId, Position};
use eventlog::EventLog;
use parking_lot::{Mutex, RwLock};
use prometheus::IntGauge;
use readmodel::Space;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;
use crate::metrics::Metrics;
use crate::read::AsOf;
use crate::writer::{Committed, Control, Message, Submission};

/// Between two questions to tables that another node writes.
const POLL_INTERVAL: Duration = Duration::from_millis(3);

/// What came of asking the log for its end.
struct Refreshed {
    /// Who called before this is answered by it.
    at: Instant,
    outcome: Result<(), Error>,
}

/// Shared by the writer, which moves it on, and everybody who reads.
pub(crate) struct Partition {
    pub(crate) id: PartitionId,
    mailbox: Mutex<Option<mpsc::Sender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    queued_bytes: Arc<AtomicUsize>,
    queue_bytes_max: usize,
    queue_commands: IntGauge,
    metrics: Arc<Metrics>,
    applied: watch::Sender<Offset>,
    /// Held by whoever moves `applied` on: the tail, or for as long as this node writes, the
    /// writer's keeper.
    pub(crate) advancing: tokio::sync::Mutex<()>,
    /// Past the newest event that is known to count.
    newest: AtomicU64,
    /// What the tables are known to hold: the next offset that they may lack. Only where another
    /// node may write them.
    stored: watch::Sender<Offset>,
    /// Held by the one that asks the tables how far they are.
    polling: tokio::sync::Mutex<()>,
    /// Held while the log is asked for its end; what came of it last.
    refreshing: tokio::sync::Mutex<Option<Refreshed>>,
    /// Reads are refused until the tables hold everything before this: they were far behind when
    /// this node started.
    level_from: AtomicU64,
    /// When the group was last asked who writes this partition.
    asked: Mutex<Option<Instant>>,
    documents: ArcSwap<Arc<dyn Space>>,
    refusal: RwLock<Option<Error>>,
}

impl Partition {
    pub(crate) fn new(
        id: PartitionId,
        documents: Arc<dyn Space>,
        applied: Offset,
        queue_bytes_max: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            id,
            mailbox: Mutex::new(None),
            thread: Mutex::new(None),
            queued_bytes: Arc::new(AtomicUsize::new(0)),
            queue_bytes_max,
            queue_commands: metrics.queue_commands.with_label_values(&[&id.to_string()]),
            metrics,
            applied: watch::Sender::new(applied),
            advancing: tokio::sync::Mutex::default(),
            newest: AtomicU64::new(applied),
            stored: watch::Sender::new(0),
            polling: tokio::sync::Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            level_from: AtomicU64::new(0),
            asked: Mutex::default(),
            documents: ArcSwap::from_pointee(documents),
            refusal: RwLock::new(None),
        }
    }

    /// Lets commands in, to a writer that runs on `thread`.
    pub(crate) fn start(&self, mailbox: mpsc::Sender<Message>, thread: JoinHandle<()>) {
        *self.mailbox.lock() = Some(mailbox);
        *self.thread.lock() = Some(thread);
    }

    /// The tables that serve reads.
    pub(crate) fn documents(&self) -> Arc<dyn Space> {
        Arc::clone(&self.documents.load())
    }

    pub(crate) fn serve_documents(&self, space: Arc<dyn Space>) {
        self.documents.store(Arc::new(space));
    }

    /// The next offset that reads don't show yet.
    pub(crate) fn applied(&self) -> Offset {
        *self.applied.borrow()
    }

    pub(crate) fn watch_applied(&self) -> watch::Receiver<Offset> {
        self.applied.subscribe()
    }

    pub(crate) fn set_applied(&self, next: Offset) {
        self.applied.send_replace(next);
    }

    /// Past the newest event that is known to count.
    pub(crate) fn newest(&self) -> Offset {
        self.newest.load(Ordering::Acquire)
    }

    pub(crate) fn set_newest(&self, next: Offset) {
        self.newest.fetch_max(next, Ordering::AcqRel);
    }

    pub(crate) fn set_stored(&self, next: Offset) {
        self.stored.send_if_modified(|stored| {
            let is_news = next > *stored;
            *stored = next.max(*stored);
            is_news
        });
    }

    /// Whether this node writes the partition.
    pub(crate) fn is_owned(&self) -> bool {
        self.mailbox.lock().as_ref().is_some_and(|mailbox| !mailbox.is_closed())
    }

    /// Whether the group may be asked who writes this partition: not more often than this.
    pub(crate) fn may_ask(&self, interval: Duration) -> bool {
        let mut asked = self.asked.lock();
        let may = asked.is_none_or(|asked| asked.elapsed() >= interval);
        if may {
            *asked = Some(Instant::now());
        }
        may
    }

    /// Waits until the tables, which another node may write, hold everything before `next`.
    ///
    /// Errors with false when they don't by `until`, and with what the tables have to say.
    pub(crate) async fn wait_stored(&self, next: Offset, until: Instant) -> Result<bool, Error> {
        while *self.stored.borrow() < next {
            let polling = tokio::time::timeout_at(until.into(), self.polling.lock()).await;
            let Ok(_one) = polling else { return Ok(false) };
            if *self.stored.borrow() >= next {
                break;
            }
            let documents = self.documents();
            let asked = tokio::time::timeout_at(until.into(), documents.checkpoint()).await;
            let Ok(checkpoint) = asked else { return Ok(false) };
            self.set_stored(checkpoint?);
            if *self.stored.borrow() >= next {
                break;
            }
            if Instant::now() + POLL_INTERVAL >= until {
                return Ok(false);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(true)
    }

    /// Where rows may be stored before their checkpoint is, a row of the event at `offset` may be
    /// one of a batch whose writer is gone: pages don't show it yet, so nobody may. Then this is
    /// the moment to read it as of.
    pub(crate) async fn unsure_from(
        &self,
        space: &dyn Space,
        offset: Offset,
    ) -> Result<Option<AsOf>, Error> {
        if space.is_exact() || offset < *self.stored.borrow() {
            return Ok(None);
        }
        let checkpoint = space.checkpoint().await?;
        self.set_stored(checkpoint);
        let last = Position { partition: self.id, offset: checkpoint.saturating_sub(1) };
        Ok((offset >= checkpoint).then_some(AsOf::Position(last)))
    }

    /// Waits until this node has read everything that was acknowledged before this call; many
    /// callers at a time cost the log one question.
    pub(crate) async fn refresh(
        &self,
        log: &dyn EventLog,
        wait_max: Duration,
    ) -> Result<(), Error> {
        if let Some(trouble) = log.trouble() {
            return Err(Error::Unavailable(trouble));
        }
        let called = Instant::now();
        let until = called + wait_max;
        let late = || Error::Unavailable(format!("partition {} is not level yet", self.id));
        let locked = tokio::time::timeout_at(until.into(), self.refreshing.lock()).await;
        let mut last = locked.map_err(|_| late())?;
        if let Some(last) = last.as_ref().filter(|last| last.at >= called) {
            return last.outcome.clone();
        }
        let begun = Instant::now();
        let level = async {
            let end = log.refresh_end(self.id).await?;
            let mut applied = self.watch_applied();
            // What the wait yields is a lock on the value.
            let _ = applied.wait_for(|applied| *applied >= end).await;
            Ok(())
        };
        let outcome = tokio::time::timeout_at(until.into(), level).await;
        let outcome = outcome.unwrap_or_else(|_| Err(late()));
        // A failure is also for those who called meanwhile.
        let at = if outcome.is_ok() { begun } else { Instant::now() };
        *last = Some(Refreshed { at, outcome: outcome.clone() });
        outcome
    }

    /// Refuses reads until the tables hold everything before `next`.
    pub(crate) fn level_from(&self, next: Offset) {
        self.level_from.store(next, Ordering::Release);
    }

    /// Whether the tables are still being filled.
    fn is_filling(&self) -> bool {
        *self.stored.borrow() < self.level_from.load(Ordering::Acquire)
    }

    /// From now on every command is answered with `error`; `None` lets commands in again.
    pub(crate) fn refuse(&self, error: Option<Error>) {
        *self.refusal.write() = error;
    }

    /// Why commands are refused.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.refusal.read().clone()
    }

    /// Whether reads must be refused too.
    pub(crate) fn check_readable(&self) -> Result<(), Error> {
        match &*self.refusal.read() {
            Some(error @ Error::Corrupt(_)) => Err(error.clone()),
            _ if self.is_filling() => Err(Error::Unavailable(self.filling())),
            _ => Ok(()),
        }
    }

    fn filling(&self) -> String {
        let (stored, needed) = (*self.stored.borrow(), self.level_from.load(Ordering::Acquire));
        format!("partition {}: the tables are being filled, {stored} of {needed}", self.id)
    }

    /// Why the partition takes no writes.
    pub(crate) fn unready(&self) -> Option<String> {
        if let Some(error) = &*self.refusal.read() {
            return Some(format!("partition {}: {error}", self.id));
        }
        if self.is_filling() {
            return Some(self.filling());
        }
        let mailbox = self.mailbox.lock();
        // Without one, another node may write it.
        let ended = mailbox.as_ref().is_some_and(mpsc::Sender::is_closed);
        ended.then(|| format!("partition {}: the writer has ended", self.id))
    }

    /// Counts a command against the queue's bytes until the result is dropped, wherever it waits.
    pub(crate) fn hold(&self, command: &Command) -> Result<Release, Error> {
        let weight = command.weight();
        let queued = self.queued_bytes.fetch_add(weight, Ordering::Relaxed);
        let release = Release { queued_bytes: Arc::clone(&self.queued_bytes), weight };
        if queued + weight > self.queue_bytes_max {
            self.metrics.busy.inc();
            return Err(Error::Busy);
        }
        Ok(release)
    }

    pub(crate) async fn submit(
        &self,
        command: Command,
        wait_max: Duration,
    ) -> Result<Committed, Error> {
        if let Some(error) = &*self.refusal.read() {
            return Err(error.clone());
        }
        let release = self.hold(&command)?;
        let (reply, answer) = oneshot::channel();
        let submission = Submission { command, reply, since: Instant::now(), release };
        self.send(Message::Command(Box::new(submission)))?;
        match tokio::time::timeout(wait_max, answer).await {
            Ok(Ok(outcome)) => outcome,
            // The writer is gone with the command, or too slow: it may have been written.
            Ok(Err(_)) | Err(_) => Err(Error::OutcomeUnknown),
        }
    }

    fn send(&self, message: Message) -> Result<(), Error> {
        let mailbox = self.mailbox.lock();
        let Some(mailbox) = &*mailbox else {
            return Err(Error::NotOwner);
        };
        let sent = mailbox.try_send(message);
        self.queue_commands.set((mailbox.max_capacity() - mailbox.capacity()) as i64);
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.metrics.busy.inc();
                Error::Busy
            }
            mpsc::error::TrySendError::Closed(_) => Error::NotOwner,
        })
    }

    /// Whether no more commands come.
    pub(crate) fn is_stopping(&self) -> bool {
        self.mailbox.lock().is_none()
    }

    /// Asks the writer for something at its next batch boundary.
    pub(crate) fn control(&self, control: Control) -> Result<(), Error> {
        self.send(Message::Control(control))
    }

    /// Drops the way to the writer, which ends by that; for an engine that goes away.
    pub(crate) fn abandon(&self) {
        self.mailbox.lock().take();
    }

    /// Takes no more commands and waits until the writer has finished those it has.
    pub(crate) async fn stop(&self) {
        self.mailbox.lock().take();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!(partition = %self.id, "the writer ended by a panic");
            }
        }
    }
}

/// Gives a command's bytes back to the queue's budget when its answer is out.
pub(crate) struct Release {
    queued_bytes: Arc<AtomicUsize>,
    weight: usize,
}

impl Drop for Release {
    fn drop(&mut self) {
        self.queued_bytes.fetch_sub(self.weight, Ordering::Relaxed);
    }
}
