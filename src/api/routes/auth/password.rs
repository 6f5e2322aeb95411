//! E-mail and password: signing up and signing in, and nobody at all until one wants to be
//! somebody.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use auth::limits::Class;
use auth::password::policy;
use domain::UserId;
use domain::sign_in::Config;
use domain::users::{Identity, Step, User};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::confirm::check_redirect;
use super::recipients::{Recipient, spelt};
use super::visit::{disabled, invalid_credentials};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{How, Profile, SessionBody, Started, Way, field, now};

/// Somebody new.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SignUp {
    /// Its mail address.
    #[schema(max_length = 254)]
    email: String,
    /// Its password.
    #[schema(max_length = 1024)]
    password: String,
    /// Its name.
    #[serde(default)]
    name: Option<String>,
    /// Its language (BCP 47).
    #[serde(default)]
    locale: Option<String>,
    /// Whatever else the app keeps with it.
    #[serde(default)]
    #[schema(value_type = Object)]
    data: Map<String, Value>,
    /// Where the link in the mail leads in the end, where the address must be verified: one of the
    /// project's redirect URLs; its site when absent.
    #[serde(default)]
    redirect_to: Option<String>,
    /// What the project's CAPTCHA gave, where it has one.
    #[serde(default)]
    captcha: Option<String>,
}

/// Somebody who has a password.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SignIn {
    /// Its mail address.
    #[schema(max_length = 254)]
    email: String,
    /// Its password.
    #[schema(max_length = 1024)]
    password: String,
    /// What the project's CAPTCHA gave, where it has one.
    #[serde(default)]
    captcha: Option<String>,
}

/// Somebody who does not say who it is.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Nobody {
    /// Whatever the app keeps with it.
    #[serde(default)]
    #[schema(value_type = Object)]
    data: Map<String, Value>,
    /// What the project's CAPTCHA gave, where it has one.
    #[serde(default)]
    captcha: Option<String>,
}

/// What is told to whoever asks for a message; the same whether or not there is such a user.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerificationSent {
    /// What the message is for: `verify-email`, `magic-link`, `reset-password` and `change-email`
    /// have a link to follow, `email-code`, `phone-code` and `change-phone` a code to type in.
    pub(crate) next: String,
}

/// Signs somebody new up by e-mail and password, and in.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/sign-up", operation_id = "signUp", tag = "auth",
    request_body(content = SignUp),
    responses(
        (status = 201, description = "The new user and its first session.", body = SessionBody),
        (status = 202, description = "A mail is on its way, to verify the address.",
            body = VerificationSent),
    ),
)]
pub(crate) async fn sign_up(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let SignUp { email, password, name, locale, data, redirect_to, captcha } = body::parse(&body)?;
    call.limit_address(Class::SignUpPerAddress)?;
    let (config, project) = (&visit.directory.config, &visit.project);
    if !config.password.enabled || !config.sign_up {
        return Err(disabled("password"));
    }
    check_password(&password, config)?;
    check_redirect(&visit, redirect_to.as_deref())?;
    call.check_captcha(config, captcha.as_deref()).await?;
    let people = &call.app.people;
    let key = people.key(project, Way::Email(&email))?;
    if config.email_verification {
        call.limit_name(Class::MessagePerRecipient, project, &key)?;
    }
    let to = spelt(Way::Email(&email), &email).unwrap_or_default();
    let profile = Profile { email: Some(email), name, locale, data, ..Profile::default() };
    profile.check()?;
    let id = new_user_id()?;
    let hash = people.hasher.hash(&password).await.map_err(Problem::of_password)?;
    let mut user = call.new_user(&visit, &id, &profile).await?;
    user.password = Some(people.seal(project, &id, field::PASSWORD, &hash).await?);
    user.password_at = Some(now());
    let identity = Identity { verified: false, added_at: now(), provider: None, detail: None };
    user.identities = BTreeMap::from([(key, identity)]);
    let steps = vec![Step::Create(Box::new(user))];
    if config.email_verification {
        let language = profile.locale.clone();
        let new = Recipient { id, to, language, is_verified: false, steps };
        return call.sign_up_unverified(&visit, new, (&profile, &hash), redirect_to).await;
    }
    match call.begin_session(project, &id, steps, How::by("pwd")).await {
        Ok(Started::Session(session)) => answer::json(StatusCode::CREATED, &session),
        Ok(Started::WrongAnswer) => Err(invalid_credentials()),
        Err(problem) => {
            call.forget_unless_made(project, &id, &problem).await;
            Err(problem)
        }
    }
}

/// Signs somebody in by e-mail and password.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/sign-in", operation_id = "signIn", tag = "auth",
    request_body(content = SignIn),
    responses((status = 200, description = "A session.", body = SessionBody)),
)]
pub(crate) async fn sign_in(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let SignIn { email, password, captcha } = body::parse(&body)?;
    call.limit_address(Class::SignInPerAddress)?;
    let (config, project) = (&visit.directory.config, &visit.project);
    if !config.password.enabled {
        return Err(disabled("password"));
    }
    call.check_captcha(config, captcha.as_deref()).await?;
    let people = &call.app.people;
    let key = people.key(project, Way::Email(&email))?;
    call.limit_name(Class::SignInPerIdentity, project, &key)?;
    call.check_lockout(project, &key)?;
    let id = call.app.engine.user_by_identity(project, &key).await?;
    let found = match &id {
        Some(id) => call.app.engine.user(project, id).await?.map(|state| (id, state)),
        None => None,
    };
    let stored: Option<String> = match &found {
        Some((id, state)) => match &state.user.password {
            Some(sealed) => people.open(project, id, field::PASSWORD, sealed).await?,
            None => None,
        },
        None => None,
    };
    // As long whether or not there is a hash to compare with.
    let verified = people.hasher.verify(&password, stored.as_deref()).await;
    let is_good = verified.map_err(Problem::of_busy)?;
    call.note_try(project, &key, is_good);
    let Some((id, state)) = found.filter(|_| is_good) else { return Err(invalid_credentials()) };
    let is_verified = state.user.identities.get(&key).is_some_and(|one| one.verified);
    if config.email_verification && !is_verified {
        let detail = "follow the link in the mail first, or have another one sent";
        return Err(Problem::new(Code::EmailNotVerified, detail));
    }
    let mut steps = Vec::new();
    if let Some(hash) = stored.filter(|hash| people.hasher.needs_rehash(hash)) {
        tracing::debug!(project.id = %project, bytes = hash.len(), "a password is hashed anew");
        let hash = people.hasher.hash(&password).await.map_err(Problem::of_password)?;
        let mut user = Box::new(state.user.clone());
        user.password = Some(people.seal(project, id, field::PASSWORD, &hash).await?);
        steps.push(Step::Update { expected: Some(state.version), user });
    }
    call.answer_session(project, id, steps, How::by("pwd")).await
}

/// Signs somebody in who does not say who it is.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/anonymous", operation_id = "signInAnonymously",
    tag = "auth",
    request_body(content = Nobody),
    responses((status = 201, description = "A new user and its session.", body = SessionBody)),
)]
pub(crate) async fn anonymous(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Nobody { data, captcha } = body::parse(&body)?;
    call.limit_address(Class::SignUpPerAddress)?;
    if !visit.directory.config.anonymous {
        return Err(disabled("no name"));
    }
    call.check_captcha(&visit.directory.config, captcha.as_deref()).await?;
    let profile = Profile { data, ..Profile::default() };
    profile.check()?;
    let id = new_user_id()?;
    let mut user = call.new_user(&visit, &id, &profile).await?;
    user.anonymous = true;
    let steps = vec![Step::Create(Box::new(user))];
    match call.begin_session(&visit.project, &id, steps, How::by("anonymous")).await? {
        Started::Session(session) => answer::json(StatusCode::CREATED, &session),
        Started::WrongAnswer => Err(invalid_credentials()),
    }
}

/// A new user's id.
pub(crate) fn new_user_id() -> Result<UserId, Problem> {
    UserId::new(&Uuid::now_v7().to_string())
        .map_err(|error| Problem::new(Code::Internal, "no id").because(error))
}

/// Errors with `weak-password` and what the project wants.
pub(crate) fn check_password(password: &str, config: &Config) -> Result<(), Problem> {
    policy::check(password, &config.password).map_err(|weak| {
        let reasons: Vec<String> = weak.iter().map(ToString::to_string).collect();
        Problem::new(Code::WeakPassword, reasons.join("; ")).field("/password")
    })
}

impl Call {
    /// Somebody new, as the app's own server lets it be.
    ///
    /// Errors with `forbidden` when it does not.
    pub(crate) async fn new_user(
        &self,
        visit: &super::visit::Visit,
        id: &UserId,
        profile: &Profile,
    ) -> Result<User, Problem> {
        let people = &self.app.people;
        let mut user = User::default();
        if let Some(decision) = self.before_sign_up(visit, id, profile).await? {
            user.roles = decision.roles.into_iter().collect();
            user.claims = decision.claims;
        }
        user.profile = Some(people.seal(&visit.project, id, field::PROFILE, profile).await?);
        Ok(user)
    }

    /// What the app's own server says of somebody who is about to sign up; nothing where it is not
    /// asked.
    ///
    /// Errors with `forbidden` when it does not want it.
    pub(crate) async fn before_sign_up(
        &self,
        visit: &super::visit::Visit,
        id: &UserId,
        profile: &Profile,
    ) -> Result<Option<messages::hooks::SignUpDecision>, Problem> {
        let Some(hook) = &visit.directory.config.hooks.before_sign_up else { return Ok(None) };
        let view = json!({"id": id, "profile": profile});
        let decision = self.app.people.hooks.before_sign_up(hook, &view).await;
        decision.map(Some).map_err(Problem::of_hook)
    }

    /// Destroys the key of a user who came to nothing, if that is sure: only a way in that was
    /// taken says that nothing was written.
    pub(crate) async fn forget_unless_made(
        &self,
        project: &domain::ProjectId,
        id: &UserId,
        problem: &Problem,
    ) {
        if problem.code() == Code::IdentityTaken {
            self.forget_key(project, id).await;
        }
    }

    pub(crate) async fn forget_key(&self, project: &domain::ProjectId, id: &UserId) {
        let destroyed = self.app.people.sealer.keys().destroy(project, id.as_str()).await;
        if let Err(error) = destroyed {
            tracing::warn!(project.id = %project, %error, "a key that nobody needs is left");
        }
    }

    /// Takes these steps, begins a session and answers with it.
    pub(crate) async fn answer_session(
        &self,
        project: &domain::ProjectId,
        id: &UserId,
        steps: Vec<Step>,
        how: How,
    ) -> Answer {
        match self.begin_session(project, id, steps, how).await? {
            Started::Session(session) => answer::json(StatusCode::OK, &session),
            Started::WrongAnswer => Err(invalid_credentials()),
        }
    }

    /// Errors with `captcha-failed` where the project asks for one and this is none.
    pub(crate) async fn check_captcha(
        &self,
        config: &Config,
        given: Option<&str>,
    ) -> Result<(), Problem> {
        let Some(captcha) = &config.captcha else { return Ok(()) };
        let failed = || Problem::new(Code::CaptchaFailed, "show that you are a person");
        let given = given.ok_or_else(failed)?;
        let outbound = &self.app.people.outbound;
        let is_good = messages::captcha::verify(outbound, captcha, given, self.address()).await;
        let is_good = is_good.map_err(|error| {
            Problem::new(Code::Unavailable, "the CAPTCHA could not be checked").because(error)
        })?;
        is_good.then_some(()).ok_or_else(failed)
    }
}
