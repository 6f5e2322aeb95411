//! A document as a register with versions, for `linear`: what a write, a refusal and a read say
//! about the state that they met. The contents of a document are the name of the operation that
//! wrote it.

use std::collections::HashMap;
use std::sync::Arc;

use super::linear::{Call, Model};
use crate::history::Expected;

/// A document at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Counts its changes.
    pub(crate) version: u64,
    /// Who wrote it; `None` while there is no document.
    pub(crate) writer: Option<Arc<str>>,
}

impl State {
    fn live(&self) -> Option<u64> {
        self.writer.as_ref().map(|_| self.version)
    }

    fn has(&self, expected: Expected) -> bool {
        match expected {
            Expected::Any => true,
            Expected::Nothing => self.live().is_none(),
            Expected::Version(version) => self.live() == Some(version),
        }
    }
}

/// What a write does to the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Replace,
    Patch,
    Delete,
}

/// Why a write was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// It did not have the expected version, but this one.
    Mismatch { expected: Expected, actual: Option<u64> },
    /// It was there already.
    Exists { actual: Option<u64> },
    /// It was not there.
    Missing,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A write, and the version that it made, if that is known.
    Write {
        kind: Kind,
        expected: Expected,
        writer: Arc<str>,
        version: Option<u64>,
    },
    Refused(Why),
    Found {
        version: u64,
        writer: Arc<str>,
    },
    Absent,
    /// A transaction found this version (0: no document).
    Had(u64),
}

/// The model of one document.
pub(crate) struct Register {
    /// Who made a version, where some answer tells. A write that does not know its own version
    /// can't have made the version of another: so the search need not try.
    makers: HashMap<u64, Arc<str>>,
}

impl Register {
    /// The document that these calls are about.
    pub(crate) fn of(calls: &[Call<Step>]) -> Self {
        let made = calls.iter().filter_map(|call| match &call.step {
            Step::Write { version: Some(version), writer, .. }
            | Step::Found { version, writer } => Some((*version, Arc::clone(writer))),
            _ => None,
        });
        Self { makers: made.collect() }
    }

    fn written(&self, state: &State, write: &Step) -> Option<State> {
        let Step::Write { kind, expected, writer, version } = write else { return None };
        let is_live = state.writer.is_some();
        let fits = match kind {
            Kind::Create => !is_live,
            Kind::Replace => true,
            Kind::Patch | Kind::Delete => is_live,
        };
        let next = state.version + 1;
        let is_its = match version {
            Some(version) => *version == next,
            None => self.makers.get(&next).is_none_or(|maker| maker == writer),
        };
        if !fits || !state.has(*expected) || !is_its {
            return None;
        }
        let writer = (*kind != Kind::Delete).then(|| Arc::clone(writer));
        Some(State { version: next, writer })
    }
}

impl Model for Register {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        State::default()
    }

    fn apply(&self, state: &State, step: &Step) -> Option<State> {
        let holds = match step {
            Step::Write { .. } => return self.written(state, step),
            Step::Refused(Why::Mismatch { expected, actual }) => {
                !state.has(*expected) && state.live() == *actual
            }
            Step::Refused(Why::Exists { actual }) => {
                state.live().is_some() && state.live() == *actual
            }
            Step::Refused(Why::Missing) | Step::Absent => state.live().is_none(),
            Step::Found { version, writer } => {
                state.version == *version && state.writer.as_ref() == Some(writer)
            }
            Step::Had(version) => state.live().unwrap_or(0) == *version,
        };
        holds.then(|| state.clone())
    }
}
