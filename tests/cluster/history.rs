//! What clients asked, of which node, when, and what they were answered. One operation is one
//! intent; each time that it was sent is an attempt with a correlation id of its own, which the
//! server puts into its events: so the log tells which attempt it was that happened.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

/// Microseconds since the run began.
pub(crate) type Micros = u64;

/// A document.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Doc {
    /// Which of the run's projects.
    pub(crate) tenant: usize,
    pub(crate) collection: &'static str,
    pub(crate) id: Arc<str>,
}

impl fmt::Debug for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{} {}/{}", self.tenant, self.collection, self.id)
    }
}

/// What a write does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    Create(Value),
    Replace(Value),
    Patch(Value),
    Delete,
}

/// What a write expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Expected {
    Any,
    Nothing,
    Version(u64),
}

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) doc: Doc,
    pub(crate) change: Change,
    pub(crate) expected: Expected,
}

/// What a client asks.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Write(Write),
    /// All or nothing; `reads` must still have these versions (0: not exist).
    Commit {
        writes: Vec<Write>,
        reads: Vec<(Doc, u64)>,
    },
    /// A document, not older than `after`.
    Read {
        doc: Doc,
        after: Option<u64>,
    },
    /// A collection's first page, not older than `after`.
    List {
        tenant: usize,
        collection: &'static str,
        after: Option<u64>,
    },
}

impl Request {
    /// Its writes, in order.
    pub(crate) fn writes(&self) -> &[Write] {
        match self {
            Self::Write(write) => std::slice::from_ref(write),
            Self::Commit { writes, .. } => writes,
            Self::Read { .. } | Self::List { .. } => &[],
        }
    }

    /// The project that it is about.
    pub(crate) fn tenant(&self) -> usize {
        match self {
            Self::Write(write) => write.doc.tenant,
            Self::Commit { writes, .. } => writes[0].doc.tenant,
            Self::Read { doc, .. } => doc.tenant,
            Self::List { tenant, .. } => *tenant,
        }
    }
}

/// A document as an answer shows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) id: Arc<str>,
    pub(crate) version: u64,
    pub(crate) offset: u64,
    pub(crate) data: Value,
}

/// The part of a commit that was in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Write(usize),
    Read(usize),
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// Written; `documents` has one for each write that leaves one and was told, by index.
    Written { last: u64, documents: Vec<(usize, Shown)>, versions: Vec<Option<u64>> },
    /// The document that was asked for.
    Found(Shown),
    /// There is no such document.
    Absent,
    /// The documents of a page, and the position that it shows at least.
    Listed { documents: Vec<Shown>, offset: u64 },
    /// A definite no.
    Refused { status: u16, code: String, part: Option<Part>, actual: Option<u64> },
    /// No answer that says something, but certainly nothing was written.
    Nothing { why: String },
    /// It may have happened, or may still.
    Unknown { why: String },
}

impl Outcome {
    /// Whether the client knows what came of it.
    pub(crate) fn is_definite(&self) -> bool {
        !matches!(self, Self::Nothing { .. } | Self::Unknown { .. })
    }
}

/// One sending of an operation.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) node: usize,
    pub(crate) start: Micros,
    pub(crate) end: Micros,
    pub(crate) outcome: Outcome,
}

/// One intent of a client, with all that was done about it.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// Its own name: the start of its correlation ids, its idempotency key, and the field `op` of
    /// what it writes.
    pub(crate) name: Arc<str>,
    /// Whether it was sent with an idempotency key.
    pub(crate) is_keyed: bool,
    pub(crate) request: Request,
    /// Never empty.
    pub(crate) attempts: Vec<Attempt>,
}

impl Operation {
    pub(crate) fn start(&self) -> Micros {
        self.attempts[0].start
    }

    pub(crate) fn last(&self) -> &Attempt {
        &self.attempts[self.attempts.len() - 1]
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.last().outcome
    }

    /// Whether some attempt before `index` may happen at any time.
    pub(crate) fn is_unsure_before(&self, index: usize) -> bool {
        let before = &self.attempts[..index];
        before.iter().any(|attempt| matches!(attempt.outcome, Outcome::Unknown { .. }))
    }

    /// When it was acknowledged as written.
    pub(crate) fn acknowledged(&self) -> Option<Micros> {
        matches!(self.outcome(), Outcome::Written { .. }).then(|| self.last().end)
    }

    fn to_json(&self) -> Value {
        let attempts = self.attempts.iter().map(|attempt| {
            let Attempt { node, start, end, outcome } = attempt;
            json!({"node": node, "start": start, "end": end, "outcome": outcome_json(outcome)})
        });
        json!({
            "op": &*self.name,
            "keyed": self.is_keyed,
            "request": request_json(&self.request),
            "attempts": attempts.collect::<Vec<_>>(),
        })
    }
}

/// The operations of a run as they end.
pub(crate) struct History {
    began: Instant,
    operations: Mutex<Vec<Operation>>,
    /// Those that are sent again and again, as they are now.
    pending: Mutex<HashMap<Arc<str>, Operation>>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), operations: Mutex::default(), pending: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Micros {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    /// An operation is about to be sent once more.
    pub(crate) fn repeat(&self, operation: &Operation) {
        let mut pending = self.pending.lock().expect("nobody panics with it");
        pending.insert(Arc::clone(&operation.name), operation.clone());
    }

    /// What is not answered yet.
    pub(crate) fn pending(&self) -> Vec<Operation> {
        self.pending.lock().expect("nobody panics with it").values().cloned().collect()
    }

    pub(crate) fn record(&self, operation: Operation) {
        if operation.attempts.len() > 1 {
            self.pending.lock().expect("nobody panics with it").remove(&operation.name);
        }
        self.operations.lock().expect("nobody panics with it").push(operation);
    }

    /// Calls `see` with what has been recorded so far.
    pub(crate) fn with<T>(&self, see: impl FnOnce(&[Operation]) -> T) -> T {
        see(&self.operations.lock().expect("nobody panics with it"))
    }

    pub(crate) fn take(&self) -> Vec<Operation> {
        std::mem::take(&mut *self.operations.lock().expect("nobody panics with it"))
    }
}

/// A history as JSON lines.
pub(crate) fn to_lines<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> String {
    operations.into_iter().map(|operation| operation.to_json().to_string() + "\n").collect()
}

fn doc_json(doc: &Doc) -> Value {
    json!({"project": doc.tenant, "collection": doc.collection, "id": &*doc.id})
}

fn write_json(write: &Write) -> Value {
    let mut value = doc_json(&write.doc);
    let (op, data) = match &write.change {
        Change::Create(data) => ("create", data),
        Change::Replace(data) => ("replace", data),
        Change::Patch(data) => ("patch", data),
        Change::Delete => ("delete", &Value::Null),
    };
    value["do"] = json!(op);
    value["data"] = data.clone();
    value["expected"] = match write.expected {
        Expected::Any => json!("any"),
        Expected::Nothing => json!(0),
        Expected::Version(version) => json!(version),
    };
    value
}

fn request_json(request: &Request) -> Value {
    match request {
        Request::Write(write) => json!({"write": write_json(write)}),
        Request::Commit { writes, reads } => {
            let reads = reads.iter().map(|(doc, version)| json!([doc_json(doc), version]));
            json!({
                "commit": writes.iter().map(write_json).collect::<Vec<_>>(),
                "reads": reads.collect::<Vec<_>>(),
            })
        }
        Request::Read { doc, after } => json!({"read": doc_json(doc), "after": after}),
        Request::List { tenant, collection, after } => {
            json!({"list": {"project": tenant, "collection": collection}, "after": after})
        }
    }
}

fn shown_json(shown: &Shown) -> Value {
    let Shown { id, version, offset, data } = shown;
    json!({"id": &**id, "version": version, "offset": offset, "data": data})
}

fn outcome_json(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Written { last, documents, versions } => {
            let documents =
                documents.iter().map(|(index, shown)| json!([index, shown_json(shown)]));
            let documents: Vec<_> = documents.collect();
            json!({"written": last, "versions": versions, "documents": documents})
        }
        Outcome::Found(shown) => json!({"found": shown_json(shown)}),
        Outcome::Absent => json!("absent"),
        Outcome::Listed { documents, offset } => {
            let ids = documents.iter().map(|shown| json!([&*shown.id, shown.version]));
            json!({"listed": ids.collect::<Vec<_>>(), "offset": offset})
        }
        Outcome::Refused { status, code, part, actual } => {
            json!({"refused": status, "code": code, "part": format!("{part:?}"), "actual": actual})
        }
        Outcome::Nothing { why } => json!({"nothing": why}),
        Outcome::Unknown { why } => json!({"unknown": why}),
    }
}
