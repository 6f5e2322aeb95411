//! Answers queries: pages of a collection by id or in any order, and aggregates. What somebody sees
//! of a document comes first, and only that is filtered, ordered and counted: a query tells nothing
//! about what is hidden.

mod best;
mod indexed;
mod sight;
mod status;

use std::collections::HashSet;

use domain::projects::IndexField;
use domain::{CollectionName, DocumentId, Position, ProjectId};
use query::{Aggregate, Aggregates, Cursor, Filter, Group, Order};

use crate::Engine;
use crate::access::Viewer;
use crate::error::Error;
use crate::read::{AsOf, Document, PAGE_BYTES_MAX};
use best::Best;
use indexed::Served;
use sight::{Looked, Seen, Sight};

pub use status::{IndexState, IndexStatus};

/// Documents that a page names which its viewer may not see.
const HIDDEN_MAX: usize = 20;
/// Rows looked at for one page by id, deleted ones included; then the page is short.
const ROWS_SCANNED_MAX: usize = 5_000;
/// The same for a page of the past, where each row may cost several reads; and for queries of it.
const ROWS_SCANNED_AS_OF_MAX: usize = 1_000;
/// Indexes that are tried for one page: where the first finds too much, another may not.
const PLANS_MAX: usize = 2;
/// Documents of an index that are sorted by id; where there are more, a page by id looks at the
/// documents themselves.
const SORTED_BY_ID_MAX: usize = 1_000;

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

/// Which page somebody wants.
#[derive(Debug, Clone, Copy)]
pub struct Paging<'a> {
    /// What comes first.
    pub order: &'a Order,
    /// Where it begins.
    pub from: From<'a>,
    /// Documents in it at most.
    pub limit: usize,
    /// Whether to count what is in all pages.
    pub count: bool,
}

/// How a query found its documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Where it looked.
    pub by: By,
    /// How many documents it looked at.
    pub looked_at: usize,
    /// The fields of the index that would serve it best, if there is one and it was not that.
    pub suggestion: Option<Vec<IndexField>>,
}

/// Where a query looked for its documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// At the documents in the order of their ids, from the place where the page begins.
    Ids,
    /// At all of the collection.
    Collection,
    /// At what an index has in some ranges.
    Index {
        /// The index.
        fields: Vec<IndexField>,
        /// How many ranges of it.
        ranges: usize,
        /// Whether they were in the query's order already.
        is_ordered: bool,
    },
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
    /// How many documents the query is about, in all pages, where that was asked.
    pub total: Option<u64>,
    /// How they were found.
    pub explanation: Explanation,
    /// Every event up to this position is in the page.
    pub position: Position,
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
        self.documents_by_id(wanted, after, limit).await.map(|(page, _)| page)
    }

    /// The same, with how many documents were looked at.
    async fn documents_by_id(
        &self,
        wanted: Wanted<'_>,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<(Page, usize), Error> {
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
                    return Ok((Page { documents, hidden, next: after, position }, scanned));
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
        Ok((Page { documents, hidden, next: None, position }, scanned))
    }

    /// A page in any ordering, found by the index that serves it best. Without one, a page by id
    /// may be short, as [`Engine::documents`] has it, and any other looks at all of the collection.
    ///
    /// Errors: [`Error::QueryTooLarge`], and those of [`Engine::document`].
    pub async fn page(&self, wanted: Wanted<'_>, paging: Paging<'_>) -> Result<OrderedPage, Error> {
        let Paging { order, from, count, .. } = paging;
        let sight = Sight::open(self, wanted).await?;
        let by_ids = order.is_by_id() && !count && !matches!(from, From::Before(_));
        let served = sight.served(order).await?;
        let mut too_large = None;
        for one in served.iter().take(PLANS_MAX) {
            // Few documents are worth sorting where a page by id is to be had anyway.
            let documents_max = match by_ids && !one.plan.is_ordered {
                true => SORTED_BY_ID_MAX.min(sight.documents_max()),
                false => sight.documents_max(),
            };
            match sight.page_by(one, paging, documents_max).await {
                Err(error @ Error::QueryTooLarge { .. }) => too_large = Some(error),
                outcome => return outcome,
            }
        }
        if by_ids {
            return self.page_by_id(wanted, paging).await;
        }
        match too_large {
            // The collection has no fewer.
            Some(error) => Err(sight.suggested(error, order, &served)),
            None => {
                let page = sight.page_of_all(paging).await;
                page.map_err(|error| sight.suggested(error, order, &served))
            }
        }
    }

    /// A page by id, as others are.
    async fn page_by_id(
        &self,
        wanted: Wanted<'_>,
        Paging { order, from, limit, .. }: Paging<'_>,
    ) -> Result<OrderedPage, Error> {
        let after = match from {
            From::After(cursor) => cursor.id(),
            From::Start | From::Before(_) => None,
        };
        let place = |document: &Document| Cursor::of(order.keys(&document.as_queried()));
        let (page, looked_at) = self.documents_by_id(wanted, after.as_ref(), limit).await?;
        Ok(OrderedPage {
            previous: page.documents.first().filter(|_| after.is_some()).map(place),
            next: page.next.as_ref().map(Cursor::of_id),
            documents: page.documents,
            hidden: page.hidden,
            total: None,
            explanation: Explanation {
                by: By::Ids,
                looked_at,
                suggestion: wanted.filter.and_then(|filter| query::suggestion(Some(filter), order)),
            },
            position: page.position,
        })
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
        sight.each(each).await?;
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
        sight.each(add).await?;
        Ok((aggregates.done(), sight.position))
    }
}

impl Sight<'_> {
    /// All that the query is about, in any order.
    ///
    /// Errors: [`Error::QueryTooLarge`], and what `each` says.
    async fn each(
        &self,
        mut each: impl FnMut(Document) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let order = Order::default();
        let mut served = self.served(&order).await?;
        // An order is of no use here.
        served.retain(|one| one.plan.equal > 0 || one.plan.bounded);
        let looked = match served.first() {
            Some(one) => self.each_of(one, self.documents_max(), &mut each).await,
            None => self.all(each).await,
        };
        looked.map(|_| ()).map_err(|error| self.suggested(error, &order, &served))
    }

    /// A page out of all of the collection.
    async fn page_of_all(
        &self,
        Paging { order, from, limit, count }: Paging<'_>,
    ) -> Result<OrderedPage, Error> {
        let mut best = Best::new(order, from, limit);
        let mut total = 0;
        let looked = self
            .all(|document| {
                total += 1;
                best.offer(document);
                Ok(())
            })
            .await?;
        let suggestion = query::suggestion(self.wanted.filter, order);
        Ok(self.ordered_page(best, looked, (By::Collection, suggestion), count.then_some(total)))
    }

    fn ordered_page(
        &self,
        best: Best<'_>,
        Looked { documents: looked_at, hidden }: Looked,
        (by, suggestion): (By, Option<Vec<IndexField>>),
        total: Option<u64>,
    ) -> OrderedPage {
        let (documents, next, previous) = best.done();
        let explanation = Explanation { by, looked_at, suggestion };
        let position = self.position;
        OrderedPage { documents, hidden, next, previous, total, explanation, position }
    }

    /// The error with the index that would serve the query, unless there is one like that.
    fn suggested(&self, error: Error, order: &Order, served: &[Served]) -> Error {
        let Error::QueryTooLarge { documents_max, .. } = error else { return error };
        let suggestion = query::suggestion(self.wanted.filter, order);
        let suggestion = suggestion.filter(|fields| !served.iter().any(|one| one.is_over(fields)));
        let index = suggestion.and_then(|fields| serde_json::to_string(&fields).ok());
        let index = index.map(|fields| format!("{{\"fields\":{fields}}}"));
        Error::QueryTooLarge { documents_max, index }
    }
}
