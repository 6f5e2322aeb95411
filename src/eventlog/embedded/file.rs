//! The few things done to files: write at a place, sync, cut, replace a small file whole.
//! Owns the seam by which tests make a disk fail; outside tests the seam is empty.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// A segment file that is being appended to.
pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    faults: Faults,
}

impl LogFile {
    /// Opens a file to append to, or creates it empty.
    pub(super) fn open(path: PathBuf, faults: Faults) -> io::Result<Self> {
        let mut how = File::options();
        how.read(true).write(true);
        if !path.exists() {
            faults.before_create()?;
            how.create(true);
        }
        Ok(Self { file: how.open(&path)?, path, faults })
    }

    /// Writes all of `bytes` at `at`. After an error any part of them may be in the file.
    pub(super) fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let (allowed, then) = self.faults.before_write(bytes.len());
        self.file.write_all_at(&bytes[..allowed], at)?;
        then
    }

    /// Waits until the file's bytes and length are on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.faults.sync(|| self.file.sync_data())
    }

    /// Cuts the file to `bytes` and waits until that is on disk.
    pub(super) fn cut(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.sync()
    }

    /// The file itself, to read from.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether the system said that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::WriteZero)
}

/// Puts a file error into words.
pub(super) fn failed(what: &str, path: &Path, source: io::Error) -> Error {
    Error::Io { what: format!("{what} {}", path.display()), source }
}

/// Waits until the names in a folder are on disk.
pub(super) fn sync_folder(path: &Path, faults: &Faults) -> io::Result<()> {
    faults.sync(|| File::open(path)?.sync_all())
}

/// Writes a small file whole or not at all. With `durable`, waits until it is on disk.
pub(super) fn replace(path: &Path, bytes: &[u8], durable: bool, faults: &Faults) -> io::Result<()> {
    let fresh = path.with_added_extension("new");
    faults.before_create()?;
    std::fs::write(&fresh, bytes)?;
    if durable {
        faults.sync(|| File::open(&fresh)?.sync_all())?;
    }
    std::fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) if durable => sync_folder(folder, faults),
        _ => Ok(()),
    }
}

/// Removes a file; none there is well, too.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Up to `count` bytes from `at`; fewer where the file ends.
pub(super) fn read_at_most(file: &File, at: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Bytes that the disk under `path` has left for us.
pub(super) fn free_bytes(path: &Path, faults: &Faults) -> io::Result<u64> {
    if let Some(free) = faults.free_bytes() {
        return Ok(free);
    }
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// What the disk is told to do wrong: nothing, outside tests.
#[derive(Clone, Default)]
pub(super) struct Faults {
    #[cfg(test)]
    plan: std::sync::Arc<parking_lot::Mutex<Plan>>,
}

/// The wrongs of a test's disk.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Plan {
    /// Bytes that fit before a write ends short with "no space left".
    pub(super) room_bytes: Option<u64>,
    /// Whether syncs fail.
    pub(super) sync_fails: bool,
    /// What the disk claims to have left.
    pub(super) free_bytes: Option<u64>,
    /// Syncs so far.
    pub(super) syncs: u64,
}

#[cfg(not(test))]
impl Faults {
    fn before_create(&self) -> io::Result<()> {
        Ok(())
    }

    fn before_write(&self, count: usize) -> (usize, io::Result<()>) {
        (count, Ok(()))
    }

    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        sync()
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

#[cfg(test)]
impl Faults {
    /// Changes the plan.
    pub(super) fn plan(&self) -> parking_lot::MutexGuard<'_, Plan> {
        self.plan.lock()
    }

    fn before_create(&self) -> io::Result<()> {
        match self.plan.lock().room_bytes {
            Some(0) => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn before_write(&self, count: usize) -> (usize, io::Result<()>) {
        let Some(room) = &mut self.plan.lock().room_bytes else { return (count, Ok(())) };
        let fits = usize::try_from(*room).unwrap_or(usize::MAX).min(count);
        *room -= fits as u64;
        let then = if fits < count { Err(ErrorKind::StorageFull.into()) } else { Ok(()) };
        (fits, then)
    }

    /// Counts instead of syncing: tests end processes, not machines, and there are thousands.
    fn sync(&self, _: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut plan = self.plan.lock();
        plan.syncs += 1;
        let failure = || io::Error::other("the test's disk fails to sync");
        if plan.sync_fails { Err(failure()) } else { Ok(()) }
    }

    fn free_bytes(&self) -> Option<u64> {
        self.plan.lock().free_bytes
    }
}
