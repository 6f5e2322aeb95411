//! Turns configuration commands into events, or refuses them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::channels::{ChannelConfig, ChannelPattern};
use super::events::ProjectEvent;
use super::state::{CollectionConfig, KeyKind, People, ProjectState, SigningKey};
use crate::event::NewEvent;
use crate::ids::{CollectionName, KeyId};
use crate::path::Path;
use crate::rejected::{Reason, Rejected};
use crate::sign_in::Config;

/// The most keys that a project may have at a time.
const KEYS_MAX: usize = 100;
/// The most collections that a project may configure.
const COLLECTIONS_MAX: usize = 1_000;
/// The most bytes of all schemas of collections together: they are held in memory.
const SCHEMAS_BYTES_MAX: usize = 4 << 20;
/// The most channels, or beginnings of their names, that a project may configure.
const CHANNELS_MAX: usize = 1_000;

/// The most roles, and the most groups.
const ROLES_MAX: usize = 500;
/// The most keys that prove access tokens at a time.
const SIGNING_KEYS_MAX: usize = 10;

/// A change of a project's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProjectCommand {
    /// Make the project.
    Create {
        /// For people.
        name: String,
    },
    /// Rename it.
    Update {
        /// For people.
        name: String,
    },
    /// Delete it; its id is not given again.
    Delete,
    /// Add a key, whose text only the client gets to see.
    CreateKey {
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
    },
    /// Give a key a new text.
    RotateKey {
        /// Which.
        key_id: KeyId,
        /// SHA-256 of its new text, in lower-case hex.
        hash: String,
        /// The new text's last four characters.
        hint: String,
        /// For how long the old text is taken, in seconds.
        grace_seconds: u32,
    },
    /// Note that a key was used.
    NoteKeyUse {
        /// Which.
        key_id: KeyId,
    },
    /// Say how people sign in; replaces all of it. Secrets come sealed.
    ConfigureSignIn {
        /// All of it.
        config: Box<Config>,
    },
    /// Give roles and groups; replaces all of them.
    ConfigurePeople {
        /// All of them.
        people: People,
    },
    /// Sign access tokens with another key from now on.
    AddSigningKey {
        /// `kid`.
        id: String,
        /// The public key (JWK).
        public: Map<String, Value>,
        /// The private key, sealed with the server's key.
        private: String,
        /// Only when there is none: the first one.
        is_first: bool,
    },
    /// Prove no tokens with this key any more.
    RemoveSigningKey {
        /// `kid`.
        id: String,
    },
    /// Take a key away.
    RevokeKey {
        /// Which.
        key_id: KeyId,
    },
    /// Configure a collection; replaces all of its configuration.
    ConfigureCollection {
        /// Which.
        collection: CollectionName,
        /// Its configuration.
        config: Box<CollectionConfig>,
    },
    /// Take a collection's configuration back; its documents stay.
    DeleteCollection {
        /// Which.
        collection: CollectionName,
    },
    /// Configure a channel, or all whose names begin so; replaces all of its configuration.
    ConfigureChannel {
        /// Which.
        channel: ChannelPattern,
        /// Its configuration.
        config: ChannelConfig,
    },
    /// Take a channel's configuration back.
    DeleteChannel {
        /// Which.
        channel: ChannelPattern,
    },
}

/// Decides one command against the project's state.
///
/// Errors with what is in the way.
pub fn decide(state: &ProjectState, command: &ProjectCommand) -> Result<NewEvent, Rejected> {
    if !state.is_live() && !matches!(command, ProjectCommand::Create { .. }) {
        return Err(Reason::ProjectNotFound.into());
    }
    let event = match command.clone() {
        ProjectCommand::Create { .. } if state.version > 0 => {
            return Err(Reason::ProjectExists.into());
        }
        ProjectCommand::Create { name } => ProjectEvent::Created { name },
        ProjectCommand::Update { name } => ProjectEvent::Updated { name },
        ProjectCommand::Delete => ProjectEvent::Deleted {},
        ProjectCommand::CreateKey { key_id, kind, name, hash, hint, scopes } => {
            within("keys", state.keys.len(), KEYS_MAX)?;
            ProjectEvent::KeyCreated { key_id, kind, name, hash, hint, scopes }
        }
        ProjectCommand::RotateKey { key_id, hash, hint, grace_seconds } => {
            known_key(state, &key_id)?;
            ProjectEvent::KeyRotated { key_id, hash, hint, grace_seconds }
        }
        ProjectCommand::NoteKeyUse { key_id } => {
            known_key(state, &key_id)?;
            ProjectEvent::KeyUsed { key_id }
        }
        ProjectCommand::RevokeKey { key_id } => {
            known_key(state, &key_id)?;
            ProjectEvent::KeyRevoked { key_id }
        }
        ProjectCommand::ConfigureCollection { collection, config } => {
            if !state.collections.contains_key(&collection) {
                within("collections", state.collections.len(), COLLECTIONS_MAX)?;
            }
            check_indexes(state, &collection, &config)?;
            let others = state.collections.iter().filter(|(name, _)| **name != collection);
            let schemas = others.map(|(_, other)| &other.config).chain([&*config]);
            let schemas = schemas.filter_map(|config| config.schema.as_ref());
            let bytes = schemas.map(|one| serde_json::to_vec(one).map_or(0, |text| text.len()));
            within("bytes of schemas", bytes.sum(), SCHEMAS_BYTES_MAX)?;
            ProjectEvent::CollectionConfigured { collection, config }
        }
        ProjectCommand::DeleteCollection { collection } => {
            if !state.collections.contains_key(&collection) {
                return Err(Reason::CollectionNotFound(collection).into());
            }
            ProjectEvent::CollectionDeleted { collection }
        }
        ProjectCommand::ConfigureChannel { channel, config } => {
            if !state.channels.contains_key(&channel) {
                within("channels", state.channels.len(), CHANNELS_MAX)?;
            }
            ProjectEvent::ChannelConfigured { channel, config }
        }
        ProjectCommand::DeleteChannel { channel } => {
            if !state.channels.contains_key(&channel) {
                return Err(Reason::ChannelNotFound(channel).into());
            }
            ProjectEvent::ChannelDeleted { channel }
        }
        ProjectCommand::ConfigureSignIn { config } => ProjectEvent::SignInConfigured { config },
        ProjectCommand::ConfigurePeople { people } => {
            // As many as there are to be, not one more.
            within("roles", people.roles.len(), ROLES_MAX + 1)?;
            within("groups", people.groups.len(), ROLES_MAX + 1)?;
            ProjectEvent::PeopleConfigured { people }
        }
        ProjectCommand::AddSigningKey { id, public, private, is_first } => {
            if is_first && !state.signing_keys.is_empty() {
                return Err(Reason::SigningKeyExists.into());
            }
            within("signing keys", state.signing_keys.len(), SIGNING_KEYS_MAX)?;
            ProjectEvent::SigningKeyAdded { id, public, private }
        }
        ProjectCommand::RemoveSigningKey { id } => {
            let is_retired = |key: &SigningKey| key.id == id && key.retired_at.is_some();
            if !state.signing_keys.iter().any(is_retired) {
                return Err(Reason::SigningKeyNotFound(id).into());
            }
            ProjectEvent::SigningKeyRemoved { id }
        }
    };
    Ok(event.into_new(state.version + 1))
}

/// What was ever personal is sealed in what was written then: an index would hold that.
fn check_indexes(
    state: &ProjectState,
    collection: &CollectionName,
    config: &CollectionConfig,
) -> Result<(), Rejected> {
    let ever = state.personal_ever.get(collection).into_iter().flatten();
    let personal: Vec<Path> =
        ever.chain(config.personal()).filter_map(|name| Path::parse(name).ok()).collect();
    let indexed = config.indexes.iter().flat_map(|index| &index.fields).map(|one| &one.field);
    for name in indexed.chain(config.unique.iter().flatten()) {
        let Ok(path) = Path::parse(name) else { continue };
        if personal.iter().any(|personal| path.starts_with(personal)) {
            return Err(Reason::IndexPersonal(name.clone()).into());
        }
    }
    Ok(())
}

fn known_key(state: &ProjectState, id: &KeyId) -> Result<(), Rejected> {
    match state.keys.contains_key(id) {
        true => Ok(()),
        false => Err(Reason::KeyNotFound(id.clone()).into()),
    }
}

fn within(what: &'static str, count: usize, limit: usize) -> Result<(), Rejected> {
    if count < limit { Ok(()) } else { Err(Reason::TooMany { what: what.into(), limit }.into()) }
}
