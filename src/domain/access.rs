//! Whom access rules see. It travels with a command to the writer, which decides by it.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::{SessionId, UserId};
use crate::time::Timestamp;

/// What the rules are to a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Access {
    /// It is past them: the administrator, a secret key, the server itself.
    #[default]
    PastRules,
    /// They apply; `None` is somebody who is not signed in.
    ByRules(Option<Box<Auth>>),
}

/// Somebody who is signed in, as rules see it under `auth`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// Which user.
    pub uid: UserId,
    /// Which of the user's sessions; `None` for a token of another issuer.
    pub session: Option<SessionId>,
    /// Roles: the user's own, those of its groups, and all that these include. Sorted.
    pub roles: Vec<CompactString>,
    /// Groups. Sorted.
    pub groups: Vec<CompactString>,
    /// Claims that the project's server set, or those of another issuer's token.
    pub claims: Map<String, Value>,
    /// Authentication assurance level: 1, or 2 once a second factor was shown
    /// (after NIST SP 800-63B).
    pub level: u8,
    /// How the session was begun and confirmed, as RFC 8176 names them where it has a name.
    pub methods: Vec<CompactString>,
    /// The user's mail address, where it has one.
    pub email: Option<CompactString>,
    /// Whether the user showed that it reads mail there.
    pub email_verified: bool,
    /// The user's phone number (E.164), verified, where it has one.
    pub phone: Option<CompactString>,
    /// Whether the user never said who it is.
    pub is_anonymous: bool,
    /// When the user last showed who it is.
    pub authenticated_at: Timestamp,
    /// Who acts in the user's name, where it is not the user: an actor's text.
    pub impersonator: Option<CompactString>,
}
