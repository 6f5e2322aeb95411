//! What is asked of the brokers beside reading and writing: metadata, where a partition starts and
//! ends, which offset a time has. A client of its own, so that no answer waits behind a fetch.
//! Every function blocks, for `reach_wait` at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Offset, PartitionId};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::Metadata;
use rdkafka::{Offset as Place, TopicPartitionList};

use super::health::{Context, Health};
use super::options::Options;
use crate::Error;

/// How long to wait before a question is asked again.
const RETRY: Duration = Duration::from_millis(20);
/// Events of the library's own that are looked at when there was no answer.
const EVENTS_MAX: usize = 64;

/// A client that only asks.
pub(super) struct Broker {
    consumer: BaseConsumer<Context>,
    topic: String,
    wait: Duration,
    health: Arc<Health>,
}

impl Broker {
    /// Errors: [`Error::Open`] for settings that make no sense.
    pub(super) fn new(options: &Options, health: &Arc<Health>) -> Result<Self, Error> {
        let context = Context { health: Arc::clone(health), watches: false };
        let consumer = options
            .client()?
            .create_with_context(context)
            .map_err(|error| options.cannot_open(error.to_string()))?;
        let (topic, wait, health) = (options.topic.clone(), options.reach_wait, Arc::clone(health));
        Ok(Self { consumer, topic, wait, health })
    }

    /// All brokers and topics.
    ///
    /// Errors: [`Error::Unreachable`].
    pub(super) fn metadata(&self) -> Result<Metadata, Error> {
        self.ask("the list of topics", |left| self.consumer.fetch_metadata(None, left))
    }

    /// The oldest offset of a partition, and the one after its newest acknowledged record.
    ///
    /// Errors: [`Error::Unreachable`].
    pub(super) fn bounds(&self, partition: PartitionId) -> Result<(Offset, Offset), Error> {
        let (low, high) = self.ask(&format!("the bounds of partition {partition}"), |left| {
            self.consumer.fetch_watermarks(&self.topic, partition.0 as i32, left)
        })?;
        Ok((u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0)))
    }

    /// The offset of the first record whose time is not before `time_ms`, in milliseconds since
    /// 1970; `None` when there is none.
    ///
    /// Errors: [`Error::Unreachable`].
    pub(super) fn offset_at(
        &self,
        partition: PartitionId,
        time_ms: i64,
    ) -> Result<Option<Offset>, Error> {
        let found =
            self.ask(&format!("the offset of a time in partition {partition}"), |left| {
                let mut asked = TopicPartitionList::new();
                let place = Place::Offset(time_ms.max(0));
                asked.add_partition_offset(&self.topic, partition.0 as i32, place)?;
                let found = self.consumer.offsets_for_times(asked, left)?;
                let found = found.elements().first().map(|element| {
                    element.error()?;
                    Ok(element.offset())
                });
                found.transpose()
            })?;
        match found {
            Some(Place::Offset(offset)) => Ok(u64::try_from(offset).ok()),
            _ => Ok(None),
        }
    }

    /// The brokers have not answered; says also why no connection came about.
    fn unreachable(&self, what: &str, error: &KafkaError) -> Error {
        // The library tells that only when it is polled. Nothing else ever comes from here.
        for _ in 0..EVENTS_MAX {
            let _ = self.consumer.poll(Duration::ZERO);
        }
        match self.health.failure() {
            Some(why) => unreachable(what, &format!("{error}; {why}")),
            None => unreachable(what, error),
        }
    }

    /// Asks until there is an answer: brokers that start, or a leader that has just changed, first
    /// say no.
    fn ask<T>(
        &self,
        what: &str,
        question: impl Fn(Duration) -> KafkaResult<T>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match question(left.max(RETRY)) {
                Ok(answer) => return Ok(answer),
                Err(error) if left < RETRY => return Err(self.unreachable(what, &error)),
                Err(_) => std::thread::sleep(RETRY),
            }
        }
    }
}

/// The brokers have not answered.
pub(super) fn unreachable(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Unreachable { reason: format!("asked for {what}: {error}") }
}
