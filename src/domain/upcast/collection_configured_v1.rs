//! `collection.configured` v1 knew no fields; what it says stands as it is.

use serde_json::{Value, json};

use super::Step;
use crate::projects::COLLECTION_CONFIGURED;
use crate::schema::Published;

pub(super) const STEP: Step = Step { kind: "collection.configured", from: 1, upcast };

fn upcast(data: Value) -> Value {
    data
}

pub(super) fn published() -> Published {
    let rules = json!({"read": "true", "create": "auth.uid == request.resource.owner"});
    let config =
        json!({"rules": rules, "indexes": [{"fields": [{"field": "ts", "direction": "desc"}]}]});
    Published::retired(COLLECTION_CONFIGURED, 1, json!({"collection": "posts", "config": config}))
}
