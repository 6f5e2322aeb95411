//! Turns writes into events, or refuses them. Pure: the states that it needs are loaded before and
//! handed in.

use std::collections::HashMap;

use bytes::Bytes;

use super::change::Changes;
use super::events;
use super::merge::merge_patch;
use super::shape::{Shapeless, Shapes};
use super::state::{DocumentState, Live};
use super::transform::{self, Transform};
use super::write::{ExpectedVersion, Op, ReadCheck, Write};
use crate::event::NewEvent;
use crate::ids::{CollectionName, DocumentId, StreamId};
use crate::json;
use crate::rejected::{Part, Reason, Rejected};
use crate::time::Timestamp;

/// A document's name within its project.
pub type Key = (CollectionName, DocumentId);

/// The document that a stream is of; `None` for another family's.
pub fn key_of(stream: &StreamId) -> Option<Key> {
    let (collection, id) = stream.as_document()?;
    Some((CollectionName::new(collection).ok()?, DocumentId::new(id).ok()?))
}

/// The documents that a commit reads or writes, as they are now. A missing entry is a document
/// that never was.
pub type States = HashMap<Key, DocumentState>;

/// The most bytes of event data that one commit may come to.
pub const COMMIT_BYTES_MAX: usize = 32 << 20;

/// Decides a commit as a whole. `states` is carried along, so that a later write sees an earlier
/// one; after a refusal it must be thrown away.
///
/// Errors with the first write or read that is in the way.
pub fn decide(
    states: &mut States,
    writes: &[Write],
    reads: &[ReadCheck],
    limits: json::Limits,
    now: Timestamp,
) -> Result<Vec<NewEvent>, Rejected> {
    decide_shaped(states, writes, reads, limits, now, &Shapeless)
}

/// As [`decide`], for collections that say what their documents are like.
///
/// Errors also with the first document that would not be so.
pub fn decide_shaped(
    states: &mut States,
    writes: &[Write],
    reads: &[ReadCheck],
    limits: json::Limits,
    now: Timestamp,
    shapes: &dyn Shapes,
) -> Result<Vec<NewEvent>, Rejected> {
    for (index, read) in reads.iter().enumerate() {
        check_read(states, read)
            .map_err(|reason| Rejected { reason, part: Some(Part::Read(index)) })?;
    }
    let (mut decided, mut bytes) = (Vec::with_capacity(writes.len()), 0);
    for (index, write) in writes.iter().enumerate() {
        let key = (write.collection.clone(), write.id.clone());
        let state = states.entry(key).or_default();
        let event = decide_write(state, write, limits, now, shapes)
            .map_err(|reason| Rejected { reason, part: Some(Part::Write(index)) })?;
        // An event holds the document after and much of it before: a few small patches of a large
        // document make much more of the log than of the request.
        bytes += event.data.len();
        if bytes > COMMIT_BYTES_MAX {
            let reason = Reason::CommitTooLarge { bytes_max: COMMIT_BYTES_MAX };
            return Err(Rejected { reason, part: Some(Part::Write(index)) });
        }
        decided.push(event);
    }
    Ok(decided)
}

fn check_read(states: &States, read: &ReadCheck) -> Result<(), Reason> {
    let key = (read.collection.clone(), read.id.clone());
    let actual = states.get(&key).and_then(DocumentState::live_version);
    if actual.unwrap_or(0) == read.version {
        return Ok(());
    }
    let expected = match read.version {
        0 => ExpectedVersion::NoStream,
        version => ExpectedVersion::Exact(version),
    };
    Err(Reason::VersionMismatch { expected, actual })
}

fn check_expected(state: &DocumentState, expected: ExpectedVersion) -> Result<(), Reason> {
    let actual = state.live_version();
    let holds = match expected {
        ExpectedVersion::Any => true,
        ExpectedVersion::NoStream | ExpectedVersion::Fresh => actual.is_none(),
        ExpectedVersion::Exists => actual.is_some(),
        ExpectedVersion::Exact(version) => actual == Some(version),
    };
    if holds { Ok(()) } else { Err(Reason::VersionMismatch { expected, actual }) }
}

/// Decides one write and moves `state` on to what it will be.
fn decide_write(
    state: &mut DocumentState,
    write: &Write,
    limits: json::Limits,
    now: Timestamp,
    shapes: &dyn Shapes,
) -> Result<NewEvent, Reason> {
    check_expected(state, write.expected)?;
    let stream = StreamId::document(&write.collection, &write.id);
    let missing = || Reason::DocumentNotFound(write.collection.clone(), write.id.clone());
    let next = state.version + 1;
    let (op, transforms) = match &write.op {
        Op::Transform { op, transforms } => (&**op, &transforms[..]),
        op => (op, &[][..]),
    };
    let given = |data: &Bytes| transformed(data, transforms, now, limits);
    let (event, live) = match (op, &state.live) {
        (Op::Create(_), Some(_)) => {
            return Err(Reason::DocumentExists { actual: state.version });
        }
        (Op::Create(data) | Op::Replace(data), None) => {
            let data = match shapes.filled(&write.collection, text(data)) {
                Some(filled) => given(&checked(&Bytes::from(filled), limits)?)?,
                None => given(data)?,
            };
            (events::created(stream, next, &data, None), Some(made(now, &data)))
        }
        (Op::Restore { version, data }, None) => {
            (events::created(stream, next, data, Some(*version)), Some(made(now, data)))
        }
        (Op::Replace(data), Some(live)) => {
            let data = given(data)?;
            let changes = Changes::between(text(&live.data), text(&data));
            let event = events::updated(stream, next, live.created_at, &changes, &data, None);
            (event, Some(Live { created_at: live.created_at, data }))
        }
        (Op::Restore { version, data }, Some(live)) => {
            let changes = Changes::between(text(&live.data), text(data));
            let from = Some(*version);
            let event = events::updated(stream, next, live.created_at, &changes, data, from);
            (event, Some(Live { created_at: live.created_at, data: data.clone() }))
        }
        (Op::Patch(patch), Some(live)) => {
            let after = Bytes::from(merge_patch(text(&live.data), text(patch)));
            let data = match transforms {
                [] => checked(&after, limits)?,
                _ => given(&after)?,
            };
            let changes = Changes::between(text(&live.data), text(&data));
            let event = events::updated(stream, next, live.created_at, &changes, &data, None);
            (event, Some(Live { created_at: live.created_at, data }))
        }
        (Op::Delete, Some(live)) => {
            (events::deleted(stream, next, live.created_at, &live.data), None)
        }
        (Op::Patch(_) | Op::Delete, None) => return Err(missing()),
        // Nobody makes one of these within the other.
        (Op::Transform { .. }, _) => return Err(missing()),
    };
    if let Some(live) = &live {
        shapes.check(&write.collection, &live.data)?;
    }
    *state = DocumentState { version: next, changed_at: now, live };
    Ok(event)
}

/// The document's text with its transforms applied, checked as a client's is.
fn transformed(
    data: &Bytes,
    transforms: &[Transform],
    now: Timestamp,
    limits: json::Limits,
) -> Result<Bytes, Reason> {
    if transforms.is_empty() {
        return Ok(data.clone());
    }
    checked(&Bytes::from(transform::apply(text(data), transforms, now)), limits)
}

fn checked(data: &Bytes, limits: json::Limits) -> Result<Bytes, Reason> {
    json::compact_object(data, limits).map(Bytes::from).map_err(Reason::DocumentInvalid)
}

fn made(now: Timestamp, data: &Bytes) -> Live {
    Live { created_at: now, data: data.clone() }
}

/// Stored and checked JSON is UTF-8; should it not be, the document reads as empty rather than
/// stop the writer.
fn text(data: &Bytes) -> &str {
    std::str::from_utf8(data).unwrap_or("{}")
}
