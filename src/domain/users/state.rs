//! What a user's events fold into.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::events::{Ended, UserEvent};
use crate::event::Event;
use crate::ids::SessionId;
use crate::time::Timestamp;

/// Text that only the person's own key opens. It goes with that key.
pub type Sealed = String;

/// What a user is found by: a kind (`email`, `phone`, `oidc`, `passkey`), a colon, and a keyed hash
/// of the rest.
pub type IdentityKey = String;

/// One way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Whether the user has shown that it is its own.
    pub verified: bool,
    /// When it was added.
    pub added_at: Timestamp,
    /// The name of the provider in the project's configuration, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What is known of it, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Sealed>,
}

/// A second factor: one-time passwords by time (RFC 6238).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Factor {
    /// What the user calls it.
    pub name: Sealed,
    /// The shared secret.
    pub secret: Sealed,
    /// Whether the user has shown a password of it.
    pub confirmed: bool,
    /// The step of the newest password that was taken: none of it or before is taken again.
    pub last_step: u64,
    /// When it was added.
    pub added_at: Timestamp,
}

/// A passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Passkey {
    /// What the user calls it.
    pub name: Sealed,
    /// The credential, as JSON.
    pub credential: Sealed,
    /// When it was added.
    pub added_at: Timestamp,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
}

/// Who a user is, without its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// Mail address, phone number, name, picture, language and whatever else the user says of
    /// itself, as JSON.
    pub profile: Option<Sealed>,
    /// Ways in.
    pub identities: BTreeMap<IdentityKey, Identity>,
    /// The password's hash (PHC string format).
    pub password: Option<Sealed>,
    /// When the password was set.
    pub password_at: Option<Timestamp>,
    /// Second factors.
    pub factors: BTreeMap<String, Factor>,
    /// Keyed hashes of recovery codes that were not used.
    pub recovery_codes: BTreeSet<String>,
    /// Passkeys, by the keyed hash of their id.
    pub passkeys: BTreeMap<IdentityKey, Passkey>,
    /// Roles.
    pub roles: BTreeSet<String>,
    /// Groups.
    pub groups: BTreeSet<String>,
    /// What the project's server says of the user, for rules.
    pub claims: Map<String, Value>,
    /// Whether the user never said who it is.
    pub anonymous: bool,
    /// A disabled user can't sign in, and its sessions end.
    pub disabled: bool,
}

/// One session: a device or browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// When it began.
    pub created_at: Timestamp,
    /// When its refresh token was last changed.
    pub refreshed_at: Timestamp,
    /// When the user last showed who it is.
    pub authenticated_at: Timestamp,
    /// Counts the refresh tokens.
    pub generation: u64,
    /// SHA-256 of the refresh token, in lower-case hex.
    pub token_hash: String,
    /// Those that are good beside it: two tabs that raced hold one each. The newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sibling_hashes: Vec<String>,
    /// The one that was used last, which a second tab may still come with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_hash: Option<String>,
    /// When that was used first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_at: Option<Timestamp>,
    /// Assurance level: 1, or 2 after a second factor.
    pub level: u8,
    /// How the user showed who it is (RFC 8176 where it has a name).
    pub methods: Vec<String>,
    /// Device and address, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Sealed>,
    /// Who acts in the user's name, where it is not the user: an actor's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonator: Option<String>,
}

/// Something sent to the user, or asked of its device, that it must come back with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// Keyed hash of the answer.
    pub hash: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// It is good until then.
    pub expires_at: Timestamp,
    /// Wrong answers that it still takes.
    pub tries_left: u8,
    /// What it is about, as JSON: a new address, where to go on, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Sealed>,
}

/// A user as its events left it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserState {
    /// How many events the user has had; 0 for one that never was.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed, in whatever way.
    pub updated_at: Timestamp,
    /// An erased user's id is not given again.
    pub deleted: bool,
    /// Who it is.
    pub user: User,
    /// When roles, groups, claims or whether it is disabled last changed: an access token that is
    /// older tells them wrong.
    pub access_changed_at: Timestamp,
    /// When the user last signed in.
    pub signed_in_at: Option<Timestamp>,
    /// Sessions that have not ended.
    pub sessions: BTreeMap<SessionId, Session>,
    /// By purpose.
    pub challenges: BTreeMap<CompactString, Challenge>,
}

impl UserState {
    /// Whether the user is there.
    pub fn is_live(&self) -> bool {
        self.version > 0 && !self.deleted
    }

    /// The state after one more event. Never fails and has no rules in it.
    #[must_use]
    pub fn evolve(self, event: &Event, body: UserEvent) -> Self {
        self.after(body, event.stream_version, event.time)
    }

    pub(super) fn after(mut self, body: UserEvent, version: u64, time: Timestamp) -> Self {
        self.version = version;
        self.updated_at = time;
        match body {
            UserEvent::Created { user } => {
                self.created_at = time;
                self.access_changed_at = time;
                self.deleted = false;
                self.user = *user;
            }
            UserEvent::Updated { user, .. } => {
                if !self.user.has_access_of(&user) {
                    self.access_changed_at = time;
                }
                self.user = *user;
            }
            UserEvent::Deleted {} => {
                self.deleted = true;
                self.user = User::default();
                self.sessions.clear();
                self.challenges.clear();
            }
            UserEvent::SessionStarted { session_id, session } => {
                if session.impersonator.is_none() {
                    self.signed_in_at = Some(time);
                }
                self.sessions.insert(session_id, session);
            }
            UserEvent::SessionRefreshed { session_id, session } => {
                self.sessions.insert(session_id, session);
            }
            UserEvent::SessionsEnded { session_ids, reason: _ } => {
                self.sessions.retain(|id, _| !session_ids.contains(id));
            }
            UserEvent::ChallengeIssued { purpose, challenge } => {
                self.challenges.insert(purpose.into(), challenge);
            }
            UserEvent::ChallengeFailed { purpose, tries_left } => {
                if tries_left == 0 {
                    self.challenges.remove(purpose.as_str());
                } else if let Some(challenge) = self.challenges.get_mut(purpose.as_str()) {
                    challenge.tries_left = tries_left;
                }
            }
            UserEvent::ChallengeUsed { purpose } => {
                self.challenges.remove(purpose.as_str());
            }
        }
        self
    }
}

impl User {
    /// Whether rules see the same of both.
    pub fn has_access_of(&self, other: &Self) -> bool {
        self.roles == other.roles
            && self.groups == other.groups
            && self.claims == other.claims
            && self.disabled == other.disabled
            && self.anonymous == other.anonymous
    }
}

impl Ended {
    /// As events and metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed-out",
            Self::Revoked => "revoked",
            Self::Reused => "reused",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Disabled => "disabled",
            Self::CredentialChanged => "credential-changed",
        }
    }
}
