//! Typed rows as writes. Only the documents consumer calls these.

use domain::{Offset, ProjectId, Timestamp};
use uuid::Uuid;

use super::fields::{number, text, time};
use super::{
    ByTime, COLLECTIONS, DOCUMENTS, Document, HISTORY, HistoryEntry, IDEMPOTENCY,
    IDEMPOTENCY_BY_TIME, IDEMPOTENCY_EXPIRED, IdempotencyEntry, PROJECTS, Project,
};
use crate::Write;
use crate::table::Value;

/// Stores a project as the event at `offset` left it.
pub fn put_project(id: &ProjectId, project: &Project, offset: Offset) -> Write {
    let row = vec![
        text(id.as_str()),
        number(project.version),
        time(project.created_at),
        time(project.updated_at),
        Value::Json(project.state.clone()),
    ];
    Write::Put { table: &PROJECTS, row, offset }
}

/// Stores a document, live or deleted.
pub fn put_document(project: &ProjectId, collection: &str, id: &str, document: &Document) -> Write {
    let row = vec![
        text(project.as_str()),
        text(collection),
        text(id),
        number(document.version),
        time(document.created_at),
        time(document.updated_at),
        number(document.offset),
        Value::Bool(document.is_live()),
        document.data.clone().map_or(Value::Null, Value::Json),
    ];
    Write::Put { table: &DOCUMENTS, row, offset: document.offset }
}

/// Stores one entry of a document's history.
pub fn put_history(project: &ProjectId, collection: &str, id: &str, entry: &HistoryEntry) -> Write {
    let row = vec![
        text(project.as_str()),
        text(collection),
        text(id),
        number(entry.version),
        number(entry.offset),
        time(entry.time),
        text(entry.kind.as_str()),
    ];
    Write::Put { table: &HISTORY, row, offset: entry.offset }
}

/// Stores that a collection has had a document, the first one at `first_offset`.
pub fn put_collection(project: &ProjectId, collection: &str, first_offset: Offset) -> Write {
    let row = vec![text(project.as_str()), text(collection), number(first_offset)];
    Write::Put { table: &COLLECTIONS, row, offset: first_offset }
}

/// Stores a request's outcome under the id of its first event, findable by time too: always after
/// the last one that has expired, for nobody looks further back.
pub fn put_idempotency(
    project: &ProjectId,
    event_id: Uuid,
    entry: &IdempotencyEntry,
    expired: Option<ByTime>,
) -> [Write; 2] {
    let mut place = ByTime { time: entry.time, event_id };
    if let Some(expired) = expired.filter(|expired| place <= *expired) {
        place.time = Timestamp::from_micros(expired.time.as_micros() + 1);
    }
    let by_time = by_time_key(project, place);
    let row = vec![
        text(project.as_str()),
        uuid(event_id),
        number(entry.offset),
        number(u64::from(entry.count)),
        number(entry.fingerprint),
        time(entry.time),
    ];
    [
        Write::Put { table: &IDEMPOTENCY, row, offset: entry.offset },
        Write::Put { table: &IDEMPOTENCY_BY_TIME, row: by_time, offset: entry.offset },
    ]
}

/// Forgets a request, because of the event at `offset`.
pub fn delete_idempotency(project: &ProjectId, place: ByTime, offset: Offset) -> [Write; 2] {
    let key = vec![text(project.as_str()), uuid(place.event_id)];
    let by_time = by_time_key(project, place);
    [
        Write::Delete { table: &IDEMPOTENCY, key, offset },
        Write::Delete { table: &IDEMPOTENCY_BY_TIME, key: by_time, offset },
    ]
}

/// Notes the last request that was forgotten before the event at `offset`. All before it must be
/// gone from what is stored, not only from what is to be stored along with this.
pub fn put_expired(project: &ProjectId, last: ByTime, offset: Offset) -> Write {
    let ByTime { time, event_id } = last;
    let last = format!("{}/{}", time.as_micros(), event_id.hyphenated());
    let row = vec![text(project.as_str()), text(&last)];
    Write::Put { table: &IDEMPOTENCY_EXPIRED, row, offset }
}

/// The full key of a place in [`IDEMPOTENCY_BY_TIME`].
pub(super) fn by_time_key(project: &ProjectId, place: ByTime) -> Vec<Value> {
    vec![text(project.as_str()), time(place.time), uuid(place.event_id)]
}

/// An event's id as a value: hyphenated, lower case.
pub(super) fn uuid(id: Uuid) -> Value {
    text(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}
