//! Takes an exported project over: its events as they are, one per line, after what is here.

use actix_web::http::StatusCode;
use domain::command::{self, Imported};
use domain::event::cloudevents;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::body::NDJSON;
use crate::call::Call;
use crate::caller::Principal;
use crate::error::Problem;

/// An import's body may be larger than others: a transaction comes whole, and its events are
/// larger than the request that they once were.
const IMPORT_BYTES_MAX: usize = domain::documents::COMMIT_BYTES_MAX + (16 << 20);

/// What was imported.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Import {
    /// The last event, as it stands here.
    position: String,
    /// How many there were.
    events: usize,
}

/// Appends exported events, all or none, with their own ids, times and versions. A part of an
/// export must follow what the project has here and must not cut a transaction. Repeating a part
/// is refused, so it needs no idempotency key.
#[utoipa::path(
    post, path = "/v1/projects/{project}/import", operation_id = "importEvents", tag = "log",
    request_body(content = String, content_type = "application/x-ndjson",
        description = "One CloudEvent per line."),
    responses((status = 200, description = "Everything is imported.", body = Import)),
)]
pub(crate) async fn import(mut call: Call) -> Answer {
    call.admin()?;
    let project = call.project()?;
    call.query(&[])?;
    let body = call.body_of(NDJSON, IMPORT_BYTES_MAX.max(call.app.options.body_bytes_max)).await?;
    let text = std::str::from_utf8(&body)
        .map_err(|error| Problem::body("", format!("not UTF-8: {error}")))?;
    let mut events = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (_, event) = cloudevents::from_json(line)
            .map_err(|error| Problem::body("", format!("line {}: {error}", index + 1)))?;
        events.push(Imported { event });
    }
    if events.is_empty() {
        return Err(Problem::body("", "there is no event"));
    }
    let command = command::Body::Import(events);
    let written = call.submit(project, &Principal::Admin, command, &body).await?;
    let position = answer::last(&written)?.to_string();
    let imported = Import { position, events: written.events.len() };
    answer::committed(answer::json(StatusCode::OK, &imported)?, &written)
}
