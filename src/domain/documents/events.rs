//! The events of documents, and their stored data.
//! Encoded by hand around the document's own text, so that a create copies the client's JSON and
//! parses nothing.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::change::Changes;
use crate::event::{Event, EventType, NewEvent};
use crate::ids::StreamId;
use crate::schema::Published;
use crate::time::Timestamp;
use crate::upcast::{self, Undecodable};

/// A document was made.
pub const CREATED: EventType = EventType::known("document.created");
/// A document was changed.
pub const UPDATED: EventType = EventType::known("document.updated");
/// A document was deleted.
pub const DELETED: EventType = EventType::known("document.deleted");

const CREATED_VERSION: u16 = 1;
const UPDATED_VERSION: u16 = 2;
const DELETED_VERSION: u16 = 1;

/// Data of `document.created`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Created<'a> {
    /// The document.
    #[serde(borrow)]
    #[schemars(with = "Map<String, Value>")]
    data: &'a RawValue,
    /// The earlier version that it was restored from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored_from: Option<u64>,
}

/// Data of `document.updated`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Updated<'a> {
    /// When the document was made.
    created_at: Timestamp,
    /// JSON Pointers (RFC 6901) to what was added, removed or replaced; arrays change as a whole.
    changed: Vec<String>,
    /// What those fields were before, by pointer; a field that was not there has none.
    #[serde(borrow)]
    #[schemars(with = "Map<String, Value>")]
    before: &'a RawValue,
    /// The document after the change.
    #[schemars(with = "Map<String, Value>")]
    data: &'a RawValue,
    /// The earlier version that it was restored from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored_from: Option<u64>,
}

/// Data of `document.deleted`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Deleted<'a> {
    /// When the document was made.
    created_at: Timestamp,
    /// The document as it was last.
    #[serde(borrow)]
    #[schemars(with = "Map<String, Value>")]
    data: &'a RawValue,
}

/// What happened to a document. `data` shares the event's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentEvent {
    /// It was made.
    Created {
        /// The document.
        data: Bytes,
        /// The version that it was restored from.
        restored_from: Option<u64>,
    },
    /// It was changed.
    Updated {
        /// When it was made.
        created_at: Timestamp,
        /// Pointers to what changed.
        changed: Vec<String>,
        /// What those were before: a JSON object by pointer.
        before: Bytes,
        /// The document after the change.
        data: Bytes,
        /// The version that it was restored from.
        restored_from: Option<u64>,
    },
    /// It was deleted.
    Deleted {
        /// When it was made.
        created_at: Timestamp,
        /// The document as it was last.
        data: Bytes,
    },
}

impl DocumentEvent {
    /// Reads an event of this family; `None` for another family's.
    ///
    /// Errors when the stored data does not fit its type.
    pub fn decode(event: &Event) -> Result<Option<Self>, Undecodable> {
        if event.stream.category() != "document" {
            return Ok(None);
        }
        let source = upcast::newest(event)?;
        let bad = |e: serde_json::Error| Undecodable::new(event, &e);
        let part = |raw: &RawValue| source.slice_ref(raw.get().as_bytes());
        Ok(Some(if event.kind == CREATED {
            let body: Created<'_> = serde_json::from_slice(&source).map_err(bad)?;
            Self::Created { data: part(body.data), restored_from: body.restored_from }
        } else if event.kind == UPDATED {
            let body: Updated<'_> = serde_json::from_slice(&source).map_err(bad)?;
            Self::Updated {
                created_at: body.created_at,
                // The first version did not say.
                before: match event.schema_version < UPDATED_VERSION {
                    true => Bytes::new(),
                    false => part(body.before),
                },
                data: part(body.data),
                changed: body.changed,
                restored_from: body.restored_from,
            }
        } else if event.kind == DELETED {
            let body: Deleted<'_> = serde_json::from_slice(&source).map_err(bad)?;
            Self::Deleted { created_at: body.created_at, data: part(body.data) }
        } else {
            return Ok(None);
        }))
    }

    /// The document before the event, unless it was made by it: parsed and written anew, so
    /// numbers may be spelled another way. `None` too for old events that did not record it.
    pub fn data_before(&self) -> Option<Bytes> {
        match self {
            Self::Created { .. } => None,
            Self::Deleted { data, .. } => Some(data.clone()),
            Self::Updated { changed, before, data, .. } => undo(data, changed, before),
        }
    }

    /// The document after the event, unless it was deleted.
    pub fn data(&self) -> Option<&Bytes> {
        match self {
            Self::Created { data, .. } | Self::Updated { data, .. } => Some(data),
            Self::Deleted { .. } => None,
        }
    }
}

/// The document's text in an event just decided; `None` for another family's, or of an older
/// version.
pub fn data_of(event: &NewEvent) -> Option<Bytes> {
    let part = |raw: &RawValue| event.data.slice_ref(raw.get().as_bytes());
    if event.kind == CREATED && event.schema_version == CREATED_VERSION {
        let body: Created<'_> = serde_json::from_slice(&event.data).ok()?;
        Some(part(body.data))
    } else if event.kind == UPDATED && event.schema_version == UPDATED_VERSION {
        let body: Updated<'_> = serde_json::from_slice(&event.data).ok()?;
        Some(part(body.data))
    } else if event.kind == DELETED && event.schema_version == DELETED_VERSION {
        let body: Deleted<'_> = serde_json::from_slice(&event.data).ok()?;
        Some(part(body.data))
    } else {
        None
    }
}

/// The same event with other texts of the document before and after it; `None` as [`data_of`].
pub fn with_data(event: NewEvent, before: &[u8], data: &[u8]) -> Option<NewEvent> {
    let NewEvent { stream, stream_version, kind, data: body, .. } = event;
    if kind == CREATED {
        let Created { restored_from, .. } = serde_json::from_slice(&body).ok()?;
        Some(created(stream, stream_version, data, restored_from))
    } else if kind == UPDATED {
        let Updated { created_at, restored_from, .. } = serde_json::from_slice(&body).ok()?;
        let text = |json| std::str::from_utf8(json).ok();
        let changes = Changes::between(text(before)?, text(data)?);
        Some(updated(stream, stream_version, created_at, &changes, data, restored_from))
    } else if kind == DELETED {
        let Deleted { created_at, .. } = serde_json::from_slice(&body).ok()?;
        Some(deleted(stream, stream_version, created_at, data))
    } else {
        None
    }
}

fn undo(data: &[u8], changed: &[String], before: &[u8]) -> Option<Bytes> {
    let mut document: Value = serde_json::from_slice(data).ok()?;
    let mut before: Map<String, Value> = serde_json::from_slice(before).ok()?;
    for pointer in changed {
        let was = before.shift_remove(pointer);
        let Some((parent, name)) = pointer.rsplit_once('/') else {
            document = was?;
            continue;
        };
        let name = name.replace("~1", "/").replace("~0", "~");
        let fields = document.pointer_mut(parent)?.as_object_mut()?;
        match was {
            Some(was) => {
                fields.insert(name, was);
            }
            None => {
                fields.shift_remove(&name);
            }
        }
    }
    Some(Bytes::from(document.to_string()))
}

/// `document.created` for the stream.
pub(super) fn created(
    stream: StreamId,
    stream_version: u64,
    data: &[u8],
    restored_from: Option<u64>,
) -> NewEvent {
    let mut out = Vec::with_capacity(data.len() + 40);
    field(&mut out, "data", data);
    restored(&mut out, restored_from);
    NewEvent {
        stream,
        stream_version,
        kind: CREATED,
        schema_version: CREATED_VERSION,
        data: close(out),
    }
}

/// `document.updated` for the stream.
pub(super) fn updated(
    stream: StreamId,
    stream_version: u64,
    created_at: Timestamp,
    changes: &Changes,
    data: &[u8],
    restored_from: Option<u64>,
) -> NewEvent {
    let changed = json!(changes.changed).to_string();
    let before = changes.before.to_json();
    let mut out = Vec::with_capacity(data.len() + changed.len() + before.len() + 96);
    field(&mut out, "createdAt", format!("\"{created_at}\"").as_bytes());
    field(&mut out, "changed", changed.as_bytes());
    field(&mut out, "before", before.as_bytes());
    field(&mut out, "data", data);
    restored(&mut out, restored_from);
    NewEvent {
        stream,
        stream_version,
        kind: UPDATED,
        schema_version: UPDATED_VERSION,
        data: close(out),
    }
}

/// `document.deleted` for the stream.
pub(super) fn deleted(
    stream: StreamId,
    stream_version: u64,
    created_at: Timestamp,
    data: &[u8],
) -> NewEvent {
    let mut out = Vec::with_capacity(data.len() + 64);
    field(&mut out, "createdAt", format!("\"{created_at}\"").as_bytes());
    field(&mut out, "data", data);
    NewEvent {
        stream,
        stream_version,
        kind: DELETED,
        schema_version: DELETED_VERSION,
        data: close(out),
    }
}

fn field(out: &mut Vec<u8>, name: &str, json: &[u8]) {
    out.push(if out.is_empty() { b'{' } else { b',' });
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(json);
}

fn restored(out: &mut Vec<u8>, version: Option<u64>) {
    if let Some(version) = version {
        field(out, "restoredFrom", version.to_string().as_bytes());
    }
}

fn close(mut out: Vec<u8>) -> Bytes {
    out.push(b'}');
    Bytes::from(out)
}

/// Every version of every event of this family, for `schemas/`.
pub(crate) fn schemas() -> Vec<Published> {
    vec![
        Published::current::<Created<'_>>(
            CREATED,
            CREATED_VERSION,
            json!({"data": {"title": "Headwater", "tags": ["log"]}}),
        ),
        Published::current::<Updated<'_>>(
            UPDATED,
            UPDATED_VERSION,
            json!({
                "createdAt": "2026-01-31T12:00:00.000000Z",
                "changed": ["/title", "/address/city"],
                "before": {"/title": "Headwater"},
                "data": {"title": "Headwaters", "tags": ["log"], "address": {"city": "Bern"}},
            }),
        ),
        Published::current::<Deleted<'_>>(
            DELETED,
            DELETED_VERSION,
            json!({"createdAt": "2026-01-31T12:00:00.000000Z", "data": {"title": "Headwater"}}),
        ),
    ]
}
