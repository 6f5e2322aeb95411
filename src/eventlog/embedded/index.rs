//! Where records stand in a segment: one entry per few KiB, and the file that keeps the entries.
//! Can always be rebuilt from the segment, so a missing or damaged index file is never an error.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use domain::{Offset, PartitionId, Timestamp};
use parking_lot::Mutex;

use super::file::{self, Faults};
use super::record::Header;

/// Bytes of log between two entries, at least.
const STEP_BYTES: u64 = 8 << 10;
/// Starts an index file; the last byte is its format version.
const MAGIC: u64 = u64::from_be_bytes(*b"hwindex\x01");
/// Ten numbers and their checksum.
const HEADER_BYTES: usize = 10 * 8 + 4;
const ENTRY_BYTES: usize = 16;
/// Indexes of sealed segments that a topic keeps in memory.
const CACHED_MAX: usize = 32;

/// What is known of a segment without reading it. Covers whole batches only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outline {
    /// Offset of its first record.
    pub(super) base: Offset,
    /// Offset after its last record.
    pub(super) end: Offset,
    /// Its bytes.
    pub(super) len: u64,
    /// Time of its first event.
    pub(super) first_time: Timestamp,
    /// Time of its last event.
    pub(super) last_time: Timestamp,
    /// First offset of its last batch.
    pub(super) last_batch: Offset,
    /// Where its last batch starts.
    pub(super) last_batch_at: u64,
}

/// One place in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Offset, counted from the segment's base. A segment is too small for this to overflow.
    delta: u32,
    /// Byte in the file.
    at: u32,
    /// Time of the event there.
    time: Timestamp,
}

/// A segment's outline and entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Indexed {
    pub(super) outline: Outline,
    pub(super) entries: Vec<Entry>,
}

impl Outline {
    /// An empty segment.
    pub(super) fn empty(base: Offset) -> Self {
        let time = Timestamp::default();
        Self {
            base,
            end: base,
            len: 0,
            first_time: time,
            last_time: time,
            last_batch: base,
            last_batch_at: 0,
        }
    }

    /// Whether it holds no record.
    pub(super) fn is_empty(&self) -> bool {
        self.base == self.end
    }
}

impl Indexed {
    /// An empty segment.
    pub(super) fn empty(base: Offset) -> Self {
        Self { outline: Outline::empty(base), entries: Vec::new() }
    }

    /// Adds the next record, of `bytes` bytes.
    pub(super) fn push(&mut self, header: &Header, bytes: u64) {
        let outline = &mut self.outline;
        let far = |last: &Entry| outline.len >= u64::from(last.at) + STEP_BYTES;
        if self.entries.last().is_none_or(far) {
            let delta = u32::try_from(header.offset - outline.base).unwrap_or(u32::MAX);
            let at = u32::try_from(outline.len).unwrap_or(u32::MAX);
            self.entries.push(Entry { delta, at, time: header.time });
        }
        if outline.is_empty() {
            outline.first_time = header.time;
        }
        if header.offset == header.batch_base {
            outline.last_batch = header.offset;
            outline.last_batch_at = outline.len;
        }
        // Imported events are older than what stands before them.
        outline.last_time = outline.last_time.max(header.time);
        outline.end = header.offset + 1;
        outline.len += bytes;
    }
}

/// The nearest known place at or before `offset`: an offset and its byte.
pub(super) fn place_of(entries: &[Entry], base: Offset, offset: Offset) -> (Offset, u64) {
    place_before(entries, base, |entry| base + u64::from(entry.delta) <= offset)
}

/// The last known place whose event is not later than `time`.
pub(super) fn place_at(entries: &[Entry], base: Offset, time: Timestamp) -> (Offset, u64) {
    place_before(entries, base, |entry| entry.time <= time)
}

fn place_before(entries: &[Entry], base: Offset, passed: impl Fn(&Entry) -> bool) -> (Offset, u64) {
    let next = entries.partition_point(passed);
    match next.checked_sub(1).and_then(|last| entries.get(last)) {
        Some(entry) => (base + u64::from(entry.delta), u64::from(entry.at)),
        None => (base, 0),
    }
}

/// Writes an index file; with `durable`, waits until it is on disk.
pub(super) fn store(
    path: &Path,
    indexed: &Indexed,
    durable: bool,
    faults: &Faults,
) -> io::Result<()> {
    let mut entries = Vec::with_capacity(indexed.entries.len() * ENTRY_BYTES);
    for entry in &indexed.entries {
        entries.extend_from_slice(&entry.delta.to_le_bytes());
        entries.extend_from_slice(&entry.at.to_le_bytes());
        entries.extend_from_slice(&entry.time.as_micros().to_le_bytes());
    }
    let outline = &indexed.outline;
    let numbers = [
        MAGIC,
        outline.base,
        outline.end,
        outline.len,
        outline.first_time.as_micros().cast_unsigned(),
        outline.last_time.as_micros().cast_unsigned(),
        outline.last_batch,
        outline.last_batch_at,
        indexed.entries.len() as u64,
        u64::from(crc32c::crc32c(&entries)),
    ];
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes.append(&mut entries);
    file::replace(path, &bytes, durable, faults)
}

/// Reads an index file's outline, not its entries; `None` when it is missing or damaged.
pub(super) fn load_outline(path: &Path) -> Option<Outline> {
    let file = File::open(path).ok()?;
    let bytes = file::read_at_most(&file, 0, HEADER_BYTES).ok()?;
    parse_header(&bytes).map(|(outline, _, _)| outline)
}

/// Reads an index file; `None` when it is missing or damaged.
pub(super) fn load(path: &Path) -> Option<Indexed> {
    let bytes = std::fs::read(path).ok()?;
    let (outline, count, crc) = parse_header(&bytes)?;
    let entries = &bytes[HEADER_BYTES..];
    let whole = entries.len() as u64 == count.checked_mul(ENTRY_BYTES as u64)?;
    if !whole || u64::from(crc32c::crc32c(entries)) != crc {
        return None;
    }
    let (entries, _) = entries.as_chunks::<ENTRY_BYTES>();
    let entries = entries
        .iter()
        .map(|entry| Entry {
            delta: number::<4>(entry, 0) as u32,
            at: number::<4>(entry, 4) as u32,
            time: Timestamp::from_micros(number::<8>(entry, 8).cast_signed()),
        })
        .collect();
    Some(Indexed { outline, entries })
}

/// The outline, the number of entries and their checksum.
fn parse_header(bytes: &[u8]) -> Option<(Outline, u64, u64)> {
    let (header, crc) = bytes.get(..HEADER_BYTES)?.split_at(HEADER_BYTES - 4);
    if u64::from(crc32c::crc32c(header)) != number::<4>(crc, 0) || number::<8>(header, 0) != MAGIC {
        return None;
    }
    let field = |i: usize| number::<8>(header, i * 8);
    let outline = Outline {
        base: field(1),
        end: field(2),
        len: field(3),
        first_time: Timestamp::from_micros(field(4).cast_signed()),
        last_time: Timestamp::from_micros(field(5).cast_signed()),
        last_batch: field(6),
        last_batch_at: field(7),
    };
    Some((outline, field(8), field(9)))
}

/// A little-endian number of `N` bytes, at most 8; callers have checked the length.
fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(out)
}

/// The indexes of sealed segments that were used last, for a whole topic.
#[derive(Default)]
pub(super) struct Cache {
    newest_last: Mutex<VecDeque<Cached>>,
}

struct Cached {
    partition: PartitionId,
    base: Offset,
    entries: Arc<Vec<Entry>>,
}

impl Cache {
    /// The entries of the segment at `base`, if they are here.
    pub(super) fn get(&self, partition: PartitionId, base: Offset) -> Option<Arc<Vec<Entry>>> {
        let mut cached = self.newest_last.lock();
        let found = cached.iter().position(|c| (c.partition, c.base) == (partition, base))?;
        let hit = cached.remove(found)?;
        let entries = Arc::clone(&hit.entries);
        cached.push_back(hit);
        Some(entries)
    }

    /// Keeps entries, and drops those that were not used for the longest.
    pub(super) fn put(&self, partition: PartitionId, base: Offset, entries: Arc<Vec<Entry>>) {
        let mut cached = self.newest_last.lock();
        cached.push_back(Cached { partition, base, entries });
        while cached.len() > CACHED_MAX {
            cached.pop_front();
        }
    }
}
