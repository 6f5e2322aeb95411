//! Projects, keys and collections in memory: what every request looks up before it does anything
//! else. Fed from the read model at start and by the writers after each commit; never ahead of the
//! log.

use std::collections::HashMap;
use std::sync::Arc;

use domain::projects::{KeyKind, ProjectEvent, ProjectState};
use domain::{Event, KeyId, ProjectId};
use parking_lot::RwLock;

/// A live project and an index of its keys.
#[derive(Debug)]
pub struct Project {
    /// Its configuration.
    pub state: ProjectState,
    keys_by_hash: HashMap<String, KeyId>,
}

impl Project {
    fn new(state: ProjectState) -> Self {
        let keys_by_hash =
            state.keys.iter().map(|(id, key)| (key.hash.clone(), id.clone())).collect();
        Self { state, keys_by_hash }
    }

    /// The key whose text has this SHA-256 (lower-case hex). The hash of an unguessable text is no
    /// secret to compare in constant time.
    pub fn key(&self, hash: &str) -> Option<(&KeyId, KeyKind)> {
        let id = self.keys_by_hash.get(hash)?;
        self.state.keys.get(id).map(|key| (id, key.kind))
    }
}

/// All projects, deleted ones included.
#[derive(Debug, Default)]
pub struct Catalog {
    projects: RwLock<HashMap<ProjectId, Arc<Project>>>,
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
        self.projects.write().insert(id, Arc::new(Project::new(state)));
    }

    /// Takes one committed event in; events of documents pass by.
    pub(crate) fn apply(&self, event: &Event) {
        match ProjectEvent::decode(event) {
            Ok(Some(body)) => {
                let state = self.state(&event.project);
                // Tables that another node writes may have shown it already.
                if event.stream_version > state.version {
                    self.put(event.project.clone(), state.evolve(event, body));
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!(event.id = %event.id, %error, "undecodable event"),
        }
    }
}
