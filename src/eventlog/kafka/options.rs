//! What a topic on Kafka is opened with, and the client settings that follow from it. Settings
//! that the log's promises rest on can't be changed from outside: they are refused by name.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::{Error, Retention};

/// Largest record batch that the brokers must take, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Largest event, in bytes of key, headers and value: one batch with room for its framing.
pub(super) const EVENT_BYTES_MAX: usize = MESSAGE_BYTES_MAX - (64 << 10);

/// Client properties that are ours. Any other value of theirs would break a promise.
const OURS: [&str; 29] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "check.crcs",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "linger.ms",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "request.required.acks",
    "retries",
    "statistics.interval.ms",
    "transactional.id",
];

/// Where a topic is and how it is read and written.
#[derive(Clone)]
pub struct Options {
    /// Brokers to ask first, as `host:port`, with commas between them.
    pub brokers: String,
    /// The topic's name.
    pub topic: String,
    /// How many partitions. The topic is made with as many; one that has another number is
    /// refused.
    pub partitions: u32,
    /// What the brokers may take away. The topic's settings must say the same.
    pub retention: Retention,
    /// After how long a segment ends: only whole ones are taken away. Where not given, as the
    /// brokers have it.
    pub segment: Option<Duration>,
    /// Copies of each partition when the topic is made. Where not given: 3, or as many as there are
    /// brokers.
    pub replication: Option<i16>,
    /// Copies that must have an event before it is acknowledged, when the topic is made. Where not
    /// given: 2, or 1 where there is only one copy.
    pub min_insync: Option<u16>,
    /// Whether one copy of each partition will do although there are several brokers.
    pub allow_single_replica: bool,
    /// Bytes of the newest events kept in memory, per partition, by [`domain::Event::weight`].
    pub ring_bytes: usize,
    /// How long an append waits for the brokers before it is given up as [`Error::Unsure`].
    pub append_wait: Duration,
    /// How long anything else waits for the brokers before it is [`Error::Unreachable`].
    pub reach_wait: Duration,
    /// The group that shares out the partitions among the nodes.
    pub group: String,
    /// Where other nodes reach this one, for those who ask for the owner of a partition.
    pub advertise: String,
    /// Further settings of the Kafka client by their librdkafka names: `security.protocol`,
    /// `sasl.*`, `ssl.*`, `client.id` ….
    pub properties: BTreeMap<String, String>,
}

/// Without the values of `properties`: one of them may be a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Taken apart, so that a new field is not forgotten here.
        let Self {
            brokers,
            topic,
            partitions,
            retention,
            segment,
            replication,
            min_insync,
            allow_single_replica,
            ring_bytes,
            append_wait,
            reach_wait,
            group,
            advertise,
            properties,
        } = self;
        f.debug_struct("Options")
            .field("brokers", brokers)
            .field("topic", topic)
            .field("partitions", partitions)
            .field("retention", retention)
            .field("segment", segment)
            .field("replication", replication)
            .field("min_insync", min_insync)
            .field("allow_single_replica", allow_single_replica)
            .field("ring_bytes", ring_bytes)
            .field("append_wait", append_wait)
            .field("reach_wait", reach_wait)
            .field("group", group)
            .field("advertise", advertise)
            .field("properties", &properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl Options {
    /// The defaults: kept for ever, 1 MiB in memory per partition, 8 s for an append and 8 s for
    /// anything else, the group `headwater`, nothing said about replicas.
    pub fn new(brokers: &str, topic: &str, partitions: u32) -> Self {
        Self {
            brokers: brokers.to_owned(),
            topic: topic.to_owned(),
            partitions,
            retention: Retention::default(),
            segment: None,
            replication: None,
            min_insync: None,
            allow_single_replica: false,
            ring_bytes: 1 << 20,
            append_wait: Duration::from_secs(8),
            reach_wait: Duration::from_secs(8),
            group: "headwater".to_owned(),
            advertise: String::new(),
            properties: BTreeMap::new(),
        }
    }

    /// What every client of ours is made with.
    ///
    /// Errors: [`Error::Open`] for a property that is ours.
    pub(super) fn client(&self) -> Result<ClientConfig, Error> {
        if let Some(name) = self.properties.keys().find(|name| OURS.contains(&name.as_str())) {
            return Err(self.cannot_open(format!(
                "the property {name} can't be set: the log's promises rest on the value that \
                 Headwater gives it; remove it"
            )));
        }
        let mut config = ClientConfig::new();
        self.set(
            &mut config,
            &[
                ("client.id", "headwater"),
                ("allow.auto.create.topics", "false"),
                ("log.connection.close", "false"),
                ("socket.keepalive.enable", "true"),
                ("reconnect.backoff.ms", "50"),
                ("reconnect.backoff.max.ms", "1000"),
            ],
        );
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config.set_log_level(RDKafkaLogLevel::Warning);
        Ok(config)
    }

    /// Sets what `properties` do not say otherwise.
    pub(super) fn set(&self, config: &mut ClientConfig, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            if !self.properties.contains_key(*name) {
                config.set(*name, *value);
            }
        }
    }

    /// What a client that reads without being a member of the group is made with. The group is
    /// named because the library wants one; nothing is ever stored for it.
    ///
    /// Errors: as [`Options::client`].
    pub(super) fn reader(&self) -> Result<ClientConfig, Error> {
        let mut config = self.client()?;
        self.set(
            &mut config,
            &[
                ("group.id", &self.group),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("isolation.level", "read_uncommitted"),
                ("check.crcs", "true"),
                ("fetch.error.backoff.ms", "50"),
                ("fetch.queue.backoff.ms", "5"),
            ],
        );
        Ok(config)
    }

    pub(super) fn cannot_open(&self, reason: impl Into<String>) -> Error {
        let path = format!("topic {} of {}", self.topic, self.brokers);
        Error::Open { path, reason: reason.into() }
    }
}
