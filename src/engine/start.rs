//! Brings an engine up: checks that tables and log belong together, catches up, and starts one
//! writer per partition.

use std::sync::Arc;

use domain::projects::ProjectState;
use domain::{PartitionId, Timestamp};
use eventlog::{EventLog, ReadLimit};
use readmodel::{Space, SpaceId, Store, documents as tables};
use tokio::sync::mpsc;

use crate::catalog::Catalog;
use crate::clock;
use crate::consumer::Consumer;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::projection::Registration;
use crate::writer::Writer;
use crate::{Engine, Options};

/// What an engine is made of.
pub struct Parts {
    /// The truth.
    pub log: Arc<dyn EventLog>,
    /// The tables.
    pub store: Arc<dyn Store>,
    /// The consumer that folds documents and projects; the writers decide against its tables.
    pub documents: Registration,
    /// The consumer that remembers answers by idempotency key.
    pub idempotency: Registration,
    /// Limits and choices.
    pub options: Options,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

/// Tables that are level with the log.
struct Level {
    documents: Consumer,
    idempotency: Consumer,
    last_time: Timestamp,
}

impl Engine {
    /// Starts on the current tokio runtime, which must be multi-threaded. Calls `progress` with
    /// partition, next offset and end while tables catch up with the log.
    ///
    /// A partition whose log is corrupt is refused on its own; the others serve.
    ///
    /// Errors: [`Error::AheadOfLog`], and whatever keeps the read model from being read or
    /// written.
    pub async fn start(
        parts: Parts,
        progress: &(dyn Fn(PartitionId, u64, u64) + Send + Sync),
    ) -> Result<Arc<Self>, Error> {
        let Parts { log, store, documents, idempotency, options, metrics } = parts;
        let catalog = Arc::new(Catalog::default());
        let mut partitions = Vec::new();
        for number in 0..log.partition_count() {
            let id = PartitionId(number);
            let spaces = (
                serving_space(&*store, &documents, id).await?,
                serving_space(&*store, &idempotency, id).await?,
            );
            let leveled = level(&*log, id, &spaces, (&documents, &idempotency), progress).await;
            let (documents_space, applied) = (spaces.0, log.end(id));
            let partition = Arc::new(Partition::new(
                id,
                documents_space,
                applied,
                options.queue_bytes_max,
                Arc::clone(&metrics),
            ));
            partitions.push(Arc::clone(&partition));
            // Also of a partition that is refused: nothing in it may look as if it had never been.
            load_catalog(&catalog, &*partition.documents()).await?;
            let level = match leveled {
                Ok(level) => level,
                Err(error @ (Error::Corrupt(_) | Error::Unavailable(_))) => {
                    tracing::error!(partition = %id, %error, "partition refused");
                    partition.refuse(Some(Error::Corrupt(error.to_string())));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let writer = Writer {
                partition: Arc::clone(&partition),
                log: Arc::clone(&log),
                catalog: Arc::clone(&catalog),
                documents: level.documents,
                idempotency: level.idempotency,
                metrics: Arc::clone(&metrics),
                limits: options.document,
                idempotency_seconds: options.idempotency_seconds,
                batch_commands_max: options.batch_commands_max,
                last_time: level.last_time,
            };
            spawn(&partition, writer, options.queue_commands_max)?;
        }
        let projections = vec![documents, idempotency];
        Ok(Arc::new(Self { options, log, store, projections, partitions, catalog, metrics }))
    }
}

/// A writer blocks on fsync, so it has a thread of its own and keeps no runtime worker waiting.
fn spawn(partition: &Partition, writer: Writer, queue_max: usize) -> Result<(), Error> {
    let (sender, mailbox) = mpsc::channel(queue_max);
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new()
        .name(format!("writer-{}", partition.id))
        .spawn(move || runtime.block_on(writer.run(mailbox)))
        .map_err(|error| Error::Unavailable(format!("can't start a writer: {error}")))?;
    partition.start(sender, thread);
    Ok(())
}

/// The space that serves reads; a new one where there is none, or where the projection has a newer
/// version.
async fn serving_space(
    store: &dyn Store,
    registration: &Registration,
    partition: PartitionId,
) -> Result<Arc<dyn Space>, Error> {
    let active = store.active(registration.name, partition).await?;
    let generation = match active {
        Some(generation) if registration.made(generation) => generation,
        _ => registration.generation(0),
    };
    let id = SpaceId { consumer: registration.name, partition, generation };
    let space = store.open(&id).await?;
    if active != Some(generation) {
        store.activate(&id).await?;
    }
    // What an older version or an unfinished rebuild left behind.
    for other in store.list(registration.name).await? {
        if other.partition == partition && other.generation != generation {
            store.remove(&other).await?;
        }
    }
    Ok(space)
}

async fn level(
    log: &dyn EventLog,
    id: PartitionId,
    spaces: &(Arc<dyn Space>, Arc<dyn Space>),
    registrations: (&Registration, &Registration),
    progress: &(dyn Fn(PartitionId, u64, u64) + Send + Sync),
) -> Result<Level, Error> {
    let end = log.end(id);
    let mut documents = open(registrations.0, &spaces.0).await?;
    let mut idempotency = open(registrations.1, &spaces.1).await?;
    for consumer in [&mut documents, &mut idempotency] {
        if consumer.next() > end {
            // A damaged log ends early, too, and says so when it is read.
            log.read(id, end, ReadLimit { events_max: 1, bytes_max: 1 }).await?;
            let checkpoint = consumer.next();
            return Err(Error::AheadOfLog { partition: id.0, checkpoint, end });
        }
        let caught_up = consumer.catch_up(log, id, end, &|next| progress(id, next, end)).await;
        caught_up.map_err(|error| match error {
            // Serving what is left would look as if the rest had never been.
            Error::Trimmed { oldest } => {
                Error::BehindTrimmed { oldest, checkpoint: consumer.next() }
            }
            other => other,
        })?;
    }
    let mut last_time = Timestamp::default();
    if end > log.start(id) {
        let limit = ReadLimit { events_max: 1, bytes_max: 1 };
        let last = log.read(id, end - 1, limit).await?;
        // Not past now: a clock that was wrong, or an import, must not carry the log away with it.
        last_time = last.first().map_or(last_time, |last| last.event.time.min(clock::now()));
    }
    Ok(Level { documents, idempotency, last_time })
}

async fn open(registration: &Registration, space: &Arc<dyn Space>) -> Result<Consumer, Error> {
    Consumer::open(registration, Arc::clone(space)).await
}

async fn load_catalog(catalog: &Catalog, space: &dyn Space) -> Result<(), Error> {
    for (id, stored) in tables::projects(space).await? {
        let state: ProjectState = serde_json::from_slice(&stored.state)
            .map_err(|e| Error::Corrupt(format!("configuration of project {id}: {e}")))?;
        catalog.put(id, state);
    }
    Ok(())
}
