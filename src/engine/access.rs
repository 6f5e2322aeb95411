//! Access rules on their way: who looks at a collection's documents, what is shown, and the other
//! documents that a rule asks for, which are loaded between two tries.

use std::collections::HashMap;
use std::sync::Arc;

use access::{Found, Lookup, Operation, Request, Rules, Source, Unreadable, Verdict, strip};
use bytes::Bytes;
use domain::access::{Access, Auth};
use domain::projects::CollectionConfig;
use domain::{CollectionName, Position, ProjectId};
use eventlog::ReadLimit;
use readmodel::{Reader, documents as tables};

use crate::Engine;
use crate::catalog::Project;
use crate::clock;
use crate::error::Error;
use crate::personal::Personal;
use crate::read::Document;

/// Between a first answer and the last one there may be this many loads of other documents.
pub(crate) const ROUNDS_MAX: usize = access::LOOKUPS_MAX + 1;

/// Somebody who looks at one collection's documents, one by one or in a list.
#[derive(Debug, Clone, Default)]
pub struct Viewer {
    /// `None` for who is past the rules.
    by: Option<Arc<ByRules>>,
}

#[derive(Debug)]
struct ByRules {
    rules: Arc<Rules>,
    operation: Operation,
    auth: Option<Box<Auth>>,
    collection: CollectionName,
}

/// What somebody sees of a document.
#[derive(Debug)]
pub(crate) enum Sight {
    /// This much of it.
    Seen(Document),
    /// Nothing, not even that it is there.
    Hidden,
    /// Other documents decide.
    Needs(Vec<(String, String)>),
}

/// Other documents that were loaded for a question.
#[derive(Default)]
pub(crate) struct Loaded(HashMap<(String, String), Option<Bytes>>);

impl Lookup for Loaded {
    fn get(&self, collection: &str, id: &str) -> Found<'_> {
        if self.0.is_empty() {
            return Found::Unknown;
        }
        match self.0.get(&(collection.to_owned(), id.to_owned())) {
            Some(Some(data)) => Found::Document(data),
            Some(None) => Found::Nothing,
            None => Found::Unknown,
        }
    }
}

impl Loaded {
    pub(crate) fn put(&mut self, (collection, id): (String, String), data: Option<Bytes>) {
        self.0.insert((collection, id), data);
    }
}

/// Where the other documents are that a rule asks for.
pub(crate) struct Others<'a> {
    pub(crate) reader: &'a dyn Reader,
    pub(crate) personal: &'a Personal,
    pub(crate) project: &'a ProjectId,
}

impl Others<'_> {
    /// Loads those that were asked for.
    pub(crate) async fn load(
        &self,
        needs: Vec<(String, String)>,
        loaded: &mut Loaded,
    ) -> Result<(), Error> {
        for (collection, id) in needs {
            let is_name =
                domain::ids::check_id(&collection).is_ok() && domain::ids::check_id(&id).is_ok();
            let stored = match is_name {
                true => tables::get_document(self.reader, self.project, &collection, &id).await?,
                false => None,
            };
            let data = match stored.and_then(|stored| stored.data) {
                Some(data) => {
                    let key = (collection.as_str(), id.as_str());
                    Some(self.personal.open_data(self.project, key, data).await?)
                }
                None => None,
            };
            loaded.put((collection, id), data);
        }
        Ok(())
    }
}

/// Rules of a collection, compiled. Rules that no longer compile let nobody do anything.
pub(crate) fn compile(config: &CollectionConfig) -> Arc<Rules> {
    Arc::new(Rules::compile(&source(config)).unwrap_or_else(|error| {
        tracing::error!(%error, "stored rules can't be used: they allow nothing");
        Rules::default()
    }))
}

/// A collection's rules as text.
pub fn source(config: &CollectionConfig) -> Source<'_> {
    let rules = &config.rules;
    let fields = config.fields.iter().map(|(name, field)| {
        let (read, write) = (field.read.as_deref(), field.write.as_deref());
        (name.as_str(), access::FieldSource { read, write })
    });
    Source {
        read: rules.read.as_deref(),
        list: rules.list.as_deref(),
        create: rules.create.as_deref(),
        update: rules.update.as_deref(),
        delete: rules.delete.as_deref(),
        fields: fields.collect(),
    }
}

impl Viewer {
    /// Whoever has this access, looking at one document after the other.
    pub fn of_documents(project: &Project, access: &Access, collection: &CollectionName) -> Self {
        Self::of(project, access, collection, Operation::Read)
    }

    /// Whoever has this access, looking at a list.
    pub fn of_lists(project: &Project, access: &Access, collection: &CollectionName) -> Self {
        Self::of(project, access, collection, Operation::List)
    }

    fn of(
        project: &Project,
        access: &Access,
        collection: &CollectionName,
        operation: Operation,
    ) -> Self {
        let by = match access {
            Access::PastRules => None,
            Access::ByRules(auth) => Some(Arc::new(ByRules {
                rules: project.rules(collection),
                operation,
                auth: auth.clone(),
                collection: collection.clone(),
            })),
        };
        Self { by }
    }

    /// Whether it may see everything.
    pub fn is_past_rules(&self) -> bool {
        self.by.is_none()
    }

    /// Whether it can't see anything, whatever there is: no rule means no access.
    pub fn sees_nothing(&self) -> bool {
        self.by.as_ref().is_some_and(|by| !by.rules.has_rule(by.operation))
    }

    /// Fields, and the values that they have in all documents that it sees.
    pub(crate) fn required(&self) -> Vec<(domain::path::Path, serde_json::Value)> {
        let by = self.by.as_ref();
        by.map(|by| by.rules.required(by.operation, by.auth.as_deref())).unwrap_or_default()
    }

    /// Whether it sees this field of all documents that it sees.
    pub(crate) fn sees_field(&self, path: &domain::path::Path) -> bool {
        self.by.as_ref().is_none_or(|by| !by.rules.restricts(path))
    }

    /// Whether both see the same of everything.
    pub fn sees_as(&self, other: &Self) -> bool {
        match (&self.by, &other.by) {
            (None, None) => true,
            (Some(one), Some(other)) => {
                let is_same = Arc::ptr_eq(&one.rules, &other.rules)
                    && one.operation == other.operation
                    && one.collection == other.collection;
                // Who does not matter to a rule that does not ask.
                is_same && (one.auth == other.auth || !one.asks_who())
            }
            _ => false,
        }
    }

    /// What it sees of a document, as far as `loaded` tells.
    pub(crate) fn look(&self, document: Document, loaded: &Loaded) -> Sight {
        let Some(by) = &self.by else { return Sight::Seen(document) };
        let data = document.data.clone();
        let seen = access::Document::new(
            document.id.as_str(),
            by.collection.as_str(),
            document.version,
            document.created_at,
            document.updated_at,
            &data,
        );
        let request = by.request(Some(&seen), loaded);
        match by.rules.check(&request) {
            Verdict::Deny => return Sight::Hidden,
            Verdict::Needs(needs) => return Sight::Needs(needs),
            Verdict::Allow => {}
        }
        if !by.rules.has_field_read_rules() {
            return Sight::Seen(document);
        }
        match by.rules.unreadable(&request) {
            Unreadable::Needs(needs) => Sight::Needs(needs),
            Unreadable::Fields(fields) if fields.is_empty() => Sight::Seen(document),
            Unreadable::Fields(fields) => {
                let data = Bytes::from(strip(&data, &fields));
                Sight::Seen(Document { data, ..document })
            }
        }
    }

    /// Whether rules, roles or groups changed after the event at `last`: what was seen until then
    /// may be out of sight, without an event that says so.
    pub(crate) async fn has_changed_since(
        &self,
        engine: &Engine,
        project: &ProjectId,
        last: Position,
    ) -> Result<bool, Error> {
        let Some(by) = &self.by else { return Ok(false) };
        let one = ReadLimit { events_max: 1, bytes_max: 1 };
        let read = engine.log.read(last.partition, last.offset, one).await?;
        let Some(first) = read.events.first() else { return Ok(false) };
        let seen_at = first.event.time;
        let live = engine.catalog.project(project);
        if live.is_none_or(|live| live.state.access_changed_at > seen_at) {
            return Ok(true);
        }
        match &by.auth {
            Some(auth) => {
                let user = engine.user(project, &auth.uid).await?;
                Ok(user.is_some_and(|user| user.access_changed_at > seen_at))
            }
            None => Ok(false),
        }
    }

    /// Whether it may know that there is no such document; as for [`Viewer::look`].
    fn may_miss(&self, loaded: &Loaded) -> Verdict {
        match &self.by {
            None => Verdict::Allow,
            Some(by) => by.rules.check(&by.request(None, loaded)),
        }
    }

    /// What it sees of a document, with what rules ask for loaded; `None` when it sees nothing.
    pub(crate) async fn see(
        &self,
        others: &Others<'_>,
        document: Document,
    ) -> Result<Option<Document>, Error> {
        if self.is_past_rules() {
            return Ok(Some(document));
        }
        let mut loaded = Loaded::default();
        for _ in 0..ROUNDS_MAX {
            match self.look(document.clone(), &loaded) {
                Sight::Seen(document) => return Ok(Some(document)),
                Sight::Hidden => return Ok(None),
                Sight::Needs(needs) => others.load(needs, &mut loaded).await?,
            }
        }
        Ok(None)
    }

    /// Whether it may know that there is no such document.
    pub(crate) async fn may_know_of_none(&self, others: &Others<'_>) -> Result<bool, Error> {
        let mut loaded = Loaded::default();
        for _ in 0..ROUNDS_MAX {
            match self.may_miss(&loaded) {
                Verdict::Allow => return Ok(true),
                Verdict::Deny => return Ok(false),
                Verdict::Needs(needs) => others.load(needs, &mut loaded).await?,
            }
        }
        Ok(false)
    }
}

impl ByRules {
    fn request<'a>(
        &'a self,
        before: Option<&'a access::Document<'a>>,
        lookup: &'a Loaded,
    ) -> Request<'a> {
        Request {
            operation: self.operation,
            auth: self.auth.as_deref(),
            before,
            after: None,
            now: clock::now(),
            lookup,
        }
    }

    fn asks_who(&self) -> bool {
        self.rules.uses_auth(self.operation) || self.rules.uses_of_field_reads().auth
    }
}
