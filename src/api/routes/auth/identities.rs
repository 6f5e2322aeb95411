//! A user's ways in: which there are, adding those of other issuers, and taking one away. Nobody
//! gets one added but by being signed in when it begins and when it ends: the browser that comes
//! back from an issuer may be somebody else's whom a link was sent to.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use auth::limits::Class;
use domain::sign_in::{Config, Preset};
use domain::users::{Step, User, UserState};
use domain::{ProjectId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::authorize::{Link, in_seconds, redirect_to};
use super::exchange::{check_challenge, check_verifier};
use super::id_token::IdTokenBody;
use super::own::{Own, unless_changed};
use super::visit::{Visit, invalid_credentials};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::federated::{Known, Vouched};
use crate::people::{UserBody, Way, field, now};

/// How long a link to an issuer is good, in seconds.
const LINK_SECONDS: i64 = 600;
/// How long what comes of it is good, in seconds.
const LINK_CODE_SECONDS: i64 = 300;

/// One way in.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IdentityInfo {
    /// Names it, to take it away.
    id: String,
    /// `email`, `phone` or `oidc`.
    kind: String,
    /// The provider's name in the project's configuration.
    provider: Option<String>,
    /// The mail address: the user's own, or the one that the issuer names.
    email: Option<String>,
    /// The phone number.
    phone: Option<String>,
    /// What the issuer calls the user.
    subject: Option<String>,
    /// Whether the user has shown that it is its own.
    verified: bool,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    added_at: Timestamp,
}

/// A user's ways in.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Identities {
    /// All but passwords and passkeys.
    identities: Vec<IdentityInfo>,
}

/// Which provider to add, and where to go on.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LinkBody {
    /// Its name in the project's configuration.
    provider: String,
    /// Where to go on; the project's site when absent.
    #[serde(default)]
    #[schema(max_length = 2048)]
    redirect_to: Option<String>,
    /// SHA-256 of the app's code verifier, as base64url (RFC 7636).
    #[schema(max_length = 43)]
    code_challenge: String,
}

/// Where to send the browser.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct LinkUrl {
    /// Good for ten minutes.
    url: String,
}

/// What the browser came back with.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LinkCodeBody {
    /// `linkCode` of the URL that the browser came back to.
    #[schema(max_length = 4096)]
    link_code: String,
    /// What the code challenge was made of.
    #[schema(max_length = 128)]
    code_verifier: String,
}

/// How people may sign in.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Providers {
    /// By e-mail and password.
    password: bool,
    /// By a link in a mail.
    magic_link: bool,
    /// By a code in a mail.
    email_code: bool,
    /// By a code in an SMS.
    phone_code: bool,
    /// Without saying who one is.
    anonymous: bool,
    /// By passkey.
    passkeys: bool,
    /// Whether somebody new may sign up.
    sign_up: bool,
    /// Through these issuers.
    providers: Vec<ProviderInfo>,
}

/// An issuer that people sign in through.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct ProviderInfo {
    /// Its name in the project's configuration.
    name: String,
    /// `google`, `apple`, `github`, `microsoft` or `oidc`.
    kind: String,
}

/// What comes of an issuer's word for a user who was signed in.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linking {
    link: Link,
    vouched: Vouched,
    code_challenge: String,
}

/// What a sign-in page may show.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/providers", operation_id = "listProviders",
    tag = "auth",
    responses((status = 200, description = "How people may sign in.", body = Providers)),
)]
pub(crate) async fn providers(call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let config = &visit.directory.config;
    let info = |(name, provider): (&String, &domain::sign_in::Provider)| ProviderInfo {
        name: name.clone(),
        kind: kind(provider.kind).to_owned(),
    };
    let body = Providers {
        password: config.password.enabled,
        magic_link: config.magic_link,
        email_code: config.email_code,
        phone_code: config.phone_code,
        anonymous: config.anonymous,
        passkeys: config.passkeys.enabled,
        sign_up: config.sign_up,
        providers: config.providers.iter().map(info).collect(),
    };
    answer::json(StatusCode::OK, &body)
}

fn kind(preset: Preset) -> &'static str {
    match preset {
        Preset::Google => "google",
        Preset::Apple => "apple",
        Preset::Github => "github",
        Preset::Microsoft => "microsoft",
        Preset::Oidc => "oidc",
    }
}

/// Lists the user's ways in.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/identities", operation_id = "listIdentities",
    tag = "auth",
    responses((status = 200, description = "The ways in.", body = Identities)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let (people, project) = (&call.app.people, own.project());
    let state = call.look(&own).await?.state;
    let profile = people.profile(project, &own.id, &state.user).await?;
    let mut identities = Vec::with_capacity(state.user.identities.len());
    for (key, identity) in &state.user.identities {
        let (kind, id) = key.split_once(':').unwrap_or(("", key));
        let known: Option<Known> = match &identity.detail {
            Some(sealed) if kind == "oidc" => {
                people.open(project, &own.id, field::IDENTITY, sealed).await?
            }
            _ => None,
        };
        let is_key = |way: Way<'_>| people.key(project, way).is_ok_and(|found| found == *key);
        let (email, phone, subject) = match (kind, known) {
            ("email", _) => {
                (profile.email.clone().filter(|email| is_key(Way::Email(email))), None, None)
            }
            ("phone", _) => {
                (None, profile.phone.clone().filter(|phone| is_key(Way::Phone(phone))), None)
            }
            (_, Some(known)) => (known.email, None, Some(known.subject)),
            (_, None) => (None, None, None),
        };
        identities.push(IdentityInfo {
            id: id.to_owned(),
            kind: kind.to_owned(),
            provider: identity.provider.clone(),
            email,
            phone,
            subject,
            verified: identity.verified,
            added_at: identity.added_at,
        });
    }
    answer::json(StatusCode::OK, &Identities { identities })
}

/// Begins to add another issuer as a way in: gives the URL to send the browser to. It comes back
/// with `linkCode`.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/identities/link", operation_id = "linkIdentity",
    tag = "auth",
    request_body(content = LinkBody),
    responses((status = 200, description = "Where to send the browser.", body = LinkUrl)),
)]
pub(crate) async fn link(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let LinkBody { provider, redirect_to: asked, code_challenge } = body::parse(&body)?;
    // Who adds a way in can come back for ever.
    let look = call.look(&own).await?;
    look.may_add_a_way()?;
    let visit = call.visit().await?;
    call.provider(&visit, &provider)?;
    check_challenge(Some(&code_challenge))?;
    let redirect_to = redirect_to(&visit.directory.config, asked.as_deref())
        .map_err(|detail| Problem::body("/redirectTo", detail))?;
    let link = Link { user: own.id, session: own.session_id };
    let ticket = call.sealed(&link_purpose(&visit.project), &link, LINK_SECONDS)?;
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("provider", &provider)
        .append_pair("redirectTo", &redirect_to)
        .append_pair("codeChallenge", &code_challenge)
        .append_pair("codeChallengeMethod", "S256")
        .append_pair("linkTicket", &ticket)
        .finish();
    let url = format!("{}/authorize?{query}", visit.directory.issuer);
    answer::json(StatusCode::OK, &LinkUrl { url })
}

/// Ends what `link` began: the user who began gets the way in that the browser came back with.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/identities/link/finish",
    operation_id = "finishLinkIdentity", tag = "auth",
    request_body(content = LinkCodeBody),
    responses((status = 200, description = "The user.", body = UserBody)),
)]
pub(crate) async fn finish_link(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let LinkCodeBody { link_code, code_verifier } = body::parse(&body)?;
    let look = call.look(&own).await?;
    look.second_factor()?;
    let visit = call.visit().await?;
    let purpose = linked_purpose(&visit.project);
    let Linking { link, vouched, code_challenge } = call.unsealed(&purpose, &link_code)?;
    check_verifier(Some(&code_challenge), Some(&code_verifier))?;
    if (&link.user, &link.session) != (&own.id, &own.session_id) {
        return Err(Problem::new(Code::Forbidden, "another user, or another session, began this"));
    }
    let state = call.link_vouched(&visit, own.actor(), &own.id, &vouched).await?;
    call.answer_user(&own, &state).await
}

/// Adds another issuer as a way in, by its id token.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/identities/link-id-token",
    operation_id = "linkIdToken", tag = "auth",
    request_body(content = IdTokenBody),
    responses((status = 200, description = "The user.", body = UserBody)),
)]
pub(crate) async fn link_id_token(mut call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let body: IdTokenBody = body::parse(&body)?;
    let look = call.look(&own).await?;
    look.may_add_a_way()?;
    call.limit_address(Class::SignInPerAddress)?;
    let visit = call.visit().await?;
    let vouched = call.vouched_by_token(&visit, &body).await?;
    let state = call.link_vouched(&visit, own.actor(), &own.id, &vouched).await?;
    call.answer_user(&own, &state).await
}

/// Takes a way in away, unless it is the last one.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/auth/identities/{identity}",
    operation_id = "unlinkIdentity", tag = "auth",
    responses((status = 204, description = "There is no such way in any more.")),
)]
pub(crate) async fn unlink(call: Call) -> Answer {
    let own = call.own().await?;
    call.query(&[])?;
    let id = call.way_in();
    let visit = call.visit().await?;
    unless_changed(async || {
        let look = call.look(&own).await?;
        look.second_factor()?;
        let user = call.without(&visit, &own, &look.state, &id).await?;
        let update = Step::Update { expected: Some(look.state.version), user: Box::new(user) };
        call.change_user(own.project(), own.actor(), &own.id, vec![update]).await
    })
    .await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// Errors with `last-way-in` when nothing is left that its user could sign in by.
pub(super) fn check_ways_in(user: &User, config: &Config) -> Result<(), Problem> {
    let by_mail = user.password.is_some() && config.password.enabled
        || config.magic_link
        || config.email_code;
    let opens = |(key, identity): (&String, &domain::users::Identity)| match key.split_once(':') {
        Some(("email", _)) => by_mail,
        Some(("phone", _)) => config.phone_code,
        _ => identity.provider.as_ref().is_none_or(|name| config.providers.contains_key(name)),
    };
    let by_passkey = config.passkeys.enabled && !user.passkeys.is_empty();
    match by_passkey || user.identities.iter().any(opens) {
        true => Ok(()),
        false => Err(Problem::new(Code::LastWayIn, "add another way in first")),
    }
}

fn link_purpose(project: &ProjectId) -> String {
    format!("link/{project}")
}

fn linked_purpose(project: &ProjectId) -> String {
    format!("linked/{project}")
}

impl Call {
    async fn answer_user(&self, own: &Own, state: &UserState) -> Answer {
        let body = self.app.people.show(own.project(), &own.id, state).await?;
        answer::json(StatusCode::OK, &body)
    }

    /// A user without one of its ways in, and without the address or number that it was.
    async fn without(
        &self,
        visit: &Visit,
        own: &Own,
        state: &UserState,
        id: &str,
    ) -> Result<User, Problem> {
        let (people, project) = (&self.app.people, own.project());
        let mut user = state.user.clone();
        let is_it = |key: &&String| key.split_once(':').is_some_and(|(_, one)| one == id);
        let key = user.identities.keys().find(is_it).cloned().ok_or_else(|| {
            Problem::new(Code::NotFound, "there is no such way in").field("identity")
        })?;
        user.identities.remove(&key);
        check_ways_in(&user, &visit.directory.config)?;
        if key.starts_with("oidc:") {
            return Ok(user);
        }
        let mut profile = people.profile(project, &own.id, &user).await?;
        let is_key = |way: Way<'_>| people.key(project, way).is_ok_and(|found| found == key);
        profile.email = profile.email.filter(|email| !is_key(Way::Email(email)));
        profile.phone = profile.phone.filter(|phone| !is_key(Way::Phone(phone)));
        user.profile = Some(people.seal(project, &own.id, field::PROFILE, &profile).await?);
        Ok(user)
    }

    /// A ticket.
    pub(super) fn sealed(
        &self,
        purpose: &str,
        value: &impl Serialize,
        seconds: i64,
    ) -> Result<String, Problem> {
        let payload = serde_json::to_vec(value)
            .map_err(|error| Problem::new(Code::Internal, "not to be sealed").because(error))?;
        Ok(self.app.people.server_keys.ticket(purpose, &payload, in_seconds(seconds))?)
    }

    /// What is in a ticket.
    ///
    /// Errors with `invalid-credentials`.
    pub(super) fn unsealed<T: serde::de::DeserializeOwned>(
        &self,
        purpose: &str,
        ticket: &str,
    ) -> Result<T, Problem> {
        let opened = self.app.people.server_keys.open_ticket(purpose, ticket, now());
        let opened = opened.map_err(|_| invalid_credentials())?;
        serde_json::from_slice(&opened).map_err(|_| invalid_credentials())
    }

    /// Who wants another way in.
    pub(super) fn open_link(&self, visit: &Visit, ticket: &str) -> Result<Link, Problem> {
        self.unsealed(&link_purpose(&visit.project), ticket)
    }

    /// What the app ends a link with.
    pub(super) fn link_code(
        &self,
        visit: &Visit,
        link: &Link,
        vouched: Vouched,
        code_challenge: &str,
    ) -> Result<String, Problem> {
        let linking = |vouched| Linking {
            link: link.clone(),
            vouched,
            code_challenge: code_challenge.to_owned(),
        };
        let purpose = linked_purpose(&visit.project);
        let whole = self.sealed(&purpose, &linking(vouched.clone()), LINK_CODE_SECONDS);
        // Long names and addresses of pictures may not fit; they are not needed.
        whole.or_else(|_| self.sealed(&purpose, &linking(vouched.shortened()), LINK_CODE_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use domain::users::{Identity, Passkey};

    use super::*;

    fn user(keys: &[&str], password: bool, passkey: bool) -> User {
        let at = Timestamp::default();
        let identity = |key: &&str| {
            let provider = key.starts_with("oidc").then(|| "google".to_owned());
            ((*key).to_owned(), Identity { verified: true, added_at: at, provider, detail: None })
        };
        let mut user = User { identities: keys.iter().map(identity).collect(), ..User::default() };
        user.password = password.then(|| "sealed".to_owned());
        if passkey {
            let (name, credential) = ("k".to_owned(), String::new());
            let passkey = Passkey { name, credential, added_at: at, used_at: None };
            user.passkeys.insert("passkey:x".to_owned(), passkey);
        }
        user
    }

    #[test]
    fn a_way_in_counts_if_the_project_takes_it() {
        let mut config = Config { magic_link: false, email_code: false, ..Config::default() };
        let is_in = |user: &User, config: &Config| check_ways_in(user, config).is_ok();
        assert!(is_in(&user(&["email:a"], true, false), &config));
        assert!(!is_in(&user(&["email:a"], false, false), &config));
        assert!(!is_in(&user(&[], true, false), &config));
        assert!(!is_in(&user(&["oidc:a"], false, false), &config));
        assert!(!is_in(&user(&["phone:a"], false, true), &config));
        config.providers.insert("google".to_owned(), domain::sign_in::Provider::default());
        config.phone_code = true;
        config.passkeys.enabled = true;
        assert!(is_in(&user(&["oidc:a"], false, false), &config));
        assert!(is_in(&user(&["phone:a"], false, false), &config));
        assert!(is_in(&user(&[], false, true), &config));
        config.magic_link = true;
        assert!(is_in(&user(&["email:a"], false, false), &config));
    }
}
