//! Keys in one file, for a server of one node: slots of one size, appended by one thread that
//! brings many to disk by one sync, and overwritten in place when a key is destroyed. Whoever has
//! an older copy of the file and the server's key has the destroyed keys too: backups must end.

mod open;
mod record;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use domain::ProjectId;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};

use crate::subjects::{Key, SubjectKeys, check_subject};
use crate::{Error, Name, Names, ServerKeys};
use record::{Record, SLOT_BYTES};
use writer::{Op, Outcome, Request, Writer};

/// Requests that wait for the writing thread at most; more wait to be let in.
const QUEUE_MAX: usize = 1024;

/// The keys of one file. Only one process at a time may have it open.
pub struct Keys {
    shared: Arc<Shared>,
    /// `None` once the keys are being dropped.
    queue: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// Has a key, in this slot.
    Live(u32),
    /// Had one, or never may.
    Destroyed,
    /// Has one that the disk has spoilt, in this slot.
    Damaged(u32),
}

/// What readers and the writing thread share.
struct Shared {
    /// Locked against other processes for as long as it is open.
    file: File,
    path: PathBuf,
    server_keys: ServerKeys,
    names: Names,
    /// Held to write where a slot is overwritten, to read where one is read: no slot is read by
    /// half.
    index: RwLock<HashMap<Name, Entry>>,
    /// A sync failed: what is on disk is not known, and nothing more is written.
    failed: AtomicBool,
    #[cfg(test)]
    faults: tests::Faults,
}

impl Keys {
    /// Opens the keys, or makes the file where there is none, readable by its owner only. What a
    /// crash left of the last append is cut off. Blocks on the disk: reads the whole file.
    ///
    /// Errors: [`Error::Locked`]; [`Error::UnknownServerKey`] when the file belongs to another key
    /// of the server; [`Error::Corrupt`] for a file that is something else, or that has a slot
    /// whose owner can't be told; [`Error::Io`], [`Error::Full`], [`Error::Random`].
    pub fn open(path: &Path, server_keys: ServerKeys) -> Result<Self, Error> {
        let (shared, slots) = open::open(path, server_keys)?;
        let shared = Arc::new(shared);
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let writer = Writer::new(Arc::clone(&shared), slots);
        let thread = std::thread::Builder::new()
            .name("subject-keys".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(|e| Error::io("starting the thread of the keys", e))?;
        Ok(Self { shared, queue: Some(queue), thread: Some(thread) })
    }

    /// Wraps anew, under the current key of the server, what lies under an earlier one, so that the
    /// earlier one can be removed; how many keys there were. Sign-ups wait meanwhile.
    ///
    /// Errors: as of [`SubjectKeys`]. After an error repeat it.
    pub async fn rewrap(&self) -> Result<u64, Error> {
        self.ask(Op::Rewrap).await?.count()
    }

    async fn ask(&self, op: Op) -> Result<Outcome, Error> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(Error::Closed)?;
        queue.send(Request { op, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Keys {
    /// Waits for what is under way, so that the file can be opened again at once.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread of the keys has panicked");
        }
    }
}

#[async_trait]
impl SubjectKeys for Keys {
    async fn get(&self, project: &ProjectId, subject: &str) -> Result<Option<Key>, Error> {
        check_subject(subject)?;
        let shared = Arc::clone(&self.shared);
        let name = shared.names.subject(project, subject);
        let found = tokio::task::spawn_blocking(move || shared.find(&name)).await;
        found.map_err(|_| Error::Closed)?
    }

    async fn get_or_create(&self, project: &ProjectId, subject: &str) -> Result<Key, Error> {
        if let Some(key) = self.get(project, subject).await? {
            return Ok(key);
        }
        let name = self.shared.names.subject(project, subject);
        let project = self.shared.names.project(project);
        self.ask(Op::Create { name, project }).await?.key()
    }

    async fn destroy(&self, project: &ProjectId, subject: &str) -> Result<bool, Error> {
        check_subject(subject)?;
        let name = self.shared.names.subject(project, subject);
        let project = self.shared.names.project(project);
        Ok(self.ask(Op::Destroy { name, project }).await?.count()? > 0)
    }

    async fn wipe_project(&self, project: &ProjectId) -> Result<u64, Error> {
        let project = self.shared.names.project(project);
        self.ask(Op::Wipe { project }).await?.count()
    }
}

impl Shared {
    /// The key of a name. Blocks on the disk.
    fn find(&self, name: &Name) -> Result<Option<Key>, Error> {
        let index = self.index.read();
        match index.get(name) {
            None | Some(Entry::Destroyed) => Ok(None),
            Some(Entry::Damaged(slot)) => Err(self.damaged(*slot)),
            Some(Entry::Live(slot)) => self.key(*slot, name).map(Some),
        }
    }

    /// The key in a slot. The index must be locked.
    fn key(&self, slot: u32, name: &Name) -> Result<Key, Error> {
        match record::decode(&self.read(slot)?) {
            Ok(Record::Live { name: found, wrapped, .. }) if found == *name => {
                self.server_keys.unwrap(name, &wrapped).map_err(|error| match error {
                    Error::Unreadable => self.damaged(slot),
                    other => other,
                })
            }
            _ => Err(self.damaged(slot)),
        }
    }

    fn read(&self, slot: u32) -> Result<[u8; SLOT_BYTES], Error> {
        let mut bytes = [0; SLOT_BYTES];
        let read = self.file.read_exact_at(&mut bytes, place(slot));
        read.map_err(|e| self.io("reading a key in", e))?;
        Ok(bytes)
    }

    fn write(&self, slot: u32, bytes: &[u8; SLOT_BYTES]) -> Result<(), Error> {
        let written = self.file.write_all_at(bytes, place(slot));
        written.map_err(|e| self.io("writing to", e))
    }

    /// Waits until everything written is on disk. After a failure nobody knows what is, and a
    /// second sync would not tell: no more is written.
    fn sync(&self) -> Result<(), Error> {
        let synced = self.file.sync_data();
        #[cfg(test)]
        let synced = self.faults.sync(synced);
        synced.map_err(|e| {
            self.failed.store(true, Ordering::Release);
            self.io("syncing", e)
        })
    }

    fn io(&self, what: &str, error: std::io::Error) -> Error {
        Error::io(format!("{what} {}", self.path.display()), error)
    }

    fn damaged(&self, slot: u32) -> Error {
        Error::Corrupt { what: format!("slot {slot} of {} is spoilt", self.path.display()) }
    }
}

/// Where a slot begins.
fn place(slot: u32) -> u64 {
    u64::from(slot) * SLOT_BYTES as u64
}

#[cfg(test)]
mod tests;
