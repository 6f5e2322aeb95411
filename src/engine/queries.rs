//! Answers queries: pages of a collection by id or in any order, and aggregates. What somebody sees
//! of a document comes first, and only that is filtered, ordered and counted: a query tells nothing
//! about what is hidden.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use domain::{CollectionName, DocumentId, Position, ProjectId};
use query::{Aggregate, Aggregates, Cursor, Filter, Group, Keys, Order};
use readmodel::{Reader, Space, documents as tables};

use crate::Engine;
use crate::access::{Others, Viewer};
use crate::error::Error;
use crate::partition::Partition;
use crate::read::{AsOf, Document, PAGE_BYTES_MAX};
use crate::rows::Rows;

/// Documents that a page names which its viewer may not see.
const HIDDEN_MAX: usize = 20;
/// Rows looked at for one page by id, deleted ones included; then the page is short.
const ROWS_SCANNED_MAX: usize = 5_000;
/// The same for a page of the past, where each row may cost several reads; and for queries of it.
const ROWS_SCANNED_AS_OF_MAX: usize = 1_000;

/// Which documents somebody wants to see.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Of which project.
    pub project: &'a ProjectId,
    /// Of which collection.
    pub collection: &'a CollectionName,
    /// As far as this one sees them.
    pub viewer: &'a Viewer,
    /// Those that it holds of; all, when there is none.
    pub filter: Option<&'a Filter>,
    /// When; now, when nothing is said. What was is shown to nobody who may not see what is.
    pub as_of: Option<AsOf>,
}

/// A page of documents in the order of their ids.
#[derive(Debug, Clone)]
pub struct Page {
    /// The documents.
    pub documents: Vec<Document>,
    /// The first of those that the viewer may not see; 20 at most.
    pub hidden: Vec<DocumentId>,
    /// The id to go on after, when there may be more.
    pub next: Option<DocumentId>,
    /// Every event up to this position is in the page.
    pub position: Position,
}

/// Where a page of an ordering begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From<'a> {
    /// With the first document.
    Start,
    /// With the first one after this place.
    After(&'a Cursor),
    /// So that it ends with the last one before this place.
    Before(&'a Cursor),
}

/// A page of documents in some ordering.
#[derive(Debug, Clone)]
pub struct OrderedPage {
    /// The documents.
    pub documents: Vec<Document>,
    /// The first of those that the viewer may not see; 20 at most.
    pub hidden: Vec<DocumentId>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
    /// Where the page before ends, if there is one.
    pub previous: Option<Cursor>,
    /// How many documents the query is about, in all pages.
    pub total: u64,
    /// Every event up to this position is in the page.
    pub position: Position,
}

/// A query's sight of one collection at one moment.
struct Sight<'a> {
    engine: &'a Engine,
    partition: Arc<Partition>,
    wanted: Wanted<'a>,
    /// As of now, for rules.
    space: Arc<dyn Space>,
    /// As of one position, for rows.
    view: Arc<dyn Reader>,
    position: Position,
    at: AsOf,
    /// Who may not see a document now may not see what it was either.
    needs_now: bool,
}

/// Bytes of documents that one query may look at when it looks at all of a collection.
const BYTES_LOOKED_AT_MAX: usize = 256 << 20;

/// What there is of a row.
enum Seen {
    Document(Document),
    /// It is hidden from the viewer.
    Hidden,
    /// It is not there, or the query is not about it.
    Nothing,
}

impl<'a> Sight<'a> {
    /// Errors as for [`Engine::document`].
    async fn open(engine: &'a Engine, wanted: Wanted<'a>) -> Result<Self, Error> {
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

    fn rows(&'a self, after: Option<DocumentId>) -> Rows<'a> {
        Rows::new(&*self.view, self.wanted.project, self.wanted.collection, after)
    }

    async fn look(&self, id: &DocumentId, stored: tables::Document) -> Result<Seen, Error> {
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

    /// Looks at all that the query is about; the first hidden ones are told.
    ///
    /// Errors: [`Error::QueryTooLarge`], and what `each` says.
    async fn all(
        &self,
        mut each: impl FnMut(Document) -> Result<(), Error>,
    ) -> Result<Vec<DocumentId>, Error> {
        let documents_max = match self.wanted.as_of {
            None => self.engine.options.query_documents_max,
            Some(_) => self.engine.options.query_documents_max.min(ROWS_SCANNED_AS_OF_MAX),
        };
        let (mut rows, mut looked, mut hidden) = (self.rows(None), 0, Vec::new());
        let mut bytes = 0;
        while let Some(chunk) = rows.next_chunk(usize::MAX).await? {
            for (id, stored) in chunk {
                looked += 1;
                bytes += stored.data.as_ref().map_or(0, |data| data.len());
                if looked > documents_max || bytes > BYTES_LOOKED_AT_MAX {
                    return Err(Error::QueryTooLarge { documents_max });
                }
                match self.look(&id, stored).await? {
                    Seen::Document(document) => each(document)?,
                    Seen::Hidden if hidden.len() < HIDDEN_MAX => hidden.push(id),
                    Seen::Hidden | Seen::Nothing => {}
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(hidden)
    }
}

impl Document {
    /// As filters and orderings see it.
    pub fn as_queried(&self) -> query::Document<'_> {
        query::Document {
            id: self.id.as_str(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            data: &self.data,
        }
    }
}

impl Engine {
    /// Documents in the order of their ids, from just after `after` on. Looks at a bounded number
    /// of rows: a page may be short, and `next` tells where to go on.
    ///
    /// Errors as for [`Engine::document`].
    pub async fn documents(
        &self,
        wanted: Wanted<'_>,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let sight = Sight::open(self, wanted).await?;
        let position = sight.position;
        let rows_max = match wanted.as_of {
            None => ROWS_SCANNED_MAX,
            Some(_) => ROWS_SCANNED_AS_OF_MAX,
        };
        let mut rows = sight.rows(after.cloned());
        let (mut documents, mut bytes, mut scanned) = (Vec::new(), 0, 0);
        let mut hidden = Vec::new();
        let mut after = after.cloned();
        // One more than asked for tells whether there is a next page.
        while let Some(chunk) = rows.next_chunk(limit + 1 - documents.len()).await? {
            for (id, stored) in chunk {
                // A short page tells that there is more just as a full one does.
                if documents.len() == limit || bytes > PAGE_BYTES_MAX || scanned == rows_max {
                    return Ok(Page { documents, hidden, next: after, position });
                }
                scanned += 1;
                match sight.look(&id, stored).await? {
                    Seen::Document(document) => {
                        bytes += document.data.len();
                        documents.push(document);
                    }
                    Seen::Hidden if hidden.len() < HIDDEN_MAX => hidden.push(id.clone()),
                    Seen::Hidden | Seen::Nothing => {}
                }
                after = Some(id);
            }
            tokio::task::yield_now().await;
        }
        Ok(Page { documents, hidden, next: None, position })
    }

    /// A page in any ordering, and how many documents there are. Looks at all documents of the
    /// collection.
    ///
    /// Errors: [`Error::QueryTooLarge`], and those of [`Engine::document`].
    pub async fn ordered(
        &self,
        wanted: Wanted<'_>,
        order: &Order,
        from: From<'_>,
        limit: usize,
    ) -> Result<OrderedPage, Error> {
        let sight = Sight::open(self, wanted).await?;
        let mut best = Best::new(order, from, limit);
        let mut total = 0;
        let hidden = sight
            .all(|document| {
                total += 1;
                best.offer(document);
                Ok(())
            })
            .await?;
        let (documents, next, previous) = best.done();
        Ok(OrderedPage { documents, hidden, next, previous, total, position: sight.position })
    }

    /// The ids of all that the query is about, and the position that they are of.
    ///
    /// Errors: [`Error::QueryTooLarge`], and those of [`Engine::document`].
    pub(crate) async fn ids(
        &self,
        wanted: Wanted<'_>,
    ) -> Result<(HashSet<DocumentId>, Position), Error> {
        let sight = Sight::open(self, wanted).await?;
        let mut ids = HashSet::new();
        let each = |document: Document| {
            ids.insert(document.id);
            Ok(())
        };
        sight.all(each).await?;
        Ok((ids, sight.position))
    }

    /// Aggregates over all that the query is about, and the position that they are of.
    ///
    /// Errors: [`Error::QueryTooLarge`], also for too many groups, and those of
    /// [`Engine::document`].
    pub async fn aggregate(
        &self,
        wanted: Wanted<'_>,
        aggregate: &Aggregate,
    ) -> Result<(Vec<Group>, Position), Error> {
        let sight = Sight::open(self, wanted).await?;
        let mut aggregates = Aggregates::new(aggregate);
        let add = |document: Document| {
            aggregates.add(&document.as_queried()).map_err(|_| Error::TooManyGroups)
        };
        sight.all(add).await?;
        Ok((aggregates.done(), sight.position))
    }
}

/// The first documents of an ordering, from some place on.
struct Best<'a> {
    order: &'a Order,
    from: From<'a>,
    limit: usize,
    /// In the page's own direction.
    found: Vec<(Keys, Document)>,
    bytes: usize,
    /// The first one that had no room: neither have those behind it.
    bound: Option<Keys>,
    /// Whether there are documents on the other side of the place.
    elsewhere: bool,
}

impl<'a> Best<'a> {
    fn new(order: &'a Order, from: From<'a>, limit: usize) -> Self {
        let (found, bound) = (Vec::new(), None);
        Self { order, from, limit, found, bytes: 0, bound, elsewhere: false }
    }

    fn compare(&self, one: &Keys, other: &Keys) -> Ordering {
        let at = self.order.compare(one, other);
        if matches!(self.from, From::Before(_)) { at.reverse() } else { at }
    }

    fn offer(&mut self, document: Document) {
        let keys = self.order.keys(&document.as_queried());
        if let From::After(place) | From::Before(place) = self.from
            && self.compare(&keys, place.keys()).is_le()
        {
            self.elsewhere = true;
            return;
        }
        if self.bound.as_ref().is_some_and(|bound| self.compare(&keys, bound).is_ge()) {
            return;
        }
        let at = self.found.partition_point(|(own, _)| self.compare(own, &keys).is_lt());
        self.bytes += document.data.len();
        self.found.insert(at, (keys, document));
        // The page may be short, but never empty.
        while self.found.len() > self.limit || (self.bytes > PAGE_BYTES_MAX && self.found.len() > 1)
        {
            let Some((keys, last)) = self.found.pop() else { break };
            self.bytes -= last.data.len();
            self.bound = Some(keys);
        }
    }

    /// The page, where the next one begins and where the one before ends.
    fn done(mut self) -> (Vec<Document>, Option<Cursor>, Option<Cursor>) {
        let is_more = self.bound.is_some();
        let backwards = matches!(self.from, From::Before(_));
        if backwards {
            self.found.reverse();
        }
        let cursor =
            |keys: Option<&(Keys, Document)>| keys.map(|(keys, _)| Cursor::of(keys.clone()));
        let (first, last) = (cursor(self.found.first()), cursor(self.found.last()));
        let (next, previous) = match backwards {
            false => (last.filter(|_| is_more), first.filter(|_| self.elsewhere)),
            true => (last.filter(|_| self.elsewhere), first.filter(|_| is_more)),
        };
        (self.found.into_iter().map(|(_, document)| document).collect(), next, previous)
    }
}
