//! What a project's configuration events fold into.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::channels::{ChannelPattern, ChannelState};
use super::events::ProjectEvent;
use crate::event::Event;
use crate::ids::{CollectionName, KeyId};
use crate::sign_in::Config;
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
    /// When rules, roles or groups last changed.
    #[serde(default)]
    pub access_changed_at: Timestamp,
    /// A deleted project answers nothing, and its id is not given again.
    pub deleted: bool,
    /// Keys that are not revoked.
    pub keys: BTreeMap<KeyId, Key>,
    /// Collections that were configured.
    pub collections: BTreeMap<CollectionName, CollectionState>,
    /// Channels that were configured.
    #[serde(default)]
    pub channels: BTreeMap<ChannelPattern, ChannelState>,
    /// Fields that are or were personal, by collection: what was written then is sealed for good.
    #[serde(default)]
    pub personal_ever: BTreeMap<CollectionName, BTreeSet<String>>,
    /// How people sign in; its secrets are sealed.
    #[serde(default)]
    pub sign_in: Config,
    /// Roles and groups.
    #[serde(default)]
    pub people: People,
    /// Keys that sign access tokens, the newest last.
    #[serde(default)]
    pub signing_keys: Vec<SigningKey>,
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
    /// What a secret key may do; everything when there are none.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The text before the last rotation, and until when it is taken.
    #[serde(default)]
    pub previous: Option<(String, Timestamp)>,
    /// When its text was last changed.
    #[serde(default)]
    pub rotated_at: Option<Timestamp>,
    /// When it was last used, noted once a day at most.
    #[serde(default)]
    pub used_at: Option<Timestamp>,
}

/// A key that signs access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// `kid`: the key's thumbprint (RFC 7638).
    pub id: String,
    /// The public key (JWK, RFC 7517).
    pub public: Map<String, Value>,
    /// The private key, sealed with the server's key.
    pub private: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// A retired key still proves tokens, and signs none.
    pub retired_at: Option<Timestamp>,
}

/// A role, and what else it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Role {
    /// Roles that whoever has this one has, too.
    pub includes: BTreeSet<String>,
    /// For people.
    pub description: String,
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Group {
    /// Roles of its members.
    pub roles: BTreeSet<String>,
    /// For people.
    pub description: String,
}

/// The roles and groups of a project. A role that is not named here is one all the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct People {
    /// By name.
    pub roles: BTreeMap<String, Role>,
    /// By name.
    pub groups: BTreeMap<String, Group>,
}

impl People {
    /// Everything that a user with these roles, in these groups, is. Sorted.
    pub fn effective(
        &self,
        roles: &[CompactString],
        groups: &[CompactString],
    ) -> Vec<CompactString> {
        let mut found: BTreeSet<&str> = roles.iter().map(CompactString::as_str).collect();
        let members = groups.iter().filter_map(|group| self.groups.get(group.as_str()));
        found.extend(members.flat_map(|group| group.roles.iter().map(String::as_str)));
        let mut open: Vec<&str> = found.iter().copied().collect();
        while let Some(name) = open.pop() {
            let included = self.roles.get(name).into_iter().flat_map(|role| &role.includes);
            for role in included {
                if found.insert(role) {
                    open.push(role);
                }
            }
        }
        found.into_iter().map(CompactString::new).collect()
    }
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
    /// Whether its value is a list, each element of which is to be found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elements: bool,
}

/// An index over one or more fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// In order.
    pub fields: Vec<IndexField>,
}

/// As a collection's subject: the document's own id is the user's.
pub const SUBJECT_ID: &str = "$id";

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
    /// Fields that have rules of their own or are personal, by name: nested ones with dots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, FieldConfig>,
    /// The field that holds the id of the user whom personal fields are about, or [`SUBJECT_ID`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Fields whose values, taken together, no two documents have alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique: Vec<Vec<String>>,
    /// What each document must be like (JSON Schema 2020-12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Map<String, Value>>,
    /// The field that says when a document is to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// What a developer says of a field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldConfig {
    /// Who may see it, of those who may see the document; everybody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// Who may set or change it, of those who may write the document; everybody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<String>,
    /// Whether it is about a person: then it is sealed with that person's key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub personal: bool,
    /// The collection of which it holds ids of documents: one, or a list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<CollectionName>,
}

impl CollectionConfig {
    /// The fields that are personal.
    pub fn personal(&self) -> impl Iterator<Item = &String> {
        self.fields.iter().filter(|(_, field)| field.personal).map(|(name, _)| name)
    }
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
            ProjectEvent::KeyCreated { key_id, kind, name, hash, hint, scopes } => {
                let key = Key {
                    kind,
                    name,
                    hash,
                    hint,
                    created_at: event.time,
                    scopes,
                    previous: None,
                    rotated_at: None,
                    used_at: None,
                };
                self.keys.insert(key_id, key);
            }
            ProjectEvent::KeyRotated { key_id, hash, hint, grace_seconds } => {
                if let Some(key) = self.keys.get_mut(&key_id) {
                    let until = event.time.as_micros() + i64::from(grace_seconds) * 1_000_000;
                    let earlier = std::mem::replace(&mut key.hash, hash);
                    key.previous = Some((earlier, Timestamp::from_micros(until)));
                    key.hint = hint;
                    key.rotated_at = Some(event.time);
                }
            }
            ProjectEvent::KeyUsed { key_id } => {
                if let Some(key) = self.keys.get_mut(&key_id) {
                    key.used_at = Some(event.time);
                }
            }
            ProjectEvent::KeyRevoked { key_id } => {
                self.keys.remove(&key_id);
            }
            ProjectEvent::CollectionConfigured { collection, config } => {
                self.access_changed_at = event.time;
                let created_at =
                    self.collections.get(&collection).map_or(event.time, |old| old.created_at);
                let state = CollectionState { config: *config, created_at, updated_at: event.time };
                let personal: Vec<String> = state.config.personal().cloned().collect();
                if !personal.is_empty() {
                    self.personal_ever.entry(collection.clone()).or_default().extend(personal);
                }
                self.collections.insert(collection, state);
            }
            ProjectEvent::CollectionDeleted { collection } => {
                self.access_changed_at = event.time;
                self.collections.remove(&collection);
            }
            // What one may see of documents is the same as before.
            ProjectEvent::ChannelConfigured { channel, config } => {
                let created_at =
                    self.channels.get(&channel).map_or(event.time, |old| old.created_at);
                let state = ChannelState { config, created_at, updated_at: event.time };
                self.channels.insert(channel, state);
            }
            ProjectEvent::ChannelDeleted { channel } => {
                self.channels.remove(&channel);
            }
            ProjectEvent::SignInConfigured { config } => self.sign_in = *config,
            ProjectEvent::PeopleConfigured { people } => {
                self.access_changed_at = event.time;
                self.people = people;
            }
            ProjectEvent::SigningKeyAdded { id, public, private } => {
                for key in self.signing_keys.iter_mut().filter(|key| key.retired_at.is_none()) {
                    key.retired_at = Some(event.time);
                }
                let created_at = event.time;
                let key = SigningKey { id, public, private, created_at, retired_at: None };
                self.signing_keys.push(key);
            }
            ProjectEvent::SigningKeyRemoved { id } => self.signing_keys.retain(|key| key.id != id),
        }
        self
    }
}
