//! Checks a whole topic, record by record, for a person who wants to know.
//! Changes nothing; the topic must not be open elsewhere.

use std::fs::File;
use std::path::{Path, PathBuf};

use domain::{Offset, PartitionId};

use super::file::failed;
use super::recovery::{clean_path, damaged_path};
use super::segment::{self, SCAN_CHUNK_BYTES, Scanner, Search, search};
use super::{index, record, topic};
use crate::Error;

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read so far, of all partitions.
    pub bytes: u64,
    /// Bytes to read in all.
    pub bytes_total: u64,
    /// Good records so far.
    pub records: u64,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Partitions that were checked.
    pub partitions: u32,
    /// Segments that were checked.
    pub segments: u64,
    /// Good records.
    pub records: u64,
    /// Every place that is not as it was written, in order.
    pub bad: Vec<Bad>,
}

/// A run of offsets that are not as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// The partition.
    pub partition: PartitionId,
    /// The first bad offset.
    pub first: Offset,
    /// The next good offset; `None` when none follows, so that the end is unknown.
    pub next: Option<Offset>,
    /// The segment file.
    pub file: PathBuf,
    /// The byte where the first bad record should start.
    pub byte: u64,
    /// What was found.
    pub detail: String,
    /// Whether this is the torn batch of a crash, which the next start will drop.
    pub torn: bool,
}

/// Checks every record of the topic in `folder`. `progress` is called once per segment and every
/// few thousand records.
///
/// Errors: [`Error::Open`] when the topic is open elsewhere or is none, [`Error::Io`].
pub fn verify(folder: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Report, Error> {
    let topic = topic::open_existing(folder)?;
    let mut all = Vec::new();
    let mut bytes_total = 0;
    for partition in 0..topic.partitions {
        let folder = topic::partition_folder(folder, partition);
        let bases = match segment::bases(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            bases => bases.map_err(|error| failed("reading", &folder, error))?,
        };
        for base in &bases {
            let path = segment::log_path(&folder, *base);
            let len = path.metadata().map_err(|error| failed("reading", &path, error))?.len();
            bytes_total += len;
        }
        all.push((PartitionId(partition), folder, bases));
    }
    let mut check = Check { report: Report::default(), bytes: 0, bytes_total, progress };
    for (partition, folder, bases) in all {
        check.partition(partition, &folder, &bases, topic.was_fsynced)?;
    }
    Ok(check.report)
}

/// Calls for progress are this many records apart.
const PROGRESS_RECORDS: u64 = 4096;

struct Check<'a> {
    report: Report,
    bytes: u64,
    bytes_total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl Check<'_> {
    fn partition(
        &mut self,
        partition: PartitionId,
        folder: &Path,
        bases: &[Offset],
        was_fsynced: bool,
    ) -> Result<(), Error> {
        self.report.partitions += 1;
        let clean = index::load_outline(&clean_path(folder));
        let newest = clean.map_or_else(|| bases.last().copied().unwrap_or(0), |clean| clean.base);
        if bases.last() != Some(&newest) {
            let path = segment::log_path(folder, newest);
            self.bad(partition, &path, newest, None, 0, "it should be the newest".to_owned());
        }
        // What a start would cut off: only at the end of the newest segment after a crash.
        let cuttable = !clean_path(folder).exists() && !damaged_path(folder).exists();
        for (i, base) in bases.iter().enumerate() {
            let path = segment::log_path(folder, *base);
            let bad_before = self.report.bad.len();
            let next = bases.get(i + 1).copied();
            let followed = self
                .segment(partition, &path, *base, next)
                .map_err(|error| failed("reading", &path, error))?;
            let torn = cuttable && next.is_none() && !(followed && was_fsynced);
            self.report.bad.iter_mut().skip(bad_before).for_each(|bad| bad.torn = torn);
            self.report.segments += 1;
            self.tell();
        }
        Ok(())
    }

    /// Checks one segment, from `base` to `next`; returns whether a later batch follows a bad one.
    fn segment(
        &mut self,
        partition: PartitionId,
        path: &Path,
        base: Offset,
        next: Option<Offset>,
    ) -> std::io::Result<bool> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let read_before = self.bytes;
        let mut scanner = Scanner::new(&file, 0, len, SCAN_CHUNK_BYTES);
        let mut walk = Walk { offset: base, batch: None };
        let mut first_bad = None;
        let mut followed = false;
        loop {
            let at = scanner.at;
            let detail = match scanner.next()? {
                segment::Found::End => break,
                segment::Found::Record(header, bytes) => match walk.step(header, &bytes) {
                    Ok(()) => {
                        followed |= first_bad.is_some_and(|first| header.batch_base > first);
                        self.count(read_before + scanner.at);
                        continue;
                    }
                    Err(detail) => detail,
                },
                segment::Found::Bad(invalid) => invalid.to_string(),
            };
            let first = walk.offset;
            first_bad = first_bad.or(Some(first));
            let behind = search(&file, at + 1, len, |header| header.offset > first)?;
            let Search::Record(header, found) = behind else {
                self.bad(partition, path, first, next, at, detail);
                self.bytes = read_before + len;
                return Ok(followed || matches!(behind, Search::GaveUp));
            };
            self.bad(partition, path, first, Some(header.offset), at, detail);
            walk = Walk { offset: header.offset, batch: None };
            scanner = Scanner::new(&file, found, len, SCAN_CHUNK_BYTES);
        }
        self.bytes = read_before + len;
        let clean = path.parent().and_then(|folder| index::load_outline(&clean_path(folder)));
        let end = next.or_else(|| Some(clean.filter(|clean| clean.base == base)?.end));
        if let Some((first, _)) = walk.batch {
            self.bad(partition, path, first, next, len, "it ends within a batch".to_owned());
        } else if let Some(end) = end.filter(|end| *end != walk.offset) {
            let detail = format!("it ends at offset {}, it should at {end}", walk.offset);
            self.bad(partition, path, walk.offset.min(end), next, len, detail);
        }
        Ok(followed)
    }

    fn count(&mut self, bytes: u64) {
        self.report.records += 1;
        self.bytes = bytes;
        if self.report.records.is_multiple_of(PROGRESS_RECORDS) {
            self.tell();
        }
    }

    fn bad(
        &mut self,
        partition: PartitionId,
        path: &Path,
        first: Offset,
        next: Option<Offset>,
        byte: u64,
        detail: String,
    ) {
        let file = path.to_owned();
        self.report.bad.push(Bad { partition, first, next, file, byte, detail, torn: false });
    }

    fn tell(&mut self) {
        let records = self.report.records;
        (self.progress)(Progress { bytes: self.bytes, bytes_total: self.bytes_total, records });
    }
}

/// Which record must come next.
struct Walk {
    offset: Offset,
    /// First offset and count of the batch that is not complete yet.
    batch: Option<(Offset, u32)>,
}

impl Walk {
    fn step(&mut self, header: record::Header, bytes: &bytes::Bytes) -> Result<(), String> {
        let batch = (header.batch_base, header.batch_count);
        if header.offset != self.offset || self.batch.is_some_and(|open| open != batch) {
            return Err(format!("offset {} stands there", header.offset));
        }
        record::decode_checked(header, bytes).map_err(|invalid| invalid.to_string())?;
        self.offset += 1;
        self.batch = (!header.ends_batch()).then_some(batch);
        Ok(())
    }
}
