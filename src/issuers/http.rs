//! Asks issuers over HTTP, within limits: where a request may go, how long it may take, how much
//! may come back. An address is checked where the connection is made, so that a name can't be
//! checked as one address and asked at another.

use std::error::Error as StdError;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{RequestBuilder, Url, redirect};

use crate::{Error, Options, address};

/// How large a body may be, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How often a request may be sent on within its host.
const REDIRECTS_MAX: usize = 3;
const URL_BYTES_MAX: usize = 2048;

/// An HTTP client that keeps to the limits.
pub(crate) struct Http {
    client: reqwest::Client,
    allow_private: bool,
}

/// What came back.
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The media type, in lower case and without parameters; empty when there is none.
    pub(crate) media_type: String,
    /// How long it may be kept, if that is said (RFC 9111 section 5.2.2).
    pub(crate) fresh: Option<Duration>,
    /// The body, at most [`BODY_BYTES_MAX`].
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Whether it is a 2xx.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Http {
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .user_agent("headwater")
            .timeout(options.wait_max)
            .connect_timeout(options.wait_max)
            .redirect(redirect::Policy::custom(within_origin))
            // A proxy would look names up itself, past the check of addresses.
            .no_proxy()
            .referer(false)
            .pool_max_idle_per_host(2)
            .dns_resolver(Arc::new(Lookup { allow_private: options.allow_private }))
            .build()
            .map_err(|error| Error::Configuration(format!("no HTTP client: {error}")))?;
        Ok(Self { client, allow_private: options.allow_private })
    }

    /// An address that may be asked: `https`, or `http` on loopback where private addresses are
    /// allowed. What a name leads to is checked later.
    ///
    /// Errors: [`Error::Configuration`].
    pub(crate) fn address(&self, text: &str) -> Result<Url, Error> {
        let refused = |why: &str| Err(Error::Configuration(format!("{}: {why}", shown(text))));
        if text.len() > URL_BYTES_MAX {
            return refused("the address is too long");
        }
        let Ok(url) = Url::parse(text) else { return refused("not an absolute URL") };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return refused("neither a user nor a fragment may be in the address");
        }
        let literal = literal(&url);
        match url.scheme() {
            "https" => {}
            "http" if self.allow_private && is_loopback(&url, literal) => {}
            _ => return refused("the address must be https"),
        }
        match literal {
            Some(address) if !may_ask(address, self.allow_private) => {
                refused("the address is not on the public internet")
            }
            _ => Ok(url),
        }
    }

    /// Gets an address, with an access token if there is one.
    pub(crate) async fn get(&self, url: &str, token: Option<&str>) -> Result<Answer, Error> {
        let url = self.address(url)?;
        let mut request = self.client.get(url.clone()).header(ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        ask(request, &url).await
    }

    /// Posts a form, with an `Authorization` header if there is one.
    pub(crate) async fn post(
        &self,
        url: &str,
        authorization: Option<&str>,
        form: String,
    ) -> Result<Answer, Error> {
        let url = self.address(url)?;
        let mut request = self
            .client
            .post(url.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        ask(request, &url).await
    }
}

/// An address as messages show it: without a query, which may hold a secret.
fn shown(text: &str) -> String {
    let bare = text.split(['?', '#']).next().unwrap_or_default();
    let bare = match (bare.split_once("://"), bare.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => bare.to_owned(),
    };
    crate::error::clean(&bare, 200)
}

fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(url: &Url, literal: Option<IpAddr>) -> bool {
    match literal {
        Some(address) => address.is_loopback(),
        None => url.host_str() == Some("localhost"),
    }
}

fn may_ask(address: IpAddr, allow_private: bool) -> bool {
    if allow_private { !address::is_link_local(address) } else { address::is_public(address) }
}

/// Follows a redirect only to where the request went anyway: what it carries is meant for nobody
/// else.
fn within_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let same =
        attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
    if same && attempt.previous().len() <= REDIRECTS_MAX {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

async fn ask(request: RequestBuilder, url: &Url) -> Result<Answer, Error> {
    let mut response = request.send().await.map_err(|error| unreachable(url, &error))?;
    let status = response.status();
    if status.is_redirection() {
        return Err(unreachable_because(url, "it redirects to another host, or too often"));
    }
    let too_large = || unreachable_because(url, "the answer is too large");
    if response.content_length().is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let media_type = media_type(response.headers());
    let fresh = fresh(response.headers());
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| unreachable(url, &error))? {
        if body.len() + part.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        body.extend_from_slice(&part);
    }
    Ok(Answer { status: status.as_u16(), media_type, fresh, body })
}

/// Names the address without its query, and why it did not work in a few words.
fn unreachable(url: &Url, error: &reqwest::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(inner) = cause {
        if inner.is::<NotPublic>() {
            let shown = shown(url.as_str());
            return Error::Configuration(format!("{shown}: {NotPublic}"));
        }
        cause = inner.source();
    }
    let why = match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "no connection",
        _ => "the answer broke off or is not HTTP",
    };
    unreachable_because(url, why)
}

pub(crate) fn unreachable_because(url: &Url, why: &str) -> Error {
    Error::Unreachable(format!("{}: {why}", shown(url.as_str())))
}

/// The same for an address that is still text.
pub(crate) fn not_understood(url: &str, why: &str) -> Error {
    Error::Unreachable(format!("{}: {why}", shown(url)))
}

fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `max-age` less `Age`; zero when the answer must not be kept; nothing when nothing is said.
fn fresh(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let age = headers.get(AGE).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut seconds = None;
    for part in text.split(',').map(str::trim) {
        match part.split_once('=') {
            None if part == "no-store" || part == "no-cache" => return Some(Duration::ZERO),
            Some(("max-age", value)) => seconds = value.trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    Some(Duration::from_secs(seconds?.saturating_sub(age.unwrap_or(0))))
}

/// A name leads nowhere that may be asked.
#[derive(Debug, thiserror::Error)]
#[error("the name does not lead to the public internet")]
struct NotPublic;

/// Looks names up, and leaves out addresses that must not be asked.
struct Lookup {
    allow_private: bool,
}

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut any = false;
            let allowed: Vec<SocketAddr> = found
                .inspect(|_| any = true)
                .filter(|address| may_ask(address.ip(), allow_private))
                .collect();
            if any && allowed.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn http(allow_private: bool) -> Http {
        testing::install_tls();
        Http::new(Options { allow_private, ..Options::default() }).unwrap()
    }

    #[test]
    fn only_https_may_be_asked_and_nothing_within() {
        let closed = http(false);
        assert!(closed.address("https://issuer.example/path?query=1").is_ok());
        let refused = [
            "http://issuer.example",
            "http://localhost:80",
            "http://127.0.0.1",
            "ftp://a.example",
            "https://127.0.0.1",
            "https://[::1]/",
            "https://10.0.0.1",
            "https://169.254.169.254/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://user@issuer.example",
            "https://issuer.example/#part",
            "issuer.example",
            "",
        ];
        for text in refused {
            assert!(matches!(closed.address(text), Err(Error::Configuration(_))), "{text}");
        }
    }

    #[test]
    fn with_private_addresses_only_loopback_goes_without_tls() {
        let open = http(true);
        for text in
            ["http://127.0.0.1:8080", "http://localhost", "http://[::1]/", "https://10.1.1.1"]
        {
            assert!(open.address(text).is_ok(), "{text}");
        }
        for text in ["http://10.0.0.1", "http://issuer.example", "https://169.254.169.254"] {
            assert!(open.address(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_within_is_refused_where_it_is_looked_up() {
        let error = http(false).get("https://localhost:1/", None).await.err().unwrap();
        assert!(matches!(&error, Error::Configuration(text) if text.contains("public")), "{error}");
    }

    #[test]
    fn messages_show_neither_query_nor_user() {
        assert_eq!(shown("https://me:secret@host/path?code=1#x"), "https://host/path");
        assert_eq!(shown("https://host/path"), "https://host/path");
    }

    #[test]
    fn how_long_an_answer_is_fresh() {
        let of = |text: &str, age: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, text.parse().unwrap());
            headers.insert(AGE, age.parse().unwrap());
            fresh(&headers).map(|time| time.as_secs())
        };
        assert_eq!(of("public, max-age=3600, must-revalidate", "600"), Some(3000));
        assert_eq!(of("Max-Age=60", "600"), Some(0));
        assert_eq!(of("no-store", "0"), Some(0));
        assert_eq!(of("public", "0"), None);
        assert_eq!(of("max-age=-5", "0"), None);
        assert_eq!(fresh(&HeaderMap::new()), None);
    }
}
