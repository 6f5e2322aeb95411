//! The documents projection: a row per document, a row per version of it, a row per project, a row
//! per collection, places in indexes, and the rows of users. The writers decide against these
//! tables, and every read is answered from them.

mod indexes;
#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod live_window_tests;
mod people;
#[cfg(test)]
mod people_tests;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::documents::DocumentEvent;
use domain::projects::{ProjectEvent, ProjectState};
use domain::users::UserEvent;
use domain::{Offset, ProjectId, Recorded};
use engine::{Fault, Projection, Work};
use readmodel::documents::{self as tables, Document, HistoryEntry};
use readmodel::{Reader, Write};

use indexes::Indexes;
use people::People;

/// Makes the projection of one partition.
pub(crate) fn make() -> Box<dyn Projection> {
    Box::new(Documents::default())
}

#[derive(Default)]
struct Documents {
    projects: HashMap<ProjectId, ProjectState>,
    /// Collections that have their row already, as `project/collection`.
    collections: HashSet<String>,
    indexes: Indexes,
}

#[async_trait]
impl Projection for Documents {
    async fn load(&mut self, reader: &dyn Reader) -> Result<(), Fault> {
        *self = Self::default();
        for (id, stored) in tables::projects(reader).await? {
            for (collection, _) in tables::collections(reader, &id).await? {
                self.collections.insert(format!("{id}/{collection}"));
            }
            if let Ok(state) = serde_json::from_slice(&stored.state) {
                self.projects.insert(id, state);
            }
        }
        self.indexes.load(reader, self.projects.keys()).await
    }

    async fn apply(
        &mut self,
        events: &[Arc<Recorded>],
        reader: &dyn Reader,
        writes: &mut Vec<Write>,
    ) -> Result<(), Fault> {
        let mut people = People::default();
        self.indexes.begin();
        for recorded in events {
            let outcome = match UserEvent::decode(&recorded.event) {
                Ok(Some(body)) => {
                    people.fold(recorded, body, reader, writes).await?;
                    continue;
                }
                Ok(None) => match DocumentEvent::decode(&recorded.event) {
                    Ok(Some(body)) => {
                        self.indexes.fold(recorded, &body, reader, writes).await?;
                        self.fold_document(recorded, body, writes);
                        continue;
                    }
                    Ok(None) => self.fold(recorded, writes),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                // Nothing that the writer appends can fail here; what does came from a damaged or
                // newer log.
                tracing::error!(position = %recorded.position, %error, "event not projected");
            }
        }
        Ok(())
    }

    fn has_work(&self) -> bool {
        self.indexes.has_work()
    }

    async fn work(&mut self, reader: &dyn Reader, newest: Offset) -> Result<Work, Fault> {
        let mut work = Work::default();
        self.indexes.work(reader, newest, &mut work).await?;
        Ok(work)
    }
}

impl Documents {
    fn fold(
        &mut self,
        recorded: &Recorded,
        writes: &mut Vec<Write>,
    ) -> Result<(), domain::upcast::Undecodable> {
        if let Some(body) = ProjectEvent::decode(&recorded.event)? {
            self.fold_project(recorded, body, writes);
        }
        Ok(())
    }

    fn fold_document(&mut self, recorded: &Recorded, body: DocumentEvent, writes: &mut Vec<Write>) {
        let event = &recorded.event;
        let Some((collection, id)) = event.stream.as_document() else { return };
        let project = &event.project;
        let offset = recorded.position.offset;
        let (created_at, data) = match body {
            DocumentEvent::Created { data, .. } => {
                self.note_collection(project, collection, offset, writes);
                (event.time, Some(data))
            }
            DocumentEvent::Updated { created_at, data, .. } => (created_at, Some(data)),
            DocumentEvent::Deleted { created_at, .. } => (created_at, None),
        };
        let document = Document {
            version: event.stream_version,
            created_at,
            updated_at: event.time,
            offset,
            data,
        };
        let entry = HistoryEntry {
            version: event.stream_version,
            offset,
            time: event.time,
            kind: event.kind.clone(),
        };
        writes.push(tables::put_document(project, collection, id, &document));
        writes.push(tables::put_history(project, collection, id, &entry));
    }

    fn note_collection(
        &mut self,
        project: &ProjectId,
        collection: &str,
        offset: u64,
        writes: &mut Vec<Write>,
    ) {
        let name = format!("{project}/{collection}");
        if !self.collections.contains(&name) {
            writes.push(tables::put_collection(project, collection, offset));
            self.collections.insert(name);
        }
    }

    fn fold_project(&mut self, recorded: &Recorded, body: ProjectEvent, writes: &mut Vec<Write>) {
        let event = &recorded.event;
        let offset = recorded.position.offset;
        let state = self.projects.remove(&event.project).unwrap_or_default();
        let configured = match &body {
            ProjectEvent::CollectionConfigured { collection, config } => {
                Some((collection, Some(&**config)))
            }
            ProjectEvent::CollectionDeleted { collection } => Some((collection, None)),
            _ => None,
        };
        if let Some((collection, config)) = configured {
            let mut personal = state.personal_ever.get(collection).cloned().unwrap_or_default();
            personal.extend(config.iter().flat_map(|config| config.personal().cloned()));
            let config = (config, &personal);
            self.indexes.configure(&event.project, collection, config, offset, writes);
        }
        if event.stream_version <= state.version {
            // Its row was stored before its checkpoint was: what was loaded has this event already.
            self.projects.insert(event.project.clone(), state);
            return;
        }
        let state = state.evolve(event, body);
        let row = tables::Project {
            version: state.version,
            created_at: state.created_at,
            updated_at: state.updated_at,
            state: Bytes::from(serde_json::to_vec(&state).unwrap_or_default()),
        };
        writes.push(tables::put_project(&event.project, &row, offset));
        self.projects.insert(event.project.clone(), state);
    }
}
