//! What an access token that was made before may tell wrong: kept as long as such a token may be
//! good, so that a token can be checked without a look at the user.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::events::UserEvent;
use super::state::User;
use crate::event::Event;
use crate::ids::{SessionId, UserId};
use crate::sign_in::ACCESS_TOKEN_SECONDS_MAX;
use crate::time::Timestamp;

/// Of whom, or of what.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A session that has ended.
    Session(SessionId),
    /// A user that rules see otherwise now.
    User(UserId),
}

/// What rules see of a user now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewAccess {
    /// Roles.
    pub roles: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Claims.
    pub claims: Map<String, Value>,
    /// Whether it never said who it is.
    pub anonymous: bool,
}

/// Something that changed lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// About whom, or what.
    pub subject: Subject,
    /// When.
    pub at: Timestamp,
    /// What rules see of the user now; `None` when no token is good any more: of an ended session,
    /// or a user who is disabled or erased.
    pub access: Option<NewAccess>,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    at: Timestamp,
    access: Option<NewAccess>,
}

impl Recent {
    /// What an event changed of this kind.
    pub fn of(event: &Event, body: &UserEvent) -> Vec<Self> {
        let at = event.time;
        let of_user = |access: Option<NewAccess>| {
            let user = event.stream.as_user();
            user.map(|id| Self { subject: Subject::User(id), at, access }).into_iter().collect()
        };
        match body {
            UserEvent::Updated { changed, user } => {
                let seen = ["roles", "groups", "claims", "anonymous", "disabled"];
                match changed.iter().any(|name| seen.contains(&name.as_str())) {
                    true => of_user((!user.disabled).then(|| NewAccess::of(user))),
                    false => Vec::new(),
                }
            }
            UserEvent::Deleted {} => of_user(None),
            UserEvent::SessionsEnded { session_ids, reason: _ } => session_ids
                .iter()
                .map(|id| Self { subject: Subject::Session(id.clone()), at, access: None })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// From then on no token is about that is older than this.
    pub fn until(&self) -> Timestamp {
        let micros = i64::from(ACCESS_TOKEN_SECONDS_MAX) * 1_000_000;
        Timestamp::from_micros(self.at.as_micros().saturating_add(micros))
    }

    /// As JSON, without its subject.
    pub fn to_json(&self) -> Vec<u8> {
        let stored = Stored { at: self.at, access: self.access.clone() };
        // Texts and maps with text keys only: this can't fail.
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Reads it back. `None` when it is neither.
    pub fn read(subject: &str, json: &[u8]) -> Option<Self> {
        let Stored { at, access } = serde_json::from_slice(json).ok()?;
        Some(Self { subject: Subject::parse(subject)?, at, access })
    }
}

impl NewAccess {
    fn of(user: &User) -> Self {
        Self {
            roles: user.roles.iter().cloned().collect(),
            groups: user.groups.iter().cloned().collect(),
            claims: user.claims.clone(),
            anonymous: user.anonymous,
        }
    }
}

impl Subject {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once('/')? {
            ("session", id) => SessionId::new(id).ok().map(Self::Session),
            ("user", id) => UserId::new(id).ok().map(Self::User),
            _ => None,
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(id) => write!(f, "session/{id}"),
            Self::User(id) => write!(f, "user/{id}"),
        }
    }
}
