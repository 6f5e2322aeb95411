//! A topic's folder: its lock, its `topic.json`, and its partitions' folders when it is new.
//! Owns who may open what; reads no segment.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::file::{self, Faults, LogFile, failed};
use super::{Options, segment};
use crate::Error;

/// The layout that this program writes.
const FORMAT: u32 = 1;
const DESCRIPTION: &str = "topic.json";

/// What `topic.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    /// Version of the layout.
    format: u32,
    /// How many partitions the topic has.
    partitions: u32,
    /// Whether appends wait for the disk. Without, a power cut may leave more than a torn batch.
    fsync: bool,
}

/// An opened topic, nobody else's until it is dropped.
pub(super) struct Topic {
    pub(super) folder: PathBuf,
    pub(super) partitions: u32,
    /// Whether whoever wrote last waited for the disk.
    pub(super) was_fsynced: bool,
    pub(super) lock: File,
    /// What `topic.json` must say once the partitions are open.
    wanted: Description,
}

impl Topic {
    /// Puts the setting of `fsync` into `topic.json`, after recovery has gone by the old one.
    pub(super) fn settle(&self, faults: &Faults) -> Result<(), Error> {
        let changed = self.was_fsynced != self.wanted.fsync;
        if changed { write(&self.folder, self.wanted, faults) } else { Ok(()) }
    }
}

/// The folder of one partition.
pub(super) fn partition_folder(topic: &Path, partition: u32) -> PathBuf {
    topic.join(partition.to_string())
}

/// Opens a topic that exists.
pub(super) fn open_existing(folder: &Path) -> Result<Topic, Error> {
    let lock = lock(folder)?;
    let known = read(folder)?.ok_or_else(|| refused(folder, "it has no topic.json".to_owned()))?;
    Ok(Topic {
        folder: folder.to_owned(),
        partitions: known.partitions,
        was_fsynced: known.fsync,
        lock,
        wanted: known,
    })
}

/// Opens the topic that `options` name, or makes it.
pub(super) fn open(options: &Options, faults: &Faults) -> Result<Topic, Error> {
    let folder = options.dir.join(&options.topic);
    let bad_name = domain::ids::check_id(&options.topic).err();
    if let Some(why) = bad_name {
        return Err(refused(&folder, format!("the topic's name {why}")));
    }
    if options.partitions == 0 {
        return Err(refused(&folder, "a topic needs at least one partition".to_owned()));
    }
    std::fs::create_dir_all(&folder).map_err(|error| failed("creating", &folder, error))?;
    let lock = lock(&folder)?;
    let wanted =
        Description { format: FORMAT, partitions: options.partitions, fsync: options.fsync };
    let known = match read(&folder)? {
        Some(known) if known.partitions != wanted.partitions => {
            let (has, asked) = (known.partitions, wanted.partitions);
            return Err(refused(&folder, format!("it has {has} partitions, asked for {asked}")));
        }
        Some(known) => known,
        None => {
            create(&folder, options, faults)?;
            write(&folder, wanted, faults)?;
            wanted
        }
    };
    let (partitions, was_fsynced) = (wanted.partitions, known.fsync);
    Ok(Topic { folder, partitions, was_fsynced, lock, wanted })
}

fn write(folder: &Path, description: Description, faults: &Faults) -> Result<(), Error> {
    let path = folder.join(DESCRIPTION);
    serde_json::to_vec(&description)
        .map_err(io::Error::from)
        .and_then(|text| file::replace(&path, &text, true, faults))
        .map_err(|error| failed("writing", &path, error))
}

/// How often a lock that is held is tried again, and after what pause.
const LOCK_TRIES: u32 = 6;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Takes the topic's lock or says who is in the way.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| failed("opening", &path, error))?;
    for tries_left in (0..LOCK_TRIES).rev() {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // A process that is ending, or one that was just forked, lets go in a moment.
            Err(rustix::io::Errno::WOULDBLOCK) if tries_left > 0 => std::thread::sleep(LOCK_PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => break,
            Err(error) => return Err(failed("locking", &path, error.into())),
        }
    }
    Err(refused(folder, "another process has it open".to_owned()))
}

/// Reads `topic.json`; `None` when there is none.
fn read(folder: &Path) -> Result<Option<Description>, Error> {
    let path = folder.join(DESCRIPTION);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("reading", &path, error)),
    };
    let known: Description = serde_json::from_slice(&text)
        .map_err(|error| refused(folder, format!("topic.json is damaged: {error}")))?;
    if known.format != FORMAT {
        let format = known.format;
        return Err(refused(folder, format!("its format is {format}, known is {FORMAT}")));
    }
    Ok(Some(known))
}

/// Makes the partitions of a new topic, each with one empty segment.
fn create(folder: &Path, options: &Options, faults: &Faults) -> Result<(), Error> {
    for partition in 0..options.partitions {
        let folder = partition_folder(folder, partition);
        let made = || -> io::Result<bool> {
            std::fs::create_dir_all(&folder)?;
            let path = segment::log_path(&folder, 0);
            // Left by a creation that was cut short, or by a topic that lost its topic.json?
            let bases = segment::bases(&folder)?;
            if bases.iter().any(|base| *base != 0)
                || (!bases.is_empty() && path.metadata()?.len() > 0)
            {
                return Ok(false);
            }
            LogFile::open(path, faults.clone())?.sync()?;
            file::sync_folder(&folder, faults)?;
            Ok(true)
        };
        if !made().map_err(|error| failed("creating", &folder, error))? {
            return Err(refused(&folder, "it holds events but its topic has no topic.json".into()));
        }
    }
    [Some(folder), Some(&options.dir), options.dir.parent()]
        .into_iter()
        .flatten()
        .filter(|path| !path.as_os_str().is_empty())
        .try_for_each(|path| file::sync_folder(path, faults))
        .map_err(|error| failed("syncing", folder, error))
}

fn refused(folder: &Path, reason: String) -> Error {
    Error::Open { path: folder.display().to_string(), reason }
}
