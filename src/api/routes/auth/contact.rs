//! A user's own mail address and phone number: a new one counts once the user has shown that it is
//! its own. And somebody who never said who it is becomes somebody, with the same id.

use actix_web::http::StatusCode;
use auth::limits::Class;
use domain::UserId;
use domain::users::{Identity, Step, User, UserState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::challenges::{Detail, purpose};
use super::codes::typed;
use super::confirm::{Found, check_redirect};
use super::own::{Look, Own, unless_changed};
use super::password::{VerificationSent, check_password};
use super::recipients::{Recipient, sent, spelt};
use super::visit::{Visit, disabled, invalid_credentials};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{Profile, UserBody, Way, field, now};

/// A new mail address.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewEmail {
    /// The address.
    #[schema(max_length = 254)]
    email: String,
    /// Where to go on afterwards: one of the project's redirect URLs; its site when absent.
    #[serde(default)]
    redirect_to: Option<String>,
}

/// A new phone number.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewPhone {
    /// The number, with `+` and the country's code.
    #[schema(max_length = 64)]
    phone: String,
}

/// The code that was sent to a new phone number.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PhoneShown {
    /// The code.
    #[schema(max_length = 64)]
    code: String,
}

/// What makes somebody of nobody.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Upgrade {
    /// Its mail address.
    #[schema(max_length = 254)]
    email: String,
    /// Its password.
    #[schema(max_length = 1024)]
    password: String,
    /// Where the link in the mail leads in the end, where the address must be verified: one of the
    /// project's redirect URLs; its site when absent.
    #[serde(default)]
    redirect_to: Option<String>,
}

/// Sends a link to a new mail address of the user. It takes the place of the old one when the link
/// is followed.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/email", operation_id = "changeEmail", tag = "auth",
    request_body(content = NewEmail),
    responses((status = 202, description = "A mail is on its way to the new address.",
        body = VerificationSent)),
)]
pub(crate) async fn email(mut call: Call) -> Answer {
    let own = call.own().await?;
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let NewEmail { email, redirect_to } = body::parse(&body)?;
    check_redirect(&visit, redirect_to.as_deref())?;
    let look = call.look(&own).await?;
    look.may_add_a_way()?;
    call.check_own_message(&visit, &own, Way::Email(&email))?;
    let to = spelt(Way::Email(&email), &email).ok_or_else(invalid_credentials)?;
    let recipient = call.own_recipient(&own, &look, to).await?;
    let detail = Detail { redirect_to, ..Detail::default() };
    call.challenge(&visit, recipient, purpose::CHANGE_EMAIL, detail).await?;
    sent(purpose::CHANGE_EMAIL)
}

/// Sends a code to a new phone number of the user.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/phone", operation_id = "changePhone", tag = "auth",
    request_body(content = NewPhone),
    responses((status = 202, description = "An SMS is on its way to the new number.",
        body = VerificationSent)),
)]
pub(crate) async fn phone(mut call: Call) -> Answer {
    let own = call.own().await?;
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let NewPhone { phone } = body::parse(&body)?;
    if !visit.directory.config.phone_code {
        return Err(disabled("code by SMS"));
    }
    let look = call.look(&own).await?;
    look.may_add_a_way()?;
    call.check_own_message(&visit, &own, Way::Phone(&phone))?;
    let to = spelt(Way::Phone(&phone), &phone).ok_or_else(invalid_credentials)?;
    let recipient = call.own_recipient(&own, &look, to).await?;
    call.challenge(&visit, recipient, purpose::CHANGE_PHONE, Detail::default()).await?;
    sent(purpose::CHANGE_PHONE)
}

/// Takes a new phone number by the code that was sent to it.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/phone/verify", operation_id = "verifyPhone",
    tag = "auth",
    request_body(content = PhoneShown),
    responses((status = 200, description = "The user, with its new number.", body = UserBody)),
)]
pub(crate) async fn verify_phone(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let PhoneShown { code } = body::parse(&body)?;
    let code = typed(&code)?;
    let (project, name) = (own.project(), own.limit_name("phone"));
    call.limit_name(Class::SignInPerIdentity, project, &name)?;
    call.check_lockout(project, &name)?;
    let taken = unless_changed(async || call.take_phone(&own, &code).await).await;
    if let Err(problem) = &taken
        && problem.code() == Code::InvalidCredentials
    {
        call.note_try(project, &name, false);
    }
    taken?;
    call.note_try(project, &name, true);
    let state = call.user_state(project, &own.id).await?;
    answer::json(StatusCode::OK, &call.app.people.show(project, &own.id, &state).await?)
}

/// Makes somebody of the user who never said who it is, by e-mail and password. Its id and its
/// sessions stay.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/upgrade", operation_id = "upgrade", tag = "auth",
    request_body(content = Upgrade),
    responses(
        (status = 200, description = "The user.", body = UserBody),
        (status = 202, description = "A mail is on its way, to verify the address: the user \
            stays who it is until then.", body = VerificationSent),
    ),
)]
pub(crate) async fn upgrade(mut call: Call) -> Answer {
    let own = call.own().await?;
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Upgrade { email, password, redirect_to } = body::parse(&body)?;
    let config = &visit.directory.config;
    if !config.password.enabled || !config.sign_up {
        return Err(disabled("password"));
    }
    check_redirect(&visit, redirect_to.as_deref())?;
    let look = call.look(&own).await?;
    anonymous(&look.state)?;
    check_password(&password, config)?;
    call.limit_address(Class::SignUpPerAddress)?;
    let (project, people) = (own.project(), &call.app.people);
    let key = people.key(project, Way::Email(&email))?;
    let to = spelt(Way::Email(&email), &email).ok_or_else(invalid_credentials)?;
    let hash = people.hasher.hash(&password).await.map_err(Problem::of_password)?;
    let profile = people.profile(project, &own.id, &look.state.user).await?;
    let profile = Profile { email: Some(email), ..profile };
    let decision = call.before_sign_up(&visit, &own.id, &profile).await?;
    if config.email_verification {
        call.check_own_message(&visit, &own, Way::Email(&to))?;
        // Whose the address is comes out when the link is followed, and only to its owner.
        let recipient = call.own_recipient(&own, &look, to).await?;
        let detail = Detail { redirect_to, password: Some(hash), ..Detail::default() };
        call.challenge(&visit, recipient, purpose::CHANGE_EMAIL, detail).await?;
        return sent(purpose::CHANGE_EMAIL);
    }
    let upgraded = unless_changed(async || {
        let Look { state, .. } = call.look(&own).await?;
        anonymous(&state)?;
        let mut user = Box::new(state.user.clone());
        user.profile = Some(people.seal(project, &own.id, field::PROFILE, &profile).await?);
        user.password = Some(people.seal(project, &own.id, field::PASSWORD, &hash).await?);
        user.password_at = Some(now());
        user.anonymous = false;
        let identity = Identity { verified: false, added_at: now(), provider: None, detail: None };
        user.identities.insert(key.clone(), identity);
        if let Some(decision) = &decision {
            user.roles.extend(decision.roles.iter().cloned());
            user.claims.extend(decision.claims.clone());
        }
        let (id, method) = (own.session_id.clone(), "pwd".to_owned());
        let steps = vec![
            Step::Update { expected: Some(state.version), user },
            Step::Confirm { id, level: 1, method },
        ];
        call.change_user(project, own.actor(), &own.id, steps).await
    });
    upgraded.await?;
    let state = call.user_state(project, &own.id).await?;
    answer::json(StatusCode::OK, &people.show(project, &own.id, &state).await?)
}

fn anonymous(state: &UserState) -> Result<(), Problem> {
    match state.user.anonymous {
        true => Ok(()),
        false => Err(Problem::new(Code::Forbidden, "the user has said who it is already")),
    }
}

impl Call {
    /// Counts a message that a user has sent to an address or number that it calls its own.
    fn check_own_message(&self, visit: &Visit, own: &Own, way: Way<'_>) -> Result<(), Problem> {
        let key = self.app.people.key(&visit.project, way)?;
        self.limit_address(Class::MessagePerAddress)?;
        let user = own.limit_name("message");
        self.limit_name(Class::MessagePerRecipient, &visit.project, &user)?;
        self.limit_name(Class::MessagePerRecipient, &visit.project, &key)
    }

    async fn own_recipient(
        &self,
        own: &Own,
        look: &Look,
        to: String,
    ) -> Result<Recipient, Problem> {
        let state = &look.state.user;
        let profile = self.app.people.profile(own.project(), &own.id, state).await?;
        let (id, language) = (own.id.clone(), profile.locale);
        Ok(Recipient { id, to, language, is_verified: false, steps: Vec::new() })
    }

    /// Gives a user the address that a link was sent to, in the place of its old one, and the
    /// password that came with it.
    ///
    /// Errors with `invalid-credentials` for a link that says no address.
    pub(crate) async fn take_email(
        &self,
        visit: &Visit,
        id: &UserId,
        found: &Found,
        user: &mut User,
    ) -> Result<(), Problem> {
        let (project, people) = (&visit.project, &self.app.people);
        let to = found.detail.to.clone().ok_or_else(invalid_credentials)?;
        let key = people.key(project, Way::Email(&to))?;
        let profile = people.profile(project, id, user).await?;
        if let Some(old) = &profile.email {
            user.identities.remove(&people.key(project, Way::Email(old))?);
        }
        let profile = Profile { email: Some(to), ..profile };
        user.profile = Some(people.seal(project, id, field::PROFILE, &profile).await?);
        let identity = Identity { verified: true, added_at: now(), provider: None, detail: None };
        user.identities.insert(key, identity);
        user.anonymous = false;
        if let Some(hash) = &found.detail.password {
            user.password = Some(people.seal(project, id, field::PASSWORD, hash).await?);
            user.password_at = Some(now());
        }
        Ok(())
    }

    async fn take_phone(&self, own: &Own, code: &str) -> Result<(), Problem> {
        let (project, id, people) = (own.project(), &own.id, &self.app.people);
        let Look { state, .. } = self.look(own).await?;
        let open = state.challenges.get(purpose::CHANGE_PHONE).ok_or_else(invalid_credentials)?;
        let to = self.detail(project, id, open).await?.to.ok_or_else(invalid_credentials)?;
        let key = people.key(project, Way::Phone(&to))?;
        let mut user = Box::new(state.user.clone());
        let profile = people.profile(project, id, &user).await?;
        if let Some(old) = &profile.phone {
            user.identities.remove(&people.key(project, Way::Phone(old))?);
        }
        let profile = Profile { phone: Some(to), ..profile };
        user.profile = Some(people.seal(project, id, field::PROFILE, &profile).await?);
        let identity = Identity { verified: true, added_at: now(), provider: None, detail: None };
        user.identities.insert(key, identity);
        user.anonymous = false;
        let steps = vec![
            self.answer_step((project, id), purpose::CHANGE_PHONE, code),
            Step::Update { expected: Some(state.version), user },
        ];
        let written = self.change_user(project, own.actor(), id, steps).await?;
        if written.events.iter().any(|one| one.event.kind.as_str() == "challenge.failed") {
            return Err(invalid_credentials());
        }
        Ok(())
    }
}
