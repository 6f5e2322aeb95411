//! Loads the states that a command needs and hands them to the pure rules of `domain`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use domain::access::Access;
use domain::command::{Body, Command, Context, Imported, event_id_for_key};
use domain::documents::{
    self, DocumentState, ExpectedVersion, Key, Live, ReadCheck, Shapeless, Shapes, States, Write,
};
use domain::projects::{self, ProjectCommand, ProjectEvent, ProjectState};
use domain::rejected::Reason;
use domain::{NewEvent, ProjectId, Rejected};
use readmodel::documents as tables;

use super::Writer;
use super::draft::{Draft, Outcome};
use super::import::Import;
use super::prefetch::Prefetched;
use crate::error::Error;

impl Writer {
    pub(super) async fn decide(
        &self,
        draft: &mut Draft,
        prefetched: &Prefetched,
        command: Command,
    ) -> Outcome {
        let decided = self.try_decide(draft, prefetched, command).await;
        decided.unwrap_or_else(|error| {
            if let Error::Rejected(rejected) = &error {
                self.metrics.rejected.inc();
                if matches!(rejected.reason, Reason::VersionMismatch { .. }) {
                    self.metrics.append_conflicts.inc();
                }
            }
            Outcome::Failed(error)
        })
    }

    async fn try_decide(
        &self,
        draft: &mut Draft,
        prefetched: &Prefetched,
        command: Command,
    ) -> Result<Outcome, Error> {
        let Command { context, body } = command;
        if let Some(outcome) = self.repeated(draft, prefetched, &context).await? {
            return Ok(outcome);
        }
        match body {
            Body::Project(command) => self.decide_project(draft, &context, &command),
            Body::Documents { writes, reads } => {
                self.decide_documents(draft, prefetched, &context, &writes, &reads).await
            }
            Body::User(command) => self.decide_user(draft, &context, &command).await,
            Body::Import(events) => self.decide_import(draft, &context.project, events).await,
        }
    }

    /// The answer given before to the same idempotency key.
    async fn repeated(
        &self,
        draft: &Draft,
        prefetched: &Prefetched,
        context: &Context,
    ) -> Result<Option<Outcome>, Error> {
        let Some(idempotency) = &context.idempotency else { return Ok(None) };
        let first_event = event_id_for_key(&context.project, &idempotency.key, 0);
        let (outcome, fingerprint) = if let Some((range, hash)) = draft.keyed(first_event) {
            (Outcome::Repeat(range.clone()), *hash)
        } else {
            let space = &*self.idempotency.space;
            let stored = match prefetched.idempotency(&context.project, first_event) {
                Some(stored) => stored.clone(),
                None => tables::get_idempotency(space, &context.project, first_event).await?,
            };
            match stored {
                Some(entry) if !self.is_expired(draft, &entry) => {
                    let outcome = Outcome::Stored { offset: entry.offset, count: entry.count };
                    (outcome, entry.fingerprint)
                }
                _ => return Ok(None),
            }
        };
        if fingerprint != idempotency.fingerprint {
            return Err(rejected(Reason::IdempotencyKeyReused));
        }
        Ok(Some(outcome))
    }

    fn is_expired(&self, draft: &Draft, entry: &tables::IdempotencyEntry) -> bool {
        let age_micros = draft.now.as_micros() - entry.time.as_micros();
        age_micros / 1_000_000 >= i64::try_from(self.idempotency_seconds).unwrap_or(i64::MAX)
    }

    fn project_state(&self, draft: &Draft, id: &ProjectId) -> ProjectState {
        draft.project(id).cloned().unwrap_or_else(|| self.catalog.state(id))
    }

    pub(super) fn is_live(&self, draft: &Draft, id: &ProjectId) -> bool {
        match draft.project(id) {
            Some(state) => state.is_live(),
            None => self.catalog.project(id).is_some(),
        }
    }

    fn decide_project(
        &self,
        draft: &mut Draft,
        context: &Context,
        command: &ProjectCommand,
    ) -> Result<Outcome, Error> {
        let state = self.project_state(draft, &context.project);
        let event = projects::decide(&state, command).map_err(Error::Rejected)?;
        let outcome = draft.add(context, vec![event]);
        self.evolve_project(draft, state)?;
        Ok(outcome)
    }

    /// Moves the draft's project on by the draft's last event.
    fn evolve_project(&self, draft: &mut Draft, state: ProjectState) -> Result<(), Error> {
        let Some(event) = draft.events.last().cloned() else { return Ok(()) };
        let body = ProjectEvent::decode(&event).map_err(|e| Error::Corrupt(e.to_string()))?;
        if let Some(body) = body {
            draft.put_project(&event.project, state.evolve(&event, body));
        }
        Ok(())
    }

    async fn decide_documents(
        &self,
        draft: &mut Draft,
        prefetched: &Prefetched,
        context: &Context,
        writes: &[Write],
        reads: &[ReadCheck],
    ) -> Result<Outcome, Error> {
        if !self.is_live(draft, &context.project) {
            return Err(rejected(Reason::ProjectNotFound));
        }
        // Of a fresh id there is nothing to look up.
        let known = writes.iter().filter(|write| write.expected != ExpectedVersion::Fresh);
        let written = known.map(|write| (&write.collection, &write.id));
        let read = reads.iter().map(|read| (&read.collection, &read.id));
        let mut states = States::with_capacity(writes.len() + reads.len());
        for (collection, id) in written.chain(read) {
            if let Entry::Vacant(entry) = states.entry((collection.clone(), id.clone())) {
                let project = &context.project;
                let state = match prefetched.document(project, entry.key()) {
                    Some(state) if draft.document(project, entry.key()).is_none() => state.clone(),
                    _ => self.document_state(draft, project, entry.key()).await?,
                };
                entry.insert(state);
            }
        }
        let to_be_indexed = self.to_be_indexed(draft, &context.project, writes, &states);
        let compiled = draft.compiled(&context.project, self.catalog.project(&context.project));
        let shapes: &dyn Shapes = match &compiled {
            Some(project) => &**project,
            None => &Shapeless,
        };
        let before = self.to_be_sealed(draft, &context.project, writes, &states);
        let decided: Vec<NewEvent> = match &context.access {
            Access::PastRules => {
                let (limits, now) = (self.limits, draft.now);
                documents::decide_shaped(&mut states, writes, reads, limits, now, shapes)
                    .map_err(Error::Rejected)?
            }
            Access::ByRules(auth) => {
                let asked = (writes, reads, shapes);
                self.decide_by_rules(draft, context, auth.as_deref(), &mut states, asked).await?
            }
        };
        if let Some(to_be) = to_be_indexed {
            let after = (writes, &states);
            self.check_indexes(draft, &context.project, to_be, after).await?;
        }
        let decided = match before {
            Some(before) => self.seal(&context.project, before, decided).await?,
            None => decided,
        };
        draft.put_documents(&context.project, states);
        Ok(draft.add(context, decided))
    }

    pub(super) async fn document_state(
        &self,
        draft: &Draft,
        project: &ProjectId,
        key: &Key,
    ) -> Result<DocumentState, Error> {
        if let Some(state) = draft.document(project, key) {
            return Ok(state.clone());
        }
        let (collection, id) = (key.0.as_str(), key.1.as_str());
        self.stored_document(project, (collection, id)).await
    }

    /// A document's state for deciding, as the tables have it.
    pub(super) async fn stored_document(
        &self,
        project: &ProjectId,
        (collection, id): (&str, &str),
    ) -> Result<DocumentState, Error> {
        let space = &*self.documents.space;
        let stored = tables::get_document(space, project, collection, id).await?;
        let Some(stored) = stored else { return Ok(DocumentState::default()) };
        let live = match stored.data {
            Some(data) => {
                let data = self.personal.open_data(project, (collection, id), data).await?;
                Some(Live { created_at: stored.created_at, data })
            }
            None => None,
        };
        Ok(DocumentState { version: stored.version, changed_at: stored.updated_at, live })
    }

    /// Takes an export's events over: each must follow on its stream as it is here, in version and
    /// in time, and transactions must be whole.
    async fn decide_import(
        &self,
        draft: &mut Draft,
        project: &ProjectId,
        events: Vec<Imported>,
    ) -> Result<Outcome, Error> {
        let mut import = Import {
            project: self.project_state(draft, project),
            documents: States::new(),
            users: HashMap::new(),
            accepted: Vec::with_capacity(events.len()),
            now: draft.now,
            limits: self.limits,
        };
        for Imported { mut event } in events {
            event.project = project.clone();
            event.epoch = 0;
            if let Some(key) = documents::key_of(&event.stream)
                && !import.documents.contains_key(&key)
            {
                let state = self.document_state(draft, project, &key).await?;
                import.documents.insert(key, state);
            }
            if let Some(id) = event.stream.as_user()
                && !import.users.contains_key(&id)
            {
                let state = self.user_state(draft, project, &id).await?;
                import.users.insert(id, (state.clone(), state));
            }
            import.take(event).map_err(Error::Rejected)?;
        }
        let Import { project: state, documents, users, accepted, .. } = import;
        if accepted.last().is_none_or(|last| !last.ends_transaction()) {
            let id = accepted.last().map_or_else(uuid::Uuid::nil, |last| last.id);
            let why = "nothing to import, or its last transaction is not whole".to_owned();
            return Err(rejected(Reason::ImportInvalid(id, why)));
        }
        draft.put_project(project, state);
        draft.put_documents(project, documents);
        for (id, (before, after)) in users {
            draft.put_user(project, &id, &before, after);
        }
        Ok(draft.import(accepted))
    }
}

pub(super) fn rejected(reason: Reason) -> Error {
    Error::Rejected(Rejected::from(reason))
}
