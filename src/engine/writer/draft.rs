//! What one group commit is going to be: the events decided so far, and the states they lead to.
//! Later commands of the batch are decided against it; thrown away when the append fails.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use domain::command::Context;
use domain::documents::{DocumentState, Key, States};
use domain::projects::ProjectState;
use domain::users::{IdentityKey, UserState};
use domain::{Event, NewEvent, ProjectId, Timestamp, TransactionPart, UserId};
use uuid::Uuid;

use super::indexes::Claims;
use crate::catalog::Project;
use crate::error::Error;

/// What was decided for one command.
pub(crate) enum Outcome {
    /// These of the draft's events.
    Events(Range<usize>),
    /// The same request stands earlier in the batch, with these events.
    Repeat(Range<usize>),
    /// The same request was answered before, by these events of the log.
    Stored { offset: u64, count: u32 },
    /// Refused, or could not be decided.
    Failed(Error),
}

pub(crate) struct Draft {
    /// The batch's time.
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<Event>,
    /// What the events weigh.
    pub(crate) bytes: usize,
    documents: HashMap<ProjectId, States>,
    projects: HashMap<ProjectId, ProjectState>,
    /// Projects that were configured in this very batch, compiled.
    compiled: HashMap<ProjectId, Arc<Project>>,
    users: HashMap<(ProjectId, UserId), UserState>,
    /// Whose each way in is that the batch gave or took.
    identities: HashMap<(ProjectId, IdentityKey), Option<UserId>>,
    /// By the id of a keyed command's first event.
    keyed: HashMap<Uuid, (Range<usize>, u64)>,
    /// Who has claimed what is unique.
    claims: Claims,
}

impl Draft {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            events: Vec::new(),
            bytes: 0,
            documents: HashMap::new(),
            projects: HashMap::new(),
            compiled: HashMap::new(),
            users: HashMap::new(),
            identities: HashMap::new(),
            keyed: HashMap::new(),
            claims: Claims::new(),
        }
    }

    pub(crate) fn document(&self, project: &ProjectId, key: &Key) -> Option<&DocumentState> {
        self.documents.get(project)?.get(key)
    }

    pub(crate) fn project(&self, id: &ProjectId) -> Option<&ProjectState> {
        self.projects.get(id)
    }

    pub(crate) fn keyed(&self, first_event: Uuid) -> Option<&(Range<usize>, u64)> {
        self.keyed.get(&first_event)
    }

    /// Who has claimed this place, in this index.
    pub(super) fn claimed(&self, at: &(ProjectId, String, String)) -> Option<&Vec<Key>> {
        self.claims.get(at)
    }

    pub(super) fn claim(&mut self, claims: Claims) {
        for (at, keys) in claims {
            self.claims.entry(at).or_default().extend(keys);
        }
    }

    pub(crate) fn put_documents(&mut self, project: &ProjectId, states: States) {
        self.documents.entry(project.clone()).or_default().extend(states);
    }

    /// The project as the batch so far has it; `live` is as it was before.
    pub(crate) fn compiled(
        &mut self,
        id: &ProjectId,
        live: Option<Arc<Project>>,
    ) -> Option<Arc<Project>> {
        let Some(state) = self.projects.get(id) else { return live };
        let compiled = self.compiled.entry(id.clone());
        let compile = || Arc::new(Project::new(state.clone(), live.as_deref()));
        Some(Arc::clone(compiled.or_insert_with(compile)))
    }

    pub(crate) fn put_project(&mut self, id: &ProjectId, state: ProjectState) {
        self.compiled.remove(id);
        self.projects.insert(id.clone(), state);
    }

    pub(crate) fn user(&self, project: &ProjectId, id: &UserId) -> Option<&UserState> {
        self.users.get(&(project.clone(), id.clone()))
    }

    pub(crate) fn identity(&self, project: &ProjectId, key: &str) -> Option<&Option<UserId>> {
        self.identities.get(&(project.clone(), key.to_owned()))
    }

    /// Moves a user on; ways in that it lost are free for the rest of the batch, and those that it
    /// got are not.
    pub(crate) fn put_user(
        &mut self,
        project: &ProjectId,
        id: &UserId,
        before: &UserState,
        after: UserState,
    ) {
        for (state, owner) in [(before, None), (&after, Some(id))] {
            let user = &state.user;
            for key in user.identities.keys().chain(user.passkeys.keys()) {
                self.identities.insert((project.clone(), key.clone()), owner.cloned());
            }
        }
        self.users.insert((project.clone(), id.clone()), after);
    }

    /// Gives decided events their envelope; several make a transaction.
    pub(crate) fn add(&mut self, context: &Context, decided: Vec<NewEvent>) -> Outcome {
        let first = self.events.len();
        let count = decided.len();
        let ids = Ids::new(context);
        let transaction = (count > 1).then(|| ids.id(count));
        for (index, event) in decided.into_iter().enumerate() {
            self.events.push(Event {
                id: ids.id(index),
                project: context.project.clone(),
                stream: event.stream,
                stream_version: event.stream_version,
                kind: event.kind,
                schema_version: event.schema_version,
                time: self.now,
                epoch: 0,
                actor: context.actor.clone(),
                correlation_id: context.correlation_id.clone(),
                causation_id: context.causation_id,
                depth: context.depth,
                transaction: transaction.map(|id| TransactionPart {
                    id,
                    index: index as u32,
                    count: count as u32,
                }),
                fingerprint: context.idempotency.as_ref().map(|key| key.fingerprint),
                traceparent: context.traceparent.clone(),
                data: event.data,
            });
        }
        self.bytes += self.events[first..].iter().map(Event::weight).sum::<usize>();
        let range = first..first + count;
        if let Some(idempotency) = context.idempotency.as_ref().filter(|_| count > 0) {
            self.keyed.insert(ids.id(0), (range.clone(), idempotency.fingerprint));
        }
        Outcome::Events(range)
    }

    /// Takes imported events over as they are.
    pub(crate) fn import(&mut self, events: Vec<Event>) -> Outcome {
        let first = self.events.len();
        self.bytes += events.iter().map(Event::weight).sum::<usize>();
        self.events.extend(events);
        Outcome::Events(first..self.events.len())
    }
}

/// Ids of one command's events.
struct Ids<'a> {
    context: &'a Context,
}

impl<'a> Ids<'a> {
    fn new(context: &'a Context) -> Self {
        Self { context }
    }

    fn id(&self, index: usize) -> Uuid {
        match &self.context.idempotency {
            Some(idempotency) => {
                domain::command::event_id_for_key(&self.context.project, &idempotency.key, index)
            }
            None => Uuid::now_v7(),
        }
    }
}
