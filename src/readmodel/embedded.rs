//! The embedded store: fjall, one keyspace per space, rows and checkpoint in one atomic batch.
//! Commits reach the operating system but are not fsynced: a crash costs a short replay of the
//! log. Nothing here is precious, so a store that cannot be opened is wiped and rebuilt.

mod failure;
mod room;
mod space;

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::PartitionId;
use fjall::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
    PartitioningPolicy,
};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::{Mutex, RwLock};

use crate::{Error, SpaceId};
use failure::{opening, while_};
use space::Space;

/// The keyspace that says which generation is active. No space can have this name.
const META: &str = "meta";
/// fjall's own lock file; whoever holds it has the store open.
const LOCK_FILE: &str = "lock";
/// How long a clean end may wait for rows to reach their tables. After that the journal keeps
/// them.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(30);
/// Files kept open for reading; most of a process's descriptors are for sockets.
const OPEN_FILES_MAX: usize = 128;
/// fjall takes no less.
const JOURNAL_BYTES_MIN: u64 = 64 << 20;

/// Where the store is and what it may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder; made when it is not there.
    pub dir: PathBuf,
    /// Blocks kept in memory for reading, over all spaces.
    pub cache_bytes: u64,
    /// Rows kept in memory before they go to a table, per space; up to three times as much while a
    /// rebuild writes faster than the disk.
    pub memtable_bytes: u64,
    /// Journal kept at most, over all spaces: bounds the start after a crash. At least 64 MiB.
    pub journal_bytes_max: u64,
    /// Threads that flush and compact; at least 1. With more, one spins while another compacts.
    pub worker_threads: usize,
}

impl Options {
    /// The defaults: small enough to be idle in some tens of megabytes.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            cache_bytes: 32 << 20,
            memtable_bytes: 8 << 20,
            journal_bytes_max: JOURNAL_BYTES_MIN,
            worker_threads: 1,
        }
    }
}

/// An open store. The folder stays locked until the store and every space and view of it are gone.
pub struct Store {
    dir: PathBuf,
    db: Database,
    meta: Keyspace,
    memtable_bytes: u64,
    spaces: Mutex<HashMap<SpaceId, Arc<Space>>>,
    /// True once closed. A commit holds it for reading, so that `close` overtakes none.
    closed: Arc<RwLock<bool>>,
}

impl Store {
    /// Opens the store, making it when it is new. Replays what a crash left in the journal.
    /// [`Error::Locked`] when somebody has it open; else every failure is [`Error::Unopenable`].
    pub fn open(options: Options) -> Result<Self, Error> {
        let dir = options.dir.clone();
        // What an interrupted wipe left is of no use to anybody; the next start may succeed.
        let _ = fs::remove_dir_all(wiped(&dir));
        // fjall asserts what it expects to find on disk, so damage may come as a panic.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_unguarded(options)));
        match opened {
            Ok(opened) => opened.map_err(|e| opening(&dir, &e)),
            Err(_) => Err(Error::Unopenable {
                path: dir.display().to_string(),
                reason: "reading it panicked".to_owned(),
            }),
        }
    }

    fn open_unguarded(options: Options) -> Result<Self, fjall::Error> {
        let db = Database::builder(&options.dir)
            .cache_size(options.cache_bytes)
            .max_cached_files(Some(OPEN_FILES_MAX))
            .max_journaling_size(options.journal_bytes_max.max(JOURNAL_BYTES_MIN))
            .worker_threads(options.worker_threads.max(1))
            .open()?;
        let meta = db.keyspace(META, keyspace_options)?;
        Ok(Self {
            dir: options.dir,
            db,
            meta,
            memtable_bytes: options.memtable_bytes,
            spaces: Mutex::default(),
            closed: Arc::new(RwLock::new(false)),
        })
    }

    /// Flushes every space, so that the journal holds nothing that the tables do not.
    async fn flush(&self) -> Result<bool, Error> {
        let names = self.db.list_keyspace_names();
        let mut keyspaces = Vec::with_capacity(names.len());
        for name in names {
            let keyspace = self.db.keyspace(&name, keyspace_options);
            keyspaces.push(keyspace.map_err(while_("flushing"))?);
        }
        for keyspace in &keyspaces {
            keyspace.rotate_memtable().map_err(while_("flushing"))?;
        }
        let deadline = Instant::now() + CLOSE_WAIT_MAX;
        while keyspaces.iter().any(|keyspace| keyspace.sealed_memtable_count() > 0) {
            // Also finds out whether the flush has failed: then nobody would ever empty them.
            self.db.persist(PersistMode::Buffer).map_err(while_("flushing"))?;
            if Instant::now() > deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(true)
    }

    fn active_key(consumer: &str, partition: PartitionId) -> String {
        format!("active/{consumer}/{partition}")
    }
}

#[async_trait]
impl crate::Store for Store {
    async fn open(&self, id: &SpaceId) -> Result<Arc<dyn crate::Space>, Error> {
        let mut spaces = self.spaces.lock();
        if let Some(space) = spaces.get(id) {
            return Ok(Arc::<Space>::clone(space));
        }
        let keyspace = self.db.keyspace(&id.to_string(), keyspace_options);
        let keyspace = keyspace.map_err(while_("opening a space"))?;
        let space =
            Space::new(self.db.clone(), keyspace, self.memtable_bytes, Arc::clone(&self.closed));
        let space = Arc::new(space);
        spaces.insert(id.clone(), Arc::clone(&space));
        Ok(space)
    }

    async fn list(&self, consumer: &'static str) -> Result<Vec<SpaceId>, Error> {
        let names = self.db.list_keyspace_names();
        let mut ids: Vec<_> = names.iter().filter_map(|name| parse(name, consumer)).collect();
        ids.sort();
        Ok(ids)
    }

    async fn remove(&self, id: &SpaceId) -> Result<(), Error> {
        let mut spaces = self.spaces.lock();
        let name = id.to_string();
        if let Some(space) = spaces.remove(id) {
            space.mark_dropped();
        }
        if !self.db.keyspace_exists(&name) {
            return Ok(());
        }
        let keyspace =
            self.db.keyspace(&name, keyspace_options).map_err(while_("dropping a space"))?;
        self.db.delete_keyspace(keyspace).map_err(while_("dropping a space"))
    }

    async fn active(
        &self,
        consumer: &'static str,
        partition: PartitionId,
    ) -> Result<Option<u32>, Error> {
        let stored = self.meta.get(Self::active_key(consumer, partition));
        let Some(stored) = stored.map_err(while_("reading the active generation"))? else {
            return Ok(None);
        };
        let bytes = stored.first_chunk().filter(|_| stored.len() == 4);
        let bytes = bytes
            .ok_or_else(|| Error::Corrupt { what: "the active generation's row".to_owned() })?;
        Ok(Some(u32::from_be_bytes(*bytes)))
    }

    async fn activate(&self, id: &SpaceId) -> Result<(), Error> {
        let closed = self.closed.read();
        if *closed {
            return Err(Error::Closed);
        }
        let key = Self::active_key(id.consumer, id.partition);
        // One journal serves all keyspaces, so this makes the space's rows durable as well.
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, key.into_bytes(), id.generation.to_be_bytes());
        batch.commit().map_err(while_("activating a space"))?;
        // So few bytes would never fill a memtable, and until then no journal could be deleted.
        self.meta.rotate_memtable().map_err(while_("activating a space"))?;
        Ok(())
    }

    async fn close(&self) -> Result<(), Error> {
        let was_closed = std::mem::replace(&mut *self.closed.write(), true);
        if was_closed {
            return Ok(());
        }
        let flushed = self.flush().await?;
        self.db.persist(PersistMode::SyncAll).map_err(while_("closing"))?;
        if !flushed {
            tracing::warn!("tables not flushed in time; the next start replays the journal");
            return Ok(());
        }
        empty_journal(&self.dir).map_err(|e| Error::io("emptying the journal", e))
    }
}

/// Empties the journal once the tables hold everything. fjall would read it all at the next start
/// (0.3 s for 64 MiB), only to find that nothing is missing.
fn empty_journal(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "jnl") {
            continue;
        }
        match File::options().write(true).open(path) {
            Ok(journal) => journal.set_len(0)?,
            // Flushed, and so deleted meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Deletes a store. [`Error::Locked`] when somebody has it open; no error when it is not there.
pub fn wipe(dir: &Path) -> Result<(), Error> {
    let io = |e| Error::io("wiping the read model", e);
    let lock = match File::options().read(true).write(true).open(dir.join(LOCK_FILE)) {
        Ok(lock) => Some(lock),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(io(e)),
    };
    match lock.as_ref().map_or(Ok(()), File::try_lock) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Locked { path: dir.display().to_string() });
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    // Moved away first: half a store must never be found where a whole one is looked for.
    let wiped = wiped(dir);
    let gone = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    gone(fs::remove_dir_all(&wiped)).map_err(io)?;
    gone(fs::rename(dir, &wiped)).map_err(io)?;
    gone(fs::remove_dir_all(&wiped)).map_err(io)
}

/// Where a store that is being wiped lies meanwhile.
fn wiped(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".wiped");
    PathBuf::from(name)
}

/// `SpaceId`'s text, back.
fn parse(name: &str, consumer: &'static str) -> Option<SpaceId> {
    let (partition, generation) =
        name.strip_prefix(consumer)?.strip_prefix("-p")?.split_once("-g")?;
    Some(SpaceId {
        consumer,
        partition: PartitionId(partition.parse().ok()?),
        generation: generation.parse().ok()?,
    })
}

/// How a space lies on disk; stored with it when it is made.
fn keyspace_options() -> KeyspaceCreateOptions {
    use CompressionType::{Lz4, None};
    KeyspaceCreateOptions::default()
        // Never by itself: `room` starts the flushes.
        .max_memtable_size(u64::MAX)
        // Some ten documents: a point read looks through one block, a list reads few.
        .data_block_size_policy(BlockSizePolicy::all(4 << 10))
        // The upper levels are rewritten soon; below them lies nearly everything, and JSON halves.
        .data_block_compression_policy(CompressionPolicy::new([None, None, Lz4]))
        // The index and filter of a whole table are a megabyte: where most tables are, they are cut
        // into blocks that the cache takes and drops one by one.
        .index_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        // Every create asks for a document that is not there, so the last level has filters too:
        // 10 bits a row, read through the cache like any block.
        .expect_point_read_hits(false)
        .filter_policy(FilterPolicy::new([
            FilterPolicyEntry::Bloom(BloomConstructionPolicy::FalsePositiveRate(0.001)),
            FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0)),
        ]))
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
