//! Each read against the log: what is shown was written, at the position and with the version that
//! are shown, and it is not older than what the client asked to see at least. And what no client
//! may be told at all.

use super::log::{Entry, Log};
use super::writes::is_shown;
use super::{Evidence, Violation, Violations};
use crate::history::{Doc, Operation, Outcome, Request, Shown};

pub(super) fn check(evidence: &Evidence, violations: &mut Violations) {
    for operation in &evidence.operations {
        let log = &evidence.logs[operation.request.tenant()];
        for attempt in &operation.attempts {
            let checked = match (&operation.request, &attempt.outcome) {
                (Request::Read { doc, after }, Outcome::Found(shown)) => {
                    found(log, doc, shown, *after)
                }
                (Request::Read { doc, after }, Outcome::Absent) => absent(log, doc, *after),
                (Request::List { after, .. }, Outcome::Listed { documents, offset }) => {
                    listed(log, operation, documents, *offset, *after)
                }
                (_, Outcome::Refused { status, code, .. }) => allowed(*status, code),
                _ => Ok(()),
            };
            if let Err(detail) = checked {
                let detail = format!("{detail}\n    {operation:?}");
                let violation = match &operation.request {
                    Request::Read { doc, .. } => Violation::of(doc, "reads", detail),
                    _ => Violation::new("reads", detail),
                };
                violations.push(violation);
            }
        }
    }
}

/// The refusals that the requests of these clients may get.
fn allowed(status: u16, code: &str) -> Result<(), String> {
    match (status, code) {
        (404, "document-not-found")
        | (409, "document-exists" | "version-mismatch")
        | (412, "version-mismatch") => Ok(()),
        _ => Err(format!("nothing in the request allows the answer {status} {code}")),
    }
}

fn found(log: &Log, doc: &Doc, shown: &Shown, after: Option<u64>) -> Result<(), String> {
    let entry = log.of_doc(doc).find(|entry| entry.version == shown.version);
    if !entry.is_some_and(|entry| is_shown(entry, shown)) {
        return Err(format!("{shown:?} was never written; version {} is {entry:?}", shown.version));
    }
    let least = after.and_then(|after| log.at(doc, after));
    match least {
        Some(least) if shown.version < least.version => {
            Err(format!("{shown:?} is older than {least:?}, which had to be seen"))
        }
        _ => Ok(()),
    }
}

fn absent(log: &Log, doc: &Doc, after: Option<u64>) -> Result<(), String> {
    let Some(after) = after else { return Ok(()) };
    let least = log.at(doc, after);
    let was_gone = least.and_then(Entry::live).is_none();
    let is_gone_later = log.of_doc(doc).any(|entry| entry.offset > after && entry.data.is_none());
    if was_gone || is_gone_later {
        return Ok(());
    }
    Err(format!("{doc:?} is not shown, although {least:?} had to be seen"))
}

/// A page shows every document at least as the page's position has left it.
fn listed(
    log: &Log,
    operation: &Operation,
    documents: &[Shown],
    offset: u64,
    after: Option<u64>,
) -> Result<(), String> {
    let Request::List { tenant, collection, .. } = operation.request else { return Ok(()) };
    if after.is_some_and(|after| offset < after) {
        return Err(format!("a page of position {offset} instead of {after:?} or later"));
    }
    if !documents.is_sorted_by(|one, two| one.id < two.id) {
        return Err("a page out of order".to_owned());
    }
    for shown in documents {
        let doc = Doc { tenant, collection, id: shown.id.clone() };
        found(log, &doc, shown, Some(offset))?;
    }
    for doc in log.docs(collection) {
        if documents.binary_search_by(|shown| shown.id.cmp(&doc.id)).is_err() {
            absent(log, doc, Some(offset))?;
        }
    }
    Ok(())
}
