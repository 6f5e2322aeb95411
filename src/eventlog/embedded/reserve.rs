//! The part of the disk that appends leave free, so that other things on it can still be written.
//! Asks the system seldom enough to cost nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::file::{self, Faults};

/// The disk is asked again after this long …
const ASK_AFTER: Duration = Duration::from_millis(100);
/// … or after this many bytes were written.
const ASK_AFTER_BYTES: u64 = 1 << 20;

/// Watches the free bytes of a topic's disk.
pub(super) struct Reserve {
    bytes: u64,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Copy)]
struct Seen {
    when: Instant,
    free: u64,
    written: u64,
}

impl Reserve {
    /// Keeps `bytes` free; 0 never refuses.
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, seen: Mutex::new(None) }
    }

    /// Whether `bytes` more may be written to the disk of `folder`; otherwise why not.
    pub(super) fn admit(&self, bytes: u64, folder: &Path, faults: &Faults) -> Result<(), String> {
        if self.bytes == 0 {
            return Ok(());
        }
        let mut slot = self.seen.lock();
        let fresh = slot.filter(|seen| {
            seen.when.elapsed() < ASK_AFTER && seen.written + bytes <= ASK_AFTER_BYTES
        });
        let mut seen = match fresh {
            Some(seen) => seen,
            None => {
                let free = file::free_bytes(folder, faults)
                    .map_err(|error| format!("its free bytes cannot be read: {error}"))?;
                Seen { when: Instant::now(), free, written: 0 }
            }
        };
        let left = seen.free.saturating_sub(seen.written);
        let admitted = left >= self.bytes.saturating_add(bytes);
        if admitted {
            seen.written += bytes;
        }
        *slot = Some(seen);
        if admitted {
            return Ok(());
        }
        Err(format!("{left} bytes are free, {} are kept in reserve", self.bytes))
    }
}
