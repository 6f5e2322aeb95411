//! One partition: its segments, its ring, its end. Owns what may be appended and when.
//! A batch is published only when it is on disk; after a failed sync nothing is appended any more.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use domain::{Event, Offset, PartitionId, Position, Recorded, Timestamp};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tracing::{error, warn};

use super::file::{self, Faults, LogFile, failed};
use super::index::{self, Cache, Indexed, Outline};
use super::read::Cursors;
use super::record::{self, Header};
use super::recovery::{self, Damage, Opened, Recovery};
use super::reserve::Reserve;
use super::ring::Ring;
use super::{Options, segment};
use crate::metrics::TopicMetrics;
use crate::{Error, ReadLimit};

/// An append buffer larger than this is given back.
const KEPT_BUFFER_BYTES: usize = 64 << 10;
/// The longest batch, in bytes.
const BATCH_BYTES_MAX: usize = 512 << 20;

/// What the partitions of a topic share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) faults: Faults,
    pub(super) metrics: TopicMetrics,
    pub(super) reserve: Reserve,
    pub(super) indexes: Cache,
}

/// One partition.
pub(super) struct Partition {
    pub(super) id: PartitionId,
    pub(super) folder: PathBuf,
    pub(super) shared: Arc<Shared>,
    /// Held through an append, so that a second one waits.
    writer: Mutex<Writer>,
    pub(super) state: RwLock<State>,
    pub(super) cursors: Mutex<Cursors>,
    /// Held through a trim. Not the writer's lock: removing files must not stop appends.
    trimming: Mutex<()>,
    pub(super) end: watch::Sender<Offset>,
}

/// What only an append needs.
struct Writer {
    /// The newest segment's file; none when the partition is damaged.
    file: Option<LogFile>,
    /// The batch being written.
    buffer: Vec<u8>,
}

/// What readers need. Changes only to what is on disk.
pub(super) struct State {
    /// Every segment but the newest, oldest first.
    pub(super) sealed: VecDeque<Outline>,
    /// The newest segment.
    pub(super) active: Indexed,
    pub(super) ring: Ring,
    pub(super) trouble: Option<Trouble>,
}

/// Why a partition does not serve.
pub(super) enum Trouble {
    /// Appends are refused, reads go on.
    Refused(String),
    /// Neither appends nor reads.
    Damaged(Damage),
}

impl State {
    /// The oldest offset that is kept.
    pub(super) fn start(&self) -> Offset {
        match &self.trouble {
            Some(Trouble::Damaged(damage)) => damage.start,
            _ => self.sealed.front().map_or(self.active.outline.base, |oldest| oldest.base),
        }
    }

    /// Bytes of all segments.
    fn bytes(&self) -> u64 {
        self.sealed.iter().map(|sealed| sealed.len).sum::<u64>() + self.active.outline.len
    }
}

impl Partition {
    /// Opens the partition. A damaged one opens, too, and answers everything with what is wrong.
    ///
    /// Errors: [`Error::Io`].
    pub(super) fn open(recovery: &Recovery<'_>, shared: Arc<Shared>) -> Result<Self, Error> {
        let (sealed, active, file, trouble) = match recovery.open()? {
            Ok(Opened { sealed, active, file }) => (sealed.into(), active, Some(file), None),
            Err(damage) => {
                let nothing = Indexed::empty(damage.offset);
                (VecDeque::new(), nothing, None, Some(Trouble::Damaged(damage)))
            }
        };
        let end = watch::Sender::new(active.outline.end);
        let ring = Ring::new(shared.options.ring_bytes);
        let state = State { sealed, active, ring, trouble };
        if file.is_some() {
            shared.metrics.segments.add(state.sealed.len() as i64 + 1);
            shared.metrics.bytes.add(state.bytes() as i64);
        }
        Ok(Self {
            id: recovery.partition,
            folder: recovery.folder.to_owned(),
            shared,
            writer: Mutex::new(Writer { file, buffer: Vec::new() }),
            state: RwLock::new(state),
            cursors: Mutex::default(),
            trimming: Mutex::new(()),
            end,
        })
    }

    /// Appends one batch; see [`crate::EventLog::append`]. Blocks on the disk.
    pub(super) fn append(&self, events: Vec<Event>) -> Result<Vec<Arc<Recorded>>, Error> {
        let started = Instant::now();
        let mut writer = self.writer.lock();
        let Writer { file, buffer } = &mut *writer;
        let base = self.appendable()?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let places = self.encode(base, &events, buffer)?;
        let bytes = buffer.len() as u64;
        self.shared
            .reserve
            .admit(bytes, &self.folder, &self.shared.faults)
            .map_err(|detail| Error::Full { partition: self.id, detail })?;
        let Some(file) = file else { return Err(self.refuse("it has no segment".to_owned())) };
        self.roll_when_full(file, bytes)?;
        self.write(file, buffer)?;
        buffer.clear();
        if buffer.capacity() > KEPT_BUFFER_BYTES {
            *buffer = Vec::new();
        }
        let recorded = self.publish(events, &places);
        let metrics = &self.shared.metrics;
        metrics.append_seconds.observe(started.elapsed().as_secs_f64());
        metrics.append_bytes.inc_by(bytes);
        metrics.append_events.inc_by(places.len() as u64);
        metrics.bytes.add(bytes as i64);
        Ok(recorded)
    }

    /// The offset that the next event gets, unless the partition takes none.
    fn appendable(&self) -> Result<Offset, Error> {
        let state = self.state.read();
        match &state.trouble {
            None => Ok(state.active.outline.end),
            Some(Trouble::Damaged(damage)) => Err(self.damaged(damage)),
            Some(Trouble::Refused(reason)) => {
                Err(Error::Refused { partition: self.id, reason: reason.clone() })
            }
        }
    }

    /// Fills `buffer` with the batch; returns each record's header and length.
    fn encode(
        &self,
        base: Offset,
        events: &[Event],
        buffer: &mut Vec<u8>,
    ) -> Result<Vec<(Header, u64)>, Error> {
        let unfit = |reason: String| Error::Unfit { partition: self.id, reason };
        buffer.clear();
        let count = u32::try_from(events.len()).map_err(|error| unfit(error.to_string()))?;
        let mut places = Vec::with_capacity(events.len());
        for (offset, event) in (base..).zip(events) {
            let header = Header { offset, batch_base: base, batch_count: count, time: event.time };
            let bytes = record::encode(header, event, buffer)
                .map_err(|error| unfit(format!("event {}: {error}", event.id)))?;
            places.push((header, bytes as u64));
            if buffer.len() > BATCH_BYTES_MAX {
                return Err(unfit(format!("it is longer than {BATCH_BYTES_MAX} bytes")));
            }
        }
        Ok(places)
    }

    /// Starts a new segment when the batch would take the newest one past its bound.
    fn roll_when_full(&self, file: &mut LogFile, batch_bytes: u64) -> Result<(), Error> {
        let old = self.state.read().active.outline;
        if old.is_empty() || old.len + batch_bytes <= self.shared.options.segment_bytes {
            return Ok(());
        }
        // On disk already where each append waits for it; without that, a segment waits here.
        file.sync().map_err(|error| self.sync_failed(file, &error))?;
        let index = segment::index_path(&self.folder, old.base);
        let stored = index::store(&index, &self.state.read().active, false, &self.shared.faults);
        if let Err(error) = stored {
            warn!(partition = self.id.0, "an index could not be written: {error}");
        }
        let path = segment::log_path(&self.folder, old.end);
        let fresh = LogFile::open(path.clone(), self.shared.faults.clone())
            .map_err(|error| self.not_written("creating", &path, error))?;
        file::sync_folder(&self.folder, &self.shared.faults)
            .map_err(|error| self.sync_failed(&fresh, &error))?;
        *file = fresh;
        let mut state = self.state.write();
        state.sealed.push_back(old);
        state.active = Indexed::empty(old.end);
        self.shared.metrics.segments.inc();
        Ok(())
    }

    /// Writes the batch behind the newest segment's end and waits for the disk; on any failure
    /// takes it back.
    fn write(&self, file: &LogFile, batch: &[u8]) -> Result<(), Error> {
        let at = self.state.read().active.outline.len;
        if let Err(error) = file.write_at(batch, at) {
            if let Err(error) = file.cut(at) {
                return Err(self.sync_failed(file, &error));
            }
            return Err(self.not_written("writing", file.path(), error));
        }
        if !self.shared.options.fsync {
            return Ok(());
        }
        file.sync().map_err(|error| {
            // The disk may have taken any part of it, and asking again proves nothing. Nobody was
            // told that the batch is kept, so a restart should not find it if that can be helped.
            let _ = file.cut(at);
            self.sync_failed(file, &error)
        })
    }

    /// Makes a written batch visible: state first, then the end that readers follow.
    fn publish(&self, events: Vec<Event>, places: &[(Header, u64)]) -> Vec<Arc<Recorded>> {
        let recorded: Vec<_> = places
            .iter()
            .zip(events)
            .map(|((header, _), event)| {
                let position = Position { partition: self.id, offset: header.offset };
                Arc::new(Recorded { position, event })
            })
            .collect();
        let end = {
            let mut state = self.state.write();
            for ((header, bytes), recorded) in places.iter().zip(&recorded) {
                state.active.push(header, *bytes);
                state.ring.push(Arc::clone(recorded));
            }
            state.active.outline.end
        };
        self.end.send_replace(end);
        recorded
    }

    /// Reads from the ring, or `None` when the disk must be asked.
    pub(super) fn read_ring(
        &self,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Option<Vec<Arc<Recorded>>>, Error> {
        let (partition, asked) = (self.id, from);
        let state = self.state.read();
        if let Some(Trouble::Damaged(damage)) = &state.trouble {
            return Err(self.damaged(damage));
        }
        let (start, end) = (state.start(), state.active.outline.end);
        if from < start {
            return Err(Error::Trimmed { partition, asked, start });
        }
        if from > end {
            return Err(Error::BeyondEnd { partition, asked, end });
        }
        if from == end {
            return Ok(Some(Vec::new()));
        }
        Ok(state.ring.read(from, limit))
    }

    /// Applies retention; see [`crate::EventLog::trim`]. Blocks on the disk.
    pub(super) fn trim(&self, now: Timestamp) -> Result<Offset, Error> {
        let _one = self.trimming.lock();
        let mut gone = Vec::new();
        let start = {
            let mut state = self.state.write();
            if let Some(Trouble::Damaged(damage)) = &state.trouble {
                return Err(self.damaged(damage));
            }
            let mut bytes = state.bytes();
            let retention = self.shared.options.retention;
            while let Some(oldest) = state.sealed.front() {
                if !retention.takes(oldest.last_time, now, bytes) {
                    break;
                }
                bytes -= oldest.len;
                gone.extend(state.sealed.pop_front());
            }
            state.start()
        };
        // Oldest first: whatever a crash leaves behind is without holes.
        for outline in &gone {
            for path in [
                segment::log_path(&self.folder, outline.base),
                segment::index_path(&self.folder, outline.base),
            ] {
                file::remove(&path).map_err(|error| failed("removing", &path, error))?;
            }
            self.shared.metrics.segments.dec();
            self.shared.metrics.bytes.sub(outline.len as i64);
        }
        if !gone.is_empty() {
            file::sync_folder(&self.folder, &self.shared.faults)
                .map_err(|error| failed("syncing", &self.folder, error))?;
        }
        Ok(start)
    }

    /// Leaves the partition so that the next start need not read it. Blocks on the disk.
    pub(super) fn close(&self) -> Result<(), Error> {
        let writer = self.writer.lock();
        let mut state = self.state.write();
        let (Some(file), None) = (&writer.file, &state.trouble) else { return Ok(()) };
        let path = recovery::clean_path(&self.folder);
        file.sync().map_err(|error| failed("syncing", file.path(), error))?;
        index::store(&path, &state.active, true, &self.shared.faults)
            .map_err(|error| failed("writing", &path, error))?;
        state.trouble = Some(Trouble::Refused("the log is closed".to_owned()));
        Ok(())
    }

    /// Takes this partition's numbers out of the topic's gauges.
    pub(super) fn uncount(&self) {
        if self.writer.lock().file.is_some() {
            let state = self.state.read();
            self.shared.metrics.segments.sub(state.sealed.len() as i64 + 1);
            self.shared.metrics.bytes.sub(state.bytes() as i64);
        }
    }

    /// A record on disk is not what was written: no more appends, and no start cuts it off.
    pub(super) fn corrupt(&self, offset: Offset, detail: String) -> Error {
        let reason = format!("its record at offset {offset} is corrupt: {detail}");
        if self.state.read().trouble.is_none() {
            error!(partition = self.id.0, offset, "a record is corrupt: {detail}");
            self.refuse(reason);
        }
        // Also behind another trouble, but once: whoever reads may try again and again.
        let mark = recovery::damaged_path(&self.folder);
        if !mark.exists()
            && let Err(error) = file::replace(&mark, detail.as_bytes(), true, &self.shared.faults)
        {
            error!(partition = self.id.0, "the damage could not be marked: {error}");
        }
        Error::Corrupt { partition: self.id, offset, detail }
    }

    pub(super) fn damaged(&self, damage: &Damage) -> Error {
        let Damage { offset, detail, .. } = damage.clone();
        Error::Corrupt { partition: self.id, offset, detail }
    }

    /// Something could not be written and was taken back.
    fn not_written(&self, what: &str, path: &std::path::Path, error: std::io::Error) -> Error {
        if file::is_full(&error) {
            let detail = format!("{what} {}: {error}", path.display());
            return Error::Full { partition: self.id, detail };
        }
        failed(what, path, error)
    }

    fn sync_failed(&self, file: &LogFile, error: &std::io::Error) -> Error {
        let path = file.path().display();
        error!(partition = self.id.0, "a sync failed, no more appends until restart: {error}");
        self.refuse(format!("syncing {path} failed, a restart must look at it: {error}"))
    }

    /// Refuses appends from here on. The first reason stays.
    fn refuse(&self, reason: String) -> Error {
        let mut state = self.state.write();
        if state.trouble.is_none() {
            state.trouble = Some(Trouble::Refused(reason.clone()));
        }
        Error::Refused { partition: self.id, reason }
    }
}
