//! Brings stored data up to the newest version of its type: pure steps v(n) → v(n+1), chained at
//! read. What is stored never changes; consumers only ever see the newest version.

mod collection_configured_v1;
mod collection_configured_v2;
mod document_updated_v1;
mod key_created_v1;

use bytes::Bytes;
use serde_json::Value;

use crate::event::Event;
use crate::schema::Published;

/// Stored data that does not fit its type and version.
#[derive(Debug, Clone, thiserror::Error)]
#[error("event {id} of type {kind} v{version} does not decode: {detail}")]
pub struct Undecodable {
    id: uuid::Uuid,
    kind: String,
    version: u16,
    detail: String,
}

impl Undecodable {
    pub(crate) fn new(event: &Event, detail: &dyn std::fmt::Display) -> Self {
        Self {
            id: event.id,
            kind: event.kind.to_string(),
            version: event.schema_version,
            detail: detail.to_string(),
        }
    }
}

/// One step: data of a type at a version, brought to the next version.
struct Step {
    kind: &'static str,
    from: u16,
    upcast: fn(Value) -> Value,
}

const STEPS: &[Step] = &[
    collection_configured_v1::STEP,
    collection_configured_v2::STEP,
    document_updated_v1::STEP,
    key_created_v1::STEP,
];

/// The event's data at the newest version of its type.
///
/// Errors when the data is not JSON and a step would have to read it.
pub fn newest(event: &Event) -> Result<Bytes, Undecodable> {
    let step_from = |version: u16| {
        STEPS.iter().find(|step| step.from == version && step.kind == event.kind.as_str())
    };
    let mut version = event.schema_version;
    let Some(mut step) = step_from(version) else {
        return Ok(event.data.clone());
    };
    let mut data: Value =
        serde_json::from_slice(&event.data).map_err(|e| Undecodable::new(event, &e))?;
    loop {
        data = (step.upcast)(data);
        version += 1;
        match step_from(version) {
            Some(next) => step = next,
            None => return Ok(Bytes::from(data.to_string())),
        }
    }
}

/// The versions that are only read today.
pub(crate) fn retired() -> Vec<Published> {
    vec![
        collection_configured_v1::published(),
        collection_configured_v2::published(),
        document_updated_v1::published(),
        key_created_v1::published(),
    ]
}

/// The step from a version, for the golden test.
#[cfg(test)]
pub(crate) fn step_for_test(kind: &str, from: u16) -> fn(Value) -> Value {
    STEPS.iter().find(|step| step.kind == kind && step.from == from).unwrap().upcast
}
