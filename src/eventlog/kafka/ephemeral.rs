//! The bus of channels on Apache Kafka: a topic of its own with a retention of a minute. Every node
//! reads all of it, by a consumer in no group; whoever publishes hears its own records there, too.
//! Offsets are Kafka's, counted from 1.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use domain::PartitionId;
use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{
    BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use rdkafka::{ClientContext, Message, Offset as Place, TopicPartitionList};
use tokio::sync::oneshot;

use super::broker::Broker;
use super::health::{self, Context, Health};
use super::options::Options;
use super::{ask, topic};
use crate::Error;
use crate::ephemeral::{Accepted, Bus, Listener, RETENTION_SECONDS, Record};

/// How long the thread waits for records before it looks around.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long to wait before what has failed is tried again.
const BACKOFF: Duration = Duration::from_secs(1);

/// An open topic.
pub struct Topic {
    options: Arc<Options>,
    broker: Arc<Broker>,
    health: Arc<Health>,
    producer: Mutex<Arc<Producer>>,
    /// Where to begin in each partition, and where its end was.
    bounds: Vec<(u64, u64)>,
    stop: Arc<AtomicBool>,
}

impl Topic {
    /// Opens the topic, and makes it where it is missing.
    ///
    /// Errors: [`Error::Open`] when its settings are others, with the command that mends it;
    /// [`Error::Unreachable`].
    pub async fn open(options: Options) -> Result<Self, Error> {
        let options = Arc::new(options);
        let health = Arc::new(Health::default());
        let broker = Arc::new(Broker::new(&options, &health)?);
        topic::ensure(&options, &broker, &health).await?;
        let since = health::now().as_micros() / 1000 - RETENTION_SECONDS as i64 * 1000;
        let mut bounds = Vec::new();
        for id in (0..options.partitions).map(PartitionId) {
            let asked = ask(&broker, move |broker| {
                let (low, high) = broker.bounds(id)?;
                let from = broker.offset_at(id, since)?.unwrap_or(high);
                Ok((from.clamp(low, high), high))
            });
            bounds.push(asked.await?);
        }
        let producer = Mutex::new(Arc::new(Producer::new(&options)?));
        let stop = Arc::default();
        Ok(Self { options, broker, health, producer, bounds, stop })
    }

    /// The producer, or another one where it is past all help.
    fn producer(&self) -> Result<Arc<Producer>, Error> {
        let mut producer = self.producer.lock();
        if let Some((code, reason)) = producer.fatal_error() {
            tracing::warn!(%code, reason, "channels go on with another Kafka producer");
            *producer = Arc::new(Producer::new(&self.options)?);
        }
        Ok(Arc::clone(&producer))
    }
}

impl Bus for Topic {
    fn partitions(&self) -> usize {
        self.bounds.len()
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Result<(), Error> {
        let mut config = self.options.reader()?;
        self.options.set(&mut config, &[("fetch.wait.max.ms", "500")]);
        // Not for `properties` to change: what is kept in memory is bounded by these.
        config.set("queued.max.messages.kbytes", "16384").set("fetch.max.bytes", "9437184");
        let context = Context { health: Arc::clone(&self.health), watches: false };
        let consumer: BaseConsumer<Context> = config
            .create_with_context(context)
            .map_err(|error| self.options.cannot_open(error.to_string()))?;
        let cursors = self.bounds.iter().map(|&(from, fresh)| Cursor { expected: from, fresh });
        let thread = Thread {
            consumer,
            listener,
            topic: self.options.topic.clone(),
            broker: Arc::clone(&self.broker),
            cursors: cursors.collect(),
            stop: Arc::clone(&self.stop),
        };
        std::thread::Builder::new()
            .name("kafka-channels".to_owned())
            .spawn(move || thread.run())
            .map_err(|source| Error::Io { what: "listening to channels".to_owned(), source })?;
        Ok(())
    }

    fn publish(&self, partition: usize, key: Arc<str>, payload: Bytes) -> Result<Accepted, Error> {
        let producer = self.producer()?;
        let id = PartitionId(u32::try_from(partition).unwrap_or(u32::MAX));
        let (told, outcome) = oneshot::channel();
        let record = BaseRecord::with_opaque_to(&self.options.topic, Box::new(told))
            .partition(i32::try_from(partition).unwrap_or(i32::MAX))
            .key(&*key)
            .payload(&payload[..]);
        producer.send(record).map_err(|error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => {
                Error::Full { partition: id, detail: error.to_string() }
            }
            _ => Error::Unreachable { reason: error.to_string() },
        })?;
        Ok(Box::pin(async move {
            let unsure = |reason| Error::Unsure { partition: id, reason };
            outcome.await.map_err(|error| unsure(error.to_string()))?.map_err(unsure)
        }))
    }

    fn close(&self) {
        self.stop.store(true, Relaxed);
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.close();
    }
}

/// What becomes of a record: its offset, or why that is not known.
type Told = Box<oneshot::Sender<Result<u64, String>>>;

/// Sends records; gives up on one after a while.
struct Producer(Option<ThreadedProducer<Delivery>>);

impl Producer {
    fn new(options: &Options) -> Result<Self, Error> {
        let mut config = options.client()?;
        let wait = options.append_wait.as_millis().to_string();
        options.set(
            &mut config,
            &[
                // In order and once, as far as a record is not given up.
                ("enable.idempotence", "true"),
                ("acks", "all"),
                ("message.timeout.ms", &wait),
                ("linger.ms", "0"),
                ("compression.codec", "lz4"),
                ("queue.buffering.max.messages", "100000"),
                ("queue.buffering.max.kbytes", "65536"),
                ("retry.backoff.ms", "20"),
                ("retry.backoff.max.ms", "500"),
                ("socket.timeout.ms", "10000"),
            ],
        );
        let producer = config.create_with_context(Delivery);
        Ok(Self(Some(producer.map_err(|error| options.cannot_open(error.to_string()))?)))
    }

    fn fatal_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0.as_ref().and_then(|producer| producer.client().fatal_error())
    }

    fn send(&self, record: BaseRecord<'_, str, [u8], Told>) -> Result<(), KafkaError> {
        let producer = self.0.as_ref().ok_or(KafkaError::Canceled)?;
        producer.send(record).map_err(|(error, _)| error)
    }
}

impl Drop for Producer {
    /// Drops what is under way. The library blocks on that, so it has a thread of its own.
    fn drop(&mut self) {
        let Some(producer) = self.0.take() else { return };
        std::thread::spawn(move || {
            producer.purge(PurgeConfig::default().queue().inflight());
            drop(producer);
        });
    }
}

struct Delivery;

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        health::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the Kafka producer of channels reports an error");
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = Told;

    fn delivery(&self, result: &DeliveryResult<'_>, told: Told) {
        let outcome = match result {
            // A repeat that the broker knew to be one comes back without its offset.
            Ok(message) => u64::try_from(message.offset())
                .map(|offset| offset + 1)
                .map_err(|_| "it is stored, and the broker does not say where".to_owned()),
            Err((error, _)) => Err(error.to_string()),
        };
        // Nobody may wait for it any more.
        let _ = told.send(outcome);
    }
}

/// Reads all partitions for as long as the topic is open.
struct Thread {
    consumer: BaseConsumer<Context>,
    listener: Arc<dyn Listener>,
    topic: String,
    broker: Arc<Broker>,
    cursors: Vec<Cursor>,
    stop: Arc<AtomicBool>,
}

/// Where it is in one partition, in Kafka's offsets.
struct Cursor {
    expected: u64,
    /// What is before this was there when the topic was opened.
    fresh: u64,
}

impl Thread {
    fn run(mut self) {
        for (partition, cursor) in self.cursors.iter().enumerate() {
            self.listener.go_on_at(partition, cursor.expected + 1);
        }
        self.assign();
        while !self.stop.load(Relaxed) {
            match self.consumer.poll(PATIENCE) {
                None => {}
                Some(Ok(message)) => take(&mut self.cursors, &*self.listener, &message),
                Some(Err(error)) if is_out_of_bounds(&error) => {
                    std::thread::sleep(BACKOFF);
                    self.look_at_bounds();
                    self.assign();
                }
                Some(Err(error)) => tracing::debug!(%error, "channels can't be heard now"),
            }
        }
    }

    fn assign(&self) {
        let mut list = TopicPartitionList::new();
        for (partition, cursor) in self.cursors.iter().enumerate() {
            let place = Place::Offset(i64::try_from(cursor.expected).unwrap_or(i64::MAX));
            let id = i32::try_from(partition).unwrap_or(i32::MAX);
            if let Err(error) = list.add_partition_offset(&self.topic, id, place) {
                tracing::error!(partition, %error, "a partition of channels can't be placed");
            }
        }
        if let Err(error) = self.consumer.assign(&list) {
            tracing::error!(%error, "channels can't be assigned their partitions");
        }
    }

    /// The brokers do not have what is to be read next: retention was faster, or the topic was made
    /// anew.
    fn look_at_bounds(&mut self) {
        for (partition, cursor) in self.cursors.iter_mut().enumerate() {
            let Ok(id) = u32::try_from(partition) else { continue };
            match self.broker.bounds(PartitionId(id)) {
                Ok((low, high)) if !(low..=high).contains(&cursor.expected) => {
                    cursor.expected = if cursor.expected < low { low } else { high };
                    cursor.fresh = 0;
                    self.listener.go_on_at(partition, cursor.expected + 1);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(partition, %error, "channels wait");
                    break;
                }
            }
        }
    }
}

fn take(cursors: &mut [Cursor], listener: &dyn Listener, message: &impl Message) {
    let (Ok(partition), Ok(offset)) =
        (usize::try_from(message.partition()), u64::try_from(message.offset()))
    else {
        return;
    };
    let Some(cursor) = cursors.get_mut(partition) else { return };
    if offset < cursor.expected {
        return;
    }
    if offset > cursor.expected {
        // Retention went by between two reads.
        listener.go_on_at(partition, offset + 1);
    }
    cursor.expected = offset + 1;
    let key = message.key().and_then(|key| std::str::from_utf8(key).ok());
    listener.hear(Record {
        partition,
        offset: offset + 1,
        key: Arc::from(key.unwrap_or_default()),
        payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        is_old: offset < cursor.fresh,
    });
}

fn is_out_of_bounds(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AutoOffsetReset, LogTruncation, OffsetOutOfRange};
    let code = error.rdkafka_error_code();
    matches!(code, Some(AutoOffsetReset | LogTruncation | OffsetOutOfRange))
}
