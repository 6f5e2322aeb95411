//! Transactions: several writes, and reads that must still hold, all or none.

use access::{Operation, Path};
use actix_web::http::StatusCode;
use bytes::Bytes;
use domain::documents::{
    ExpectedVersion, Op, ReadCheck, TRANSFORM_ELEMENTS_MAX, TRANSFORMS_MAX, Transform,
    TransformChange, Write,
};
use domain::json::Limits;
use domain::path::below;
use domain::{CollectionName, DocumentId, Recorded};
use engine::Document;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::documents::{DocumentBody, new_id, seen};
use super::page::{write_items, write_position_field};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::document::{write_document, write_text};
use crate::error::{Code, Problem};
use crate::recording;

/// A transaction.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Commit<'a> {
    /// In order: a later write sees an earlier one.
    #[serde(borrow, deserialize_with = "body::objects")]
    #[schema(min_items = 1, max_items = 500)]
    writes: Vec<CommitWrite<'a>>,
    /// Versions that must still hold.
    #[serde(default, deserialize_with = "body::objects")]
    #[schema(max_items = 500)]
    reads: Vec<CommitRead>,
}

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CommitOp {
    /// Make it; refused when it exists.
    Create,
    /// Make it, or replace all of its data.
    Replace,
    /// Merge into it (RFC 7396).
    Patch,
    /// Delete it.
    Delete,
}

/// One write of a transaction.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CommitWrite<'a> {
    /// What to do.
    op: CommitOp,
    /// Where.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$")]
    collection: CollectionName,
    /// Which document; may be left out to create one.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$")]
    id: Option<DocumentId>,
    /// The data, or the patch; none to delete.
    #[serde(borrow)]
    #[schema(value_type = Option<HashMap<String, Value>>)]
    data: Option<&'a RawValue>,
    /// Changes by what fields hold, after `data`, by the field's name: `{"increment": 1}`, `min`,
    /// `max`, `arrayUnion`, `arrayRemove`, `{"serverTime": true}` or `{"delete": true}`. A patch
    /// with transforms needs no data.
    #[serde(default, borrow)]
    #[schema(value_type = Option<HashMap<String, Object>>)]
    transforms: Option<&'a RawValue>,
    /// The version that the document must have; 0 when it must not exist.
    if_version: Option<u64>,
}

/// A read that a transaction relies on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommitRead {
    /// Where.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$")]
    collection: CollectionName,
    /// Which document.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$")]
    id: DocumentId,
    /// The version that was read; 0 when there was no document.
    version: u64,
}

/// What a transaction came to.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CommitResults {
    /// Its last event.
    position: String,
    /// One for each write, in order.
    results: Vec<CommitResult>,
}

/// What one write came to.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CommitResult {
    /// Where.
    collection: String,
    /// Which document.
    id: String,
    /// Its version now.
    version: u64,
    /// What was done.
    op: CommitOp,
    /// The document now; none where it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    document: Option<DocumentBody>,
}

/// Writes several documents, all or none.
#[utoipa::path(
    post, path = "/v1/projects/{project}/commit", operation_id = "commit", tag = "documents",
    request_body(content = Commit),
    responses((status = 200, description = "Everything is written.", body = CommitResults)),
)]
pub(crate) async fn commit(mut call: Call) -> Answer {
    let scope = call.scope().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let commit: Commit<'_> = body::parse(&body)?;
    let count_max = call.app.options.commit_writes_max;
    if commit.writes.is_empty() || commit.writes.len() > count_max {
        return Err(Problem::body("/writes", format!("expected 1 to {count_max} writes")));
    }
    if commit.reads.len() > count_max {
        return Err(Problem::body("/reads", format!("expected at most {count_max} reads")));
    }
    let limits = call.app.engine.options().document;
    for write in &commit.writes {
        // Who may not write there at all need not be decided about by the writer.
        scope.may_write(&write.collection, write.op.operations())?;
    }
    let ops: Vec<CommitOp> = commit.writes.iter().map(|write| write.op).collect();
    let mut writes = Vec::with_capacity(commit.writes.len());
    for (index, write) in commit.writes.into_iter().enumerate() {
        writes.push(write.into_write(index, limits)?);
    }
    let reads = commit.reads.into_iter().map(CommitRead::into_check).collect();
    let written = recording::submit(&call, &scope, writes, reads, &body).await?;
    let mut results = Vec::with_capacity(ops.len());
    for (recorded, op) in written.events.iter().zip(ops) {
        let document = match Document::after(recorded)? {
            Some(document) => {
                let (name, _) = recorded.event.stream.as_document().unwrap_or_default();
                let collection = CollectionName::new(name)
                    .map_err(|e| Problem::new(Code::Internal, "not a document").because(e))?;
                Some(seen(&call, &scope, &collection, document).await?)
            }
            None => None,
        };
        results.push((recorded, op, document));
    }
    let mut out = vec![b'{'];
    write_items(&mut out, "results", &results, |out, (recorded, op, document)| {
        write_result(out, recorded, *op, document.as_ref());
    });
    write_position_field(&mut out, "position", answer::last(&written)?);
    out.push(b'}');
    answer::committed(answer::json_bytes(StatusCode::OK, out), &written)
}

fn write_result(out: &mut Vec<u8>, recorded: &Recorded, op: CommitOp, document: Option<&Document>) {
    let event = &recorded.event;
    // Ids are of letters that JSON does not escape.
    let (collection, id) = event.stream.as_document().unwrap_or_default();
    write_text(
        out,
        format_args!(
            "{{\"collection\":\"{collection}\",\"id\":\"{id}\",\"version\":{},\"op\":\"{}\"",
            event.stream_version,
            op.as_str(),
        ),
    );
    if let Some(document) = document {
        out.extend_from_slice(b",\"document\":");
        write_document(out, document);
    }
    out.push(b'}');
}

impl CommitOp {
    fn operations(self) -> &'static [Operation] {
        match self {
            Self::Create => &[Operation::Create],
            Self::Replace => &[Operation::Create, Operation::Update],
            Self::Patch => &[Operation::Update],
            Self::Delete => &[Operation::Delete],
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

impl CommitRead {
    fn into_check(self) -> ReadCheck {
        ReadCheck { collection: self.collection, id: self.id, version: self.version }
    }
}

/// Errors with the place below `at` and what is wrong there.
fn read_transforms(
    transforms: &RawValue,
    limits: Limits,
    at: &str,
) -> Result<Vec<Transform>, Problem> {
    // Checked as data is, for it becomes some.
    let checked = body::document(transforms.get().as_bytes(), limits);
    let checked = checked.map_err(|problem| problem.field(at.to_owned()))?;
    // Owned names: one may have escapes.
    let transforms: IndexMap<String, &RawValue> = serde_json::from_slice(&checked)
        .map_err(|error| Problem::body(at.to_owned(), error.to_string()))?;
    if !(1..=TRANSFORMS_MAX).contains(&transforms.len()) {
        return Err(Problem::body(at.to_owned(), format!("expected 1 to {TRANSFORMS_MAX} fields")));
    }
    let mut read = Vec::with_capacity(transforms.len());
    for (name, change) in transforms {
        let place = below(at, &name);
        let field = Path::parse(&name).map_err(|e| Problem::body(place.clone(), e.to_string()))?;
        let change = read_change(change).ok_or_else(|| {
            let detail = "expected one of increment, min or max with a number, arrayUnion or \
                          arrayRemove with a list of up to 1,000, serverTime or delete with true";
            Problem::body(place, detail)
        })?;
        read.push(Transform { field, change });
    }
    Ok(read)
}

fn read_change(change: &RawValue) -> Option<TransformChange> {
    let parts: IndexMap<String, &RawValue> = serde_json::from_str(change.get()).ok()?;
    let (1, Some((name, operand))) = (parts.len(), parts.first()) else { return None };
    let operand = operand.get();
    let is_number = operand.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let number = || is_number.then(|| operand.to_owned());
    let list = || {
        let list: Vec<&RawValue> = serde_json::from_str(operand).ok()?;
        let fits = list.len() <= TRANSFORM_ELEMENTS_MAX;
        fits.then(|| list.iter().map(|one| one.get().to_owned()).collect())
    };
    let when_true = |change| (operand == "true").then_some(change);
    match name.as_str() {
        "increment" => number().map(TransformChange::Increment),
        "min" => number().map(TransformChange::Min),
        "max" => number().map(TransformChange::Max),
        "arrayUnion" => list().map(TransformChange::ArrayUnion),
        "arrayRemove" => list().map(TransformChange::ArrayRemove),
        "serverTime" => when_true(TransformChange::ServerTime),
        "delete" => when_true(TransformChange::Delete),
        _ => None,
    }
}

impl CommitWrite<'_> {
    fn into_write(self, index: usize, limits: Limits) -> Result<Write, Problem> {
        let at = |name: &str| format!("/writes/{index}/{name}");
        let name = self.op.as_str();
        let data = |data: Option<&RawValue>| -> Result<Bytes, Problem> {
            let raw =
                data.ok_or_else(|| Problem::body(at("data"), format!("{name} needs data")))?;
            body::document(raw.get().as_bytes(), limits).map_err(|p| p.field(at("data")))
        };
        let transforms = match (&self.transforms, self.op) {
            (None, _) => Vec::new(),
            (Some(_), CommitOp::Delete) => {
                return Err(Problem::body(at("transforms"), "delete takes no transforms"));
            }
            (Some(transforms), _) => read_transforms(transforms, limits, &at("transforms"))?,
        };
        let is_patch_alone =
            self.op == CommitOp::Patch && self.data.is_none() && !transforms.is_empty();
        let op = match self.op {
            CommitOp::Patch if is_patch_alone => Op::Patch(Bytes::from_static(b"{}")),
            CommitOp::Create => Op::Create(data(self.data)?),
            CommitOp::Replace => Op::Replace(data(self.data)?),
            CommitOp::Patch => Op::Patch(data(self.data)?),
            CommitOp::Delete if self.data.is_some() => {
                return Err(Problem::body(at("data"), "delete takes no data"));
            }
            CommitOp::Delete => Op::Delete,
        };
        let op = match transforms.is_empty() {
            true => op,
            false => Op::Transform { op: Box::new(op), transforms },
        };
        let expected = match self.if_version {
            None => ExpectedVersion::Any,
            Some(0) => ExpectedVersion::NoStream,
            Some(_) if self.op == CommitOp::Create => {
                let detail = "create makes what does not exist: expected 0 or nothing";
                return Err(Problem::body(at("ifVersion"), detail));
            }
            Some(version) => ExpectedVersion::Exact(version),
        };
        let (id, expected) = match (self.id, self.op) {
            (Some(id), _) => (id, expected),
            (None, CommitOp::Create) => (new_id()?, ExpectedVersion::Fresh),
            (None, _) => return Err(Problem::body(at("id"), format!("{name} needs an id"))),
        };
        Ok(Write { collection: self.collection, id, op, expected })
    }
}
