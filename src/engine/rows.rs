//! Walks a collection's rows in chunks of a bounded size, for pages and snapshots alike.

use domain::{CollectionName, DocumentId, ProjectId};
use readmodel::{Reader, documents as tables};

use crate::error::Error;

/// A collection's rows, deleted documents included, read in chunks of about [`CHUNK_BYTES`].
pub(crate) struct Rows<'a> {
    reader: &'a dyn Reader,
    project: &'a ProjectId,
    collection: &'a CollectionName,
    after: Option<DocumentId>,
    wanted: usize,
    ended: bool,
}

/// What one scan of rows aims at: enough to be worth it, little enough to hold many at a time.
const CHUNK_BYTES: usize = 512 << 10;
/// Rows of the first chunk, whose size nobody knows yet.
const CHUNK_ROWS_FIRST: usize = 8;
/// Rows of any chunk.
const CHUNK_ROWS_MAX: usize = 256;

impl<'a> Rows<'a> {
    pub(crate) fn new(
        reader: &'a dyn Reader,
        project: &'a ProjectId,
        collection: &'a CollectionName,
        after: Option<DocumentId>,
    ) -> Self {
        Self { reader, project, collection, after, wanted: CHUNK_ROWS_FIRST, ended: false }
    }

    /// The next rows, hardly more than `needed`; `None` after the last.
    pub(crate) async fn next_chunk(
        &mut self,
        needed: usize,
    ) -> Result<Option<Vec<(DocumentId, tables::Document)>>, Error> {
        if self.ended {
            return Ok(None);
        }
        // A few too many are cheaper than one scan each where most rows are of deleted documents.
        let wanted = self.wanted.min(needed.max(CHUNK_ROWS_FIRST));
        let after = self.after.as_ref().map(DocumentId::as_str);
        let collection = self.collection.as_str();
        let rows = tables::list_rows(self.reader, self.project, collection, after, wanted).await?;
        self.ended = rows.len() < wanted;
        let bytes = |row: &tables::Document| row.data.as_ref().map_or(64, |data| data.len() + 64);
        let total: usize = rows.iter().map(|(_, row)| bytes(row)).sum();
        if let Some((last, _)) = rows.last() {
            self.after = Some(last.clone());
            let each = (total / rows.len()).max(1);
            self.wanted = (CHUNK_BYTES / each).clamp(1, CHUNK_ROWS_MAX);
        }
        Ok((!rows.is_empty()).then_some(rows))
    }
}
