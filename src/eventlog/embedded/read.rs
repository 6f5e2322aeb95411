//! Reading a partition from disk: find the segment and the byte, then record by record.
//! Verifies each record that it passes. Reads nothing behind the published end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use domain::{Offset, Position, Recorded, Timestamp};

use super::index::{self, Entry, Outline};
use super::partition::{Partition, State, Trouble};
use super::record;
use super::recovery::rebuild;
use super::segment::{Found, Scanner, log_path};
use crate::{Error, ReadLimit};

/// Bytes read at once, and so what one event's data can keep in memory at most (unless larger).
const CHUNK_BYTES: usize = 64 << 10;
/// Bytes read at once for a single event.
const ONE_CHUNK_BYTES: usize = 12 << 10;
/// Readers whose place is remembered.
const CURSORS_MAX: usize = 16;

/// Where the last readers stopped, so that reading on needs no search.
#[derive(Default)]
pub(super) struct Cursors {
    newest_last: VecDeque<Place>,
}

/// A byte of a segment where the record of an offset starts.
#[derive(Clone, Copy)]
struct Place {
    base: Offset,
    offset: Offset,
    at: u64,
}

impl Cursors {
    fn take(&mut self, base: Offset, offset: Offset) -> Option<Place> {
        let wanted = |place: &Place| (place.base, place.offset) == (base, offset);
        let found = self.newest_last.iter().position(wanted)?;
        self.newest_last.remove(found)
    }

    fn put(&mut self, place: Place) {
        if self.newest_last.len() == CURSORS_MAX {
            self.newest_last.pop_front();
        }
        self.newest_last.push_back(place);
    }
}

/// A segment to look into.
struct Target {
    outline: Outline,
    /// What is known of the newest segment; a sealed one's index must be fetched.
    active_place: Option<(Offset, u64)>,
}

impl Partition {
    /// Reads from disk, up to the end of one segment; see [`crate::EventLog::read`]. `from` has
    /// been checked against start and end, but a trim may have passed since.
    pub(super) fn read_disk(
        &self,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<Arc<Recorded>>, Error> {
        let state = self.state.read();
        let target = self.target_of(&state, from)?;
        drop(state);
        let base = target.outline.base;
        let cursor = self.cursors.lock().take(base, from);
        let place = match cursor {
            Some(place) => place,
            None => self.place(&target, |entries| index::place_of(entries, base, from))?,
        };
        self.read_segment(&target.outline, place, from, limit)
    }

    /// The first offset later than `time`; see [`crate::EventLog::offset_after`].
    pub(super) fn offset_after(&self, time: Timestamp) -> Result<Offset, Error> {
        let state = self.state.read();
        if let Some(Trouble::Damaged(damage)) = &state.trouble {
            return Err(self.damaged(damage));
        }
        let active = &state.active;
        let segment = state.sealed.partition_point(|sealed| sealed.last_time <= time);
        let target = match state.sealed.get(segment) {
            Some(outline) => Target { outline: *outline, active_place: None },
            None if active.outline.is_empty() || active.outline.last_time <= time => {
                return Ok(active.outline.end);
            }
            None => {
                let place = index::place_at(&active.entries, active.outline.base, time);
                Target { outline: active.outline, active_place: Some(place) }
            }
        };
        drop(state);
        let outline = target.outline;
        if outline.first_time > time {
            return Ok(outline.base);
        }
        let place = self.place(&target, |entries| index::place_at(entries, outline.base, time))?;
        let file = self.open_segment(&outline, place.offset)?;
        let mut scanner = Scanner::new(&file, place.at, outline.len, CHUNK_BYTES);
        let mut offset = place.offset;
        while offset < outline.end {
            let (header, _) = self.next(&mut scanner, &outline, offset)?;
            if header.time > time {
                return Ok(offset);
            }
            offset += 1;
        }
        Ok(outline.end)
    }

    /// The segment that holds `from`.
    fn target_of(&self, state: &State, from: Offset) -> Result<Target, Error> {
        let active = &state.active;
        if from >= active.outline.base {
            let place = index::place_of(&active.entries, active.outline.base, from);
            return Ok(Target { outline: active.outline, active_place: Some(place) });
        }
        let after = state.sealed.partition_point(|sealed| sealed.base <= from);
        match after.checked_sub(1).and_then(|segment| state.sealed.get(segment)) {
            Some(outline) => Ok(Target { outline: *outline, active_place: None }),
            None => Err(self.trimmed(from, state.start())),
        }
    }

    /// Where to start in a segment, by its index.
    fn place(
        &self,
        target: &Target,
        search: impl Fn(&[Entry]) -> (Offset, u64),
    ) -> Result<Place, Error> {
        let (offset, at) = match target.active_place {
            Some(place) => place,
            None => search(&self.entries(&target.outline)?),
        };
        Ok(Place { base: target.outline.base, offset, at })
    }

    /// The index entries of a sealed segment: cached, from its file, or by reading the segment.
    fn entries(&self, outline: &Outline) -> Result<Arc<Vec<Entry>>, Error> {
        let base = outline.base;
        if let Some(entries) = self.shared.indexes.get(self.id, base) {
            return Ok(entries);
        }
        let kept = index::load(&super::segment::index_path(&self.folder, base));
        let indexed = match kept.filter(|indexed| indexed.outline == *outline) {
            Some(indexed) => indexed,
            None => match rebuild(&self.folder, base, &self.shared.faults) {
                Ok(Ok(indexed)) => indexed,
                Ok(Err(stop)) => {
                    let detail = format!("segment {base} byte {}: {}", stop.at, stop.detail);
                    return Err(self.corrupt(stop.offset, detail));
                }
                Err(error) => return Err(self.not_opened(outline, base, error)),
            },
        };
        let entries = Arc::new(indexed.entries);
        self.shared.indexes.put(self.id, base, Arc::clone(&entries));
        Ok(entries)
    }

    fn open_segment(&self, outline: &Outline, offset: Offset) -> Result<File, Error> {
        let path = log_path(&self.folder, outline.base);
        File::open(&path).map_err(|error| self.not_opened(outline, offset, error))
    }

    /// A segment that is gone was trimmed meanwhile, or somebody took it.
    fn not_opened(&self, outline: &Outline, offset: Offset, error: std::io::Error) -> Error {
        let path = log_path(&self.folder, outline.base);
        let start = self.state.read().start();
        match error.kind() {
            ErrorKind::NotFound if outline.base < start => self.trimmed(offset, start),
            ErrorKind::NotFound => self.corrupt(offset, format!("{} is missing", path.display())),
            _ => super::file::failed("reading", &path, error),
        }
    }

    fn trimmed(&self, asked: Offset, start: Offset) -> Error {
        Error::Trimmed { partition: self.id, asked, start }
    }

    fn read_segment(
        &self,
        outline: &Outline,
        place: Place,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<Arc<Recorded>>, Error> {
        let file = self.open_segment(outline, from)?;
        let chunk = if limit.events_max <= 1 { ONE_CHUNK_BYTES } else { CHUNK_BYTES };
        let mut scanner = Scanner::new(&file, place.at, outline.len, chunk);
        let mut next = place;
        let mut events = Vec::new();
        let mut bytes = 0;
        while next.offset < outline.end && events.len() < limit.events_max.max(1) {
            let recorded = match self.next_recorded(&mut scanner, outline, next, from) {
                Ok(recorded) => recorded,
                // What is good before a bad place is given; reading on from there gives the error.
                Err(_) if !events.is_empty() => break,
                Err(error) => return Err(error),
            };
            if let Some(recorded) = recorded {
                bytes += recorded.event.weight();
                if !limit.admits(events.len(), bytes) {
                    break;
                }
                events.push(Arc::new(recorded));
            }
            next.offset += 1;
            next.at = scanner.at;
        }
        self.cursors.lock().put(next);
        Ok(events)
    }

    /// The record at `place`, decoded unless it stands before `from`.
    fn next_recorded(
        &self,
        scanner: &mut Scanner<'_>,
        outline: &Outline,
        place: Place,
        from: Offset,
    ) -> Result<Option<Recorded>, Error> {
        let (header, record) = self.next(scanner, outline, place.offset)?;
        if place.offset < from {
            return Ok(None);
        }
        let event = record::decode_checked(header, &record)
            .map_err(|invalid| self.bad(outline, place.offset, place.at, &invalid))?;
        let position = Position { partition: self.id, offset: place.offset };
        Ok(Some(Recorded { position, event }))
    }

    /// The next record, which must be the one of `offset`.
    fn next(
        &self,
        scanner: &mut Scanner<'_>,
        outline: &Outline,
        offset: Offset,
    ) -> Result<(record::Header, bytes::Bytes), Error> {
        let at = scanner.at;
        let found = scanner.next().map_err(|error| {
            super::file::failed("reading", &log_path(&self.folder, outline.base), error)
        })?;
        match found {
            Found::Record(header, bytes) if header.offset == offset => Ok((header, bytes)),
            Found::Record(header, _) => {
                let there = format!("offset {} stands there", header.offset);
                Err(self.bad(outline, offset, at, &there))
            }
            Found::Bad(invalid) => Err(self.bad(outline, offset, at, &invalid)),
            Found::End => Err(self.bad(outline, offset, at, &"the segment ends")),
        }
    }

    fn bad(
        &self,
        outline: &Outline,
        offset: Offset,
        at: u64,
        what: &dyn std::fmt::Display,
    ) -> Error {
        let path = log_path(&self.folder, outline.base);
        self.corrupt(offset, format!("{} byte {at}: {what}", path.display()))
    }
}
