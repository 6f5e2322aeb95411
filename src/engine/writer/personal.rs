//! Seals what is personal in the events that a commit comes to, last of all: whatever is decided is
//! decided about documents as they were written.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use domain::documents::{Key, States, Write};
use domain::{NewEvent, ProjectId};

use super::Writer;
use super::draft::Draft;
use crate::error::Error;
use crate::personal::{ByCollection, Fields};

/// What it takes to seal a commit: what is personal, and the documents as they were before.
pub(super) struct ToBeSealed {
    fields: Arc<ByCollection>,
    before: HashMap<Key, Option<Bytes>>,
}

impl Writer {
    /// `None` where nothing of the documents is personal.
    pub(super) fn to_be_sealed(
        &self,
        draft: &Draft,
        project: &ProjectId,
        writes: &[Write],
        states: &States,
    ) -> Option<ToBeSealed> {
        let fields = match draft.project(project) {
            // Configured in this very batch.
            Some(state) => Arc::new(Fields::of(state)),
            None => self.personal.by_collection(project)?,
        };
        let seals = |name| fields.get(name).is_some_and(|fields| fields.seals());
        let sealed = writes.iter().filter(|write| seals(&write.collection));
        let before = sealed.map(|write| {
            let key = (write.collection.clone(), write.id.clone());
            // There is no state of one that can't have been there.
            let live = states.get(&key).and_then(|state| state.live.as_ref());
            let data = live.map(|live| live.data.clone());
            (key, data)
        });
        let before: HashMap<Key, Option<Bytes>> = before.collect();
        (!before.is_empty()).then_some(ToBeSealed { fields, before })
    }

    /// The events with what is personal sealed; errors as
    /// [`Personal::seal`](crate::personal::Personal::seal).
    pub(super) async fn seal(
        &self,
        project: &ProjectId,
        ToBeSealed { fields, mut before }: ToBeSealed,
        decided: Vec<NewEvent>,
    ) -> Result<Vec<NewEvent>, Error> {
        let bytes_max = self.limits.bytes_max;
        self.personal.seal(project, &fields, &mut before, decided, bytes_max).await
    }
}
