//! Speaks to a running server for the commands that need one: URLs, the key, retries, and a
//! server's refusal as one line. Repeats a request only when that can't do harm.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use crate::cli::Remote;

const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// A server may take this long between two parts of an answer.
const READ_WAIT_MAX: Duration = Duration::from_secs(60);
const TRIES_MAX: u32 = 8;
const BACK_OFF_MIN: Duration = Duration::from_millis(250);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// An answer that isn't ours is shown up to here.
const ALIEN_CHARS_MAX: usize = 200;

/// Asked for at once.
const PAGE: &str = "1000";
const LIMIT: &str = "limit";

/// What may happen to a request that met a busy server or a broken connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// A repeat changes nothing: reads, and writes with an idempotency key.
    Always,
    /// Only when the server says that nothing was written.
    Unwritten,
}

/// A server, and one project of it.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    project: Url,
    authorization: HeaderValue,
}

/// One request, ready to be sent several times.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Below the project.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) headers: &'a [(HeaderName, String)],
    /// With its media type.
    pub(crate) body: Option<(&'static str, Bytes)>,
    pub(crate) retry: Retry,
}

impl<'a> Request<'a> {
    /// Reads what is at `path`.
    pub(crate) fn get(path: &'a [&'a str], query: &'a [(&'a str, &'a str)]) -> Self {
        let (method, retry) = (Method::GET, Retry::Always);
        Self { method, path, query, headers: &[], body: None, retry }
    }
}

/// A server's refusal: RFC 9457, or whatever answered in its place.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) detail: String,
    /// A JSON Pointer into what was sent.
    pub(crate) field: Option<String>,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.status.as_u16())?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        write!(f, ": {}", self.detail)?;
        self.field.as_ref().map_or(Ok(()), |field| write!(f, " (at {field})"))
    }
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    field: Option<String>,
}

/// Codes that promise that nothing was written.
const UNWRITTEN: [&str; 2] = ["busy", "unavailable"];

impl Client {
    /// Does not connect yet.
    pub(crate) fn new(remote: &Remote) -> anyhow::Result<Self> {
        let mut project = base(&remote.server)?;
        let secure = project.scheme() == "https";
        segments(&mut project, &["v1", "projects", &remote.project])?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", remote.key))
            .map_err(|_| anyhow!("--key is not a key"))?;
        authorization.set_sensitive(true);
        Ok(Self { http: http(secure, READ_WAIT_MAX)?, project, authorization })
    }

    /// Sends a request until it is answered or out of tries.
    ///
    /// Errors with a [`Refusal`] inside when the server said no.
    pub(crate) async fn send(&self, request: &Request<'_>) -> anyhow::Result<Response> {
        let mut pause = BACK_OFF_MIN;
        for tries in 1.. {
            let error = match self.prepare(request)?.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let wait = retry_after(&response);
                    let refusal = refusal(response).await;
                    let unwritten = UNWRITTEN.contains(&refusal.code.as_str());
                    let again = refusal.status == StatusCode::SERVICE_UNAVAILABLE
                        && (unwritten || request.retry == Retry::Always);
                    if !again {
                        return Err(refusal.into());
                    }
                    pause = pause.max(wait);
                    refusal.into()
                }
                // Nothing was sent when there was no connection.
                Err(error) if request.retry == Retry::Always || error.is_connect() => {
                    unreachable(error)
                }
                Err(error) => return Err(unreachable(error)),
            };
            if tries == TRIES_MAX {
                return Err(error.context(format!("given up after {TRIES_MAX} tries")));
            }
            tokio::time::sleep(pause.min(BACK_OFF_MAX)).await;
            pause = (2 * pause).min(BACK_OFF_MAX);
        }
        bail!("not sent")
    }

    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        request: &Request<'_>,
    ) -> anyhow::Result<T> {
        let body = self.send(request).await?.bytes().await.context("reading the answer")?;
        serde_json::from_slice(&body).context("an answer that is not Headwater's")
    }

    /// Reads a page: a large one, or what the server thinks right where that is too large for it.
    pub(crate) async fn page<T: serde::de::DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> anyhow::Result<T> {
        let large = [query, &[(LIMIT, PAGE)]].concat();
        match self.json(&Request::get(path, &large)).await {
            Err(error) if is_about_the_limit(&error) => self.json(&Request::get(path, query)).await,
            page => page,
        }
    }

    fn prepare(&self, request: &Request<'_>) -> anyhow::Result<RequestBuilder> {
        let mut url = self.project.clone();
        segments(&mut url, request.path)?;
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        let mut builder = self
            .http
            .request(request.method.clone(), url)
            .header(AUTHORIZATION, self.authorization.clone());
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        if let Some((kind, body)) = &request.body {
            builder = builder.header(reqwest::header::CONTENT_TYPE, *kind).body(body.clone());
        }
        Ok(builder)
    }
}

/// Asks whether a server is ready; errors with why not.
pub(crate) async fn ready(server: &str, wait_max: Duration) -> anyhow::Result<()> {
    let mut url = base(server)?;
    segments(&mut url, &["readyz"])?;
    let http = http(url.scheme() == "https", wait_max)?;
    let response = http.get(url).timeout(wait_max).send().await.map_err(unreachable)?;
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    let shown: String = body.trim().chars().take(ALIEN_CHARS_MAX).collect();
    ensure!(status.is_success(), "not ready: {} {shown}", status.as_u16());
    Ok(())
}

fn http(secure: bool, read_wait_max: Duration) -> anyhow::Result<reqwest::Client> {
    // An error means that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_WAIT_MAX)
        .read_timeout(read_wait_max);
    // The system's certificates are many, and a container may have none: read only when needed.
    let builder = if secure { builder } else { builder.tls_certs_only([]) };
    builder.build().context("starting the HTTP client")
}

fn base(server: &str) -> anyhow::Result<Url> {
    let url = Url::parse(server).with_context(|| format!("--server {server:?} is not a URL"))?;
    let known = matches!(url.scheme(), "http" | "https") && url.has_host();
    ensure!(known, "--server {server:?} must start with http:// or https://");
    Ok(url)
}

fn segments(url: &mut Url, path: &[&str]) -> anyhow::Result<()> {
    let mut segments = url.path_segments_mut().map_err(|()| anyhow!("a URL without a path"))?;
    segments.pop_if_empty().extend(path);
    Ok(())
}

/// A failed request in plain words: the innermost cause says it all.
fn unreachable(error: reqwest::Error) -> anyhow::Error {
    let server = error.url().map_or_else(String::new, |url| url.origin().ascii_serialization());
    if error.is_timeout() {
        return anyhow!("no answer from {server} in time");
    }
    let error = anyhow::Error::new(error.without_url());
    anyhow!("can't reach {server}: {}", error.root_cause())
}

fn is_about_the_limit(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref::<Refusal>();
    refusal.is_some_and(|refusal| refusal.field.as_deref() == Some(LIMIT))
}

fn retry_after(response: &Response) -> Duration {
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Duration::from_secs(header.and_then(|text| text.parse().ok()).unwrap_or(0))
}

async fn refusal(response: Response) -> Refusal {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    match serde_json::from_str::<Problem>(&body) {
        Ok(Problem { code, detail, field }) => Refusal { status, code, detail, field },
        Err(_) => {
            let detail = body.trim().chars().take(ALIEN_CHARS_MAX).collect();
            Refusal { status, code: String::new(), detail, field: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{base, segments};

    #[test]
    fn paths_are_below_the_server_and_escaped() {
        let url = |server: &str| {
            let mut url = base(server).unwrap();
            segments(&mut url, &["v1", "projects", "a/b c"]).unwrap();
            url.to_string()
        };
        assert_eq!(url("http://h:1"), "http://h:1/v1/projects/a%2Fb%20c");
        assert_eq!(url("https://h/below/"), "https://h/below/v1/projects/a%2Fb%20c");
        for bad in ["", "h:1", "ftp://h", "http://"] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }
}
