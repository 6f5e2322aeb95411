//! The event as JSON: CloudEvents 1.0, structured mode, with our extensions and the position.
//! Used by the events route, export, import and people; the log has codecs of its own.
//! Source: CloudEvents 1.0.2 (spec.md, formats/json-format.md).

use std::borrow::Cow;

use bytes::Bytes;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Event, EventType, Recorded, TransactionPart};
use crate::actor::Actor;
use crate::ids::{ProjectId, StreamId};
use crate::json;
use crate::position::Position;
use crate::time::Timestamp;

/// The schema of `type` at `version`, as the events' `dataschema` names it.
pub fn dataschema(kind: &str, version: u16) -> String {
    format!("/schemas/events/{kind}/v{version}.json")
}

/// The version that a `dataschema` names, if it has our form.
pub fn schema_version(dataschema: &str) -> Option<u16> {
    let file = dataschema.rsplit_once("/v")?.1;
    file.strip_suffix(".json")?.parse().ok()
}

/// The `source` of a project's events.
pub fn source(project: &ProjectId) -> String {
    format!("/projects/{project}")
}

/// The project that a `source` names.
pub fn project_of(source: &str) -> Result<ProjectId, Invalid> {
    let project = source.strip_prefix("/projects/").unwrap_or_default();
    ProjectId::new(project).map_err(|e| Invalid::new("source", &e))
}

/// A `fingerprint` as text: 16 hexadecimal digits.
pub fn fingerprint_text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Reads a `fingerprint` back.
pub fn parse_fingerprint(hex: &str) -> Result<u64, Invalid> {
    u64::from_str_radix(hex, 16).map_err(|e| Invalid::new("fingerprint", &e))
}

/// The transaction that an event's three attributes name: all of them or none.
pub fn transaction_of(
    id: Option<Uuid>,
    index: Option<u32>,
    count: Option<u32>,
) -> Result<Option<TransactionPart>, Invalid> {
    match (id, index, count) {
        (None, None, None) => Ok(None),
        (Some(id), Some(index), Some(count)) if index < count => {
            Ok(Some(TransactionPart { id, index, count }))
        }
        _ => Err(Invalid::new("transactionid", &"needs an index below its count")),
    }
}

/// The JSON form, field for field.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    specversion: Cow<'a, str>,
    id: Uuid,
    source: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    subject: Cow<'a, str>,
    time: Timestamp,
    datacontenttype: Cow<'a, str>,
    dataschema: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    epoch: u64,
    streamversion: u64,
    actor: Cow<'a, str>,
    correlationid: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causationid: Option<Uuid>,
    depth: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transactionid: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transactionindex: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transactioncount: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Why a text is not one of our events.
#[derive(Debug, thiserror::Error)]
#[error("not an event: {0}")]
pub struct Invalid(String);

impl Invalid {
    fn new(what: &str, why: &dyn std::fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

/// The event as one compact JSON object, with its position.
pub fn to_json(recorded: &Recorded) -> String {
    render(&recorded.event, Some(recorded.position))
}

fn render(event: &Event, position: Option<Position>) -> String {
    let data = std::str::from_utf8(&event.data).unwrap_or("null");
    // The log holds only JSON that was checked on its way in; anything else shows as null, not as a
    // panic.
    let data = serde_json::from_str(data).unwrap_or(RawValue::NULL);
    let wire = Wire {
        specversion: "1.0".into(),
        id: event.id,
        source: source(&event.project).into(),
        kind: event.kind.as_str().into(),
        subject: event.stream.as_str().into(),
        time: event.time,
        datacontenttype: "application/json".into(),
        dataschema: dataschema(event.kind.as_str(), event.schema_version).into(),
        position,
        epoch: event.epoch,
        streamversion: event.stream_version,
        actor: event.actor.to_string().into(),
        correlationid: event.correlation_id.as_str().into(),
        causationid: event.causation_id,
        depth: event.depth,
        transactionid: event.transaction.map(|part| part.id),
        transactionindex: event.transaction.map(|part| part.index),
        transactioncount: event.transaction.map(|part| part.count),
        fingerprint: event.fingerprint.map(|hash| fingerprint_text(hash).into()),
        traceparent: event.traceparent.as_deref().map(Into::into),
        data,
    };
    serde_json::to_string(&wire).unwrap_or_default()
}

/// Reads an event back, with the position if it had one. The data is checked as JSON and kept
/// compact.
pub fn from_json(text: &str) -> Result<(Option<Position>, Event), Invalid> {
    let bad = Invalid::new;
    let wire: Wire<'_> = serde_json::from_str(text).map_err(|e| Invalid(e.to_string()))?;
    if wire.specversion != "1.0" {
        return Err(bad("specversion", &"expected \"1.0\""));
    }
    let fingerprint = wire.fingerprint.as_deref().map(parse_fingerprint).transpose()?;
    let transaction =
        transaction_of(wire.transactionid, wire.transactionindex, wire.transactioncount)?;
    let short = |what, text: &str| match text.len() {
        1..=256 => Ok(CompactString::new(text)),
        n => Err(bad(what, &format!("must have 1 to 256 bytes, has {n}"))),
    };
    let data = json::compact_object(wire.data.get().as_bytes(), json::Limits::STORED)
        .map_err(|e| bad("data", &e))?;
    let event = Event {
        id: wire.id,
        project: project_of(&wire.source)?,
        stream: StreamId::parse(&wire.subject).map_err(|e| bad("subject", &e))?,
        stream_version: wire.streamversion,
        kind: EventType::parse(&wire.kind).map_err(|e| bad("type", &e))?,
        schema_version: schema_version(&wire.dataschema)
            .ok_or_else(|| bad("dataschema", &"expected /schemas/events/<type>/v<n>.json"))?,
        time: wire.time,
        epoch: wire.epoch,
        actor: wire.actor.parse::<Actor>().map_err(|e| bad("actor", &e))?,
        correlation_id: short("correlationid", &wire.correlationid)?,
        causation_id: wire.causationid,
        depth: wire.depth,
        transaction,
        fingerprint,
        traceparent: wire.traceparent.map(|t| short("traceparent", &t)).transpose()?,
        data: Bytes::from(data),
    };
    Ok((wire.position, event))
}
