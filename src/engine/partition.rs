//! One partition as the rest of the engine sees it: a bounded queue to its writer, its tables, and
//! how far they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use domain::command::Command;
use domain::{Offset, PartitionId};
use parking_lot::{Mutex, RwLock};
use prometheus::IntGauge;
use readmodel::Space;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;
use crate::metrics::Metrics;
use crate::writer::{Committed, Control, Message, Submission};

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

    /// From now on every command is answered with `error`; `None` lets commands in again.
    pub(crate) fn refuse(&self, error: Option<Error>) {
        *self.refusal.write() = error;
    }

    /// Whether reads must be refused too.
    pub(crate) fn check_readable(&self) -> Result<(), Error> {
        match &*self.refusal.read() {
            Some(error @ Error::Corrupt(_)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Why the partition takes no writes.
    pub(crate) fn unready(&self) -> Option<String> {
        if let Some(error) = &*self.refusal.read() {
            return Some(format!("partition {}: {error}", self.id));
        }
        let ended = self.mailbox.lock().as_ref().is_none_or(mpsc::Sender::is_closed);
        ended.then(|| format!("partition {}: the writer has ended", self.id))
    }

    pub(crate) async fn submit(
        &self,
        command: Command,
        wait_max: Duration,
    ) -> Result<Committed, Error> {
        if let Some(error) = &*self.refusal.read() {
            return Err(error.clone());
        }
        let weight = command.weight();
        let queued = self.queued_bytes.fetch_add(weight, Ordering::Relaxed);
        let release = Release { queued_bytes: Arc::clone(&self.queued_bytes), weight };
        if queued + weight > self.queue_bytes_max {
            self.metrics.busy.inc();
            return Err(Error::Busy);
        }
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
            return Err(Error::Unavailable("the server is stopping".to_owned()));
        };
        let sent = mailbox.try_send(message);
        self.queue_commands.set((mailbox.max_capacity() - mailbox.capacity()) as i64);
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.metrics.busy.inc();
                Error::Busy
            }
            mpsc::error::TrySendError::Closed(_) => {
                Error::Unavailable("the writer has ended".to_owned())
            }
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
