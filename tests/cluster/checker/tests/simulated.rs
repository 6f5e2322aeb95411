//! A run that never took place: one project on a store in memory, clients whose calls overlap,
//! answers that get lost. All of its evidence is right.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::checker::finals::Final;
use crate::checker::log::{Entry, Log};
use crate::checker::streams::{Stream, Told};
use crate::checker::{Evidence, Reads};
use crate::history::{
    Attempt, Change, Doc, Expected, Micros, Operation, Outcome, Request, Shown, Write,
};
use crate::workload::{ACCOUNTS, COLLECTIONS, HOT};

const OPERATIONS: usize = 300;
const ACCOUNT_COUNT: usize = 3;
const HOT_COUNT: usize = 3;
/// Of a hundred answers, so many get lost.
const LOST_PERCENT: u8 = 8;

/// The evidence of a run without a fault.
pub(super) fn simulated(seed: u64) -> Evidence {
    let mut store = Store::new(seed);
    for number in 0..ACCOUNT_COUNT {
        store.clock += 10;
        let data = json!({"op": store.name(), "balance": 100});
        let doc = doc(ACCOUNTS, number);
        let write = Write { doc, change: Change::Create(data), expected: Expected::Any };
        store.run(Request::Write(write), false);
    }
    for _ in 0..OPERATIONS {
        store.clock += store.rng.u64(1..20);
        let request = store.request();
        let may_be_lost = true;
        store.run(request, may_be_lost);
    }
    store.evidence()
}

fn doc(collection: &'static str, number: usize) -> Doc {
    Doc { tenant: 0, collection, id: format!("{}{number}", &collection[..1]).into() }
}

struct Store {
    rng: fastrand::Rng,
    /// When the next operation takes effect.
    clock: Micros,
    log: Log,
    now: BTreeMap<Doc, (u64, u64, Option<Value>)>,
    operations: Vec<Operation>,
}

impl Store {
    fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let (log, now) = (Log::default(), BTreeMap::new());
        Self { rng, clock: 100, log, now, operations: Vec::new() }
    }

    fn name(&self) -> String {
        format!("s-{}", self.operations.len())
    }

    fn live(&self, doc: &Doc) -> Option<u64> {
        let (version, _, data) = self.now.get(doc)?;
        data.as_ref().map(|_| *version)
    }

    fn shown(&self, doc: &Doc) -> Option<Shown> {
        let (version, offset, data) = self.now.get(doc)?;
        let (id, data) = (Arc::clone(&doc.id), data.clone()?);
        Some(Shown { id, version: *version, offset: *offset, data })
    }

    fn end(&self) -> u64 {
        self.log.entries.last().map_or(0, |entry| entry.offset)
    }

    fn request(&mut self) -> Request {
        let doc = doc(HOT, self.rng.usize(..HOT_COUNT));
        let after = self.rng.bool().then(|| self.end());
        match self.rng.u8(..100) {
            0..20 => Request::Read { doc, after },
            20..25 => Request::List { tenant: 0, collection: HOT, after },
            25..30 => Request::List { tenant: 0, collection: ACCOUNTS, after },
            30..50 => self.transfer(),
            _ => Request::Write(self.write(doc)),
        }
    }

    fn write(&mut self, doc: Doc) -> Write {
        let data = json!({"op": self.name(), "n": self.rng.u8(..)});
        let change = match self.rng.u8(..4) {
            0 => Change::Create(data),
            1 => Change::Replace(data),
            2 => Change::Patch(data),
            _ => Change::Delete,
        };
        let expected = match (&change, self.live(&doc), self.rng.u8(..3)) {
            (Change::Create(_), ..) | (_, _, 0) => Expected::Any,
            (Change::Replace(_), None, _) => Expected::Nothing,
            // Right or just beside.
            (_, live, wrong) => Expected::Version(live.unwrap_or(1) + u64::from(wrong - 1)),
        };
        Write { doc, change, expected }
    }

    fn transfer(&mut self) -> Request {
        let (from, to) = (self.rng.usize(..ACCOUNT_COUNT), self.rng.usize(..ACCOUNT_COUNT));
        let to = if to == from { (to + 1) % ACCOUNT_COUNT } else { to };
        let name = self.name();
        let side = |number, change| {
            let doc = doc(ACCOUNTS, number);
            let (version, _, data) = self.now[&doc].clone();
            let balance = data.expect("accounts stay")["balance"].as_i64().expect("a balance");
            let data = json!({"op": name, "balance": balance + change});
            Write { doc, change: Change::Patch(data), expected: Expected::Version(version) }
        };
        let read = doc(HOT, 0);
        let reads = vec![(read.clone(), self.live(&read).unwrap_or(0))];
        Request::Commit { writes: vec![side(from, -5), side(to, 5)], reads }
    }

    /// Lets a request take effect now; its client has sent it a little earlier.
    fn run(&mut self, request: Request, may_be_lost: bool) {
        let name: Arc<str> = self.name().into();
        let outcome = self.outcome(&request, &name);
        let is_lost = may_be_lost && self.rng.u8(..100) < LOST_PERCENT;
        let outcome = match outcome {
            _ if is_lost => Outcome::Unknown { why: "lost".to_owned() },
            outcome => outcome,
        };
        let start = self.clock - self.rng.u64(..60);
        let end = self.clock + self.rng.u64(..60);
        let attempts = vec![Attempt { node: 0, start, end, outcome }];
        self.operations.push(Operation { name, is_keyed: true, request, attempts });
    }

    fn outcome(&mut self, request: &Request, name: &str) -> Outcome {
        match request {
            Request::Read { doc, .. } => self.shown(doc).map_or(Outcome::Absent, Outcome::Found),
            Request::List { collection, .. } => {
                let docs = self.now.keys().filter(|doc| doc.collection == *collection);
                let documents = docs.filter_map(|doc| self.shown(doc)).collect();
                Outcome::Listed { documents, offset: self.end() }
            }
            Request::Write(write) => match self.refusal(write) {
                Some(refused) => refused,
                None => self.written(std::slice::from_ref(write), name),
            },
            // Transfers know what they write, so nothing is in their way.
            Request::Commit { writes, .. } => self.written(writes, name),
        }
    }

    fn refusal(&self, write: &Write) -> Option<Outcome> {
        let live = self.live(&write.doc);
        let (status, code) = match (write.expected, &write.change) {
            (Expected::Nothing, _) if live.is_some() => (412, "version-mismatch"),
            (Expected::Version(version), _) if live != Some(version) => (412, "version-mismatch"),
            (_, Change::Create(_)) if live.is_some() => (409, "document-exists"),
            (_, Change::Patch(_) | Change::Delete) if live.is_none() => (404, "document-not-found"),
            _ => return None,
        };
        Some(Outcome::Refused { status, code: code.to_owned(), part: None, actual: live })
    }

    fn written(&mut self, writes: &[Write], name: &str) -> Outcome {
        let (mut documents, mut versions) = (Vec::new(), Vec::new());
        for (index, write) in writes.iter().enumerate() {
            let before = self.now.get(&write.doc).cloned().unwrap_or_default();
            let data = after(&write.change, before.2.as_ref());
            let (version, offset) = (before.0 + 1, self.end() + 1);
            let kind = match (&before.2, &data) {
                (None, _) => "document.created",
                (Some(_), Some(_)) => "document.updated",
                (Some(_), None) => "document.deleted",
            };
            let count = writes.len() as u64;
            let part = || (format!("t-{name}"), index as u64, count);
            self.log.push(Entry {
                offset,
                doc: write.doc.clone(),
                version,
                kind: kind.to_owned(),
                event: format!("e-{offset}"),
                correlation: format!("{name}.1"),
                epoch: 0,
                time: format!("{:020}", self.clock),
                transaction: (count > 1).then(part),
                data: data.clone(),
            });
            self.now.insert(write.doc.clone(), (version, offset, data));
            documents.extend(self.shown(&write.doc).map(|shown| (index, shown)));
            versions.push((write.change != Change::Delete).then_some(version));
        }
        Outcome::Written { last: self.end(), documents, versions }
    }

    fn evidence(mut self) -> Evidence {
        let half = self.log.entries[self.log.entries.len() / 2].offset;
        let streams = COLLECTIONS.map(|collection| self.stream(collection, half)).to_vec();
        let lists = COLLECTIONS.map(|collection| {
            let docs = self.now.keys().filter(|doc| doc.collection == collection);
            (collection, docs.filter_map(|doc| self.shown(doc)).collect())
        });
        let told = |node: &str| Final {
            node: node.to_owned(),
            tenant: 0,
            log: self.log.clone(),
            lists: lists.to_vec(),
        };
        let finals = vec![told("one"), told("two")];
        self.rng.shuffle(&mut self.operations);
        let operations = self.operations;
        let reads = Reads::Linearizable;
        Evidence { reads, operations, logs: vec![self.log], streams, finals }
    }

    fn stream(&self, collection: &'static str, start: u64) -> Stream {
        let mut stream = Stream::new(format!("a stream of {collection}"), 0, collection);
        stream.start = start;
        stream.connections.push("the only one".to_owned());
        let mut snapshot: HashMap<&Doc, &Entry> = HashMap::new();
        for entry in self.log.entries.iter().filter(|entry| entry.doc.collection == collection) {
            if entry.offset <= start {
                snapshot.insert(&entry.doc, entry);
                continue;
            }
            stream.told.push(Told {
                offset: entry.offset,
                id: entry.doc.id.to_string(),
                version: entry.version,
                kind: match &*entry.kind {
                    "document.created" => "added",
                    "document.updated" => "modified",
                    _ => "removed",
                }
                .to_owned(),
                event: entry.event.clone(),
                connection: 0,
            });
        }
        let shown = snapshot.into_values().filter_map(|entry| {
            let (id, data) = (Arc::clone(&entry.doc.id), entry.data.clone()?);
            Some(Shown { id, version: entry.version, offset: entry.offset, data })
        });
        stream.snapshot = shown.collect();
        stream.snapshot.sort_by(|one, two| one.id.cmp(&two.id));
        stream
    }
}

fn after(change: &Change, before: Option<&Value>) -> Option<Value> {
    match change {
        Change::Create(data) | Change::Replace(data) => Some(data.clone()),
        Change::Patch(patch) => {
            let mut data = before?.clone();
            for (name, value) in patch.as_object()? {
                data[name] = value.clone();
            }
            Some(data)
        }
        Change::Delete => None,
    }
}
