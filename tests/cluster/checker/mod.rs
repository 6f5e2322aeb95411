//! What must be true when everything is quiet again. Works on what was recorded, never asks a
//! server, and so can be shown to fail on histories that are known to be wrong.

mod documents;
pub(crate) mod finals;
mod linear;
pub(crate) mod log;
mod reads;
mod register;
pub(crate) mod streams;
#[cfg(test)]
mod tests;
mod writes;

use std::fmt;

use crate::history::{Doc, Operation};
use finals::Final;
use log::Log;
use streams::Stream;

/// What is promised of reads by id and of lists without `Headwater-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Each shows all that was acknowledged before it was asked for.
    Linearizable,
    /// Only that they show something that was, and obey `Headwater-After`.
    SessionOnly,
}

/// All that a run has left.
pub(crate) struct Evidence {
    pub(crate) reads: Reads,
    pub(crate) operations: Vec<Operation>,
    /// The log of each project.
    pub(crate) logs: Vec<Log>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) finals: Vec<Final>,
}

/// Something that must not be.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    doc: Option<Doc>,
    detail: String,
}

/// The violations found so far.
pub(crate) type Violations = Vec<Violation>;

impl Violation {
    pub(crate) fn new(rule: &'static str, detail: String) -> Self {
        Self { rule, doc: None, detail }
    }

    pub(crate) fn of(doc: &Doc, rule: &'static str, detail: String) -> Self {
        Self { rule, doc: Some(doc.clone()), detail }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rule)?;
        if let Some(doc) = &self.doc {
            write!(f, " of {doc:?}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// Everything that is wrong with a run.
pub(crate) fn check(evidence: &Evidence) -> Violations {
    let mut violations = Violations::new();
    for log in &evidence.logs {
        log::check(log, &mut violations);
    }
    writes::check(evidence, &mut violations);
    reads::check(evidence, &mut violations);
    finals::check(evidence, &mut violations);
    streams::check(evidence, &mut violations);
    documents::check(evidence, &mut violations);
    violations
}
