//! The events of a project's configuration, and their stored data.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::channels::{ChannelConfig, ChannelPattern};
use super::state::{CollectionConfig, KeyKind, People};
use crate::event::{Event, EventType, NewEvent};
use crate::ids::{CollectionName, KeyId, StreamId};
use crate::schema::Published;
use crate::sign_in::Config;
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
    /// What a secret key may do; everything when there are none.
    scopes: Vec<String>,
}

/// Data of `key.rotated`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct KeyRotated {
    /// Names the key in public.
    key_id: KeyId,
    /// SHA-256 of its new text, in lower-case hex.
    hash: String,
    /// The new text's last four characters.
    hint: String,
    /// For how long the old text is taken, in seconds.
    grace_seconds: u32,
}

/// Data of `sign-in.configured`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct SignInConfigured {
    /// All of it, with its secrets sealed; what is missing has its default.
    config: Map<String, Value>,
}

/// Data of `people.configured`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct PeopleConfigured {
    /// All roles and groups.
    people: People,
}

/// Data of `signing-key.added`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct SigningKeyAdded {
    /// `kid`.
    id: String,
    /// The public key (JWK, RFC 7517).
    public: Map<String, Value>,
    /// The private key, sealed with the server's key.
    private: String,
}

/// Data of `signing-key.removed`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct SigningKeyRemoved {
    /// `kid`.
    id: String,
}

/// Data of `key.revoked`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct KeyRevoked {
    /// Names the key in public.
    key_id: KeyId,
}

/// Data of `key.used`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct KeyUsed {
    /// Names the key in public.
    key_id: KeyId,
}

/// Data of `collection.configured`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct CollectionConfigured {
    /// Which collection.
    collection: CollectionName,
    /// All of its configuration.
    config: Box<CollectionConfig>,
}

/// Data of `collection.deleted`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct CollectionDeleted {
    /// Which collection.
    collection: CollectionName,
}

/// Data of `channel.configured`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct ChannelConfigured {
    /// Which channel, or which beginning of names.
    channel: ChannelPattern,
    /// All of its configuration.
    config: ChannelConfig,
}

/// Data of `channel.deleted`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct ChannelDeleted {
    /// Which channel, or which beginning of names.
    channel: ChannelPattern,
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
    KeyCreated {
        key_id: KeyId,
        kind: KeyKind,
        name: String,
        hash: String,
        hint: String,
        scopes: Vec<String>,
    },
    /// A key has a new text.
    KeyRotated { key_id: KeyId, hash: String, hint: String, grace_seconds: u32 },
    /// A key was used; noted once a day at most.
    KeyUsed { key_id: KeyId },
    /// A key was revoked.
    KeyRevoked { key_id: KeyId },
    /// A collection was configured, or configured anew.
    CollectionConfigured { collection: CollectionName, config: Box<CollectionConfig> },
    /// A collection's configuration was taken back.
    CollectionDeleted { collection: CollectionName },
    /// A channel, or all whose names begin so, was configured, or configured anew.
    ChannelConfigured { channel: ChannelPattern, config: ChannelConfig },
    /// A channel's configuration was taken back.
    ChannelDeleted { channel: ChannelPattern },
    /// It was said how people sign in.
    SignInConfigured { config: Box<Config> },
    /// Roles and groups were given.
    PeopleConfigured { people: People },
    /// Access tokens are signed with another key; the one before is retired.
    SigningKeyAdded { id: String, public: Map<String, Value>, private: String },
    /// A key proves no tokens any more.
    SigningKeyRemoved { id: String },
}

const CREATED: EventType = EventType::known("project.created");
const UPDATED: EventType = EventType::known("project.updated");
const DELETED: EventType = EventType::known("project.deleted");
pub(crate) const KEY_CREATED: EventType = EventType::known("key.created");
const KEY_REVOKED: EventType = EventType::known("key.revoked");
pub(crate) const COLLECTION_CONFIGURED: EventType = EventType::known("collection.configured");
const COLLECTION_DELETED: EventType = EventType::known("collection.deleted");
const CHANNEL_CONFIGURED: EventType = EventType::known("channel.configured");
const CHANNEL_DELETED: EventType = EventType::known("channel.deleted");

const KEY_ROTATED: EventType = EventType::known("key.rotated");
const KEY_USED: EventType = EventType::known("key.used");
const SIGN_IN_CONFIGURED: EventType = EventType::known("sign-in.configured");
const PEOPLE_CONFIGURED: EventType = EventType::known("people.configured");
const SIGNING_KEY_ADDED: EventType = EventType::known("signing-key.added");
const SIGNING_KEY_REMOVED: EventType = EventType::known("signing-key.removed");

/// Every event type of this family.
pub fn event_types() -> [EventType; 15] {
    [
        CREATED,
        UPDATED,
        DELETED,
        KEY_CREATED,
        KEY_ROTATED,
        KEY_USED,
        KEY_REVOKED,
        COLLECTION_CONFIGURED,
        COLLECTION_DELETED,
        CHANNEL_CONFIGURED,
        CHANNEL_DELETED,
        SIGN_IN_CONFIGURED,
        PEOPLE_CONFIGURED,
        SIGNING_KEY_ADDED,
        SIGNING_KEY_REMOVED,
    ]
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
            let KeyCreated { key_id, kind, name, hash, hint, scopes } =
                serde_json::from_slice(data)?;
            Self::KeyCreated { key_id, kind, name, hash, hint, scopes }
        } else if *kind == KEY_ROTATED {
            let KeyRotated { key_id, hash, hint, grace_seconds } = serde_json::from_slice(data)?;
            Self::KeyRotated { key_id, hash, hint, grace_seconds }
        } else if *kind == KEY_USED {
            Self::KeyUsed { key_id: serde_json::from_slice::<KeyUsed>(data)?.key_id }
        } else if *kind == KEY_REVOKED {
            Self::KeyRevoked { key_id: serde_json::from_slice::<KeyRevoked>(data)?.key_id }
        } else if *kind == COLLECTION_CONFIGURED {
            let CollectionConfigured { collection, config } = serde_json::from_slice(data)?;
            Self::CollectionConfigured { collection, config }
        } else if *kind == COLLECTION_DELETED {
            let CollectionDeleted { collection } = serde_json::from_slice(data)?;
            Self::CollectionDeleted { collection }
        } else if *kind == CHANNEL_CONFIGURED {
            let ChannelConfigured { channel, config } = serde_json::from_slice(data)?;
            Self::ChannelConfigured { channel, config }
        } else if *kind == CHANNEL_DELETED {
            let ChannelDeleted { channel } = serde_json::from_slice(data)?;
            Self::ChannelDeleted { channel }
        } else if *kind == SIGN_IN_CONFIGURED {
            let SignInConfigured { config } = serde_json::from_slice(data)?;
            Self::SignInConfigured { config: serde_json::from_value(Value::Object(config))? }
        } else if *kind == PEOPLE_CONFIGURED {
            let PeopleConfigured { people } = serde_json::from_slice(data)?;
            Self::PeopleConfigured { people }
        } else if *kind == SIGNING_KEY_ADDED {
            let SigningKeyAdded { id, public, private } = serde_json::from_slice(data)?;
            Self::SigningKeyAdded { id, public, private }
        } else if *kind == SIGNING_KEY_REMOVED {
            let SigningKeyRemoved { id } = serde_json::from_slice(data)?;
            Self::SigningKeyRemoved { id }
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
            Self::KeyCreated { key_id, kind, name, hash, hint, scopes } => {
                (KEY_CREATED, json(&KeyCreated { key_id, kind, name, hash, hint, scopes }))
            }
            Self::KeyRotated { key_id, hash, hint, grace_seconds } => {
                (KEY_ROTATED, json(&KeyRotated { key_id, hash, hint, grace_seconds }))
            }
            Self::KeyUsed { key_id } => (KEY_USED, json(&KeyUsed { key_id })),
            Self::KeyRevoked { key_id } => (KEY_REVOKED, json(&KeyRevoked { key_id })),
            Self::CollectionConfigured { collection, config } => {
                (COLLECTION_CONFIGURED, json(&CollectionConfigured { collection, config }))
            }
            Self::CollectionDeleted { collection } => {
                (COLLECTION_DELETED, json(&CollectionDeleted { collection }))
            }
            Self::ChannelConfigured { channel, config } => {
                (CHANNEL_CONFIGURED, json(&ChannelConfigured { channel, config }))
            }
            Self::ChannelDeleted { channel } => {
                (CHANNEL_DELETED, json(&ChannelDeleted { channel }))
            }
            Self::SignInConfigured { config } => {
                let config = serde_json::to_value(config).unwrap_or_default();
                let config = config.as_object().cloned().unwrap_or_default();
                (SIGN_IN_CONFIGURED, json(&SignInConfigured { config }))
            }
            Self::PeopleConfigured { people } => {
                (PEOPLE_CONFIGURED, json(&PeopleConfigured { people }))
            }
            Self::SigningKeyAdded { id, public, private } => {
                (SIGNING_KEY_ADDED, json(&SigningKeyAdded { id, public, private }))
            }
            Self::SigningKeyRemoved { id } => {
                (SIGNING_KEY_REMOVED, json(&SigningKeyRemoved { id }))
            }
        };
        let schema_version = version_of(&kind);
        NewEvent { stream: StreamId::project(), stream_version, kind, schema_version, data }
    }
}

/// The version of the data that is written today.
fn version_of(kind: &EventType) -> u16 {
    if *kind == COLLECTION_CONFIGURED {
        3
    } else if *kind == KEY_CREATED {
        2
    } else {
        1
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
    let fields = json!({
        "salary": {"read": "hasRole('hr')", "write": "hasRole('hr')"},
        "email": {"personal": true},
        "room": {"references": "rooms"},
    });
    let tags = json!({"field": "tags", "direction": "asc", "elements": true});
    let config = json!({
        "rules": rules,
        "indexes": [{"fields": [{"field": "ts", "direction": "desc"}]}, {"fields": [tags]}],
        "fields": fields,
        "subject": "owner",
        "unique": [["slug"], ["room", "number"]],
        "schema": {"type": "object", "required": ["title"]},
        "expires": "deleteAt",
    });
    let people = json!({
        "roles": {"editor": {"includes": ["viewer"], "description": "Writes"}},
        "groups": {"staff": {"roles": ["editor"], "description": ""}},
    });
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let signing_key = json!({
        "id": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "public": jwk,
        "private": "1.k3Jx.c2VhbGVk",
    });
    vec![
        Published::current::<Named>(CREATED, 1, json!({"name": "Demo"})),
        Published::current::<Named>(UPDATED, 1, json!({"name": "Demo 2"})),
        Published::current::<Nothing>(DELETED, 1, json!({})),
        Published::current::<KeyCreated>(
            KEY_CREATED,
            2,
            json!({
                "keyId": "k1", "kind": "secret", "name": "ci", "hash": hash, "hint": "x9Qz",
                "scopes": ["documents:read"],
            }),
        ),
        Published::current::<KeyRotated>(
            KEY_ROTATED,
            1,
            json!({"keyId": "k1", "hash": hash, "hint": "x9Qz", "graceSeconds": 3600}),
        ),
        Published::current::<KeyUsed>(KEY_USED, 1, json!({"keyId": "k1"})),
        Published::current::<SignInConfigured>(
            SIGN_IN_CONFIGURED,
            1,
            json!({"config": {"siteUrl": "https://app.example", "magicLink": false}}),
        ),
        Published::current::<PeopleConfigured>(PEOPLE_CONFIGURED, 1, json!({"people": people})),
        Published::current::<SigningKeyAdded>(SIGNING_KEY_ADDED, 1, signing_key),
        Published::current::<SigningKeyRemoved>(SIGNING_KEY_REMOVED, 1, json!({"id": "k1"})),
        Published::current::<KeyRevoked>(KEY_REVOKED, 1, json!({"keyId": "k1"})),
        Published::current::<CollectionConfigured>(
            COLLECTION_CONFIGURED,
            3,
            json!({"collection": "posts", "config": config}),
        ),
        Published::current::<CollectionDeleted>(
            COLLECTION_DELETED,
            1,
            json!({"collection": "posts"}),
        ),
        Published::current::<ChannelConfigured>(
            CHANNEL_CONFIGURED,
            1,
            json!({"channel": "room.*", "config": {
                "rules": {"join": "auth != null", "publish": "hasRole('speaker')"},
                "history": {"messages": 100, "seconds": 60},
            }}),
        ),
        Published::current::<ChannelDeleted>(CHANNEL_DELETED, 1, json!({"channel": "room.*"})),
    ]
}
