//! A document's past: its versions, newest first, and the way back to one of them.

use std::collections::HashMap;
use std::sync::Arc;

use access::Operation;
use actix_web::http::StatusCode;
use bytes::Bytes;
use domain::Recorded;
use domain::Timestamp;
use domain::documents::{Op, Write};
use domain::rejected::Reason;
use engine::Document;
use engine::access::Viewer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::documents::{DocumentBody, after, check_seen_now, submit};
use super::page::{write_items, write_position_field};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::caller::Scope;
use crate::condition;
use crate::document::{write_string, write_text};
use crate::error::{Code, Problem};

/// One version of a document.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Version {
    /// Counts the document's changes.
    version: u64,
    /// The event's place in the log.
    position: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// Who: `admin`, `key:<id>`, …
    actor: String,
    /// The event's id.
    event: String,
    /// What happened: `document.created`, `document.updated` or `document.deleted`.
    #[serde(rename = "type")]
    kind: String,
    /// The document's data; `null` where it was deleted.
    data: Option<HashMap<String, Value>>,
}

/// A part of a document's history.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct History {
    /// Newest first.
    versions: Vec<Version>,
    /// The `before` of the next part; `null` when there is none.
    next: Option<u64>,
}

/// What to restore.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restore {
    /// The version to go back to.
    version: u64,
}

/// Lists the versions of a document, newest first; of a deleted one, too.
#[utoipa::path(
    get, path = "/v1/projects/{project}/collections/{collection}/documents/{id}/history",
    operation_id = "listVersions", tag = "history",
    params(
        ("limit" = Option<u32>, Query, description = "Versions in the answer.",
            minimum = 1, maximum = 1000),
        ("before" = Option<u64>, Query, description = "Only versions below this one.", minimum = 1),
    ),
    responses((status = 200, description = "Versions.", body = History)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading_by_rules().await?;
    let (collection, id) = (call.collection()?, call.document()?);
    let viewer = scope.viewer(&collection);
    check_seen_now(&call, &scope, &viewer, (&collection, &id)).await?;
    let query = call.query(&["limit", "before"])?;
    let limit = query.limit(call.app.options.page_max)?;
    let before = query.get("before").map(|text| match text.parse() {
        Ok(before) if before > 0 => Ok(before),
        _ => Err(Problem::parameter("before", "expected a version")),
    });
    let before: Option<u64> = before.transpose()?;
    let engine = &call.app.engine;
    let events = engine.history(&scope.project, &collection, &id, before, limit).await?;
    let Some(oldest) = events.last() else {
        if !engine.may_know_of_none(&scope.project, &viewer).await? {
            return Err(Reason::Denied.into());
        }
        if before.is_none() {
            return Err(Reason::DocumentNotFound(collection, id).into());
        }
        return answer::json(StatusCode::OK, &History { versions: Vec::new(), next: None });
    };
    let next = Some(oldest.event.stream_version).filter(|version| *version > 1);
    let versions = versions(&call, &scope, &viewer, &events).await?;
    if versions.is_empty() && before.is_none() {
        return Err(Reason::Denied.into());
    }
    let mut body = vec![b'{'];
    write_items(&mut body, "versions", &versions, write_version);
    body.extend_from_slice(b",\"next\":");
    match next {
        Some(next) => write_text(&mut body, format_args!("{next}}}")),
        None => body.extend_from_slice(b"null}"),
    }
    Ok(answer::json_bytes(StatusCode::OK, body))
}

/// One version, as far as the caller sees it: without data where it was a deletion.
struct Seen {
    recorded: Arc<Recorded>,
    data: Option<Bytes>,
}

/// Those of the versions that the caller sees. A deletion is seen by who sees what was deleted.
async fn versions(
    call: &Call,
    scope: &Scope,
    viewer: &Viewer,
    events: &[Arc<Recorded>],
) -> Result<Vec<Seen>, Problem> {
    let mut versions = Vec::with_capacity(events.len());
    for recorded in events {
        let (document, is_deletion) = Document::about(recorded)?;
        let document = call.app.engine.see(&scope.project, viewer, document).await?;
        versions.extend(document.map(|document| Seen {
            recorded: Arc::clone(recorded),
            data: (!is_deletion).then_some(document.data),
        }));
    }
    Ok(versions)
}

fn write_version(out: &mut Vec<u8>, seen: &Seen) {
    let event = &seen.recorded.event;
    write_text(out, format_args!("{{\"version\":{}", event.stream_version));
    write_position_field(out, "position", seen.recorded.position);
    write_text(out, format_args!(",\"time\":\"{}\",\"actor\":", event.time));
    write_string(out, &event.actor.to_string());
    write_text(out, format_args!(",\"event\":\"{}\",\"type\":\"{}\"", event.id, event.kind));
    out.extend_from_slice(b",\"data\":");
    out.extend_from_slice(seen.data.as_deref().unwrap_or(b"null"));
    out.push(b'}');
}

/// Makes a document what it was at an earlier version. This is a change like any other: nothing is
/// undone in the log.
#[utoipa::path(
    post, path = "/v1/projects/{project}/collections/{collection}/documents/{id}/restore",
    operation_id = "restoreVersion", tag = "history",
    params(("If-Match" = Option<String>, Header, description = "`*`, or the version in quotes.",
        pattern = r#"^(\*|"[1-9][0-9]{0,17}")$"#)),
    request_body(content = Restore),
    responses((status = 200, description = "The document, restored.", body = DocumentBody)),
)]
pub(crate) async fn restore(mut call: Call) -> Answer {
    let scope = call.scope().await?;
    let (collection, id) = (call.collection()?, call.document()?);
    scope.may_write(&collection, &[Operation::Create, Operation::Update])?;
    call.query(&[])?;
    let expected = condition::if_match(call.headers())?;
    let body = call.body(JSON).await?;
    let Restore { version } = body::parse(&body)?;
    let engine = &call.app.engine;
    let viewer = scope.viewer(&collection);
    check_seen_now(&call, &scope, &viewer, (&collection, &id)).await?;
    let found = engine.version(&scope.project, &collection, &id, version).await?;
    if !viewer.is_past_rules() {
        let seen = match &found {
            Some(recorded) => {
                let (document, _) = Document::about(recorded)?;
                engine.see(&scope.project, &viewer, document).await?.is_some()
            }
            None => engine.may_know_of_none(&scope.project, &viewer).await?,
        };
        seen.then_some(()).ok_or(Reason::Denied)?;
    }
    let recorded = found.ok_or_else(|| {
        Problem::new(Code::VersionNotFound, format!("there is no version {version}"))
            .field("/version")
    })?;
    let document = engine::Document::after(&recorded)?.ok_or_else(|| {
        let detail = format!("version {version} was a deletion; to delete, use DELETE");
        Problem::new(Code::VersionWasDeletion, detail).field("/version")
    })?;
    let op = Op::Restore { version, data: document.data };
    let write = Write { collection: collection.clone(), id, op, expected };
    let written = submit(&call, &scope, write, &body).await.map_err(Problem::of_precondition)?;
    let document = after(&call, &scope, &collection, &written).await?;
    answer::committed(answer::document(StatusCode::OK, &document), &written)
}
