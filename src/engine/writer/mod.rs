//! Owns one partition: decides commands one at a time, appends what they yield as one group
//! commit, applies the batch to its projections, then answers. The only caller of the log's
//! `append`; nothing is answered before it is durable.

mod access;
mod decide;
mod draft;
mod import;
mod indexes;
mod people;
mod personal;
mod prefetch;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::command::{Body, Command};
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
use crate::personal::Personal;
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
    /// Of both views, where they don't stand still.
    pub(crate) digests: Option<([u8; 32], [u8; 32])>,
}

/// Why a writer ends before its queue does.
enum Ended {
    /// The tables lack events that the log has, and nothing may be decided against them.
    Behind,
    /// Another node may write the partition by now.
    Fenced,
}

/// A group commit is closed when its events reach this many bytes; one command may go past it.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// After a failure to work on the tables beside events.
const WORK_BACKOFF: Duration = Duration::from_secs(1);
/// The longest pause between two tries to apply a batch.
const APPLY_BACKOFF_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Writer {
    pub(crate) partition: Arc<Partition>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) personal: Arc<Personal>,
    pub(crate) documents: Consumer,
    pub(crate) idempotency: Consumer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: domain::json::Limits,
    pub(crate) idempotency_seconds: u64,
    pub(crate) batch_commands_max: usize,
    /// Whether a read of the tables takes as long as a message to another machine.
    pub(crate) tables_are_remote: bool,
    /// The newest event's time: the clock may go back, the log may not.
    pub(crate) last_time: Timestamp,
}

impl Writer {
    /// Serves the queue until every sender is gone, then stores what is left to store.
    pub(crate) async fn run(mut self, mut mailbox: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(self.batch_commands_max);
        while self.receive(&mut mailbox, &mut messages).await > 0 {
            let mut batch = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Command(submission) => batch.push(*submission),
                    Message::Control(control) => {
                        if self.commit_all(std::mem::take(&mut batch)).await.is_err() {
                            return turn_away(mailbox);
                        }
                        self.control(control).await;
                    }
                }
            }
            if self.commit_all(batch).await.is_err() {
                return turn_away(mailbox);
            }
        }
        for consumer in [&mut self.documents, &mut self.idempotency] {
            if let Err(error) = consumer.store_checkpoint().await {
                tracing::warn!(consumer.name = consumer.name, %error, "checkpoint not stored");
            }
        }
    }

    /// Waits for commands; meanwhile the tables get what no event asks for any more. Of that, one
    /// part is done before each batch: it comes to an end although the commands do not.
    async fn receive(
        &mut self,
        mailbox: &mut mpsc::Receiver<Message>,
        messages: &mut Vec<Message>,
    ) -> usize {
        while self.documents.has_work() && !self.partition.is_stopping() {
            let outcome = self.documents.work().await;
            if !mailbox.is_empty() {
                break;
            }
            if let Err(error) = outcome {
                tracing::error!(partition = %self.partition.id, %error, "an index is not built");
                let batch = mailbox.recv_many(messages, self.batch_commands_max);
                // Also when a command comes; then it is tried again after that.
                if let Ok(count) = tokio::time::timeout(WORK_BACKOFF, batch).await {
                    return count;
                }
            }
        }
        mailbox.recv_many(messages, self.batch_commands_max).await
    }

    /// Decides and commits what was queued, in as many group commits as it needs.
    ///
    /// Errors when the tables are behind the log for good: nothing may be decided against them any
    /// more. Whoever waits learns that the outcome is not known.
    async fn commit_all(&mut self, batch: Vec<Submission>) -> Result<(), Ended> {
        let mut waiting = VecDeque::from(batch);
        while !waiting.is_empty() {
            if let Err(ended) = self.commit(&mut waiting).await {
                for Submission { reply, .. } in waiting {
                    let _ = reply.send(Err(Error::NotOwner));
                }
                return Err(ended);
            }
        }
        Ok(())
    }

    /// One group commit of what comes first, up to a bound in bytes.
    async fn commit(&mut self, waiting: &mut VecDeque<Submission>) -> Result<(), Ended> {
        let mut draft = Draft::new(self.last_time.max(clock::now()));
        let mut decided = Vec::new();
        let prefetched = self.prefetch(waiting.iter()).await;
        while draft.bytes < BATCH_BYTES_MAX
            && let Some(Submission { command, reply, since, release }) = waiting.pop_front()
        {
            self.metrics.queue_wait_seconds.observe(since.elapsed().as_secs_f64());
            let correlation_id = command.context.correlation_id.clone();
            // What an import brings is sealed as it was: the next command is decided by the tables.
            let is_import = matches!(command.body, Body::Import(_));
            let outcome = self.decide(&mut draft, &prefetched, command).await;
            decided.push((outcome, reply, release, correlation_id));
            if is_import {
                break;
            }
        }
        self.metrics.batch_commands.observe(decided.len() as f64);
        let events = std::mem::take(&mut draft.events);
        let recorded = match self.append(events).await {
            Ok(recorded) => recorded,
            Err((error, ended)) => {
                // A refusal, too, was decided against events that now never were.
                for (_, reply, ..) in decided {
                    let _ = reply.send(Err(error.clone()));
                }
                return ended.map_or(Ok(()), Err);
            }
        };
        self.last_time = draft.now;
        self.apply(&recorded).await?;
        for (outcome, reply, release, correlation_id) in decided {
            let answer = self.answer(outcome, &recorded).await;
            log_outcome(&correlation_id, &answer);
            // Nobody may be waiting any more; the outcome stands all the same.
            let _ = reply.send(answer);
            drop(release);
        }
        Ok(())
    }

    /// Errors with what to answer, and whether this was the writer's end.
    async fn append(
        &mut self,
        events: Vec<Event>,
    ) -> Result<Vec<Arc<Recorded>>, (Error, Option<Ended>)> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.log.append(self.partition.id, events).await;
        appended.map_err(|error| {
            tracing::error!(partition = %self.partition.id, %error, "append failed");
            match error {
                eventlog::Error::Refused { .. } => {
                    self.partition.refuse(Some(error.into()));
                    // Its fsync failed: what became of this batch only the disk knows.
                    (Error::OutcomeUnknown, None)
                }
                eventlog::Error::Corrupt { .. } => {
                    let error = Error::from(error);
                    self.partition.refuse(Some(error.clone()));
                    (error, None)
                }
                eventlog::Error::Fenced { .. } => (Error::OutcomeUnknown, Some(Ended::Fenced)),
                eventlog::Error::Unsure { .. } => {
                    self.partition.refuse(Some(error.into()));
                    (Error::OutcomeUnknown, Some(Ended::Fenced))
                }
                eventlog::Error::Io { .. } => (Error::OutcomeUnknown, None),
                other => (other.into(), None),
            }
        })
    }

    /// Brings the tables up to the batch. The events are facts by now: this is tried until it
    /// succeeds, or until the engine stops; then the next start does it.
    async fn apply(&mut self, recorded: &[Arc<Recorded>]) -> Result<(), Ended> {
        let (Some(first), Some(last)) = (recorded.first(), recorded.last()) else { return Ok(()) };
        let (from, next) = (first.position.offset, last.position.offset + 1);
        let partition = self.partition.id.to_string();
        for consumer in [&mut self.documents, &mut self.idempotency] {
            let seconds = self.metrics.apply_seconds.with_label_values(&[consumer.name]);
            let timer = seconds.start_timer();
            let place = [consumer.name, partition.as_str()];
            let lag = self.metrics.consumer_lag_events.with_label_values(&place);
            lag.set((next - consumer.next()) as i64);
            let mut pause = Duration::from_millis(50);
            while let Err(error) = consumer.apply(from, recorded, next).await {
                tracing::error!(
                    partition = %self.partition.id,
                    consumer.name,
                    %error,
                    "apply failed, trying again"
                );
                self.partition.refuse(Some(error));
                if self.partition.is_stopping() {
                    return Err(Ended::Behind);
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
        self.partition.set_newest(next);
        self.partition.set_stored(next);
        self.partition.set_applied(next);
        Ok(())
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
                let events = self.log.read(self.partition.id, offset, limit).await?.events;
                Ok(Committed { events, replayed: true })
            }
            Outcome::Failed(error) => Err(error),
        }
    }

    async fn control(&mut self, control: Control) {
        match control {
            Control::Compare { built, reply } => {
                let _ = reply.send(self.compare(built).await);
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

    async fn compare(&self, mut built: Consumer) -> Result<Compared, Error> {
        if self.documents.has_work() {
            let what = format!("partition {}: indexes are being built", self.partition.id);
            return Err(Error::Unavailable(what));
        }
        self.level(&mut built).await?;
        while built.has_work() {
            built.work().await?;
        }
        let built_view = built.space.view().await?;
        let live_view = self.documents.space.view().await?;
        // Views that later commits show in must be read while there are none.
        let digests = match built_view.is_exact() && live_view.is_exact() {
            true => None,
            false => Some((built_view.digest().await?, live_view.digest().await?)),
        };
        Ok(Compared { built, built_view, live_view, digests })
    }

    async fn level(&self, built: &mut Consumer) -> Result<(), Error> {
        let until = self.documents.next();
        built.catch_up(&*self.log, self.partition.id, until, &|_| ()).await
    }
}

/// Answers what waits in the queue of a writer that has ended: none of it was looked at.
fn turn_away(mut mailbox: mpsc::Receiver<Message>) {
    mailbox.close();
    while let Ok(message) = mailbox.try_recv() {
        if let Message::Command(submission) = message {
            let _ = submission.reply.send(Err(Error::NotOwner));
        }
    }
}

fn log_outcome(correlation_id: &str, answer: &Result<Committed, Error>) {
    match answer {
        Ok(Committed { events, replayed }) => tracing::debug!(
            correlation.id = correlation_id,
            position = events.last().map(|last| tracing::field::display(last.position)),
            events = events.len(),
            replayed,
            "command written and applied"
        ),
        Err(error) => {
            tracing::debug!(correlation.id = correlation_id, %error, "command not written");
        }
    }
}
