//! The event: a fact about one stream, as the writer makes it and as consumers read it.
//! The envelope is CloudEvents 1.0 with our extensions; see `event/cloudevents.rs` for its JSON.

pub mod cloudevents;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;

use bytes::Bytes;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::actor::Actor;
use crate::ids::{ProjectId, StreamId};
use crate::position::Position;
use crate::time::Timestamp;

/// The stored name of what happened: dotted, past tense, chosen by hand (`document.created`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventType(CompactString);

/// The text is not a dotted name of 1–128 characters `a-z 0-9 . -`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an event type: expected 1 to 128 of a-z 0-9 . -, for example document.created")]
pub struct InvalidEventType;

impl EventType {
    /// A name known at compile time. Panics at compile time when it is longer than 24 bytes.
    pub const fn known(name: &'static str) -> Self {
        Self(CompactString::const_new(name))
    }

    /// Checks a name that was stored or imported.
    pub fn parse(text: &str) -> Result<Self, InvalidEventType> {
        let ok = (1..=128).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'));
        if ok { Ok(Self(CompactString::new(text))) } else { Err(InvalidEventType) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.as_str(), f)
    }
}

/// One event's place in its transaction. The events of a transaction lie next to each other and
/// count all or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionPart {
    /// Names the transaction.
    pub id: Uuid,
    /// 0 for the first event.
    pub index: u32,
    /// How many events the transaction has.
    pub count: u32,
}

impl TransactionPart {
    /// Whether this is the transaction's last event.
    pub fn is_last(&self) -> bool {
        self.index + 1 == self.count
    }
}

/// What `decide` yields: the fact, before the writer gives it an id, a time and a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The stream that it is about.
    pub stream: StreamId,
    /// The stream's count with this event, from 1 without holes.
    pub stream_version: u64,
    /// What happened.
    pub kind: EventType,
    /// Version of the data's schema.
    pub schema_version: u16,
    /// The data: one compact JSON object.
    pub data: Bytes,
}

/// An event with its whole envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// UUIDv7, or UUIDv5 of project, idempotency key and index where the client gave a key.
    pub id: Uuid,
    /// Whose event it is; also the record's key, and so its partition.
    pub project: ProjectId,
    /// The stream that it is about.
    pub stream: StreamId,
    /// The stream's count with this event, from 1 without holes.
    pub stream_version: u64,
    /// What happened.
    pub kind: EventType,
    /// Version of the data's schema.
    pub schema_version: u16,
    /// When the writer decided it. Never goes back within a partition.
    pub time: Timestamp,
    /// The writer's epoch.
    pub epoch: u64,
    /// Who did it.
    pub actor: Actor,
    /// Names the whole conversation; the request's `X-Correlation-Id` where it had one.
    pub correlation_id: CompactString,
    /// The event that directly caused this one.
    pub causation_id: Option<Uuid>,
    /// How many events stand before this one in its chain of causes.
    pub depth: u16,
    /// Set when the event is part of a transaction of several.
    pub transaction: Option<TransactionPart>,
    /// Hash of the request, kept with an idempotency key to tell a repeat from a misuse.
    pub fingerprint: Option<u64>,
    /// W3C Trace Context of the request.
    pub traceparent: Option<CompactString>,
    /// The data: one compact JSON object.
    pub data: Bytes,
}

impl Event {
    /// Whether no more events of the same transaction follow.
    pub fn ends_transaction(&self) -> bool {
        self.transaction.is_none_or(|part| part.is_last())
    }

    /// Bytes that the event takes in memory, near enough for limits and batches.
    pub fn weight(&self) -> usize {
        256 + self.data.len() + self.stream.as_str().len()
    }
}

/// An event as read from the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Where it stands.
    pub position: Position,
    /// What it says.
    pub event: Event,
}
