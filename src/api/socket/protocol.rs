//! What a client may say over a WebSocket.

use domain::{CollectionName, DocumentId, Position};
use engine::hub::Target;
use serde::Deserialize;

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
}

impl From<TargetMessage> for Target {
    fn from(message: TargetMessage) -> Self {
        match message.id {
            Some(id) => Self::Document(message.collection, id),
            None => Self::Collection(message.collection),
        }
    }
}
