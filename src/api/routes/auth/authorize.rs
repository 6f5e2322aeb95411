//! Signing in through another issuer, the way there (OAuth 2.0 with PKCE, RFC 9700). What the way
//! back needs is sealed in a cookie of the browser that began, and the issuer gets to see a random
//! state only: whoever comes back must have both.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, COOKIE, HeaderMap, HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use auth::limits::Class;
use domain::sign_in::{Config, Preset};
use domain::{ProjectId, SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::exchange::check_challenge;
use super::visit::Visit;
use crate::answer::{self, Answer};
use crate::call::{Call, Query};
use crate::error::{Code, Problem};
use crate::people::now;

/// How long somebody may take at the issuer, in seconds.
const ATTEMPT_SECONDS: i64 = 600;
/// The most bytes of a cookie's name and value that browsers keep (RFC 6265bis, section 5.6).
const COOKIE_BYTES_MAX: usize = 4096;
/// The most bytes of all scopes.
const SCOPES_BYTES_MAX: usize = 1024;

/// One attempt to sign in, as its browser carries it. Nobody but this server can read it.
#[derive(Serialize, Deserialize)]
pub(super) struct Attempt {
    /// Comes back from the issuer.
    pub(super) state: String,
    /// Comes back in the id token.
    pub(super) nonce: String,
    /// Our own proof towards the issuer (RFC 7636).
    pub(super) verifier: String,
    /// Its name in the project's configuration.
    pub(super) provider: String,
    /// Where to go on.
    pub(super) redirect_to: String,
    /// Of the app that began.
    pub(super) code_challenge: String,
    /// The user who is to get another way in, if that is what it is about.
    pub(super) link: Option<Link>,
}

/// Who wants another way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    /// The user.
    pub(super) user: UserId,
    /// Its session.
    pub(super) session: SessionId,
}

/// Sends the browser to another issuer, to sign in there.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/authorize", operation_id = "authorize", tag = "auth",
    params(
        ("provider" = String, Query, description = "Its name in the project's configuration."),
        ("redirectTo" = Option<String>, Query, max_length = 2048,
            description = "Where to go on; the project's site when absent."),
        ("codeChallenge" = String, Query, pattern = "^[A-Za-z0-9_-]{43}$",
            description = "SHA-256 of the app's code verifier, as base64url (RFC 7636)."),
        ("codeChallengeMethod" = Option<String>, Query, pattern = "^S256$",
            description = "`S256`, the only one."),
        ("scopes" = Option<String>, Query, max_length = 1024,
            description = "What to ask for, with spaces between; the provider's when absent."),
        ("linkTicket" = Option<String>, Query, max_length = 4096,
            description = "Of a user who wants another way in."),
    ),
    responses((status = 302, description = "To the issuer.")),
)]
pub(crate) async fn begin(call: Call) -> Answer {
    let visit = call.visit().await?;
    let query = call.query(&[
        "provider",
        "redirectTo",
        "codeChallenge",
        "codeChallengeMethod",
        "scopes",
        "linkTicket",
    ])?;
    call.limit_address(Class::SignInPerAddress)?;
    let needed = |name| query.get(name).ok_or_else(|| Problem::parameter(name, "missing"));
    let name = needed("provider")?;
    let provider = call.provider(&visit, name)?;
    let attempt = Attempt {
        state: auth::code::link(),
        nonce: auth::code::link(),
        verifier: auth::code::link(),
        provider: name.to_owned(),
        redirect_to: redirect_to(&visit.directory.config, query.get("redirectTo"))
            .map_err(|detail| Problem::parameter("redirectTo", detail))?,
        code_challenge: code_challenge(&query)?,
        link: query.get("linkTicket").map(|ticket| call.open_link(&visit, ticket)).transpose()?,
    };
    let redirect_uri = redirect_uri(&visit);
    let asked = issuers::oauth::Attempt {
        redirect_uri: &redirect_uri,
        state: &attempt.state,
        nonce: &attempt.nonce,
        verifier: &attempt.verifier,
    };
    let scopes = scopes(&query)?;
    let begun = call.app.people.issuers.begin(provider, &asked, &scopes).await;
    let url = begun.map_err(Problem::of_issuer)?;
    let cookie = call.attempt_cookie(&visit.project, &attempt, provider.kind)?;
    redirect(&url, &cookie)
}

/// Where an issuer sends people back to.
pub(super) fn redirect_uri(visit: &Visit) -> String {
    format!("{}/callback", visit.directory.issuer)
}

/// Where to go on after signing in: what was asked for, if the project lists it, or its site.
///
/// Errors with what is wrong.
pub(super) fn redirect_to(config: &Config, asked: Option<&str>) -> Result<String, &'static str> {
    let site = config.site_url.as_deref();
    let asked = asked.or(site).ok_or("say where to go on: this project has no site")?;
    let checked = auth::redirect::checked(asked, &config.redirect_urls, site);
    checked.map(String::from).ok_or("this project does not list it")
}

fn code_challenge(query: &Query) -> Result<String, Problem> {
    let name = "codeChallenge";
    if query.get("codeChallengeMethod").is_some_and(|method| method != "S256") {
        return Err(Problem::parameter("codeChallengeMethod", "expected S256"));
    }
    // Anybody may read where the browser goes on, so a code alone must be worth nothing.
    let challenge = query.get(name).ok_or_else(|| {
        Problem::parameter(name, "needed: SHA-256 of a code verifier as base64url (RFC 7636)")
    })?;
    check_challenge(Some(challenge))
        .map_err(|_| Problem::parameter(name, "expected SHA-256 as base64url: S256"))?;
    Ok(challenge.to_owned())
}

fn scopes(query: &Query) -> Result<Vec<String>, Problem> {
    let Some(text) = query.get("scopes") else { return Ok(Vec::new()) };
    // RFC 6749, section 3.3.
    let is_plain = |b: u8| b == b' ' || b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
    if text.len() > SCOPES_BYTES_MAX || !text.bytes().all(is_plain) {
        return Err(Problem::parameter("scopes", "expected names with spaces between"));
    }
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

/// A redirect that nobody keeps, and that tells the next site nothing of this one.
pub(super) fn redirect(url: &str, cookie: &str) -> Answer {
    let value = |text: &str| {
        HeaderValue::from_str(text)
            .map_err(|error| Problem::new(Code::Internal, "no redirect").because(error))
    };
    let mut response = HttpResponse::new(StatusCode::FOUND);
    let headers = response.headers_mut();
    headers.insert(LOCATION, value(url)?);
    headers.insert(SET_COOKIE, value(cookie)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, answer::text("no-referrer"));
    Ok(response)
}

fn purpose(project: &ProjectId) -> String {
    format!("oauth/{project}")
}

impl Call {
    /// Whether browsers reach this server by TLS. Without, which is for developing on one machine,
    /// they take no cookie that asks for it.
    fn is_secure(&self) -> bool {
        self.app.people.is_https()
    }

    /// The cookie that takes the place of an attempt's.
    pub(super) fn no_attempt(&self) -> String {
        cookie(self.is_secure(), Preset::Oidc, "", 0)
    }

    fn attempt_cookie(
        &self,
        project: &ProjectId,
        attempt: &Attempt,
        kind: Preset,
    ) -> Result<String, Problem> {
        let payload = serde_json::to_vec(attempt)
            .map_err(|error| Problem::new(Code::Internal, "not to be sealed").because(error))?;
        let expires_at = in_seconds(ATTEMPT_SECONDS);
        let ticket = self.app.people.server_keys.ticket(&purpose(project), &payload, expires_at)?;
        if cookie_name(self.is_secure()).len() + ticket.len() > COOKIE_BYTES_MAX {
            return Err(Problem::parameter("redirectTo", "too long to come back to"));
        }
        Ok(cookie(self.is_secure(), kind, &ticket, ATTEMPT_SECONDS))
    }

    /// The attempt that this browser began last, if it is the one that comes back with `state`.
    ///
    /// Errors with `invalid-parameter`.
    pub(super) fn attempt(
        &self,
        project: &ProjectId,
        state: Option<&str>,
    ) -> Result<Attempt, Problem> {
        let wrong = || {
            let detail = "this browser has not begun this attempt to sign in, or too long ago";
            Problem::parameter("state", detail)
        };
        let name = cookie_name(self.is_secure());
        let ticket = cookie_value(self.headers(), name).ok_or_else(wrong)?;
        let opened = self.app.people.server_keys.open_ticket(&purpose(project), ticket, now());
        let opened = opened.map_err(|_| wrong())?;
        let attempt: Attempt = serde_json::from_slice(&opened).map_err(|_| wrong())?;
        // Whoever has the cookie can't read it, and sends back one state only: there is nothing to
        // be learned from how long this takes.
        if state != Some(attempt.state.as_str()) {
            return Err(wrong());
        }
        Ok(attempt)
    }
}

/// So many seconds from now.
pub(super) fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(now().as_micros().saturating_add(seconds * 1_000_000))
}

fn cookie_name(is_secure: bool) -> &'static str {
    // The prefix keeps other hosts of the domain from setting it (RFC 6265bis, section 4.1.3).
    if is_secure { "__Host-hw-oauth" } else { "hw-oauth" }
}

fn cookie(is_secure: bool, kind: Preset, value: &str, seconds: i64) -> String {
    let name = cookie_name(is_secure);
    let flags = match (is_secure, kind) {
        // Apple comes back by a form that its own page posts.
        (true, Preset::Apple) => "Secure; SameSite=None",
        (true, _) => "Secure; SameSite=Lax",
        (false, _) => "SameSite=Lax",
    };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; {flags}")
}

fn cookie_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; xhw-oauth=2; hw-oauth2=3"));
        assert_eq!(cookie_value(&headers, "hw-oauth"), None);
        headers.append(COOKIE, HeaderValue::from_static("b=1;hw-oauth=4"));
        assert_eq!(cookie_value(&headers, "hw-oauth"), Some("4"));
    }

    #[test]
    fn a_cookie_is_the_servers_alone() {
        let lax = "__Host-hw-oauth=t; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax";
        assert_eq!(cookie(true, Preset::Google, "t", 600), lax);
        assert_eq!(cookie(true, Preset::Apple, "t", 600), lax.replace("Lax", "None"));
        let plain = "hw-oauth=t; Path=/; Max-Age=600; HttpOnly; SameSite=Lax";
        assert_eq!(cookie(false, Preset::Apple, "t", 600), plain);
    }

    #[test]
    fn where_to_go_on_is_listed_or_the_site() {
        let mut config = Config {
            redirect_urls: vec!["https://app.example/back".to_owned(), "app:/done".to_owned()],
            ..Config::default()
        };
        assert!(redirect_to(&config, None).is_err());
        config.site_url = Some("https://app.example/".to_owned());
        assert_eq!(redirect_to(&config, None).unwrap(), "https://app.example/");
        assert_eq!(redirect_to(&config, Some("app:/done")).unwrap(), "app:/done");
        for bad in ["https://evil.example/back", "https://app.example.evil/", "//evil.example", ""]
        {
            assert!(redirect_to(&config, Some(bad)).is_err(), "{bad}");
        }
    }
}
