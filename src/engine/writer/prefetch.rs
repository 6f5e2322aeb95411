//! Reads what a batch will be decided against before any of it is decided, many rows at a time:
//! where tables are on other machines, one after the other would take longer than all the rest.

use std::collections::HashMap;

use domain::ProjectId;
use domain::command::{Body, event_id_for_key};
use domain::documents::{DocumentState, ExpectedVersion, Key};
use futures_util::StreamExt as _;
use futures_util::stream;
use readmodel::documents::{self as tables, IdempotencyEntry};
use uuid::Uuid;

use super::{Submission, Writer};

/// Rows that are asked for at a time.
const IN_FLIGHT: usize = 64;
/// Rows read ahead for one batch; what is past them is read when it is needed.
const ROWS_MAX: usize = 2048;
/// The same in bytes of documents.
const BYTES_MAX: usize = 16 << 20;

/// What was read ahead. Good for one batch: nobody else writes these rows meanwhile.
#[derive(Default)]
pub(super) struct Prefetched {
    documents: HashMap<(ProjectId, Key), DocumentState>,
    idempotency: HashMap<(ProjectId, Uuid), Option<IdempotencyEntry>>,
}

enum Wanted {
    Document(ProjectId, Key),
    Idempotency(ProjectId, Uuid),
}

enum Found {
    Document(ProjectId, Key, DocumentState),
    Idempotency(ProjectId, Uuid, Option<IdempotencyEntry>),
}

impl Prefetched {
    /// A document's state, if it was read ahead.
    pub(super) fn document(&self, project: &ProjectId, key: &Key) -> Option<&DocumentState> {
        if self.documents.is_empty() {
            return None;
        }
        self.documents.get(&(project.clone(), key.clone()))
    }

    /// What an idempotency key led to, if that was read ahead; then perhaps to nothing.
    pub(super) fn idempotency(
        &self,
        project: &ProjectId,
        first_event: Uuid,
    ) -> Option<&Option<IdempotencyEntry>> {
        if self.idempotency.is_empty() {
            return None;
        }
        self.idempotency.get(&(project.clone(), first_event))
    }
}

impl Writer {
    /// Reads ahead for `waiting`. What can't be read is left for the decision, which says why.
    pub(super) async fn prefetch<'a>(
        &self,
        waiting: impl Iterator<Item = &'a Submission>,
    ) -> Prefetched {
        let mut prefetched = Prefetched::default();
        if !self.tables_are_remote {
            return prefetched;
        }
        let wanted: Vec<Wanted> = waiting.flat_map(wanted).take(ROWS_MAX).collect();
        let mut found = stream::iter(wanted).map(|wanted| self.fetch(wanted)).buffered(IN_FLIGHT);
        let mut bytes = 0;
        while let Some(found) = found.next().await {
            match found {
                Some(Found::Document(project, key, state)) => {
                    bytes += state.live.as_ref().map_or(0, |live| live.data.len());
                    prefetched.documents.insert((project, key), state);
                }
                Some(Found::Idempotency(project, id, entry)) => {
                    prefetched.idempotency.insert((project, id), entry);
                }
                None => {}
            }
            if bytes > BYTES_MAX {
                break;
            }
        }
        prefetched
    }

    async fn fetch(&self, wanted: Wanted) -> Option<Found> {
        match wanted {
            Wanted::Document(project, key) => {
                let name = (key.0.as_str(), key.1.as_str());
                let state = self.stored_document(&project, name).await.ok()?;
                Some(Found::Document(project, key, state))
            }
            Wanted::Idempotency(project, id) => {
                let space = &*self.idempotency.space;
                let entry = tables::get_idempotency(space, &project, id).await.ok()?;
                Some(Found::Idempotency(project, id, entry))
            }
        }
    }
}

fn wanted(submission: &Submission) -> Vec<Wanted> {
    let context = &submission.command.context;
    let project = &context.project;
    let key = context.idempotency.iter().map(|idempotency| {
        let first_event = event_id_for_key(project, &idempotency.key, 0);
        Wanted::Idempotency(project.clone(), first_event)
    });
    let mut all: Vec<Wanted> = key.collect();
    if let Body::Documents { writes, reads } = &submission.command.body {
        let written = writes.iter().filter(|write| write.expected != ExpectedVersion::Fresh);
        let written = written.map(|write| (write.collection.clone(), write.id.clone()));
        let read = reads.iter().map(|read| (read.collection.clone(), read.id.clone()));
        all.extend(written.chain(read).map(|key| Wanted::Document(project.clone(), key)));
    }
    all
}
