//! One caller of the REST API, and what it was answered.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// The longest that a request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// What clients for plain HTTP begin with. The command line's own client speaks TLS, so the library
/// wants to know a provider here as well.
pub(super) fn plain_http() -> reqwest::ClientBuilder {
    // An error means that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// A caller with a key.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    /// Calls the server at `base` with this key.
    pub fn new(base: &str, token: &str) -> Self {
        Self::limited(base, token, REQUEST_MAX)
    }

    /// Like `new`, with a limit of its own for each request, connecting included.
    pub fn limited(base: &str, token: &str, request_max: Duration) -> Self {
        let http = plain_http().timeout(request_max).build().expect("a client for plain HTTP");
        Self { http, base: base.to_owned(), token: token.to_owned() }
    }

    /// The same caller with another key; an empty one sends none.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The same caller of a server at another place.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// The key.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where the server is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request of any method.
    pub fn request(&self, method: Method, path: &str) -> Request {
        let mut inner = self.http.request(method.clone(), format!("{}{path}", self.base));
        if !self.token.is_empty() {
            inner = inner.bearer_auth(&self.token);
        }
        Request { inner, what: format!("{method} {path}") }
    }

    /// A GET.
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// A PUT with a JSON body.
    pub fn put(&self, path: &str, body: &Value) -> Request {
        self.request(Method::PUT, path).json(body)
    }

    /// A POST with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Request {
        self.request(Method::POST, path).json(body)
    }

    /// A PATCH with a merge patch.
    pub fn patch(&self, path: &str, body: &Value) -> Request {
        self.request(Method::PATCH, path)
            .header("content-type", "application/merge-patch+json")
            .raw(body.to_string())
    }

    /// A DELETE.
    pub fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }
}

/// A request that is not sent yet.
pub struct Request {
    inner: reqwest::RequestBuilder,
    what: String,
}

impl Request {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.inner = self.inner.header(name, value.as_ref());
        self
    }

    /// Names the intent.
    pub fn key(self, idempotency_key: &str) -> Self {
        self.header("idempotency-key", idempotency_key)
    }

    /// Only if the document has this version.
    pub fn if_match(self, version: u64) -> Self {
        self.header("if-match", format!("\"{version}\""))
    }

    /// Only if there is no document.
    pub fn if_none(self) -> Self {
        self.header("if-none-match", "*")
    }

    /// Adds a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").raw(body.to_string())
    }

    /// Adds any body.
    pub fn raw(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.inner = self.inner.body(body);
        self
    }

    /// Sends it; an error says that no answer came.
    pub async fn try_send(self) -> Result<Answer, reqwest::Error> {
        let response = self.inner.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await?;
        Ok(Answer { what: self.what, status, headers, body: body.to_vec() })
    }

    /// Sends it; an answer must come.
    pub async fn send(self) -> Answer {
        let what = self.what.clone();
        self.try_send().await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// Sends it and returns the JSON of an answer with this status.
    pub async fn expect(self, status: u16) -> Value {
        self.send().await.expect(status)
    }

    /// Sends it and checks that it is refused; returns the problem.
    pub async fn refused(self, status: u16, code: &str) -> Value {
        self.send().await.problem(status, code)
    }
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    what: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when there is none.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error} in {}", self.what, self.text()))
    }

    /// The JSON of an answer that must have this status.
    pub fn expect(&self, status: u16) -> Value {
        let found = self.status;
        assert_eq!(found, status, "{}: {}", self.what, self.text());
        self.json()
    }

    /// The position of a write.
    pub fn position(&self) -> String {
        let position = self.header("headwater-position");
        position.unwrap_or_else(|| panic!("{}: no position: {self:?}", self.what)).to_owned()
    }

    /// Whether it is a success.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Checks that this is a refusal as the API promises it, and returns the problem.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.any_problem();
        let found = (self.status, problem["code"].as_str().unwrap_or_default());
        assert_eq!(found, (status, code), "{}: {problem}", self.what);
        problem
    }

    /// Checks that this is some refusal as the API promises it, and returns the problem.
    pub fn any_problem(&self) -> Value {
        let (what, status) = (&self.what, self.status);
        assert!((400..600).contains(&status), "{what}: {status}: {}", self.text());
        assert_ne!(status, 500, "{what}: {}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{what}: {status}: {}",
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["status"].as_u64(), Some(status.into()), "{what}: {problem}");
        let text = |field: &str| {
            let text = problem[field].as_str().filter(|text| !text.is_empty());
            text.unwrap_or_else(|| panic!("{what}: no {field} in {problem}")).to_owned()
        };
        assert!(text("type").ends_with(&format!("/errors/{}", text("code"))), "{what}: {problem}");
        text("title");
        text("detail");
        text("correlationId");
        problem
    }
}
