//! Turns configuration commands into events, or refuses them.

use serde::{Deserialize, Serialize};

use super::events::ProjectEvent;
use super::state::{CollectionConfig, KeyKind, ProjectState};
use crate::event::NewEvent;
use crate::ids::{CollectionName, KeyId};
use crate::rejected::{Reason, Rejected};

/// The most keys that a project may have at a time.
const KEYS_MAX: usize = 100;
/// The most collections that a project may configure.
const COLLECTIONS_MAX: usize = 1_000;

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
        config: CollectionConfig,
    },
    /// Take a collection's configuration back; its documents stay.
    DeleteCollection {
        /// Which.
        collection: CollectionName,
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
        ProjectCommand::CreateKey { key_id, kind, name, hash, hint } => {
            within("keys", state.keys.len(), KEYS_MAX)?;
            ProjectEvent::KeyCreated { key_id, kind, name, hash, hint }
        }
        ProjectCommand::RevokeKey { key_id } => {
            if !state.keys.contains_key(&key_id) {
                return Err(Reason::KeyNotFound(key_id).into());
            }
            ProjectEvent::KeyRevoked { key_id }
        }
        ProjectCommand::ConfigureCollection { collection, config } => {
            if !state.collections.contains_key(&collection) {
                within("collections", state.collections.len(), COLLECTIONS_MAX)?;
            }
            ProjectEvent::CollectionConfigured { collection, config }
        }
        ProjectCommand::DeleteCollection { collection } => {
            if !state.collections.contains_key(&collection) {
                return Err(Reason::CollectionNotFound(collection).into());
            }
            ProjectEvent::CollectionDeleted { collection }
        }
    };
    Ok(event.into_new(state.version + 1))
}

fn within(what: &'static str, count: usize, limit: usize) -> Result<(), Rejected> {
    if count < limit { Ok(()) } else { Err(Reason::TooMany { what: what.into(), limit }.into()) }
}
