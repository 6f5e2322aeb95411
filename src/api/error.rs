//! What clients are told when something can't be done: one table from code to HTTP status, socket
//! close code and whether a retry helps, and the problem (RFC 9457) that carries it. Input never
//! makes a 500.

mod convert;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The stable code, in kebab case.
    pub(crate) name: &'static str,
    /// The HTTP status, where a route has no better one.
    pub(crate) status: u16,
    /// The code that a WebSocket is closed with.
    pub(crate) close: u16,
    /// Seconds after which the same request may pass; `None` when it must be changed first.
    pub(crate) retry_after: Option<&'static str>,
    /// What the code means.
    pub(crate) title: &'static str,
}

macro_rules! codes {
    ($($code:ident $name:literal $status:literal $close:literal $retry:expr, $title:literal;)*) => {
        /// Names a kind of failure, for ever.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Code {
            $(#[doc = $title] $code,)*
        }

        /// Every code, in the order of [`Code`].
        pub(crate) const TABLE: &[(Code, Entry)] = &[
            $((Code::$code, Entry {
                name: $name, status: $status, close: $close, retry_after: $retry, title: $title,
            }),)*
        ];
    };
}

codes! {
    InvalidJson "invalid-json" 400 4400 None, "The body is not JSON";
    InvalidBody "invalid-body" 400 4400 None, "The body does not have the right shape";
    SchemaMismatch "schema-mismatch" 400 4400 None,
        "The document is not as its collection's schema says";
    InvalidId "invalid-id" 400 4400 None, "Not an id";
    WeakPassword "weak-password" 400 4400 None, "The password is too weak";
    CaptchaFailed "captcha-failed" 400 4400 None, "Nobody showed that it is a person";
    InvalidParameter "invalid-parameter" 400 4400 None, "A parameter or header is not valid";
    InvalidPosition "invalid-position" 400 4400 None, "Not a position";
    PositionAhead "position-ahead" 400 4400 None, "The position is after the newest event";
    PositionElsewhere "position-elsewhere" 400 4400 None, "The position is not of this project";
    TooDeep "too-deep" 400 4400 None, "The JSON is nested too deep";
    QueryTooLarge "query-too-large" 400 4400 None, "The query would look at too much";
    Unauthorized "unauthorized" 401 4401 None, "A valid token is needed";
    InvalidCredentials "invalid-credentials" 401 4401 None, "That does not show who you are";
    SessionEnded "session-ended" 401 4401 None, "The session has ended";
    Forbidden "forbidden" 403 4403 None, "The token does not allow this";
    EmailNotVerified "email-not-verified" 403 4403 None, "The mail address is not verified";
    ReauthenticationNeeded "reauthentication-needed" 403 4403 None, "Show again who you are";
    SecondFactorNeeded "second-factor-needed" 403 4403 None, "A second factor must be shown first";
    UserDisabled "user-disabled" 403 4403 None, "The user is disabled";
    NotFound "not-found" 404 4404 None, "There is nothing here";
    ProjectNotFound "project-not-found" 404 4404 None, "The project does not exist";
    KeyNotFound "key-not-found" 404 4404 None, "The key does not exist";
    CollectionNotFound "collection-not-found" 404 4404 None, "The collection does not exist";
    ChannelNotFound "channel-not-found" 404 4404 None, "The channel is not configured";
    UserNotFound "user-not-found" 404 4404 None, "The user does not exist";
    SessionNotFound "session-not-found" 404 4404 None, "The session does not exist";
    FactorNotFound "factor-not-found" 404 4404 None, "The second factor does not exist";
    SigningKeyNotFound "signing-key-not-found" 404 4404 None, "The signing key does not exist";
    DocumentNotFound "document-not-found" 404 4404 None, "The document does not exist";
    VersionNotFound "version-not-found" 404 4404 None, "The document has no such version";
    MethodNotAllowed "method-not-allowed" 405 4405 None, "The route has no such method";
    VersionMismatch "version-mismatch" 409 4409 None, "The document has another version";
    DocumentExists "document-exists" 409 4409 None, "The document exists already";
    ProjectExists "project-exists" 409 4409 None, "The project exists already";
    UserExists "user-exists" 409 4409 None, "The user exists already";
    UserChanged "user-changed" 409 4409 None, "The user was changed meanwhile";
    NotUnique "not-unique" 409 4409 None, "Another document has the same unique values";
    IdentityTaken "identity-taken" 409 4409 None, "Another user signs in this way";
    SigningKeyExists "signing-key-exists" 409 4409 None, "The project has a signing key already";
    VersionWasDeletion "version-was-deletion" 409 4409 None, "The version was a deletion";
    LastWayIn "last-way-in" 409 4409 None, "The user has no other way in";
    TooMany "too-many" 409 4409 None, "The limit of their number is reached";
    HistoryTrimmed "history-trimmed" 410 4410 None, "The log no longer reaches back that far";
    DocumentTooLarge "document-too-large" 413 1009 None, "The document is too large";
    MessageTooLarge "message-too-large" 413 1009 None, "The message is too large";
    CommitTooLarge "commit-too-large" 413 1009 None, "The commit is too large for the log";
    BodyTooLarge "body-too-large" 413 1009 None, "The body is too large";
    UnsupportedMediaType "unsupported-media-type" 415 4415 None, "The media type is not supported";
    Misdirected "misdirected" 421 4421 None, "This node does not serve that";
    IdempotencyKeyReused "idempotency-key-reused" 422 4422 None,
        "The idempotency key was used for another request";
    NotIndexable "not-indexable" 422 4422 None, "An index can't take the document";
    SubjectMissing "subject-missing" 422 4422 None, "The document does not say whose it is";
    SubjectErased "subject-erased" 422 4422 None, "The person was erased";
    ImportInvalid "import-invalid" 422 4422 None, "The events can't be imported here";
    TooManyRequests "too-many-requests" 429 4429 Some("60"), "That was tried too often";
    Internal "internal" 500 1011 None, "Something failed in the server";
    Busy "busy" 503 1013 Some("1"), "Too much is waiting";
    Unavailable "unavailable" 503 1013 Some("5"), "This part can't be served now";
    OutcomeUnknown "outcome-unknown" 503 1013 Some("1"), "The outcome of the write is not known";
    IndexNotBuilt "index-not-built" 503 1013 Some("1"), "An index is still being built";
    StaleRead "stale-read" 503 1013 Some("1"), "The position is not readable yet";
    // 507 says what is wrong and that nothing is wrong with the request; a retry helps only after
    // someone made room.
    StorageFull "storage-full" 507 1013 None, "The server's disk is full";
}

impl Code {
    /// Its line of the table.
    pub(crate) fn entry(self) -> &'static Entry {
        &TABLE[self as usize].1
    }
}

/// A failure as a client sees it. Boxed, since answers are many and failures few.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: Code,
    status: u16,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    actual_version: Option<Option<u64>>,
    retry_seconds: Option<u64>,
    cause: Option<String>,
}

/// The problem's JSON, as documented.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// `/errors/` and the code.
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    /// What the code means, the same for each.
    title: Cow<'a, str>,
    /// The HTTP status.
    status: u16,
    /// Stable, for programs.
    code: Cow<'a, str>,
    /// What happened this time, for people.
    detail: Cow<'a, str>,
    /// Where: a JSON Pointer (RFC 6901) into the body, or the name of a parameter or header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<Cow<'a, str>>,
    /// Names the conversation, in the server's log and in events.
    correlation_id: Cow<'a, str>,
    /// For a conflict of versions: the document's version, `null` when it does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    actual_version: Option<Option<u64>>,
}

impl Problem {
    /// A problem of this code.
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            status: code.entry().status,
            detail: detail.into(),
            field: None,
            actual_version: None,
            retry_seconds: None,
            cause: None,
        }))
    }

    /// Says where: a JSON Pointer into the body, or the name of a parameter or header.
    #[must_use]
    pub(crate) fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// The condition came by `If-Match` or `If-None-Match`: a conflict of versions is 412 then.
    #[must_use]
    pub(crate) fn of_precondition(mut self) -> Self {
        if self.0.code == Code::VersionMismatch {
            self.0.status = StatusCode::PRECONDITION_FAILED.as_u16();
        }
        self
    }

    /// The request is one write: its place in the commit that it becomes tells nobody anything.
    #[must_use]
    pub(crate) fn of_single_write(mut self) -> Self {
        if let Some(within) = self.0.field.as_deref().and_then(|f| f.strip_prefix("/writes/0")) {
            // What a schema says is about the document, of which a body may be a part.
            let within = match self.0.code {
                Code::SchemaMismatch => within,
                _ => within.strip_prefix("/data").unwrap_or(within),
            };
            self.0.field = Some(within.to_owned()).filter(|field| !field.is_empty()).map(Cow::from);
        }
        self
    }

    /// Somebody tries too often: when the next try may pass, in seconds.
    pub(crate) fn too_many_requests(seconds: u64) -> Self {
        let mut problem = Self::new(Code::TooManyRequests, format!("try again in {seconds} s"));
        problem.0.retry_seconds = Some(seconds);
        problem
    }

    fn actual_version(mut self, actual: Option<u64>) -> Self {
        self.0.actual_version = Some(actual);
        self
    }

    /// What is logged and not told.
    pub(crate) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Where, if it says so.
    pub(crate) fn place(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// Its code.
    pub(crate) fn code(&self) -> Code {
        self.0.code
    }

    /// What happened this time, for people.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The HTTP status that it is answered with.
    pub(crate) fn status(&self) -> u16 {
        self.0.status
    }

    /// What happened: what is only for the log, if there is something, or else what the client is
    /// told.
    pub(crate) fn log_text(&self) -> &str {
        self.0.cause.as_deref().unwrap_or(&self.0.detail)
    }

    /// Its JSON.
    pub(crate) fn to_json(&self, correlation_id: &str) -> Vec<u8> {
        let Inner { code, status, detail, field, actual_version, .. } = &*self.0;
        let entry = code.entry();
        let body = ProblemBody {
            kind: format!("/errors/{}", entry.name).into(),
            title: entry.title.into(),
            status: *status,
            code: entry.name.into(),
            detail: detail.as_ref().into(),
            field: field.as_deref().map(Cow::Borrowed),
            correlation_id: correlation_id.into(),
            actual_version: *actual_version,
        };
        // Strings and numbers only: this can't fail.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The whole answer.
    pub(crate) fn to_response(&self, correlation_id: &str) -> HttpResponse {
        let entry = self.0.code.entry();
        let status = StatusCode::from_u16(self.0.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response =
            HttpResponse::with_body(status, self.to_json(correlation_id)).map_into_boxed_body();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        match (self.0.retry_seconds, entry.retry_after) {
            (Some(seconds), _) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            (None, Some(seconds)) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
            }
            (None, None) => {}
        }
        match self.0.code {
            Code::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // What is left of the body is not read; the connection ends with this answer.
            Code::BodyTooLarge => response.head_mut().set_connection_type(CLOSE),
            _ => {}
        }
        response
    }
}

const CLOSE: actix_http::ConnectionType = actix_http::ConnectionType::Close;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.entry().name, self.0.detail)
    }
}

/// Shorthands for the commonest.
impl Problem {
    /// A query parameter or header that can't be used.
    pub(crate) fn parameter(name: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidParameter, detail).field(name)
    }

    /// A body of the wrong shape.
    pub(crate) fn body(
        pointer: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Code::InvalidBody, detail).field(pointer)
    }
}
