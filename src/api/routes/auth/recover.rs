//! Passwords that change: forgotten ones, by a link in a mail, and by those who are signed in.
//! Whoever else was signed in is not any more.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use auth::limits::Class;
use domain::users::{Challenge, Ended, Step, UserState};
use domain::{Actor, ProjectId, UserId};
use messages::Kind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::challenges::{Detail, purpose};
use super::codes::typed;
use super::confirm::{Link, check_redirect, target};
use super::own::{Look, Own, unless_changed};
use super::password::{VerificationSent, check_password};
use super::recipients::{claim, sent};
use super::visit::{Visit, disabled, invalid_credentials};
use crate::answer::Answer;
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{Way, field, now};

/// Who forgot its password.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Recover {
    /// Its mail address.
    #[schema(max_length = 254)]
    email: String,
    /// The app's page that asks for the new password: one of the project's redirect URLs; its site
    /// when absent. It is opened with `token` and `type=reset-password` in the query.
    #[serde(default)]
    redirect_to: Option<String>,
    /// What the project's CAPTCHA gave, where it has one.
    #[serde(default)]
    captcha: Option<String>,
}

/// A new password, by a link's token.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ResetPassword {
    /// `token` of the link.
    #[schema(max_length = 512)]
    token: String,
    /// The new password.
    #[schema(max_length = 1024)]
    password: String,
}

/// A new password, by the user itself.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChangePassword {
    /// The password that it takes the place of. Not needed by whoever has shown who it is within
    /// the last ten minutes.
    #[serde(default)]
    #[schema(max_length = 1024)]
    current_password: Option<String>,
    /// The new password.
    #[schema(max_length = 1024)]
    password: String,
}

/// What shows again who a user is: `password` or `code`.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Reauthenticate {
    /// The password.
    #[serde(default)]
    #[schema(max_length = 1024)]
    password: Option<String>,
    /// A code of a second factor, or one that was sent by mail or SMS.
    #[serde(default)]
    #[schema(max_length = 64)]
    code: Option<String>,
}

/// Sends a link to set a new password.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/recover", operation_id = "recover", tag = "auth",
    request_body(content = Recover),
    responses((status = 202, description = "A mail is on its way if somebody has the address.",
        body = VerificationSent)),
)]
pub(crate) async fn recover(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Recover { email, redirect_to, captcha } = body::parse(&body)?;
    if !visit.directory.config.password.enabled {
        return Err(disabled("password"));
    }
    check_redirect(&visit, redirect_to.as_deref())?;
    call.check_message(&visit, Way::Email(&email), captcha.as_deref()).await?;
    let detail = Detail { redirect_to, ..Detail::default() };
    call.later(move |call| async move {
        let way = Way::Email(&email);
        call.challenge_way(&visit, way, purpose::RESET_PASSWORD, None, detail).await
    })?;
    sent(purpose::RESET_PASSWORD)
}

/// Sets a new password by a link's token. All sessions end.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/reset-password", operation_id = "resetPassword",
    tag = "auth",
    request_body(content = ResetPassword),
    responses((status = 204, description = "The password is set.")),
)]
pub(crate) async fn reset(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let ResetPassword { token, password } = body::parse(&body)?;
    call.limit_address(Class::SignInPerAddress)?;
    let link = Link::parse(&token)?;
    call.reset_password(&visit, &link, &password).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// Sets the user's password. All its other sessions end.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/password", operation_id = "changePassword",
    tag = "auth",
    request_body(content = ChangePassword),
    responses((status = 204, description = "The password is set.")),
)]
pub(crate) async fn change(mut call: Call) -> Answer {
    let own = call.own().await?;
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let ChangePassword { current_password, password } = body::parse(&body)?;
    let config = &visit.directory.config;
    if !config.password.enabled {
        return Err(disabled("password"));
    }
    let look = call.look(&own).await?;
    look.second_factor()?;
    if !look.state.user.identities.keys().any(|key| key.starts_with("email:")) {
        return Err(Problem::new(Code::Forbidden, "a password takes a mail address first"));
    }
    match current_password {
        Some(current) if look.state.user.password.is_some() => {
            call.check_own_password(&own, &look, &current).await?;
        }
        _ => look.recent()?,
    }
    check_password(&password, config)?;
    let people = &call.app.people;
    let hash = people.hasher.hash(&password).await.map_err(Problem::of_password)?;
    let changed = unless_changed(async || {
        let Look { state, .. } = call.look(&own).await?;
        let mut user = Box::new(state.user.clone());
        user.password = Some(people.seal(own.project(), &own.id, field::PASSWORD, &hash).await?);
        user.password_at = Some(now());
        let mut steps = vec![Step::Update { expected: Some(state.version), user }];
        let except = Some(own.session_id.clone());
        let reason = Ended::CredentialChanged;
        steps.push(Step::EndSessions { only: None, except, reason });
        steps.extend(call.cancel(own.project(), &own.id, &state));
        call.change_user(own.project(), own.actor(), &own.id, steps).await?;
        Ok(state)
    });
    let state = changed.await?;
    call.notify_unless_busy(&visit, &own.id, &state, Kind::PasswordChanged).await;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// Shows again who the user is, for what is only done shortly after. The next access token tells
/// it, too.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/reauthenticate", operation_id = "reauthenticate",
    tag = "auth",
    request_body(content = Reauthenticate),
    responses((status = 204, description = "The session is as good as new.")),
)]
pub(crate) async fn reauthenticate(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Reauthenticate { password, code } = body::parse(&body)?;
    let look = call.look(&own).await?;
    match (password, code) {
        (Some(password), None) => {
            call.check_own_password(&own, &look, &password).await?;
            let method = "pwd".to_owned();
            let confirm = Step::Confirm { id: own.session_id.clone(), level: 1, method };
            call.change_user(own.project(), own.actor(), &own.id, vec![confirm]).await?;
        }
        (None, Some(code)) => call.reauthenticate_by_code(&own, &look, &typed(&code)?).await?,
        _ => return Err(Problem::body("", "either password or code")),
    }
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

impl Call {
    /// Sets a new password by a link, and ends all sessions.
    ///
    /// Errors: `invalid-credentials`, `weak-password`.
    pub(crate) async fn reset_password(
        &self,
        visit: &Visit,
        link: &Link,
        password: &str,
    ) -> Result<(), Problem> {
        let config = &visit.directory.config;
        if link.purpose != purpose::RESET_PASSWORD || !config.password.enabled {
            return Err(invalid_credentials());
        }
        let found = self.found(visit, link).await?;
        self.sent_to(visit, link, &found).await?;
        check_password(password, config)?;
        let people = &self.app.people;
        let hash = people.hasher.hash(password).await.map_err(Problem::of_password)?;
        let (project, id) = (&visit.project, &link.user);
        let changed = unless_changed(async || {
            let found = self.found(visit, link).await?;
            let key = self.sent_to(visit, link, &found).await?;
            let state = found.state;
            let mut user = Box::new(state.user.clone());
            claim(&mut user, &key);
            user.password = Some(people.seal(project, id, field::PASSWORD, &hash).await?);
            user.password_at = Some(now());
            let mut steps = vec![
                self.answer_step((project, id), link.purpose, &link.secret),
                Step::Update { expected: Some(state.version), user },
            ];
            let reason = Ended::CredentialChanged;
            steps.push(Step::EndSessions { only: None, except: None, reason });
            steps.extend(self.cancel(project, id, &state));
            let actor = Actor::User { id: id.clone(), by: None };
            let written = self.change_user(project, actor, id, steps).await?;
            if written.events.iter().any(|one| one.event.kind.as_str() == "challenge.failed") {
                return Err(invalid_credentials());
            }
            Ok((state, key))
        });
        let (state, key) = changed.await?;
        self.note_try(project, &key, true);
        self.notify_unless_busy(visit, id, &state, Kind::PasswordChanged).await;
        Ok(())
    }

    /// Steps that make open ways to a session worthless: whoever has one of them got it before the
    /// password was changed.
    pub(crate) fn cancel(&self, project: &ProjectId, id: &UserId, state: &UserState) -> Vec<Step> {
        let is_open = |purpose: &&str| {
            let open: Option<&Challenge> = state.challenges.get(*purpose);
            open.is_some_and(|open| open.expires_at >= now())
        };
        let purposes = [
            purpose::SIGN_IN_CODE,
            purpose::MAGIC_LINK,
            purpose::EMAIL_CODE,
            purpose::CHANGE_EMAIL,
            purpose::CHANGE_PHONE,
        ];
        let none = |purpose: &str| {
            // An answer that nobody has, and no time for it.
            self.issue((project, id), purpose, &auth::code::link(), (0, 0), None)
        };
        purposes.into_iter().filter(is_open).map(none).collect()
    }

    /// The link in a mail for a new password: to the app where it has a page, or else to ours.
    pub(crate) fn reset_link(
        &self,
        visit: &Visit,
        id: &UserId,
        secret: &str,
        redirect_to: Option<&str>,
    ) -> String {
        let Some(mut url) = target(visit, redirect_to) else {
            return self.link(visit, purpose::RESET_PASSWORD, id, secret);
        };
        let token = format!("{}~{id}~{secret}", purpose::RESET_PASSWORD);
        url.query_pairs_mut()
            .append_pair("token", &token)
            .append_pair("type", purpose::RESET_PASSWORD);
        url.into()
    }

    /// As [`Call::notify`]; what it tells of has happened, whether or not there is room for mail.
    pub(crate) async fn notify_unless_busy(
        &self,
        visit: &Visit,
        id: &UserId,
        state: &UserState,
        kind: Kind,
    ) {
        if let Err(problem) = self.notify(visit, id, state, kind).await {
            let code = problem.code().entry().name;
            tracing::warn!(project.id = %visit.project, error.code = code, "a notice is not sent");
        }
    }

    /// Checks the password of the user who asks.
    ///
    /// Errors: `invalid-credentials`, `too-many-requests`.
    async fn check_own_password(
        &self,
        own: &Own,
        look: &Look,
        password: &str,
    ) -> Result<(), Problem> {
        let (project, people) = (own.project(), &self.app.people);
        let name = own.limit_name("password");
        self.limit_name(Class::SignInPerIdentity, project, &name)?;
        self.check_lockout(project, &name)?;
        let stored: Option<String> = match &look.state.user.password {
            Some(sealed) => people.open(project, &own.id, field::PASSWORD, sealed).await?,
            None => None,
        };
        let verified = people.hasher.verify(password, stored.as_deref()).await;
        let is_good = verified.map_err(Problem::of_busy)?;
        self.note_try(project, &name, is_good);
        is_good.then_some(()).ok_or_else(invalid_credentials)
    }

    /// By a second factor where the user has one, or else by a code that was sent.
    async fn reauthenticate_by_code(
        &self,
        own: &Own,
        look: &Look,
        code: &str,
    ) -> Result<(), Problem> {
        if look.has_factor() {
            return self.show_factor(own, code).await;
        }
        let (project, id) = (own.project(), &own.id);
        let name = own.limit_name("code");
        self.limit_name(Class::SignInPerIdentity, project, &name)?;
        self.check_lockout(project, &name)?;
        let profile = self.app.people.profile(project, id, &look.state.user).await?;
        let ways = [
            (purpose::EMAIL_CODE, profile.email.as_deref().map(Way::Email)),
            (purpose::PHONE_CODE, profile.phone.as_deref().map(Way::Phone)),
        ];
        for (purpose, way) in ways {
            let Some(way) = way else { continue };
            if !self.is_sent_to(project, id, &look.state, purpose, way).await? {
                continue;
            }
            let (session, method) = (own.session_id.clone(), "otp".to_owned());
            let steps = vec![
                self.answer_step((project, id), purpose, code),
                Step::Confirm { id: session, level: 1, method },
            ];
            let written = self.change_user(project, own.actor(), id, steps).await?;
            let is_failed = |name: &str| name == "challenge.failed";
            if !written.events.iter().any(|one| is_failed(one.event.kind.as_str())) {
                self.note_try(project, &name, true);
                return Ok(());
            }
        }
        self.note_try(project, &name, false);
        Err(invalid_credentials())
    }
}
