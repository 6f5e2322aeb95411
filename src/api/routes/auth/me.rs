//! The user who asks: who it is, and what it says of itself.

use actix_web::http::StatusCode;
use domain::rejected::Reason;
use domain::users::{Step, UserState};
use domain::{ProjectId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::own::unless_changed;
use crate::answer::{self, Answer};
use crate::body::{self, MERGE_PATCH};
use crate::call::Call;
use crate::error::Problem;
use crate::people::{UserBody, field};

/// What to change of what the user says of itself; what is absent stays, `null` takes it away.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ProfilePatch {
    /// Its name.
    #[serde(default, with = "present")]
    #[schema(value_type = Option<String>)]
    pub(crate) name: Option<Option<String>>,
    /// Where its picture is.
    #[serde(default, with = "present")]
    #[schema(value_type = Option<String>)]
    pub(crate) picture: Option<Option<String>>,
    /// Its language (BCP 47).
    #[serde(default, with = "present")]
    #[schema(value_type = Option<String>)]
    pub(crate) locale: Option<Option<String>>,
    /// Whatever else the app keeps with it: replaces all of it.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(crate) data: Option<Map<String, Value>>,
}

/// Tells what is absent from what is `null`.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().and_then(Option::as_ref).serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

/// The user who asks.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/me", operation_id = "getMe", tag = "auth",
    responses((status = 200, description = "The user.", body = UserBody)),
)]
pub(crate) async fn get(call: Call) -> Answer {
    answer::json(StatusCode::OK, &call.asker().await?)
}

/// The user who asks, as clients of OpenID Connect know users (Core 1.0, sections 5.1 and 5.3.2):
/// a claim without a value is left out.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct UserInfo {
    /// The user's id.
    #[schema(value_type = String)]
    sub: UserId,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Where its picture is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
    /// Its language (BCP 47).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    /// Its mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// Whether it has shown that it reads mail there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    /// Its phone number (E.164).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone_number: Option<String>,
    /// Whether it has shown that the number is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone_number_verified: Option<bool>,
}

/// The user who asks, in the claims of OpenID Connect.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/userinfo", operation_id = "getUserinfo", tag = "auth",
    responses((status = 200, description = "The user.", body = UserInfo)),
)]
pub(crate) async fn userinfo(call: Call) -> Answer {
    let user = call.asker().await?;
    let body = UserInfo {
        sub: user.id,
        name: user.name,
        picture: user.picture,
        locale: user.locale,
        email_verified: user.email.is_some().then_some(user.email_verified),
        email: user.email,
        phone_number_verified: user.phone.is_some().then_some(user.phone_verified),
        phone_number: user.phone,
    };
    answer::json(StatusCode::OK, &body)
}

/// Changes what the user says of itself.
#[utoipa::path(
    patch, path = "/v1/projects/{project}/auth/me", operation_id = "patchMe", tag = "auth",
    request_body(content = ProfilePatch),
    responses((status = 200, description = "The user, changed.", body = UserBody)),
)]
pub(crate) async fn patch(mut call: Call) -> Answer {
    let scope = call.scope().await?;
    call.query(&[])?;
    let body = call.body(MERGE_PATCH).await?;
    let patch: ProfilePatch = body::parse(&body)?;
    let auth = scope.user()?;
    let (project, id) = (&scope.project, &auth.uid);
    unless_changed(async || {
        let state = call.user_state(project, id).await?;
        let mut profile = call.app.people.profile(project, id, &state.user).await?;
        patch.apply(&mut profile);
        profile.check()?;
        let mut user = Box::new(state.user.clone());
        user.profile = Some(call.app.people.seal(project, id, field::PROFILE, &profile).await?);
        let update = Step::Update { expected: Some(state.version), user };
        call.change_user(project, scope.principal.actor(), id, vec![update]).await
    })
    .await?;
    let state = call.user_state(project, id).await?;
    let body = call.app.people.show(project, id, &state).await?;
    answer::json(StatusCode::OK, &body)
}

impl ProfilePatch {
    /// Changes a profile.
    pub(crate) fn apply(&self, profile: &mut crate::people::Profile) {
        let Self { name, picture, locale, data } = self;
        let texts = [
            (name, &mut profile.name),
            (picture, &mut profile.picture),
            (locale, &mut profile.locale),
        ];
        for (new, old) in texts {
            if let Some(new) = new {
                old.clone_from(new);
            }
        }
        if let Some(data) = data {
            profile.data.clone_from(data);
        }
    }
}

impl Call {
    /// The user who asks, as clients see it.
    async fn asker(&self) -> Result<UserBody, Problem> {
        let scope = self.scope().await?;
        self.query(&[])?;
        let auth = scope.user()?;
        let state = self.user_state(&scope.project, &auth.uid).await?;
        self.app.people.show(&scope.project, &auth.uid, &state).await
    }

    /// A user that exists.
    ///
    /// Errors with `user-not-found`.
    pub(crate) async fn user_state(
        &self,
        project: &ProjectId,
        id: &UserId,
    ) -> Result<UserState, Problem> {
        let state = self.app.engine.user(project, id).await?;
        state.ok_or_else(|| Reason::UserNotFound(id.clone()).into())
    }
}
