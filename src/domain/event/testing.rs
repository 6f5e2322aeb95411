//! Envelopes for tests.

use super::{Event, NewEvent};
use crate::actor::Actor;
use crate::ids::ProjectId;
use crate::time::Timestamp;

/// A decided event in a plain envelope, at a time in microseconds.
pub(crate) fn event(decided: NewEvent, time: i64) -> Event {
    Event {
        id: uuid::Uuid::nil(),
        project: ProjectId::new("p").unwrap(),
        stream: decided.stream,
        stream_version: decided.stream_version,
        kind: decided.kind,
        schema_version: decided.schema_version,
        time: Timestamp::from_micros(time),
        epoch: 0,
        actor: Actor::System,
        correlation_id: "c".into(),
        causation_id: None,
        depth: 0,
        transaction: None,
        fingerprint: None,
        traceparent: None,
        data: decided.data,
    }
}
