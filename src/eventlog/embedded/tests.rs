mod damage;
mod faults;
mod opening;
mod reading;
mod verifying;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use domain::{Offset, PartitionId, Recorded};
use prometheus::Registry;
use tempfile::TempDir;

use super::file::Faults;
use super::{Log, Options, record};
use crate::conformance::{self, event};
use crate::metrics::Metrics;
use crate::{Error, EventLog, ReadLimit};

const P0: PartitionId = PartitionId(0);
const ENGINE: conformance::Engine =
    conformance::Engine { durable: true, trims: true, takeovers: false };
const ALL: ReadLimit = ReadLimit { events_max: 1000, bytes_max: 1 << 20 };

/// Small segments, one partition, nothing in memory: every read goes to disk.
fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir, "t", 1);
    options.segment_bytes = 1000;
    options.ring_bytes = 0;
    options.disk_reserve_bytes = 0;
    options
}

fn metrics() -> Metrics {
    Metrics::new(&Registry::new()).unwrap()
}

fn open(options: &Options) -> Result<Log, Error> {
    Log::open(options.clone(), &metrics())
}

/// A folder in memory where the system has one: these tests write much and sync never.
fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap())
}

/// Appends `count` events in one batch, counted on from the partition's end.
async fn append(log: &Log, count: u64) -> Result<Vec<Arc<Recorded>>, Error> {
    let end = log.end(P0);
    log.append(P0, (end..end + count).map(|number| event("p", number, 60)).collect()).await
}

/// Reads up to the end or the first error, and gives both.
async fn read_all(log: &Log, from: Offset) -> (Vec<Arc<Recorded>>, Option<Error>) {
    let mut events = Vec::new();
    loop {
        match log.read(P0, from + events.len() as u64, ALL).await.map(|read| read.events) {
            Ok(more) if more.is_empty() => return (events, None),
            Ok(more) => events.extend(more),
            Err(error) => return (events, Some(error)),
        }
    }
}

/// Every file below a folder, as it was.
struct Snapshot(BTreeMap<PathBuf, Vec<u8>>);

impl Snapshot {
    fn take(folder: &Path) -> Self {
        fn walk(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in folder.read_dir().unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, files);
                } else {
                    files.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
        }
        let mut files = BTreeMap::new();
        walk(folder, &mut files);
        Self(files)
    }

    /// Puts every file back and removes what has come since.
    fn restore(&self, folder: &Path) {
        for path in Self::take(folder).0.keys() {
            if !self.0.contains_key(path) {
                std::fs::remove_file(path).unwrap();
            }
        }
        for (path, bytes) in &self.0 {
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn ending(&self, end: &str) -> Vec<(&PathBuf, &Vec<u8>)> {
        self.0.iter().filter(|(path, _)| path.to_str().unwrap().ends_with(end)).collect()
    }
}

/// Where a record stands.
#[derive(Debug, Clone)]
struct Spot {
    offset: Offset,
    batch: Offset,
    file: PathBuf,
    bytes: std::ops::Range<usize>,
}

/// Every record of a snapshot, in order.
fn spots(snapshot: &Snapshot) -> Vec<Spot> {
    let mut spots = Vec::new();
    for (file, bytes) in snapshot.ending(".log") {
        let mut at = 0;
        let bytes = Bytes::from(bytes.clone());
        while at < bytes.len() {
            let (header, _, total) = record::decode(&bytes.slice(at..)).unwrap();
            let (offset, batch) = (header.offset, header.batch_base);
            spots.push(Spot { offset, batch, file: file.clone(), bytes: at..at + total });
            at += total;
        }
    }
    spots
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let folder = folder();
    conformance::run(ENGINE, async |setup| {
        let mut options = Options::new(folder.path(), &setup.topic, setup.partitions);
        options.segment_bytes = setup.segment_bytes;
        options.retention = setup.retention;
        options.disk_reserve_bytes = 0;
        Arc::new(open(&options).unwrap()) as Arc<dyn EventLog>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms_without_a_ring_and_without_waiting_for_the_disk() {
    let folder = folder();
    conformance::run(ENGINE, async |setup| {
        let mut options = Options::new(folder.path(), &setup.topic, setup.partitions);
        options.segment_bytes = setup.segment_bytes;
        options.retention = setup.retention;
        options.disk_reserve_bytes = 0;
        options.ring_bytes = 0;
        options.fsync = false;
        Arc::new(open(&options).unwrap()) as Arc<dyn EventLog>
    })
    .await;
}
