//! The first documents of an ordering, kept up to date by what becomes of each document, and a few
//! behind them, so that most that go make room for one that is known. Pure: where too little is
//! known it says so, and whoever keeps it asks the tables again. What it shows is always exactly
//! the first ones, as of the last document it was told of.

use std::collections::HashMap;
use std::sync::Arc;

use domain::DocumentId;
use query::{Keys, Order};

use super::ChangeKind;
use crate::read::{Document, PAGE_BYTES_MAX};

#[cfg(test)]
mod tests;

/// Bounds of how many documents are known behind those that are shown.
const SPARE_MIN: usize = 16;
const SPARE_MAX: usize = 200;
/// What a document takes in memory beside its data, about.
const ENTRY_BYTES: usize = 256;

/// What became of the documents that a subscriber holds: what goes, then what comes or changes, in
/// order.
pub(super) type Changes = Vec<(ChangeKind, Document)>;

/// The documents that are shown have more bytes than a window may.
#[derive(Debug)]
pub(super) struct TooLarge;

/// What a document's change did to what is shown.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing, or this.
    Changed(Changes),
    /// One comes in that is not known: nothing was done.
    Short,
    /// The window can't be kept any more.
    TooLarge,
}

struct Entry {
    keys: Keys,
    document: Document,
}

/// The first documents of an ordering.
pub(super) struct Window {
    order: Arc<Order>,
    limit: usize,
    /// In order: all documents up to the last of these. At least `limit`, unless `is_all`.
    entries: Vec<Entry>,
    /// Whether there are no others.
    is_all: bool,
    bytes: usize,
}

impl Window {
    /// How many documents a window of this limit wants to know.
    pub(super) fn wanted(limit: usize) -> usize {
        limit + limit.clamp(SPARE_MIN, SPARE_MAX)
    }

    /// Of the first documents there are, in order; `is_all` when there are no others.
    ///
    /// Errors when fewer are given than are to be shown: they were too large together.
    pub(super) fn new(
        order: Arc<Order>,
        limit: usize,
        found: Vec<Document>,
        is_all: bool,
    ) -> Result<Self, TooLarge> {
        if !is_all && found.len() < limit {
            return Err(TooLarge);
        }
        let bytes = found.iter().map(|document| document.data.len()).sum();
        let entry =
            |document: Document| Entry { keys: order.keys(&document.as_queried()), document };
        let entries = found.into_iter().map(entry).collect();
        let mut window = Self { order, limit, entries, is_all, bytes };
        match window.trim() {
            true => Ok(window),
            false => Err(TooLarge),
        }
    }

    /// What is shown, in order.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Document> {
        self.entries.iter().take(self.limit).map(|entry| &entry.document)
    }

    /// What it takes in memory, about: the ordered fields are there twice.
    pub(super) fn weight(&self) -> usize {
        2 * self.bytes + ENTRY_BYTES * self.entries.len()
    }

    /// Takes what a document has become: `None` when it is not among those asked for any more.
    pub(super) fn put(&mut self, id: &DocumentId, after: Option<Document>) -> Step {
        let limit = self.limit;
        let at = self.entries.iter().position(|entry| entry.document.id == *id);
        let after = after.map(|document| (self.order.keys(&document.as_queried()), document));
        // Behind the last one known there may be others before it.
        let known = after.filter(|(keys, _)| self.is_all || self.reaches(keys));
        let count = self.entries.len() - usize::from(at.is_some()) + usize::from(known.is_some());
        if !self.is_all && count < limit {
            return Step::Short;
        }
        let pushed_out = self.entries.get(limit - 1).map(|entry| entry.document.clone());
        let before = at.map(|at| self.entries.remove(at).document);
        self.bytes -= before.as_ref().map_or(0, |before| before.data.len());
        let place = known.map(|(keys, document)| self.insert(keys, document));
        let was_shown = before.filter(|_| at.is_some_and(|at| at < limit));
        let is_shown = place.filter(|place| *place < limit);
        let shown = |place: usize| self.entries.get(place).map(|entry| entry.document.clone());
        let (gone, come) = match (was_shown, is_shown) {
            (None, None) => (None, None),
            (Some(_), Some(place)) => {
                (None, shown(place).map(|document| (ChangeKind::Modified, document)))
            }
            (Some(before), None) => {
                (Some(before), shown(limit - 1).map(|next| (ChangeKind::Added, next)))
            }
            (None, Some(place)) => {
                (pushed_out, shown(place).map(|document| (ChangeKind::Added, document)))
            }
        };
        if !self.trim() {
            return Step::TooLarge;
        }
        let gone = gone.map(|document| (ChangeKind::Removed, document));
        Step::Changed(gone.into_iter().chain(come).collect())
    }

    fn reaches(&self, keys: &Keys) -> bool {
        let last = self.entries.last();
        last.is_some_and(|last| self.order.compare(keys, &last.keys).is_le())
    }

    fn insert(&mut self, keys: Keys, document: Document) -> usize {
        let is_before = |entry: &Entry| self.order.compare(&entry.keys, &keys).is_lt();
        let place = self.entries.partition_point(is_before);
        self.bytes += document.data.len();
        self.entries.insert(place, Entry { keys, document });
        place
    }

    /// Forgets what there is no room for behind what is shown; whether that is enough.
    fn trim(&mut self) -> bool {
        while self.entries.len() > self.limit
            && (self.entries.len() > Self::wanted(self.limit) || self.bytes > PAGE_BYTES_MAX)
        {
            let last = self.entries.pop();
            self.bytes -= last.map_or(0, |last| last.document.data.len());
            self.is_all = false;
        }
        // One document is never too large.
        self.bytes <= PAGE_BYTES_MAX || self.entries.len() <= 1
    }
}

/// What a subscriber must hear that holds `held` and is to hold `shown`, both as they were at some
/// position: a document's own tells whether it is another.
pub(super) fn difference<'a>(
    held: impl Iterator<Item = &'a Document>,
    shown: impl Iterator<Item = &'a Document>,
) -> Changes {
    let mut gone: Vec<&Document> = Vec::new();
    let shown: Vec<&Document> = shown.collect();
    let now: HashMap<&DocumentId, &Document> = shown.iter().map(|one| (&one.id, *one)).collect();
    let mut before = HashMap::new();
    for document in held {
        before.insert(&document.id, (document.position, &document.data));
        if !now.contains_key(&document.id) {
            gone.push(document);
        }
    }
    let come = shown.into_iter().filter_map(|document| match before.get(&document.id) {
        None => Some((ChangeKind::Added, document)),
        // Without an event, it may be erased in part.
        Some(before) if *before == (document.position, &document.data) => None,
        Some(_) => Some((ChangeKind::Modified, document)),
    });
    let gone = gone.into_iter().map(|document| (ChangeKind::Removed, document));
    gone.chain(come).map(|(kind, document)| (kind, document.clone())).collect()
}
