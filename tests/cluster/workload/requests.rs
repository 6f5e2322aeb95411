//! Requests of the history as HTTP, and answers of HTTP as outcomes. The one place that knows
//! which failures say for certain that nothing was written: docs/API.md has the table.

use std::sync::Arc;

use harness::client::Request as Sending;
use harness::{Answer, Project};
use serde_json::{Value, json};

use super::world::{Tenant, offset_of};
use crate::history::{Change, Expected, Outcome, Part, Request, Shown, Write};

/// Documents asked for in a list: more than the collections that are listed have.
const PAGE: usize = 1000;

/// The request, ready to be sent to the node that `project` is at.
pub(super) fn sending(project: &Project, tenant: &Tenant, request: &Request) -> Sending {
    match request {
        Request::Write(write) => single(project, write),
        Request::Commit { writes, reads } => {
            let reads = reads.iter().map(|(doc, version)| {
                json!({"collection": doc.collection, "id": &*doc.id, "version": version})
            });
            let writes = writes.iter().map(commit_write).collect();
            project.commit(&Value::Array(writes), &Value::Array(reads.collect()))
        }
        Request::Read { doc, after } => {
            not_before(project.get(doc.collection, &doc.id), tenant, *after)
        }
        Request::List { collection, after, .. } => {
            let path = format!("{}?limit={PAGE}", project.documents(collection));
            not_before(project.client.get(&path), tenant, *after)
        }
    }
}

fn not_before(sending: Sending, tenant: &Tenant, after: Option<u64>) -> Sending {
    match after {
        Some(after) => sending.header("headwater-after", tenant.position(after)),
        None => sending,
    }
}

fn single(project: &Project, write: &Write) -> Sending {
    let (collection, id) = (write.doc.collection, &*write.doc.id);
    let sending = match &write.change {
        Change::Create(data) => {
            let path = format!("{}?id={id}", project.documents(collection));
            return project.client.post(&path, data);
        }
        Change::Replace(data) => project.put(collection, id, data),
        Change::Patch(patch) => project.patch(collection, id, patch),
        Change::Delete => project.delete(collection, id),
    };
    match write.expected {
        Expected::Any => sending,
        Expected::Nothing => sending.if_none(),
        Expected::Version(version) => sending.if_match(version),
    }
}

fn commit_write(write: &Write) -> Value {
    let mut value = json!({"collection": write.doc.collection, "id": &*write.doc.id});
    let (op, data) = match &write.change {
        Change::Create(data) => ("create", Some(data)),
        Change::Replace(data) => ("replace", Some(data)),
        Change::Patch(patch) => ("patch", Some(patch)),
        Change::Delete => ("delete", None),
    };
    value["op"] = json!(op);
    if let Some(data) = data {
        value["data"] = data.clone();
    }
    match write.expected {
        Expected::Any => {}
        Expected::Nothing => value["ifVersion"] = json!(0),
        Expected::Version(version) => value["ifVersion"] = json!(version),
    }
    value
}

/// What came of a sending.
pub(super) fn outcome(request: &Request, sent: Result<Answer, reqwest::Error>) -> Outcome {
    let answer = match sent {
        Ok(answer) => answer,
        // There was not even a connection to send it over.
        Err(error) if error.is_connect() => return Outcome::Nothing { why: format!("{error:?}") },
        Err(error) => return Outcome::Unknown { why: format!("{error:?}") },
    };
    if !answer.is_ok() {
        return failed(request, &answer);
    }
    // An answer that can't be understood is shown as such when the run is checked.
    understood(request, &answer).unwrap_or_else(|| Outcome::Refused {
        status: answer.status,
        code: format!("an answer that is not as promised: {}", answer.text()),
        part: None,
        actual: None,
    })
}

fn failed(request: &Request, answer: &Answer) -> Outcome {
    let status = answer.status;
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or("none").to_owned();
    let why = format!("{status} {code}: {}", problem["detail"]);
    match (status, &*code) {
        (404, "document-not-found") if matches!(request, Request::Read { .. }) => Outcome::Absent,
        (503, "busy" | "unavailable" | "stale-read") | (507, "storage-full") => {
            Outcome::Nothing { why }
        }
        // A paused node wakes up and finds that the request took too long to arrive.
        (408, _) => Outcome::Nothing { why },
        (500.., _) => Outcome::Unknown { why },
        _ => {
            let part = problem["field"].as_str().and_then(part);
            Outcome::Refused { status, code, part, actual: problem["actualVersion"].as_u64() }
        }
    }
}

/// The place in a commit that a JSON Pointer names.
fn part(field: &str) -> Option<Part> {
    let mut parts = field.strip_prefix('/')?.split('/');
    let (list, index) = (parts.next()?, parts.next()?.parse().ok()?);
    match list {
        "writes" => Some(Part::Write(index)),
        "reads" => Some(Part::Read(index)),
        _ => None,
    }
}

fn understood(request: &Request, answer: &Answer) -> Option<Outcome> {
    let body: Value = match answer.body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&answer.body).ok()?,
    };
    let last = || Some(offset_of(answer.header("headwater-position")?)?.1);
    Some(match request {
        Request::Read { doc, .. } => {
            let found = shown(&body)?;
            (found.id == doc.id).then_some(Outcome::Found(found))?
        }
        Request::List { .. } => {
            let documents = body["documents"].as_array()?.iter().map(shown);
            let (_, offset) = offset_of(body["position"].as_str()?)?;
            // All of it fits on one page.
            body["cursor"].is_null().then_some(())?;
            Outcome::Listed { documents: documents.collect::<Option<_>>()?, offset }
        }
        Request::Write(write) if write.change == Change::Delete => {
            Outcome::Written { last: last()?, documents: Vec::new(), versions: vec![None] }
        }
        Request::Write(_) => {
            let shown = shown(&body)?;
            let versions = vec![Some(shown.version)];
            Outcome::Written { last: last()?, documents: vec![(0, shown)], versions }
        }
        Request::Commit { writes, .. } => {
            let results = body["results"].as_array()?;
            (results.len() == writes.len()).then_some(())?;
            let versions: Option<Vec<_>> =
                results.iter().map(|result| result["version"].as_u64().map(Some)).collect();
            let documents = results.iter().enumerate();
            let documents = documents
                .filter(|(_, result)| !result["document"].is_null())
                .map(|(index, result)| Some((index, shown(&result["document"])?)));
            let documents: Option<Vec<_>> = documents.collect();
            Outcome::Written { last: last()?, documents: documents?, versions: versions? }
        }
    })
}

/// A document as an answer or a snapshot has it.
pub(super) fn shown(document: &Value) -> Option<Shown> {
    let id: Arc<str> = document["id"].as_str()?.into();
    let version = document["version"].as_u64()?;
    let (_, offset) = offset_of(document["position"].as_str()?)?;
    Some(Shown { id, version, offset, data: document["data"].clone() })
}
