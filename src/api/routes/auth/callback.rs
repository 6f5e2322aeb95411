//! Signing in through another issuer, the way back. Only the browser that began comes through; it
//! goes on to the app with a code that is worth nothing without the app's own secret.

use std::str;

use auth::limits::Class;
use domain::sign_in::Config;
use issuers::oauth::{CALLBACK_BYTES_MAX, Callback};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::authorize::{Attempt, redirect, redirect_uri};
use super::visit::Visit;
use crate::answer::Answer;
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::federated::{METHOD, Vouched};
use crate::people::now;

const FORM: &[&str] = &["application/x-www-form-urlencoded"];
/// What the app is told by.
const OWN: [&str; 4] = ["code", "linkCode", "error", "error_description"];

/// What an issuer sends back.
#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct CallbackForm {
    /// What this server gets to know the person for.
    code: Option<String>,
    /// Which attempt it is about.
    state: Option<String>,
    /// The issuer (RFC 9207).
    iss: Option<String>,
    /// Why there is no code (RFC 6749, section 4.1.2.1).
    error: Option<String>,
    /// The same for people.
    error_description: Option<String>,
    /// Apple's: the person's name, the first time only.
    user: Option<String>,
}

/// What the app gets.
enum Gift {
    /// A code that gives a session.
    SignIn(String),
    /// A code that gives the user who is signed in another way in.
    Link(String),
}

/// Takes a browser back from another issuer, and sends it on to the app: with `code`, to be
/// exchanged for a session, with `linkCode`, or with `error` and `error_description`.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/callback", operation_id = "comeBack", tag = "auth",
    params(
        ("code" = Option<String>, Query, description = "What the issuer knows the person by."),
        ("state" = Option<String>, Query, description = "Which attempt it is about."),
        ("iss" = Option<String>, Query, description = "The issuer (RFC 9207)."),
        ("error" = Option<String>, Query, description = "Why there is no code."),
        ("error_description" = Option<String>, Query, description = "The same for people."),
    ),
    responses((status = 302, description = "To the app.")),
)]
pub(crate) async fn get(call: Call) -> Answer {
    let query = call.request.query_string().to_owned();
    call.come_back(&query).await
}

/// As `GET`, from an issuer that has the browser post a form.
#[utoipa::path(
    post, path = "/v1/projects/{project}/auth/callback", operation_id = "comeBackByForm",
    tag = "auth",
    request_body(content = CallbackForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 302, description = "To the app.")),
)]
pub(crate) async fn post(mut call: Call) -> Answer {
    let body = call.body_of(FORM, CALLBACK_BYTES_MAX).await?;
    let form = str::from_utf8(&body).map_err(|_| Problem::body("", "not a form"))?;
    call.come_back(form).await
}

impl Call {
    async fn come_back(&self, form: &str) -> Answer {
        let visit = self.visit().await?;
        self.limit_address(Class::SignInPerAddress)?;
        let callback =
            Callback::read(form).map_err(|error| Problem::parameter("state", error.to_string()))?;
        let attempt = self.attempt(&visit.project, callback.state())?;
        let Config { redirect_urls, site_url, .. } = &visit.directory.config;
        // Checked again: it may be listed no more.
        let app = auth::redirect::checked(&attempt.redirect_to, redirect_urls, site_url.as_deref());
        let mut app = app.ok_or_else(|| {
            Problem::parameter("redirectTo", "this project does not list it any more")
        })?;
        let told = match self.gift(&visit, &attempt, &callback).await {
            Ok(Gift::SignIn(code)) => vec![("code", code)],
            Ok(Gift::Link(code)) => vec![("linkCode", code)],
            Err(problem) => refusal(&problem),
        };
        // What the redirect URL said beforehand must not be taken for it.
        if app.query_pairs().any(|(name, _)| OWN.contains(&name.as_ref())) {
            app.set_query(None);
        }
        app.query_pairs_mut().extend_pairs(told);
        redirect(app.as_str(), &self.no_attempt())
    }

    async fn gift(
        &self,
        visit: &Visit,
        attempt: &Attempt,
        callback: &Callback,
    ) -> Result<Gift, Problem> {
        let provider = self.provider(visit, &attempt.provider)?;
        let redirect_uri = redirect_uri(visit);
        let asked = issuers::oauth::Attempt {
            redirect_uri: &redirect_uri,
            state: &attempt.state,
            nonce: &attempt.nonce,
            verifier: &attempt.verifier,
        };
        let person = self.app.people.issuers.exchange(provider, &asked, callback, now()).await;
        let person = person.map_err(Problem::of_issuer)?;
        let vouched = Vouched::new(&attempt.provider, provider, person);
        let challenge = &attempt.code_challenge;
        if let Some(link) = &attempt.link {
            return Ok(Gift::Link(self.link_code(visit, link, vouched, challenge)?));
        }
        let finish = async |user: &domain::UserId, steps| {
            let methods = vec![METHOD.to_owned()];
            self.sign_in_code(&visit.project, user, steps, Some(challenge), methods, 1).await
        };
        let (code, _) = self.sign_in_vouched(visit, &vouched, finish).await?;
        Ok(Gift::SignIn(code))
    }
}

/// What the app is told instead (RFC 6749, section 4.1.2.1), in the API's own codes.
fn refusal(problem: &Problem) -> Vec<(&'static str, String)> {
    let code = problem.code().entry().name;
    if problem.status() >= 500 {
        let error = problem.log_text();
        tracing::warn!(error.code = code, error, "a sign-in failed on its way back");
    }
    vec![("error", code.to_owned()), ("error_description", problem.detail().to_owned())]
}

impl Problem {
    /// What another issuer did not do, or what of it is not to be believed.
    pub(crate) fn of_issuer(error: issuers::Error) -> Self {
        use issuers::Error;
        match error {
            // What is wrong is for those who set it up.
            Error::Configuration(_) => {
                Self::new(Code::Unavailable, "this provider is not set up right").because(error)
            }
            Error::Unreachable(_) => {
                Self::new(Code::Unavailable, "the provider can't be reached").because(error)
            }
            // Its own words, cleaned: also when the person declined.
            Error::Refused(reason) => {
                Self::new(Code::InvalidCredentials, format!("the provider refused: {reason}"))
            }
            Error::InvalidToken(_) | Error::Expired | Error::NotYetValid => {
                Self::new(Code::InvalidCredentials, error.to_string())
            }
        }
    }
}
