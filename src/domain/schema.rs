//! The published contract of events: every type at every version, with its JSON Schema and an
//! example. Tests hold `schemas/events/` to this list; a published file never changes in meaning.

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::event::EventType;
use crate::event::cloudevents::dataschema;

/// One version of one event type.
pub struct Published {
    /// The type.
    pub kind: EventType,
    /// The schema's version, from 1.
    pub version: u16,
    /// Its JSON Schema (2020-12), generated from the code that writes it; `None` for a version
    /// that is no longer written, whose file in `schemas/` is frozen.
    pub schema: Option<Value>,
    /// An example of the data.
    pub example: Value,
}

impl Published {
    /// A version that the code writes today.
    pub(crate) fn current<T: JsonSchema>(kind: EventType, version: u16, example: Value) -> Self {
        let generator = SchemaSettings::draft2020_12().into_generator();
        let mut schema = generator.into_root_schema_for::<T>();
        schema.insert("$id".into(), dataschema(kind.as_str(), version).into());
        schema.insert("title".into(), format!("{kind} v{version}").into());
        Self { kind, version, schema: Some(schema.to_value()), example }
    }

    /// A version that is only read, through an upcaster.
    pub(crate) fn retired(kind: EventType, version: u16, example: Value) -> Self {
        Self { kind, version, schema: None, example }
    }
}

/// Every event type at every version ever published, oldest first within a type.
pub fn published() -> Vec<Published> {
    let mut all = crate::documents::schemas();
    all.extend(crate::projects::schemas());
    all.extend(crate::users::schemas());
    all.extend(crate::writers::schemas());
    all.extend(crate::upcast::retired());
    all.sort_by(|a, b| (&a.kind, a.version).cmp(&(&b.kind, b.version)));
    all
}
