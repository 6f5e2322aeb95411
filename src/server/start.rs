//! Opens log and tables, brings the engine up on a runtime of its own, and closes all of it again.
//! Tables of this machine that do not open are wiped: the engine fills them from the log. The log
//! is never touched. Where log and tables are on other machines, waits for them.

pub(crate) mod files;
mod peers;
pub(crate) mod people;
mod shared;
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
use tokio::sync::oneshot;
use vault::ServerKeys;

use crate::config::{Channels, Config};

pub(crate) use shared::table_options;
pub(crate) use storage::TOPIC;

/// Fewer would let one busy task hold up the others.
const ENGINE_THREADS_MIN: usize = 2;
/// How long a node relies on who writes a partition before it asks again.
const OWNERS_AGE_MAX: Duration = Duration::from_secs(1);
/// Room for a command that is on its way by then.
const HEARSAY_MARGIN: Duration = Duration::from_millis(200);
/// Between two tries to reach log and tables.
const JOIN_PAUSE_MIN: Duration = Duration::from_millis(250);
const JOIN_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Between two lines on how far a catch-up is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// What may still run on the engine's runtime when all is closed.
const RUNTIME_STOP_WAIT_MAX: Duration = Duration::from_secs(1);

/// The engine and the runtime that it lives on.
pub(crate) struct Node {
    pub(crate) engine: Arc<engine::Engine>,
    pub(crate) server_keys: ServerKeys,
    pub(crate) registry: Registry,
    pub(crate) runtime: Runtime,
}

/// What a node is made of once all of it is open.
pub(crate) type Opened = (Arc<engine::Engine>, ServerKeys);

/// A node on its way up: what there is before the engine.
pub(crate) struct Opening {
    pub(crate) registry: Registry,
    pub(crate) runtime: Runtime,
}

impl Opening {
    /// Starts the engine's threads.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self { registry, runtime: runtime(config.engine.threads)? })
    }

    /// The node, once it has an engine and its keys.
    pub(crate) fn with(self, (engine, server_keys): Opened) -> Node {
        Node { engine, server_keys, registry: self.registry, runtime: self.runtime }
    }
}

/// Called with partition, next offset and end.
pub(crate) type Progress<'a> = dyn Fn(PartitionId, u64, u64) + Send + Sync + 'a;

impl Node {
    /// Opens everything and levels the tables with the log.
    pub(crate) fn start(config: &Config, progress: &Progress<'_>) -> anyhow::Result<Self> {
        let opening = Opening::new(config)?;
        let Opening { registry, runtime } = &opening;
        let log = storage::log(&config.log, registry)?;
        people::make_folder(config)?;
        let server_keys = people::server_keys(config)?;
        let subject_keys = people::subject_keys(config, server_keys.clone())?;
        let store = runtime.block_on(storage::store(&config.readmodel, &*log))?;
        let parts = engine::Parts {
            log,
            store,
            documents: consumers::DOCUMENTS,
            idempotency: consumers::IDEMPOTENCY,
            sealer: people::sealer(subject_keys),
            options: options(config),
            metrics: Arc::new(engine::Metrics::register(registry)?),
            cluster: None,
        };
        let started = runtime.block_on(engine::Engine::start(parts, progress));
        let engine = started.map_err(|error| refused(error, config))?;
        Ok(opening.with((engine, server_keys)))
    }

    /// Opens what other nodes share, and waits for what can't be reached; `waits` is told why, in
    /// words for anybody.
    /// `is_alone`: all other nodes are stopped, so tables of another version may be replaced.
    pub(crate) async fn join(
        registry: &Registry,
        config: &Config,
        admin_key: &str,
        listen: &str,
        is_alone: bool,
        waits: &(dyn Fn(String) + Send + Sync),
    ) -> anyhow::Result<Opened> {
        let server_keys = people::server_keys(config)?;
        let log_metrics = eventlog::metrics::Metrics::new(registry)?;
        let metrics = Arc::new(engine::Metrics::register(registry)?);
        let handle = tokio::runtime::Handle::current();
        let peers = Arc::new(peers::HttpPeers::new(admin_key, handle)?);
        let mut pause = JOIN_PAUSE_MIN;
        loop {
            let opened = async {
                let shared = shared::open(config, listen, &log_metrics, &server_keys).await?;
                if is_alone {
                    alone(&shared).await?;
                }
                let cluster = engine::Cluster {
                    node: shared.node,
                    membership: Arc::clone(&shared.membership),
                    peers: Arc::clone(&peers) as _,
                    ephemeral: shared.ephemeral,
                    is_alone,
                };
                let parts = engine::Parts {
                    log: shared.log,
                    store: shared.store,
                    documents: consumers::DOCUMENTS,
                    idempotency: consumers::IDEMPOTENCY,
                    sealer: people::sealer(shared.subject_keys),
                    options: options(config),
                    metrics: Arc::clone(&metrics),
                    cluster: Some(cluster),
                };
                let started = engine::Engine::start(parts, &|_, _, _| ()).await;
                if started.is_err() {
                    shared.membership.leave().await;
                }
                Ok::<_, shared::Failed>((started?, server_keys.clone()))
            };
            match opened.await {
                Ok(opened) => return Ok(opened),
                Err(shared::Failed::Ends(error)) => return Err(error),
                Err(shared::Failed::Waits(reason)) => {
                    tracing::warn!(reason = reason.detail, "waiting for log and tables");
                    waits(reason.brief);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(JOIN_PAUSE_MAX);
        }
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

    /// At the signal, begins to give this node's partitions up, while requests are still answered.
    /// The results are ready when that has begun, and when every node has heard of it.
    pub(crate) fn hand_over_when(
        &self,
        signal: oneshot::Receiver<()>,
    ) -> (oneshot::Receiver<()>, oneshot::Receiver<()>) {
        let ((begin, begun), (end, ended)) = (oneshot::channel(), oneshot::channel());
        let engine = Arc::clone(&self.engine);
        self.runtime.spawn(async move {
            let _ = signal.await;
            let _ = begin.send(());
            engine.hand_over().await;
            // Another node may rely on what it knew for so long, and must not find a closed door.
            tokio::time::sleep(OWNERS_AGE_MAX + HEARSAY_MARGIN).await;
            let _ = end.send(());
        });
        (begun, ended)
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

/// Errors when another node writes some partition.
async fn alone(shared: &shared::Shared) -> anyhow::Result<()> {
    for partition in (0..shared.log.partition_count()).map(PartitionId) {
        let owner = shared.membership.owner(partition, true).await;
        if let Ok(Some(owner)) = owner
            && owner != shared.node
        {
            shared.membership.leave().await;
            anyhow::bail!("{owner} writes partition {partition}: stop all other nodes first");
        }
    }
    Ok(())
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
        query_documents_max: engine.query_documents_max,
        idempotency_seconds: engine.idempotency_s,
        expiry_interval: Duration::from_secs(engine.expiry_interval_s),
        expiry_batch: engine.expiry_batch,
        hub: engine::hub::Options {
            queue_frames_max: realtime.queue_frames_max,
            queue_bytes_max: realtime.queue_bytes_max,
            pace_each: Duration::from_micros(realtime.pace_each_us),
            pace_max: Duration::from_millis(realtime.pace_max_ms),
            snapshot_documents: realtime.snapshot_documents,
            live_bytes_max: realtime.live_bytes_max,
        },
        channels: channels(&config.channels),
    }
}

fn channels(config: &Channels) -> engine::channels::Options {
    engine::channels::Options {
        message_bytes_max: config.message_bytes_max,
        publishes_per_second: config.publishes_per_second,
        queue_messages_max: config.queue_messages_max,
        queue_bytes_max: config.queue_bytes_max,
        history_bytes_max: config.history_bytes_max,
        present_max: config.present_max,
        state_bytes_max: config.state_bytes_max,
        node_silence_max: Duration::from_secs(config.node_silence_s),
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
