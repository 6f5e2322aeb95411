//! An object's fields as text, one level deep: enough to merge and compare without turning numbers
//! into floats.

use indexmap::IndexMap;
use serde_json::value::RawValue;

/// Whether compact JSON text is an object.
pub(super) fn is_object(json: &str) -> bool {
    json.starts_with('{')
}

/// The fields of an object, in order.
#[derive(Default)]
pub(super) struct Fields(IndexMap<String, Box<RawValue>>);

impl Fields {
    /// The fields of compact JSON text; none when it is not an object.
    pub(super) fn of(json: &str) -> Self {
        Self(serde_json::from_str(json).unwrap_or_default())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.get()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.get())
    }

    /// Sets a field to JSON text; text that is not JSON is passed over.
    pub(super) fn set(&mut self, name: &str, json: String) {
        if let Ok(value) = RawValue::from_string(json) {
            self.0.insert(name.to_owned(), value);
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.shift_remove(name);
    }

    pub(super) fn to_json(&self) -> String {
        // Names are strings and values are JSON, so there is nothing that could fail.
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}
