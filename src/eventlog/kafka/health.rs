//! What the Kafka client tells of itself: which brokers it reaches, how far behind it is, and its
//! log. Keeps only what an operator is told; decides nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Deserialize;

/// Statistics in a row without a connection, or an attempt at one, after which the brokers count as
/// unreachable. While a client lacks a partition's leader it tries only now and then, and for so
/// short a time that the statistics, once a second, may never see it.
const IDLE_MAX: u32 = 3;

/// Whether the brokers can be reached.
#[derive(Default)]
pub(super) struct Health {
    down: Mutex<Option<Down>>,
    /// Statistics in a row in which no broker was connected to.
    unconnected: AtomicU32,
    /// The end of each partition at the brokers, as last heard.
    broker_ends: Mutex<HashMap<i32, i64>>,
    /// Why a connection failed last.
    failure: Mutex<Option<String>>,
}

struct Down {
    since: Timestamp,
    brokers: BTreeSet<String>,
    last_error: Option<String>,
}

impl Health {
    /// What is wrong, if no broker can be reached.
    pub(super) fn trouble(&self) -> Option<String> {
        let down = self.down.lock();
        let down = down.as_ref()?;
        let brokers = down.brokers.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let error = down.last_error.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
        Some(format!("no Kafka broker can be reached since {}: {brokers}{error}", down.since))
    }

    /// How many records the brokers have of a partition beyond `seen`, as last heard.
    pub(super) fn lag(&self, partition: u32, seen: u64) -> u64 {
        let ends = self.broker_ends.lock();
        let end = ends.get(&(partition as i32)).copied().unwrap_or_default();
        u64::try_from(end).unwrap_or_default().saturating_sub(seen)
    }

    /// Why a connection failed last.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    fn heard(&self, statistics: Statistics<'_>) {
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            self.unconnected.store(0, Relaxed);
            if self.down.lock().take().is_some() {
                tracing::info!("a Kafka broker can be reached again");
            }
        } else {
            let idle = self.unconnected.fetch_add(1, Relaxed) >= IDLE_MAX;
            let known = statistics.brokers.values();
            let tried = known.filter(|broker| idle || broker.state != "INIT");
            let names = tried.filter_map(|broker| Some(broker.name.split_once('/')?.0.to_owned()));
            self.set_down(names.filter(|name| name.contains(':')).collect(), None);
        }
        let mut ends = self.broker_ends.lock();
        for partition in statistics.topics.into_values().flat_map(|t| t.partitions.into_values()) {
            ends.insert(partition.partition, partition.hi_offset);
        }
    }

    fn set_down(&self, brokers: BTreeSet<String>, error: Option<String>) {
        let mut down = self.down.lock();
        if let Some(down) = &mut *down {
            down.brokers.extend(brokers);
            down.last_error = error.or(down.last_error.take());
        } else if !brokers.is_empty() {
            tracing::warn!(brokers = ?brokers, "no Kafka broker can be reached");
            *down = Some(Down { since: now(), brokers, last_error: error });
        }
    }
}

/// The present time.
pub(super) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// The part of librdkafka's statistics that we use.
#[derive(Deserialize)]
struct Statistics<'a> {
    #[serde(borrow)]
    brokers: HashMap<&'a str, Broker<'a>>,
    #[serde(borrow, default)]
    topics: HashMap<&'a str, Topic<'a>>,
}

#[derive(Deserialize)]
struct Broker<'a> {
    name: &'a str,
    state: &'a str,
}

#[derive(Deserialize)]
struct Topic<'a> {
    #[serde(borrow)]
    partitions: HashMap<&'a str, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: i32,
    hi_offset: i64,
}

/// The callbacks of a client that only asks or reads. `watches` says whether its view of the
/// brokers is the one to tell.
pub(super) struct Context {
    pub(super) health: Arc<Health>,
    pub(super) watches: bool,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(statistics) if self.watches => self.health.heard(statistics),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the Kafka client's statistics make no sense"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the Kafka client reports an error");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        *self.health.failure.lock() = Some(reason.to_owned());
        if self.watches {
            // Names come with the statistics; this one only says why.
            self.health.set_down(BTreeSet::new(), Some(reason.to_owned()));
        }
    }
}

impl ConsumerContext for Context {}

/// Hands a line of librdkafka's log on. It repeats itself at every attempt to connect, so that
/// only what is worse than a warning is shown by default.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(health: &Health, states: &[&str]) {
        let brokers = states.iter().enumerate().map(|(id, state)| {
            let name = format!("127.0.0.1:{}/{id}", 9092 + id);
            (name.clone(), serde_json::json!({"name": name, "state": state}))
        });
        let mut brokers: serde_json::Map<_, _> = brokers.collect();
        let itself = serde_json::json!({"name": "GroupCoordinator", "state": "INIT"});
        brokers.insert("GroupCoordinator".to_owned(), itself);
        let text = serde_json::json!({"brokers": brokers}).to_string();
        health.heard(serde_json::from_str(&text).expect("statistics"));
    }

    #[test]
    fn brokers_are_down_when_tried_in_vain_or_not_connected_for_long() {
        let tried = Health::default();
        heard(&tried, &["INIT", "TRY_CONNECT"]);
        let told = tried.trouble().expect("one was tried");
        assert!(told.contains("127.0.0.1:9093") && !told.contains("Coordinator"), "{told}");

        let idle = Health::default();
        heard(&idle, &["UP", "INIT"]);
        for _ in 0..IDLE_MAX {
            heard(&idle, &["INIT", "INIT"]);
            assert_eq!(idle.trouble(), None, "it may be about to connect");
        }
        heard(&idle, &["INIT", "INIT"]);
        let told = idle.trouble().expect("no connection for long");
        assert!(told.contains("127.0.0.1:9092") && told.contains("127.0.0.1:9093"), "{told}");
        heard(&idle, &["INIT", "UP"]);
        assert_eq!(idle.trouble(), None);
        heard(&idle, &["INIT", "INIT"]);
        assert_eq!(idle.trouble(), None, "counted anew");
    }
}
