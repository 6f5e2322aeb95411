//! `collection.configured` v2 knew nothing unique, no schema, no references and no expiry; what it
//! says stands as it is.

use serde_json::{Value, json};

use super::Step;
use crate::projects::COLLECTION_CONFIGURED;
use crate::schema::Published;

pub(super) const STEP: Step = Step { kind: "collection.configured", from: 2, upcast };

fn upcast(data: Value) -> Value {
    data
}

pub(super) fn published() -> Published {
    let rules = json!({"read": "true", "create": "auth.uid == request.resource.owner"});
    let fields = json!({
        "salary": {"read": "hasRole('hr')", "write": "hasRole('hr')"},
        "email": {"personal": true},
    });
    let config = json!({
        "rules": rules,
        "indexes": [{"fields": [{"field": "ts", "direction": "desc"}]}],
        "fields": fields,
        "subject": "owner",
    });
    Published::retired(COLLECTION_CONFIGURED, 2, json!({"collection": "posts", "config": config}))
}
