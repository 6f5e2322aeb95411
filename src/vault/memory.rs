//! Keys in memory, gone with the process: for tests and for servers that keep nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_trait::async_trait;
use domain::ProjectId;
use parking_lot::Mutex;

use crate::Error;
use crate::subjects::{Key, SubjectKeys, check_subject};

/// The keys. `None` stands for one that was destroyed.
#[derive(Default)]
pub struct Keys {
    projects: Mutex<HashMap<ProjectId, HashMap<String, Option<Key>>>>,
}

impl Keys {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl SubjectKeys for Keys {
    async fn get(&self, project: &ProjectId, subject: &str) -> Result<Option<Key>, Error> {
        check_subject(subject)?;
        let projects = self.projects.lock();
        Ok(projects.get(project).and_then(|subjects| subjects.get(subject)?.clone()))
    }

    async fn get_or_create(&self, project: &ProjectId, subject: &str) -> Result<Key, Error> {
        check_subject(subject)?;
        let mut projects = self.projects.lock();
        let subjects = projects.entry(project.clone()).or_default();
        match subjects.entry(subject.to_owned()) {
            Entry::Occupied(known) => known.get().clone().ok_or(Error::Destroyed),
            Entry::Vacant(free) => {
                let key = Key::generate()?;
                free.insert(Some(key.clone()));
                Ok(key)
            }
        }
    }

    async fn destroy(&self, project: &ProjectId, subject: &str) -> Result<bool, Error> {
        check_subject(subject)?;
        let mut projects = self.projects.lock();
        let subjects = projects.entry(project.clone()).or_default();
        Ok(subjects.insert(subject.to_owned(), None).flatten().is_some())
    }

    async fn wipe_project(&self, project: &ProjectId) -> Result<u64, Error> {
        let mut projects = self.projects.lock();
        let Some(subjects) = projects.get_mut(project) else { return Ok(0) };
        Ok(subjects.values_mut().filter_map(Option::take).count() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance::{self, Engine};

    #[tokio::test]
    async fn conforms() {
        let engine = Engine { durable: false, shared: false };
        conformance::run(engine, async |_| Arc::new(Keys::new()) as Arc<dyn SubjectKeys>).await;
    }
}
