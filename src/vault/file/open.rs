//! Opens the file: makes it, finds out what is in it, and finishes what a crash has stopped.

use std::collections::HashMap;
use std::collections::hash_map::Entry as At;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use parking_lot::RwLock;

use super::record::{self, Damage, FIRST, Record, SLOT_BYTES};
use super::{Entry, Shared, place};
use crate::{Error, Name, Names, ServerKeys};

/// Slots read at once.
const READ_SLOTS: u32 = 512;
/// Bytes of the header's copies.
const HEADER_BYTES: usize = FIRST as usize * SLOT_BYTES;

/// Opens or makes the file; what readers and the writer share, and how many slots there are.
pub(super) fn open(path: &Path, server_keys: ServerKeys) -> Result<(Shared, u32), Error> {
    let what = || format!("opening {}", path.display());
    let mut how = File::options();
    how.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = how.open(path).map_err(|e| Error::io(what(), e))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::Locked { path: path.display().to_string() },
        TryLockError::Error(e) => Error::io(what(), e),
    })?;
    let mut start = vec![0; HEADER_BYTES];
    let read = read_at_most(&file, &mut start).map_err(|e| Error::io(what(), e))?;
    start.truncate(read);
    let names = match names(path, &server_keys, &start)? {
        Some(names) => names,
        None => make(path, &file, &server_keys)?,
    };
    let shared = Shared {
        file,
        path: path.to_owned(),
        server_keys,
        names,
        index: RwLock::default(),
        failed: AtomicBool::new(false),
        #[cfg(test)]
        faults: Default::default(),
    };
    let mut found = Found::default();
    let slots = scan(&shared, &mut found)?;
    for (slot, bytes) in &found.repairs {
        shared.write(*slot, bytes)?;
    }
    if !found.repairs.is_empty() {
        shared.sync()?;
    }
    *shared.index.write() = found.entries;
    repair_header(&shared, &start)?;
    Ok((shared, slots))
}

/// The names of a file that begins so; `None` for a new one.
fn names(path: &Path, server_keys: &ServerKeys, start: &[u8]) -> Result<Option<Names>, Error> {
    let copies: Vec<_> = start.chunks(SLOT_BYTES).filter_map(record::decode_header).collect();
    if let Some(wrapped) = copies.first() {
        return match Names::unwrap(server_keys, wrapped) {
            Err(Error::Unreadable) => Err(corrupt(path, "its header does not open")),
            other => other.map(Some),
        };
    }
    // No key is acknowledged before the header is durable, so nothing is lost.
    let unfinished = start.len() < HEADER_BYTES || start.iter().all(|byte| *byte == 0);
    match unfinished && record::is_begun(start) {
        true => Ok(None),
        false => Err(corrupt(path, "it does not begin as a file of keys does")),
    }
}

/// Writes the header of a new file.
fn make(path: &Path, file: &File, server_keys: &ServerKeys) -> Result<Names, Error> {
    let what = || format!("making {}", path.display());
    let length = file.metadata().map_err(|e| Error::io(what(), e))?.len();
    if length > HEADER_BYTES as u64 {
        return Err(corrupt(path, "it has keys, but no header"));
    }
    let names = Names::generate()?;
    let header = record::header(&names.wrap(server_keys)?);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let written = file
        .write_all_at(&[header, header].concat(), 0)
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|e| Error::io(what(), e))?;
    Ok(names)
}

/// Writes the copy of the header that is spoilt, if one is. `start` is what was read of it.
fn repair_header(shared: &Shared, start: &[u8]) -> Result<(), Error> {
    let copies: Vec<_> = start.chunks(SLOT_BYTES).map(record::decode_header).collect();
    let Some(sound) = copies.iter().flatten().next() else { return Ok(()) };
    for slot in 0..FIRST {
        let known = copies.get(slot as usize).and_then(Option::as_ref);
        if known != Some(sound) {
            tracing::warn!(path = %shared.path.display(), slot, "a copy of the header is mended");
            shared.write(slot, &record::header(sound))?;
            shared.sync()?;
        }
    }
    Ok(())
}

/// What the slots hold, and what is to be written over some of them.
#[derive(Default)]
struct Found {
    entries: HashMap<Name, Entry>,
    repairs: Vec<(u32, [u8; SLOT_BYTES])>,
}

/// Reads every slot; how many there are. Cuts off what is not a whole slot.
fn scan(shared: &Shared, found: &mut Found) -> Result<u32, Error> {
    let length = shared.file.metadata().map_err(|e| shared.io("opening", e))?.len();
    let slots = length / SLOT_BYTES as u64;
    let slots = u32::try_from(slots).map_err(|_| corrupt(&shared.path, "it is too long"))?;
    let mut end = slots;
    let mut bytes = vec![0; READ_SLOTS as usize * SLOT_BYTES];
    let mut slot = FIRST;
    while slot < slots {
        let count = (slots - slot).min(READ_SLOTS);
        let bytes = &mut bytes[..count as usize * SLOT_BYTES];
        let read = shared.file.read_exact_at(bytes, place(slot));
        read.map_err(|e| shared.io("reading", e))?;
        for bytes in bytes.as_chunks::<SLOT_BYTES>().0 {
            match record::decode(bytes) {
                // The end of an append that a crash has stopped.
                Err(Damage::Head) if slot + 1 == slots && record::is_cut(bytes) => end = slot,
                Err(Damage::Head) => {
                    let what = format!("nobody can tell whose key slot {slot} holds");
                    return Err(corrupt(&shared.path, &what));
                }
                other => found.add(slot, other),
            }
            slot += 1;
        }
    }
    if place(end) < length {
        tracing::warn!(
            path = %shared.path.display(),
            bytes = length - place(end),
            "the end of an append that was stopped is cut off"
        );
        shared.file.set_len(place(end)).map_err(|e| shared.io("cutting", e))?;
        shared.sync()?;
    }
    Ok(end)
}

impl Found {
    fn add(&mut self, slot: u32, record: Result<Record, Damage>) {
        let (name, entry) = match record {
            Ok(Record::Hole) | Err(Damage::Head) => return,
            Ok(Record::Live { name, .. }) => (name, Entry::Live(slot)),
            Ok(Record::Destroyed { name, .. }) => (name, Entry::Destroyed),
            Err(Damage::Key { name, .. }) => {
                tracing::error!(slot, "a subject's key is spoilt");
                (name, Entry::Damaged(slot))
            }
            Err(Damage::Remains { name, project }) => {
                self.repairs.push((slot, record::destroyed(&name, &project)));
                (name, Entry::Destroyed)
            }
        };
        match self.entries.entry(name) {
            At::Vacant(free) => {
                free.insert(entry);
            }
            At::Occupied(mut known) => {
                // A crash while keys were wrapped anew: the later slot is as good as the earlier
                // one, unless the disk has spoilt it. What was destroyed stays so.
                let before = *known.get();
                let (kept, other) = match (before, entry) {
                    (Entry::Destroyed, _) | (Entry::Live(_), Entry::Damaged(_)) => (before, entry),
                    _ => (entry, before),
                };
                if let Entry::Live(slot) | Entry::Damaged(slot) = other {
                    self.repairs.push((slot, [0; SLOT_BYTES]));
                }
                *known.get_mut() = kept;
            }
        }
    }
}

fn corrupt(path: &Path, what: &str) -> Error {
    Error::Corrupt { what: format!("{}: {what}", path.display()) }
}

/// Fills `bytes` from the file's beginning, as far as it goes; how many there were.
fn read_at_most(file: &File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
