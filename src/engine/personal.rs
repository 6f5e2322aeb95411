//! Personal fields of documents: sealed with a person's key before an event is made, and opened
//! again for rules and readers. In the log and in the tables they are only ever sealed; once the
//! person's key is destroyed, they read as `null`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use access::{InvalidPath, Path, Spot, find, splice};
use bytes::Bytes;
use domain::documents::{self, DocumentEvent, Key};
use domain::projects::{CollectionConfig, ProjectState, SUBJECT_ID};
use domain::rejected::{Part, Reason};
use domain::{CollectionName, NewEvent, ProjectId, Recorded, Rejected, UserId};
use memchr::memmem;
use vault::Sealer;

use crate::catalog::Catalog;
use crate::error::Error;
use crate::read::Document;

/// What a sealed value's text starts with; then come the person's id, a colon, and what was sealed.
/// Ids have no colon.
const MARK: &str = "hw.sealed.1:";

/// Personal values in one document at most: each is sealed by itself, by the writer of all.
const VALUES_MAX: usize = 1_000;

/// What is personal in one collection's documents.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// What is sealed when it is written.
    now: Vec<Path>,
    /// Whose it is.
    subject: Option<Subject>,
    /// What may be sealed in what was written: personal now or at any time before.
    ever: Vec<Path>,
}

#[derive(Debug)]
enum Subject {
    /// The document's own id.
    Id,
    /// What this field holds.
    Field(Path),
}

impl Fields {
    /// Of every collection that has or had some.
    pub(crate) fn of(state: &ProjectState) -> ByCollection {
        let of = |collection: &CollectionName| {
            let config = state.collections.get(collection).map(|one| &one.config);
            let ever = state.personal_ever.get(collection).into_iter().flatten();
            let mut paths: Vec<Path> = Vec::new();
            // Two spellings of one field are one field.
            for path in ever.filter_map(|name| stored_path(name)) {
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
            Arc::new(Self::new(config, paths))
        };
        state.personal_ever.keys().map(|name| (name.clone(), of(name))).collect()
    }

    fn new(config: Option<&CollectionConfig>, ever: Vec<Path>) -> Self {
        let Some(config) = config else { return Self { ever, ..Self::default() } };
        let personal = config.fields.iter().filter(|(_, field)| field.personal);
        let now = personal.filter_map(|(name, _)| stored_path(name)).collect();
        let subject = config.subject.as_deref().and_then(|name| match name {
            SUBJECT_ID => Some(Subject::Id),
            name => stored_path(name).map(Subject::Field),
        });
        Self { now, subject, ever }
    }

    /// Whether something is sealed when it is written.
    pub(crate) fn seals(&self) -> bool {
        !self.now.is_empty()
    }

    /// Whose a document is; `None` when it does not say so.
    fn subject(&self, (_, id): &Key, data: &[u8]) -> Option<UserId> {
        let path = match self.subject.as_ref()? {
            Subject::Id => return UserId::new(id.as_str()).ok(),
            Subject::Field(path) => path,
        };
        let spots = find(data, &[], std::slice::from_ref(path));
        let [Spot { at, .. }] = &spots[..] else { return None };
        let name: Cow<'_, str> = serde_json::from_slice(&data[at.clone()]).ok()?;
        UserId::new(&name).ok()
    }
}

/// Checked when it was configured; one that is no path all the same names no field.
fn stored_path(name: &str) -> Option<Path> {
    let path: Result<Path, InvalidPath> = Path::parse(name);
    path.inspect_err(|error| tracing::error!(field = name, %error, "no field's name")).ok()
}

/// Seals and opens, by what the catalog says of a collection.
pub(crate) struct Personal {
    sealer: Sealer,
    catalog: Arc<Catalog>,
}

/// Sealed texts of one commit by field, person and value: what a write leaves as it was must read
/// the same before and after.
type Sealed = HashMap<(usize, UserId, Vec<u8>), Vec<u8>>;

impl Personal {
    pub(crate) fn new(sealer: Sealer, catalog: Arc<Catalog>) -> Self {
        Self { sealer, catalog }
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The document as it was written.
    ///
    /// Errors: [`Error::Unavailable`] when keys can't be had.
    pub(crate) async fn open(
        &self,
        project: &ProjectId,
        collection: &CollectionName,
        document: Document,
    ) -> Result<Document, Error> {
        let data =
            self.open_data(project, (collection.as_str(), document.id.as_str()), document.data);
        Ok(Document { data: data.await?, ..document })
    }

    /// The text of a document as it was written; errors as [`Personal::open`].
    pub(crate) async fn open_data(
        &self,
        project: &ProjectId,
        key: (&str, &str),
        data: Bytes,
    ) -> Result<Bytes, Error> {
        let Some(fields) = self.ever(project, key.0, &data) else { return Ok(data) };
        let mut opened = Opened::default();
        for path in &fields.ever {
            self.open_in(project, key, path, (&data, &[], 0), &mut opened).await?;
        }
        Ok(spliced(data, opened.done))
    }

    /// An event with what is sealed in it opened; any event but those of documents as it is. Errors
    /// as [`Personal::open`].
    pub(crate) async fn open_event(
        &self,
        recorded: &Arc<Recorded>,
    ) -> Result<Arc<Recorded>, Error> {
        let event = &recorded.event;
        let as_it_is = || Ok(Arc::clone(recorded));
        let Some(key) = event.stream.as_document() else { return as_it_is() };
        let Some(fields) = self.ever(&event.project, key.0, &event.data) else {
            return as_it_is();
        };
        let body = DocumentEvent::decode(event).map_err(|e| Error::Corrupt(e.to_string()))?;
        let (data, before) = match &body {
            Some(DocumentEvent::Created { data, .. } | DocumentEvent::Deleted { data, .. }) => {
                (data, None)
            }
            Some(DocumentEvent::Updated { data, before, .. }) => (data, Some(before)),
            None => return as_it_is(),
        };
        // Each with where it stands in the document.
        let mut parts = vec![(data.clone(), Path::parse_pointer(""))];
        if let Some(before) = before {
            let entries = access::entries(before).into_iter();
            parts.extend(entries.map(|(name, at)| (before.slice(at), Path::parse_pointer(&name))));
        }
        let mut opened = Opened::default();
        for (part, above) in parts {
            let Some(above) = above else { continue };
            let above: Vec<&str> = above.names().collect();
            let start = offset(&event.data, &part)?;
            for path in &fields.ever {
                let part = (&part[..], &above[..], start);
                self.open_in(&event.project, key, path, part, &mut opened).await?;
            }
        }
        let mut event = event.clone();
        event.data = spliced(event.data, opened.done);
        Ok(Arc::new(Recorded { position: recorded.position, event }))
    }

    /// Whether the event has something in it that is sealed with this person's key.
    pub(crate) fn is_about(&self, recorded: &Recorded, user: &UserId) -> bool {
        let event = &recorded.event;
        let Some((collection, _)) = event.stream.as_document() else { return false };
        let mark = format!("\"{MARK}{user}:");
        let is_there = |text: &[u8]| memmem::find(text, mark.as_bytes()).is_some();
        if self.ever(&event.project, collection, &event.data).is_none() || !is_there(&event.data) {
            return false;
        }
        // Not what it was before: that may have been another's.
        match DocumentEvent::decode(event) {
            Ok(Some(
                DocumentEvent::Created { data, .. }
                | DocumentEvent::Updated { data, .. }
                | DocumentEvent::Deleted { data, .. },
            )) => is_there(&data),
            _ => false,
        }
    }

    /// What of each of the project's collections is personal.
    pub(crate) fn by_collection(&self, project: &ProjectId) -> Option<Arc<ByCollection>> {
        if !self.catalog.has_personal() {
            return None;
        }
        Some(Arc::clone(&self.catalog.project(project)?.personal))
    }

    /// Whether something of the event's document is or was personal.
    pub(crate) fn may_have_sealed(&self, event: &domain::Event) -> bool {
        let Some(by_collection) = self.by_collection(&event.project) else { return false };
        let name = event.stream.as_document().and_then(|(name, _)| CollectionName::new(name).ok());
        name.is_some_and(|name| by_collection.contains_key(&name))
    }

    /// What was ever personal, if the text can have any of it sealed.
    fn ever(&self, project: &ProjectId, collection: &str, text: &[u8]) -> Option<Arc<Fields>> {
        let by_collection = self.by_collection(project)?;
        let fields = by_collection.get(&CollectionName::new(collection).ok()?)?;
        memmem::find(text, MARK.as_bytes()).map(|_| Arc::clone(fields))
    }

    /// Opens one field wherever it stands in a part of a document or event: the names around the
    /// part, and where it begins, come with it.
    async fn open_in(
        &self,
        project: &ProjectId,
        key: (&str, &str),
        path: &Path,
        (part, above, start): (&[u8], &[&str], usize),
        opened: &mut Opened,
    ) -> Result<(), Error> {
        for Spot { at, .. } in find(part, above, std::slice::from_ref(path)) {
            let text = &part[at.clone()];
            let inner = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
            let inner = inner.and_then(|inner| std::str::from_utf8(inner).ok());
            let sealed = inner.and_then(|inner| inner.strip_prefix(MARK));
            let Some((subject, sealed)) = sealed.and_then(|sealed| sealed.split_once(':')) else {
                continue;
            };
            let at = start + at.start..start + at.end;
            if UserId::new(subject).is_err() {
                continue;
            }
            let place = place(key, path);
            let plain = match opened.gone.contains(subject) {
                true => Ok(None),
                false => self.sealer.open(project, subject, &place, sealed).await,
            };
            let plain = match plain {
                Ok(Some(plain)) => plain,
                Ok(None) => {
                    opened.gone.insert(subject.to_owned());
                    b"null".to_vec()
                }
                // Text of a client's that merely looks like it.
                Err(vault::Error::Unreadable | vault::Error::TooLarge { .. }) => continue,
                Err(error) => return Err(no_keys(&error)),
            };
            opened.done.push((at, plain));
        }
        Ok(())
    }

    /// The events of a commit with what is personal sealed: one for each write, in order. `before`
    /// holds the documents as they were before the commit.
    ///
    /// Errors: refused with [`Reason::SubjectMissing`], [`Reason::SubjectErased`] or
    /// [`Reason::PersonalTooLarge`]; [`Error::Unavailable`] when keys can't be had.
    pub(crate) async fn seal(
        &self,
        project: &ProjectId,
        by_collection: &ByCollection,
        before: &mut HashMap<Key, Option<Bytes>>,
        decided: Vec<NewEvent>,
        bytes_max: usize,
    ) -> Result<Vec<NewEvent>, Error> {
        let (mut sealed, mut bytes) = (Vec::with_capacity(decided.len()), 0);
        for (index, event) in decided.into_iter().enumerate() {
            let refused = |error| match error {
                Refusal::Reason(reason) => {
                    Error::Rejected(Rejected { reason, part: Some(Part::Write(index)) })
                }
                Refusal::Error(error) => error,
            };
            let done = self.seal_one(project, by_collection, before, event, bytes_max).await;
            let done = done.map_err(refused)?;
            bytes += done.data.len();
            if bytes > documents::COMMIT_BYTES_MAX {
                let bytes_max = documents::COMMIT_BYTES_MAX;
                let part = Some(Part::Write(index));
                let reason = Reason::CommitTooLarge { bytes_max };
                return Err(Error::Rejected(Rejected { reason, part }));
            }
            sealed.push(done);
        }
        Ok(sealed)
    }

    async fn seal_one(
        &self,
        project: &ProjectId,
        by_collection: &ByCollection,
        before: &mut HashMap<Key, Option<Bytes>>,
        event: NewEvent,
        bytes_max: usize,
    ) -> Result<NewEvent, Refusal> {
        let Some(key) = documents::key_of(&event.stream) else { return Ok(event) };
        let fields = by_collection.get(&key.0).filter(|fields| fields.seals());
        let Some(fields) = fields else { return Ok(event) };
        let corrupt = || Refusal::Error(Error::Corrupt("an event just made".to_owned()));
        let after = documents::data_of(&event).ok_or_else(corrupt)?;
        let was = before.get(&key).cloned().flatten();
        let subject = fields.subject(&key, &after);
        let mut sealed = Sealed::new();
        let is_deletion = event.kind == documents::DELETED;
        // What is deleted must not be in the way of its deletion.
        let of_after = (subject.as_ref(), is_deletion);
        let sealed_after =
            self.seal_data(project, &key, fields, &after, of_after, &mut sealed).await?;
        if sealed_after.len() > bytes_max && !is_deletion {
            let too_large =
                domain::json::Invalid::TooLarge { bytes: sealed_after.len(), bytes_max };
            return Err(Refusal::Reason(Reason::DocumentInvalid(too_large)));
        }
        let sealed_before = match &was {
            Some(was) => {
                let subject = fields.subject(&key, was).or(subject);
                let of_before = (subject.as_ref(), true);
                self.seal_data(project, &key, fields, was, of_before, &mut sealed).await?
            }
            None => Bytes::from_static(b"{}"),
        };
        before.insert(key, Some(after).filter(|_| !is_deletion));
        documents::with_data(event, &sealed_before, &sealed_after).ok_or_else(corrupt)
    }

    /// A document's text with what is personal sealed. `gives_up`: what can't be sealed is left
    /// out, as `null`, for it is about the past.
    async fn seal_data(
        &self,
        project: &ProjectId,
        (collection, id): &Key,
        fields: &Fields,
        data: &Bytes,
        (subject, gives_up): (Option<&UserId>, bool),
        sealed: &mut Sealed,
    ) -> Result<Bytes, Refusal> {
        let mut replaced = Vec::new();
        let spots = find(data, &[], &fields.now);
        if spots.len() > VALUES_MAX {
            if !gives_up {
                return Err(Refusal::Reason(Reason::PersonalTooMany { limit: VALUES_MAX }));
            }
            let gone = spots.into_iter().map(|spot| (spot.at, b"null".to_vec()));
            return Ok(spliced(data.clone(), gone.collect()));
        }
        for Spot { field, at } in spots {
            let (plain, path) = (&data[at.clone()], &fields.now[field]);
            if plain == b"null" {
                continue;
            }
            let text = match subject {
                Some(subject) => {
                    let known = (field, subject.clone(), plain.to_vec());
                    match sealed.get(&known) {
                        Some(text) => Ok(text.clone()),
                        None => {
                            let place = place((collection.as_str(), id.as_str()), path);
                            let text = self.seal_value(project, subject, path, &place, plain).await;
                            text.inspect(|text| drop(sealed.insert(known, text.clone())))
                        }
                    }
                }
                None => Err(Refusal::Reason(Reason::SubjectMissing(path.to_string()))),
            };
            let text = match text {
                Err(Refusal::Reason(_)) if gives_up => b"null".to_vec(),
                text => text?,
            };
            replaced.push((at, text));
        }
        Ok(spliced(data.clone(), replaced))
    }

    async fn seal_value(
        &self,
        project: &ProjectId,
        subject: &UserId,
        path: &Path,
        place: &str,
        plain: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        match self.sealer.seal(project, subject.as_str(), place, plain).await {
            // Base64 and ids have nothing that JSON would escape.
            Ok(sealed) => Ok(format!("\"{MARK}{subject}:{sealed}\"").into_bytes()),
            Err(vault::Error::Destroyed) => {
                Err(Refusal::Reason(Reason::SubjectErased(subject.clone())))
            }
            Err(vault::Error::TooLarge { bytes_max, .. }) => {
                let field = path.to_string();
                Err(Refusal::Reason(Reason::PersonalTooLarge { field, bytes_max }))
            }
            Err(error) => Err(Refusal::Error(no_keys(&error))),
        }
    }
}

/// What was opened of a document or event, and where.
#[derive(Default)]
struct Opened {
    done: Vec<(Range<usize>, Vec<u8>)>,
    /// Persons who have no key any more: the store of keys need not be asked again.
    gone: HashSet<String>,
}

/// What is personal, by collection.
pub(crate) type ByCollection = HashMap<CollectionName, Arc<Fields>>;

/// Why something was not sealed.
enum Refusal {
    Reason(Reason),
    Error(Error),
}

/// What a value is bound to beside project and person: elsewhere it does not open.
fn place((collection, id): (&str, &str), path: &Path) -> String {
    format!("documents/{collection}/{id}{}", path.pointer())
}

/// Where a part that shares the whole's memory begins in it.
fn offset(whole: &Bytes, part: &[u8]) -> Result<usize, Error> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize);
    let fits = |start: &usize| start + part.len() <= whole.len();
    // Events from before there was sealing are made anew to be read; nothing in them is sealed.
    start.filter(fits).ok_or_else(|| Error::Corrupt("a sealed value in an old event".to_owned()))
}

/// Of two fields within each other that were both personal, the one that comes first has its place.
fn spliced(data: Bytes, mut replaced: Vec<(Range<usize>, Vec<u8>)>) -> Bytes {
    if replaced.is_empty() {
        return data;
    }
    replaced.sort_by_key(|(at, _)| at.start);
    Bytes::from(splice(&data, &replaced))
}

fn no_keys(error: &vault::Error) -> Error {
    Error::Unavailable(format!("personal fields can't be sealed or opened: {error}"))
}

#[cfg(test)]
mod tests {
    use domain::DocumentId;
    use domain::projects::{CollectionState, FieldConfig};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PERSONAL: [&str; 3] = ["a", "b.c", "/d~1/e"];

    /// The project `p` with a collection `c`, whose documents are about who has their id.
    fn personal() -> (Personal, ProjectId, Key) {
        let field = FieldConfig { personal: true, ..FieldConfig::default() };
        let fields = PERSONAL.iter().map(|name| ((*name).to_owned(), field.clone()));
        let config = CollectionConfig {
            fields: fields.collect(),
            subject: Some(SUBJECT_ID.to_owned()),
            ..CollectionConfig::default()
        };
        let name = CollectionName::new("c").unwrap();
        let (created_at, updated_at) = Default::default();
        let mut state = ProjectState { version: 1, ..ProjectState::default() };
        let ever = PERSONAL.map(str::to_owned).into_iter().collect();
        state.personal_ever.insert(name.clone(), ever);
        state.collections.insert(name.clone(), CollectionState { config, created_at, updated_at });
        let (catalog, project) = (Arc::new(Catalog::default()), ProjectId::new("p").unwrap());
        catalog.put(project.clone(), state);
        let sealer = Sealer::new(Arc::new(vault::memory::Keys::new()));
        (Personal::new(sealer, catalog), project, (name, DocumentId::new("ann").unwrap()))
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\é]{0,3}".prop_map(Value::from),
            Just(json!("hw.sealed.1:ann:AAAA")),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let name = prop_oneof!["[a-e\"é]", Just("d/".to_owned())];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((name, inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_hidden_and_opens_digit_for_digit(
            inner in json(),
            other in json(),
        ) {
            let (personal, project, key) = personal();
            let (b, d) = (json!([{"c": other}, inner]), json!({"e": other}));
            let document = json!({"a": inner, "b": b, "d/": d, "x": 1});
            let data = Bytes::from(document.to_string().replace("\"x\":1", "\"x\":1.00"));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (sealed, opened) = runtime.block_on(async {
                let by_collection = personal.by_collection(&project).unwrap();
                let fields = &by_collection[&key.0];
                let subject = UserId::new("ann").unwrap();
                let by = (Some(&subject), false);
                let mut known = Sealed::new();
                let sealed = personal.seal_data(&project, &key, fields, &data, by, &mut known);
                let Ok(sealed) = sealed.await else { panic!("not sealed") };
                let name = (key.0.as_str(), key.1.as_str());
                let opened = personal.open_data(&project, name, sealed.clone()).await.unwrap();
                (sealed, opened)
            });
            prop_assert_eq!(&opened, &data);
            let sealed: Value = serde_json::from_slice(&sealed).unwrap();
            for value in [&sealed["a"], &sealed["b"][0]["c"], &sealed["d/"]["e"]] {
                let text = value.as_str().unwrap_or_default();
                prop_assert!(value.is_null() || text.starts_with("hw.sealed.1:ann:"), "{value}");
                prop_assert!(text != "hw.sealed.1:ann:AAAA");
            }
        }
    }
}
