//! Second factors: one-time passwords by time, and codes for those who lost what makes them. A
//! session that has shown one is of level 2.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use auth::limits::Class;
use auth::{recovery, totp};
use domain::users::{Factor, Step, User};
use domain::{ProjectId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::own::{Look, Own, unless_changed};
use super::visit::{disabled, invalid_credentials};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{field, now};

/// The longest name of a factor, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A factor to be.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewFactor {
    /// For the user, to tell it from others.
    #[serde(default)]
    #[schema(max_length = 64)]
    name: Option<String>,
}

/// A factor that waits for its first one-time password.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FactorSecret {
    /// Names it.
    id: String,
    /// What the authenticator app makes passwords of (base 32). Never shown again.
    secret: String,
    /// The same for a QR code: `otpauth://…`.
    uri: String,
}

/// A one-time password.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FactorCode {
    /// What the authenticator app shows.
    #[schema(max_length = 64)]
    code: String,
}

/// What shows a second factor: `code` or `recoveryCode`.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Shown {
    /// What the authenticator app shows.
    #[serde(default)]
    #[schema(max_length = 64)]
    code: Option<String>,
    /// One of the recovery codes; it is used up.
    #[serde(default)]
    #[schema(max_length = 64)]
    recovery_code: Option<String>,
}

/// Asks for new recovery codes.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewCodes {
    /// What the authenticator app shows, where the session has not shown it yet.
    #[serde(default)]
    #[schema(max_length = 64)]
    code: Option<String>,
}

/// A session that has shown a second factor.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Raised {
    /// Takes the place of the access token that asked.
    access_token: String,
    /// How long it is good, in seconds.
    expires_in: u32,
    /// `aal2`.
    level: String,
    /// Codes for whoever loses the factor, each good once; only with the first factor, and never
    /// shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    recovery_codes: Option<Vec<String>>,
}

/// Codes for whoever loses its second factor.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecoveryCodes {
    /// Each good once. Never shown again.
    recovery_codes: Vec<String>,
}

/// Makes a second factor, which counts once its first one-time password was shown.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/factors", operation_id = "createFactor",
    tag = "auth",
    request_body(content = NewFactor),
    responses((status = 201, description = "The factor's secret, to be scanned.",
        body = FactorSecret)),
)]
pub(crate) async fn create(mut call: Call) -> Answer {
    let own = call.own().await?;
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let NewFactor { name } = body::parse(&body)?;
    let name = name.unwrap_or_default();
    if name.len() > NAME_BYTES_MAX {
        return Err(Problem::body("/name", format!("at most {NAME_BYTES_MAX} bytes")));
    }
    if !visit.directory.config.totp {
        return Err(disabled("one-time passwords"));
    }
    let (project, people) = (own.project(), &call.app.people);
    let (id, secret) = (Uuid::now_v7().to_string(), totp::Secret::generate());
    let sealed = people.seal(project, &own.id, field::FACTOR, &secret.text()).await?;
    let name = people.seal(project, &own.id, field::LABEL, &name).await?;
    let factor = Factor { name, secret: sealed, confirmed: false, last_step: 0, added_at: now() };
    let made = unless_changed(async || {
        let look = call.look(&own).await?;
        look.second_factor()?;
        look.recent()?;
        let mut user = Box::new(look.state.user.clone());
        // One that was begun before and never shown is begun anew.
        user.factors.retain(|_, known| known.confirmed);
        user.factors.insert(id.clone(), factor.clone());
        let update = Step::Update { expected: Some(look.state.version), user };
        call.change_user(project, own.actor(), &own.id, vec![update]).await?;
        Ok(look)
    });
    let look = made.await?;
    let profile = people.profile(project, &own.id, &look.state.user).await?;
    let account = profile.email.or(profile.phone).or(profile.name);
    let account = account.as_deref().unwrap_or(own.id.as_str());
    let uri = secret.uri(&visit.live.state.name, account);
    answer::json(StatusCode::CREATED, &FactorSecret { id, secret: secret.text(), uri })
}

/// Confirms a second factor by its first one-time password. The session is of level 2 then.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/factors/{factor}/confirm",
    operation_id = "confirmFactor", tag = "auth",
    request_body(content = FactorCode),
    responses((status = 200, description = "The factor counts; with recovery codes if it is the \
        first.", body = Raised)),
)]
pub(crate) async fn confirm(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let FactorCode { code } = body::parse(&body)?;
    let factor = call.way_in().into_owned();
    call.check_factor_try(&own)?;
    let codes = unless_changed(async || call.confirm_factor(&own, &factor, &code).await).await;
    let codes = call.note_factor_try(&own, codes)?;
    call.raised(&own, codes).await
}

/// Shows a second factor. The session is of level 2 then.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/factors/verify", operation_id = "verifyFactor",
    tag = "auth",
    request_body(content = Shown),
    responses((status = 200, description = "An access token of level 2.", body = Raised)),
)]
pub(crate) async fn verify(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    match body::parse(&body)? {
        Shown { code: Some(code), recovery_code: None } => call.show_factor(&own, &code).await?,
        Shown { code: None, recovery_code: Some(code) } => {
            call.check_factor_try(&own)?;
            let used = unless_changed(async || call.use_recovery(&own, &code).await).await;
            call.note_factor_try(&own, used)?;
        }
        _ => return Err(Problem::body("", "either code or recoveryCode")),
    }
    call.raised(&own, None).await
}

/// Takes a second factor away. With the last one the recovery codes go, too.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/auth/factors/{factor}", operation_id = "deleteFactor",
    tag = "auth",
    responses((status = 204, description = "The factor is gone.")),
)]
pub(crate) async fn delete(call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let id = call.way_in().into_owned();
    let deleted = unless_changed(async || {
        let look = call.look(&own).await?;
        let mut user = Box::new(look.state.user.clone());
        let gone = user.factors.remove(&id).ok_or_else(not_found)?;
        if gone.confirmed {
            look.second_factor()?;
        }
        if !user.factors.values().any(|factor| factor.confirmed) {
            user.recovery_codes.clear();
        }
        let update = Step::Update { expected: Some(look.state.version), user };
        call.change_user(own.project(), own.actor(), &own.id, vec![update]).await
    });
    deleted.await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// Makes new recovery codes; those of before are good no more.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/recovery-codes",
    operation_id = "createRecoveryCodes", tag = "auth",
    request_body(content = NewCodes),
    responses((status = 201, description = "The codes.", body = RecoveryCodes)),
)]
pub(crate) async fn recovery_codes(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let NewCodes { code } = body::parse(&body)?;
    if let Some(code) = code {
        call.show_factor(&own, &code).await?;
    }
    let made = unless_changed(async || {
        let look = call.look(&own).await?;
        if !look.has_factor() {
            return Err(not_found());
        }
        look.second_factor()?;
        let mut user = Box::new(look.state.user.clone());
        let recovery_codes = call.new_recovery_codes(own.project(), &own.id, &mut user);
        let update = Step::Update { expected: Some(look.state.version), user };
        call.change_user(own.project(), own.actor(), &own.id, vec![update]).await?;
        Ok(RecoveryCodes { recovery_codes })
    });
    answer::json(StatusCode::CREATED, &made.await?)
}

fn not_found() -> Problem {
    Problem::new(Code::FactorNotFound, "there is no such second factor")
}

impl Call {
    /// Shows one of the user's factors: the session is of level 2 from here on.
    ///
    /// Errors: `invalid-credentials`, `too-many-requests`.
    pub(crate) async fn show_factor(&self, own: &Own, code: &str) -> Result<(), Problem> {
        self.check_factor_try(own)?;
        let shown = unless_changed(async || self.use_code(own, code).await).await;
        self.note_factor_try(own, shown)
    }

    fn check_factor_try(&self, own: &Own) -> Result<(), Problem> {
        let name = own.limit_name("mfa");
        self.limit_name(Class::SignInPerIdentity, own.project(), &name)?;
        self.check_lockout(own.project(), &name)
    }

    fn note_factor_try<T>(&self, own: &Own, tried: Result<T, Problem>) -> Result<T, Problem> {
        let name = own.limit_name("mfa");
        match &tried {
            Ok(_) => self.note_try(own.project(), &name, true),
            Err(problem) if problem.code() == Code::InvalidCredentials => {
                self.note_try(own.project(), &name, false);
            }
            Err(_) => {}
        }
        tried
    }

    /// The step of a code of this factor, if it is one that was not used before.
    async fn step_of(
        &self,
        own: &Own,
        factor: &Factor,
        code: &str,
    ) -> Result<Option<u64>, Problem> {
        let people = &self.app.people;
        let text: Option<String> =
            people.open(own.project(), &own.id, field::FACTOR, &factor.secret).await?;
        let unfit = |error| Problem::new(Code::Internal, "a stored secret is unfit").because(error);
        let secret = text.map(|text| totp::Secret::parse(&text)).transpose().map_err(unfit)?;
        Ok(secret.and_then(|secret| totp::check(&secret, code, now(), Some(factor.last_step))))
    }

    /// Takes a user's new state and lifts its session to level 2, both or neither.
    async fn raise(
        &self,
        own: &Own,
        (version, user): (u64, Box<User>),
        method: &str,
    ) -> Result<(), Problem> {
        let (id, method) = (own.session_id.clone(), method.to_owned());
        let steps = vec![
            // Not when somebody was faster: the code may be used up by now.
            Step::Update { expected: Some(version), user },
            Step::Confirm { id, level: 2, method },
        ];
        self.change_user(own.project(), own.actor(), &own.id, steps).await.map(|_| ())
    }

    async fn use_code(&self, own: &Own, code: &str) -> Result<(), Problem> {
        let Look { state, .. } = self.look(own).await?;
        let mut user = Box::new(state.user.clone());
        let mut is_good = false;
        for factor in user.factors.values_mut().filter(|factor| factor.confirmed) {
            if let Some(step) = self.step_of(own, factor, code).await? {
                factor.last_step = step;
                is_good = true;
                break;
            }
        }
        match is_good {
            true => self.raise(own, (state.version, user), "otp").await,
            false => Err(invalid_credentials()),
        }
    }

    async fn confirm_factor(
        &self,
        own: &Own,
        id: &str,
        code: &str,
    ) -> Result<Option<Vec<String>>, Problem> {
        let look = self.look(own).await?;
        look.second_factor()?;
        let mut user = Box::new(look.state.user.clone());
        let waiting = user.factors.get_mut(id).filter(|factor| !factor.confirmed);
        let factor = waiting.ok_or_else(not_found)?;
        let step = self.step_of(own, factor, code).await?.ok_or_else(invalid_credentials)?;
        factor.confirmed = true;
        factor.last_step = step;
        let codes = (!look.has_factor())
            .then(|| self.new_recovery_codes(own.project(), &own.id, &mut user));
        self.raise(own, (look.state.version, user), "otp").await?;
        Ok(codes)
    }

    async fn use_recovery(&self, own: &Own, code: &str) -> Result<(), Problem> {
        let Look { state, .. } = self.look(own).await?;
        let key = self.recovery_key(own.project());
        let stored: Vec<&String> = state.user.recovery_codes.iter().collect();
        let found = recovery::find(key.as_bytes(), &own.id, code, &stored);
        let used = found.and_then(|place| stored.get(place)).ok_or_else(invalid_credentials)?;
        let mut user = Box::new(state.user.clone());
        user.recovery_codes.remove(*used);
        self.raise(own, (state.version, user), "recovery").await
    }

    fn recovery_key(&self, project: &ProjectId) -> String {
        self.app.people.index(project, "challenge", "recovery")
    }

    fn new_recovery_codes(&self, project: &ProjectId, id: &UserId, user: &mut User) -> Vec<String> {
        let key = self.recovery_key(project);
        let codes = recovery::generate();
        let hash = |code: &String| recovery::hash(key.as_bytes(), id, code);
        user.recovery_codes = codes.iter().map(hash).collect();
        codes
    }

    async fn raised(&self, own: &Own, recovery_codes: Option<Vec<String>>) -> Answer {
        let (access_token, expires_in, level) =
            self.next_access_token(own.project(), &own.id, &own.session_id).await?;
        let raised = Raised { access_token, expires_in, level, recovery_codes };
        answer::json(StatusCode::OK, &raised)
    }
}
