//! Opens log and tables, brings the engine up on a runtime of its own, and closes all of it again.
//! Tables that do not open are wiped: the engine fills them from the log. The log is never
//! touched.

pub(crate) mod files;
mod storage;
pub(crate) mod web;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::PartitionId;
use parking_lot::Mutex;
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use tokio::runtime::Runtime;

use crate::config::Config;

pub(crate) use storage::TOPIC;

/// Fewer would let one busy task hold up the others.
const ENGINE_THREADS_MIN: usize = 2;
/// Between two lines on how far a catch-up is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// What may still run on the engine's runtime when all is closed.
const RUNTIME_STOP_WAIT_MAX: Duration = Duration::from_secs(1);

/// The engine and the runtime that it lives on.
pub(crate) struct Node {
    pub(crate) engine: Arc<engine::Engine>,
    pub(crate) registry: Registry,
    pub(crate) runtime: Runtime,
}

/// Called with partition, next offset and end.
pub(crate) type Progress<'a> = dyn Fn(PartitionId, u64, u64) + Send + Sync + 'a;

impl Node {
    /// Opens everything and levels the tables with the log.
    pub(crate) fn start(config: &Config, progress: &Progress<'_>) -> anyhow::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let runtime = runtime(config.engine.threads)?;
        let log = storage::log(&config.log, &registry)?;
        let store = runtime.block_on(storage::store(&config.readmodel, &*log))?;
        let parts = engine::Parts {
            log,
            store,
            documents: consumers::DOCUMENTS,
            idempotency: consumers::IDEMPOTENCY,
            options: options(config),
            metrics: Arc::new(engine::Metrics::register(&registry)?),
        };
        let started = runtime.block_on(engine::Engine::start(parts, progress));
        let engine = started.map_err(|error| refused(error, config))?;
        Ok(Self { engine, registry, runtime })
    }

    /// Applies the log's retention from now on, if it has any.
    pub(crate) fn keep_trimming(&self, config: &Config) {
        if config.log.retention_s == 0 && config.log.retention_bytes == 0 {
            return;
        }
        let log = Arc::clone(self.engine.log());
        let interval = Duration::from_secs(config.log.trim_interval_s);
        self.runtime.spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            loop {
                ticks.tick().await;
                for partition in (0..log.partition_count()).map(PartitionId) {
                    if let Err(error) = log.trim(partition, engine::now()).await {
                        tracing::warn!(%partition, %error, "retention not applied");
                    }
                }
            }
        });
    }

    /// Finishes what the writers have and closes log and tables, within `wait_max`.
    pub(crate) fn stop(self, wait_max: Duration) -> anyhow::Result<()> {
        let stopped = self
            .runtime
            .block_on(async { tokio::time::timeout(wait_max, self.engine.stop()).await });
        let outcome = match stopped {
            Ok(outcome) => outcome.context("closing"),
            Err(_) => Err(anyhow::anyhow!(
                "not closed within {} s: the next start reads more, nothing acknowledged is lost",
                wait_max.as_secs()
            )),
        };
        drop(self.engine);
        self.runtime.shutdown_timeout(RUNTIME_STOP_WAIT_MAX);
        outcome
    }
}

/// Says in the log how far the tables are, every few seconds.
pub(crate) fn progress_in_log() -> impl Fn(PartitionId, u64, u64) + Send + Sync {
    let last = Mutex::new(Instant::now());
    move |partition, next, end| {
        let mut last = last.lock();
        if last.elapsed() < PROGRESS_INTERVAL {
            return;
        }
        *last = Instant::now();
        tracing::info!(%partition, next, end, "tables catch up with the log");
        crate::signals::notify(&format!("STATUS=catching up: {next} of {end} events"));
    }
}

/// The engine's options that the configuration makes.
pub(crate) fn options(config: &Config) -> engine::Options {
    let (engine, realtime) = (&config.engine, &config.realtime);
    engine::Options {
        queue_commands_max: engine.queue_commands_max,
        queue_bytes_max: engine.queue_bytes_max,
        batch_commands_max: engine.batch_commands_max,
        write_wait_max: Duration::from_secs(engine.write_wait_s),
        read_wait_max: Duration::from_secs(engine.read_wait_s),
        document: domain::json::Limits {
            bytes_max: engine.document_bytes_max,
            depth_max: engine.document_depth_max,
        },
        idempotency_seconds: engine.idempotency_s,
        hub: engine::hub::Options {
            queue_frames_max: realtime.queue_frames_max,
            queue_bytes_max: realtime.queue_bytes_max,
            pace_each: Duration::from_micros(realtime.pace_each_us),
            pace_max: Duration::from_millis(realtime.pace_max_ms),
            snapshot_documents: realtime.snapshot_documents,
        },
    }
}

fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores.max(ENGINE_THREADS_MIN) } else { threads };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("engine")
        .enable_all()
        .build()
        .context("starting the engine's threads")
}

fn refused(error: engine::Error, config: &Config) -> anyhow::Error {
    let hint = match &error {
        engine::Error::AheadOfLog { .. } => {
            let tables = &config.readmodel.url;
            format!(
                "; restore the log from a copy, or, if what it lost may go, move {tables} away: \
                 they are rebuilt from what the log has"
            )
        }
        _ => String::new(),
    };
    anyhow::anyhow!("{error}{hint}")
}
