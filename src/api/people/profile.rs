//! What a user says of itself. It leaves this process sealed with the user's own key only.

use domain::users::User;
use domain::{ProjectId, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::People;
use crate::error::{Code, Problem};

/// The longest name, language tag and picture URL, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// The most bytes of whatever else a user says of itself.
const DATA_BYTES_MAX: usize = 16 << 10;

/// Names of what is sealed, in the order of their use.
pub(crate) mod field {
    /// A [`super::Profile`].
    pub(crate) const PROFILE: &str = "profile";
    /// A password's hash.
    pub(crate) const PASSWORD: &str = "password";
    /// A second factor's secret.
    pub(crate) const FACTOR: &str = "factor";
    /// A passkey's credential.
    pub(crate) const PASSKEY: &str = "passkey";
    /// What a user calls a second factor or a passkey.
    pub(crate) const LABEL: &str = "label";
    /// What is known of an identity.
    pub(crate) const IDENTITY: &str = "identity";
    /// What a session is used from.
    pub(crate) const CLIENT: &str = "client";
    /// What a challenge is about.
    pub(crate) const CHALLENGE: &str = "challenge";
}

/// What a user says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Profile {
    /// Its mail address, as it was typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    /// Its phone number (E.164).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) phone: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Where its picture is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) picture: Option<String>,
    /// Its language (BCP 47).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) locale: Option<String>,
    /// Whatever else the app keeps with a user.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) data: Map<String, Value>,
}

impl Profile {
    /// Errors with `invalid-body` when something is too long.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let texts = [("name", &self.name), ("picture", &self.picture), ("locale", &self.locale)];
        for (name, text) in texts {
            if text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
                let detail = format!("at most {TEXT_BYTES_MAX} bytes");
                return Err(Problem::body(format!("/{name}"), detail));
            }
        }
        let bytes = serde_json::to_vec(&self.data).map_or(usize::MAX, |json| json.len());
        if bytes > DATA_BYTES_MAX {
            let detail = format!("at most {DATA_BYTES_MAX} bytes of JSON");
            return Err(Problem::body("/data", detail));
        }
        Ok(())
    }
}

impl People {
    /// Seals something of a user's.
    pub(crate) async fn seal(
        &self,
        project: &ProjectId,
        user: &UserId,
        field: &str,
        value: &impl Serialize,
    ) -> Result<String, Problem> {
        let json = serde_json::to_vec(value)
            .map_err(|e| Problem::new(Code::Internal, "not to be sealed").because(e))?;
        Ok(self.sealer.seal(project, user.as_str(), field, &json).await?)
    }

    /// Opens it again; `None` when the user's key was destroyed.
    pub(crate) async fn open<T: DeserializeOwned>(
        &self,
        project: &ProjectId,
        user: &UserId,
        field: &str,
        sealed: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(json) = self.sealer.open(project, user.as_str(), field, sealed).await? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&json)
            .map_err(|e| Problem::new(Code::Internal, "what was sealed is not whole").because(e))?;
        Ok(Some(value))
    }

    /// A user's profile; empty when there is none, or its key was destroyed.
    pub(crate) async fn profile(
        &self,
        project: &ProjectId,
        id: &UserId,
        user: &User,
    ) -> Result<Profile, Problem> {
        let Some(sealed) = &user.profile else { return Ok(Profile::default()) };
        let profile = self.open(project, id, field::PROFILE, sealed).await?;
        Ok(profile.unwrap_or_default())
    }
}
