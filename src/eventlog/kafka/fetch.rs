//! Reads what is no longer in memory: a few consumers, each of which remembers where it stopped,
//! so that whoever reads on in order finds what was fetched ahead. Bounded in number and bytes.
//! Decides by the same rule as the tail, and reads nothing at or past the published end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Offset, PartitionId, Recorded};
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset as Place, TopicPartitionList};
use tokio::sync::Semaphore;

use super::broker::Broker;
use super::health::{Context, Health};
use super::options::Options;
use super::partition::Partition;
use super::record;
use super::sieve::Sieve;
use crate::{Error, Read, ReadLimit};

/// Reads of at most so many events are served by readers that fetch little.
const POINT_EVENTS_MAX: usize = 16;
/// Readers of each kind.
const READERS_MAX: usize = 4;
/// A reader that nobody has used for so long stops fetching ahead.
const IDLE: Duration = Duration::from_secs(1);

/// Consumers for older events.
pub(super) struct Fetch {
    scans: Pool,
    points: Pool,
    with: Surroundings,
}

struct Surroundings {
    options: Arc<Options>,
    broker: Arc<Broker>,
    health: Arc<Health>,
}

/// Readers of one kind.
struct Pool {
    idle: Mutex<Vec<Reader>>,
    turns: Semaphore,
    kind: &'static [(&'static str, &'static str)],
}

/// Much at once, and more ahead.
const SCAN: [(&str, &str); 5] = [
    ("fetch.wait.max.ms", "5"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.max.bytes", "9437184"),
    ("queued.max.messages.kbytes", "4096"),
    ("queued.min.messages", "100000"),
];

/// Little at once, and nothing ahead.
const POINT: [(&str, &str); 5] = [
    ("fetch.wait.max.ms", "5"),
    ("fetch.message.max.bytes", "32768"),
    ("fetch.max.bytes", "9437184"),
    ("queued.max.messages.kbytes", "1024"),
    ("queued.min.messages", "1"),
];

impl Fetch {
    pub(super) fn new(options: Arc<Options>, broker: Arc<Broker>, health: Arc<Health>) -> Self {
        let pool = |kind| Pool { idle: Mutex::default(), turns: Semaphore::new(READERS_MAX), kind };
        let with = Surroundings { options, broker, health };
        Self { scans: pool(&SCAN), points: pool(&POINT), with }
    }

    /// Reads events of `from..end`, where `end` was published.
    ///
    /// Errors: [`Error::Unreachable`] when the brokers don't answer in time, [`Error::Trimmed`],
    /// [`Error::Corrupt`].
    pub(super) async fn read(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        from: Offset,
        end: Offset,
        limit: ReadLimit,
    ) -> Result<Read, Error> {
        let few = limit.events_max <= POINT_EVENTS_MAX;
        let turn = self.pool(few).turns.acquire().await;
        let _turn = turn.map_err(|error| Error::Unreachable { reason: error.to_string() })?;
        let (fetch, partition) = (Arc::clone(self), Arc::clone(partition));
        let read = move || fetch.read_blocking(few, &partition, from, end, limit);
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| Error::Unreachable { reason: error.to_string() })?
    }

    /// Has readers that nobody uses fetch no further, and forget what they hold.
    pub(super) fn rest(&self) {
        for pool in [&self.scans, &self.points] {
            let mut idle = pool.idle.lock();
            for reader in idle.iter_mut().filter(|reader| reader.used.elapsed() > IDLE) {
                reader.leave();
            }
        }
    }

    fn pool(&self, few: bool) -> &Pool {
        if few { &self.points } else { &self.scans }
    }

    fn read_blocking(
        &self,
        few: bool,
        partition: &Partition,
        from: Offset,
        end: Offset,
        limit: ReadLimit,
    ) -> Result<Read, Error> {
        let pool = self.pool(few);
        let mut reader = match pool.take(partition.id, from) {
            Some(reader) => reader,
            None => Reader::new(&self.with, pool.kind)?,
        };
        let read = reader.read(&self.with, partition, from, end, limit);
        match &read {
            // At the end there is nothing to fetch ahead: the ring has what follows.
            Ok(read) if read.next < end => {}
            _ => reader.leave(),
        }
        reader.used = Instant::now();
        pool.idle.lock().push(reader);
        read
    }
}

impl Pool {
    /// The reader that stopped at this place; else, once there are enough, the one that was unused
    /// for longest.
    fn take(&self, partition: PartitionId, next: Offset) -> Option<Reader> {
        let mut idle = self.idle.lock();
        let here = idle.iter().position(|reader| {
            reader.at.as_ref().is_some_and(|at| at.partition == partition && at.next == next)
        });
        let resting = || idle.iter().position(|reader| reader.at.is_none());
        let oldest = || {
            // One turn is the caller's; each of the others that is taken has a reader of its own.
            let full = idle.len() > self.turns.available_permits();
            let oldest = idle.iter().enumerate().min_by_key(|(_, reader)| reader.used);
            oldest.filter(|_| full).map(|(index, _)| index)
        };
        let index = here.or_else(resting).or_else(oldest)?;
        Some(idle.swap_remove(index))
    }
}

/// A consumer and where it is.
struct Reader {
    consumer: BaseConsumer<Context>,
    at: Option<At>,
    used: Instant,
}

struct At {
    partition: PartitionId,
    /// Where the next read goes on.
    next: Offset,
    /// The next record.
    expected: Offset,
    sieve: Sieve,
    /// Decided and not handed out yet.
    ready: VecDeque<Arc<Recorded>>,
}

impl Reader {
    fn new(with: &Surroundings, kind: &[(&str, &str)]) -> Result<Self, Error> {
        let mut config = with.options.reader()?;
        // Not for `properties` to change: what is kept in memory is bounded by these.
        for (name, value) in kind {
            config.set(*name, *value);
        }
        let context = Context { health: Arc::clone(&with.health), watches: false };
        let consumer = config
            .create_with_context(context)
            .map_err(|error| with.options.cannot_open(error.to_string()))?;
        Ok(Self { consumer, at: None, used: Instant::now() })
    }

    /// Fetches nothing until it is used again.
    fn leave(&mut self) {
        if self.at.take().is_some()
            && let Err(error) = self.consumer.unassign()
        {
            tracing::debug!(%error, "a reader can't be unassigned");
        }
    }

    fn go_to(&mut self, with: &Surroundings, at: At) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        let place = Place::Offset(i64::try_from(at.expected).unwrap_or(i64::MAX));
        let id = at.partition.0 as i32;
        list.add_partition_offset(&with.options.topic, id, place)
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| Error::Unreachable { reason: error.to_string() })?;
        self.at = Some(at);
        Ok(())
    }

    fn read(
        &mut self,
        with: &Surroundings,
        partition: &Partition,
        from: Offset,
        end: Offset,
        limit: ReadLimit,
    ) -> Result<Read, Error> {
        let start = partition.start();
        if !self.at.as_ref().is_some_and(|at| at.partition == partition.id && at.next == from) {
            self.go_to(with, At::new(partition.id, from, from, start))?;
        }
        let deadline = Instant::now() + with.options.reach_wait;
        let mut taken = Taken { events: Vec::new(), bytes: 0, end, limit };
        let mut out = Vec::new();
        loop {
            let Some(at) = &mut self.at else {
                return Err(Error::Unreachable { reason: "a reader lost its place".to_owned() });
            };
            if let Some(next) = taken.take(at) {
                at.next = next;
                return Ok(Read { events: taken.events, next });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = if taken.events.is_empty() { left } else { Duration::ZERO };
            match self.consumer.poll(patience) {
                None if !taken.events.is_empty() => {
                    at.next = at.sieve.next().max(from);
                    return Ok(Read { events: taken.events, next: at.next });
                }
                None if left.is_zero() => {
                    let (id, wait) = (partition.id, with.options.reach_wait.as_secs_f32());
                    let reason = format!("no record {} of partition {id} in {wait} s", at.expected);
                    return Err(Error::Unreachable { reason });
                }
                None => continue,
                Some(Ok(message)) => {
                    let offset = u64::try_from(message.offset()).unwrap_or_default();
                    if message.partition() != partition.id.0 as i32 || offset < at.expected {
                        continue;
                    }
                    at.expected = offset + 1;
                    let pushed = at.sieve.push(offset, record::decode(&message), &mut out);
                    at.ready.extend(out.drain(..).filter(|event| event.position.offset >= from));
                    // What lies before a corrupt record is handed out first.
                    if pushed.is_err() && at.ready.is_empty() && taken.events.is_empty() {
                        pushed?;
                    }
                    if let Some(first) = at.sieve.must_start_at() {
                        drop(message);
                        self.go_to(with, At::new(partition.id, from, first, start))?;
                    }
                }
                Some(Err(error)) => match failure(with, partition, from, at.expected, &error) {
                    Some(error) if taken.events.is_empty() => return Err(error),
                    _ => {}
                },
            }
        }
    }
}

impl At {
    /// To read from `from` on, beginning with the record `first`, where the log starts at `start`.
    fn new(partition: PartitionId, from: Offset, first: Offset, start: Offset) -> Self {
        let expected = first.max(start);
        let sieve = if first <= start { Sieve::at_log_start } else { Sieve::new };
        let sieve = sieve(partition, expected);
        Self { partition, next: from, expected, sieve, ready: VecDeque::new() }
    }
}

/// What a read has so far.
struct Taken {
    events: Vec<Arc<Recorded>>,
    bytes: usize,
    end: Offset,
    limit: ReadLimit,
}

impl Taken {
    /// Takes what is ready; says where to read on once the limit or the end is reached.
    fn take(&mut self, at: &mut At) -> Option<Offset> {
        while let Some(event) = at.ready.front() {
            let offset = event.position.offset;
            if offset >= self.end {
                return Some(self.end);
            }
            let bytes = self.bytes + event.event.weight();
            if !self.limit.admits(self.events.len(), bytes) {
                return Some(self.events.last().map_or(at.next, |last| last.position.offset + 1));
            }
            self.bytes = bytes;
            self.events.extend(at.ready.pop_front());
        }
        (at.sieve.next() >= self.end).then_some(self.end)
    }
}

/// What an error of the consumer means for the read; `None` for one that may pass by itself.
fn failure(
    with: &Surroundings,
    partition: &Partition,
    asked: Offset,
    expected: Offset,
    error: &KafkaError,
) -> Option<Error> {
    use RDKafkaErrorCode::{AutoOffsetReset, BadMessage, LogTruncation, OffsetOutOfRange};
    let id = partition.id;
    match error.rdkafka_error_code() {
        Some(AutoOffsetReset | LogTruncation | OffsetOutOfRange) => {
            match with.broker.bounds(id) {
                Ok((low, _)) => partition.set_start(low),
                Err(error) => return Some(error),
            }
            let start = partition.start();
            Some(if asked < start {
                Error::Trimmed { partition: id, asked, start }
            } else {
                Error::Unreachable { reason: format!("partition {id} at {expected}: {error}") }
            })
        }
        Some(BadMessage) => Some(Error::Corrupt {
            partition: id,
            offset: expected,
            detail: "its batch fails its checksum".to_owned(),
        }),
        _ => {
            tracing::debug!(partition = id.0, %error, "a reader waits");
            None
        }
    }
}
