//! The links in mail. Opening one changes nothing, for programs that look at mail open links, too:
//! it shows a page with a button. The button's form, or an app, uses the link up.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use auth::limits::Class;
use domain::users::{Ended, IdentityKey, Step, UserState};
use domain::{Actor, UserId};
use messages::Kind;
use serde::{Deserialize, Serialize};
use url::{Origin, Url};
use utoipa::ToSchema;

use super::challenges::{Detail, purpose};
use super::confirm_page::{self, FIXED, Form, Language};
use super::exchange::check_verifier;
use super::own::unless_changed;
use super::recipients::{claim, verify};
use super::visit::{Visit, invalid_credentials};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{How, SessionBody, Started, Way};

/// How a link shows who somebody is; RFC 8176 has no name for it.
const METHOD: &str = "link";
/// The most bytes of a form.
const FORM_BYTES_MAX: usize = 16 << 10;
const FORM: &str = "application/x-www-form-urlencoded";
/// What a link's secret has of characters.
const SECRET_BYTES: usize = 43;

/// A link's token, from an app that was opened by it.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Confirmation {
    /// `token` of the link.
    #[schema(max_length = 512)]
    token: String,
    /// What the code challenge at the start was made of, where there was one (RFC 7636, S256).
    #[serde(default)]
    #[schema(max_length = 128)]
    code_verifier: Option<String>,
}

/// The page's form.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfirmationForm {
    /// `token` of the link.
    #[schema(max_length = 512)]
    token: String,
    /// Where to go on: one of the project's redirect URLs.
    redirect_to: Option<String>,
    /// The new password, where the link is for one.
    password: Option<String>,
}

/// An address was verified.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verified {
    /// Always true.
    pub(crate) verified: bool,
}

/// What came of a link: a session where it signs in, otherwise a verified address.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Confirmed {
    /// A session.
    Session(Box<SessionBody>),
    /// An address was verified.
    Verified(Verified),
}

/// A link's token, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// What it is for.
    pub(crate) purpose: &'static str,
    /// Whose it is.
    pub(crate) user: UserId,
    /// What shows it.
    pub(crate) secret: String,
}

impl Link {
    /// Errors with `invalid-credentials` for what is no such token.
    pub(crate) fn parse(token: &str) -> Result<Self, Problem> {
        let known = [
            purpose::VERIFY_EMAIL,
            purpose::MAGIC_LINK,
            purpose::INVITE,
            purpose::RESET_PASSWORD,
            purpose::CHANGE_EMAIL,
        ];
        let mut parts = token.splitn(3, '~');
        let mut part = || parts.next().ok_or_else(invalid_credentials);
        let (purpose, user, secret) = (part()?, part()?, part()?);
        let purpose = known.into_iter().find(|known| *known == purpose);
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if secret.len() != SECRET_BYTES || !secret.bytes().all(is_plain) {
            return Err(invalid_credentials());
        }
        Ok(Self {
            purpose: purpose.ok_or_else(invalid_credentials)?,
            user: UserId::new(user).map_err(|_| invalid_credentials())?,
            secret: secret.to_owned(),
        })
    }

    /// Whether it signs its user in.
    fn signs_in(&self) -> bool {
        matches!(self.purpose, purpose::MAGIC_LINK | purpose::INVITE)
    }
}

/// A link that is good, and its user.
pub(crate) struct Found {
    /// The user.
    pub(crate) state: UserState,
    /// What the link is about.
    pub(crate) detail: Detail,
}

/// Shows the page behind a link in a mail; changes nothing.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/confirm", operation_id = "showConfirmation",
    tag = "auth",
    params(
        ("token" = Option<String>, Query, description = "The link's token."),
        ("redirectTo" = Option<String>, Query,
            description = "Where to go on: one of the project's redirect URLs."),
    ),
    responses((status = 200, description = "A page with a button.", body = String,
        content_type = "text/html")),
)]
pub(crate) async fn show(call: Call) -> Answer {
    let visit = call.visit().await?;
    let language = Language::of(call.headers());
    let shown = call.shown(&visit, language).await;
    Ok(shown.unwrap_or_else(|problem| failed(language, &problem)))
}

/// Uses a link up: from its page, which goes on to the app or says that it is done, or from an app
/// that was opened by the link.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/confirm", operation_id = "confirm", tag = "auth",
    request_body(content(
        (Confirmation = "application/json"),
        (ConfirmationForm = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "A session, or a verified address; a page for a browser.",
            body = Confirmed),
        (status = 303, description = "A browser goes on to the app, with `code` in the query \
            where it was signed in."),
    ),
)]
pub(crate) async fn confirm(mut call: Call) -> Answer {
    let visit = call.visit().await?;
    let media_type = call.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = media_type.is_some_and(|text| {
        text.split(';').next().is_some_and(|text| text.trim().eq_ignore_ascii_case(FORM))
    });
    if is_form {
        let language = Language::of(call.headers());
        let submitted = call.submitted(&visit, language).await;
        return Ok(submitted.unwrap_or_else(|problem| failed(language, &problem)));
    }
    call.query(&[])?;
    let body = call.body(&[JSON[0], FORM]).await?;
    let Confirmation { token, code_verifier } = body::parse(&body)?;
    call.limit_address(Class::SignInPerAddress)?;
    let link = Link::parse(&token)?;
    let confirmed =
        unless_changed(async || call.follow(&visit, &link, code_verifier.as_deref()).await);
    answer::json(StatusCode::OK, &confirmed.await?)
}

/// Errors with `invalid-body` for a URL that the project does not send people to.
pub(crate) fn check_redirect(visit: &Visit, wanted: Option<&str>) -> Result<(), Problem> {
    let config = &visit.directory.config;
    let is_allowed =
        |url: &str| auth::redirect::allowed(url, &config.redirect_urls, config.site_url.as_deref());
    match wanted.is_none_or(is_allowed) {
        true => Ok(()),
        false => Err(Problem::body("/redirectTo", "not one of the project's redirect URLs")),
    }
}

/// Where a browser goes on: what was wanted, or else the project's site, as far as the project
/// sends people there.
pub(crate) fn target(visit: &Visit, wanted: Option<&str>) -> Option<Url> {
    let config = &visit.directory.config;
    let site = config.site_url.as_deref();
    let checked = |url| auth::redirect::checked(url, &config.redirect_urls, site);
    wanted.and_then(checked).or_else(|| site.and_then(checked))
}

/// A URL as a source of a content security policy.
fn source(url: &Url) -> String {
    match url.origin() {
        origin @ Origin::Tuple(..) => origin.ascii_serialization(),
        Origin::Opaque(_) => format!("{}:", url.scheme()),
    }
}

fn failed(language: Language, problem: &Problem) -> HttpResponse {
    let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::BAD_REQUEST);
    if status.is_server_error() {
        tracing::warn!(error = problem.log_text(), "a link could not be followed");
    }
    confirm_page::failed(language, status)
}

fn go_on(url: &Url) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::SEE_OTHER);
    let headers = response.headers_mut();
    headers.insert(LOCATION, answer::text(url.as_str()));
    for (name, value) in &FIXED {
        headers.insert(name.clone(), HeaderValue::from_static(value));
    }
    response
}

impl Call {
    async fn shown(&self, visit: &Visit, language: Language) -> Result<HttpResponse, Problem> {
        self.limit_address(Class::SignInPerAddress)?;
        let query = self.query(&["token", "redirectTo", "type"])?;
        let (token, redirect_to) = (query.get("token"), query.get("redirectTo"));
        check_redirect(visit, redirect_to)?;
        let token = token.ok_or_else(invalid_credentials)?;
        let link = Link::parse(token)?;
        let found = self.found(visit, &link).await?;
        let wanted = redirect_to.or(found.detail.redirect_to.as_deref());
        let target = target(visit, wanted).map(|url| source(&url));
        let form = Form {
            purpose: link.purpose,
            project: &visit.live.state.name,
            token,
            redirect_to,
            wrong: None,
            target: target.as_deref(),
        };
        Ok(confirm_page::ask(language, StatusCode::OK, &form))
    }

    async fn submitted(
        &mut self,
        visit: &Visit,
        language: Language,
    ) -> Result<HttpResponse, Problem> {
        let body = self.body_of(&[FORM], FORM_BYTES_MAX).await?;
        let mut form = ConfirmationForm::default();
        for (name, value) in form_urlencoded::parse(&body) {
            match &*name {
                "token" => form.token = value.into_owned(),
                "redirectTo" => form.redirect_to = Some(value.into_owned()),
                "password" => form.password = Some(value.into_owned()),
                _ => {}
            }
        }
        self.limit_address(Class::SignInPerAddress)?;
        check_redirect(visit, form.redirect_to.as_deref())?;
        let link = Link::parse(&form.token)?;
        let found = self.found(visit, &link).await?;
        let wanted = form.redirect_to.as_deref().or(found.detail.redirect_to.as_deref());
        let mut target = target(visit, wanted);
        if link.purpose == purpose::RESET_PASSWORD {
            let password = form.password.as_deref().unwrap_or_default();
            match self.reset_password(visit, &link, password).await {
                Err(problem) if problem.code() == Code::WeakPassword => {
                    let wrong = problem.detail().to_owned();
                    let target = target.as_ref().map(source);
                    let form = Form {
                        purpose: link.purpose,
                        project: &visit.live.state.name,
                        token: &form.token,
                        redirect_to: form.redirect_to.as_deref(),
                        wrong: Some(&wrong),
                        target: target.as_deref(),
                    };
                    return Ok(confirm_page::ask(language, StatusCode::OK, &form));
                }
                outcome => outcome?,
            }
        } else {
            let code =
                unless_changed(async || self.follow_by_form(visit, &link, target.is_some()).await);
            if let (Some(code), Some(target)) = (code.await?, &mut target) {
                target.query_pairs_mut().append_pair("code", &code);
            }
        }
        Ok(target.as_ref().map_or_else(|| confirm_page::done(language), go_on))
    }

    /// A link that is good, and its user; also when it was made on another node a moment ago.
    ///
    /// Errors with `invalid-credentials` otherwise.
    pub(crate) async fn found(&self, visit: &Visit, link: &Link) -> Result<Found, Problem> {
        let Link { purpose, user, secret } = link;
        let found = self.answered_anywhere(&visit.project, user, purpose, secret).await?;
        let (state, detail) = found.ok_or_else(invalid_credentials)?;
        Ok(Found { state, detail })
    }

    /// The way in that a link was sent to.
    ///
    /// Errors with `invalid-credentials` when it is the user's no more.
    pub(crate) async fn sent_to(
        &self,
        visit: &Visit,
        link: &Link,
        found: &Found,
    ) -> Result<IdentityKey, Problem> {
        let people = &self.app.people;
        let to = match &found.detail.to {
            Some(to) => Some(to.clone()),
            None => people.profile(&visit.project, &link.user, &found.state.user).await?.email,
        };
        let key = to.map(|to| people.key(&visit.project, Way::Email(&to))).transpose()?;
        key.filter(|key| found.state.user.identities.contains_key(key))
            .ok_or_else(invalid_credentials)
    }

    /// The steps that use a link up.
    async fn link_steps(
        &self,
        visit: &Visit,
        link: &Link,
        found: &Found,
    ) -> Result<Vec<Step>, Problem> {
        let whom = (&visit.project, &link.user);
        let mut steps = vec![self.answer_step(whom, link.purpose, &link.secret)];
        let mut user = Box::new(found.state.user.clone());
        let mut is_claimed = false;
        match link.purpose {
            purpose::CHANGE_EMAIL => self.take_email(visit, &link.user, found, &mut user).await?,
            purpose::MAGIC_LINK => {
                is_claimed = claim(&mut user, &self.sent_to(visit, link, found).await?);
            }
            _ => verify(&mut user, &self.sent_to(visit, link, found).await?),
        }
        if *user != found.state.user {
            steps.push(Step::Update { expected: Some(found.state.version), user });
        }
        if is_claimed {
            let reason = Ended::CredentialChanged;
            steps.push(Step::EndSessions { only: None, except: None, reason });
        }
        Ok(steps)
    }

    /// Uses a link up that an app was opened by.
    async fn follow(
        &self,
        visit: &Visit,
        link: &Link,
        code_verifier: Option<&str>,
    ) -> Result<Confirmed, Problem> {
        if link.purpose == purpose::RESET_PASSWORD {
            // It takes a password; this is not the place.
            return Err(invalid_credentials());
        }
        let found = self.found(visit, link).await?;
        let steps = self.link_steps(visit, link, &found).await?;
        if !link.signs_in() {
            self.take(visit, link, &found, steps).await?;
            return Ok(Confirmed::Verified(Verified { verified: true }));
        }
        check_verifier(found.detail.code_challenge.as_deref(), code_verifier)?;
        let how = How::by(METHOD);
        match self.begin_session(&visit.project, &link.user, steps, how).await? {
            Started::Session(session) => Ok(Confirmed::Session(session)),
            Started::WrongAnswer => Err(invalid_credentials()),
        }
    }

    /// Uses a link up for a browser; a sign-in code where there is an app to go on to with one.
    async fn follow_by_form(
        &self,
        visit: &Visit,
        link: &Link,
        has_target: bool,
    ) -> Result<Option<String>, Problem> {
        let found = self.found(visit, link).await?;
        let steps = self.link_steps(visit, link, &found).await?;
        if !(link.signs_in() && has_target) {
            self.take(visit, link, &found, steps).await?;
            return Ok(None);
        }
        if found.state.user.disabled {
            return Err(invalid_credentials());
        }
        let challenge = found.detail.code_challenge.as_deref();
        let methods = vec![METHOD.to_owned()];
        let code =
            self.sign_in_code(&visit.project, &link.user, steps, challenge, methods, 1).await?;
        Ok(Some(code))
    }

    async fn take(
        &self,
        visit: &Visit,
        link: &Link,
        found: &Found,
        steps: Vec<Step>,
    ) -> Result<(), Problem> {
        let actor = Actor::User { id: link.user.clone(), by: None };
        let written = self.change_user(&visit.project, actor, &link.user, steps).await?;
        if written.events.iter().any(|one| one.event.kind.as_str() == "challenge.failed") {
            return Err(invalid_credentials());
        }
        if link.purpose == purpose::CHANGE_EMAIL {
            // To the address that it was.
            self.notify_unless_busy(visit, &link.user, &found.state, Kind::EmailChanged).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_reading() {
        let secret = "a".repeat(43);
        let link = Link::parse(&format!("verify-email~u.1~{secret}")).unwrap();
        assert_eq!((link.purpose, link.user.as_str()), (purpose::VERIFY_EMAIL, "u.1"));
        for bad in [
            String::new(),
            "verify-email".to_owned(),
            format!("verify-email~u~{secret}~"),
            format!("verify-email~u~{secret}a"),
            format!("verify-email~~{secret}"),
            format!("sign-in-code~u~{secret}"),
            format!("email-code~u~{secret}"),
            format!("verify-email~u~{}\"", &secret[1..]),
        ] {
            assert!(Link::parse(&bad).is_err(), "{bad}");
        }
    }
}
