//! The record by which a writer takes a partition over, and its stored data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::event::EventType;
use crate::schema::Published;

/// Data of `writer.took-over`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TookOver {
    /// Where the node that writes the partition from here on can be reached.
    pub node: String,
}

const TOOK_OVER: EventType = EventType::known("writer.took-over");

impl TookOver {
    /// Version of the data's schema.
    pub const SCHEMA_VERSION: u16 = 1;

    /// The type of the record.
    pub const fn event_type() -> EventType {
        TOOK_OVER
    }
}

/// The published versions of this family.
pub(crate) fn schemas() -> Vec<Published> {
    let example = json!({ "node": "http://10.0.0.7:8080" });
    vec![Published::current::<TookOver>(TOOK_OVER, TookOver::SCHEMA_VERSION, example)]
}
