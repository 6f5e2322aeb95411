//! Each operation against the log: what was acknowledged is there exactly once and as it was
//! acknowledged, what was refused is not, what is unknown is there wholly or not at all; and the
//! log's order is one that the clients' clocks allow.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::log::{Entry, Log};
use super::{Evidence, Violation, Violations};
use crate::history::{Change, Expected, Micros, Operation, Outcome, Request, Shown, Write};

/// An operation's events by the attempt that they come from.
type Done<'a> = BTreeMap<usize, Vec<&'a Entry>>;

pub(super) fn check(evidence: &Evidence, violations: &mut Violations) {
    let operations: HashMap<&str, &Operation> =
        evidence.operations.iter().map(|operation| (&*operation.name, operation)).collect();
    let mut done: HashMap<&str, Done> = HashMap::new();
    for entry in evidence.logs.iter().flat_map(|log| &log.entries) {
        let origin = entry.origin().filter(|(name, _)| operations.contains_key(name));
        let Some((name, attempt)) = origin else {
            let detail = format!("nobody has asked for {entry:?}");
            violations.push(Violation::of(&entry.doc, "origin", detail));
            continue;
        };
        done.entry(name).or_default().entry(attempt).or_default().push(entry);
    }
    for operation in &evidence.operations {
        let nothing = Done::new();
        let done = done.get(&*operation.name).unwrap_or(&nothing);
        let log = &evidence.logs[operation.request.tenant()];
        if let Err(detail) = check_one(operation, done, log) {
            let detail = format!("{detail}\n    {operation:?}\n    events: {done:?}");
            let violation = match operation.request.writes().first() {
                Some(write) => Violation::of(&write.doc, "writes", detail),
                None => Violation::new("writes", detail),
            };
            violations.push(violation);
        }
    }
    for log in &evidence.logs {
        check_times(log, &operations, violations);
    }
}

fn check_one(operation: &Operation, done: &Done, log: &Log) -> Result<(), String> {
    if done.len() > 1 && operation.is_keyed {
        return Err("done twice in spite of its idempotency key".to_owned());
    }
    for (number, entries) in done {
        // Attempts are counted from 1 where they leave the process.
        let attempt = number.checked_sub(1).and_then(|index| operation.attempts.get(index));
        let outcome = attempt.map(|attempt| &attempt.outcome);
        if matches!(outcome, None | Some(Outcome::Refused { .. } | Outcome::Nothing { .. })) {
            return Err(format!("attempt {number} was answered {outcome:?}, and was done"));
        }
        check_events(operation, entries, log)?;
    }
    if let Outcome::Written { last, documents, versions } = operation.outcome() {
        let Some(entries) = done.values().next() else {
            return Err("acknowledged and not in the log".to_owned());
        };
        check_answer(entries, *last, documents, versions)?;
    }
    Ok(())
}

/// The events are those of all its writes, and just what these do in the state before.
fn check_events(operation: &Operation, entries: &[&Entry], log: &Log) -> Result<(), String> {
    let writes = operation.request.writes();
    if entries.len() != writes.len() {
        return Err(format!("{} of {} writes were done", entries.len(), writes.len()));
    }
    let is_one = |pair: &[&Entry]| match (&pair[0].transaction, &pair[1].transaction) {
        (Some((one, ..)), Some((two, ..))) => one == two,
        _ => false,
    };
    if !entries.windows(2).all(is_one) {
        return Err("its writes are not of one transaction".to_owned());
    }
    for (write, entry) in writes.iter().zip(entries) {
        if write.doc != entry.doc {
            return Err(format!("{entry:?} is of another document than {write:?}"));
        }
        let before = log.before(&entry.doc, entry.offset);
        let (live, data) = (before.and_then(Entry::live), before.and_then(|e| e.data.as_ref()));
        let is_as_expected = match write.expected {
            Expected::Any => true,
            Expected::Nothing => live.is_none(),
            Expected::Version(version) => live == Some(version),
        };
        let wanted = wanted(write, data);
        if !is_as_expected || wanted.as_ref() != Some(&entry.data) {
            return Err(format!("{entry:?} is not what {write:?} does to {before:?}"));
        }
    }
    if let Request::Commit { reads, .. } = &operation.request {
        for (doc, version) in reads {
            let found = log.before(doc, entries[0].offset).and_then(Entry::live).unwrap_or(0);
            if found != *version {
                return Err(format!("its read of {doc:?} at {version} did not hold: {found}"));
            }
        }
    }
    Ok(())
}

/// What a write leaves behind, `None` if it should have been refused.
fn wanted(write: &Write, before: Option<&Value>) -> Option<Option<Value>> {
    match (&write.change, before) {
        (Change::Create(data), None) | (Change::Replace(data), _) => Some(Some(data.clone())),
        (Change::Patch(patch), Some(before)) => Some(Some(merged(before, patch))),
        (Change::Delete, Some(_)) => Some(None),
        (Change::Create(_), Some(_)) | (Change::Patch(_) | Change::Delete, None) => None,
    }
}

/// RFC 7396, for patches that go one level deep.
fn merged(before: &Value, patch: &Value) -> Value {
    let mut after = before.clone();
    for (name, value) in patch.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(after.as_object_mut().and_then(|after| after.remove(name))),
            value => after[name] = value.clone(),
        }
    }
    after
}

fn check_answer(
    entries: &[&Entry],
    last: u64,
    documents: &[(usize, Shown)],
    versions: &[Option<u64>],
) -> Result<(), String> {
    if entries.last().map(|entry| entry.offset) != Some(last) {
        return Err("acknowledged at another position".to_owned());
    }
    let told = versions.iter().zip(entries);
    if told.clone().any(|(told, entry)| told.is_some_and(|told| told != entry.version)) {
        return Err("acknowledged with another version".to_owned());
    }
    for (index, shown) in documents {
        if !entries.get(*index).is_some_and(|entry| is_shown(entry, shown)) {
            return Err(format!("acknowledged with another document: {shown:?}"));
        }
    }
    Ok(())
}

/// Whether a document was shown just as an event has left it.
pub(super) fn is_shown(entry: &Entry, shown: &Shown) -> bool {
    entry.version == shown.version
        && entry.offset == shown.offset
        && entry.data.as_ref() == Some(&shown.data)
}

/// What was acknowledged before something else was asked for stands before it in the log.
fn check_times(log: &Log, operations: &HashMap<&str, &Operation>, violations: &mut Violations) {
    let mut latest: Option<(Micros, &Entry)> = None;
    for entry in &log.entries {
        let Some((name, attempt)) = entry.origin() else { continue };
        let Some(operation) = operations.get(name) else { continue };
        let attempt = attempt.checked_sub(1).and_then(|index| operation.attempts.get(index));
        if let (Some(end), Some((start, earlier))) = (operation.acknowledged(), latest)
            && end < start
        {
            let detail = format!(
                "{entry:?} was acknowledged at {end}, but stands behind what was asked for only \
                 at {start}: {earlier:?}"
            );
            violations.push(Violation::of(&entry.doc, "real time", detail));
        }
        if let Some(attempt) = attempt
            && latest.is_none_or(|(start, _)| start < attempt.start)
        {
            latest = Some((attempt.start, entry));
        }
    }
}
