//! `key.created` v1 knew no scopes: such a key may do everything.

use serde_json::{Value, json};

use super::Step;
use crate::projects::KEY_CREATED;
use crate::schema::Published;

pub(super) const STEP: Step = Step { kind: "key.created", from: 1, upcast };

fn upcast(mut data: Value) -> Value {
    if let Some(fields) = data.as_object_mut() {
        fields.insert("scopes".to_owned(), json!([]));
    }
    data
}

pub(super) fn published() -> Published {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    Published::retired(
        KEY_CREATED,
        1,
        json!({"keyId": "k1", "kind": "secret", "name": "ci", "hash": hash, "hint": "x9Qz"}),
    )
}
