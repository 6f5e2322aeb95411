//! Queries by indexes: an index says which documents there may be, and where; each is looked at all
//! the same, as its asker sees it. Where tables don't stand still, what was changed meanwhile is
//! taken from the log.

use std::collections::{BTreeSet, HashSet};

use domain::DocumentId;
use domain::projects::IndexField;
use eventlog::ReadLimit;
use futures_util::{StreamExt as _, stream};
use query::{Definition, Filter, Order, Plan, Range};
use readmodel::documents::{self as tables, IndexKey};

use super::best::Best;
use super::sight::{BYTES_LOOKED_AT_MAX, Looked, Seen, Sight};
use super::{By, From, HIDDEN_MAX, OrderedPage, Paging};
use crate::error::Error;
use crate::read::Document;

/// Places of an index that are read at once.
const PLACES_MAX: usize = 256;
/// Documents that are asked for at a time.
const IN_FLIGHT: usize = 16;
/// One read of what was changed meanwhile.
const CHANGED: ReadLimit = ReadLimit { events_max: 1_024, bytes_max: 1 << 20 };
/// Events that may have been written while a query looked.
const CHANGED_MAX: u64 = 50_000;

/// An index that serves a query.
pub(super) struct Served {
    pub(super) plan: Plan,
    id: String,
    definition: Definition,
}

impl Served {
    /// Whether it is an index over just these fields.
    pub(super) fn is_over(&self, fields: &[IndexField]) -> bool {
        self.definition.fields() == fields
    }

    fn explained(&self) -> By {
        By::Index {
            fields: self.definition.fields(),
            ranges: self.plan.ranges.len(),
            is_ordered: self.plan.is_ordered,
        }
    }
}

/// A look through an index.
struct Search<'a, F> {
    served: &'a Served,
    documents_max: usize,
    /// Documents of a range that are enough.
    enough: Option<usize>,
    each: &'a mut F,
    seen: HashSet<DocumentId>,
    looked: Looked,
    bytes: usize,
}

/// Where to look, and which way.
struct Way {
    /// After this place, or before it.
    after: Option<String>,
    /// Not beyond this one.
    end: Option<String>,
    reverse: bool,
}

impl Sight<'_> {
    /// The indexes that serve the query, the best first: built, and over nothing that is hidden
    /// from its asker. They are of now, so the past has none.
    pub(super) async fn served(&self, order: &Order) -> Result<Vec<Served>, Error> {
        let wanted = &self.wanted;
        let none = Ok(Vec::new());
        if wanted.as_of.is_some() {
            return none;
        }
        let project = self.engine.catalog.project(wanted.project);
        let Some(known) = project.and_then(|project| project.indexes(wanted.collection)) else {
            return none;
        };
        let filter = self.narrowed();
        if filter.is_none() && order.is_by_id() {
            return none;
        }
        let rows = tables::indexes(&*self.view, wanted.project, wanted.collection.as_str()).await?;
        let mut usable = Vec::new();
        for row in rows.iter().filter(|row| row.is_usable()) {
            let definition = known.iter().find(|(text, _)| *text == row.definition);
            let definition = definition.map(|(_, definition)| definition);
            let is_open = |definition: &&Definition| {
                definition.paths().all(|path| wanted.viewer.sees_field(path))
            };
            usable.extend(definition.filter(is_open).map(|definition| (&row.id, definition)));
        }
        let definitions: Vec<&Definition> = usable.iter().map(|(_, one)| *one).collect();
        let plans = query::plans(filter.as_ref(), order, &definitions).into_iter();
        Ok(plans
            .map(|plan| {
                let (id, definition) = usable[plan.index];
                Served { plan, id: id.to_string(), definition: definition.clone() }
            })
            .collect())
    }

    /// The filter with what must hold of a document for its asker to see it.
    fn narrowed(&self) -> Option<Filter> {
        Filter::with_equal(self.wanted.filter, self.wanted.viewer.required())
    }

    /// A page by an index.
    ///
    /// Errors: [`Error::QueryTooLarge`] where it would look at more than `documents_max`.
    pub(super) async fn page_by(
        &self,
        served: &Served,
        paging: Paging<'_>,
        documents_max: usize,
    ) -> Result<OrderedPage, Error> {
        let Paging { order, from, limit, count } = paging;
        let mut best = Best::new(order, from, limit);
        let mut total = 0;
        let mut each = |document: Document| {
            total += 1;
            best.offer(document);
            Ok(())
        };
        let is_ordered = served.plan.is_ordered && !count;
        // One more than asked for tells whether there is a next page.
        let enough = is_ordered.then_some(limit + 1);
        let mut search = self.search(served, documents_max, enough, &mut each);
        for range in &served.plan.ranges {
            self.look_through(&mut search, way(&served.plan, range, is_ordered, from)).await?;
        }
        let looked = self.settle(search).await?;
        // What is on the other side of the place was not looked at.
        best.elsewhere |= is_ordered && !matches!(from, From::Start);
        let by = (served.explained(), None);
        Ok(self.ordered_page(best, looked, by, count.then_some(total)))
    }

    /// All documents of the query by an index.
    ///
    /// Errors: [`Error::QueryTooLarge`], and what `each` says.
    pub(super) async fn each_of(
        &self,
        served: &Served,
        documents_max: usize,
        each: &mut (impl FnMut(Document) -> Result<(), Error> + Send),
    ) -> Result<Looked, Error> {
        let mut search = self.search(served, documents_max, None, each);
        for range in &served.plan.ranges {
            let way = way(&served.plan, range, false, From::Start);
            self.look_through(&mut search, way).await?;
        }
        self.settle(search).await
    }

    fn search<'s, F>(
        &self,
        served: &'s Served,
        documents_max: usize,
        enough: Option<usize>,
        each: &'s mut F,
    ) -> Search<'s, F> {
        let (seen, looked) = (HashSet::new(), Looked::default());
        Search { served, documents_max, enough, each, seen, looked, bytes: 0 }
    }

    fn key<'k>(&'k self, served: &'k Served) -> IndexKey<'k> {
        let collection = self.wanted.collection.as_str();
        IndexKey { project: self.wanted.project, collection, id: &served.id }
    }

    async fn look_through<F: FnMut(Document) -> Result<(), Error>>(
        &self,
        search: &mut Search<'_, F>,
        Way { mut after, end, reverse }: Way,
    ) -> Result<(), Error> {
        let mut wanted = search.enough.unwrap_or(PLACES_MAX).min(PLACES_MAX);
        let mut found = 0;
        let is_beyond = |place: &str| {
            let end = end.as_deref();
            end.is_some_and(|end| if reverse { place <= end } else { place >= end })
        };
        loop {
            let key = self.key(search.served);
            let mut places =
                tables::entries(&*self.view, key, after.as_deref(), reverse, wanted).await?;
            let is_last = places.len() < wanted || places.last().is_some_and(|p| is_beyond(&p.0));
            places.retain(|(place, _)| !is_beyond(place));
            let Some((last, _)) = places.last() else { return Ok(()) };
            after = Some(last.to_string());
            let new = places.into_iter().filter(|(_, id)| !search.seen.contains(id));
            let new: Vec<_> = new.collect();
            let rows = stream::iter(new).map(async |(place, id)| (place, self.row(id).await));
            let mut rows = rows.buffered(IN_FLIGHT);
            while let Some((place, row)) = rows.next().await {
                let (id, row) = row?;
                let Some(row) = row else { continue };
                if !self.is_in_place(search.served, &place, &id, &row) {
                    continue;
                }
                found += usize::from(self.look_at(search, id, row).await?);
                if search.enough.is_some_and(|enough| found >= enough) {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
            wanted = (wanted * 2).min(PLACES_MAX);
            tokio::task::yield_now().await;
        }
    }

    async fn row(&self, id: DocumentId) -> Result<(DocumentId, Option<tables::Document>), Error> {
        let (project, collection) = (self.wanted.project, self.wanted.collection.as_str());
        let row = tables::get_document(&*self.view, project, collection, id.as_str()).await?;
        Ok((id, row))
    }

    /// Whether a row is of the query's moment and has this place. Where tables don't stand still,
    /// one of both may be newer than the other: then it is left to `settle`.
    fn is_in_place(
        &self,
        served: &Served,
        place: &str,
        id: &DocumentId,
        row: &tables::Document,
    ) -> bool {
        if self.view.is_exact() {
            return true;
        }
        let Some(data) = &row.data else { return false };
        let (created_at, updated_at) = (row.created_at, row.updated_at);
        let document = query::Document { id: id.as_str(), created_at, updated_at, data };
        row.offset <= self.position.offset
            && served.definition.places(&document).iter().any(|own| own == place)
    }

    /// Whether it is one of those that the query is about.
    async fn look_at<F: FnMut(Document) -> Result<(), Error>>(
        &self,
        search: &mut Search<'_, F>,
        id: DocumentId,
        row: tables::Document,
    ) -> Result<bool, Error> {
        let may_repeat = search.served.plan.may_repeat || !self.view.is_exact();
        if may_repeat && !search.seen.insert(id.clone()) {
            return Ok(false);
        }
        search.look(row.data.as_ref().map_or(0, |data| data.len()))?;
        match self.look(&id, row).await? {
            Seen::Document(document) => (search.each)(document).map(|()| true),
            Seen::Hidden => {
                search.hide(id);
                Ok(false)
            }
            Seen::Nothing => Ok(false),
        }
    }

    /// Adds what was changed since the query's moment and may so have been missed.
    async fn settle<F: FnMut(Document) -> Result<(), Error>>(
        &self,
        mut search: Search<'_, F>,
    ) -> Result<Looked, Error> {
        if self.view.is_exact() {
            return Ok(search.looked);
        }
        for id in self.changed().await? {
            if search.seen.contains(&id) {
                continue;
            }
            let (id, row) = self.row(id).await?;
            let Some(row) = row else { continue };
            search.look(row.data.as_ref().map_or(0, |data| data.len()))?;
            match self.look(&id, row).await? {
                Seen::Document(document) => (search.each)(document)?,
                Seen::Hidden => search.hide(id),
                Seen::Nothing => {}
            }
        }
        let (project, collection) = (self.wanted.project, self.wanted.collection.as_str());
        let indexes = tables::indexes(&*self.view, project, collection).await?;
        let is_there = indexes.iter().any(|row| row.id == search.served.id && row.is_usable());
        match is_there {
            true => Ok(search.looked),
            // Its places may have been removed before they were read.
            false => Err(Error::Unavailable("the index was dropped meanwhile".to_owned())),
        }
    }

    /// Documents of the collection that have changed since the query's moment.
    async fn changed(&self) -> Result<BTreeSet<DocumentId>, Error> {
        let (engine, partition) = (self.engine, &*self.partition);
        if engine.is_shared() {
            partition.refresh(&*engine.log, engine.options.read_wait_max).await?;
        }
        let (mut next, end) = (self.position.offset + 1, partition.applied());
        let mut changed = BTreeSet::new();
        if end.saturating_sub(next) > CHANGED_MAX {
            return Err(Error::Unavailable("too much is written meanwhile".to_owned()));
        }
        while next < end {
            let read = engine.log.read(partition.id, next, CHANGED).await?;
            for recorded in &read.events {
                let event = &recorded.event;
                let Some((collection, id)) = event.stream.as_document() else { continue };
                if event.project == *self.wanted.project
                    && collection == self.wanted.collection.as_str()
                    && let Ok(id) = DocumentId::new(id)
                {
                    changed.insert(id);
                }
            }
            if read.next <= next {
                break;
            }
            next = read.next;
        }
        Ok(changed)
    }
}

impl<F> Search<'_, F> {
    /// Counts a document.
    fn look(&mut self, bytes: usize) -> Result<(), Error> {
        self.looked.documents += 1;
        self.bytes += bytes;
        let documents_max = self.documents_max;
        match self.looked.documents > documents_max || self.bytes > BYTES_LOOKED_AT_MAX {
            true => Err(Error::QueryTooLarge { documents_max, index: None }),
            false => Ok(()),
        }
    }

    fn hide(&mut self, id: DocumentId) {
        if self.looked.hidden.len() < HIDDEN_MAX {
            self.looked.hidden.push(id);
        }
    }
}

/// Where the documents of a range are that come after a place, or before it.
fn way(plan: &Plan, range: &Range, is_ordered: bool, from: From<'_>) -> Way {
    let reverse = is_ordered && plan.reverse != matches!(from, From::Before(_));
    let (mut start, mut end) = (range.start.clone(), range.end.clone());
    if is_ordered && let From::After(cursor) | From::Before(cursor) = from {
        let place = plan.place(range, cursor.keys());
        if reverse {
            end = Some(end.map_or_else(|| place.clone(), |end| end.min(place.clone())));
        } else {
            start = start.max(place);
        }
    }
    match reverse {
        false => Way { after: Some(start), end, reverse },
        true => Way { after: end, end: Some(start), reverse },
    }
}
