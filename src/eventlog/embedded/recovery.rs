//! How a partition is opened: after a clean end by its `clean` file and one look at the last
//! batch, otherwise by reading the last segment whole.
//!
//! A torn tail is cut off; anything else that is not as it was written makes the partition refuse.
//! Never drops a batch that another batch follows: each is on disk before the next is written.

use std::path::{Path, PathBuf};

use domain::{Offset, PartitionId};
use tracing::{error, warn};

use super::file::{self, Faults, LogFile, failed};
use super::index::{self, Indexed, Outline};
use super::segment::{self, Search, Stop, scan, search};
use crate::Error;

/// A partition as found on disk.
pub(super) struct Opened {
    /// Every segment but the newest, oldest first.
    pub(super) sealed: Vec<Outline>,
    /// The newest segment.
    pub(super) active: Indexed,
    /// The newest segment's file.
    pub(super) file: LogFile,
}

/// Why a partition cannot be served.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    /// The oldest offset on disk.
    pub(super) start: Offset,
    /// The first offset that is not as it was written.
    pub(super) offset: Offset,
    /// File, byte and what was found.
    pub(super) detail: String,
}

/// What opens one partition.
pub(super) struct Recovery<'a> {
    pub(super) partition: PartitionId,
    pub(super) folder: &'a Path,
    /// Whether whoever wrote last waited for the disk before each next batch.
    pub(super) was_fsynced: bool,
    pub(super) faults: &'a Faults,
}

/// The file that a clean end leaves: the newest segment's index.
pub(super) fn clean_path(folder: &Path) -> PathBuf {
    folder.join("clean")
}

/// The file that says that damage was seen, so that nothing may be cut off as a torn tail.
pub(super) fn damaged_path(folder: &Path) -> PathBuf {
    folder.join("damaged")
}

impl Recovery<'_> {
    /// Opens the partition, or says what is wrong with it.
    ///
    /// Errors: [`Error::Io`]; damage is no error but the inner answer.
    pub(super) fn open(&self) -> Result<Result<Opened, Damage>, Error> {
        let opened = self.open_unmarked()?;
        if let Err(damage) = &opened {
            error!(
                partition = self.partition.0,
                offset = damage.offset,
                "a partition is damaged and will not be served: {}",
                damage.detail
            );
            // Without the mark the next start finds the same again, so a failure is only told.
            let mark = damaged_path(self.folder);
            if let Err(error) = file::replace(&mark, damage.detail.as_bytes(), true, self.faults) {
                warn!(partition = self.partition.0, "the damage could not be marked: {error}");
            }
            return Ok(opened);
        }
        // Nothing is served before these are gone: they are true of a partition at rest only.
        for path in [clean_path(self.folder), damaged_path(self.folder)] {
            file::remove(&path).map_err(|error| failed("removing", &path, error))?;
        }
        file::sync_folder(self.folder, self.faults)
            .map_err(|error| failed("syncing", self.folder, error))?;
        Ok(opened)
    }

    fn open_unmarked(&self) -> Result<Result<Opened, Damage>, Error> {
        let io = |error| failed("opening", self.folder, error);
        let damage = |start, offset, detail| Ok(Err(Damage { start, offset, detail }));
        if !self.folder.is_dir() {
            return damage(0, 0, format!("{} is missing", self.folder.display()));
        }
        let bases = segment::bases(self.folder).map_err(io)?;
        let Some((&newest, older)) = bases.split_last() else {
            return damage(0, 0, format!("{} has no segment", self.folder.display()));
        };
        let start = bases[0];
        let mut sealed = Vec::with_capacity(older.len());
        for pair in bases.windows(2) {
            match self.sealed(pair[0], pair[1])? {
                Ok(outline) => sealed.push(outline),
                Err((offset, detail)) => return damage(start, offset, detail),
            }
        }
        let path = segment::log_path(self.folder, newest);
        let file = LogFile::open(path, self.faults.clone()).map_err(io)?;
        let clean = clean_path(self.folder);
        let active = match index::load(&clean) {
            Some(known) => self.after_clean_end(&file, newest, known).map_err(io)?,
            None => {
                if clean.exists() {
                    warn!(partition = self.partition.0, "the clean file is damaged: not used");
                }
                self.after_crash(&file, newest).map_err(io)?
            }
        };
        match active {
            Ok(active) => Ok(Ok(Opened { sealed, active, file })),
            Err((offset, detail)) => damage(start, offset, detail),
        }
    }

    /// The outline of a sealed segment, which must end where the next one starts.
    fn sealed(
        &self,
        base: Offset,
        next: Offset,
    ) -> Result<Result<Outline, (Offset, String)>, Error> {
        let path = segment::log_path(self.folder, base);
        let len = path.metadata().map_err(|error| failed("opening", &path, error))?.len();
        let known = index::load_outline(&segment::index_path(self.folder, base));
        let fits = |known: &Outline| (known.base, known.end, known.len) == (base, next, len);
        if let Some(known) = known.filter(fits) {
            return Ok(Ok(known));
        }
        warn!(partition = self.partition.0, segment = base, "an index is missing: rebuilding it");
        let io = |error| failed("reading", &path, error);
        let indexed = match rebuild(self.folder, base, self.faults).map_err(io)? {
            Ok(indexed) => indexed,
            Err(stop) => return Ok(Err(place(&stop, &path))),
        };
        let end = indexed.outline.end;
        if end == next {
            return Ok(Ok(indexed.outline));
        }
        let detail = format!("{} ends at {end}, the next starts at {next}", path.display());
        Ok(Err((end.min(next), detail)))
    }

    /// The newest segment must be as the clean end left it, and its last batch whole.
    fn after_clean_end(
        &self,
        file: &LogFile,
        base: Offset,
        known: Indexed,
    ) -> std::io::Result<Result<Indexed, (Offset, String)>> {
        let outline = known.outline;
        let len = file.file().metadata()?.len();
        let path = file.path().display();
        if base != outline.base {
            let detail = format!("the newest segment should be {}, {base} is", outline.base);
            let offset = if base < outline.base { outline.base } else { outline.end };
            return Ok(Err((offset, detail)));
        }
        let readable = len.min(outline.len);
        let mut last = Indexed::empty(base);
        last.outline.end = outline.last_batch;
        last.outline.len = outline.last_batch_at;
        let mut found = scan(file.file(), last, readable)?;
        let end = found.whole.outline.end;
        if len != outline.len || end != outline.end || found.stop.is_some() {
            // Something is wrong: look from the front, to name the first offset.
            found = scan(file.file(), Indexed::empty(base), readable)?;
        }
        if let Some(stop) = found.stop {
            return Ok(Err(place(&stop, file.path())));
        }
        let end = found.whole.outline.end;
        if len != outline.len || end != outline.end {
            let detail = format!(
                "{path} has {len} bytes up to offset {end}, it was left with {} up to {}",
                outline.len, outline.end
            );
            return Ok(Err((end.min(outline.end), detail)));
        }
        Ok(Ok(known))
    }

    /// Reads the newest segment whole and cuts off a torn batch.
    fn after_crash(
        &self,
        file: &LogFile,
        base: Offset,
    ) -> std::io::Result<Result<Indexed, (Offset, String)>> {
        let len = file.file().metadata()?.len();
        let found = scan(file.file(), Indexed::empty(base), len)?;
        let whole = found.whole;
        if let Some(stop) = found.stop {
            if let Some(why) = self.not_torn(file, &stop, len)? {
                let (offset, detail) = place(&stop, file.path());
                return Ok(Err((offset, format!("{detail}; {why}"))));
            }
            warn!(
                partition = self.partition.0,
                offset = whole.outline.end,
                bytes = len - whole.outline.len,
                "a batch was cut short by a crash: dropping it"
            );
            file.cut(whole.outline.len)?;
        } else {
            // Whole, but perhaps only in the system's memory: on disk before anybody reads it.
            file.sync()?;
        }
        Ok(Ok(whole))
    }

    /// Why what a scan stopped at is not the torn batch of a crash; `None` when it is.
    fn not_torn(&self, file: &LogFile, stop: &Stop, len: u64) -> std::io::Result<Option<String>> {
        if damaged_path(self.folder).exists() {
            return Ok(Some("damage was seen before".to_owned()));
        }
        if !self.was_fsynced {
            // Written without waiting: the disk may have taken later batches and not this one.
            return Ok(None);
        }
        if stop.misplaced {
            return Ok(Some("its checksum is right, so it was written so".to_owned()));
        }
        let later = |header: &super::record::Header| header.batch_base > stop.offset;
        Ok(match search(file.file(), stop.at + 1, len, later)? {
            Search::Nothing => None,
            Search::Record(header, at) => {
                Some(format!("offset {} follows at byte {at}", header.offset))
            }
            Search::GaveUp => Some("what follows looks like records".to_owned()),
        })
    }
}

/// Scans a sealed segment and writes its index anew. The inner error is where it is not whole.
pub(super) fn rebuild(
    folder: &Path,
    base: Offset,
    faults: &Faults,
) -> std::io::Result<Result<Indexed, Stop>> {
    let file = std::fs::File::open(segment::log_path(folder, base))?;
    let found = scan(&file, Indexed::empty(base), file.metadata()?.len())?;
    if let Some(stop) = found.stop {
        return Ok(Err(stop));
    }
    if let Err(error) =
        index::store(&segment::index_path(folder, base), &found.whole, false, faults)
    {
        warn!(segment = base, "an index could not be written: {error}");
    }
    Ok(Ok(found.whole))
}

fn place(stop: &Stop, path: &Path) -> (Offset, String) {
    (stop.offset, format!("{} byte {}: {}", path.display(), stop.at, stop.detail))
}
