//! One record on disk: how an event becomes bytes and is taken back from them.
//! Owns the binary format. Any bytes may be decoded: the answer is a record or a reason, never a
//! panic, and nothing is allocated beyond what the bytes themselves hold.

mod fields;

use bytes::Bytes;
use domain::{Event, Offset, Timestamp};

/// The format that this program writes, numbers little-endian:
///
/// ```text
/// u32 bytes after the checksum    u32 crc32c over the length and what follows the checksum
/// u8 version   u64 offset   u64 batch base   u32 batch count   i64 time in microseconds
/// the event: flags, ids, varints, texts with their length; its data is the rest
/// ```
pub const VERSION: u8 = 1;
/// The longest record, in bytes.
pub const BYTES_MAX: usize = 16 << 20;
/// Bytes from the start of a record up to its event.
pub(super) const HEADER_BYTES: usize = FRAME_BYTES + 1 + 8 + 8 + 4 + 8;
/// Length and checksum.
const FRAME_BYTES: usize = 8;

/// What a record says of its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its offset in the partition.
    pub offset: Offset,
    /// Offset of the first record of its group commit.
    pub batch_base: Offset,
    /// How many records the group commit has.
    pub batch_count: u32,
    /// The event's time, here so that it can be had without the event.
    pub time: Timestamp,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The bytes end early.
    #[error("cut short: it needs {needs} bytes")]
    Cut {
        /// How many bytes would be needed, as far as is known.
        needs: usize,
    },
    /// Shorter than a header or longer than [`BYTES_MAX`].
    #[error("its length {0} is out of range")]
    Length(usize),
    /// Something was changed.
    #[error("its checksum is {stored:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// What the record says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// Written by another program version.
    #[error("its format version is {0}, this program knows {VERSION}")]
    Version(u8),
    /// Well-kept bytes that say something impossible.
    #[error("its {0} is invalid")]
    Field(&'static str),
}

impl Invalid {
    /// Whether the checksum was right: these bytes are what somebody wrote.
    pub(super) fn is_kept_well(&self) -> bool {
        matches!(self, Self::Version(_) | Self::Field(_))
    }
}

/// Appends `event` to `out` as one record; returns the record's length in bytes.
///
/// Errors: [`Invalid::Length`] when it is longer than [`BYTES_MAX`], [`Invalid::Field`] when the
/// header or the event could not be decoded again. `out` is left as it was.
pub fn encode(header: Header, event: &Event, out: &mut Vec<u8>) -> Result<usize, Invalid> {
    header.check()?;
    fields::check(event)?;
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    out.push(VERSION);
    out.extend_from_slice(&header.offset.to_le_bytes());
    out.extend_from_slice(&header.batch_base.to_le_bytes());
    out.extend_from_slice(&header.batch_count.to_le_bytes());
    out.extend_from_slice(&header.time.as_micros().to_le_bytes());
    fields::encode(event, out);
    let total = out.len() - start;
    let Some(length) = u32::try_from(total - FRAME_BYTES).ok().filter(|_| total <= BYTES_MAX)
    else {
        out.truncate(start);
        return Err(Invalid::Length(total));
    };
    let length = length.to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length), &out[start + FRAME_BYTES..]);
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..start + FRAME_BYTES].copy_from_slice(&crc.to_le_bytes());
    Ok(total)
}

/// Takes one record from the start of `bytes`; returns it and its length. The event's data is a
/// slice of `bytes` and keeps them alive.
///
/// Errors: any [`Invalid`].
pub fn decode(bytes: &Bytes) -> Result<(Header, Event, usize), Invalid> {
    let (header, total) = check(bytes)?;
    let event = decode_checked(header, &bytes.slice(..total))?;
    Ok((header, event, total))
}

/// Verifies length, checksum and header of the record at the start of `bytes`, not its event.
pub(super) fn check(bytes: &[u8]) -> Result<(Header, usize), Invalid> {
    let total = length(bytes)?;
    let record = bytes.get(..total).ok_or(Invalid::Cut { needs: total })?;
    let stored = u32::from_le_bytes(array(record, 4));
    let computed = crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[FRAME_BYTES..]);
    if stored != computed {
        return Err(Invalid::Checksum { stored, computed });
    }
    Ok((Header::read(record)?, total))
}

/// What the start of a record claims, its checksum unseen; `None` when it cannot be one.
pub(super) fn claim(bytes: &[u8]) -> Option<(Header, usize)> {
    // Cheapest first: this runs on every byte of a damaged file.
    if bytes.len() < HEADER_BYTES || bytes[FRAME_BYTES] != VERSION {
        return None;
    }
    Some((Header::read(bytes).ok()?, length(bytes).ok()?))
}

/// Decodes the event of a record that `check` has passed; `record` is exactly that record.
pub(super) fn decode_checked(header: Header, record: &Bytes) -> Result<Event, Invalid> {
    fields::decode(header.time, record, HEADER_BYTES)
}

/// The whole record's length by its first bytes.
fn length(bytes: &[u8]) -> Result<usize, Invalid> {
    if bytes.len() < HEADER_BYTES {
        return Err(Invalid::Cut { needs: HEADER_BYTES });
    }
    let total = u32::from_le_bytes(array(bytes, 0)) as usize + FRAME_BYTES;
    if (HEADER_BYTES..=BYTES_MAX).contains(&total) {
        Ok(total)
    } else {
        Err(Invalid::Length(total))
    }
}

impl Header {
    /// Reads a header; `bytes` has at least [`HEADER_BYTES`].
    fn read(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes[FRAME_BYTES] != VERSION {
            return Err(Invalid::Version(bytes[FRAME_BYTES]));
        }
        let micros = i64::from_le_bytes(array(bytes, 29));
        let header = Self {
            offset: u64::from_le_bytes(array(bytes, 9)),
            batch_base: u64::from_le_bytes(array(bytes, 17)),
            batch_count: u32::from_le_bytes(array(bytes, 25)),
            time: Timestamp::from_micros(micros),
        };
        if header.time.as_micros() != micros {
            return Err(Invalid::Field("time"));
        }
        header.check().map(|()| header)
    }

    fn check(&self) -> Result<(), Invalid> {
        let within = self.offset.checked_sub(self.batch_base);
        let last = self.batch_base.checked_add(u64::from(self.batch_count));
        match (within, last) {
            (Some(within), Some(_)) if within < u64::from(self.batch_count) => Ok(()),
            _ => Err(Invalid::Field("batch")),
        }
    }

    /// Whether the group commit ends with this record.
    pub(super) fn ends_batch(&self) -> bool {
        self.offset - self.batch_base + 1 == u64::from(self.batch_count)
    }
}

/// `N` bytes from `at`; callers have checked the length.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests;
