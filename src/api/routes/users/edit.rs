//! Making and changing users in the developer's name.

use std::collections::BTreeSet;

use actix_web::http::{StatusCode, header};
use domain::rejected::Reason;
use domain::sign_in::Config;
use domain::users::{Ended, Identity, ROLES_MAX, Step, User, UserCommand, UserState};
use domain::{ProjectId, UserId, command};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{check_names, written};
use crate::answer::{self, Answer};
use crate::body::{self, JSON, MERGE_PATCH};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{Profile, UserBody, Way, field, now};
use crate::routes::auth::me::ProfilePatch;
use crate::routes::auth::own::unless_changed;
use crate::routes::auth::password::{check_password, new_user_id};

/// A user to make.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewUser {
    /// Its id; a new one when absent.
    #[schema(value_type = Option<String>)]
    id: Option<UserId>,
    /// Its mail address.
    #[schema(max_length = 254)]
    email: Option<String>,
    /// Whether it reads mail there.
    #[serde(default)]
    email_verified: bool,
    /// Its phone number (E.164).
    phone: Option<String>,
    /// Whether the number is its own.
    #[serde(default)]
    phone_verified: bool,
    /// Its password.
    #[schema(max_length = 1024)]
    password: Option<String>,
    /// Its name.
    name: Option<String>,
    /// Where its picture is.
    picture: Option<String>,
    /// Its language (BCP 47).
    locale: Option<String>,
    /// Its roles.
    #[serde(default)]
    #[schema(max_items = 100)]
    roles: Vec<String>,
    /// Its groups.
    #[serde(default)]
    #[schema(max_items = 100)]
    groups: Vec<String>,
    /// What the project's server says of it, for rules. It is stored as it is: nothing personal
    /// belongs here.
    #[serde(default)]
    #[schema(value_type = Object)]
    claims: Map<String, Value>,
    /// Whatever else the app keeps with it; the user itself may change it.
    #[serde(default)]
    #[schema(value_type = Object)]
    data: Map<String, Value>,
    /// Whether it may not sign in.
    #[serde(default)]
    disabled: bool,
}

/// What to change of a user; what is absent stays, `null` takes it away.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct UserPatch {
    /// Its mail address. What was sent to the old one is void from then on.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 254)]
    email: Option<Option<String>>,
    /// Whether it reads mail there; a new address is unverified when this is absent.
    email_verified: Option<bool>,
    /// Its phone number (E.164).
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    phone: Option<Option<String>>,
    /// Whether the number is its own; a new one is unverified when this is absent.
    phone_verified: Option<bool>,
    /// Its password; a change ends its sessions.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 1024)]
    password: Option<Option<String>>,
    /// Its name.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    name: Option<Option<String>>,
    /// Where its picture is.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    picture: Option<Option<String>>,
    /// Its language (BCP 47).
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    locale: Option<Option<String>>,
    /// Its roles: replaces all of them.
    #[schema(max_items = 100)]
    roles: Option<Vec<String>>,
    /// Its groups: replaces all of them.
    #[schema(max_items = 100)]
    groups: Option<Vec<String>>,
    /// What the project's server says of it: replaces all of it. It is stored as it is: nothing
    /// personal belongs here.
    #[schema(value_type = Object)]
    claims: Option<Map<String, Value>>,
    /// Whatever else the app keeps with it: replaces all of it.
    #[schema(value_type = Object)]
    data: Option<Map<String, Value>>,
    /// Whether it may not sign in; its sessions end when that becomes so.
    disabled: Option<bool>,
}

/// Tells what is absent from what is `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Makes a user, whether or not the project lets people sign up.
#[utoipa::path(
    post, path = "/v1/projects/{project}/users", operation_id = "createUser", tag = "users",
    request_body(content = NewUser),
    responses((status = 201, description = "The new user.", body = UserBody)),
)]
pub(crate) async fn create(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let new: NewUser = body::parse(&body)?;
    let (id, patch) = new.into_patch();
    let project = &scope.project;
    let config = &call.app.people.directory(project, &scope.live)?.config;
    let is_chosen = id.is_some();
    let id = id.map_or_else(new_user_id, Ok)?;
    patch.check(config)?;
    let hash = call.hashed(&patch).await?;
    let made = call.edited(project, &id, &UserState::default(), &patch, hash.as_deref()).await;
    // A key that was destroyed is one of a user who was erased, whose id is not given again.
    let user = made.map_err(|problem| match problem.code() {
        Code::UserNotFound => Reason::UserExists.into(),
        _ => problem,
    })?;
    let steps = vec![Step::Create(Box::new(user))];
    let command = command::Body::User(UserCommand { user: id.clone(), steps });
    let committed = call.submit(project.clone(), &scope.principal, command, &body).await;
    let first = committed.as_ref().ok().and_then(|committed| committed.events.first());
    let made = first.and_then(|first| first.event.stream.as_user());
    let is_refused = committed.as_ref().is_err_and(|problem| problem.status() < 500);
    let is_other = made.as_ref().is_some_and(|made| *made != id);
    if !is_chosen && (is_refused || is_other) {
        // Nobody will ever be this user. One of a chosen id may be somebody already.
        call.forget_key(project, &id).await;
    }
    let (committed, id) = (committed?, made.unwrap_or(id));
    let state = call.user_state(project, &id).await?;
    let user = call.app.people.show(project, &id, &state).await?;
    let mut response = answer::json(StatusCode::CREATED, &user)?;
    let location = answer::text(&format!("/v1/projects/{project}/users/{id}"));
    response.headers_mut().insert(header::LOCATION, location);
    written(response, &committed)
}

/// Changes a user.
#[utoipa::path(
    patch, path = "/v1/projects/{project}/users/{user}", operation_id = "patchUser",
    tag = "users",
    request_body(content = UserPatch),
    responses((status = 200, description = "The user, changed.", body = UserBody)),
)]
pub(crate) async fn patch(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let id = call.user()?;
    call.query(&[])?;
    let body = call.body(MERGE_PATCH).await?;
    let patch: UserPatch = body::parse(&body)?;
    let project = &scope.project;
    patch.check(&call.app.people.directory(project, &scope.live)?.config)?;
    call.user_state(project, &id).await?;
    let hash = call.hashed(&patch).await?;
    let committed = unless_changed(async || {
        let state = call.user_state(project, &id).await?;
        let user = call.edited(project, &id, &state, &patch, hash.as_deref()).await?;
        let steps = call.steps_of(project, &id, &state, user, &patch);
        let command = command::Body::User(UserCommand { user: id.clone(), steps });
        call.submit(project.clone(), &scope.principal, command, &body).await
    })
    .await?;
    let state = call.user_state(project, &id).await?;
    let body = call.app.people.show(project, &id, &state).await?;
    written(answer::json(StatusCode::OK, &body)?, &committed)
}

impl NewUser {
    fn into_patch(self) -> (Option<UserId>, UserPatch) {
        let patch = UserPatch {
            email: self.email.map(Some),
            email_verified: self.email_verified.then_some(true),
            phone: self.phone.map(Some),
            phone_verified: self.phone_verified.then_some(true),
            password: self.password.map(Some),
            name: self.name.map(Some),
            picture: self.picture.map(Some),
            locale: self.locale.map(Some),
            roles: Some(self.roles),
            groups: Some(self.groups),
            claims: Some(self.claims),
            data: Some(self.data),
            disabled: Some(self.disabled),
        };
        (self.id, patch)
    }
}

impl UserPatch {
    /// Errors with `invalid-body` and where, or `weak-password`.
    fn check(&self, config: &Config) -> Result<(), Problem> {
        check_names("/roles", self.roles.iter().flatten(), ROLES_MAX)?;
        check_names("/groups", self.groups.iter().flatten(), ROLES_MAX)?;
        if let Some(claims) = &self.claims {
            messages::hooks::check_claims(claims).map_err(|error| match error {
                messages::Error::Answer(what) => Problem::body("/claims", what),
                error => Problem::body("/claims", error.to_string()),
            })?;
        }
        match &self.password {
            Some(Some(password)) => check_password(password, config),
            _ => Ok(()),
        }
    }

    /// Its part of the profile, with addresses in the form in which they are written to.
    ///
    /// Errors with `invalid-body`.
    fn apply(&self, profile: &mut Profile) -> Result<(), Problem> {
        let Self { name, picture, locale, data, email, phone, .. } = self;
        let rest = ProfilePatch {
            name: name.clone(),
            picture: picture.clone(),
            locale: locale.clone(),
            data: data.clone(),
        };
        rest.apply(profile);
        if let Some(email) = email {
            let email = email.as_deref().map(auth::address::email).transpose();
            let email = email.map_err(|error| Problem::body("/email", error.to_string()))?;
            profile.email = email.map(|email| email.address.to_string());
        }
        if let Some(phone) = phone {
            let phone = phone.as_deref().map(auth::address::phone).transpose();
            let phone = phone.map_err(|error| Problem::body("/phone", error.to_string()))?;
            profile.phone = phone.map(|phone| phone.to_string());
        }
        profile.check()
    }
}

/// A user's address before and after a change.
struct Moved<'a> {
    /// Whether the change is about it.
    is_meant: bool,
    before: Option<Way<'a>>,
    after: Option<Way<'a>>,
    verified: Option<bool>,
    field: &'static str,
}

impl Call {
    /// The hash of the password that a change brings.
    async fn hashed(&self, patch: &UserPatch) -> Result<Option<String>, Problem> {
        let Some(Some(password)) = &patch.password else { return Ok(None) };
        let hash = self.app.people.hasher.hash(password).await.map_err(Problem::of_password)?;
        Ok(Some(hash.to_string()))
    }

    /// The user after a change.
    async fn edited(
        &self,
        project: &ProjectId,
        id: &UserId,
        state: &UserState,
        patch: &UserPatch,
        hash: Option<&str>,
    ) -> Result<User, Problem> {
        let people = &self.app.people;
        let mut user = state.user.clone();
        let before = people.profile(project, id, &user).await?;
        let mut profile = before.clone();
        patch.apply(&mut profile)?;
        for moved in [
            Moved {
                is_meant: patch.email.is_some() || patch.email_verified.is_some(),
                before: before.email.as_deref().map(Way::Email),
                after: profile.email.as_deref().map(Way::Email),
                verified: patch.email_verified,
                field: "/emailVerified",
            },
            Moved {
                is_meant: patch.phone.is_some() || patch.phone_verified.is_some(),
                before: before.phone.as_deref().map(Way::Phone),
                after: profile.phone.as_deref().map(Way::Phone),
                verified: patch.phone_verified,
                field: "/phoneVerified",
            },
        ] {
            self.move_identity(project, &mut user, &moved)?;
        }
        // Who has an address has said who it is.
        user.anonymous &= profile.email.is_none() && profile.phone.is_none();
        if profile != before || user.profile.is_none() {
            user.profile = Some(people.seal(project, id, field::PROFILE, &profile).await?);
        }
        if patch.password.is_some() {
            user.password = match hash {
                Some(hash) => Some(people.seal(project, id, field::PASSWORD, &hash).await?),
                None => None,
            };
            user.password_at = hash.map(|_| now());
        }
        let set = |names: &Vec<String>| names.iter().cloned().collect::<BTreeSet<String>>();
        user.roles = patch.roles.as_ref().map_or(user.roles, set);
        user.groups = patch.groups.as_ref().map_or(user.groups, set);
        user.claims = patch.claims.clone().unwrap_or(user.claims);
        user.disabled = patch.disabled.unwrap_or(user.disabled);
        Ok(user)
    }

    /// Gives the user the way in of its new address in place of the old one's.
    fn move_identity(
        &self,
        project: &ProjectId,
        user: &mut User,
        moved: &Moved<'_>,
    ) -> Result<(), Problem> {
        // A provider's address may stand in the profile without being a way in.
        if !moved.is_meant {
            return Ok(());
        }
        let key = |way: Option<Way<'_>>| way.map(|way| self.app.people.key(project, way));
        let (before, after) = (key(moved.before).transpose()?, key(moved.after).transpose()?);
        let Some(after) = after else {
            if let Some(before) = before {
                user.identities.remove(&before);
            }
            return match moved.verified {
                Some(true) => Err(Problem::body(moved.field, "there is nothing to be verified")),
                _ => Ok(()),
            };
        };
        if let Some(before) = before.filter(|before| *before != after) {
            user.identities.remove(&before);
        }
        let identity = user.identities.entry(after).or_insert_with(|| Identity {
            verified: false,
            added_at: now(),
            provider: None,
            detail: None,
        });
        identity.verified = moved.verified.unwrap_or(identity.verified);
        Ok(())
    }

    /// The steps of a change: where it is about how the user signs in, what was sent before is
    /// void, and with another password sessions end. The writer itself ends those of somebody
    /// who is disabled.
    fn steps_of(
        &self,
        project: &ProjectId,
        id: &UserId,
        state: &UserState,
        user: User,
        patch: &UserPatch,
    ) -> Vec<Step> {
        let has_moved = !state.user.identities.keys().eq(user.identities.keys());
        let is_disabled = user.disabled && !state.user.disabled;
        let mut steps = vec![Step::Update { expected: Some(state.version), user: Box::new(user) }];
        if patch.password.is_some() || has_moved || is_disabled {
            // Nobody knows the answer, and it is late already.
            let void =
                |purpose| self.issue((project, id), purpose, &auth::code::link(), (0, 0), None);
            steps.extend(state.challenges.keys().map(|purpose| void(purpose)));
        }
        if patch.password.is_some() {
            let reason = Ended::CredentialChanged;
            steps.push(Step::EndSessions { only: None, except: None, reason });
        }
        steps
    }
}
