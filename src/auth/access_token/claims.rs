//! What an access token says. Names are those registered for JWTs (RFC 7519, 8176, 8693, 9068,
//! OpenID Connect Core 5.1) where there is one, and `camelCase` otherwise.

use compact_str::CompactString;
use domain::access::Auth;
use domain::{SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Authentication assurance level, after NIST SP 800-63B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Level {
    /// One factor.
    #[default]
    #[serde(rename = "aal1")]
    One,
    /// Two factors.
    #[serde(rename = "aal2")]
    Two,
}

impl Level {
    /// The level as [`Auth::level`] has it.
    pub fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// Who acts in the user's name (RFC 8693, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acting {
    /// An actor's text, as [`domain::Actor`] prints it.
    pub sub: CompactString,
}

/// The claims of an access token. Times are whole seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer's URL.
    pub iss: CompactString,
    /// The user.
    pub sub: UserId,
    /// The project.
    pub aud: CompactString,
    /// Made at.
    pub iat: i64,
    /// Good until.
    pub exp: i64,
    /// Good from; from the start when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// The token's own id.
    pub jti: CompactString,
    /// The session; none for a token that has none behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<SessionId>,
    /// Roles, as the project gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<CompactString>,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<CompactString>,
    /// What the project's server set.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<String, Value>,
    /// How sure it is who it is.
    pub acr: Level,
    /// How the session was begun and confirmed (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<CompactString>,
    /// When the user last showed who it is.
    pub auth_time: i64,
    /// The user's mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<CompactString>,
    /// Whether the user showed that it reads mail there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub email_verified: bool,
    /// The user's phone number (E.164), verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<CompactString>,
    /// Whether the user never said who it is.
    #[serde(rename = "isAnonymous", default, skip_serializing_if = "is_false")]
    pub is_anonymous: bool,
    /// Who acts in the user's name, where it is not the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Acting>,
}

// serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

impl Claims {
    /// What access rules see of the token. Roles are those in the token, sorted; what they include
    /// is the caller's to add.
    pub fn auth(&self) -> Auth {
        let sorted = |names: &[CompactString]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names.dedup();
            names
        };
        Auth {
            uid: self.sub.clone(),
            session: self.sid.clone(),
            roles: sorted(&self.roles),
            groups: sorted(&self.groups),
            claims: self.claims.clone(),
            level: self.acr.number(),
            methods: self.amr.clone(),
            email: self.email.clone(),
            email_verified: self.email_verified,
            phone: self.phone_number.clone(),
            is_anonymous: self.is_anonymous,
            authenticated_at: Timestamp::from_micros(self.auth_time.saturating_mul(1_000_000)),
            impersonator: self.act.as_ref().map(|acting| acting.sub.clone()),
        }
    }
}

impl From<&Claims> for Auth {
    fn from(claims: &Claims) -> Self {
        claims.auth()
    }
}
