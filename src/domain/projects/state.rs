//! What a project's configuration events fold into.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::events::ProjectEvent;
use crate::event::Event;
use crate::ids::{CollectionName, KeyId};
use crate::time::Timestamp;

/// A project's configuration as its events left it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectState {
    /// How many events the configuration has had; 0 for a project that never was.
    pub version: u64,
    /// For people.
    pub name: String,
    /// When the project was made.
    pub created_at: Timestamp,
    /// When the configuration last changed.
    pub updated_at: Timestamp,
    /// A deleted project answers nothing, and its id is not given again.
    pub deleted: bool,
    /// Keys that are not revoked.
    pub keys: BTreeMap<KeyId, Key>,
    /// Collections that were configured.
    pub collections: BTreeMap<CollectionName, CollectionState>,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Names the app; no rights of its own.
    Publishable,
    /// Past the rules; for servers only.
    Secret,
}

/// A key of the project. Its secret text is nowhere; only its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// What it may do.
    pub kind: KeyKind,
    /// For people.
    pub name: String,
    /// SHA-256 of the key's text, in lower-case hex.
    pub hash: String,
    /// The key's last four characters, to tell keys apart.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Who may do what, as CEL expressions. No rule means no access, but for a secret key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Read one document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// Read documents by query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// Make a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<String>,
    /// Change a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<String>,
    /// Delete a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<String>,
}

/// Ascending or descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Smallest first.
    #[default]
    Asc,
    /// Largest first.
    Desc,
}

/// One field of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexField {
    /// Its name; nested fields with dots.
    pub field: String,
    /// Its order.
    #[serde(default)]
    pub direction: Direction,
}

/// An index over one or more fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// In order.
    pub fields: Vec<IndexField>,
}

/// What a developer says of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectionConfig {
    /// Access rules.
    #[serde(default)]
    pub rules: Rules,
    /// Indexes.
    #[serde(default)]
    pub indexes: Vec<Index>,
}

/// A configured collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionState {
    /// What the developer said.
    pub config: CollectionConfig,
    /// When it was first configured.
    pub created_at: Timestamp,
    /// When it was last configured.
    pub updated_at: Timestamp,
}

impl ProjectState {
    /// Whether the project is there and answers.
    pub fn is_live(&self) -> bool {
        self.version > 0 && !self.deleted
    }

    /// The state after one more event. Never fails and has no rules in it.
    #[must_use]
    pub fn evolve(mut self, event: &Event, body: ProjectEvent) -> Self {
        self.version = event.stream_version;
        self.updated_at = event.time;
        match body {
            ProjectEvent::Created { name } => {
                self.name = name;
                self.created_at = event.time;
                self.deleted = false;
            }
            ProjectEvent::Updated { name } => self.name = name,
            ProjectEvent::Deleted {} => {
                self.deleted = true;
                self.keys.clear();
            }
            ProjectEvent::KeyCreated { key_id, kind, name, hash, hint } => {
                let key = Key { kind, name, hash, hint, created_at: event.time };
                self.keys.insert(key_id, key);
            }
            ProjectEvent::KeyRevoked { key_id } => {
                self.keys.remove(&key_id);
            }
            ProjectEvent::CollectionConfigured { collection, config } => {
                let created_at =
                    self.collections.get(&collection).map_or(event.time, |old| old.created_at);
                let state = CollectionState { config, created_at, updated_at: event.time };
                self.collections.insert(collection, state);
            }
            ProjectEvent::CollectionDeleted { collection } => {
                self.collections.remove(&collection);
            }
        }
        self
    }
}
