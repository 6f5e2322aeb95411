//! Signing in by what is sent: a link or a code by mail, a code by SMS. The answer is the same, and
//! comes as soon, whether or not there is such a user.

use std::time::Duration;

use auth::limits::Class;
use domain::ProjectId;
use domain::users::{Ended, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;

use super::challenges::{Detail, purpose};
use super::confirm::check_redirect;
use super::exchange::check_challenge;
use super::own::unless_changed;
use super::password::VerificationSent;
use super::recipients::{Newcomer, claim, sent};
use super::visit::{Visit, disabled, invalid_credentials};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{How, Profile, SessionBody, Started, Way};
use actix_web::http::StatusCode;

/// How long a wrong code takes at least: for somebody who is there it is written down, which takes
/// its time.
const WRONG_WAIT: Duration = Duration::from_millis(250);
/// The longest code that is looked at, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// Whom to send a verification to.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AskVerification {
    /// Its mail address.
    #[schema(max_length = 254)]
    email: String,
    /// Where to go on afterwards: one of the project's redirect URLs; its site when absent.
    #[serde(default)]
    redirect_to: Option<String>,
    /// What the project's CAPTCHA gave, where it has one.
    #[serde(default)]
    captcha: Option<String>,
}

/// Whom to send a link to.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AskLink {
    /// Its mail address.
    #[schema(max_length = 254)]
    email: String,
    /// Where to go on afterwards: one of the project's redirect URLs; its site when absent.
    #[serde(default)]
    redirect_to: Option<String>,
    /// What only the app that asks knows the verifier of (RFC 7636, S256).
    #[serde(default)]
    code_challenge: Option<String>,
    /// Whether somebody new is signed up.
    #[serde(default = "yes")]
    create_user: bool,
    /// The language of somebody new (BCP 47).
    #[serde(default)]
    locale: Option<String>,
    /// Whatever else the app keeps with somebody new.
    #[serde(default)]
    #[schema(value_type = Object)]
    data: Map<String, Value>,
    /// What the project's CAPTCHA gave, where it has one.
    #[serde(default)]
    captcha: Option<String>,
}

/// Whom to send a code to, by mail.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AskEmailCode {
    /// Its mail address.
    #[schema(max_length = 254)]
    email: String,
    /// Whether somebody new is signed up.
    #[serde(default = "yes")]
    create_user: bool,
    /// The language of somebody new (BCP 47).
    #[serde(default)]
    locale: Option<String>,
    /// Whatever else the app keeps with somebody new.
    #[serde(default)]
    #[schema(value_type = Object)]
    data: Map<String, Value>,
    /// What the project's CAPTCHA gave, where it has one.
    #[serde(default)]
    captcha: Option<String>,
}

/// Whom to send a code to, by SMS.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AskPhoneCode {
    /// Its phone number, with `+` and the country's code.
    #[schema(max_length = 64)]
    phone: String,
    /// Whether somebody new is signed up.
    #[serde(default = "yes")]
    create_user: bool,
    /// The language of somebody new (BCP 47).
    #[serde(default)]
    locale: Option<String>,
    /// Whatever else the app keeps with somebody new.
    #[serde(default)]
    #[schema(value_type = Object)]
    data: Map<String, Value>,
    /// What the project's CAPTCHA gave, where it has one.
    #[serde(default)]
    captcha: Option<String>,
}

/// A code that was sent: to `email` or to `phone`.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SentCode {
    /// The mail address that it was sent to.
    #[serde(default)]
    #[schema(max_length = 254)]
    email: Option<String>,
    /// The phone number that it was sent to.
    #[serde(default)]
    #[schema(max_length = 64)]
    phone: Option<String>,
    /// The code.
    #[schema(max_length = 64)]
    code: String,
}

fn yes() -> bool {
    true
}

/// Sends somebody who signed up another link, to verify its address.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/send-verification",
    operation_id = "sendVerification", tag = "auth",
    request_body(content = AskVerification),
    responses((status = 202, description = "A mail is on its way if somebody has the address and \
        has not verified it yet.", body = VerificationSent)),
)]
pub(crate) async fn send_verification(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let AskVerification { email, redirect_to, captcha } = body::parse(&body)?;
    check_redirect(&visit, redirect_to.as_deref())?;
    call.check_message(&visit, Way::Email(&email), captcha.as_deref()).await?;
    let detail = Detail { redirect_to, ..Detail::default() };
    call.later(move |call| async move {
        let found = call.recipient(&visit.project, Way::Email(&email)).await?;
        match found.filter(|one| !one.is_verified) {
            Some(one) => call.challenge(&visit, one, purpose::VERIFY_EMAIL, detail).await,
            None => Ok(()),
        }
    })?;
    sent(purpose::VERIFY_EMAIL)
}

/// Sends a link to sign in by.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/magic-link", operation_id = "sendMagicLink",
    tag = "auth",
    request_body(content = AskLink),
    responses((status = 202, description = "A mail is on its way if somebody has the address or \
        may sign up.", body = VerificationSent)),
)]
pub(crate) async fn magic_link(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let ask: AskLink = body::parse(&body)?;
    if !visit.directory.config.magic_link {
        return Err(disabled("link"));
    }
    let AskLink { email, redirect_to, code_challenge, create_user, locale, data, captcha } = ask;
    check_redirect(&visit, redirect_to.as_deref())?;
    check_challenge(code_challenge.as_deref())?;
    let newcomer = newcomer(create_user, locale, data)?;
    call.check_message(&visit, Way::Email(&email), captcha.as_deref()).await?;
    let detail = Detail { redirect_to, code_challenge, ..Detail::default() };
    call.later(move |call| async move {
        let way = Way::Email(&email);
        call.challenge_way(&visit, way, purpose::MAGIC_LINK, newcomer, detail).await
    })?;
    sent(purpose::MAGIC_LINK)
}

/// Sends a code to sign in by, by mail.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/email-code", operation_id = "sendEmailCode",
    tag = "auth",
    request_body(content = AskEmailCode),
    responses((status = 202, description = "A mail is on its way if somebody has the address or \
        may sign up.", body = VerificationSent)),
)]
pub(crate) async fn email_code(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let AskEmailCode { email, create_user, locale, data, captcha } = body::parse(&body)?;
    if !visit.directory.config.email_code {
        return Err(disabled("code by mail"));
    }
    let newcomer = newcomer(create_user, locale, data)?;
    call.check_message(&visit, Way::Email(&email), captcha.as_deref()).await?;
    call.later(move |call| async move {
        let way = Way::Email(&email);
        call.challenge_way(&visit, way, purpose::EMAIL_CODE, newcomer, Detail::default()).await
    })?;
    sent(purpose::EMAIL_CODE)
}

/// Sends a code to sign in by, by SMS.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/phone-code", operation_id = "sendPhoneCode",
    tag = "auth",
    request_body(content = AskPhoneCode),
    responses((status = 202, description = "An SMS is on its way if somebody has the number or \
        may sign up.", body = VerificationSent)),
)]
pub(crate) async fn phone_code(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let AskPhoneCode { phone, create_user, locale, data, captcha } = body::parse(&body)?;
    if !visit.directory.config.phone_code {
        return Err(disabled("code by SMS"));
    }
    let newcomer = newcomer(create_user, locale, data)?;
    call.check_message(&visit, Way::Phone(&phone), captcha.as_deref()).await?;
    call.later(move |call| async move {
        let way = Way::Phone(&phone);
        call.challenge_way(&visit, way, purpose::PHONE_CODE, newcomer, Detail::default()).await
    })?;
    sent(purpose::PHONE_CODE)
}

/// Signs somebody in by a code that was sent.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/verify-code", operation_id = "verifyCode",
    tag = "auth",
    request_body(content = SentCode),
    responses((status = 200, description = "A session.", body = SessionBody)),
)]
pub(crate) async fn verify_code(mut call: Call) -> Answer {
    let since = Instant::now();
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let SentCode { email, phone, code } = body::parse(&body)?;
    let (config, project) = (&visit.directory.config, &visit.project);
    let (way, purpose, is_on) = match (&email, &phone) {
        (Some(email), None) => (Way::Email(email), purpose::EMAIL_CODE, config.email_code),
        (None, Some(phone)) => (Way::Phone(phone), purpose::PHONE_CODE, config.phone_code),
        _ => return Err(Problem::body("", "either email or phone")),
    };
    if !is_on {
        return Err(disabled("code"));
    }
    call.limit_address(Class::SignInPerAddress)?;
    let key = call.app.people.key(project, way)?;
    call.limit_name(Class::SignInPerIdentity, project, &key)?;
    call.check_lockout(project, &key)?;
    let code = typed(&code)?;
    let tried = unless_changed(async || call.by_code(&visit, way, &key, purpose, &code).await);
    match tried.await {
        Ok(session) => {
            call.note_try(project, &key, true);
            answer::json(StatusCode::OK, &session)
        }
        Err(problem) => {
            if problem.code() == Code::InvalidCredentials {
                call.note_try(project, &key, false);
                sleep_until(since + WRONG_WAIT).await;
            }
            Err(problem)
        }
    }
}

/// A code without what people put between its digits.
///
/// Errors with `invalid-body` for what is too long for one.
pub(crate) fn typed(code: &str) -> Result<String, Problem> {
    if code.len() > CODE_BYTES_MAX {
        return Err(Problem::body("/code", format!("at most {CODE_BYTES_MAX} bytes")));
    }
    Ok(code.chars().filter(|c| !matches!(c, ' ' | '-')).collect())
}

fn newcomer(
    create_user: bool,
    locale: Option<String>,
    data: Map<String, Value>,
) -> Result<Option<Newcomer>, Problem> {
    let profile = Profile { locale, data, ..Profile::default() };
    profile.check()?;
    Ok(create_user.then_some(Newcomer { locale: profile.locale, data: profile.data }))
}

impl Call {
    async fn by_code(
        &self,
        visit: &Visit,
        way: Way<'_>,
        key: &String,
        purpose: &'static str,
        code: &str,
    ) -> Result<Box<SessionBody>, Problem> {
        let project = &visit.project;
        let id = self.app.engine.user_by_identity(project, key).await?;
        let id = id.ok_or_else(invalid_credentials)?;
        let state = self.app.engine.user(project, &id).await?.ok_or_else(invalid_credentials)?;
        if !self.is_sent_to(project, &id, &state, purpose, way).await? {
            return Err(invalid_credentials());
        }
        let mut steps = vec![self.answer_step((project, &id), purpose, code)];
        let mut user = Box::new(state.user.clone());
        if claim(&mut user, key) {
            steps.push(Step::Update { expected: Some(state.version), user });
            let reason = Ended::CredentialChanged;
            steps.push(Step::EndSessions { only: None, except: None, reason });
        }
        let mut methods = vec!["otp".to_owned()];
        if matches!(way, Way::Phone(_)) {
            methods.push("sms".to_owned());
        }
        let how = How { methods, level: 1, impersonator: None };
        match self.begin_session(project, &id, steps, how).await? {
            Started::Session(session) => Ok(session),
            Started::WrongAnswer => Err(invalid_credentials()),
        }
    }

    /// Whether a challenge of this purpose is open that was sent to this address or number.
    pub(crate) async fn is_sent_to(
        &self,
        project: &ProjectId,
        id: &domain::UserId,
        state: &domain::users::UserState,
        purpose: &str,
        way: Way<'_>,
    ) -> Result<bool, Problem> {
        let Some(open) = state.challenges.get(purpose) else { return Ok(false) };
        let Some(to) = self.detail(project, id, open).await?.to else { return Ok(false) };
        let people = &self.app.people;
        let sent = if matches!(way, Way::Email(_)) { Way::Email(&to) } else { Way::Phone(&to) };
        Ok(people.key(project, sent)? == people.key(project, way)?)
    }
}
