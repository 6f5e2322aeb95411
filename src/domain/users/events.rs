//! The events of users, and their stored data.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::state::{Challenge, Session, User};
use crate::event::{Event, EventType, NewEvent};
use crate::ids::{SessionId, StreamId};
use crate::schema::Published;
use crate::upcast::{self, Undecodable};

/// Data of `user.created`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Created {
    /// All of the user.
    user: Box<User>,
}

/// Data of `user.updated`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Updated {
    /// Names of what changed.
    changed: Vec<String>,
    /// All of the user.
    user: Box<User>,
}

/// Data of `user.deleted`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Deleted {}

/// Data of `session.started` and `session.refreshed`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OneSession {
    /// Names the session.
    session_id: SessionId,
    /// All of it.
    session: Session,
}

/// Data of `session.ended`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SessionsEnded {
    /// Which.
    session_ids: Vec<SessionId>,
    /// Why.
    reason: Ended,
}

/// Data of `challenge.issued`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct ChallengeIssued {
    /// What for.
    purpose: String,
    /// All of it.
    challenge: Challenge,
}

/// Data of `challenge.failed`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ChallengeFailed {
    /// What for.
    purpose: String,
    /// Wrong answers that it still takes; with 0 it is gone.
    tries_left: u8,
}

/// Data of `challenge.used`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct ChallengeUsed {
    /// What for.
    purpose: String,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The user signed out of it.
    SignedOut,
    /// Somebody took it away.
    Revoked,
    /// A refresh token came again that had been used: somebody else has it.
    Reused,
    /// It was too old, or not used for too long.
    Expired,
    /// Another session took its place.
    Replaced,
    /// The user was disabled.
    Disabled,
    /// The password was changed, or another way in.
    CredentialChanged,
}

/// What happened to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of the stored data, documented above
pub enum UserEvent {
    /// The user was made.
    Created { user: Box<User> },
    /// It was changed.
    Updated { changed: Vec<String>, user: Box<User> },
    /// It was erased: its key is destroyed, and what was sealed with it is lost.
    Deleted {},
    /// A session began.
    SessionStarted { session_id: SessionId, session: Session },
    /// A session has its next refresh token, or another level.
    SessionRefreshed { session_id: SessionId, session: Session },
    /// Sessions ended.
    SessionsEnded { session_ids: Vec<SessionId>, reason: Ended },
    /// The user was asked for something.
    ChallengeIssued { purpose: String, challenge: Challenge },
    /// The answer was wrong.
    ChallengeFailed { purpose: String, tries_left: u8 },
    /// The answer was right.
    ChallengeUsed { purpose: String },
}

const CREATED: EventType = EventType::known("user.created");
const UPDATED: EventType = EventType::known("user.updated");
/// A user was erased.
pub const DELETED: EventType = EventType::known("user.deleted");
const SESSION_STARTED: EventType = EventType::known("session.started");
const SESSION_REFRESHED: EventType = EventType::known("session.refreshed");
const SESSION_ENDED: EventType = EventType::known("session.ended");
const CHALLENGE_ISSUED: EventType = EventType::known("challenge.issued");
const CHALLENGE_FAILED: EventType = EventType::known("challenge.failed");
const CHALLENGE_USED: EventType = EventType::known("challenge.used");

impl UserEvent {
    /// Reads an event of this family; `None` for another family's.
    ///
    /// Errors when the stored data does not fit its type.
    pub fn decode(event: &Event) -> Result<Option<Self>, Undecodable> {
        if event.stream.category() != "user" {
            return Ok(None);
        }
        let data = upcast::newest(event)?;
        Self::read(&event.kind, &data).map_err(|e| Undecodable::new(event, &e))
    }

    fn read(kind: &EventType, data: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        Ok(Some(if *kind == CREATED {
            Self::Created { user: serde_json::from_slice::<Created>(data)?.user }
        } else if *kind == UPDATED {
            let Updated { changed, user } = serde_json::from_slice(data)?;
            Self::Updated { changed, user }
        } else if *kind == DELETED {
            Self::Deleted {}
        } else if *kind == SESSION_STARTED {
            let OneSession { session_id, session } = serde_json::from_slice(data)?;
            Self::SessionStarted { session_id, session }
        } else if *kind == SESSION_REFRESHED {
            let OneSession { session_id, session } = serde_json::from_slice(data)?;
            Self::SessionRefreshed { session_id, session }
        } else if *kind == SESSION_ENDED {
            let SessionsEnded { session_ids, reason } = serde_json::from_slice(data)?;
            Self::SessionsEnded { session_ids, reason }
        } else if *kind == CHALLENGE_ISSUED {
            let ChallengeIssued { purpose, challenge } = serde_json::from_slice(data)?;
            Self::ChallengeIssued { purpose, challenge }
        } else if *kind == CHALLENGE_FAILED {
            let ChallengeFailed { purpose, tries_left } = serde_json::from_slice(data)?;
            Self::ChallengeFailed { purpose, tries_left }
        } else if *kind == CHALLENGE_USED {
            Self::ChallengeUsed { purpose: serde_json::from_slice::<ChallengeUsed>(data)?.purpose }
        } else {
            return Ok(None);
        }))
    }

    /// The event as the writer appends it.
    pub(super) fn into_new(self, stream: StreamId, stream_version: u64) -> NewEvent {
        let (kind, data) = match self {
            Self::Created { user } => (CREATED, json(&Created { user })),
            Self::Updated { changed, user } => (UPDATED, json(&Updated { changed, user })),
            Self::Deleted {} => (DELETED, json(&Deleted {})),
            Self::SessionStarted { session_id, session } => {
                (SESSION_STARTED, json(&OneSession { session_id, session }))
            }
            Self::SessionRefreshed { session_id, session } => {
                (SESSION_REFRESHED, json(&OneSession { session_id, session }))
            }
            Self::SessionsEnded { session_ids, reason } => {
                (SESSION_ENDED, json(&SessionsEnded { session_ids, reason }))
            }
            Self::ChallengeIssued { purpose, challenge } => {
                (CHALLENGE_ISSUED, json(&ChallengeIssued { purpose, challenge }))
            }
            Self::ChallengeFailed { purpose, tries_left } => {
                (CHALLENGE_FAILED, json(&ChallengeFailed { purpose, tries_left }))
            }
            Self::ChallengeUsed { purpose } => (CHALLENGE_USED, json(&ChallengeUsed { purpose })),
        };
        NewEvent { stream, stream_version, kind, schema_version: 1, data }
    }
}

/// The structs above hold only texts, numbers and maps with text keys, so this can't fail.
fn json(value: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}

/// Every version of every event of this family, for `schemas/`.
pub(crate) fn schemas() -> Vec<Published> {
    let time = "2026-01-31T12:00:00.000000Z";
    let sealed = "1.k3Jx.c2VhbGVk";
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let user = json!({
        "profile": sealed,
        "identities": {"email:0x8fJQ": {"verified": true, "addedAt": time}},
        "password": sealed,
        "passwordAt": time,
        "factors": {"f1": {
            "name": sealed, "secret": sealed, "confirmed": true, "lastStep": 57_000_000,
            "addedAt": time,
        }},
        "recoveryCodes": [hash],
        "passkeys": {"passkey:Zm9v": {"name": sealed, "credential": sealed, "addedAt": time}},
        "roles": ["editor"],
        "groups": ["staff"],
        "claims": {"plan": "pro"},
        "anonymous": false,
        "disabled": false,
    });
    let session = json!({"sessionId": "s1", "session": {
        "createdAt": time, "refreshedAt": time, "authenticatedAt": time, "generation": 1,
        "tokenHash": hash, "level": 1, "methods": ["pwd"], "client": sealed,
    }});
    let challenge = json!({
        "hash": hash, "issuedAt": time, "expiresAt": time, "triesLeft": 5, "detail": sealed,
    });
    let current = |kind: EventType, example: Value| match kind.as_str() {
        "user.created" => Published::current::<Created>(kind, 1, example),
        "user.updated" => Published::current::<Updated>(kind, 1, example),
        "user.deleted" => Published::current::<Deleted>(kind, 1, example),
        "session.started" | "session.refreshed" => {
            Published::current::<OneSession>(kind, 1, example)
        }
        "session.ended" => Published::current::<SessionsEnded>(kind, 1, example),
        "challenge.issued" => Published::current::<ChallengeIssued>(kind, 1, example),
        "challenge.failed" => Published::current::<ChallengeFailed>(kind, 1, example),
        _ => Published::current::<ChallengeUsed>(kind, 1, example),
    };
    let purpose = "verify-email";
    vec![
        current(CREATED, json!({"user": user})),
        current(UPDATED, json!({"changed": ["roles"], "user": user})),
        current(DELETED, json!({})),
        current(SESSION_STARTED, session.clone()),
        current(SESSION_REFRESHED, session),
        current(SESSION_ENDED, json!({"sessionIds": ["s1"], "reason": "signed-out"})),
        current(CHALLENGE_ISSUED, json!({"purpose": purpose, "challenge": challenge})),
        current(CHALLENGE_FAILED, json!({"purpose": purpose, "triesLeft": 4})),
        current(CHALLENGE_USED, json!({"purpose": purpose})),
    ]
}
