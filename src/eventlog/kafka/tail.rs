//! Follows the ends of all partitions on a thread of its own: one consumer, every record through
//! the rule, what counts into the rings. It reads from a little before the end at the start, then
//! each record once; it never skips one, and goes on by itself when the brokers are back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use domain::{Offset, PartitionId, Recorded};
use prometheus::IntGauge;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset as Place, TopicPartitionList};

use super::broker::Broker;
use super::health::{Context, Health};
use super::options::Options;
use super::partition::{Partition, Stopped};
use super::record;
use super::sieve::Sieve;
use crate::Error;

/// Records before the end at which the tail begins, so that the rings are warm.
const WARM_RECORDS: u64 = 2000;
/// How long the thread waits for records before it looks around.
const PATIENCE: Duration = Duration::from_millis(100);
/// Records that are published together.
const BURST: usize = 512;
/// How long to wait before what has failed is tried again.
const BACKOFF: Duration = Duration::from_secs(1);

/// Ends the thread when dropped.
pub(super) struct Tail {
    stop: Arc<AtomicBool>,
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// What the tail works with.
pub(super) struct Surroundings {
    pub(super) options: Arc<Options>,
    pub(super) broker: Arc<Broker>,
    pub(super) health: Arc<Health>,
    pub(super) lag: IntGauge,
    pub(super) partitions: Vec<Arc<Partition>>,
    /// Called about once a second.
    pub(super) each_second: Box<dyn Fn() + Send>,
}

impl Tail {
    /// Starts to follow partitions whose bounds are `bounds`, and returns at once.
    ///
    /// Errors: [`Error::Open`] for settings that make no sense.
    pub(super) fn start(with: Surroundings, bounds: &[(Offset, Offset)]) -> Result<Self, Error> {
        let context = Context { health: Arc::clone(&with.health), watches: true };
        let mut config = with.options.reader()?;
        with.options.set(
            &mut config,
            &[
                ("statistics.interval.ms", "1000"),
                ("fetch.wait.max.ms", "500"),
                ("fetch.max.bytes", "16777216"),
                ("queued.max.messages.kbytes", "16384"),
            ],
        );
        let consumer: BaseConsumer<Context> = config
            .create_with_context(context)
            .map_err(|error| with.options.cannot_open(error.to_string()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let cursors = with
            .partitions
            .iter()
            .zip(bounds)
            .map(|(partition, &(low, high))| {
                let at = high.saturating_sub(WARM_RECORDS).max(low);
                partition.set_start(low);
                partition.begin(at);
                let sieve = if at == low { Sieve::at_log_start } else { Sieve::new };
                Cursor {
                    sieve: sieve(partition.id, at),
                    partition: Arc::clone(partition),
                    expected: at,
                    passing: false,
                    stopped: false,
                    why: None,
                    out: Vec::new(),
                    touched: false,
                }
            })
            .collect();
        let mut thread = Thread { consumer, cursors, with, stop: Arc::clone(&stop) };
        thread.assign();
        std::thread::Builder::new()
            .name("kafka-tail".to_owned())
            .spawn(move || thread.run())
            .map_err(|source| Error::Io { what: "starting the tail".to_owned(), source })?;
        Ok(Self { stop })
    }
}

struct Thread {
    consumer: BaseConsumer<Context>,
    cursors: Vec<Cursor>,
    with: Surroundings,
    stop: Arc<AtomicBool>,
}

/// Where the tail is in one partition.
struct Cursor {
    partition: Arc<Partition>,
    sieve: Sieve,
    /// The next record's offset, if the log has no hole there.
    expected: Offset,
    /// Whether the records are known already: the writer here has published them.
    passing: bool,
    stopped: bool,
    /// Why it stops, until that is told.
    why: Option<Stopped>,
    /// What was decided in this burst.
    out: Vec<Arc<Recorded>>,
    touched: bool,
}

/// What is to be done after a record or an error.
enum Then {
    GoOn,
    Reassign,
    LookAtBounds,
}

impl Thread {
    fn run(&mut self) {
        let mut looked = Instant::now();
        while !self.stop.load(Relaxed) {
            match self.burst() {
                Then::GoOn => {}
                Then::Reassign => self.assign(),
                Then::LookAtBounds => {
                    std::thread::sleep(BACKOFF);
                    self.look_at_bounds();
                    self.assign();
                }
            }
            if looked.elapsed() >= Duration::from_secs(1) {
                looked = Instant::now();
                let lag = self.cursors.iter().map(|cursor| {
                    self.with.health.lag(cursor.partition.id.0, cursor.partition.seen())
                });
                self.with.lag.set(i64::try_from(lag.sum::<u64>()).unwrap_or(i64::MAX));
                (self.with.each_second)();
            }
        }
    }

    /// Takes what has come, at most a burst of it, and publishes it.
    fn burst(&mut self) -> Then {
        let mut then = Then::GoOn;
        for taken in 0..BURST {
            let patience = if taken == 0 { PATIENCE } else { Duration::ZERO };
            then = match self.consumer.poll(patience) {
                None => break,
                Some(Ok(message)) => {
                    let (Ok(partition), Ok(offset)) =
                        (usize::try_from(message.partition()), u64::try_from(message.offset()))
                    else {
                        continue;
                    };
                    match self.cursors.get_mut(partition) {
                        Some(cursor) => cursor.take(offset, &message),
                        None => Then::GoOn,
                    }
                }
                Some(Err(error)) => react(&error),
            };
            if !matches!(then, Then::GoOn) {
                break;
            }
        }
        self.publish();
        then
    }

    fn publish(&mut self) {
        self.cursors.iter_mut().filter(|cursor| cursor.touched).for_each(Cursor::publish);
    }

    /// Has the consumer read on where each cursor is.
    fn assign(&mut self) {
        let mut list = TopicPartitionList::new();
        for cursor in self.cursors.iter().filter(|cursor| !cursor.stopped) {
            let place = Place::Offset(i64::try_from(cursor.expected).unwrap_or(i64::MAX));
            let id = cursor.partition.id.0 as i32;
            if let Err(error) = list.add_partition_offset(&self.with.options.topic, id, place) {
                tracing::error!(partition = id, %error, "the tail can't be placed");
            }
        }
        if let Err(error) = self.consumer.assign(&list) {
            tracing::error!(%error, "the tail can't be assigned its partitions");
        }
    }

    /// The brokers do not have what a cursor wants to read next: either retention was faster, or
    /// they have lost something.
    fn look_at_bounds(&mut self) {
        for cursor in self.cursors.iter_mut().filter(|cursor| !cursor.stopped) {
            let id = cursor.partition.id;
            match self.with.broker.bounds(id) {
                Ok((low, _)) if cursor.expected < low => {
                    tracing::warn!(
                        partition = id.0,
                        from = cursor.expected,
                        to = low,
                        "retention has taken events that the tail had not read yet"
                    );
                    cursor.go_to_start(low);
                }
                Ok((_, high)) if cursor.expected > high => cursor.stop(Stopped::Lost(format!(
                    "the brokers have it up to offset {high}, and it was read up to {} before: \
                     they have lost acknowledged events, or the topic was made anew",
                    cursor.expected
                ))),
                Ok(_) => {}
                Err(error) => {
                    // Each further question would wait as long, and the client is not polled
                    // meanwhile.
                    tracing::debug!(partition = id.0, %error, "the tail waits");
                    break;
                }
            }
        }
        self.publish();
    }
}

impl Cursor {
    fn take(&mut self, offset: Offset, message: &impl Message) -> Then {
        if self.stopped || offset < self.expected {
            return Then::GoOn;
        }
        self.touched = true;
        self.expected = offset + 1;
        if offset < self.partition.end() {
            self.passing = true;
            return Then::GoOn;
        }
        if std::mem::take(&mut self.passing) {
            // All before was published by the writer here, so nothing is open.
            self.sieve = Sieve::at_log_start(self.partition.id, offset);
        }
        if let Err(error) = self.sieve.push(offset, record::decode(message), &mut self.out) {
            let (at, detail) = match error {
                Error::Corrupt { offset, detail, .. } => (offset, detail),
                other => (offset, other.to_string()),
            };
            self.stop(Stopped::Corrupt(at, detail));
            return Then::GoOn;
        }
        match self.sieve.must_start_at() {
            Some(first) => {
                self.go_back_to(first);
                Then::Reassign
            }
            None => Then::GoOn,
        }
    }

    /// The tail began within a transaction. That shows at its first record, while opening.
    fn go_back_to(&mut self, first: Offset) {
        let (id, low) = (self.partition.id, self.partition.start());
        self.expected = first.max(low);
        let sieve = if first < low { Sieve::at_log_start } else { Sieve::new };
        self.sieve = sieve(id, self.expected);
        self.partition.begin(self.expected);
    }

    fn go_to_start(&mut self, low: Offset) {
        self.expected = low;
        self.sieve = Sieve::at_log_start(self.partition.id, low);
        self.passing = false;
        self.out.clear();
        self.partition.skip_to(low);
    }

    fn publish(&mut self) {
        self.touched = false;
        if !self.passing {
            self.partition.publish(&self.out, self.sieve.next());
        }
        self.out.clear();
        match self.why.take() {
            // Told last: what lies before can be read by then.
            Some(why) => self.partition.stop(why),
            None if !self.stopped => self.partition.saw(self.expected),
            None => {}
        }
    }

    fn stop(&mut self, why: Stopped) {
        let id: PartitionId = self.partition.id;
        match &why {
            Stopped::Corrupt(offset, detail) => {
                tracing::error!(partition = id.0, offset, error = detail, "a record is corrupt");
            }
            Stopped::Lost(reason) => {
                tracing::error!(partition = id.0, error = reason, "the partition no longer serves");
            }
        }
        self.stopped = true;
        self.touched = true;
        self.why = Some(why);
    }
}

/// What an error of the consumer asks for. Most pass by themselves.
fn react(error: &KafkaError) -> Then {
    use RDKafkaErrorCode::{AutoOffsetReset, BadMessage, LogTruncation, OffsetOutOfRange};
    match error.rdkafka_error_code() {
        Some(AutoOffsetReset | LogTruncation | OffsetOutOfRange) => Then::LookAtBounds,
        Some(BadMessage) => {
            // The library would go on behind the damaged records: it must not.
            tracing::error!(%error, "the tail has read records that fail their checksum");
            Then::LookAtBounds
        }
        _ => {
            tracing::debug!(%error, "the tail can't read at the moment");
            Then::GoOn
        }
    }
}
