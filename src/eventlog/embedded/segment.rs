//! One segment file read from front to back: record after record, whole batches, or a search for
//! the next good record behind a bad one. Verifies every record; never writes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use domain::Offset;

use super::file::read_at_most;
use super::index::{Indexed, Outline};
use super::record::{self, Header, Invalid};

/// Bytes read at once when a whole segment is scanned.
pub(super) const SCAN_CHUNK_BYTES: usize = 256 << 10;
/// Bytes searched at once behind a bad record.
const SEARCH_CHUNK_BYTES: usize = 1 << 20;

/// The segment file with first offset `base`.
pub(super) fn log_path(folder: &Path, base: Offset) -> PathBuf {
    folder.join(format!("{base:020}.log"))
}

/// The index file of the segment with first offset `base`.
pub(super) fn index_path(folder: &Path, base: Offset) -> PathBuf {
    folder.join(format!("{base:020}.index"))
}

/// First offsets of the segments in `folder`, in order.
pub(super) fn bases(folder: &Path) -> io::Result<Vec<Offset>> {
    let mut bases = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".log"));
        let digits = digits.filter(|text| text.len() == 20 && !text.starts_with('+'));
        if let Some(Ok(base)) = digits.map(str::parse) {
            bases.push(base);
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// What stands at a place of a segment.
pub(super) enum Found {
    /// The segment's end.
    End,
    /// A record that passes its checksum, and its bytes.
    Record(Header, Bytes),
    /// Something else.
    Bad(Invalid),
}

/// Reads a segment in chunks, record by record.
pub(super) struct Scanner<'a> {
    file: &'a File,
    /// Where the next record starts.
    pub(super) at: u64,
    len: u64,
    chunk_bytes: usize,
    /// Bytes of the file from `at` on.
    buffer: Bytes,
}

impl<'a> Scanner<'a> {
    /// Starts at byte `at` of a file of `len` bytes; `at` must be the start of a record.
    pub(super) fn new(file: &'a File, at: u64, len: u64, chunk_bytes: usize) -> Self {
        Self { file, at, len, chunk_bytes, buffer: Bytes::new() }
    }

    /// The next record. After [`Found::Bad`] it stays where it is.
    pub(super) fn next(&mut self) -> io::Result<Found> {
        if self.at >= self.len {
            return Ok(Found::End);
        }
        loop {
            match record::check(&self.buffer) {
                Ok((header, total)) => {
                    self.at += total as u64;
                    return Ok(Found::Record(header, self.buffer.split_to(total)));
                }
                Err(Invalid::Cut { needs }) if needs as u64 <= self.len - self.at => {
                    let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
                    let count = self.chunk_bytes.max(needs).min(left);
                    self.buffer = read_at_most(self.file, self.at, count)?.into();
                    if self.buffer.len() < needs {
                        return Ok(Found::Bad(Invalid::Cut { needs }));
                    }
                }
                Err(invalid) => return Ok(Found::Bad(invalid)),
            }
        }
    }
}

/// A scanned segment.
pub(super) struct Scan {
    /// Its whole batches, up to the first thing that is not one.
    pub(super) whole: Indexed,
    /// What came after them, unless it was the end.
    pub(super) stop: Option<Stop>,
}

/// Where a scan could not go on.
#[derive(Debug)]
pub(super) struct Stop {
    /// The offset that was expected there.
    pub(super) offset: Offset,
    /// The byte where it should have been.
    pub(super) at: u64,
    /// What was found.
    pub(super) detail: String,
    /// Whether a record with a good checksum stands there, but not the expected one, or one of
    /// another format: no crash leaves that.
    pub(super) misplaced: bool,
}

/// Scans on from the end of `known`, up to byte `len`, record by record.
pub(super) fn scan(file: &File, known: Indexed, len: u64) -> io::Result<Scan> {
    let mut scanner = Scanner::new(file, known.outline.len, len, SCAN_CHUNK_BYTES);
    let mut whole: (Outline, usize) = (known.outline, known.entries.len());
    let mut indexed = known;
    let mut count = None;
    let stop = loop {
        let (offset, at) = (indexed.outline.end, scanner.at);
        let stop = |detail: String, misplaced| Some(Stop { offset, at, detail, misplaced });
        match scanner.next()? {
            Found::End if count.is_none() => break None,
            Found::End => break stop("the file ends within a batch".to_owned(), false),
            Found::Bad(invalid) => break stop(invalid.to_string(), invalid.is_kept_well()),
            Found::Record(header, bytes) => {
                let expected = header.offset == offset
                    && header.batch_base == whole.0.end
                    && count.is_none_or(|count| count == header.batch_count);
                if !expected {
                    break stop(format!("offset {} stands there", header.offset), true);
                }
                indexed.push(&header, bytes.len() as u64);
                count = (!header.ends_batch()).then_some(header.batch_count);
                if count.is_none() {
                    whole = (indexed.outline, indexed.entries.len());
                }
            }
        }
    };
    indexed.outline = whole.0;
    indexed.entries.truncate(whole.1);
    Ok(Scan { whole: indexed, stop })
}

/// What a search behind a bad record found.
pub(super) enum Search {
    /// No wanted record up to the end.
    Nothing,
    /// A record that passes its checksum, and where it starts.
    Record(Header, u64),
    /// Too many bytes looked like records: somebody made them so.
    GaveUp,
}

/// Searches byte by byte from `from` up to `len` for a good record with a wanted header.
///
/// Stored data is JSON text, which cannot hold a record (its version byte is a control character),
/// so few places are worth a checksum; the bound keeps any other data from making this quadratic.
pub(super) fn search(
    file: &File,
    from: u64,
    len: u64,
    wanted: impl Fn(&Header) -> bool,
) -> io::Result<Search> {
    let mut checksum_bytes_left = len.saturating_sub(from).saturating_mul(4).max(64 << 20);
    let mut at = from;
    while at + record::HEADER_BYTES as u64 <= len {
        let count = usize::try_from(len - at).unwrap_or(usize::MAX).min(SEARCH_CHUNK_BYTES);
        let chunk = read_at_most(file, at, count)?;
        if chunk.len() < record::HEADER_BYTES {
            break;
        }
        // The last bytes of a chunk are too few for a header: the next chunk starts with them.
        let starts = chunk.len() - record::HEADER_BYTES + 1;
        for start in 0..starts {
            let here = at + start as u64;
            let Some((claim, total)) = record::claim(&chunk[start..]) else { continue };
            if !wanted(&claim) || total as u64 > len - here {
                continue;
            }
            match checksum_bytes_left.checked_sub(total as u64) {
                Some(left) => checksum_bytes_left = left,
                None => return Ok(Search::GaveUp),
            }
            if let Ok((header, _)) = record::check(&read_at_most(file, here, total)?) {
                return Ok(Search::Record(header, here));
            }
        }
        at += starts as u64;
    }
    Ok(Search::Nothing)
}
