//! Documents: create, get, replace, patch, delete, and pages in the order of their ids.

use std::collections::HashMap;

use access::Operation;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use domain::documents::{CREATED, ExpectedVersion, Op, Write};
use domain::rejected::Reason;
use domain::{CollectionName, DocumentId, ProjectId, Timestamp};
use engine::access::Viewer;
use engine::{Committed, Document};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::body::{self, JSON, MERGE_PATCH};
use crate::call::Call;
use crate::caller::Scope;
use crate::condition;
use crate::document::{picked, write_expanded};
use crate::error::{Code, Problem};
use crate::recording;

/// A document.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Document)]
pub(crate) struct DocumentBody {
    /// Its id.
    #[schema(value_type = String)]
    id: DocumentId,
    /// Counts its changes, deletions included.
    version: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The event that made it what it is.
    position: String,
    /// The JSON object that clients keep.
    data: HashMap<String, Value>,
    /// What it refers to, by field, where `expand` asked for it: a document, or a list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expanded: Option<HashMap<String, Value>>,
}

/// Creates a document. Its body is the document's data; the server chooses the id, unless `id` is
/// given.
#[utoipa::path(
    post, path = "/v1/projects/{project}/collections/{collection}/documents",
    operation_id = "createDocument", tag = "documents",
    params(("id" = Option<String>, Query, description = "The new document's id.",
        pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$")),
    request_body(content = HashMap<String, Value>),
    responses((status = 201, description = "The new document.", body = DocumentBody)),
)]
pub(crate) async fn create(mut call: Call) -> Answer {
    let scope = call.scope().await?;
    let collection = call.collection()?;
    scope.may_write(&collection, &[Operation::Create])?;
    let (id, expected) = match call.query(&["id"])?.id("id", DocumentId::new)? {
        Some(id) => (id, ExpectedVersion::Any),
        None => (new_id()?, ExpectedVersion::Fresh),
    };
    let body = call.body(JSON).await?;
    let op = Op::Create(data(&call, &body)?);
    let write = Write { collection: collection.clone(), id, op, expected };
    let project = scope.project.clone();
    let written = submit(&call, &scope, write, &body).await?;
    let document = after(&call, &scope, &collection, &written).await?;
    let mut response = answer::document(StatusCode::CREATED, &document);
    let location = answer::text(&path(&project, &collection, &document.id));
    response.headers_mut().insert(header::LOCATION, location);
    answer::committed(response, &written)
}

/// Gets a document, now or as it was.
#[utoipa::path(
    get, path = "/v1/projects/{project}/collections/{collection}/documents/{id}",
    operation_id = "getDocument", tag = "documents",
    params(
        ("asOf" = Option<String>, Query, description = "A position or an RFC 3339 time."),
        ("fields" = Option<String>, Query, description = "Only these fields of the data, with \
            commas between them: nested ones with dots."),
        ("expand" = Option<String>, Query, description = "Fields with references to follow, with \
            commas between them: `author,room.owner`."),
        ("If-None-Match" = Option<String>, Header, description = "Versions that the client has."),
    ),
    responses(
        (status = 200, description = "The document.", body = DocumentBody),
        (status = 304, description = "The client has this version."),
    ),
)]
pub(crate) async fn get(call: Call) -> Answer {
    let scope = call.reading_by_rules().await?;
    let (collection, id) = (call.collection()?, call.document()?);
    let query = call.query(&["asOf", "fields", "expand"])?;
    let (as_of, selection) = (query.as_of()?, query.selection()?);
    let expand = query.expand(&scope.live, &collection)?;
    let engine = &call.app.engine;
    let viewer = scope.viewer(&collection);
    let found = engine.document(&scope.project, &collection, &id, as_of).await?;
    if as_of.is_some() {
        check_seen_now(&call, &scope, &viewer, (&collection, &id)).await?;
    }
    let at = found.as_ref().map(|document| document.position);
    let (document, is_allowed) = match found {
        Some(document) => {
            let seen = engine.see(&scope.project, &viewer, document).await?;
            let is_seen = seen.is_some();
            (seen, is_seen)
        }
        None => (None, engine.may_know_of_none(&scope.project, &viewer).await?),
    };
    if as_of.is_none() {
        recording::read(&call, &scope, (&collection, &id), at, is_allowed);
    }
    if !is_allowed {
        return Err(Reason::Denied.into());
    }
    let document = document.ok_or(Reason::DocumentNotFound(collection, id))?;
    if let Some(expand) = expand {
        // No version tells of what it refers to.
        let expanded = scope.expand(&call, std::slice::from_ref(&document), &expand, as_of).await?;
        let mut body = Vec::new();
        let expanded = expanded.into_iter().next().unwrap_or_default();
        write_expanded(&mut body, &picked(document, selection.as_ref()), &expanded);
        return Ok(answer::json_bytes(StatusCode::OK, body));
    }
    if condition::has_version(call.headers(), document.version)? {
        let mut response = HttpResponse::new(StatusCode::NOT_MODIFIED);
        response.headers_mut().insert(header::ETAG, condition::etag(document.version));
        return Ok(response);
    }
    Ok(answer::document(StatusCode::OK, &picked(document, selection.as_ref())))
}

/// Creates a document or replaces all of its data.
#[utoipa::path(
    put, path = "/v1/projects/{project}/collections/{collection}/documents/{id}",
    operation_id = "putDocument", tag = "documents",
    params(
        ("If-Match" = Option<String>, Header, description = "`*`, or the version in quotes.",
        pattern = r#"^(\*|"[1-9][0-9]{0,17}")$"#),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it must not exist.",
            pattern = r"^\*$"),
    ),
    request_body(content = HashMap<String, Value>),
    responses(
        (status = 200, description = "The document, replaced.", body = DocumentBody),
        (status = 201, description = "The document, created.", body = DocumentBody),
    ),
)]
pub(crate) async fn put(mut call: Call) -> Answer {
    let scope = call.scope().await?;
    let (collection, id) = (call.collection()?, call.document()?);
    scope.may_write(&collection, &[Operation::Create, Operation::Update])?;
    call.query(&[])?;
    let expected = condition::if_match_or_none(call.headers())?;
    let body = call.body(JSON).await?;
    let op = Op::Replace(data(&call, &body)?);
    let write = Write { collection: collection.clone(), id, op, expected };
    let written = submit(&call, &scope, write, &body).await.map_err(Problem::of_precondition)?;
    let was_created = written.events.last().is_some_and(|last| last.event.kind == CREATED);
    let status = if was_created { StatusCode::CREATED } else { StatusCode::OK };
    let document = after(&call, &scope, &collection, &written).await?;
    answer::committed(answer::document(status, &document), &written)
}

/// Merges into a document by RFC 7396: `null` takes a field away, arrays are replaced.
#[utoipa::path(
    patch, path = "/v1/projects/{project}/collections/{collection}/documents/{id}",
    operation_id = "patchDocument", tag = "documents",
    params(("If-Match" = Option<String>, Header, description = "`*`, or the version in quotes.",
        pattern = r#"^(\*|"[1-9][0-9]{0,17}")$"#)),
    request_body(content(
        (HashMap<String, Value> = "application/json"),
        (HashMap<String, Value> = "application/merge-patch+json"),
    )),
    responses((status = 200, description = "The document, changed.", body = DocumentBody)),
)]
pub(crate) async fn patch(mut call: Call) -> Answer {
    let scope = call.scope().await?;
    let (collection, id) = (call.collection()?, call.document()?);
    scope.may_write(&collection, &[Operation::Update])?;
    call.query(&[])?;
    let expected = condition::if_match(call.headers())?;
    let body = call.body(MERGE_PATCH).await?;
    let op = Op::Patch(data(&call, &body)?);
    let write = Write { collection: collection.clone(), id, op, expected };
    let written = submit(&call, &scope, write, &body).await.map_err(Problem::of_precondition)?;
    let document = after(&call, &scope, &collection, &written).await?;
    answer::committed(answer::document(StatusCode::OK, &document), &written)
}

/// Deletes a document. Its history stays.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/collections/{collection}/documents/{id}",
    operation_id = "deleteDocument", tag = "documents",
    params(("If-Match" = Option<String>, Header, description = "`*`, or the version in quotes.",
        pattern = r#"^(\*|"[1-9][0-9]{0,17}")$"#)),
    responses((status = 204, description = "The document is deleted.")),
)]
pub(crate) async fn delete(call: Call) -> Answer {
    let scope = call.scope().await?;
    let (collection, id) = (call.collection()?, call.document()?);
    scope.may_write(&collection, &[Operation::Delete])?;
    call.query(&[])?;
    let expected = condition::if_match(call.headers())?;
    let write = Write { collection, id, op: Op::Delete, expected };
    let written = submit(&call, &scope, write, &[]).await.map_err(Problem::of_precondition)?;
    answer::committed(HttpResponse::new(StatusCode::NO_CONTENT), &written)
}

/// Where a document is.
fn path(project: &ProjectId, collection: &CollectionName, id: &DocumentId) -> String {
    format!("/v1/projects/{project}/collections/{collection}/documents/{id}")
}

/// An id of the server's choice.
pub(crate) fn new_id() -> Result<DocumentId, Problem> {
    let mut buffer = Uuid::encode_buffer();
    let text = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
    DocumentId::new(text).map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

fn data(call: &Call, body: &[u8]) -> Result<bytes::Bytes, Problem> {
    body::document(body, call.app.engine.options().document).map_err(|problem| problem.field(""))
}

/// Hands one write to the writer.
pub(super) async fn submit(
    call: &Call,
    scope: &Scope,
    write: Write,
    body: &[u8],
) -> Result<Committed, Problem> {
    let written = recording::submit(call, scope, vec![write], Vec::new(), body).await;
    written.map_err(Problem::of_single_write)
}

/// What the caller sees of the document that a write left behind.
pub(super) async fn after(
    call: &Call,
    scope: &Scope,
    collection: &CollectionName,
    written: &Committed,
) -> Result<Document, Problem> {
    let last = written.events.last().map(|last| Document::after(last)).transpose()?;
    let none = || Problem::new(Code::Internal, "the write left no document");
    seen(call, scope, collection, last.flatten().ok_or_else(none)?).await
}

/// What the caller sees of a document that it has just written: without its data, if it may write
/// but not read.
pub(super) async fn seen(
    call: &Call,
    scope: &Scope,
    collection: &CollectionName,
    document: Document,
) -> Result<Document, Problem> {
    let viewer = scope.viewer(collection);
    if viewer.is_past_rules() {
        return Ok(document);
    }
    let unseen = Document { data: bytes::Bytes::from_static(b"{}"), ..document.clone() };
    let seen = call.app.engine.see(&scope.project, &viewer, document).await?;
    Ok(seen.unwrap_or(unseen))
}

/// What was is shown to nobody who may not see what is.
pub(super) async fn check_seen_now(
    call: &Call,
    scope: &Scope,
    viewer: &Viewer,
    (collection, id): (&CollectionName, &DocumentId),
) -> Result<(), Problem> {
    if viewer.is_past_rules() {
        return Ok(());
    }
    let engine = &call.app.engine;
    let Some(now) = engine.document(&scope.project, collection, id, None).await? else {
        return Ok(());
    };
    let at = now.position;
    let is_seen = engine.see(&scope.project, viewer, now).await?.is_some();
    recording::read(call, scope, (collection, id), Some(at), is_seen);
    if is_seen { Ok(()) } else { Err(Reason::Denied.into()) }
}
