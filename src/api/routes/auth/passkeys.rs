//! Passkeys (WebAuthn Level 3): making one, signing in by one, and looking at those that there are.
//! A ceremony's state travels in a ticket. That none is taken twice is kept with the user: an open
//! challenge for a new passkey, and the spent ceremonies of each passkey beside its credential, so
//! that it holds on every node.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use auth::limits::Class;
use domain::sign_in::Config;
use domain::users::{IdentityKey, Passkey, Step, User, UserState};
use domain::{ProjectId, Timestamp, UserId};
use passkeys::{
    CHALLENGE_SECONDS, Credential, RegistrationState, RelyingParty, SignInState, UserVerification,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::identities::check_ways_in;
use super::own::{Look, Own, unless_changed};
use super::visit::{disabled, invalid_credentials};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{How, PasskeyBody, Profile, SessionBody, UserBody, Way, field, now};

/// What is asked of a user who makes a passkey.
const REGISTER: &str = "passkey-register";
/// Wrong answers that it takes.
const REGISTER_TRIES: u8 = 3;
/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;
/// A passkey's name, where its user gives it none.
const NAME: &str = "Passkey";
/// Sign-ins by one passkey within the life of a challenge.
const SPENT_MAX: usize = 64;
/// A browser's answer, and the ticket beside it, as JSON.
const BODY_BYTES_MAX: usize = passkeys::RESPONSE_BYTES_MAX + (8 << 10);

/// Nothing is needed.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begin {}

/// A ceremony that has begun.
#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct Begun {
    /// To be given back with the browser's answer, within five minutes.
    ticket: String,
    /// For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`.
    #[schema(value_type = Object)]
    options: Value,
}

/// A browser's answer.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Created {
    /// What the ceremony began with.
    #[schema(max_length = 4096)]
    ticket: String,
    /// `toJSON()` of what the browser made.
    #[schema(value_type = Object)]
    response: Map<String, Value>,
    /// For the user, to tell its passkeys apart.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
}

/// A browser's answer.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asserted {
    /// What the ceremony began with.
    #[schema(max_length = 4096)]
    ticket: String,
    /// `toJSON()` of what the browser got.
    #[schema(value_type = Object)]
    response: Map<String, Value>,
}

/// A passkey's new name.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasskeyPatch {
    /// For the user, to tell its passkeys apart.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

/// A user's passkeys.
#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct PasskeyList {
    /// In the order of their ids.
    passkeys: Vec<PasskeyBody>,
}

/// Making a passkey, as its user carries it.
#[derive(Serialize, Deserialize)]
struct Registering {
    user: UserId,
    secret: String,
    state: RegistrationState,
}

/// Signing in by a passkey, as whoever it is carries it.
#[derive(Serialize, Deserialize)]
struct SigningIn {
    id: String,
    state: SignInState,
}

/// What is kept of a passkey, sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    credential: Credential,
    #[serde(default)]
    spent: Vec<Spent>,
}

/// A ceremony that has shown who its user is, and must not again.
#[derive(Serialize, Deserialize)]
struct Spent {
    id: String,
    until: Timestamp,
}

/// Begins to make a passkey for the user who asks.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/passkeys/register/begin",
    operation_id = "beginRegisterPasskey", tag = "auth",
    request_body(content = Begin),
    responses((status = 200, description = "What to ask the browser.", body = Begun)),
)]
pub(crate) async fn begin_register(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Begin {} = body::parse(&body)?;
    let visit = call.visit().await?;
    let (people, project, id) = (&call.app.people, &visit.project, &own.id);
    let rp = relying_party(&visit.directory.config)?;
    // Who adds a way in can come back for ever, and by this one past a second factor.
    let look = call.look(&own).await?;
    look.may_add_a_way()?;
    call.limit_name(Class::SignInPerIdentity, project, &own.limit_name(REGISTER))?;
    let state = look.state;
    let profile = people.profile(project, id, &state.user).await?;
    let mut exclude = Vec::with_capacity(state.user.passkeys.len());
    for passkey in state.user.passkeys.values() {
        exclude.extend(call.kept(project, id, passkey).await?.map(|kept| kept.credential.id));
    }
    let (name, display_name) = names(&profile, id);
    let user =
        passkeys::User { handle: id.as_str().as_bytes(), name: &name, display_name: &display_name };
    let verification = UserVerification::Preferred;
    let begun = passkeys::begin_registration(&rp, &user, &exclude, verification, now());
    let (options, state) = begun.map_err(not_begun)?;
    let secret = auth::code::link();
    let limits = (CHALLENGE_SECONDS, REGISTER_TRIES);
    let issue = call.issue((project, id), REGISTER, &secret, limits, None);
    call.change_user(project, own.actor(), id, vec![issue]).await?;
    let registering = Registering { user: id.clone(), secret, state };
    let ticket = call.sealed(&register_purpose(project), &registering, CHALLENGE_SECONDS.into())?;
    answer::json(StatusCode::OK, &Begun { ticket, options: json(&options)? })
}

/// Ends making a passkey.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/passkeys/register/finish",
    operation_id = "finishRegisterPasskey", tag = "auth",
    request_body(content = Created),
    responses((status = 201, description = "The new passkey.", body = PasskeyBody)),
)]
pub(crate) async fn finish_register(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body_of(JSON, BODY_BYTES_MAX).await?;
    let Created { ticket, response, name } = body::parse(&body)?;
    let name = checked_name(name.unwrap_or_else(|| NAME.to_owned()))?;
    let visit = call.visit().await?;
    let (people, project, id) = (&call.app.people, &visit.project, &own.id);
    let rp = relying_party(&visit.directory.config)?;
    let Registering { user, secret, state: ceremony } =
        call.unsealed(&register_purpose(project), &ticket)?;
    if user != *id {
        return Err(Problem::new(Code::Forbidden, "another user began this"));
    }
    let spend = call.answer_step((project, id), REGISTER, &secret);
    let made = passkeys::finish_registration(&rp, &ceremony, &bytes(&response)?, now());
    let credential = match made {
        Ok(credential) => credential,
        Err(error) => {
            // Its challenge is good for one answer, whatever that was.
            call.change_user(project, own.actor(), id, vec![spend]).await?;
            return Err(Problem::body("/response", error.to_string()));
        }
    };
    let key = people.key(project, Way::Passkey(&credential.id.to_string()))?;
    let kept = Kept { credential, spent: Vec::new() };
    let credential = people.seal(project, id, field::PASSKEY, &kept).await?;
    let name = people.seal(project, id, field::LABEL, &name).await?;
    let passkey = Passkey { name, credential, added_at: now(), used_at: None };
    call.change_passkeys(&own, &[spend], |look| {
        look.second_factor()?;
        let state = &look.state;
        if state.user.passkeys.contains_key(&key) {
            return Err(Problem::new(Code::IdentityTaken, "this passkey is here already"));
        }
        let mut user = Box::new(state.user.clone());
        user.passkeys.insert(key.clone(), passkey.clone());
        // Who has a way back in is somebody.
        user.anonymous = false;
        Ok(user)
    })
    .await?;
    let body = call.passkey(project, id, &key).await?;
    answer::json(StatusCode::CREATED, &body)
}

/// Begins a sign-in by passkey; whose, the browser will say.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/passkeys/sign-in/begin",
    operation_id = "beginSignInByPasskey", tag = "auth",
    request_body(content = Begin),
    responses((status = 200, description = "What to ask the browser.", body = Begun)),
)]
pub(crate) async fn begin_sign_in(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Begin {} = body::parse(&body)?;
    let rp = relying_party(&visit.directory.config)?;
    let verification = UserVerification::Preferred;
    let begun = passkeys::begin_sign_in(&rp, &[], verification, now());
    let (options, state) = begun.map_err(not_begun)?;
    let signing_in = SigningIn { id: auth::code::link(), state };
    let purpose = sign_in_purpose(&visit.project);
    let ticket = call.sealed(&purpose, &signing_in, CHALLENGE_SECONDS.into())?;
    answer::json(StatusCode::OK, &Begun { ticket, options: json(&options)? })
}

/// Signs somebody in by passkey.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/passkeys/sign-in/finish",
    operation_id = "finishSignInByPasskey", tag = "auth",
    request_body(content = Asserted),
    responses((status = 200, description = "A session.", body = SessionBody)),
)]
pub(crate) async fn finish_sign_in(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let body = call.body_of(JSON, BODY_BYTES_MAX).await?;
    let Asserted { ticket, response } = body::parse(&body)?;
    call.limit_address(Class::SignInPerAddress)?;
    let (people, project) = (&call.app.people, &visit.project);
    let rp = relying_party(&visit.directory.config)?;
    let ceremony: SigningIn = call.unsealed(&sign_in_purpose(project), &ticket)?;
    let response = bytes(&response)?;
    let claimed = passkeys::user_handle(&response)
        .map_err(|error| Problem::body("/response", error.to_string()))?;
    let handle = claimed.user_handle.unwrap_or_default();
    let id = std::str::from_utf8(&handle).ok().and_then(|text| UserId::new(text).ok());
    let id = id.ok_or_else(invalid_credentials)?;
    let key = people.key(project, Way::Passkey(&claimed.credential_id.to_string()))?;
    call.limit_name(Class::SignInPerIdentity, project, &key)?;
    let session = unless_changed(async || {
        let (state, mut passkey, mut kept) = call.passkey_of(project, &id, &key).await?;
        let shown =
            passkeys::finish_sign_in(&rp, &ceremony.state, &kept.credential, &response, now());
        let shown = shown.map_err(|error| {
            tracing::debug!(project.id = %project, %error, "a passkey shows nothing");
            invalid_credentials()
        })?;
        kept.spend(&ceremony, now())?;
        kept.credential.sign_count = shown.sign_count;
        kept.credential.backup_state = shown.backed_up;
        passkey.credential = people.seal(project, &id, field::PASSKEY, &kept).await?;
        passkey.used_at = Some(now());
        let mut user = Box::new(state.user);
        user.passkeys.insert(key.clone(), passkey);
        let update = Step::Update { expected: Some(state.version), user };
        call.started(project, &id, vec![update], how(shown.user_verified)).await
    })
    .await?;
    answer::json(StatusCode::OK, &session)
}

/// Lists the user's passkeys.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/passkeys", operation_id = "listPasskeys",
    tag = "auth",
    responses((status = 200, description = "The passkeys.", body = PasskeyList)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let passkeys = call.passkeys(own.project(), &own.id).await?;
    answer::json(StatusCode::OK, &PasskeyList { passkeys })
}

/// Gets one of the user's passkeys.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/passkeys/{passkey}", operation_id = "getPasskey",
    tag = "auth",
    responses((status = 200, description = "The passkey.", body = PasskeyBody)),
)]
pub(crate) async fn get(call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.passkey(own.project(), &own.id, &call.passkey_key()).await?;
    answer::json(StatusCode::OK, &body)
}

/// Names one of the user's passkeys.
#[utoipa::path(
    patch, path = "/v1/projects/{project}/auth/passkeys/{passkey}",
    operation_id = "patchPasskey", tag = "auth",
    request_body(content = PasskeyPatch),
    responses((status = 200, description = "The passkey, renamed.", body = PasskeyBody)),
)]
pub(crate) async fn patch(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let PasskeyPatch { name } = body::parse(&body)?;
    let name = checked_name(name)?;
    let name = call.app.people.seal(own.project(), &own.id, field::LABEL, &name).await?;
    let key = call.passkey_key();
    call.change_passkeys(&own, &[], |look| {
        let mut user = Box::new(look.state.user.clone());
        user.passkeys.get_mut(&key).ok_or_else(no_passkey)?.name.clone_from(&name);
        Ok(user)
    })
    .await?;
    let body = call.passkey(own.project(), &own.id, &key).await?;
    answer::json(StatusCode::OK, &body)
}

/// Takes one of the user's passkeys away, unless it is the last way in.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/auth/passkeys/{passkey}",
    operation_id = "deletePasskey", tag = "auth",
    responses((status = 204, description = "There is no such passkey any more.")),
)]
pub(crate) async fn delete(call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let visit = call.visit().await?;
    let key = call.passkey_key();
    call.change_passkeys(&own, &[], |look| {
        look.second_factor()?;
        let mut user = Box::new(look.state.user.clone());
        user.passkeys.remove(&key).ok_or_else(no_passkey)?;
        check_ways_in(&user, &visit.directory.config)?;
        Ok(user)
    })
    .await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

impl Kept {
    /// Notes that a ceremony has shown who its user is.
    ///
    /// Errors: `invalid-credentials` when it has before, `too-many-requests`.
    fn spend(&mut self, ceremony: &SigningIn, now: Timestamp) -> Result<(), Problem> {
        self.spent.retain(|one| one.until > now);
        if self.spent.iter().any(|one| one.id == ceremony.id) {
            return Err(invalid_credentials());
        }
        if self.spent.len() >= SPENT_MAX {
            return Err(Problem::too_many_requests(CHALLENGE_SECONDS.into()));
        }
        self.spent.push(Spent { id: ceremony.id.clone(), until: ceremony.state.expires_at() });
        Ok(())
    }
}

/// A passkey is something one has; with a PIN or a finger, two factors at once (RFC 8176).
fn how(is_verified: bool) -> How {
    let methods: &[&str] = if is_verified { &["hwk", "user", "mfa"] } else { &["hwk"] };
    let methods = methods.iter().map(|name| (*name).to_owned()).collect();
    How { methods, level: if is_verified { 2 } else { 1 }, impersonator: None }
}

/// What authenticators show for a user: what tells its accounts apart, and what it is called.
fn names(profile: &Profile, id: &UserId) -> (String, String) {
    let cut = |text: &str| {
        let end = text.floor_char_boundary(passkeys::USER_NAME_BYTES_MAX);
        text[..end].to_owned()
    };
    let Profile { email, phone, name, .. } = profile;
    let known = [email, phone, name].into_iter().flatten().find(|text| !text.is_empty());
    let shown = cut(known.map_or(id.as_str(), String::as_str));
    let display = name.as_deref().map_or_else(|| shown.clone(), cut);
    (shown, display)
}

fn relying_party(config: &Config) -> Result<RelyingParty<'_>, Problem> {
    if !config.passkeys.enabled {
        return Err(disabled("passkey"));
    }
    RelyingParty::new(&config.passkeys).map_err(|error| {
        Problem::new(Code::Unavailable, "passkeys are not set up right").because(error)
    })
}

fn not_begun(error: passkeys::Error) -> Problem {
    match error {
        passkeys::Error::InvalidUser => {
            Problem::new(Code::Forbidden, "a passkey has no room for an id as long as this user's")
        }
        error => Problem::new(Code::Internal, "no ceremony").because(error),
    }
}

fn checked_name(name: String) -> Result<String, Problem> {
    match name.chars().count() {
        1..=NAME_CHARS_MAX => Ok(name),
        count => {
            let detail = format!("expected 1 to {NAME_CHARS_MAX} characters, has {count}");
            Err(Problem::body("/name", detail))
        }
    }
}

fn no_passkey() -> Problem {
    Problem::new(Code::NotFound, "there is no such passkey").field("passkey")
}

fn json(value: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(value)
        .map_err(|error| Problem::new(Code::Internal, "no ceremony").because(error))
}

fn bytes(response: &Map<String, Value>) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(response)
        .map_err(|error| Problem::new(Code::Internal, "no answer").because(error))
}

fn register_purpose(project: &ProjectId) -> String {
    format!("{REGISTER}/{project}")
}

fn sign_in_purpose(project: &ProjectId) -> String {
    format!("passkey-sign-in/{project}")
}

impl Call {
    fn passkey_key(&self) -> IdentityKey {
        format!("passkey:{}", self.way_in())
    }

    async fn kept(
        &self,
        project: &ProjectId,
        id: &UserId,
        passkey: &Passkey,
    ) -> Result<Option<Kept>, Problem> {
        self.app.people.open(project, id, field::PASSKEY, &passkey.credential).await
    }

    /// A user's passkey for a sign-in.
    ///
    /// Errors with `invalid-credentials`, whatever of it is not there.
    async fn passkey_of(
        &self,
        project: &ProjectId,
        id: &UserId,
        key: &IdentityKey,
    ) -> Result<(UserState, Passkey, Kept), Problem> {
        let engine = &self.app.engine;
        let mut state = engine.user(project, id).await?;
        let has = |state: &UserState| state.user.passkeys.contains_key(key);
        if !state.as_ref().is_some_and(has) && engine.is_shared() {
            // It may have been made on another node a moment ago.
            engine.refresh(project).await?;
            state = engine.user(project, id).await?;
        }
        let state = state.ok_or_else(invalid_credentials)?;
        let passkey = state.user.passkeys.get(key).cloned().ok_or_else(invalid_credentials)?;
        let kept = self.kept(project, id, &passkey).await?.ok_or_else(invalid_credentials)?;
        Ok((state, passkey, kept))
    }

    /// Changes a user's passkeys, after some other steps.
    async fn change_passkeys(
        &self,
        own: &Own,
        first: &[Step],
        change: impl Fn(&Look) -> Result<Box<User>, Problem>,
    ) -> Result<(), Problem> {
        let written = unless_changed(async || {
            let look = self.look(own).await?;
            let (expected, user) = (Some(look.state.version), change(&look)?);
            let steps = [first, &[Step::Update { expected, user }]].concat();
            self.change_user(own.project(), own.actor(), &own.id, steps).await
        })
        .await?;
        let mut kinds = written.events.iter().map(|one| one.event.kind.as_str());
        match kinds.any(|kind| kind == "challenge.failed") {
            true => Err(invalid_credentials()),
            false => Ok(()),
        }
    }

    async fn passkeys(
        &self,
        project: &ProjectId,
        id: &UserId,
    ) -> Result<Vec<PasskeyBody>, Problem> {
        let state = self.user_state(project, id).await?;
        let user: UserBody = self.app.people.show(project, id, &state).await?;
        Ok(user.passkeys)
    }

    async fn passkey(
        &self,
        project: &ProjectId,
        id: &UserId,
        key: &IdentityKey,
    ) -> Result<PasskeyBody, Problem> {
        let all = self.passkeys(project, id).await?;
        let name = key.trim_start_matches("passkey:");
        all.into_iter().find(|one| one.id == name).ok_or_else(no_passkey)
    }
}
