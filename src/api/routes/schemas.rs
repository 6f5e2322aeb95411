//! Schemas of collections: whether one can be taken, and what the documents there are would be
//! under it.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use domain::DocumentId;
use engine::Document;
use engine::access::Viewer;
use engine::queries::Wanted;
use schema::{Mismatch, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::{Call, page_limit};
use crate::error::{Code, Problem};

/// The largest body, in bytes: a schema, and what is around it.
const CHECK_BYTES_MAX: usize = 512 << 10;
/// Documents that one call tells of.
const OFFENDERS_MAX: usize = 100;
/// What is told of one.
const ERRORS_MAX: usize = 10;
/// How long one call may take for checking, roughly.
const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

/// A schema to try.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaCheck {
    /// The schema, as a collection's configuration takes it.
    #[schema(value_type = Object)]
    schema: Map<String, Value>,
    /// Documents to look at.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The `cursor` of the call before.
    #[serde(default)]
    #[schema(pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$")]
    cursor: Option<String>,
}

/// What the documents would be under a schema.
#[derive(Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct SchemaChecked {
    /// Documents that were looked at.
    checked: usize,
    /// Those that are not as the schema says.
    invalid: usize,
    /// All of them, in the order of their ids.
    #[schema(max_items = 100)]
    offenders: Vec<Offender>,
    /// Where to go on; `null` when all were looked at.
    cursor: Option<String>,
}

/// A document that is not as the schema says.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Offender {
    /// Its id.
    id: String,
    /// What is wrong with it.
    #[schema(max_items = 10)]
    errors: Vec<SchemaError>,
}

/// What is not as a schema says.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct SchemaError {
    /// JSON Pointer into the document: `/data/…`.
    field: String,
    /// What was expected there.
    detail: String,
}

/// Tries a schema on the documents that a collection has. Nothing is changed.
#[utoipa::path(
    post, path = "/v1/projects/{project}/collections/{collection}/schema/check",
    operation_id = "checkSchema", tag = "collections",
    request_body(content = SchemaCheck),
    responses((status = 200, description = "What would not be as it says.", body = SchemaChecked)),
)]
pub(crate) async fn try_schema(mut call: Call) -> Answer {
    let scope = call.reading().await?;
    let collection = call.collection()?;
    call.query(&[])?;
    let body = call.body_of(JSON, CHECK_BYTES_MAX).await?;
    let SchemaCheck { schema, limit, cursor } = body::parse(&body)?;
    let page_max = call.app.options.page_max;
    let limit = page_limit(limit.or(Some(page_max)), page_max);
    let limit = limit.map_err(|detail| Problem::body("/limit", detail))?;
    let after = cursor.as_deref().map(DocumentId::new).transpose();
    let after = after.map_err(|error| Problem::body("/cursor", error.to_string()))?;
    let schema = compile(&schema)?;
    let viewer = Viewer::default();
    let wanted = Wanted {
        project: &scope.project,
        collection: &collection,
        viewer: &viewer,
        filter: None,
        as_of: None,
    };
    let page = call.app.engine.documents(wanted, after.as_ref(), limit).await?;
    let work = move || check_all(&schema, &page.documents, page.next.as_ref());
    let checked = tokio::task::spawn_blocking(work).await;
    let checked = checked.map_err(|e| Problem::new(Code::Internal, "not checked").because(e))?;
    answer::json(StatusCode::OK, &checked)
}

/// Looks at documents until it has told enough or taken long enough, but at one at least.
fn check_all(schema: &Schema, documents: &[Document], next: Option<&DocumentId>) -> SchemaChecked {
    let began = Instant::now();
    let mut told = SchemaChecked { cursor: next.map(ToString::to_string), ..Default::default() };
    for (index, document) in documents.iter().enumerate() {
        let mismatches = schema.mismatches(&document.data, ERRORS_MAX);
        told.checked += 1;
        if !mismatches.is_empty() {
            told.invalid += 1;
            let errors = mismatches.into_iter().map(SchemaError::from).collect();
            told.offenders.push(Offender { id: document.id.to_string(), errors });
        }
        let is_enough = told.offenders.len() == OFFENDERS_MAX || began.elapsed() > CHECK_TIME_MAX;
        if is_enough && index + 1 < documents.len() {
            told.cursor = Some(document.id.to_string());
            break;
        }
    }
    told
}

/// Whether a collection may have this schema.
///
/// Errors with `invalid-body` and the place in it.
pub(super) fn check(schema: Option<&Map<String, Value>>) -> Result<(), Problem> {
    schema.map_or(Ok(()), |schema| compile(schema).map(drop))
}

fn compile(schema: &Map<String, Value>) -> Result<Schema, Problem> {
    let compiled = Schema::compile(schema);
    compiled.map_err(|error| Problem::body(format!("/schema{}", error.at), error.detail))
}

impl From<Mismatch> for SchemaError {
    fn from(mismatch: Mismatch) -> Self {
        Self { field: format!("/data{}", mismatch.field), detail: mismatch.detail }
    }
}
