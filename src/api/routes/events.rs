//! The log as it is: a project's events in order, as CloudEvents. The audit view, and the export.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use domain::EventType;
use domain::event::cloudevents;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::page::{write_items, write_position_field};
use crate::answer::{self, Answer};
use crate::call::{Call, position};
use crate::error::Problem;

/// Types that one request may ask for.
const TYPES_MAX: usize = 50;

/// A part of the log.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct EventPage {
    /// CloudEvents 1.0 in JSON, with Headwater's extensions; see `schemas/`.
    events: Vec<HashMap<String, Value>>,
    /// The `from` of the next part.
    next: String,
    /// The end of the log: equal to `next` when there is no more yet.
    end: String,
}

/// Lists a project's events from a position on. A part may be empty though more follow: go on
/// until `next` is `end`.
#[utoipa::path(
    get, path = "/v1/projects/{project}/events", operation_id = "listEvents", tag = "log",
    params(
        ("from" = Option<String>, Query, description = "The first position, or else the oldest.",
            pattern = "^(0|[1-9][0-9]{0,8})-(0|[1-9][0-9]{0,17})$"),
        ("limit" = Option<u32>, Query, description = "Events in the answer.",
            minimum = 1, maximum = 1000),
        ("types" = Option<String>, Query, description = "Only these types, with commas between.",
            pattern = "^[a-z0-9.-]{1,128}(,[a-z0-9.-]{1,128}){0,49}$"),
    ),
    responses((status = 200, description = "Events.", body = EventPage)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading().await?;
    let query = call.query(&["from", "limit", "types"])?;
    let limit = query.limit(call.app.options.page_max)?;
    let from = query.get("from").map(|text| position(text, "from")).transpose()?;
    let types = query.get("types").map_or(Ok(Vec::new()), types)?;
    let page = call.app.engine.events(&scope.project, from, limit, &types).await?;
    let mut body = vec![b'{'];
    write_items(&mut body, "events", &page.events, |out, recorded| {
        out.extend_from_slice(cloudevents::to_json(recorded).as_bytes());
    });
    write_position_field(&mut body, "next", page.next);
    write_position_field(&mut body, "end", page.end);
    body.push(b'}');
    Ok(answer::json_bytes(StatusCode::OK, body))
}

fn types(text: &str) -> Result<Vec<EventType>, Problem> {
    let types: Result<Vec<EventType>, _> = text.split(',').map(EventType::parse).collect();
    let types = types.map_err(|error| Problem::parameter("types", error.to_string()))?;
    if types.len() > TYPES_MAX {
        return Err(Problem::parameter("types", format!("expected at most {TYPES_MAX} types")));
    }
    Ok(types)
}
