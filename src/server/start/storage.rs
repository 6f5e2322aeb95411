//! Opens the log and the tables that the configuration names.
//! A log that does not open is the end; tables are wiped and made anew, for the log has it all.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use domain::PartitionId;
use eventlog::{EventLog, Retention};
use prometheus::Registry;
use readmodel::{SpaceId, Store};

use crate::config::{Location, Log, ReadModel};

/// The topic of the events, and the name of its folder.
pub(crate) const TOPIC: &str = "headwater.events";

/// Opens the log; makes it when it is new.
pub(super) fn log(config: &Log, registry: &Registry) -> anyhow::Result<Arc<dyn EventLog>> {
    let keep = |limit: u64| (limit > 0).then_some(limit);
    let retention = Retention {
        seconds_max: keep(config.retention_s),
        bytes_max: keep(config.retention_bytes),
    };
    let dir = match config.location() {
        Location::Folder(dir) => dir,
        Location::Kafka { .. } => {
            bail!("this command works on a log of this machine, not on one on Kafka")
        }
        _ => return Ok(Arc::new(eventlog::memory::Log::new(config.partitions, retention))),
    };
    make_private(&dir)?;
    if !config.fsync {
        tracing::warn!("log.fsync is off: a power cut loses writes that were answered");
    }
    let options = eventlog::embedded::Options {
        segment_bytes: config.segment_bytes,
        retention,
        ring_bytes: config.ring_bytes,
        disk_reserve_bytes: config.disk_reserve_bytes,
        fsync: config.fsync,
        ..eventlog::embedded::Options::new(dir, TOPIC, config.partitions)
    };
    let metrics = eventlog::metrics::Metrics::new(registry)?;
    Ok(Arc::new(eventlog::embedded::Log::open(options, &metrics)?))
}

/// Opens the tables; makes them anew when they are new or damaged.
///
/// Errors also when they are damaged and the log no longer reaches back to its start: documents
/// that did not change since would be lost.
pub(super) async fn store(
    config: &ReadModel,
    log: &dyn EventLog,
) -> anyhow::Result<Arc<dyn Store>> {
    let Location::Folder(dir) = config.location() else {
        return Ok(Arc::new(readmodel::memory::Store::default()));
    };
    make_private(&dir)?;
    let reason = match open(config, &dir) {
        Ok(store) => match probe(&*store, log.partition_count()).await {
            Ok(()) => return Ok(store),
            Err(readmodel::Error::Corrupt { what }) => what,
            Err(error) => return Err(error.into()),
        },
        Err(readmodel::Error::Unopenable { reason, .. }) => reason,
        Err(error @ readmodel::Error::Locked { .. }) => {
            bail!("{error}: is another Headwater running on it?")
        }
        Err(error) => return Err(error.into()),
    };
    if (0..log.partition_count()).any(|partition| log.start(PartitionId(partition)) > 0) {
        bail!(
            "the tables at {} are damaged ({reason}), and retention has taken events that they \
             would have to be rebuilt from: restore the folder from a copy",
            dir.display()
        );
    }
    tracing::warn!(error = reason, "the tables can't be opened: rebuilding them from the log");
    readmodel::embedded::wipe(&dir).context("removing damaged tables")?;
    Ok(open(config, &dir)?)
}

/// Makes a folder, and those above it, that only we may look into. What is there stays as it is.
pub(super) fn make_private(dir: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("can't make the folder {}", dir.display()))
}

fn open(config: &ReadModel, dir: &Path) -> Result<Arc<dyn Store>, readmodel::Error> {
    let options = readmodel::embedded::Options {
        cache_bytes: config.cache_bytes,
        memtable_bytes: config.memtable_bytes,
        journal_bytes_max: config.journal_bytes_max,
        worker_threads: config.compaction_threads,
        ..readmodel::embedded::Options::new(dir)
    };
    Ok(Arc::new(readmodel::embedded::Store::open(options)?))
}

/// Reads what every start reads, so that damage shows while the tables can still be replaced.
async fn probe(store: &dyn Store, partitions: u32) -> Result<(), readmodel::Error> {
    for consumer in consumers::ALL {
        for partition in (0..partitions).map(PartitionId) {
            let Some(generation) = store.active(consumer.name, partition).await? else { continue };
            let id = SpaceId { consumer: consumer.name, partition, generation };
            store.open(&id).await?.checkpoint().await?;
        }
    }
    Ok(())
}
