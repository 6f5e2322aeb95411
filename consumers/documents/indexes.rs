//! Keeps the places of documents in the indexes of their collections. From the event on that
//! configures an index every change is kept in it; what was there before is added in the
//! background, document by document, and what a dropped index had is removed likewise. In the end
//! the rows are the same, however much of that was done when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use domain::documents::DocumentEvent;
use domain::path::Path;
use domain::projects::CollectionConfig;
use domain::{CollectionName, DocumentId, Offset, ProjectId, Recorded, Timestamp};
use engine::{Fault, Work};
use query::{Definition, Document};
use readmodel::documents::{self as tables, Index, IndexKey};
use readmodel::{Reader, Write};

/// Documents looked at, or places removed, in one step.
const STEP_ROWS_MAX: usize = 1_000;
/// Bytes of documents that a step aims at.
const STEP_BYTES: usize = 1 << 20;
/// Bytes of places that a step aims at.
const STEP_PLACE_BYTES: usize = 8 << 20;
/// Documents of a first step, whose size nobody knows yet.
const STEP_ROWS_FIRST: usize = 32;

/// What is known of all indexes, in memory.
#[derive(Default)]
pub(super) struct Indexes {
    of: HashMap<ProjectId, BTreeMap<CollectionName, Vec<Kept>>>,
    /// Documents that are in the tables only from this batch on.
    batch: HashMap<(ProjectId, String, String), Option<Bytes>>,
    /// Rows of the next step.
    step_rows: usize,
    /// Whether something is to be built or removed.
    has_work: bool,
}

struct Kept {
    row: Index,
    definition: Arc<Definition>,
    /// The last place that was removed.
    removed: Option<String>,
}

impl Kept {
    fn key<'a>(&'a self, project: &'a ProjectId) -> IndexKey<'a> {
        IndexKey { project, collection: self.row.collection.as_str(), id: &self.row.id }
    }

    /// Whether an event's change is to be found in it.
    fn takes(&self, offset: Offset) -> bool {
        self.row.since < offset && self.row.dropped.is_none_or(|dropped| dropped > offset)
    }
}

impl Indexes {
    /// Reads the indexes of these projects.
    pub(super) async fn load(
        &mut self,
        reader: &dyn Reader,
        projects: impl Iterator<Item = &ProjectId>,
    ) -> Result<(), Fault> {
        *self = Self { step_rows: STEP_ROWS_FIRST, ..Self::default() };
        for project in projects {
            for row in tables::all_indexes(reader, project).await? {
                let Some(definition) = Definition::parse(&row.definition) else {
                    tracing::error!(project.id = %project, index = %row.id, "not an index");
                    continue;
                };
                let kept = Kept { definition: Arc::new(definition), row, removed: None };
                self.has_work |= is_unfinished(&kept);
                self.of_collection(project, &kept.row.collection.clone()).push(kept);
            }
        }
        Ok(())
    }

    fn of_collection(
        &mut self,
        project: &ProjectId,
        collection: &CollectionName,
    ) -> &mut Vec<Kept> {
        let of = self.of.entry(project.clone()).or_default();
        of.entry(collection.clone()).or_default()
    }

    fn kept(&self, project: &ProjectId, collection: &str) -> &[Kept] {
        let of = self.of.get(project).filter(|of| !of.is_empty());
        let name = of.and_then(|of| Some((of, CollectionName::new(collection).ok()?)));
        name.and_then(|(of, name)| of.get(&name)).map_or(&[], Vec::as_slice)
    }

    /// Begins what the configuration has and the collection has not, and drops what it has no more.
    /// The same again, or after later events were seen, changes nothing.
    pub(super) fn configure(
        &mut self,
        project: &ProjectId,
        collection: &CollectionName,
        (config, personal): (Option<&CollectionConfig>, &BTreeSet<String>),
        offset: Offset,
        writes: &mut Vec<Write>,
    ) {
        let wanted = config.map(|config| Definition::of_collection(config, personal));
        let wanted = wanted.unwrap_or_default();
        let is_here = self.of.get(project).is_some_and(|of| of.contains_key(collection));
        if wanted.is_empty() && !is_here {
            return;
        }
        self.has_work = true;
        let all = self.of_collection(project, collection);
        let is_live = |kept: &Kept| {
            kept.row.since <= offset && kept.row.dropped.is_none_or(|dropped| dropped > offset)
        };
        for kept in all.iter_mut().filter(|kept| is_live(kept)) {
            if !wanted.contains(&kept.definition) && kept.row.dropped.is_none() {
                kept.row.dropped = Some(offset);
                writes.push(tables::put_index(project, &kept.row, offset));
            }
        }
        for (ordinal, definition) in wanted.into_iter().enumerate() {
            let id = format!("{offset}-{ordinal}");
            let is_there = |kept: &Kept| {
                kept.row.id == id || (is_live(kept) && *kept.definition == definition)
            };
            if all.iter().any(is_there) {
                continue;
            }
            let row = Index {
                collection: collection.clone(),
                id: id.into(),
                definition: definition.text().into(),
                since: offset,
                dropped: None,
                built: false,
                after: None,
                documents: Some(0),
            };
            writes.push(tables::put_index(project, &row, offset));
            all.push(Kept { row, definition: Arc::new(definition), removed: None });
        }
    }

    /// Begins a batch of events.
    pub(super) fn begin(&mut self) {
        self.batch.clear();
    }

    /// Moves a document's places.
    pub(super) async fn fold(
        &mut self,
        recorded: &Recorded,
        body: &DocumentEvent,
        reader: &dyn Reader,
        writes: &mut Vec<Write>,
    ) -> Result<(), Fault> {
        let (event, offset) = (&recorded.event, recorded.position.offset);
        let Some((collection, id)) = event.stream.as_document() else { return Ok(()) };
        let project = &event.project;
        if self.kept(project, collection).is_empty() {
            return Ok(());
        }
        let (created_at, after) = match body {
            DocumentEvent::Created { data, .. } => (event.time, Some(data)),
            DocumentEvent::Updated { created_at, data, .. } => (*created_at, Some(data)),
            DocumentEvent::Deleted { created_at, .. } => (*created_at, None),
        };
        let name = (project.clone(), collection.to_owned(), id.to_owned());
        let before = match body {
            DocumentEvent::Created { .. } => None,
            body => match body.data_before() {
                Some(before) => Some(before),
                // An old event does not tell.
                None => match self.batch.get(&name) {
                    Some(before) => before.clone(),
                    None => tables::get_document(reader, project, collection, id)
                        .await?
                        .and_then(|row| row.data),
                },
            },
        };
        let changed = match body {
            DocumentEvent::Updated { changed, .. } => Some(paths(changed)),
            _ => None,
        };
        let places = |definition: &Definition, data: Option<&Bytes>| {
            data.map(|data| definition.places(&document(id, created_at, data))).unwrap_or_default()
        };
        for kept in self.kept(project, collection).iter().filter(|kept| kept.takes(offset)) {
            if changed.as_ref().is_some_and(|changed| !concerns(&kept.definition, changed)) {
                continue;
            }
            let old = places(&kept.definition, before.as_ref());
            let new = places(&kept.definition, after);
            let key = kept.key(project);
            for place in old.iter().filter(|place| new.binary_search(place).is_err()) {
                writes.push(tables::delete_entry(key, place, offset));
            }
            for place in new.iter().filter(|place| old.binary_search(place).is_err()) {
                writes.push(tables::put_entry(key, place, id, offset));
            }
        }
        self.batch.insert(name, after.cloned());
        Ok(())
    }

    /// Whether something is to be built or removed.
    pub(super) fn has_work(&self) -> bool {
        self.has_work
    }

    fn unfinished(&self) -> Option<(&ProjectId, &Kept)> {
        self.of.iter().find_map(|(project, of)| {
            let found = of.values().flatten().find(|kept| is_unfinished(kept));
            found.map(|kept| (project, kept))
        })
    }

    /// Does a part of it; `offset` is that of the newest event there is in the tables.
    pub(super) async fn work(
        &mut self,
        reader: &dyn Reader,
        offset: Offset,
        work: &mut Work,
    ) -> Result<(), Fault> {
        let Some((project, kept)) = self.unfinished() else {
            self.has_work = false;
            return Ok(());
        };
        let (project, collection) = (project.clone(), kept.row.collection.clone());
        match kept.row.dropped {
            Some(dropped) => {
                let id = kept.row.id.clone();
                self.remove(reader, (&project, &collection), (&id, dropped), work).await
            }
            None => {
                let after = kept.row.after.clone();
                self.build(reader, (&project, &collection), after, offset, work).await
            }
        }
    }

    async fn remove(
        &mut self,
        reader: &dyn Reader,
        (project, collection): (&ProjectId, &CollectionName),
        (id, dropped): (&str, Offset),
        work: &mut Work,
    ) -> Result<(), Fault> {
        let all = self.of_collection(project, collection);
        let Some(at) = all.iter().position(|kept| kept.row.id == id) else { return Ok(()) };
        let key = IndexKey { project, collection: collection.as_str(), id };
        // Not from the front each time: some engines keep what says that rows were deleted.
        let after = all[at].removed.take();
        let entries = tables::entries(reader, key, after.as_deref(), false, STEP_ROWS_MAX).await?;
        for (place, _) in &entries {
            work.rows.push(tables::delete_entry(key, place, dropped));
        }
        if entries.len() == STEP_ROWS_MAX {
            all[at].removed = entries.last().map(|(place, _)| place.to_string());
            return Ok(());
        }
        work.progress.push(tables::delete_index(project, &all.remove(at).row, dropped));
        if all.is_empty()
            && let Some(of) = self.of.get_mut(project)
        {
            of.remove(collection);
        }
        Ok(())
    }

    /// Builds all indexes of a collection that are as far as each other, so that each document is
    /// looked at once.
    async fn build(
        &mut self,
        reader: &dyn Reader,
        (project, collection): (&ProjectId, &CollectionName),
        after: Option<DocumentId>,
        offset: Offset,
        work: &mut Work,
    ) -> Result<(), Fault> {
        let limit = self.step_rows;
        let (name, last) = (collection.as_str(), after.as_ref().map(DocumentId::as_str));
        let rows = tables::list_rows(reader, project, name, last, limit).await?;
        let bytes = |row: &tables::Document| row.data.as_ref().map_or(64, Bytes::len);
        let each = rows.iter().map(|(_, row)| bytes(row)).sum::<usize>() / rows.len().max(1);
        self.step_rows = (STEP_BYTES / each.max(1)).clamp(1, STEP_ROWS_MAX);
        let mut all: Vec<&mut Kept> = self.of_collection(project, collection).iter_mut().collect();
        all.retain(|kept| is_being_built(kept) && kept.row.after == after);
        let (mut looked_at, mut place_bytes) = (0, 0);
        for (id, row) in &rows {
            // A long list, or many long texts, may have many times the bytes of the document.
            if place_bytes > STEP_PLACE_BYTES {
                break;
            }
            looked_at += 1;
            let Some(data) = &row.data else { continue };
            let document = document(id.as_str(), row.created_at, data);
            for kept in &all {
                for place in kept.definition.places(&document) {
                    place_bytes += place.len();
                    let key = kept.key(project);
                    work.rows.push(tables::put_entry(key, &place, id.as_str(), row.offset));
                }
            }
        }
        let is_last = rows.len() < limit && looked_at == rows.len();
        let last = looked_at.checked_sub(1).and_then(|at| rows.get(at)).map(|(id, _)| id);
        for kept in all {
            if is_last {
                kept.row.built = true;
                (kept.row.after, kept.row.documents) = (None, None);
            } else {
                kept.row.after = last.cloned();
                kept.row.documents = kept.row.documents.map(|count| count + looked_at as u64);
            }
            work.progress.push(tables::put_index(project, &kept.row, offset));
        }
        Ok(())
    }
}

fn is_being_built(kept: &Kept) -> bool {
    !kept.row.built && kept.row.dropped.is_none()
}

fn is_unfinished(kept: &Kept) -> bool {
    !kept.row.built || kept.row.dropped.is_some()
}

/// A document as indexes see it: they do not ask when it was changed.
fn document<'a>(id: &'a str, created_at: Timestamp, data: &'a [u8]) -> Document<'a> {
    Document { id, created_at, updated_at: created_at, data }
}

/// What was changed, by its pointers; `None` among them stands for anything.
fn paths(changed: &[String]) -> Vec<Option<Path>> {
    changed.iter().map(|pointer| Path::parse_pointer(pointer)).collect()
}

/// Whether a change may move places in an index.
fn concerns(definition: &Definition, changed: &[Option<Path>]) -> bool {
    changed.iter().any(|changed| match changed {
        Some(changed) => {
            definition.paths().any(|path| path.starts_with(changed) || changed.starts_with(path))
        }
        None => true,
    })
}
