//! Projects, keys, collections with their rules, and what changed lately about users, in memory:
//! what every request looks up before it does anything else. Fed from the read model at start and
//! by the writers after each commit; never ahead of the log.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};

use ::access::Rules;
use bytes::Bytes;
use domain::path::Path;
use domain::projects::{ChannelPattern, Key, ProjectEvent, ProjectState};
use domain::users::{Recent, Subject, UserEvent};
use domain::{ChannelName, CollectionName, Event, KeyId, ProjectId, Timestamp};
use parking_lot::RwLock;
use query::Definition;
use tokio::sync::broadcast;

use crate::access;
use crate::channels::{AllTerms, Terms};
use crate::clock;
use crate::expiry::{self, Agendas};
use crate::personal::{ByCollection, Fields};
use crate::shapes::{self, Shape};

/// Notices that a slow receiver may be behind.
const NOTICES_MAX: usize = 1024;
/// What changed lately is looked through for what may be forgotten once there is this much of it.
const RECENT_SWEEP_MIN: usize = 1024;

/// Something changed that whoever is connected may depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The project's configuration: its keys, rules, roles.
    Project(ProjectId),
    /// A session ended, or rules see a user otherwise.
    People(ProjectId, Subject),
}

/// The indexes of a collection by their text.
pub(crate) type Indexes = Vec<(Bytes, Definition)>;

/// A live project and an index of its keys.
#[derive(Debug)]
pub struct Project {
    /// Its configuration.
    pub state: ProjectState,
    keys_by_hash: HashMap<String, KeyId>,
    /// Of the collections that have some.
    rules: HashMap<CollectionName, Arc<Rules>>,
    no_rules: Arc<Rules>,
    /// Of the collections that have some, each with its text.
    indexes: HashMap<CollectionName, Arc<Indexes>>,
    /// Of the collections that have a schema.
    pub(crate) shapes: HashMap<CollectionName, Arc<Shape>>,
    channels: AllTerms,
    /// What is personal in documents.
    pub(crate) personal: Arc<ByCollection>,
}

impl Project {
    /// `earlier` is what the project was, whose rules are compiled already.
    pub(crate) fn new(state: ProjectState, earlier: Option<&Self>) -> Self {
        let mut keys_by_hash = HashMap::new();
        for (id, key) in &state.keys {
            keys_by_hash.insert(key.hash.clone(), id.clone());
            if let Some((earlier, _)) = &key.previous {
                keys_by_hash.insert(earlier.clone(), id.clone());
            }
        }
        let rules = state.collections.iter().map(|(name, collection)| {
            let config = &collection.config;
            let is_same = |earlier: &&Self| {
                let before = earlier.state.collections.get(name).map(|one| &one.config);
                before.is_some_and(|before| {
                    before.rules == config.rules && before.fields == config.fields
                })
            };
            let known = earlier.filter(is_same).and_then(|earlier| earlier.rules.get(name));
            (name.clone(), known.map_or_else(|| access::compile(config), Arc::clone))
        });
        let rules = rules.collect();
        let names = state.collections.keys();
        let indexes = names.filter_map(|name| Some((name.clone(), indexes_of(&state, name)?)));
        let indexes = indexes.collect();
        let no_rules = earlier.map_or_else(Arc::default, |earlier| Arc::clone(&earlier.no_rules));
        let personal = Arc::new(Fields::of(&state));
        let shapes = shapes::compile(&state, earlier);
        let channels = Terms::of_all(
            &state.channels,
            earlier.map(|earlier| (&earlier.state.channels, &earlier.channels)),
        );
        Self { state, keys_by_hash, rules, no_rules, indexes, shapes, channels, personal }
    }

    /// The indexes of a collection, if it has any.
    pub(crate) fn indexes(&self, collection: &CollectionName) -> Option<Arc<Indexes>> {
        self.indexes.get(collection).map(Arc::clone)
    }

    /// The rules of a collection; of one that was never configured, none.
    pub fn rules(&self, collection: &CollectionName) -> Arc<Rules> {
        Arc::clone(self.rules.get(collection).unwrap_or(&self.no_rules))
    }

    /// What holds for a channel, if anything was said of it.
    pub fn channel(&self, name: &ChannelName) -> Option<&Arc<Terms>> {
        ChannelPattern::find(&self.channels, name)
    }

    /// The key whose text has this SHA-256 (lower-case hex). The hash of an unguessable text is no
    /// secret to compare in constant time.
    pub fn key(&self, hash: &str) -> Option<(&KeyId, &Key)> {
        let id = self.keys_by_hash.get(hash)?;
        let key = self.state.keys.get(id)?;
        let is_good = key.hash == hash
            || key.previous.as_ref().is_some_and(|(_, until)| clock::now() < *until);
        is_good.then_some((id, key))
    }
}

/// The indexes of a collection, if it has any.
pub(crate) fn indexes_of(state: &ProjectState, name: &CollectionName) -> Option<Arc<Indexes>> {
    let config = &state.collections.get(name)?.config;
    let none = BTreeSet::new();
    let personal = state.personal_ever.get(name).unwrap_or(&none);
    let all = Definition::of_collection(config, personal).into_iter();
    let all: Indexes = all.map(|one| (Bytes::from(one.text()), one)).collect();
    (!all.is_empty()).then(|| Arc::new(all))
}

/// All projects, deleted ones included.
#[derive(Debug)]
pub struct Catalog {
    projects: RwLock<HashMap<ProjectId, Arc<Project>>>,
    recent: RwLock<RecentOnes>,
    /// Whether any project has something personal in documents: most servers have none.
    has_personal: AtomicBool,
    /// Whether any project has, or had, documents that go by themselves.
    has_expiring: AtomicBool,
    /// When those go.
    pub(crate) agendas: Agendas,
    notices: broadcast::Sender<Notice>,
}

#[derive(Debug, Default)]
struct RecentOnes {
    by_subject: HashMap<(ProjectId, Subject), Arc<Recent>>,
    sweep_at: usize,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            projects: RwLock::default(),
            recent: RwLock::default(),
            has_personal: AtomicBool::new(false),
            has_expiring: AtomicBool::new(false),
            agendas: Agendas::default(),
            notices: broadcast::Sender::new(NOTICES_MAX),
        }
    }
}

impl Catalog {
    /// The project, unless it does not exist or was deleted.
    pub fn project(&self, id: &ProjectId) -> Option<Arc<Project>> {
        self.projects.read().get(id).filter(|project| project.state.is_live()).cloned()
    }

    /// The project's configuration, deleted or not; the empty state for one that never was.
    pub(crate) fn state(&self, id: &ProjectId) -> ProjectState {
        self.projects.read().get(id).map(|project| project.state.clone()).unwrap_or_default()
    }

    /// Live projects in the order of their ids, after `after`.
    pub fn list(&self, after: Option<&ProjectId>, limit: usize) -> Vec<(ProjectId, Arc<Project>)> {
        let projects = self.projects.read();
        let mut live: Vec<_> = projects
            .iter()
            .filter(|(id, project)| {
                project.state.is_live() && after.is_none_or(|after| *id > after)
            })
            .collect();
        live.sort_by_key(|(id, _)| *id);
        live.into_iter().take(limit).map(|(id, p)| (id.clone(), Arc::clone(p))).collect()
    }

    pub(crate) fn put(&self, id: ProjectId, state: ProjectState) {
        let earlier = self.projects.read().get(&id).cloned();
        let project = Project::new(state, earlier.as_deref());
        if !project.personal.is_empty() {
            self.has_personal.store(true, Release);
        }
        if expiry::expiring(&project.state).next().is_some() {
            self.has_expiring.store(true, Release);
        }
        self.projects.write().insert(id, Arc::new(project));
    }

    /// The collections whose documents go by themselves, of live projects that `is_wanted`.
    pub(crate) fn expiring(
        &self,
        is_wanted: impl Fn(&ProjectId) -> bool,
    ) -> HashMap<(ProjectId, CollectionName), (Arc<Path>, Timestamp)> {
        if !self.has_expiring.load(Acquire) {
            return HashMap::new();
        }
        let projects = self.projects.read();
        let live = projects.iter().filter(|(id, one)| one.state.is_live() && is_wanted(id));
        let all = live.flat_map(|(id, project)| {
            let of_project = expiry::expiring(&project.state);
            of_project.map(move |(name, field, since)| ((id.clone(), name.clone()), (field, since)))
        });
        all.collect()
    }

    /// Whether any project has, or had, something personal in documents.
    pub(crate) fn has_personal(&self) -> bool {
        self.has_personal.load(Acquire)
    }

    /// What changed lately of this, if it did.
    pub fn recent(&self, project: &ProjectId, subject: Subject) -> Option<Arc<Recent>> {
        let recent = self.recent.read();
        if recent.by_subject.is_empty() {
            return None;
        }
        recent.by_subject.get(&(project.clone(), subject)).cloned()
    }

    /// Hears of every change from now on. Who was too slow and lost some must look at everything.
    pub fn watch(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    pub(crate) fn put_recent(&self, project: &ProjectId, new: Recent) {
        let mut recent = self.recent.write();
        if recent.by_subject.len() >= recent.sweep_at.max(RECENT_SWEEP_MIN) {
            let now: Timestamp = clock::now();
            recent.by_subject.retain(|_, one| one.until() > now);
            recent.sweep_at = recent.by_subject.len() * 2;
        }
        let key = (project.clone(), new.subject.clone());
        let is_newer = recent.by_subject.get(&key).is_none_or(|old| old.at <= new.at);
        if is_newer {
            recent.by_subject.insert(key, Arc::new(new));
        }
    }

    /// Takes one committed event in; of documents only when they go.
    pub(crate) fn apply(&self, event: &Event) {
        match event.stream.category() {
            "project" => self.apply_project(event),
            "user" => self.apply_user(event),
            "document" => self.agendas.note(event),
            _ => {}
        }
    }

    /// Takes an event in, if it is a user's.
    pub(crate) fn apply_user(&self, event: &Event) {
        match UserEvent::decode(event) {
            Ok(Some(body)) => {
                for recent in Recent::of(event, &body) {
                    let notice = Notice::People(event.project.clone(), recent.subject.clone());
                    self.put_recent(&event.project, recent);
                    let _ = self.notices.send(notice);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(event.id = %event.id, %error, "undecodable event"),
        }
    }

    fn apply_project(&self, event: &Event) {
        match ProjectEvent::decode(event) {
            Ok(Some(body)) => {
                let state = self.state(&event.project);
                // Tables that another node writes may have shown it already.
                if event.stream_version > state.version {
                    self.put(event.project.clone(), state.evolve(event, body));
                    let _ = self.notices.send(Notice::Project(event.project.clone()));
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(event.id = %event.id, %error, "undecodable event"),
        }
    }
}
