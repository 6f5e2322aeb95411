//! The log on Apache Kafka: one topic, one writer per partition, any number of nodes. A writer is
//! kept single by the log itself: a record counts only at the offset that its writer expected, see
//! `sieve`. Reads never show what a later owner could undo. Nothing is kept on this machine.

#[cfg(any(test, feature = "bench"))]
pub mod bench;
mod broker;
pub mod ephemeral;
mod fetch;
mod group;
mod health;
mod options;
mod partition;
mod producer;
mod record;
mod ring;
mod sieve;
mod tail;
#[cfg(test)]
mod tests;
mod topic;
mod writer;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use domain::{Event, Offset, PartitionId, Recorded, Timestamp};
use tokio::sync::watch;

pub use self::group::{Group, Timing};
pub use self::options::Options;

use self::broker::Broker;
use self::fetch::Fetch;
use self::health::Health;
use self::partition::Partition;
use self::tail::Tail;
use self::writer::Writer;
use crate::metrics::Metrics;
use crate::{Error, EventLog, Read, ReadLimit, no_partition};

/// An open topic.
pub struct Log {
    options: Arc<Options>,
    broker: Arc<Broker>,
    health: Arc<Health>,
    fetch: Arc<Fetch>,
    lanes: Vec<Lane>,
    /// Whether an acknowledged event is on two brokers or more, by the topic as it was opened.
    replicated: bool,
    /// Ends the thread that follows the partitions.
    _tail: Tail,
}

/// What belongs to one partition.
struct Lane {
    partition: Arc<Partition>,
    writer: Writer,
    /// When the last answer about the partition's end was asked for, and what it was. Held while
    /// asking, so that those who ask meanwhile share the next answer.
    asked: tokio::sync::Mutex<Option<(Instant, Offset)>>,
}

impl Log {
    /// Opens the topic, and makes it where it is missing. Returns once everything that was
    /// acknowledged before the call can be read.
    ///
    /// Errors: [`Error::Open`] when the topic's settings don't keep what the log promises, with
    /// the command that mends it, or when an option makes no sense; [`Error::Unreachable`].
    pub async fn open(options: Options, metrics: &Metrics) -> Result<Self, Error> {
        let options = Arc::new(options);
        let health = Arc::new(Health::default());
        let broker = Arc::new(Broker::new(&options, &health)?);
        let replicated = topic::ensure(&options, &broker, &health).await?;
        let lag = metrics.tail_lag(&options.topic);
        let metrics = Arc::new(metrics.of_topic(&options.topic));
        let lanes: Vec<_> = (0..options.partitions)
            .map(|id| {
                let partition = Arc::new(Partition::new(PartitionId(id), options.ring_bytes));
                let writer =
                    Writer::new(Arc::clone(&options), Arc::clone(&partition), Arc::clone(&metrics));
                writer.prepare();
                Lane { partition, writer, asked: tokio::sync::Mutex::default() }
            })
            .collect();
        let partitions: Vec<_> = lanes.iter().map(|lane| Arc::clone(&lane.partition)).collect();
        let mut bounds = Vec::with_capacity(lanes.len());
        for partition in &partitions {
            let id = partition.id;
            bounds.push(ask(&broker, move |broker| broker.bounds(id)).await?);
        }
        let fetch =
            Arc::new(Fetch::new(Arc::clone(&options), Arc::clone(&broker), Arc::clone(&health)));
        let with = tail::Surroundings {
            options: Arc::clone(&options),
            broker: Arc::clone(&broker),
            health: Arc::clone(&health),
            lag,
            partitions: partitions.clone(),
            each_second: {
                let fetch = Arc::clone(&fetch);
                Box::new(move || fetch.rest())
            },
        };
        let tail = Tail::start(with, &bounds)?;
        for (partition, (_, high)) in partitions.iter().zip(bounds) {
            match partition.wait_seen(high, options.reach_wait).await {
                // A corrupt record stops its partition, not the others.
                Ok(()) | Err(Error::Corrupt { .. } | Error::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { options, broker, health, fetch, lanes, replicated, _tail: tail })
    }

    fn lane(&self, id: PartitionId) -> Result<&Lane, Error> {
        self.lanes.get(id.0 as usize).ok_or_else(|| no_partition(id))
    }

    /// Refreshes what is known of a partition's start.
    async fn refresh_start(&self, lane: &Lane) -> Result<Offset, Error> {
        let id = lane.partition.id;
        let (low, _) = ask(&self.broker, move |broker| broker.bounds(id)).await?;
        lane.partition.set_start(low);
        Ok(lane.partition.start())
    }
}

#[async_trait]
impl EventLog for Log {
    fn partition_count(&self) -> u32 {
        self.options.partitions
    }

    fn start(&self, partition: PartitionId) -> Offset {
        self.lane(partition).map_or(0, |lane| lane.partition.start())
    }

    fn end(&self, partition: PartitionId) -> Offset {
        self.lane(partition).map_or(0, |lane| lane.partition.end())
    }

    fn watch_end(&self, partition: PartitionId) -> watch::Receiver<Offset> {
        match self.lane(partition) {
            Ok(lane) => lane.partition.watch_end(),
            Err(_) => watch::channel(0).1,
        }
    }

    async fn refresh_end(&self, partition: PartitionId) -> Result<Offset, Error> {
        let lane = self.lane(partition)?;
        let called = Instant::now();
        let mut asked = lane.asked.lock().await;
        let high = match *asked {
            // Somebody has asked since, on behalf of all who waited.
            Some((when, high)) if when >= called => high,
            _ => {
                let when = Instant::now();
                let (low, high) = ask(&self.broker, move |broker| broker.bounds(partition)).await?;
                lane.partition.set_start(low);
                *asked = Some((when, high));
                high
            }
        };
        drop(asked);
        lane.partition.wait_seen(high, self.options.reach_wait).await?;
        Ok(lane.partition.end())
    }

    async fn take_over(&self, partition: PartitionId, node: &str) -> Result<Offset, Error> {
        self.lane(partition)?.writer.take_over(node).await
    }

    fn resign(&self, partition: PartitionId) {
        if let Ok(lane) = self.lane(partition) {
            lane.writer.resign();
        }
    }

    fn trouble(&self) -> Option<String> {
        self.health.trouble()
    }

    fn durability(&self) -> Option<&'static str> {
        Some(if self.replicated { "replicated" } else { "single-copy" })
    }

    async fn append(
        &self,
        partition: PartitionId,
        events: Vec<Event>,
    ) -> Result<Vec<Arc<Recorded>>, Error> {
        self.lane(partition)?.writer.append(events).await
    }

    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Read, Error> {
        let partition = &self.lane(partition)?.partition;
        match partition.read_ring(from, limit)? {
            Some(read) => Ok(read),
            None => self.fetch.read(partition, from, partition.end(), limit).await,
        }
    }

    async fn offset_after(&self, partition: PartitionId, time: Timestamp) -> Result<Offset, Error> {
        let end = self.lane(partition)?.partition.end();
        let time_ms = time.as_micros().div_euclid(1000);
        let found = ask(&self.broker, move |broker| broker.offset_at(partition, time_ms)).await?;
        // No event before this is later than `time`. From here on each is looked at, for Kafka
        // knows milliseconds only, and records that do not count have times too.
        let Some(mut next) = found.filter(|offset| *offset < end) else { return Ok(end) };
        next = next.max(self.start(partition));
        while next < end {
            let limit = ReadLimit { events_max: 256, bytes_max: 1 << 20 };
            let read = self.read(partition, next, limit).await?;
            if let Some(later) = read.events.iter().find(|recorded| recorded.event.time > time) {
                return Ok(later.position.offset);
            }
            next = read.next;
        }
        Ok(next)
    }

    async fn trim(&self, partition: PartitionId, _now: Timestamp) -> Result<Offset, Error> {
        // The brokers apply the topic's retention; here it only becomes known.
        self.refresh_start(self.lane(partition)?).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.lanes.iter().for_each(|lane| lane.writer.close());
        Ok(())
    }
}

/// Asks the brokers where it stops no other task.
async fn ask<T: Send + 'static>(
    broker: &Arc<Broker>,
    question: impl FnOnce(&Broker) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let broker = Arc::clone(broker);
    let answer = tokio::task::spawn_blocking(move || question(&broker)).await;
    answer.map_err(|error| Error::Unreachable { reason: error.to_string() })?
}
