//! Checks imported events one by one. They are facts of another log, so nothing is decided anew;
//! but what can't have happened here after what did happen is refused.

use std::collections::HashMap;

use domain::documents::{DocumentEvent, DocumentState, States};
use domain::projects::{ProjectEvent, ProjectState};
use domain::rejected::Reason;
use domain::users::{UserEvent, UserState};
use domain::{CollectionName, DocumentId, Event, Rejected, Timestamp, UserId, json};

/// An import on its way: the events taken so far, and the states that they lead to.
pub(super) struct Import {
    pub(super) project: ProjectState,
    /// Must hold the document of each event before it is taken.
    pub(super) documents: States,
    /// The same for users: as they were, and as they are to be.
    pub(super) users: HashMap<UserId, (UserState, UserState)>,
    pub(super) accepted: Vec<Event>,
    /// Nothing may have happened later.
    pub(super) now: Timestamp,
    pub(super) limits: json::Limits,
}

impl Import {
    /// Takes the next event.
    ///
    /// Errors with what is wrong with it.
    pub(super) fn take(&mut self, event: Event) -> Result<(), Rejected> {
        let outcome = self.check_place(&event).and_then(|()| self.evolve(&event));
        outcome.map_err(|refusal| {
            Rejected::from(match refusal {
                Refusal::Reason(reason) => reason,
                Refusal::Why(why) => Reason::ImportInvalid(event.id, why.to_owned()),
            })
        })?;
        self.accepted.push(event);
        Ok(())
    }

    /// Its place in its transaction, and in time.
    fn check_place(&self, event: &Event) -> Result<(), Refusal> {
        let last = self.accepted.last();
        let follows = last.and_then(|last| last.transaction).filter(|part| !part.is_last());
        let expected = follows.map(|part| (part.id, part.index + 1, part.count));
        let actual = event.transaction.map(|part| (part.id, part.index, part.count));
        let whole = match (expected, actual) {
            (Some(expected), Some(actual)) => expected == actual,
            (Some(_), None) => false,
            (None, Some((_, index, _))) => index == 0,
            (None, None) => true,
        };
        if !whole {
            return Err(Refusal::Why("its transaction is not whole"));
        }
        if event.time > self.now || last.is_some_and(|last| event.time < last.time) {
            return Err(Refusal::Why("its time is after now, or before the event above it"));
        }
        Ok(())
    }

    fn evolve(&mut self, event: &Event) -> Result<(), Refusal> {
        let undecodable = |_| Refusal::Why("its data does not fit its type");
        if let Some(body) = ProjectEvent::decode(event).map_err(undecodable)? {
            follows(event, self.project.version, self.project.updated_at)?;
            let state = std::mem::take(&mut self.project);
            let is_first = matches!(body, ProjectEvent::Created { .. });
            if is_first != (state.version == 0) || state.deleted {
                return Err(Refusal::Why("the project can't have had it here"));
            }
            self.project = state.evolve(event, body);
        } else if let Some(body) = DocumentEvent::decode(event).map_err(undecodable)? {
            if !self.project.is_live() {
                return Err(Refusal::Reason(Reason::ProjectNotFound));
            }
            self.evolve_document(event, &body)?;
        } else if let Some(body) = UserEvent::decode(event).map_err(undecodable)? {
            if !self.project.is_live() {
                return Err(Refusal::Reason(Reason::ProjectNotFound));
            }
            self.evolve_user(event, body)?;
        } else {
            return Err(Refusal::Why("its type is not known"));
        }
        Ok(())
    }

    fn evolve_user(&mut self, event: &Event, body: UserEvent) -> Result<(), Refusal> {
        let id = event.stream.as_user().ok_or(Refusal::Why("its subject is not a user"))?;
        let (_, state) = self.users.entry(id).or_default();
        follows(event, state.version, state.updated_at)?;
        let is_made = matches!(body, UserEvent::Created { .. });
        if is_made != (state.version == 0) || state.deleted {
            return Err(Refusal::Why("the user can't have had it here"));
        }
        *state = std::mem::take(state).evolve(event, body);
        Ok(())
    }

    fn evolve_document(&mut self, event: &Event, body: &DocumentEvent) -> Result<(), Refusal> {
        let (collection, id) = event.stream.as_document().unwrap_or_default();
        let (Ok(collection), Ok(id)) = (CollectionName::new(collection), DocumentId::new(id))
        else {
            return Err(Refusal::Why("its subject is not a document"));
        };
        let state: &mut DocumentState = self.documents.entry((collection, id)).or_default();
        follows(event, state.version, state.changed_at)?;
        let is_made = matches!(body, DocumentEvent::Created { .. });
        if is_made == state.live.is_some() {
            return Err(Refusal::Why("the document can't have had it here"));
        }
        if let Some(data) = body.data() {
            json::compact_object(data, self.limits)
                .map_err(|_| Refusal::Why("its document is not one, or larger than allowed"))?;
        }
        *state = std::mem::take(state).evolve(event, body);
        Ok(())
    }
}

/// Why an event is not taken.
enum Refusal {
    Reason(Reason),
    Why(&'static str),
}

/// Whether an event is the next of its stream.
fn follows(event: &Event, version: u64, changed_at: Timestamp) -> Result<(), Refusal> {
    if event.stream_version != version.saturating_add(1) {
        return Err(Refusal::Why("its stream version does not follow"));
    }
    if version > 0 && event.time < changed_at {
        return Err(Refusal::Why("its time is before its stream's last event"));
    }
    Ok(())
}
