//! The server itself: whether it lives, whether it can work, what it counts and what it offers.
//! Open to anybody who reaches the port, and free of anything about projects. Where brokers and
//! tables are is for the administrator only.

use actix_web::http::StatusCode;
use prometheus::TextEncoder;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::call::Call;
use crate::caller;
use crate::error::{Code, Problem};

/// That the process answers.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    status: String,
}

impl Health {
    /// That it does.
    pub(crate) fn ok() -> Self {
        Self { status: "ok".to_owned() }
    }
}

/// Whether the server can do its work.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready` or `unready`.
    status: String,
    /// What an answered write survives: `fsync` (a power cut), `replicated` (the loss of a broker:
    /// two have a copy at least), `single-copy` (a crash of the one broker's process) or `relaxed`
    /// (a crash of our process). `unknown` until the log was reached.
    durability: String,
    /// What is in the way; with addresses and errors for the administrator's key.
    reasons: Vec<String>,
}

impl Readiness {
    /// Ready when there are no reasons against it.
    pub(crate) fn new(durability: &str, reasons: Vec<String>) -> Self {
        let status = if reasons.is_empty() { "ready" } else { "unready" };
        Self { status: status.to_owned(), durability: durability.to_owned(), reasons }
    }
}

/// Says that the process answers.
#[utoipa::path(
    get, path = "/healthz", operation_id = "health", tag = "server",
    responses((status = 200, description = "The process answers.", body = Health)),
)]
pub(crate) async fn health(_call: Call) -> Answer {
    answer::json(StatusCode::OK, &Health::ok())
}

/// Says whether every partition takes reads and writes.
#[utoipa::path(
    get, path = "/readyz", operation_id = "ready", tag = "server",
    responses(
        (status = 200, description = "Every partition serves.", body = Readiness),
        (status = 503, description = "Some partition does not serve.", body = Readiness),
    ),
)]
pub(crate) async fn ready(call: Call) -> Answer {
    let token = caller::bearer(call.request.headers());
    let is_admin = token.is_ok_and(|token| call.app.admin_key.is(token));
    let unready = call.app.engine.unready().into_iter();
    let tell = |one: engine::Unready| if is_admin { one.detail } else { one.brief };
    let mut reasons: Vec<String> = unready.map(tell).collect();
    if *call.app.stopping.borrow() {
        reasons.push("the server is stopping".to_owned());
    }
    let status = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::json(status, &Readiness::new(&call.app.options.durability, reasons))
}

/// What the server counts, in Prometheus' text format. Keep it from the public by your proxy or
/// firewall.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "server",
    responses((status = 200, description = "Metrics.", body = String, content_type = "text/plain")),
)]
pub(crate) async fn metrics(call: Call) -> Answer {
    let mut text = String::new();
    TextEncoder::new()
        .encode_utf8(&call.app.registry.gather(), &mut text)
        .map_err(|error| Problem::new(Code::Internal, format!("metrics: {error}")))?;
    Ok(answer::bytes(StatusCode::OK, text, "text/plain; version=0.0.4; charset=utf-8"))
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json",
        body = std::collections::HashMap<String, serde_json::Value>)),
)]
pub(crate) async fn openapi(call: Call) -> Answer {
    Ok(answer::bytes(StatusCode::OK, call.app.openapi.clone(), "application/json"))
}
