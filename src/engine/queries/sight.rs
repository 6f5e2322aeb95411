//! A query's sight of one collection at one moment: what somebody sees of each row.

use std::sync::Arc;

use domain::{DocumentId, Position};
use readmodel::{Reader, Space, documents as tables};

use super::{HIDDEN_MAX, ROWS_SCANNED_AS_OF_MAX, Wanted};
use crate::Engine;
use crate::access::Others;
use crate::error::Error;
use crate::partition::Partition;
use crate::read::{AsOf, Document};
use crate::rows::Rows;

/// A query's sight of one collection at one moment.
pub(super) struct Sight<'a> {
    pub(super) engine: &'a Engine,
    pub(super) partition: Arc<Partition>,
    pub(super) wanted: Wanted<'a>,
    /// As of now, for rules.
    space: Arc<dyn Space>,
    /// As of one position, for rows.
    pub(super) view: Arc<dyn Reader>,
    pub(super) position: Position,
    at: AsOf,
    /// Who may not see a document now may not see what it was either.
    needs_now: bool,
}

/// Bytes of documents that one query may look at when it looks at all of a collection.
pub(super) const BYTES_LOOKED_AT_MAX: usize = 256 << 20;

/// What there is of a row.
pub(super) enum Seen {
    Document(Document),
    /// It is hidden from the viewer.
    Hidden,
    /// It is not there, or the query is not about it.
    Nothing,
}

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// How many documents.
    pub(super) documents: usize,
    /// The first of those that are hidden.
    pub(super) hidden: Vec<DocumentId>,
}

impl<'a> Sight<'a> {
    /// Errors as for [`Engine::document`].
    pub(super) async fn open(engine: &'a Engine, wanted: Wanted<'a>) -> Result<Self, Error> {
        let partition = Arc::clone(engine.partition(wanted.project));
        partition.check_readable()?;
        if let Some(as_of) = wanted.as_of {
            engine.check_as_of(&partition, as_of).await?;
        }
        let view = partition.documents().view().await?;
        // A project that exists has an event, so the checkpoint is past at least one.
        let offset = view.checkpoint().await?.saturating_sub(1);
        let position = Position { partition: partition.id, offset };
        Ok(Self {
            engine,
            wanted,
            space: partition.documents(),
            view,
            position,
            // A row may be newer than the view: then what it was is in its history.
            at: wanted.as_of.unwrap_or(AsOf::Position(position)),
            needs_now: wanted.as_of.is_some() && !wanted.viewer.is_past_rules(),
            partition,
        })
    }

    pub(super) fn rows(&'a self, after: Option<DocumentId>) -> Rows<'a> {
        Rows::new(&*self.view, self.wanted.project, self.wanted.collection, after)
    }

    pub(super) async fn look(
        &self,
        id: &DocumentId,
        stored: tables::Document,
    ) -> Result<Seen, Error> {
        let Wanted { project, collection, viewer, filter, .. } = self.wanted;
        let others = self.engine.others(&*self.space, project);
        let now = match self.needs_now {
            true => {
                let now = self.partition.document(id.clone(), stored.clone());
                self.engine.opened(project, collection, now).await?
            }
            false => None,
        };
        let key = (collection, id);
        let then = self
            .engine
            .document_as_of(&*self.view, &self.partition, project, key, stored, self.at)
            .await?;
        let Some(then) = then else { return Ok(Seen::Nothing) };
        let Some(then) = viewer.see(&others, then).await? else { return Ok(Seen::Hidden) };
        if !self.is_seen(now, &others).await? {
            return Ok(Seen::Nothing);
        }
        match filter.is_none_or(|filter| filter.matches(&then.as_queried())) {
            true => Ok(Seen::Document(then)),
            false => Ok(Seen::Nothing),
        }
    }

    async fn is_seen(&self, now: Option<Document>, others: &Others<'_>) -> Result<bool, Error> {
        match now {
            Some(now) => Ok(self.wanted.viewer.see(others, now).await?.is_some()),
            None => Ok(true),
        }
    }

    /// Documents that the query may look at.
    pub(super) fn documents_max(&self) -> usize {
        match self.wanted.as_of {
            None => self.engine.options.query_documents_max,
            Some(_) => self.engine.options.query_documents_max.min(ROWS_SCANNED_AS_OF_MAX),
        }
    }

    /// Looks at the whole collection.
    ///
    /// Errors: [`Error::QueryTooLarge`], and what `each` says.
    pub(super) async fn all(
        &self,
        mut each: impl FnMut(Document) -> Result<(), Error>,
    ) -> Result<Looked, Error> {
        let documents_max = self.documents_max();
        let (mut rows, mut looked, mut hidden) = (self.rows(None), 0, Vec::new());
        let mut bytes = 0;
        while let Some(chunk) = rows.next_chunk(usize::MAX).await? {
            for (id, stored) in chunk {
                looked += 1;
                bytes += stored.data.as_ref().map_or(0, |data| data.len());
                if looked > documents_max || bytes > BYTES_LOOKED_AT_MAX {
                    return Err(Error::QueryTooLarge { documents_max, index: None });
                }
                match self.look(&id, stored).await? {
                    Seen::Document(document) => each(document)?,
                    Seen::Hidden if hidden.len() < HIDDEN_MAX => hidden.push(id),
                    Seen::Hidden | Seen::Nothing => {}
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(Looked { documents: looked, hidden })
    }
}
