//! Users and sessions as clients see them.

use domain::users::{Session, UserState};
use domain::{ProjectId, SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{People, Profile, Way, field};
use crate::error::Problem;

/// A user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(crate) struct UserBody {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) id: UserId,
    /// Counts its changes.
    pub(crate) version: u64,
    /// Its mail address.
    pub(crate) email: Option<String>,
    /// Whether it has shown that it reads mail there.
    pub(crate) email_verified: bool,
    /// Its phone number (E.164).
    pub(crate) phone: Option<String>,
    /// Whether it has shown that the number is its own.
    pub(crate) phone_verified: bool,
    /// Its name.
    pub(crate) name: Option<String>,
    /// Where its picture is.
    pub(crate) picture: Option<String>,
    /// Its language (BCP 47).
    pub(crate) locale: Option<String>,
    /// Whatever else the app keeps with it; the user itself may change it.
    #[schema(value_type = Object)]
    pub(crate) data: Map<String, Value>,
    /// Its roles.
    pub(crate) roles: Vec<String>,
    /// Its groups.
    pub(crate) groups: Vec<String>,
    /// What the project's server says of it; seen by rules.
    #[schema(value_type = Object)]
    pub(crate) claims: Map<String, Value>,
    /// Whether it never said who it is.
    pub(crate) is_anonymous: bool,
    /// Whether it may not sign in.
    pub(crate) disabled: bool,
    /// Whether it has a password.
    pub(crate) has_password: bool,
    /// Its ways in.
    pub(crate) identities: Vec<IdentityBody>,
    /// Its second factors.
    pub(crate) factors: Vec<FactorBody>,
    /// Its passkeys.
    pub(crate) passkeys: Vec<PasskeyBody>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) updated_at: Timestamp,
    /// When it last signed in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_sign_in_at: Option<Timestamp>,
}

/// One way in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Identity)]
pub(crate) struct IdentityBody {
    /// Names it, to take it away.
    pub(crate) id: String,
    /// `email`, `phone` or `oidc`.
    pub(crate) kind: String,
    /// The provider's name in the project's configuration.
    pub(crate) provider: Option<String>,
    /// Whether the user has shown that it is its own.
    pub(crate) verified: bool,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) added_at: Timestamp,
}

/// One second factor.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Factor)]
pub(crate) struct FactorBody {
    /// Names it.
    pub(crate) id: String,
    /// `totp`.
    pub(crate) kind: String,
    /// For the user.
    pub(crate) name: String,
    /// Whether the user has shown a password of it.
    pub(crate) confirmed: bool,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) added_at: Timestamp,
}

/// One passkey.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Passkey)]
pub(crate) struct PasskeyBody {
    /// Names it.
    pub(crate) id: String,
    /// For the user.
    pub(crate) name: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) added_at: Timestamp,
    /// When it was last used.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) used_at: Option<Timestamp>,
}

/// A session that has just begun or gone on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
pub(crate) struct SessionBody {
    /// Sent with every request.
    pub(crate) access_token: String,
    /// `bearer`.
    pub(crate) token_type: String,
    /// How long the access token is good, in seconds.
    pub(crate) expires_in: u32,
    /// Gives the next access token, once.
    pub(crate) refresh_token: String,
    /// Names the session.
    #[schema(value_type = String)]
    pub(crate) session_id: SessionId,
    /// How sure it is who it is: `aal1`, or `aal2` after a second factor.
    pub(crate) level: String,
    /// The level that the user could reach: `aal2` when it has a second factor.
    pub(crate) next_level: String,
    /// The user.
    pub(crate) user: UserBody,
}

/// The text of an assurance level.
pub(crate) fn level(number: u8) -> String {
    format!("aal{}", number.clamp(1, 2))
}

impl SessionBody {
    pub(super) fn new(
        (access_token, expires_in): (String, u32),
        refresh_token: String,
        (session_id, session): (SessionId, &Session),
        user: UserBody,
    ) -> Self {
        let has_factor = user.factors.iter().any(|factor| factor.confirmed);
        Self {
            access_token,
            token_type: "bearer".to_owned(),
            expires_in,
            refresh_token,
            session_id,
            level: level(session.level),
            next_level: level(if has_factor { 2 } else { session.level }),
            user,
        }
    }
}

impl People {
    /// A user as clients see it, its profile opened already.
    pub(crate) async fn body(
        &self,
        project: &ProjectId,
        id: &UserId,
        state: &UserState,
        profile: Profile,
    ) -> Result<UserBody, Problem> {
        let user = &state.user;
        let is_verified = |way: Option<Way<'_>>| {
            let key = way.and_then(|way| self.key(project, way).ok());
            key.and_then(|key| user.identities.get(&key)).is_some_and(|one| one.verified)
        };
        let mut factors = Vec::with_capacity(user.factors.len());
        for (factor_id, factor) in &user.factors {
            factors.push(FactorBody {
                id: factor_id.clone(),
                kind: "totp".to_owned(),
                name: self.label(project, id, &factor.name).await?,
                confirmed: factor.confirmed,
                added_at: factor.added_at,
            });
        }
        let mut passkeys = Vec::with_capacity(user.passkeys.len());
        for (key, passkey) in &user.passkeys {
            passkeys.push(PasskeyBody {
                id: key.trim_start_matches("passkey:").to_owned(),
                name: self.label(project, id, &passkey.name).await?,
                added_at: passkey.added_at,
                used_at: passkey.used_at,
            });
        }
        Ok(UserBody {
            id: id.clone(),
            version: state.version,
            email_verified: is_verified(profile.email.as_deref().map(Way::Email)),
            phone_verified: is_verified(profile.phone.as_deref().map(Way::Phone)),
            email: profile.email,
            phone: profile.phone,
            name: profile.name,
            picture: profile.picture,
            locale: profile.locale,
            data: profile.data,
            roles: user.roles.iter().cloned().collect(),
            groups: user.groups.iter().cloned().collect(),
            claims: user.claims.clone(),
            is_anonymous: user.anonymous,
            disabled: user.disabled,
            has_password: user.password.is_some(),
            identities: user.identities.iter().map(IdentityBody::of).collect(),
            factors,
            passkeys,
            created_at: state.created_at,
            updated_at: state.updated_at,
            last_sign_in_at: state.signed_in_at,
        })
    }

    /// What the user calls a factor or passkey.
    async fn label(
        &self,
        project: &ProjectId,
        id: &UserId,
        sealed: &str,
    ) -> Result<String, Problem> {
        Ok(self.open(project, id, field::LABEL, sealed).await?.unwrap_or_default())
    }
}

impl IdentityBody {
    fn of((key, identity): (&String, &domain::users::Identity)) -> Self {
        let (kind, id) = key.split_once(':').unwrap_or(("", key));
        Self {
            id: id.to_owned(),
            kind: kind.to_owned(),
            provider: identity.provider.clone(),
            verified: identity.verified,
            added_at: identity.added_at,
        }
    }
}

impl People {
    /// A user as clients see it.
    pub(crate) async fn show(
        &self,
        project: &ProjectId,
        id: &UserId,
        state: &UserState,
    ) -> Result<UserBody, Problem> {
        let profile = self.profile(project, id, &state.user).await?;
        self.body(project, id, state, profile).await
    }
}
