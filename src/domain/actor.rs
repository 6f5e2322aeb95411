//! Who did it: recorded in every event, shown in history and audit.

use std::fmt;
use std::str::FromStr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::{KeyId, UserId};

/// The one who caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Actor {
    /// Headwater itself.
    System,
    /// The server's own administrator.
    Admin,
    /// A key of the project.
    Key(KeyId),
    /// A user of the project.
    User {
        /// Which.
        id: UserId,
        /// Who acted in the user's name, as an actor's text, where it was not the user.
        by: Option<CompactString>,
    },
    /// Something this version does not know, kept as it was read.
    Other(CompactString),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Admin => f.write_str("admin"),
            Self::Key(id) => write!(f, "key:{id}"),
            Self::User { id, by: None } => write!(f, "user:{id}"),
            Self::User { id, by: Some(by) } => write!(f, "user:{id}/by:{by}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// The text is empty, longer than 256 bytes or not printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an actor: expected 1 to 256 printable ASCII characters, for example key:abc")]
pub struct InvalidActor;

impl FromStr for Actor {
    type Err = InvalidActor;

    fn from_str(text: &str) -> Result<Self, InvalidActor> {
        if text.is_empty() || text.len() > 256 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidActor);
        }
        Ok(match text {
            "system" => Self::System,
            "admin" => Self::Admin,
            _ => match text.strip_prefix("key:").map(KeyId::new) {
                Some(Ok(id)) => Self::Key(id),
                _ => user(text).unwrap_or_else(|| Self::Other(CompactString::new(text))),
            },
        })
    }
}

fn user(text: &str) -> Option<Actor> {
    let name = text.strip_prefix("user:")?;
    let (id, by) = match name.split_once("/by:") {
        Some((id, by)) if !by.is_empty() => (id, Some(CompactString::new(by))),
        Some(_) => return None,
        None => (name, None),
    };
    Some(Actor::User { id: UserId::new(id).ok()?, by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_actor_reads_back() {
        for text in ["system", "admin", "key:k1", "user:u1", "user:u1/by:key:k1", "who", "user:"] {
            let actor: Actor = text.parse().unwrap();
            assert_eq!(actor.to_string(), text);
            let is_other = matches!(actor, Actor::Other(_));
            assert_eq!(is_other, matches!(text, "who" | "user:"), "{text}");
        }
    }
}
