//! The right to append to one partition, and its use. A lease starts with a takeover record and
//! ends for good with the first append that is not stored exactly where it was expected: from
//! then on nothing is appended before taking over again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use domain::{Event, Offset, Position, Recorded, TransactionPart};
use parking_lot::Mutex;
use rdkafka::message::{Headers, OwnedHeaders};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::options::{EVENT_BYTES_MAX, Options};
use super::partition::Partition;
use super::producer::{Delivery, Outcome, Outgoing, Producer, Stored};
use super::{health, record};
use crate::Error;
use crate::metrics::TopicMetrics;

/// Appends to one partition.
pub(super) struct Writer {
    options: Arc<Options>,
    partition: Arc<Partition>,
    metrics: Arc<TopicMetrics>,
    /// Held through a takeover or an append, so that a second one waits.
    lease: tokio::sync::Mutex<Option<Lease>>,
    /// A producer that nothing is under way with.
    spare: Arc<Mutex<Option<Producer>>>,
    /// Counts the calls of `resign`.
    resigned: watch::Sender<u64>,
    closed: AtomicBool,
}

struct Lease {
    producer: Producer,
    next: Offset,
    epoch: u64,
    /// `resigned` when the lease began.
    resigned: u64,
}

impl Writer {
    pub(super) fn new(
        options: Arc<Options>,
        partition: Arc<Partition>,
        metrics: Arc<TopicMetrics>,
    ) -> Self {
        Self {
            options,
            partition,
            metrics,
            lease: tokio::sync::Mutex::default(),
            spare: Arc::default(),
            resigned: watch::Sender::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Makes a producer for the next takeover, in the background.
    pub(super) fn prepare(&self) -> std::thread::JoinHandle<()> {
        let (options, spare) = (Arc::clone(&self.options), Arc::clone(&self.spare));
        let id = self.partition.id;
        std::thread::spawn(move || match Producer::connect(&options, id) {
            Ok(producer) => *spare.lock() = Some(producer),
            Err(error) => tracing::error!(partition = id.0, %error, "no Kafka producer"),
        })
    }

    /// Ends the lease; an append that waits for the brokers is given up.
    pub(super) fn resign(&self) {
        self.resigned.send_modify(|count| *count += 1);
        if let Ok(mut lease) = self.lease.try_lock()
            && let Some(lease) = lease.take()
        {
            self.keep(lease.producer);
        }
    }

    /// Refuses takeovers and appends from here on.
    pub(super) fn close(&self) {
        self.closed.store(true, SeqCst);
        self.resign();
    }

    /// Errors: [`Error::Unreachable`], [`Error::Refused`] once closed; those of the tail.
    pub(super) async fn take_over(&self, node: &str) -> Result<Offset, Error> {
        let mut lease = self.lease.lock().await;
        self.fail_if_closed()?;
        self.partition.check()?;
        let resigned = *self.resigned.borrow();
        let producer = match lease.take() {
            Some(lease) => lease.producer,
            None => self.producer().await?,
        };
        let (delivery, outcome) = Delivery::new(1);
        let now = health::now();
        let record = Outgoing {
            key: None,
            headers: record::takeover_headers(self.partition.id, Uuid::now_v7(), now),
            payload: &record::takeover_payload(node),
            time_ms: now.as_micros().div_euclid(1000),
        };
        let sent = producer.send(record, &delivery).map_err(|error| error.to_string());
        let stored = match sent {
            Ok(()) => self.wait(outcome, self.options.reach_wait).await,
            Err(error) => Err(error),
        };
        let at = stored.map_err(|why| {
            self.prepare();
            Error::Unreachable { reason: format!("a takeover was not stored: {why}") }
        });
        // On failure the producer goes here, and the record with it if it is still under way.
        let Stored { first: at, .. } = at?;
        let read = self.partition.wait_seen(at + 1, self.options.reach_wait).await;
        if let Err(error) = read {
            self.keep(producer);
            return Err(error);
        }
        *lease = Some(Lease { producer, next: at + 1, epoch: at + 1, resigned });
        Ok(at + 1)
    }

    /// Errors: as [`crate::EventLog::append`].
    pub(super) async fn append(&self, mut events: Vec<Event>) -> Result<Vec<Arc<Recorded>>, Error> {
        let started = std::time::Instant::now();
        let mut held = self.lease.lock().await;
        self.fail_if_closed()?;
        let partition = self.partition.id;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        // Out of its place while the batch is under way: should this call be dropped, it is gone.
        let mut attempt = Attempt { writer: self, lease: held.take() };
        let Some(lease) = &attempt.lease else { return Err(Error::Fenced { partition }) };
        if lease.resigned != *self.resigned.borrow() {
            attempt.end_unused();
            return Err(Error::Fenced { partition });
        }
        let (first, epoch) = (lease.next, lease.epoch);
        let batch = match Encoded::new(&mut events, first, epoch) {
            Ok(batch) => batch,
            Err(reason) => {
                *held = attempt.lease.take();
                return Err(Error::Unfit { partition, reason });
            }
        };
        let unsure = |reason: String| Error::Unsure { partition, reason };
        let (delivery, outcome) = Delivery::new(events.len());
        for (event, headers) in events.iter().zip(batch.headers) {
            let record = Outgoing {
                key: Some(event.project.as_str()),
                headers,
                payload: &event.data,
                time_ms: event.time.as_micros().div_euclid(1000),
            };
            lease.producer.send(record, &delivery).map_err(|error| unsure(error.to_string()))?;
        }
        let stored = self.wait(outcome, self.options.append_wait).await.map_err(unsure)?;
        if stored != (Stored { first, contiguous: true }) {
            // Everything came back, so the producer may take over again.
            attempt.end_unused();
            return Err(Error::Fenced { partition });
        }
        let recorded: Vec<_> = (first..)
            .zip(events)
            .map(|(offset, event)| {
                Arc::new(Recorded { position: Position { partition, offset }, event })
            })
            .collect();
        let end = first + recorded.len() as u64;
        self.partition.publish(&recorded, end);
        *held = attempt.lease.take().map(|lease| Lease { next: end, ..lease });
        self.metrics.append_seconds.observe(started.elapsed().as_secs_f64());
        self.metrics.append_bytes.inc_by(batch.bytes as u64);
        self.metrics.append_events.inc_by(recorded.len() as u64);
        Ok(recorded)
    }

    /// Waits until a batch is stored, for `wait` at most and no longer than until a resignation.
    async fn wait(
        &self,
        outcome: oneshot::Receiver<Outcome>,
        wait: std::time::Duration,
    ) -> Outcome {
        let mut resigned = self.resigned.subscribe();
        tokio::select! {
            biased;
            outcome = outcome => outcome.unwrap_or_else(|_| Err("it was dropped".to_owned())),
            _ = resigned.changed() => Err("the partition was given up meanwhile".to_owned()),
            () = tokio::time::sleep(wait) => {
                Err(format!("the brokers have not acknowledged it within {} s", wait.as_secs_f32()))
            }
        }
    }

    async fn producer(&self) -> Result<Producer, Error> {
        if let Some(spare) = self.spare.lock().take() {
            return Ok(spare);
        }
        let (options, id) = (Arc::clone(&self.options), self.partition.id);
        let made = tokio::task::spawn_blocking(move || Producer::connect(&options, id)).await;
        made.map_err(|error| Error::Unreachable { reason: error.to_string() })?
    }

    fn keep(&self, producer: Producer) {
        *self.spare.lock() = Some(producer);
    }

    fn fail_if_closed(&self) -> Result<(), Error> {
        if self.closed.load(SeqCst) {
            let reason = "the log is closed".to_owned();
            return Err(Error::Refused { partition: self.partition.id, reason });
        }
        Ok(())
    }
}

/// An append under way. Where it ends otherwise than well, the lease ends with it, and its
/// producer takes along what it had not delivered.
struct Attempt<'a> {
    writer: &'a Writer,
    lease: Option<Lease>,
}

impl Attempt<'_> {
    /// Ends the lease while nothing is under way, so that its producer is good for the next one.
    fn end_unused(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.writer.keep(lease.producer);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.lease.take().is_some() {
            self.writer.prepare();
        }
    }
}

/// What is stored beside the events' keys and values.
struct Encoded {
    headers: Vec<OwnedHeaders>,
    /// Bytes of all records, framing aside.
    bytes: usize,
}

impl Encoded {
    /// Gives the events their epoch and expected offsets.
    ///
    /// Errors: why they can't be stored. A transaction that is not whole would never count.
    fn new(events: &mut [Event], first: Offset, epoch: u64) -> Result<Self, String> {
        let mut batch = Self { headers: Vec::with_capacity(events.len()), bytes: 0 };
        let mut open: Option<TransactionPart> = None;
        for (expected, event) in (first..).zip(events) {
            event.epoch = epoch;
            let headers = record::headers(event, epoch, expected);
            let bytes = weigh(event, &headers);
            if bytes > EVENT_BYTES_MAX {
                let id = event.id;
                return Err(format!("event {id} has {bytes} bytes, {EVENT_BYTES_MAX} at most"));
            }
            batch.bytes += bytes;
            batch.headers.push(headers);
            let wanted = open.map(|before| TransactionPart { index: before.index + 1, ..before });
            let follows = match event.transaction {
                Some(part) => wanted.map_or(part.index == 0, |wanted| wanted == part),
                None => wanted.is_none(),
            };
            if !follows {
                return Err(format!("event {} cuts a transaction or lacks its start", event.id));
            }
            open = event.transaction.filter(|part| !part.is_last());
        }
        match open {
            None => Ok(batch),
            Some(part) => Err(format!("transaction {} lacks its end", part.id)),
        }
    }
}

fn weigh(event: &Event, headers: &OwnedHeaders) -> usize {
    // A header's framing takes 10 bytes at most.
    let headers = headers.iter().map(|h| 10 + h.key.len() + h.value.map_or(0, <[u8]>::len));
    event.project.as_str().len() + event.data.len() + headers.sum::<usize>()
}
