//! Linearizability of each document by itself, from the clients' side alone: which answers about
//! it were given when, without a look at the log. Only when a search grows too large does the log
//! say which of the unknown writes took place.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::linear::{self, Call, Verdict};
use super::register::{Kind, Register, State, Step, Why};
use super::{Evidence, Reads, Violation, Violations};
use crate::history::{
    Attempt, Change, Doc, Expected, Micros, Operation, Outcome, Part, Request, Shown, Write,
};

/// Steps that one document's search may try.
const TRIES_MAX: usize = 400_000;
/// Calls shown before the one that nothing explains.
const SHOWN_MAX: usize = 8;

/// A document's calls, each with the operation that it is from.
#[derive(Default)]
struct Calls<'a> {
    calls: Vec<Call<Step>>,
    from: Vec<&'a Operation>,
}

pub(super) fn check(evidence: &Evidence, violations: &mut Violations) {
    let mut searches_cut = 0;
    for (doc, calls) in collect(evidence) {
        let mut verdict = search(&calls.calls);
        if verdict == Verdict::GaveUp {
            searches_cut += 1;
            let settled = settle(evidence, &doc, &calls);
            verdict = search(&settled.calls);
            report(&doc, &settled, &verdict, violations);
        } else {
            report(&doc, &calls, &verdict, violations);
        }
    }
    if searches_cut > 0 {
        println!("{searches_cut} documents needed the log to tell what became of unknown writes");
    }
}

fn search(calls: &[Call<Step>]) -> Verdict<State> {
    linear::check(&Register::of(calls), calls, TRIES_MAX)
}

/// The calls about each document that somebody has written or asked for.
fn collect(evidence: &Evidence) -> BTreeMap<Doc, Calls<'_>> {
    let mut all: BTreeMap<Doc, Calls> = BTreeMap::new();
    let docs: HashSet<&Doc> =
        evidence.logs.iter().flat_map(|log| &log.entries).map(|e| &e.doc).collect();
    for operation in &evidence.operations {
        let mut add = |doc: &Doc, start: Micros, end: Option<Micros>, step: Step| {
            let calls = all.entry(doc.clone()).or_default();
            calls.calls.push(Call { start, end, step });
            calls.from.push(operation);
        };
        match &operation.request {
            Request::Read { .. } | Request::List { .. } if evidence.reads == Reads::SessionOnly => {
            }
            Request::Read { doc, .. } => {
                let Attempt { start, end, outcome, .. } = operation.last();
                match outcome {
                    Outcome::Found(shown) => add(doc, *start, Some(*end), found(shown)),
                    Outcome::Absent => add(doc, *start, Some(*end), Step::Absent),
                    _ => {}
                }
            }
            Request::List { tenant, collection, .. } => {
                let Attempt { start, end, outcome, .. } = operation.last();
                let Outcome::Listed { documents, .. } = outcome else { continue };
                let theirs = |doc: &&&Doc| doc.tenant == *tenant && doc.collection == *collection;
                for doc in docs.iter().filter(theirs) {
                    let shown = documents.binary_search_by(|shown| shown.id.cmp(&doc.id));
                    let step = shown.map_or(Step::Absent, |at| found(&documents[at]));
                    add(doc, *start, Some(*end), step);
                }
            }
            Request::Write(_) | Request::Commit { .. } => writes(operation, add),
        }
    }
    all
}

fn found(shown: &Shown) -> Step {
    Step::Found { version: shown.version, writer: writer(&shown.data) }
}

/// Who has written a document: the name that each operation leaves in it.
fn writer(data: &Value) -> Arc<str> {
    data["op"].as_str().unwrap_or_default().into()
}

/// What a write's attempts say. One that is acknowledged happened at some time since it was first
/// sent; one that is unknown may do so at any time; and a refusal tells of the last attempt only.
fn writes(operation: &Operation, mut add: impl FnMut(&Doc, Micros, Option<Micros>, Step)) {
    let last = operation.attempts.len() - 1;
    let Attempt { start, end, outcome, .. } = operation.last();
    let mut is_unsure = operation.is_unsure_before(last);
    match outcome {
        Outcome::Written { versions, .. } => {
            let (start, end) = (operation.start(), Some(*end));
            for (write, version) in operation.request.writes().iter().zip(versions) {
                add(&write.doc, start, end, step(operation, write, *version));
            }
            if let Request::Commit { reads, .. } = &operation.request {
                for (doc, version) in reads {
                    add(doc, start, end, Step::Had(*version));
                }
            }
            is_unsure = false;
        }
        Outcome::Refused { code, part, actual, .. } => {
            if let Some((doc, why)) = why(&operation.request, code, *part, *actual) {
                add(doc, *start, Some(*end), Step::Refused(why));
            }
        }
        Outcome::Unknown { .. } => is_unsure = true,
        _ => {}
    }
    if is_unsure {
        for write in operation.request.writes() {
            add(&write.doc, operation.start(), None, step(operation, write, None));
        }
    }
}

fn step(operation: &Operation, write: &Write, version: Option<u64>) -> Step {
    let kind = match write.change {
        Change::Create(_) => Kind::Create,
        Change::Replace(_) => Kind::Replace,
        Change::Patch(_) => Kind::Patch,
        Change::Delete => Kind::Delete,
    };
    let (expected, writer) = (write.expected, Arc::clone(&operation.name));
    Step::Write { kind, expected, writer, version }
}

/// The document that a refusal is about, and what it says of it.
fn why<'a>(
    request: &'a Request,
    code: &str,
    part: Option<Part>,
    actual: Option<u64>,
) -> Option<(&'a Doc, Why)> {
    let (doc, expected) = match (request, part) {
        (Request::Write(write), _) => (&write.doc, write.expected),
        (Request::Commit { writes, .. }, Some(Part::Write(index))) => {
            let write = writes.get(index)?;
            (&write.doc, write.expected)
        }
        (Request::Commit { reads, .. }, Some(Part::Read(index))) => {
            let (doc, version) = reads.get(index)?;
            let expected = match version {
                0 => Expected::Nothing,
                version => Expected::Version(*version),
            };
            (doc, expected)
        }
        _ => return None,
    };
    match code {
        "version-mismatch" => Some((doc, Why::Mismatch { expected, actual })),
        "document-exists" => Some((doc, Why::Exists { actual })),
        "document-not-found" => Some((doc, Why::Missing)),
        _ => None,
    }
}

/// The same calls with what the log says about those without an end: when they happened, they have
/// that version; else they are left out.
fn settle<'a>(evidence: &Evidence, doc: &Doc, calls: &Calls<'a>) -> Calls<'a> {
    let mut settled = Calls::default();
    for (call, from) in calls.calls.iter().zip(&calls.from) {
        let mut call = call.clone();
        if let (None, Step::Write { writer, version, .. }) = (call.end, &mut call.step) {
            let mut entries = evidence.logs[doc.tenant].of_doc(doc);
            let is_its = |origin: (&str, usize)| *origin.0 == **writer;
            let Some(entry) = entries.find(|entry| entry.origin().is_some_and(is_its)) else {
                continue;
            };
            *version = Some(entry.version);
        }
        settled.calls.push(call);
        settled.from.push(from);
    }
    settled
}

fn report(doc: &Doc, calls: &Calls, verdict: &Verdict<State>, violations: &mut Violations) {
    let show = |call: &usize| {
        let Call { start, end, step } = &calls.calls[*call];
        let name = &calls.from[*call].name;
        format!(
            "\n      [{start} .. {}] {name} {step:?}",
            end.map_or("?".into(), |e| e.to_string())
        )
    };
    match verdict {
        Verdict::Explained => {}
        Verdict::GaveUp => {
            let detail = format!("no verdict on {} calls", calls.calls.len());
            violations.push(Violation::of(doc, "linearizability", detail));
        }
        Verdict::Impossible { placed, state, stuck } => {
            let last: String =
                placed.iter().skip(placed.len().saturating_sub(SHOWN_MAX)).map(show).collect();
            let after = calls.calls[*stuck].end.unwrap_or(Micros::MAX);
            let before = calls.calls[*stuck].start;
            let beside = (0..calls.calls.len()).filter(|call| {
                let other = &calls.calls[*call];
                let overlaps = other.start <= after && other.end.is_none_or(|end| before <= end);
                overlaps && call != stuck && !placed.contains(call)
            });
            let beside: String = beside.take(SHOWN_MAX).map(|call| show(&call)).collect();
            let detail = format!(
                "no order explains the answers\n    the longest ends with{last}\n    \
                 in {state:?}\n    then this had to come{}\n    \
                 and open beside it were{beside}",
                show(stuck)
            );
            violations.push(Violation::of(doc, "linearizability", detail));
        }
    }
}
