//! Brings an engine up: checks that tables and log belong together, catches up, and starts one
//! writer per partition.

use std::sync::Arc;

use domain::projects::ProjectState;
use domain::users::Recent;
use domain::{Offset, PartitionId, ProjectId, Timestamp};
use eventlog::ephemeral::{self, Bus};
use eventlog::{EventLog, ReadLimit};
use parking_lot::Mutex;
use readmodel::{Space, SpaceId, Store, documents as tables};
use tokio::sync::{mpsc, oneshot};
use vault::Sealer;

use crate::catalog::Catalog;
use crate::channels::{Channels, PARTITIONS_ALONE};
use crate::clock;
use crate::cluster::Cluster;
use crate::consumer::Consumer;
use crate::error::Error;
use crate::expiry;
use crate::follow;
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::personal::Personal;
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
    /// Seals and opens what is personal in documents.
    pub sealer: Sealer,
    /// Limits and choices.
    pub options: Options,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// The other nodes; `None` when this process has log and tables for itself.
    pub cluster: Option<Cluster>,
}

/// The tables of one partition.
#[derive(Clone)]
pub(crate) struct Spaces {
    pub(crate) documents: Arc<dyn Space>,
    pub(crate) idempotency: Arc<dyn Space>,
}

/// How far tables that other nodes write may be behind the log when a node starts and answers
/// reads: what is on its way while everything is well.
const LAG_EVENTS_MAX: u64 = 10_000;

/// Offsets looked back for the newest event: the last ones may not count.
const LOOK_BACK: [u64; 4] = [1, 16, 256, 4096];
/// One read of them.
const LOOK: ReadLimit = ReadLimit { events_max: 1024, bytes_max: 1 << 20 };

/// Rows of recent changes read at a time.
const RECENT_ROWS: usize = 512;

/// Tables that are level with the log.
pub(crate) struct Level {
    pub(crate) documents: Consumer,
    pub(crate) idempotency: Consumer,
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
        let partitions = (0..parts.log.partition_count()).map(PartitionId);
        let catalog = Arc::new(Catalog::default());
        let bus: Arc<dyn Bus> = match &parts.cluster {
            Some(cluster) => Arc::clone(&cluster.ephemeral),
            None => Arc::new(ephemeral::Memory::new(PARTITIONS_ALONE)),
        };
        let mut engine = Self {
            channels: Channels::new(
                parts.options.channels.clone(),
                bus,
                Arc::clone(&catalog),
                Arc::clone(&parts.metrics),
            ),
            personal: Arc::new(Personal::new(parts.sealer, Arc::clone(&catalog))),
            catalog,
            projections: vec![parts.documents, parts.idempotency],
            options: parts.options,
            log: parts.log,
            store: parts.store,
            partitions: Vec::new(),
            metrics: parts.metrics,
            cluster: parts.cluster,
            store_trouble: Arc::default(),
            tasks: Mutex::default(),
        };
        for id in partitions {
            let partition = match engine.cluster.clone() {
                None => engine.open_alone(id, progress).await?,
                Some(cluster) => engine.open_shared(id, cluster).await?,
            };
            engine.partitions.push(partition);
        }
        if engine.cluster.is_some() {
            let (store, consumer) = (Arc::clone(&engine.store), engine.projections[0].name);
            let watch = follow::watch_store(store, consumer, Arc::clone(&engine.store_trouble));
            engine.tasks.lock().push(tokio::spawn(watch));
        }
        engine.channels.listen()?;
        let care = tokio::spawn(Arc::clone(&engine.channels).care());
        let engine = Arc::new(engine);
        let expiry = tokio::spawn(expiry::run(Arc::downgrade(&engine)));
        engine.tasks.lock().extend([care, expiry]);
        Ok(engine)
    }

    /// A partition that only this process writes: with its writer running.
    async fn open_alone(
        &self,
        id: PartitionId,
        progress: &(dyn Fn(PartitionId, u64, u64) + Send + Sync),
    ) -> Result<Arc<Partition>, Error> {
        let spaces = self.spaces(id, true).await?;
        let registrations = (&self.projections[0], &self.projections[1]);
        let (log, end) = (&*self.log, self.log.end(id));
        let leveled = async {
            let level = level(log, (id, end), &spaces, registrations, progress).await?;
            Ok((level, newest_time(log, id, end, 0).await?))
        };
        let leveled = leveled.await;
        let partition = self.partition_at(id, &spaces, end);
        // Also of a partition that is refused: nothing in it may look as if it had never been.
        load_catalog(&self.catalog, &*partition.documents(), &*spaces.idempotency).await?;
        let (level, last_time) = match leveled {
            Ok(leveled) => leveled,
            Err(error @ (Error::Corrupt(_) | Error::Unavailable(_))) => {
                tracing::error!(partition = %id, %error, "partition refused");
                partition.refuse(Some(Error::Corrupt(error.to_string())));
                return Ok(partition);
            }
            Err(error) => return Err(error),
        };
        let writer = Writer {
            partition: Arc::clone(&partition),
            log: Arc::clone(&self.log),
            catalog: Arc::clone(&self.catalog),
            personal: Arc::clone(&self.personal),
            documents: level.documents,
            idempotency: level.idempotency,
            metrics: Arc::clone(&self.metrics),
            limits: self.options.document,
            idempotency_seconds: self.options.idempotency_seconds,
            batch_commands_max: self.options.batch_commands_max,
            tables_are_remote: false,
            last_time,
        };
        spawn(&partition, writer, self.options.queue_commands_max)?;
        Ok(partition)
    }

    /// A partition that any node may write: level with the log, and written here once the group
    /// says so.
    async fn open_shared(
        &self,
        id: PartitionId,
        cluster: Cluster,
    ) -> Result<Arc<Partition>, Error> {
        let spaces = self.spaces(id, cluster.is_alone).await?;
        // Read before the rows: what is newer in them is met again in the log.
        let checkpoint = spaces.documents.checkpoint().await?;
        let recent_from = spaces.idempotency.checkpoint().await?;
        let end = self.log.refresh_end(id).await?;
        if checkpoint > end {
            return Err(Error::AheadOfLog { partition: id.0, checkpoint, end });
        }
        let partition = self.partition_at(id, &spaces, checkpoint);
        partition.set_stored(checkpoint);
        load_catalog(&self.catalog, &*partition.documents(), &*spaces.idempotency).await?;
        follow::recall(&*self.log, id, recent_from..checkpoint, &self.catalog).await?;
        follow::advance(&partition, &*self.log, &self.catalog, end).await?;
        let newest = partition.newest();
        if newest > checkpoint + LAG_EVENTS_MAX {
            tracing::warn!(partition = %id, checkpoint, newest, "the tables are far behind");
            partition.level_from(newest);
            let filling = follow::watch_filling(Arc::clone(&partition), newest);
            self.tasks.lock().push(tokio::spawn(filling));
        }
        let keeper = Keeper {
            partition: Arc::clone(&partition),
            log: Arc::clone(&self.log),
            catalog: Arc::clone(&self.catalog),
            personal: Arc::clone(&self.personal),
            spaces,
            documents: self.projections[0],
            idempotency: self.projections[1],
            options: self.options.clone(),
            metrics: Arc::clone(&self.metrics),
            cluster,
        };
        let (log, catalog) = (Arc::clone(&self.log), Arc::clone(&self.catalog));
        let follower = follow::follow(Arc::clone(&partition), log, catalog);
        let tasks = [tokio::spawn(follower), tokio::spawn(keeper.run())];
        self.tasks.lock().extend(tasks);
        Ok(partition)
    }

    fn partition_at(&self, id: PartitionId, spaces: &Spaces, applied: u64) -> Arc<Partition> {
        Arc::new(Partition::new(
            id,
            Arc::clone(&spaces.documents),
            applied,
            self.options.queue_bytes_max,
            Arc::clone(&self.metrics),
        ))
    }

    /// The spaces that serve. `alone`: nobody else uses the store, so what is left of others may
    /// go.
    async fn spaces(&self, id: PartitionId, alone: bool) -> Result<Spaces, Error> {
        let store = &*self.store;
        Ok(Spaces {
            documents: serving_space(store, &self.projections[0], id, alone).await?,
            idempotency: serving_space(store, &self.projections[1], id, alone).await?,
        })
    }
}

/// A writer blocks on fsync, so it has a thread of its own and keeps no runtime worker waiting.
/// The result is ready when the writer has ended.
pub(crate) fn spawn(
    partition: &Partition,
    writer: Writer,
    queue_max: usize,
) -> Result<oneshot::Receiver<()>, Error> {
    let (sender, mailbox) = mpsc::channel(queue_max);
    let (running, ended) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new()
        .name(format!("writer-{}", partition.id))
        .spawn(move || {
            runtime.block_on(writer.run(mailbox));
            drop(running);
        })
        .map_err(|error| Error::Unavailable(format!("can't start a writer: {error}")))?;
    partition.start(sender, thread);
    Ok(ended)
}

/// The space that serves reads; a new one where there is none, or where the projection has a newer
/// version.
async fn serving_space(
    store: &dyn Store,
    registration: &Registration,
    partition: PartitionId,
    alone: bool,
) -> Result<Arc<dyn Space>, Error> {
    let active = store.active(registration.name, partition).await?;
    let generation = match active {
        Some(generation) if registration.made(generation) => generation,
        // Other nodes may serve and write it.
        Some(generation) if !alone && !registration.forgets => {
            return Err(Error::Unavailable(format!(
                "the tables of {} are of another version ({}, this one makes {}): stop all nodes \
                 and run `headwater rebuild documents`",
                registration.name,
                generation >> 16,
                registration.version
            )));
        }
        _ => registration.generation(0),
    };
    let id = SpaceId { consumer: registration.name, partition, generation };
    let space = store.open(&id).await?;
    if active != Some(generation) {
        store.activate(&id).await?;
    }
    // What an older version or an unfinished rebuild left behind.
    let others = if alone { store.list(registration.name).await? } else { Vec::new() };
    for other in others {
        if other.partition == partition && other.generation != generation {
            store.remove(&other).await?;
        }
    }
    Ok(space)
}

/// Takes both consumers up where they were left, and on up to `end`.
pub(crate) async fn level(
    log: &dyn EventLog,
    (id, end): (PartitionId, Offset),
    spaces: &Spaces,
    registrations: (&Registration, &Registration),
    progress: &(dyn Fn(PartitionId, u64, u64) + Send + Sync),
) -> Result<Level, Error> {
    let mut documents = open(registrations.0, &spaces.documents).await?;
    let mut idempotency = open(registrations.1, &spaces.idempotency).await?;
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
    Ok(Level { documents, idempotency })
}

/// The time of the newest event before `end`, but at most so many microseconds after now: a clock
/// that was wrong, or an import, must not carry the log away with it.
pub(crate) async fn newest_time(
    log: &dyn EventLog,
    id: PartitionId,
    end: Offset,
    ahead_micros_max: i64,
) -> Result<Timestamp, Error> {
    let start = log.start(id);
    for back in LOOK_BACK {
        let mut next = end.saturating_sub(back).max(start);
        let mut newest = None;
        while next < end {
            let read = log.read(id, next, LOOK).await?;
            newest = read.events.last().map(|last| last.event.time).or(newest);
            if read.next == next {
                break;
            }
            next = read.next;
        }
        if let Some(newest) = newest {
            let latest = clock::now().as_micros() + ahead_micros_max;
            return Ok(newest.min(Timestamp::from_micros(latest)));
        }
    }
    Ok(Timestamp::default())
}

async fn open(registration: &Registration, space: &Arc<dyn Space>) -> Result<Consumer, Error> {
    Consumer::open(registration, Arc::clone(space)).await
}

async fn load_catalog(
    catalog: &Catalog,
    space: &dyn Space,
    recent: &dyn Space,
) -> Result<(), Error> {
    for (id, stored) in tables::projects(space).await? {
        let state: ProjectState = serde_json::from_slice(&stored.state)
            .map_err(|e| Error::Corrupt(format!("configuration of project {id}: {e}")))?;
        load_recent(catalog, recent, &id).await?;
        catalog.put(id, state);
    }
    Ok(())
}

/// What changed lately about a project's users, as far as it is still of use.
async fn load_recent(catalog: &Catalog, space: &dyn Space, id: &ProjectId) -> Result<(), Error> {
    let now = clock::now();
    let mut last = None;
    loop {
        let rows = tables::recent(space, id, last.as_ref(), RECENT_ROWS).await?;
        let is_last = rows.len() < RECENT_ROWS;
        for row in rows.iter().filter(|row| row.until > now) {
            match Recent::read(&row.subject, &row.state) {
                Some(recent) => catalog.put_recent(id, recent),
                None => tracing::error!(project.id = %id, "a row of recent changes is not one"),
            }
        }
        last = rows.into_iter().next_back();
        if is_last || last.is_none() {
            return Ok(());
        }
    }
}
