//! Who did it: recorded in every event, shown in history and audit.

use std::fmt;
use std::str::FromStr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::ids::KeyId;

/// The one who caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Actor {
    /// Headwater itself.
    System,
    /// The server's own administrator.
    Admin,
    /// A key of the project.
    Key(KeyId),
    /// Something this version does not know, kept as it was read.
    Other(CompactString),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Admin => f.write_str("admin"),
            Self::Key(id) => write!(f, "key:{id}"),
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
                _ => Self::Other(CompactString::new(text)),
            },
        })
    }
}
