//! The events of a project's configuration, and their stored data.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::state::{CollectionConfig, KeyKind};
use crate::event::{Event, EventType, NewEvent};
use crate::ids::{CollectionName, KeyId, StreamId};
use crate::schema::Published;
use crate::upcast::{self, Undecodable};

/// Data of `project.created` and `project.updated`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Named {
    /// The project's name, for people.
    name: String,
}

/// Data of `project.deleted`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Nothing {}

/// Data of `key.created`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct KeyCreated {
    /// Names the key in public.
    key_id: KeyId,
    /// What it may do.
    kind: KeyKind,
    /// For people.
    name: String,
    /// SHA-256 of the key's text, in lower-case hex.
    hash: String,
    /// The key's last four characters.
    hint: String,
}

/// Data of `key.revoked`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct KeyRevoked {
    /// Names the key in public.
    key_id: KeyId,
}

/// Data of `collection.configured`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct CollectionConfigured {
    /// Which collection.
    collection: CollectionName,
    /// All of its configuration.
    config: CollectionConfig,
}

/// Data of `collection.deleted`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct CollectionDeleted {
    /// Which collection.
    collection: CollectionName,
}

/// What happened to a project's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of the stored data, documented above
pub enum ProjectEvent {
    /// The project was made.
    Created { name: String },
    /// It was renamed.
    Updated { name: String },
    /// It was deleted, and its keys with it.
    Deleted {},
    /// A key was made.
    KeyCreated { key_id: KeyId, kind: KeyKind, name: String, hash: String, hint: String },
    /// A key was revoked.
    KeyRevoked { key_id: KeyId },
    /// A collection was configured, or configured anew.
    CollectionConfigured { collection: CollectionName, config: CollectionConfig },
    /// A collection's configuration was taken back.
    CollectionDeleted { collection: CollectionName },
}

const CREATED: EventType = EventType::known("project.created");
const UPDATED: EventType = EventType::known("project.updated");
const DELETED: EventType = EventType::known("project.deleted");
const KEY_CREATED: EventType = EventType::known("key.created");
const KEY_REVOKED: EventType = EventType::known("key.revoked");
const COLLECTION_CONFIGURED: EventType = EventType::known("collection.configured");
const COLLECTION_DELETED: EventType = EventType::known("collection.deleted");

/// Every event type of this family.
pub fn event_types() -> [EventType; 7] {
    [CREATED, UPDATED, DELETED, KEY_CREATED, KEY_REVOKED, COLLECTION_CONFIGURED, COLLECTION_DELETED]
}

impl ProjectEvent {
    /// Reads an event of this family; `None` for another family's.
    ///
    /// Errors when the stored data does not fit its type.
    pub fn decode(event: &Event) -> Result<Option<Self>, Undecodable> {
        if event.stream.category() != "project" {
            return Ok(None);
        }
        let data = upcast::newest(event)?;
        Self::read(&event.kind, &data).map_err(|e| Undecodable::new(event, &e))
    }

    fn read(kind: &EventType, data: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        Ok(Some(if *kind == CREATED {
            Self::Created { name: serde_json::from_slice::<Named>(data)?.name }
        } else if *kind == UPDATED {
            Self::Updated { name: serde_json::from_slice::<Named>(data)?.name }
        } else if *kind == DELETED {
            Self::Deleted {}
        } else if *kind == KEY_CREATED {
            let KeyCreated { key_id, kind, name, hash, hint } = serde_json::from_slice(data)?;
            Self::KeyCreated { key_id, kind, name, hash, hint }
        } else if *kind == KEY_REVOKED {
            Self::KeyRevoked { key_id: serde_json::from_slice::<KeyRevoked>(data)?.key_id }
        } else if *kind == COLLECTION_CONFIGURED {
            let CollectionConfigured { collection, config } = serde_json::from_slice(data)?;
            Self::CollectionConfigured { collection, config }
        } else if *kind == COLLECTION_DELETED {
            let CollectionDeleted { collection } = serde_json::from_slice(data)?;
            Self::CollectionDeleted { collection }
        } else {
            return Ok(None);
        }))
    }

    /// The event as the writer appends it.
    pub(super) fn into_new(self, stream_version: u64) -> NewEvent {
        let json = |value: &dyn erased::Json| Bytes::from(value.to_json());
        let (kind, data) = match self {
            Self::Created { name } => (CREATED, json(&Named { name })),
            Self::Updated { name } => (UPDATED, json(&Named { name })),
            Self::Deleted {} => (DELETED, json(&Nothing {})),
            Self::KeyCreated { key_id, kind, name, hash, hint } => {
                (KEY_CREATED, json(&KeyCreated { key_id, kind, name, hash, hint }))
            }
            Self::KeyRevoked { key_id } => (KEY_REVOKED, json(&KeyRevoked { key_id })),
            Self::CollectionConfigured { collection, config } => {
                (COLLECTION_CONFIGURED, json(&CollectionConfigured { collection, config }))
            }
            Self::CollectionDeleted { collection } => {
                (COLLECTION_DELETED, json(&CollectionDeleted { collection }))
            }
        };
        NewEvent { stream: StreamId::project(), stream_version, kind, schema_version: 1, data }
    }
}

/// Serialises any of the structs above; they hold only strings and maps with text keys, so it
/// can't fail.
mod erased {
    pub(super) trait Json {
        fn to_json(&self) -> Vec<u8>;
    }

    impl<T: serde::Serialize> Json for T {
        fn to_json(&self) -> Vec<u8> {
            serde_json::to_vec(self).unwrap_or_default()
        }
    }
}

/// Every version of every event of this family, for `schemas/`.
pub(crate) fn schemas() -> Vec<Published> {
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let rules = json!({"read": "true", "create": "auth.uid == request.resource.owner"});
    let config =
        json!({"rules": rules, "indexes": [{"fields": [{"field": "ts", "direction": "desc"}]}]});
    vec![
        Published::current::<Named>(CREATED, 1, json!({"name": "Demo"})),
        Published::current::<Named>(UPDATED, 1, json!({"name": "Demo 2"})),
        Published::current::<Nothing>(DELETED, 1, json!({})),
        Published::current::<KeyCreated>(
            KEY_CREATED,
            1,
            json!({"keyId": "k1", "kind": "secret", "name": "ci", "hash": hash, "hint": "x9Qz"}),
        ),
        Published::current::<KeyRevoked>(KEY_REVOKED, 1, json!({"keyId": "k1"})),
        Published::current::<CollectionConfigured>(
            COLLECTION_CONFIGURED,
            1,
            json!({"collection": "posts", "config": config}),
        ),
        Published::current::<CollectionDeleted>(
            COLLECTION_DELETED,
            1,
            json!({"collection": "posts"}),
        ),
    ]
}
