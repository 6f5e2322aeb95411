//! Answers and their headers, put together without detours: this is on the path of every request.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use domain::Position;
use engine::{Committed, Document};
use serde::Serialize;

use crate::condition::etag;
use crate::document::{document_bytes, write_document};
use crate::error::{Code, Problem};

/// Where the last event of a write stands.
pub(crate) const HEADWATER_POSITION: HeaderName = HeaderName::from_static("headwater-position");
/// Set to `true` on the repeated answer to a repeated request.
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What a handler comes to.
pub(crate) type Answer = Result<HttpResponse, Problem>;

/// Bytes of JSON.
pub(crate) fn json_bytes(status: StatusCode, body: Vec<u8>) -> HttpResponse {
    bytes(status, body, "application/json")
}

/// Bytes of some media type.
pub(crate) fn bytes(
    status: StatusCode,
    body: impl Into<bytes::Bytes>,
    media_type: &'static str,
) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, body.into()).map_into_boxed_body();
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

/// A value as JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(body)
        .map_err(|error| Problem::new(Code::Internal, format!("answer not written: {error}")))?;
    Ok(json_bytes(status, body))
}

/// A document, with its entity tag.
pub(crate) fn document(status: StatusCode, document: &Document) -> HttpResponse {
    let mut body = Vec::with_capacity(document_bytes(document));
    write_document(&mut body, document);
    let mut response = json_bytes(status, body);
    response.headers_mut().insert(header::ETAG, etag(document.version));
    response
}

/// Adds what every answer to a write has.
///
/// Errors only for a commit without events, which there is not.
pub(crate) fn committed(mut response: HttpResponse, committed: &Committed) -> Answer {
    let headers = response.headers_mut();
    headers.insert(HEADWATER_POSITION, text(&last(committed)?.to_string()));
    if committed.replayed {
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Where the last event of a commit stands.
pub(crate) fn last(committed: &Committed) -> Result<Position, Problem> {
    let last = committed.events.last().map(|recorded| recorded.position);
    last.ok_or_else(|| Problem::new(Code::Internal, "a commit without events"))
}

/// A header's value of printable ASCII; what is not is left out.
pub(crate) fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
