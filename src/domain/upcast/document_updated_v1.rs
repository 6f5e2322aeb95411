//! `document.updated` v1 named the changed top-level fields; v2 points at what changed and keeps
//! what it was.

use serde_json::{Map, Value, json};

use super::Step;
use crate::documents::UPDATED;
use crate::path::push_name;
use crate::schema::Published;

pub(super) const STEP: Step = Step { kind: "document.updated", from: 1, upcast };

/// Names become pointers. What the fields were before was not recorded in v1, so `before` is
/// empty.
fn upcast(mut data: Value) -> Value {
    let Some(fields) = data.as_object_mut() else { return data };
    let names = fields.get("changed").and_then(Value::as_array).cloned().unwrap_or_default();
    let pointers = names.iter().filter_map(Value::as_str).map(|name| {
        let mut pointer = String::new();
        push_name(&mut pointer, name);
        Value::String(pointer)
    });
    let pointers: Vec<Value> = pointers.collect();
    fields.insert("changed".to_owned(), Value::Array(pointers));
    fields.insert("before".to_owned(), Value::Object(Map::new()));
    data
}

pub(super) fn published() -> Published {
    Published::retired(
        UPDATED,
        1,
        json!({
            "createdAt": "2026-01-31T12:00:00.000000Z",
            "changed": ["title", "a/b"],
            "data": {"title": "Headwaters", "a/b": 1},
        }),
    )
}
