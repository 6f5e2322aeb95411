//! Names of things: projects, collections, documents, keys and streams.
//! Every id is checked once, when it is made; whoever holds one may print it into a path, a key or
//! a log line as it is.

use std::fmt;
use std::str::FromStr;

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest id, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Empty, or longer than [`ID_BYTES_MAX`].
    #[error("must have 1 to {ID_BYTES_MAX} characters, has {0}")]
    Length(usize),
    /// A character outside `A-Z a-z 0-9 _ - .`.
    #[error("may contain only A-Z a-z 0-9 _ - . but has {0:?}")]
    Character(char),
    /// Starts with `_` or `.`, which are kept for the system.
    #[error("may not start with {0:?}")]
    Start(char),
}

/// Checks the rule for ids of the public API: 1–128 characters of `A-Z a-z 0-9 _ - .`, not
/// starting with `_` or `.`.
pub fn check_id(text: &str) -> Result<(), InvalidId> {
    if text.is_empty() || text.len() > ID_BYTES_MAX {
        return Err(InvalidId::Length(text.chars().count()));
    }
    if let Some(bad) =
        text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
    {
        return Err(InvalidId::Character(bad));
    }
    match text.as_bytes()[0] {
        first @ (b'_' | b'.') => Err(InvalidId::Start(char::from(first))),
        _ => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(CompactString);

        impl $name {
            /// Checks `text` and wraps it.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                check_id(text)?;
                Ok(Self(CompactString::new(text)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.0.as_str(), f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$",
                })
            }
        }
    };
}

id! {
    /// A tenant: the unit of isolation and of order.
    ProjectId
}
id! {
    /// A named set of documents within a project.
    CollectionName
}
id! {
    /// A channel of a project: whoever is in it hears what is published there.
    ChannelName
}
id! {
    /// One document within a collection.
    DocumentId
}
id! {
    /// One key of a project; public, unlike the key's secret text.
    KeyId
}
id! {
    /// One user of a project.
    UserId
}
id! {
    /// One session of a user: a device or browser that is signed in.
    SessionId
}

/// All events of one thing, as `category` or `category/…`; the CloudEvents `subject`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(CompactString);

impl StreamId {
    /// The stream of a project's configuration: its name, keys and collections.
    pub fn project() -> Self {
        Self(CompactString::const_new("project"))
    }

    /// The stream of one document.
    pub fn document(collection: &CollectionName, id: &DocumentId) -> Self {
        Self(format_compact!("document/{collection}/{id}"))
    }

    /// The stream of one user: who it is, and its sessions.
    pub fn user(id: &UserId) -> Self {
        Self(format_compact!("user/{id}"))
    }

    /// Takes a stream id as it was stored or imported. Errors when it is not printable ASCII of
    /// 1–512 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() || text.len() > 512 {
            return Err(InvalidId::Length(text.len()));
        }
        match text.chars().find(|c| !c.is_ascii_graphic()) {
            Some(bad) => Err(InvalidId::Character(bad)),
            None => Ok(Self(CompactString::new(text))),
        }
    }

    /// The stream as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes before the first `/`: `document`, `project`, …
    pub fn category(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(category, _)| category)
    }

    /// Collection and id, when this is a document's stream.
    pub fn as_document(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix("document/")?.split_once('/')
    }

    /// The user's id, when this is a user's stream.
    pub fn as_user(&self) -> Option<UserId> {
        UserId::new(self.0.strip_prefix("user/")?).ok()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_public_rule() {
        for good in ["a", "A-1_b.c", "-x", "0", &"x".repeat(128)] {
            assert!(DocumentId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "_a", ".a", "a/b", "a b", "ä", "a\0", &"x".repeat(129)] {
            assert!(DocumentId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_stream_gives_its_parts_back() {
        let stream = StreamId::document(
            &CollectionName::new("posts").unwrap(),
            &DocumentId::new("a.b-c").unwrap(),
        );
        assert_eq!(stream.as_str(), "document/posts/a.b-c");
        assert_eq!(stream.category(), "document");
        assert_eq!(stream.as_document(), Some(("posts", "a.b-c")));
        assert_eq!(StreamId::project().as_document(), None);
    }
}
