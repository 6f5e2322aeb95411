//! The engine's metrics; names and meanings are listed in docs/METRICS.md.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Starts the name of each metric.
const NAMESPACE: &str = "headwater";

/// Seconds, from 50 µs to 10 s.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// What the engine counts.
#[derive(Debug)]
pub struct Metrics {
    pub(crate) queue_commands: IntGaugeVec,
    pub(crate) queue_wait_seconds: Histogram,
    pub(crate) batch_commands: Histogram,
    pub(crate) apply_seconds: HistogramVec,
    pub(crate) consumer_lag_events: IntGaugeVec,
    pub(crate) append_conflicts: IntCounter,
    pub(crate) rejected: IntCounter,
    pub(crate) replayed: IntCounter,
    pub(crate) busy: IntCounter,
    pub(crate) forwarded: IntCounter,
    pub(crate) read_wait_seconds: Histogram,
    pub(crate) hub_events: IntCounter,
    pub(crate) hub_frames: IntCounter,
    pub(crate) socket_resync: IntCounter,
    pub(crate) live_refills: IntCounter,
    pub(crate) subscriptions: IntGauge,
    pub(crate) channels: IntGauge,
    pub(crate) channel_messages: IntCounter,
    pub(crate) channel_deliveries: IntCounter,
    pub(crate) channel_missed: IntCounter,
    pub(crate) channel_history_bytes: IntGauge,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// Errors when a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let make = Maker { registry };
        Ok(Self {
            queue_commands: make.gauges(
                "writer_queue_commands",
                "Commands waiting for a writer.",
                &["partition"],
            )?,
            queue_wait_seconds: make
                .histogram("writer_queue_seconds", "Time from submission to decision.")?,
            batch_commands: make.histogram_of(
                "writer_batch_commands",
                "Commands in one group commit.",
                vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0],
            )?,
            apply_seconds: make.histograms(
                "consumer_batch_seconds",
                "Time to fold and store one batch.",
                "consumer",
            )?,
            consumer_lag_events: make.gauges(
                "consumer_lag_events",
                "Events in the log that the consumer has not applied, as of its last batch.",
                &["consumer", "partition"],
            )?,
            append_conflicts: make
                .counter("append_conflicts_total", "Writes refused by a precondition.")?,
            rejected: make.counter("commands_rejected_total", "Commands refused.")?,
            replayed: make
                .counter("commands_replayed_total", "Repeats answered from an idempotency key.")?,
            busy: make.counter("commands_busy_total", "Commands refused by a full queue.")?,
            forwarded: make.counter(
                "commands_forwarded_total",
                "Commands handed to the node that writes their partition.",
            )?,
            read_wait_seconds: make
                .histogram("read_wait_seconds", "Time that reads waited for a position.")?,
            hub_events: make.counter("hub_events_total", "Events looked at for subscribers.")?,
            hub_frames: make.counter("hub_frames_total", "Frames queued to subscribers.")?,
            socket_resync: make.counter(
                "socket_resync_total",
                "Times that a slow subscriber fell back to reading the log.",
            )?,
            live_refills: make.counter(
                "hub_refills_total",
                "Times that a live window or count asked the tables again.",
            )?,
            subscriptions: make.gauge("subscriptions", "Live subscriptions.")?,
            channels: make.gauge(
                "channels",
                "Channels in memory: somebody is in them, or they have history.",
            )?,
            channel_messages: make
                .counter("channel_messages_total", "Messages published in channels here.")?,
            channel_deliveries: make.counter(
                "channel_deliveries_total",
                "Messages of channels queued to subscribers as they came.",
            )?,
            channel_missed: make.counter(
                "channel_missed_total",
                "Messages of channels that slow subscribers were told they missed.",
            )?,
            channel_history_bytes: make
                .gauge("channel_history_bytes", "Memory for the history of channels.")?,
        })
    }
}

struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn add<C>(&self, collector: C) -> Result<C, prometheus::Error>
    where
        C: prometheus::core::Collector + Clone + 'static,
    {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::with_opts(Opts::new(name, help).namespace(NAMESPACE))?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(Opts::new(name, help).namespace(NAMESPACE))?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let opts = Opts::new(name, help).namespace(NAMESPACE);
        self.add(IntGaugeVec::new(opts, labels)?)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        self.histogram_of(name, help, SECONDS.to_vec())
    }

    fn histogram_of(
        &self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
    ) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::new(name, help).namespace(NAMESPACE).buckets(buckets);
        self.add(Histogram::with_opts(opts)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::new(name, help).namespace(NAMESPACE).buckets(SECONDS.to_vec());
        self.add(HistogramVec::new(opts, &[label])?)
    }
}
