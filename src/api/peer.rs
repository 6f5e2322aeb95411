//! What nodes of one cluster say to each other over the same address that clients use: a node
//! takes commands for the partitions that it writes. Not for clients, and so in no list of routes.
//! Nodes know each other by the admin key, which all of them are given.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::answer::{self, Answer};
use crate::app::Shared;
use crate::body::{self, Body};
use crate::caller;
use crate::correlation::CorrelationId;
use crate::error::{Code, Problem};

/// Where a node takes commands from others, by POST.
pub const PATH: &str = "/internal/commands";
/// What commands are sent as.
pub const MEDIA_TYPE: &str = "application/vnd.headwater.command";

/// On an answer that says that no engine has seen the command.
pub const NOT_TAKEN: &str = "headwater-not-taken";

/// The largest command: what the largest import comes to, and some room.
const COMMAND_BYTES_MAX: usize = 96 << 20;

/// The token by which nodes know each other. Follows from the admin key and does not tell it.
pub fn token(admin_key: &str) -> String {
    let digest = Sha256::digest(format!("headwater node\0{admin_key}").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers a request for [`PATH`].
pub(crate) async fn answer(
    shared: &Shared,
    method: &Method,
    headers: &HeaderMap,
    correlation_id: &CorrelationId,
    payload: Body,
) -> HttpResponse {
    take(shared, method, headers, payload).await.unwrap_or_else(|problem| {
        let mut response = problem.to_response(correlation_id.as_str());
        not_taken(&mut response);
        response
    })
}

/// Says that no engine has seen the command.
pub(crate) fn not_taken(response: &mut HttpResponse) {
    let name = HeaderName::from_static(NOT_TAKEN);
    response.headers_mut().insert(name, HeaderValue::from_static("true"));
}

async fn take(shared: &Shared, method: &Method, headers: &HeaderMap, mut payload: Body) -> Answer {
    if method != Method::POST {
        return Err(Problem::new(Code::MethodNotAllowed, "only POST"));
    }
    if !shared.peer_key.is(caller::bearer(headers)?) {
        return Err(Problem::new(Code::Forbidden, "nodes of a cluster need the same admin key"));
    }
    body::check_headers(headers, &[MEDIA_TYPE], COMMAND_BYTES_MAX)?;
    let command = body::read(&mut payload, COMMAND_BYTES_MAX).await?;
    let outcome: HttpResponse = answer::bytes(
        actix_web::http::StatusCode::OK,
        shared.engine.accept(&command).await,
        MEDIA_TYPE,
    );
    Ok(outcome)
}
