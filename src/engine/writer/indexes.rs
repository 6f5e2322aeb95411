//! Holds commits to what indexes ask of documents: values that no two documents have alike, and
//! lists that are not too long. The writer is the only one who writes, so what the tables and the
//! batch so far say is exact.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use domain::documents::{DocumentState, Key, States, Write};
use domain::rejected::{Part, Reason};
use domain::{CollectionName, ProjectId, Rejected};
use query::{Definition, Document, NotComparable};
use readmodel::documents::{self as tables, IndexKey};

use super::Writer;
use super::draft::Draft;
use crate::catalog::{Indexes, indexes_of};
use crate::error::Error;

/// Elements of an indexed list in one document: each has a place of its own in the index.
const ELEMENTS_MAX: usize = 1_000;
/// Bytes of one document's places in an index with elements: each has the other fields, too.
const PLACES_BYTES_MAX: usize = 1 << 20;
/// Places with the same values that are read at once; mostly there is one at most.
const PLACES_MAX: usize = 16;

/// What a commit must be held to, and the documents as they were before.
pub(super) struct ToBeIndexed {
    of: HashMap<CollectionName, Arc<Indexes>>,
    before: HashMap<Key, Option<Bytes>>,
}

/// A document after a commit that wants a place for itself.
struct Claim<'a> {
    project: &'a ProjectId,
    key: &'a Key,
    definition: &'a Definition,
    index: &'a str,
    place: String,
    document: Document<'a>,
}

/// Who has claimed which place, by index: in a commit, and in the batch so far.
pub(super) type Claims = HashMap<(ProjectId, String, String), Vec<Key>>;

impl Writer {
    /// `None` where the documents may be anything.
    pub(super) fn to_be_indexed(
        &self,
        draft: &Draft,
        project: &ProjectId,
        writes: &[Write],
        states: &States,
    ) -> Option<ToBeIndexed> {
        let (configured, live) = match draft.project(project) {
            // Configured in this very batch.
            Some(state) => (Some(state), None),
            None => (None, self.catalog.project(project)),
        };
        let indexes = |name: &CollectionName| match configured {
            Some(state) => indexes_of(state, name),
            None => live.as_ref().and_then(|live| live.indexes(name)),
        };
        let asks = |(_, one): &(Bytes, Definition)| one.is_unique() || one.has_elements();
        let mut to_be = ToBeIndexed { of: HashMap::new(), before: HashMap::new() };
        for write in writes {
            if let Entry::Vacant(entry) = to_be.of.entry(write.collection.clone()) {
                let Some(indexes) = indexes(&write.collection) else { continue };
                if !indexes.iter().any(asks) {
                    continue;
                }
                entry.insert(indexes);
            }
            let key = (write.collection.clone(), write.id.clone());
            let live = states.get(&key).and_then(|state| state.live.as_ref());
            let data = live.map(|live| live.data.clone());
            to_be.before.entry(key).or_insert(data);
        }
        (!to_be.before.is_empty()).then_some(to_be)
    }

    /// Errors with a write that an index does not allow.
    pub(super) async fn check_indexes(
        &self,
        draft: &mut Draft,
        project: &ProjectId,
        ToBeIndexed { of, before }: ToBeIndexed,
        (writes, states): (&[Write], &States),
    ) -> Result<(), Error> {
        let mut claims = Claims::new();
        // What counts is what the commit makes of a document in the end.
        for (key, before) in &before {
            let of_key = |write: &Write| (&write.collection, &write.id) == (&key.0, &key.1);
            let part = writes.iter().rposition(of_key).map(Part::Write);
            let Some(live) = states.get(key).and_then(|state| state.live.as_ref()) else {
                continue;
            };
            let see = |data| Document {
                id: key.1.as_str(),
                created_at: live.created_at,
                updated_at: live.created_at,
                data,
            };
            let (was, is) = (before.as_ref().map(|data| see(data)), see(&live.data));
            let refused = |reason| Error::Rejected(Rejected { reason, part });
            for (text, definition) in of.get(&key.0).into_iter().flat_map(|all| all.iter()) {
                if definition.elements(&is) > ELEMENTS_MAX {
                    let (field, limit) = (definition.element_name(), ELEMENTS_MAX);
                    return Err(refused(Reason::ElementsTooMany { field, limit }));
                }
                if definition.has_elements() {
                    let bytes: usize = definition.places(&is).iter().map(String::len).sum();
                    if bytes > PLACES_BYTES_MAX {
                        let (field, bytes_max) = (definition.element_name(), PLACES_BYTES_MAX);
                        return Err(refused(Reason::PlacesTooLarge { field, bytes_max }));
                    }
                }
                if !definition.is_unique() {
                    continue;
                }
                let place = definition.unique_place(&is);
                let place =
                    place.map_err(|NotComparable(field)| refused(Reason::NotComparable(field)))?;
                let Some(place) = place else { continue };
                // What was alike before may stay so.
                if was.as_ref().is_some_and(|was| definition.is_alike(was, &is)) {
                    continue;
                }
                // What was written in this batch before it was configured has no place yet.
                let configured = draft.project(project).and_then(|one| one.collections.get(&key.0));
                if configured.is_some_and(|one| one.updated_at >= draft.now) {
                    return Err(Error::IndexNotBuilt);
                }
                let index = self.built(project, &key.0, text).await?;
                let claim = Claim { project, key, definition, index: &index, place, document: is };
                if self.is_taken(draft, states, &claims, &claim).await? {
                    return Err(refused(Reason::NotUnique(definition.names())));
                }
                let Claim { place, .. } = claim;
                claims.entry((project.clone(), index, place)).or_default().push(key.clone());
            }
        }
        draft.claim(claims);
        Ok(())
    }

    /// The id of an index that has all documents. Until it has, nobody knows what is unique.
    async fn built(
        &self,
        project: &ProjectId,
        collection: &CollectionName,
        text: &Bytes,
    ) -> Result<String, Error> {
        let rows = tables::indexes(&*self.documents.space, project, collection.as_str()).await?;
        let built = rows.into_iter().find(|row| row.is_usable() && row.definition == *text);
        built.map(|row| row.id.to_string()).ok_or(Error::IndexNotBuilt)
    }

    /// Whether another document has the same values.
    async fn is_taken(
        &self,
        draft: &Draft,
        states: &States,
        claims: &Claims,
        claim: &Claim<'_>,
    ) -> Result<bool, Error> {
        let at = (claim.project.clone(), claim.index.to_owned(), claim.place.clone());
        let known = claims.get(&at).into_iter().chain(draft.claimed(&at)).flatten();
        for key in known {
            if self.is_held_by(draft, states, claim, key).await? {
                return Ok(true);
            }
        }
        let collection = claim.key.0.as_str();
        let index = IndexKey { project: claim.project, collection, id: claim.index };
        let mut after = claim.place.clone();
        loop {
            let space = &*self.documents.space;
            let found = tables::entries(space, index, Some(&after), false, PLACES_MAX).await?;
            let is_last = found.len() < PLACES_MAX;
            for (place, id) in found {
                if !place.starts_with(&claim.place) {
                    return Ok(false);
                }
                after = place.to_string();
                let key = (claim.key.0.clone(), id);
                if self.is_held_by(draft, states, claim, &key).await? {
                    return Ok(true);
                }
            }
            if is_last {
                return Ok(false);
            }
        }
    }

    /// Whether this document has the values that are claimed, after the commit and the batch so
    /// far.
    async fn is_held_by(
        &self,
        draft: &Draft,
        states: &States,
        claim: &Claim<'_>,
        key: &Key,
    ) -> Result<bool, Error> {
        if key == claim.key {
            return Ok(false);
        }
        let loaded;
        let state: &DocumentState = match states.get(key) {
            Some(state) => state,
            None => {
                loaded = self.document_state(draft, claim.project, key).await?;
                &loaded
            }
        };
        let Some(live) = &state.live else { return Ok(false) };
        let other = Document {
            id: key.1.as_str(),
            created_at: live.created_at,
            updated_at: live.created_at,
            data: &live.data,
        };
        Ok(claim.definition.is_alike(&claim.document, &other))
    }
}
