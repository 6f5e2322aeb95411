//! Cross-origin requests (WHATWG Fetch, "CORS protocol"): any page may call, since who asks is
//! told by a token that the page must hold, never by a cookie that a browser adds by itself.

use actix_web::HttpResponse;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN,
};
use actix_web::http::{Method, StatusCode};

/// What a page may read of an answer, beside what it may always.
const EXPOSED: &str = "ETag, Headwater-Position, Idempotency-Replayed, Location, Retry-After, \
                       X-Correlation-Id";
/// What a page may send.
const ALLOWED: &str = "Authorization, Content-Type, Headwater-After, Idempotency-Key, If-Match, \
                       If-None-Match, Last-Event-ID, Traceparent, X-Correlation-Id";
/// Seconds that a browser may remember the answer; browsers cap it at a day or less.
const MAX_AGE_SECONDS: &str = "86400";

/// Whether this is a browser's question before the real request.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight for a path that has these methods.
pub(crate) fn preflight(methods: HeaderValue) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
    response
}

/// Lets the page that asked read the answer.
pub(crate) fn allow(request: &HeaderMap, response: &mut HttpResponse) {
    if request.contains_key(ORIGIN) {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}
