//! What may be asked for a user: steps that are taken all or none.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::events::Ended;
use super::state::{Challenge, Session, User};
use crate::ids::{SessionId, UserId};

/// Steps for one user, all or none; but a wrong answer to a challenge and a refresh token that
/// was used before are facts, too, and end the command with their event alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserCommand {
    /// Whom.
    pub user: UserId,
    /// In order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Make the user; refused when the id was ever given, or one of its ways in is another's.
    Create(Box<User>),
    /// Put this in the place of what there is, if nobody has changed the user since.
    Update {
        /// The version that it was made from; `None` for whatever there is.
        expected: Option<u64>,
        /// All of the user.
        user: Box<User>,
    },
    /// Erase the user.
    Delete,
    /// Begin a session.
    StartSession {
        /// Names it.
        id: SessionId,
        /// The session; its times are set by the writer.
        session: Box<Session>,
        /// Whether it ends all others.
        is_single: bool,
    },
    /// Give a session its next refresh token.
    Refresh(Refresh),
    /// Take a session to another level.
    Confirm {
        /// Which.
        id: SessionId,
        /// The level.
        level: u8,
        /// What showed it.
        method: String,
    },
    /// End sessions; no error when there are none.
    EndSessions {
        /// The one to end; `None` for all.
        only: Option<SessionId>,
        /// One to leave.
        except: Option<SessionId>,
        /// Why.
        reason: Ended,
    },
    /// Issue a challenge; it takes the place of an open one of the same purpose.
    Issue(Issue),
    /// Answer a challenge.
    Answer {
        /// Which.
        purpose: CompactString,
        /// Keyed hash of the answer.
        hash: String,
    },
}

/// A refresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Which session.
    pub id: SessionId,
    /// Hash of the token that was shown.
    pub token_hash: String,
    /// Hash of the next one.
    pub next_hash: String,
    /// For how long after a refresh the token before it is taken, in seconds.
    pub grace_seconds: u32,
    /// The session has ended when it was not refreshed for so long, in seconds.
    pub idle_seconds_max: u32,
    /// The session has ended so long after it began, in seconds; 0 for never.
    pub age_seconds_max: u32,
}

/// A challenge to issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// What for.
    pub purpose: CompactString,
    /// The challenge; its times are set by the writer, from how long it is good.
    pub challenge: Challenge,
    /// How long it is good, in seconds.
    pub seconds: u32,
}
