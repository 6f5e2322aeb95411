//! What a client may say over a WebSocket.

use std::sync::Arc;

use domain::{CollectionName, DocumentId, Position};
use engine::hub::Target;
use query::Filter;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Problem;

/// The version of the protocol that this server speaks.
pub(super) const VERSION: u32 = 1;
/// The longest name of a subscription, in bytes.
pub(super) const SUB_BYTES_MAX: usize = 64;

/// A message of a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Message {
    /// The first message: who is there.
    Hello {
        /// A key or token; may stand in the `Authorization` header in its place.
        token: Option<String>,
        /// The protocol's version.
        protocol: u32,
    },
    /// Start a subscription.
    Subscribe {
        /// The client's name for it.
        sub: String,
        /// What it is about.
        target: TargetMessage,
        /// The last position seen, to resume after.
        from: Option<Position>,
    },
    /// End a subscription.
    Unsubscribe {
        /// The client's name for it.
        sub: String,
    },
    /// A new token for the connection.
    Token {
        /// The token.
        token: String,
    },
}

/// What a subscription is about, on the wire.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetMessage {
    collection: CollectionName,
    id: Option<DocumentId>,
    #[serde(rename = "where")]
    filter: Option<Value>,
}

impl TargetMessage {
    /// Errors with what is wrong with its filter.
    pub(super) fn target(self) -> Result<Target, Problem> {
        match (self.id, self.filter) {
            (Some(id), None) => Ok(Target::Document(self.collection, id)),
            (Some(_), Some(_)) => Err(Problem::body("/target/where", ONE_HAS_NO_FILTER)),
            (None, None) => Ok(Target::Collection(self.collection, None)),
            (None, Some(filter)) => {
                let filter = Filter::of(&filter).map_err(|error| {
                    Problem::body(format!("/target/where{}", error.at), error.detail)
                })?;
                check_live(&filter).map_err(|detail| Problem::body("/target/where", detail))?;
                Ok(Target::Collection(self.collection, Some(Arc::new(filter))))
            }
        }
    }
}

/// What a live query can't be about; errors with what to say.
pub(super) fn check_live(filter: &Filter) -> Result<(), &'static str> {
    match filter.asks_when_changed() {
        true => Err("a subscription can't ask for $updatedAt: it would be another at each change"),
        false => Ok(()),
    }
}

/// Why one document is not followed by a filter.
pub(super) const ONE_HAS_NO_FILTER: &str =
    "one document is followed whatever it holds: id or where";
