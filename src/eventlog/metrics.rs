//! What the logs count for an operator: appends, their time and size, segments and bytes on disk.
//! Labelled by topic, of which there are few; never by project or partition.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Starts the name of each metric of this crate.
const PREFIX: &str = "headwater_log";

/// Bounds of the append histogram, in seconds: from a fast disk's fsync to a stalled one.
const APPEND_SECONDS: [f64; 14] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// The metrics of all topics of a process. Cloning gives another handle of the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    append_seconds: HistogramVec,
    append_bytes: IntCounterVec,
    append_events: IntCounterVec,
    segments: IntGaugeVec,
    bytes: IntGaugeVec,
    tail_lag: IntGaugeVec,
}

impl Metrics {
    /// Makes the metrics and registers them, once per registry.
    ///
    /// Errors: the registry has metrics of these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let label = &["topic"];
        let counter = |name: &str, help: &str| IntCounterVec::new(opts(name, help), label);
        let gauge = |name: &str, help: &str| IntGaugeVec::new(opts(name, help), label);
        let seconds = HistogramOpts::from(opts(
            "append_seconds",
            "Seconds from the start of an append until its events were durable.",
        ));
        let metrics = Self {
            append_seconds: HistogramVec::new(seconds.buckets(APPEND_SECONDS.to_vec()), label)?,
            append_bytes: counter("append_bytes_total", "Bytes that appends wrote.")?,
            append_events: counter("append_events_total", "Events that were appended.")?,
            segments: gauge("segments", "Segment files on disk.")?,
            bytes: gauge("bytes", "Bytes of all segment files.")?,
            tail_lag: gauge(
                "tail_lag_records",
                "Records that the brokers have and this node has not read yet.",
            )?,
        };
        registry.register(Box::new(metrics.append_seconds.clone()))?;
        registry.register(Box::new(metrics.append_bytes.clone()))?;
        registry.register(Box::new(metrics.append_events.clone()))?;
        registry.register(Box::new(metrics.segments.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.tail_lag.clone()))?;
        Ok(metrics)
    }

    /// How far the reader of a topic's tail is behind the brokers, in records.
    #[cfg(feature = "kafka")]
    pub(crate) fn tail_lag(&self, topic: &str) -> IntGauge {
        self.tail_lag.with_label_values(&[topic])
    }

    /// The numbers of one topic.
    pub(crate) fn of_topic(&self, topic: &str) -> TopicMetrics {
        let label = &[topic];
        // Shown also where nothing can be behind.
        self.tail_lag.with_label_values(label).set(0);
        TopicMetrics {
            append_seconds: self.append_seconds.with_label_values(label),
            append_bytes: self.append_bytes.with_label_values(label),
            append_events: self.append_events.with_label_values(label),
            segments: self.segments.with_label_values(label),
            bytes: self.bytes.with_label_values(label),
        }
    }
}

/// The numbers of one topic.
pub(crate) struct TopicMetrics {
    /// Seconds of each successful append.
    pub(crate) append_seconds: Histogram,
    /// Bytes that successful appends wrote.
    pub(crate) append_bytes: IntCounter,
    /// Events that were appended.
    pub(crate) append_events: IntCounter,
    /// Segment files on disk.
    pub(crate) segments: IntGauge,
    /// Bytes of all segment files.
    pub(crate) bytes: IntGauge,
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}_{name}"), help)
}
