//! One idempotent Kafka producer and what becomes of the records that it sends. Its records reach
//! the partition in order and without gaps; it never gives one up by itself. Whoever gives one up
//! drops the producer, and with it whatever is still under way.

use std::sync::Arc;

use domain::{Offset, PartitionId};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, OwnedHeaders};
use rdkafka::producer::{
    BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use tokio::sync::oneshot;

use super::health;
use super::options::{MESSAGE_BYTES_MAX, Options};
use crate::Error;

/// A producer for one partition.
pub(super) struct Producer {
    /// Taken out only when dropped.
    inner: Option<Arc<ThreadedProducer<Context>>>,
    topic: String,
    partition: i32,
}

/// One record to send.
pub(super) struct Outgoing<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) headers: OwnedHeaders,
    pub(super) payload: &'a [u8],
    /// Milliseconds since 1970.
    pub(super) time_ms: i64,
}

impl Producer {
    /// Makes a producer and lets it connect. Blocks until it has heard of the partition's leader,
    /// for `reach_wait` at most; one that has not is still good for later.
    ///
    /// Errors: [`Error::Open`] when the settings make no sense to the library.
    pub(super) fn connect(options: &Options, partition: PartitionId) -> Result<Self, Error> {
        let mut config = options.client()?;
        options.set(
            &mut config,
            &[
                ("enable.idempotence", "true"),
                ("acks", "all"),
                // Each promise of the rule needs this: never give up alone, never leave a gap.
                ("message.timeout.ms", "0"),
                ("enable.gapless.guarantee", "true"),
                // One request at a time: a later one can never be stored without the one before,
                // not even when the brokers have forgotten the producer. It was not slower.
                ("max.in.flight.requests.per.connection", "1"),
                // Any wait for more records made appends slower: 0.05 ms as much as 5 ms.
                ("linger.ms", "0"),
                // As fast as none where measured, and the headers are much alike.
                ("compression.codec", "lz4"),
                ("message.max.bytes", &MESSAGE_BYTES_MAX.to_string()),
                ("queue.buffering.max.messages", "0"),
                ("queue.buffering.max.kbytes", "2097151"),
                ("retry.backoff.ms", "20"),
                ("retry.backoff.max.ms", "500"),
                ("socket.timeout.ms", "10000"),
            ],
        );
        let inner: ThreadedProducer<Context> = config
            .create_with_context(Context)
            .map_err(|error| options.cannot_open(error.to_string()))?;
        // Connects, so that the library can ask for the producer's id before the first record.
        if let Err(error) = inner.client().fetch_metadata(Some(&options.topic), options.reach_wait)
        {
            tracing::debug!(partition = partition.0, %error, "a producer is not connected yet");
        }
        let inner = Some(Arc::new(inner));
        Ok(Self { inner, topic: options.topic.clone(), partition: partition.0 as i32 })
    }

    /// Queues a record, whose fate `delivery` will be told.
    ///
    /// Errors: what the library says; nothing was queued.
    pub(super) fn send(
        &self,
        record: Outgoing<'_>,
        delivery: &Arc<Delivery>,
    ) -> Result<(), KafkaError> {
        let Some(inner) = &self.inner else { return Err(KafkaError::Canceled) };
        let outgoing = BaseRecord::with_opaque_to(&self.topic, Arc::clone(delivery))
            .partition(self.partition)
            .payload(record.payload)
            .headers(record.headers)
            .timestamp(record.time_ms);
        let outgoing = match record.key {
            Some(key) => outgoing.key(key),
            None => outgoing,
        };
        inner.send(outgoing).map_err(|(error, _)| error)
    }
}

impl Drop for Producer {
    /// Drops what is under way. The library blocks on that, so it has a thread of its own.
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        std::thread::spawn(move || {
            inner.purge(PurgeConfig::default().queue().inflight());
            drop(inner);
        });
    }
}

/// What becomes of one batch: told once, when the last of its records is stored or given up.
pub(super) struct Delivery {
    state: Mutex<State>,
}

struct State {
    left: usize,
    first: Option<Offset>,
    next: Option<Offset>,
    /// The first failure.
    failed: Option<String>,
    contiguous: bool,
    done: Option<oneshot::Sender<Outcome>>,
}

/// Where a batch is, or why that is not known.
pub(super) type Outcome = Result<Stored, String>;

/// Where a batch was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// The offset of its first record.
    pub(super) first: Offset,
    /// Whether its records follow on each other.
    pub(super) contiguous: bool,
}

impl Delivery {
    /// Of a batch of `records`, at least one.
    pub(super) fn new(records: usize) -> (Arc<Self>, oneshot::Receiver<Outcome>) {
        let (done, outcome) = oneshot::channel();
        let state = State {
            left: records,
            first: None,
            next: None,
            failed: None,
            contiguous: true,
            done: Some(done),
        };
        (Arc::new(Self { state: Mutex::new(state) }), outcome)
    }

    /// One record was stored at an offset, or not: they are told in the order of sending.
    fn tell(&self, record: Result<Offset, String>) {
        let mut state = self.state.lock();
        state.left = state.left.saturating_sub(1);
        match record {
            Ok(offset) => {
                state.contiguous &= state.next.is_none_or(|next| next == offset);
                state.first.get_or_insert(offset);
                state.next = Some(offset + 1);
            }
            Err(why) => {
                state.failed.get_or_insert(why);
            }
        }
        if state.left > 0 {
            return;
        }
        let outcome = match (state.failed.take(), state.first) {
            (None, Some(first)) => Ok(Stored { first, contiguous: state.contiguous }),
            (failed, _) => Err(failed.unwrap_or_default()),
        };
        if let Some(done) = state.done.take() {
            // Nobody waits any more: then the batch was given up, and its producer with it.
            let _ = done.send(outcome);
        }
    }
}

struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        health::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "a Kafka producer reports an error");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Arc<Delivery>) {
        delivery.tell(match result {
            // A repeat that the broker knew to be one comes back without its offset.
            Ok(message) => u64::try_from(message.offset())
                .map_err(|_| "it is stored, and the broker does not say where".to_owned()),
            Err((error, _)) => Err(error.to_string()),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(told: &[Result<Offset, String>]) -> Option<Outcome> {
        let (delivery, mut outcome) = Delivery::new(3);
        told.iter().for_each(|record| delivery.tell(record.clone()));
        outcome.try_recv().ok()
    }

    #[test]
    fn a_batch_is_told_once_all_of_it_is() {
        assert_eq!(outcome(&[Ok(7), Ok(8)]), None);
        let stored = Stored { first: 7, contiguous: true };
        assert_eq!(outcome(&[Ok(7), Ok(8), Ok(9)]), Some(Ok(stored)));
        let stored = Stored { first: 7, contiguous: false };
        assert_eq!(outcome(&[Ok(7), Ok(9), Ok(10)]), Some(Ok(stored)));
        let purged = || Err("purged".to_owned());
        assert_eq!(outcome(&[Ok(7), purged(), Ok(8)]), Some(Err("purged".to_owned())));
        assert_eq!(outcome(&[purged(), purged(), purged()]), Some(Err("purged".to_owned())));
    }
}
