//! What channels say, as JSON: the bodies that frames of both wire protocols carry.

use std::fmt::Write as _;

use engine::channels::{Change, Entry, Message, Place, What};

use crate::socket::frames::quoted;

/// What an event is called, its place if it has one, and its fields, each with a comma before it.
pub(super) struct Body {
    /// `message`, `missed`, `live` or `presence`.
    pub(super) op: &'static str,
    /// Where to resume after it.
    pub(super) place: Option<Place>,
    /// `,"name":value…`.
    pub(super) fields: String,
}

/// What a subscriber is told. Offsets are of this epoch.
pub(super) fn body(what: &What, epoch: u64) -> Body {
    match what {
        What::Message(message) => {
            let place = Place { epoch, offset: message.offset };
            Body { op: "message", place: Some(place), fields: of_message(message, place) }
        }
        What::Missed(count) => {
            let fields = count.map(|count| format!(",\"count\":{count}")).unwrap_or_default();
            Body { op: "missed", place: None, fields }
        }
        What::Live(place) => {
            Body { op: "live", place: Some(*place), fields: format!(",\"offset\":\"{place}\"") }
        }
        What::Present(all) => {
            let fields = format!(",\"present\":{},\"reset\":true", entries(all));
            Body { op: "presence", place: None, fields }
        }
        What::Change(change) => Body { op: "presence", place: None, fields: of_change(change) },
    }
}

fn of_message(message: &Message, place: Place) -> String {
    let data = String::from_utf8_lossy(&message.data);
    let mut fields = String::with_capacity(data.len() + 192);
    // Writing to a string can't fail.
    let _ = write!(fields, ",\"id\":\"{}\",\"offset\":\"{place}\",\"data\":{data}", message.id);
    if let Some(user) = &message.user {
        let _ = write!(fields, ",\"from\":{{\"user\":\"{user}\"}}");
    }
    let _ = write!(fields, ",\"time\":\"{}\"", message.time);
    fields
}

fn of_change(change: &Change) -> String {
    let mut fields = String::new();
    for (name, all) in
        [("joined", &change.joined), ("left", &change.left), ("updated", &change.updated)]
    {
        if !all.is_empty() {
            let _ = write!(fields, ",\"{name}\":{}", entries(all));
        }
    }
    fields
}

/// Those who are present, as a list.
pub(crate) fn entries(all: &[Entry]) -> String {
    let mut json = String::from("[");
    for entry in all {
        if json.len() > 1 {
            json.push(',');
        }
        let _ = write!(json, "{{\"key\":\"{}\"", entry.key);
        if let Some(user) = &entry.user {
            let _ = write!(json, ",\"user\":\"{user}\"");
        }
        let state = String::from_utf8_lossy(&entry.state);
        let _ = write!(json, ",\"state\":{state},\"since\":\"{}\"}}", entry.since);
    }
    json.push(']');
    json
}

/// A message of a WebSocket about a subscription, its name as JSON.
pub(super) fn of_sub(body: &Body, sub: &str) -> String {
    format!("{{\"op\":\"{}\",\"sub\":{sub}{}}}", body.op, body.fields)
}

/// The answer to a message that was published.
pub(super) fn published(reference: &str, id: uuid::Uuid, place: Place) -> String {
    let reference = quoted(reference);
    format!("{{\"op\":\"published\",\"ref\":{reference},\"id\":\"{id}\",\"offset\":\"{place}\"}}")
}

/// An event of a stream.
pub(super) fn of_stream(body: &Body) -> String {
    let id = body.place.map(|place| format!("id: {place}\n")).unwrap_or_default();
    // The first field has a comma before it.
    let fields = body.fields.strip_prefix(',').unwrap_or_default();
    format!("{id}event: {}\ndata: {{{fields}}}\n\n", body.op)
}
