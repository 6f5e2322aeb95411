//! How far the indexes of a collection are.

use domain::projects::IndexField;
use domain::{CollectionName, ProjectId};
use query::Definition;
use readmodel::documents as tables;

use crate::Engine;
use crate::error::Error;

/// An index, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexStatus {
    /// Its fields.
    pub fields: Vec<IndexField>,
    /// Whether no two documents may have the same values.
    pub is_unique: bool,
    /// How far it is.
    pub state: IndexState,
}

/// How far an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// It gets the documents that were there before it.
    Building {
        /// How many were looked at, deleted ones included.
        documents: u64,
    },
    /// It has all documents.
    Ready,
    /// It is no longer configured, and is being removed.
    Dropping,
}

impl Engine {
    /// The indexes of a collection, the oldest first.
    ///
    /// Errors as for [`Engine::document`].
    pub async fn indexes(
        &self,
        project: &ProjectId,
        collection: &CollectionName,
    ) -> Result<Vec<IndexStatus>, Error> {
        let partition = self.partition(project);
        partition.check_readable()?;
        let space = partition.documents();
        let mut rows = tables::indexes(&*space, project, collection.as_str()).await?;
        rows.sort_by_key(|row| row.since);
        let status = |row: tables::Index| {
            let definition = Definition::parse(&row.definition)?;
            let state = match (row.dropped, row.built) {
                (Some(_), _) => IndexState::Dropping,
                (None, true) => IndexState::Ready,
                (None, false) => {
                    IndexState::Building { documents: row.documents.unwrap_or_default() }
                }
            };
            let (fields, is_unique) = (definition.fields(), definition.is_unique());
            Some(IndexStatus { fields, is_unique, state })
        };
        Ok(rows.into_iter().filter_map(status).collect())
    }
}
