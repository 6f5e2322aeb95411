//! The API's metrics; names and meanings are listed in docs/METRICS.md. Each route's histograms
//! are looked up once and kept, so that counting a request is a few atomic adds.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntGauge, Opts, Registry};

use crate::routes::ROUTES;

/// Starts the name of each metric.
const NAMESPACE: &str = "headwater";

/// Seconds, from 50 µs to 10 s.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// Classes of statuses, `1xx` to `5xx`.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What the API counts.
pub(crate) struct Metrics {
    request_seconds: HistogramVec,
    /// One row per route, and one more for what is no route.
    rows: Vec<[OnceLock<Histogram>; CLASSES.len()]>,
    /// Open WebSockets and event streams.
    pub(crate) socket_connections: IntGauge,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// Errors when a name is registered already.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = HistogramOpts::new(
            "http_request_seconds",
            "Time from a request's head to its answer, by route and class of status.",
        );
        let opts = opts.namespace(NAMESPACE).buckets(SECONDS.to_vec());
        let request_seconds = HistogramVec::new(opts, &["route", "method", "status"])?;
        let opts = Opts::new("socket_connections", "Open WebSockets and event streams.");
        let socket_connections = IntGauge::with_opts(opts.namespace(NAMESPACE))?;
        registry.register(Box::new(request_seconds.clone()))?;
        registry.register(Box::new(socket_connections.clone()))?;
        let rows = (0..=ROUTES.len()).map(|_| Default::default()).collect();
        Ok(Self { request_seconds, rows, socket_connections })
    }

    /// Counts one answer. `route` is an index into [`ROUTES`].
    pub(crate) fn observe(&self, route: Option<usize>, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let Some(row) = self.rows.get(route.unwrap_or(ROUTES.len())) else { return };
        let histogram = row[class].get_or_init(|| {
            let (pattern, method) = match route.and_then(|route| ROUTES.get(route)) {
                Some(route) => (route.pattern, route.method.as_str()),
                // The method of a request that matched nothing may be anything.
                None => ("none", "none"),
            };
            self.request_seconds.with_label_values(&[pattern, method, CLASSES[class]])
        });
        histogram.observe(took.as_secs_f64());
    }
}
