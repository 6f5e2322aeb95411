//! Owns one partition: decides commands one at a time, appends what they yield as one group commit,
//! applies the batch to its projections, then answers. The only caller of the log's `append`;
//! nothing is answered before it is durable.

mod decide;
mod draft;

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::command::Command;
use domain::{Event, Recorded, Timestamp};
use eventlog::EventLog;
use readmodel::{Reader, Space};
use tokio::sync::{mpsc, oneshot};

use crate::catalog::Catalog;
use crate::clock;
use crate::consumer::Consumer;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::partition::{Partition, Release};
use draft::{Draft, Outcome};

/// What a command came to: its events, in order, with their positions.
#[derive(Debug, Clone)]
pub struct Committed {
    /// At least one.
    pub events: Vec<Arc<Recorded>>,
    /// Whether this is the answer to an earlier request with the same idempotency key.
    pub replayed: bool,
}

/// A command on its way to a writer.
pub(crate) struct Submission {
    pub(crate) command: Command,
    pub(crate) reply: oneshot::Sender<Result<Committed, Error>>,
    pub(crate) since: Instant,
    pub(crate) release: Release,
}

/// What a writer's queue holds.
pub(crate) enum Message {
    Command(Box<Submission>),
    Control(Control),
}

/// What a rebuild asks of the writer, at a batch boundary.
pub(crate) enum Control {
    /// Bring `built` up to where the serving tables are, and give views of both at that point.
    Compare { built: Consumer, reply: oneshot::Sender<Result<Compared, Error>> },
    /// Bring `built` up to where the serving tables are, and let it take their place.
    Replace { built: Consumer, reply: oneshot::Sender<Result<Arc<dyn Space>, Error>> },
}

/// Two sets of tables at the same position.
pub(crate) struct Compared {
    pub(crate) built: Consumer,
    pub(crate) built_view: Arc<dyn Reader>,
    pub(crate) live_view: Arc<dyn Reader>,
}

/// The longest pause between two tries to apply a batch.
const APPLY_BACKOFF_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Writer {
    pub(crate) partition: Arc<Partition>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) documents: Consumer,
    pub(crate) idempotency: Consumer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: domain::json::Limits,
    pub(crate) idempotency_seconds: u64,
    pub(crate) batch_commands_max: usize,
    /// The newest event's time: the clock may go back, the log may not.
    pub(crate) last_time: Timestamp,
}

impl Writer {
    /// Serves the queue until every sender is gone, then stores what is left to store.
    pub(crate) async fn run(mut self, mut mailbox: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(self.batch_commands_max);
        while mailbox.recv_many(&mut messages, self.batch_commands_max).await > 0 {
            let mut batch = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Command(submission) => batch.push(*submission),
                    Message::Control(control) => {
                        self.commit(std::mem::take(&mut batch)).await;
                        self.control(control).await;
                    }
                }
            }
            self.commit(batch).await;
        }
        for consumer in [&mut self.documents, &mut self.idempotency] {
            if let Err(error) = consumer.store_checkpoint().await {
                tracing::warn!(consumer.name = consumer.name, %error, "checkpoint not stored");
            }
        }
    }

    /// One group commit.
    async fn commit(&mut self, batch: Vec<Submission>) {
        if batch.is_empty() {
            return;
        }
        self.metrics.batch_commands.observe(batch.len() as f64);
        let mut draft = Draft::new(self.last_time.max(clock::now()));
        let mut decided = Vec::with_capacity(batch.len());
        for Submission { command, reply, since, release } in batch {
            self.metrics.queue_wait_seconds.observe(since.elapsed().as_secs_f64());
            let correlation_id = command.context.correlation_id.clone();
            let outcome = self.decide(&mut draft, command).await;
            decided.push((outcome, reply, release, correlation_id));
        }
        let events = std::mem::take(&mut draft.events);
        let recorded = match self.append(events).await {
            Ok(recorded) => recorded,
            Err(error) => {
                // A refusal, too, was decided against events that now never were.
                for (_, reply, ..) in decided {
                    let _ = reply.send(Err(error.clone()));
                }
                return;
            }
        };
        self.last_time = draft.now;
        if !self.apply(&recorded).await {
            // Whoever waits is told that the outcome is not known, since reads don't show it.
            return;
        }
        for (outcome, reply, release, correlation_id) in decided {
            let answer = self.answer(outcome, &recorded).await;
            match &answer {
                Ok(Committed { events, replayed }) => tracing::debug!(
                    correlation.id = %correlation_id,
                    position = events.last().map(|last| tracing::field::display(last.position)),
                    events = events.len(),
                    replayed,
                    "command written and applied"
                ),
                Err(error) => tracing::debug!(
                    correlation.id = %correlation_id, %error, "command not written"
                ),
            }
            // Nobody may be waiting any more; the outcome stands all the same.
            let _ = reply.send(answer);
            drop(release);
        }
    }

    async fn append(&mut self, events: Vec<Event>) -> Result<Vec<Arc<Recorded>>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.log.append(self.partition.id, events).await;
        appended.map_err(|error| {
            tracing::error!(partition = %self.partition.id, %error, "append failed");
            let error = Error::from(error);
            if !matches!(error, Error::StorageFull) {
                self.partition.refuse(Some(error.clone()));
            }
            error
        })
    }

    /// Brings the tables up to the batch. The events are facts by now: this is tried until it
    /// succeeds, or until the engine stops; then the next start does it. Returns whether the
    /// tables show the batch.
    async fn apply(&mut self, recorded: &[Arc<Recorded>]) -> bool {
        let Some(last) = recorded.last() else { return true };
        for consumer in [&mut self.documents, &mut self.idempotency] {
            let seconds = self.metrics.apply_seconds.with_label_values(&[consumer.name]);
            let timer = seconds.start_timer();
            let lag = self.metrics.consumer_lag_events.with_label_values(&[consumer.name]);
            lag.set((last.position.offset + 1 - consumer.next()) as i64);
            let mut pause = Duration::from_millis(50);
            while let Err(error) = consumer.apply(recorded).await {
                tracing::error!(
                    partition = %self.partition.id,
                    consumer.name,
                    %error,
                    "apply failed, trying again"
                );
                self.partition.refuse(Some(error));
                if self.partition.is_stopping() {
                    return false;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(APPLY_BACKOFF_MAX);
            }
            lag.set(0);
            timer.observe_duration();
        }
        self.partition.refuse(None);
        for one in recorded {
            self.catalog.apply(&one.event);
        }
        self.partition.set_applied(last.position.offset + 1);
        true
    }

    async fn answer(
        &self,
        outcome: Outcome,
        recorded: &[Arc<Recorded>],
    ) -> Result<Committed, Error> {
        match outcome {
            Outcome::Events(range) => {
                Ok(Committed { events: recorded[range].to_vec(), replayed: false })
            }
            Outcome::Repeat(range) => {
                self.metrics.replayed.inc();
                Ok(Committed { events: recorded[range].to_vec(), replayed: true })
            }
            Outcome::Stored { offset, count } => {
                self.metrics.replayed.inc();
                let limit =
                    eventlog::ReadLimit { events_max: count as usize, bytes_max: usize::MAX };
                let events = self.log.read(self.partition.id, offset, limit).await?;
                Ok(Committed { events, replayed: true })
            }
            Outcome::Failed(error) => Err(error),
        }
    }

    async fn control(&mut self, control: Control) {
        match control {
            Control::Compare { mut built, reply } => {
                let caught_up = self.level(&mut built).await;
                let _ = reply.send(caught_up.map(|()| Compared {
                    built_view: built.space.view(),
                    live_view: self.documents.space.view(),
                    built,
                }));
            }
            Control::Replace { mut built, reply } => {
                let outcome = self.level(&mut built).await.map(|()| {
                    self.partition.serve_documents(Arc::clone(&built.space));
                    std::mem::replace(&mut self.documents, built).space
                });
                let _ = reply.send(outcome);
            }
        }
    }

    async fn level(&self, built: &mut Consumer) -> Result<(), Error> {
        let until = self.documents.next();
        built.catch_up(&*self.log, self.partition.id, until, &|_| ()).await
    }
}
