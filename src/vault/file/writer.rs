//! The one thread that writes the file. It takes what waits, writes all of it, syncs once and then
//! answers: nobody hears of a key, or of its end, before that is on disk.

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};

use super::record::{self, Damage, FIRST, Record, SLOT_BYTES};
use super::{Entry, Shared, place};
use crate::{Error, Key, Name, ProjectTag};

/// Requests that share one sync at most.
const GROUP_MAX: usize = 256;
/// Slots that are wrapped anew between two syncs.
const REWRAP_SLOTS: usize = 256;

/// What the thread is to do.
#[derive(Debug)]
pub(super) enum Op {
    /// Gives the key, and makes it where there is none.
    Create { name: Name, project: ProjectTag },
    /// Destroys the key.
    Destroy { name: Name, project: ProjectTag },
    /// Destroys all keys of a project.
    Wipe { project: ProjectTag },
    /// Wraps anew what lies under an earlier key of the server.
    Rewrap,
}

/// What it did.
#[derive(Debug)]
pub(super) enum Outcome {
    Key(Key),
    Count(u64),
}

impl Outcome {
    pub(super) fn key(self) -> Result<Key, Error> {
        match self {
            Self::Key(key) => Ok(key),
            Self::Count(_) => Err(Error::Closed),
        }
    }

    pub(super) fn count(self) -> Result<u64, Error> {
        match self {
            Self::Count(count) => Ok(count),
            Self::Key(_) => Err(Error::Closed),
        }
    }
}

/// One wish, and where to answer.
pub(super) struct Request {
    pub(super) op: Op,
    pub(super) reply: oneshot::Sender<Result<Outcome, Error>>,
}

/// What the next sync will make true of a name.
enum Pending {
    Key(Key),
    Destroyed,
}

/// An answer that waits for the sync.
struct Answer {
    reply: oneshot::Sender<Result<Outcome, Error>>,
    outcome: Result<Outcome, Error>,
    /// Whether it relies on what is to be appended.
    appends: bool,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Slots that are on disk.
    slots: u32,
    /// Slots to be appended.
    fresh: Vec<u8>,
    /// The names of these, each with its slot.
    pending: HashMap<Name, (u32, Pending)>,
    /// Whether a slot was overwritten since the last sync.
    overwritten: bool,
    answers: Vec<Answer>,
}

impl Writer {
    /// For a file that has `slots` slots.
    pub(super) fn new(shared: Arc<Shared>, slots: u32) -> Self {
        let slots = slots.max(FIRST);
        let (fresh, pending, answers) = (Vec::new(), HashMap::new(), Vec::new());
        Self { shared, slots, fresh, pending, overwritten: false, answers }
    }

    /// Serves until nobody can ask any more.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            self.take(first);
            for _ in 1..GROUP_MAX {
                let Ok(next) = requests.try_recv() else { break };
                self.take(next);
            }
            self.finish();
        }
    }

    fn take(&mut self, Request { op, reply }: Request) {
        // What is to be appended stands alone: nothing overwrites it before it is there.
        let overwrites_pending = match &op {
            Op::Create { .. } => false,
            Op::Destroy { name, .. } => self.pending.contains_key(name),
            Op::Wipe { .. } | Op::Rewrap => true,
        };
        if overwrites_pending {
            self.finish();
        }
        let before = self.fresh.len();
        let mut appends = matches!(&op, Op::Create { name, .. } if self.pending.contains_key(name));
        let outcome = match self.shared.failed.load(Ordering::Acquire) {
            true => Err(Error::Closed),
            false => self.apply(op),
        };
        appends |= self.fresh.len() > before;
        self.answers.push(Answer { reply, outcome, appends });
    }

    fn apply(&mut self, op: Op) -> Result<Outcome, Error> {
        match op {
            Op::Create { name, project } => self.create(name, &project).map(Outcome::Key),
            Op::Destroy { name, project } => {
                self.destroy(name, &project).map(|was| Outcome::Count(was.into()))
            }
            Op::Wipe { project } => self.wipe(&project).map(Outcome::Count),
            Op::Rewrap => {
                let count = self.rewrap();
                // What was begun must not be published: the slots that it stands for are there.
                self.fresh.clear();
                self.pending.clear();
                count.map(Outcome::Count)
            }
        }
    }

    fn create(&mut self, name: Name, project: &ProjectTag) -> Result<Key, Error> {
        match self.pending.get(&name) {
            Some((_, Pending::Key(key))) => return Ok(key.clone()),
            Some((_, Pending::Destroyed)) => return Err(Error::Destroyed),
            None => {}
        }
        let known = self.shared.index.read().get(&name).copied();
        match known {
            Some(Entry::Destroyed) => Err(Error::Destroyed),
            Some(_) => self.shared.find(&name)?.ok_or(Error::Destroyed),
            None => {
                let key = Key::generate()?;
                let wrapped = self.shared.server_keys.wrap(&name, &key)?;
                let slot = record::live(&name, project, &wrapped);
                self.append(name, &slot, Pending::Key(key.clone()))?;
                Ok(key)
            }
        }
    }

    /// Whether there was a key.
    fn destroy(&mut self, name: Name, project: &ProjectTag) -> Result<bool, Error> {
        let known = self.shared.index.read().get(&name).copied();
        match known {
            Some(Entry::Destroyed) => Ok(false),
            Some(Entry::Live(slot) | Entry::Damaged(slot)) => {
                self.overwrite(slot, name, project)?;
                Ok(true)
            }
            None => {
                self.append(name, &record::destroyed(&name, project), Pending::Destroyed)?;
                Ok(false)
            }
        }
    }

    fn wipe(&mut self, wiped: &ProjectTag) -> Result<u64, Error> {
        let mut count = 0;
        for slot in FIRST..self.slots {
            match record::decode(&self.shared.read(slot)?) {
                Ok(Record::Live { name, project, .. }) | Err(Damage::Key { name, project })
                    if project == *wiped =>
                {
                    self.overwrite(slot, name, &project)?;
                    count += 1;
                }
                _ => {}
            }
        }
        Ok(count)
    }

    /// First the new slots, durably, then zeros over the old ones: a crash between leaves both.
    fn rewrap(&mut self) -> Result<u64, Error> {
        let keys = self.shared.server_keys.clone();
        let (mut count, last) = (0, self.slots);
        let mut moved: Vec<u32> = Vec::new();
        for slot in FIRST..last {
            let found = record::decode(&self.shared.read(slot)?);
            let Ok(Record::Live { name, project, wrapped }) = found else { continue };
            if keys.is_outdated(&wrapped) {
                let key = keys.unwrap(&name, &wrapped)?;
                let slot_bytes = record::live(&name, &project, &keys.wrap(&name, &key)?);
                self.append(name, &slot_bytes, Pending::Key(key))?;
                moved.push(slot);
                count += 1;
            }
            if moved.len() == REWRAP_SLOTS {
                self.clear(&mut moved)?;
            }
        }
        self.clear(&mut moved)?;
        let header = record::header(&self.shared.names.wrap(&keys)?);
        for slot in 0..FIRST {
            self.shared.write(slot, &header)?;
            self.shared.sync()?;
        }
        Ok(count)
    }

    /// Makes what was appended durable, then zeroes the slots that it stands for.
    fn clear(&mut self, moved: &mut Vec<u32>) -> Result<(), Error> {
        self.commit()?;
        let cleared = moved.drain(..).try_for_each(|slot| {
            let _index = self.shared.index.write();
            self.shared.write(slot, &[0; SLOT_BYTES])
        });
        if cleared.is_err() {
            // Some names have two slots now, and only opening the file finds both.
            self.shared.failed.store(true, Ordering::Release);
        }
        cleared.and_then(|()| self.shared.sync())
    }

    /// Overwrites a key. From here on nobody reads it, durable or not.
    fn overwrite(&mut self, slot: u32, name: Name, project: &ProjectTag) -> Result<(), Error> {
        let mut index = self.shared.index.write();
        self.overwritten = true;
        self.shared.write(slot, &record::destroyed(&name, project))?;
        index.insert(name, Entry::Destroyed);
        Ok(())
    }

    fn append(
        &mut self,
        name: Name,
        bytes: &[u8; SLOT_BYTES],
        pending: Pending,
    ) -> Result<(), Error> {
        let slot = self.slots as usize + self.fresh.len() / SLOT_BYTES;
        let slot = u32::try_from(slot).map_err(|_| Error::Full {
            what: format!("{} has as many slots as it may", self.shared.path.display()),
        })?;
        self.fresh.extend_from_slice(bytes);
        self.pending.insert(name, (slot, pending));
        Ok(())
    }

    /// Writes and syncs what waits, then answers everybody.
    fn finish(&mut self) {
        let appended = self.write_fresh();
        let synced = match appended.is_ok() && !self.pending.is_empty() || self.overwritten {
            true => self.shared.sync(),
            false => Ok(()),
        };
        self.overwritten = false;
        if let Err(error) = appended.as_ref().and(synced.as_ref()) {
            tracing::error!(%error, "keys could not be stored");
        }
        if appended.is_ok() && synced.is_ok() {
            self.publish();
        }
        self.pending.clear();
        for Answer { reply, outcome, appends } in self.answers.drain(..) {
            let failure = match (&appended, &synced) {
                (Err(error), _) if appends => Some(error),
                (_, Err(error)) => Some(error),
                _ => None,
            };
            // Who asked may have stopped waiting.
            let _ = reply.send(match failure {
                Some(error) => Err(again(error)),
                None => outcome,
            });
        }
    }

    /// Writes and syncs what waits, for one who goes on.
    fn commit(&mut self) -> Result<(), Error> {
        let outcome = self.write_fresh().and_then(|()| self.shared.sync());
        if outcome.is_ok() {
            self.publish();
        }
        self.pending.clear();
        outcome
    }

    /// Writes the slots that are to be appended. Where that fails, the file is as it was.
    fn write_fresh(&mut self) -> Result<(), Error> {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        let written = shared.file.write_all_at(&fresh, place(self.slots));
        #[cfg(test)]
        let written = shared.faults.write(written);
        written.map_err(|error| {
            if shared.file.set_len(place(self.slots)).is_err() {
                shared.failed.store(true, Ordering::Release);
            }
            shared.io("appending to", error)
        })
    }

    /// Lets readers find what is durable now.
    fn publish(&mut self) {
        let mut index = self.shared.index.write();
        for (name, (slot, pending)) in self.pending.drain() {
            self.slots = self.slots.max(slot + 1);
            index.insert(
                name,
                match pending {
                    Pending::Key(_) => Entry::Live(slot),
                    Pending::Destroyed => Entry::Destroyed,
                },
            );
        }
    }
}

/// The same failure for another one who waits.
fn again(error: &Error) -> Error {
    match error {
        Error::Full { what } => Error::Full { what: what.clone() },
        Error::Io { what, source } => Error::Io {
            what: what.clone(),
            source: std::io::Error::new(source.kind(), source.to_string()),
        },
        _ => Error::Closed,
    }
}
