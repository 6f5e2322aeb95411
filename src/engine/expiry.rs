//! Deletes documents whose collection names a field for when they go, once that time has been: on
//! the node that writes their partition, a bounded number at a time. What is due next is kept in
//! memory, told by every event and, to begin with, by going through the collection once; so nothing
//! is lost with it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Weak};

use compact_str::CompactString;
use domain::access::Access;
use domain::command::{Body, Command, Context};
use domain::documents::{self, DocumentEvent, ExpectedVersion, Key, Op, Write};
use domain::path::Path;
use domain::projects::ProjectState;
use domain::raw::Raw;
use domain::rejected::Reason;
use domain::{Actor, CollectionName, DocumentId, Event, ProjectId, Timestamp};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use readmodel::documents as tables;
use uuid::Uuid;

use crate::Engine;
use crate::clock;
use crate::error::Error;
use crate::rows::Rows;

/// Documents of one collection that are known to be due next; for more it is gone through again.
const KNOWN_MAX: usize = 10_000;
/// Documents looked at for each one that may be deleted at a time.
const ROWS_EACH: usize = 4;
/// Rows looked at for each of those: most may be of documents that are deleted already.
const ROWS_DELETED_EACH: usize = 10;
/// Deletions that are on their way to a writer at a time.
const IN_FLIGHT: usize = 16;

/// A collection of a project.
type Place = (ProjectId, CollectionName);

/// What is due when, of all collections that this node looks after.
#[derive(Debug, Default)]
pub(crate) struct Agendas {
    is_any: AtomicBool,
    by_place: Mutex<HashMap<Place, Agenda>>,
}

/// What is due when in one collection.
#[derive(Debug)]
struct Agenda {
    field: Arc<Path>,
    /// When the collection was configured so.
    since: Timestamp,
    due: BTreeSet<(Timestamp, DocumentId)>,
    /// What is due later than this there was no room for.
    horizon: Option<Timestamp>,
    /// Where going through the collection goes on.
    pass: Pass,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pass {
    After(Option<DocumentId>),
    Done,
}

/// When a document is due by this field; never, where it holds no time.
fn due_at(data: &[u8], field: &Path) -> Option<Timestamp> {
    let mut value = Raw::new(data);
    for name in field.names() {
        value = value.field(name).ok()??;
    }
    let text: std::borrow::Cow<'_, str> = value.text().ok()?;
    text.parse().ok()
}

impl Agenda {
    fn new(field: Arc<Path>, since: Timestamp) -> Self {
        let (due, horizon) = (BTreeSet::new(), None);
        Self { field, since, due, horizon, pass: Pass::After(None) }
    }

    fn add(&mut self, at: Timestamp, id: DocumentId) {
        if self.horizon.is_some_and(|horizon| at > horizon) {
            return;
        }
        self.due.insert((at, id));
        if self.due.len() > KNOWN_MAX
            && let Some((last, _)) = self.due.pop_last()
        {
            // Another of the same time may be gone: nothing of that time is sure to be known.
            self.horizon = Some(Timestamp::from_micros(last.as_micros() - 1));
        }
    }

    /// Takes those out that are due by now. What happens to one from here on is told by its event.
    fn take(&mut self, now: Timestamp, max: usize) -> Vec<(Timestamp, DocumentId)> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(first) = self.due.pop_first()
        {
            if first.0 > now {
                self.due.insert(first);
                break;
            }
            taken.push(first);
        }
        if self.due.is_empty() && self.horizon.is_some() && self.pass == Pass::Done {
            (self.horizon, self.pass) = (None, Pass::After(None));
        }
        taken
    }
}

impl Agendas {
    /// Takes an event in that the tables show already.
    pub(crate) fn note(&self, event: &Event) {
        if !self.is_any.load(Acquire) {
            return;
        }
        let Some((collection, id)) = documents::key_of(&event.stream) else { return };
        let place = (event.project.clone(), collection);
        let mut by_place = self.by_place.lock();
        let Some(agenda) = by_place.get_mut(&place) else { return };
        let Ok(Some(body)) = DocumentEvent::decode(event) else { return };
        if let Some(at) = body.data().and_then(|data| due_at(data, &agenda.field)) {
            agenda.add(at, id);
        }
    }

    /// Looks after these collections from now on, and after no others. One that was configured anew
    /// is begun anew.
    fn keep(&self, all: &HashMap<Place, (Arc<Path>, Timestamp)>) {
        let mut by_place = self.by_place.lock();
        by_place.retain(|place, agenda| {
            all.get(place)
                .is_some_and(|(field, since)| *since == agenda.since && **field == *agenda.field)
        });
        for (place, (field, since)) in all {
            if !by_place.contains_key(place) {
                by_place.insert(place.clone(), Agenda::new(Arc::clone(field), *since));
            }
        }
        self.is_any.store(!by_place.is_empty(), Release);
    }

    fn with<T>(&self, place: &Place, run: impl FnOnce(&mut Agenda) -> T) -> Option<T> {
        self.by_place.lock().get_mut(place).map(run)
    }
}

/// The collections of a project whose documents go, by which field, and since when.
pub(crate) fn expiring(
    state: &ProjectState,
) -> impl Iterator<Item = (&CollectionName, Arc<Path>, Timestamp)> {
    state.collections.iter().filter_map(|(name, collection)| {
        let field = Path::parse(collection.config.expires.as_deref()?).ok()?;
        Some((name, Arc::new(field), collection.updated_at))
    })
}

/// Whether documents of a collection still go by this field, by what was configured then.
fn is_still(state: &ProjectState, name: &CollectionName, field: &Path, since: Timestamp) -> bool {
    let Some(collection) = state.collections.get(name).filter(|_| state.is_live()) else {
        return false;
    };
    let expires = collection.config.expires.as_deref().and_then(|text| Path::parse(text).ok());
    collection.updated_at == since && expires.is_some_and(|expires| expires == *field)
}

/// Looks after what is due for as long as there is an engine.
pub(crate) async fn run(engine: Weak<Engine>) {
    let Some(interval) = engine.upgrade().map(|engine| engine.options.expiry_interval) else {
        return;
    };
    loop {
        tokio::time::sleep(interval).await;
        let Some(engine) = engine.upgrade() else { return };
        engine.expire().await;
    }
}

impl Engine {
    /// Deletes what is due, up to so many of each collection.
    async fn expire(&self) {
        let all = self.catalog.expiring(|project| self.partition(project).is_owned());
        self.catalog.agendas.keep(&all);
        for (place, (field, since)) in &all {
            if let Err(error) = self.expire_in(place, field, *since).await {
                let (project, collection) = (&place.0, &place.1);
                tracing::warn!(project.id = %project, %collection, %error, "not expired yet");
            }
        }
    }

    async fn expire_in(&self, place: &Place, field: &Path, since: Timestamp) -> Result<(), Error> {
        // What is known already goes whether or not more can be found.
        let mut failed = self.go_through(place, field).await.err();
        let (agendas, max) = (&self.catalog.agendas, self.options.expiry_batch);
        let due = agendas.with(place, |agenda| agenda.take(clock::now(), max)).unwrap_or_default();
        let mut left: BTreeSet<_> = due.iter().cloned().collect();
        let deletions = stream::iter(due).map(|(at, id)| async move {
            let outcome = self.expire_one(place, field, since, &id).await;
            (at, id, outcome)
        });
        let mut deletions = deletions.buffer_unordered(IN_FLIGHT);
        while let Some((at, id, outcome)) = deletions.next().await {
            match outcome {
                Ok(()) => _ = left.remove(&(at, id)),
                Err(error) => {
                    // Any other error meets the next ones, too.
                    let is_of_one = matches!(error, Error::Rejected(_));
                    failed = Some(error);
                    if !is_of_one {
                        break;
                    }
                }
            }
        }
        drop(deletions);
        agendas.with(place, |agenda| left.into_iter().for_each(|(at, id)| agenda.add(at, id)));
        failed.map_or(Ok(()), Err)
    }

    /// Goes on looking for what is due in documents that no event told of since this node began to
    /// look after the collection.
    async fn go_through(&self, place: &Place, field: &Path) -> Result<(), Error> {
        let agendas = &self.catalog.agendas;
        let Some(Pass::After(mut after)) = agendas.with(place, |agenda| agenda.pass.clone()) else {
            return Ok(());
        };
        let held_max = self.options.expiry_batch.saturating_mul(ROWS_EACH);
        let rows_max = held_max.saturating_mul(ROWS_DELETED_EACH);
        let space = self.partition(&place.0).documents();
        let mut rows = Rows::new(&*space, &place.0, &place.1, after.clone());
        let (mut held, mut looked) = (0, 0);
        while held < held_max && looked < rows_max {
            let wanted = (held_max - held).min(rows_max - looked);
            let Some(chunk) = rows.next_chunk(wanted).await? else {
                agendas.with(place, |agenda| agenda.pass = Pass::Done);
                return Ok(());
            };
            looked += chunk.len();
            held += chunk.iter().filter(|(_, row)| row.data.is_some()).count();
            agendas.with(place, |agenda| {
                for (id, row) in chunk {
                    if let Some(at) = row.data.and_then(|data| due_at(&data, field)) {
                        agenda.add(at, id.clone());
                    }
                    after = Some(id);
                }
                agenda.pass = Pass::After(after.clone());
            });
        }
        Ok(())
    }

    /// Deletes a document that is due, unless it is so no more.
    async fn expire_one(
        &self,
        place: &Place,
        field: &Path,
        since: Timestamp,
        id: &DocumentId,
    ) -> Result<(), Error> {
        let (project, collection) = place;
        let space = self.partition(project).documents();
        let key: Key = (collection.clone(), id.clone());
        let row = tables::get_document(&*space, project, key.0.as_str(), key.1.as_str()).await?;
        let Some(row) = row else { return Ok(()) };
        let Some(due) = row.data.as_ref().and_then(|data| due_at(data, field)) else {
            return Ok(());
        };
        if due > clock::now() {
            self.catalog.agendas.with(place, |agenda| agenda.add(due, id.clone()));
            return Ok(());
        }
        let expected = ExpectedVersion::Exact(row.version);
        let write = Write { collection: key.0, id: key.1, op: Op::Delete, expected };
        let context = Context {
            project: project.clone(),
            actor: Actor::System,
            access: Access::PastRules,
            correlation_id: CompactString::from(Uuid::now_v7().to_string()),
            causation_id: None,
            depth: 0,
            traceparent: None,
            idempotency: None,
        };
        let body = Body::Documents { writes: vec![write], reads: Vec::new() };
        // It may have been configured anew meanwhile: then it is begun anew.
        let now = self.catalog.project(project);
        if !now.is_some_and(|now| is_still(&now.state, collection, field, since)) {
            return Ok(());
        }
        match self.submit(Command { context, body }).await {
            Ok(_) => Ok(()),
            // Somebody was faster: its event told when it is due now, if ever.
            Err(Error::Rejected(rejected))
                if matches!(rejected.reason, Reason::VersionMismatch { .. }) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: usize) -> Timestamp {
        Timestamp::from_micros(seconds as i64 * 1_000_000)
    }

    fn id(n: usize) -> DocumentId {
        DocumentId::new(&n.to_string()).unwrap()
    }

    fn agenda() -> Agenda {
        Agenda::new(Arc::new(Path::parse("a.until").unwrap()), at(0))
    }

    #[test]
    fn only_a_time_is_one() {
        let field = Path::parse("a.until").unwrap();
        let due = |text: &str| due_at(text.as_bytes(), &field);
        assert_eq!(due(r#"{"a":{"until":"1970-01-01T00:00:07Z"}}"#), Some(at(7)));
        assert_eq!(due(r#"{"a":{"until":"1970-01-01T01:00:07+01:00"}}"#), Some(at(7)));
        for text in [
            r#"{}"#,
            r#"{"a":7}"#,
            r#"{"a":[{"until":"1970-01-01T00:00:07Z"}]}"#,
            r#"{"a":{"until":7}}"#,
            r#"{"a":{"until":null}}"#,
            r#"{"a":{"until":"1970-01-01"}}"#,
            r#"{"a":{"until":"soon"}}"#,
        ] {
            assert_eq!(due(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_configured_anew_is_not_what_it_was() {
        use domain::projects::{CollectionConfig, CollectionState};
        let (name, field) = (CollectionName::new("c").unwrap(), Path::parse("until").unwrap());
        let with = |expires: Option<&str>, updated_at: Timestamp| {
            let config = CollectionConfig {
                expires: expires.map(ToOwned::to_owned),
                ..CollectionConfig::default()
            };
            let collection = CollectionState { config, created_at: at(0), updated_at };
            let mut state = ProjectState { version: 1, ..ProjectState::default() };
            state.collections.insert(name.clone(), collection);
            state
        };
        let is_still = |state: &ProjectState| is_still(state, &name, &field, at(1));
        assert!(is_still(&with(Some("until"), at(1))));
        assert!(!is_still(&with(Some("until"), at(2))));
        assert!(!is_still(&with(Some("end"), at(1))));
        assert!(!is_still(&with(None, at(1))));
        assert!(!is_still(&ProjectState { deleted: true, ..with(Some("until"), at(1)) }));
        assert!(!is_still(&ProjectState::default()));
    }

    #[test]
    fn what_is_due_is_taken_in_order_and_no_more_than_asked_for() {
        let mut agenda = agenda();
        (0..10).rev().for_each(|n| agenda.add(at(n), id(n)));
        let first: Vec<_> = (0..3).map(|n| (at(n), id(n))).collect();
        assert_eq!(agenda.take(at(5), 3), first);
        assert_eq!(agenda.take(at(5), 100).len(), 3);
        assert_eq!(agenda.take(at(5), 100), []);
        assert_eq!(agenda.due.len(), 4);
    }

    #[test]
    fn what_there_is_no_room_for_is_looked_for_again() {
        let mut agenda = agenda();
        agenda.pass = Pass::Done;
        (0..KNOWN_MAX + 500).for_each(|n| agenda.add(at(n), id(n)));
        assert_eq!(agenda.due.len(), KNOWN_MAX);
        agenda.add(at(KNOWN_MAX + 9), id(0));
        assert_eq!(agenda.due.len(), KNOWN_MAX, "it would be found out of turn");
        agenda.add(at(1), id(KNOWN_MAX));
        assert_eq!(agenda.due.len(), KNOWN_MAX);
        assert_eq!(agenda.take(at(KNOWN_MAX * 2), KNOWN_MAX).len(), KNOWN_MAX);
        assert_eq!((agenda.horizon, agenda.pass), (None, Pass::After(None)));
    }
}
