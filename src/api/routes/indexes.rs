//! The indexes of a collection: which there are, and how far those are that are being built.

use actix_web::http::StatusCode;
use engine::queries::{IndexState, IndexStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::collections::IndexField;
use crate::answer::{self, Answer};
use crate::call::Call;

/// The indexes of a collection.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct IndexList {
    /// In the order in which they were configured.
    indexes: Vec<IndexBody>,
}

/// An index, and how far it is.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = IndexStatus)]
pub(crate) struct IndexBody {
    /// In order.
    fields: Vec<IndexField>,
    /// Whether no two documents may have the same values.
    unique: bool,
    /// How far it is.
    state: State,
    /// While it is built: how many documents were looked at, deleted ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    documents: Option<u64>,
}

/// How far an index is.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It gets the documents that were there before it. No query uses it yet.
    Building,
    /// It has all documents.
    Ready,
    /// It is no longer configured, and is being removed.
    Dropping,
}

impl From<IndexStatus> for IndexBody {
    fn from(status: IndexStatus) -> Self {
        let (state, documents) = match status.state {
            IndexState::Building { documents } => (State::Building, Some(documents)),
            IndexState::Ready => (State::Ready, None),
            IndexState::Dropping => (State::Dropping, None),
        };
        let fields = status.fields.iter().map(IndexField::from).collect();
        Self { fields, unique: status.is_unique, state, documents }
    }
}

/// Lists the indexes of a collection, those of what is unique included, and how far they are.
#[utoipa::path(
    get, path = "/v1/projects/{project}/collections/{collection}/indexes",
    operation_id = "listIndexes", tag = "collections",
    responses((status = 200, description = "The indexes.", body = IndexList)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading().await?;
    let collection = call.collection()?;
    call.query(&[])?;
    let indexes = call.app.engine.indexes(&scope.project, &collection).await?;
    let indexes = indexes.into_iter().map(IndexBody::from).collect();
    answer::json(StatusCode::OK, &IndexList { indexes })
}
