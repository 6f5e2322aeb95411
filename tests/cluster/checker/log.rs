//! A project's event log as one node tells it, and what must be true of it by itself: positions
//! ascend, versions count without holes, transactions are whole, epochs and times never go back,
//! and the accounts sum up to the same in every state.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::{Violation, Violations};
use crate::history::Doc;
use crate::workload::{ACCOUNTS, COLLECTIONS, balance};

/// An event of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) doc: Doc,
    pub(crate) version: u64,
    /// `document.created` and the like.
    pub(crate) kind: String,
    pub(crate) event: String,
    pub(crate) correlation: String,
    pub(crate) epoch: u64,
    pub(crate) time: String,
    /// Id, index and count.
    pub(crate) transaction: Option<(String, u64, u64)>,
    /// The document after it; `None` when it was deleted.
    pub(crate) data: Option<Value>,
}

impl Entry {
    /// The version, if there is a document.
    pub(crate) fn live(&self) -> Option<u64> {
        self.data.as_ref().map(|_| self.version)
    }

    /// The operation and the attempt that it says it is of.
    pub(crate) fn origin(&self) -> Option<(&str, usize)> {
        let (name, attempt) = self.correlation.split_once('.')?;
        Some((name, attempt.parse().ok()?))
    }
}

/// A project's events.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    by_doc: HashMap<Doc, Vec<usize>>,
}

impl Log {
    /// Takes over the events of documents; others are left out.
    pub(crate) fn of(tenant: usize, events: &[Value]) -> Result<Self, String> {
        let mut log = Self::default();
        for event in events {
            let entry = entry(tenant, event);
            if let Some(entry) =
                entry.ok_or_else(|| format!("not an event as promised: {event}"))?
            {
                log.push(entry);
            }
        }
        Ok(log)
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.by_doc.entry(entry.doc.clone()).or_default().push(self.entries.len());
        self.entries.push(entry);
    }

    /// The events of a document.
    pub(crate) fn of_doc(&self, doc: &Doc) -> impl DoubleEndedIterator<Item = &Entry> {
        let places = self.by_doc.get(doc).map_or(&[][..], Vec::as_slice);
        places.iter().map(|place| &self.entries[*place])
    }

    /// A document as the events up to and with `offset` have left it.
    pub(crate) fn at(&self, doc: &Doc, offset: u64) -> Option<&Entry> {
        self.of_doc(doc).rev().find(|entry| entry.offset <= offset)
    }

    /// A document as it was just before `offset`.
    pub(crate) fn before(&self, doc: &Doc, offset: u64) -> Option<&Entry> {
        self.of_doc(doc).rev().find(|entry| entry.offset < offset)
    }

    /// Every document that ever was in a collection.
    pub(crate) fn docs(&self, collection: &str) -> BTreeSet<&Doc> {
        self.by_doc.keys().filter(|doc| doc.collection == collection).collect()
    }

    /// The offset of the last event of a collection.
    pub(crate) fn last_of(&self, collection: &str) -> Option<u64> {
        let mut entries = self.entries.iter().rev();
        entries.find(|entry| entry.doc.collection == collection).map(|entry| entry.offset)
    }
}

impl FromIterator<Entry> for Log {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut log = Self::default();
        entries.into_iter().for_each(|entry| log.push(entry));
        log
    }
}

/// `None` for what is not as promised, `Some(None)` for events of something else.
fn entry(tenant: usize, event: &Value) -> Option<Option<Entry>> {
    let text = |field: &str| event[field].as_str().map(str::to_owned);
    let subject = text("subject")?;
    let Some((collection, id)) = subject.strip_prefix("document/").and_then(|s| s.split_once('/'))
    else {
        return Some(None);
    };
    let collection = COLLECTIONS.into_iter().find(|known| *known == collection)?;
    let kind = text("type")?;
    let (_, offset) = event["position"].as_str()?.split_once('-')?;
    let transaction = match text("transactionid") {
        Some(id) => {
            Some((id, event["transactionindex"].as_u64()?, event["transactioncount"].as_u64()?))
        }
        None => None,
    };
    let data = (kind != "document.deleted").then(|| event["data"]["data"].clone());
    Some(Some(Entry {
        offset: offset.parse().ok()?,
        doc: Doc { tenant, collection, id: id.into() },
        version: event["streamversion"].as_u64()?,
        kind,
        event: text("id")?,
        correlation: text("correlationid")?,
        epoch: event["epoch"].as_u64()?,
        time: text("time")?,
        transaction,
        data,
    }))
}

/// What must be true of any log.
pub(crate) fn check(log: &Log, violations: &mut Violations) {
    order(log, violations);
    versions(log, violations);
    transactions(log, violations);
    sums(log, violations);
}

fn order(log: &Log, violations: &mut Violations) {
    let mut ids = HashSet::new();
    for pair in log.entries.windows(2) {
        let [one, two] = pair else { continue };
        let goes_on = one.offset < two.offset && one.epoch <= two.epoch && one.time <= two.time;
        if !goes_on {
            let detail = format!("position, epoch or time goes back: {one:?}, then {two:?}");
            violations.push(Violation::of(&two.doc, "log order", detail));
        }
    }
    for entry in &log.entries {
        if !ids.insert(&entry.event) {
            let detail = format!("an event id comes twice: {entry:?}");
            violations.push(Violation::of(&entry.doc, "log order", detail));
        }
    }
}

fn versions(log: &Log, violations: &mut Violations) {
    let mut last: HashMap<&Doc, (u64, bool)> = HashMap::new();
    for entry in &log.entries {
        let (version, is_live) = last.entry(&entry.doc).or_default();
        let fits = match entry.kind.as_str() {
            "document.created" => !*is_live,
            "document.updated" | "document.deleted" => *is_live,
            _ => false,
        };
        if entry.version != *version + 1 || !fits {
            let detail = format!("after version {version} (live: {is_live}) came {entry:?}");
            violations.push(Violation::of(&entry.doc, "versions", detail));
        }
        (*version, *is_live) = (entry.version, entry.data.is_some());
    }
}

/// A transaction's events lie side by side, and all of them are there.
fn transactions(log: &Log, violations: &mut Violations) {
    let mut open: Option<(&str, u64, u64, u64)> = None;
    let mut closed = HashSet::new();
    for entry in &log.entries {
        let part =
            entry.transaction.as_ref().map(|(id, index, count)| (id.as_str(), *index, *count));
        let fits = match (open, part) {
            (None, None) => true,
            (Some(_), None) => false,
            (None, Some((id, index, _))) => index == 0 && !closed.contains(id),
            (Some((id, index, count, offset)), Some(part)) => {
                part == (id, index, count) && entry.offset == offset
            }
        };
        if !fits {
            let detail = format!("not whole: expected {open:?}, got {entry:?}");
            violations.push(Violation::of(&entry.doc, "transactions", detail));
        }
        open = part.and_then(|(id, index, count)| {
            if index + 1 == count {
                closed.insert(id);
                return None;
            }
            Some((id, index + 1, count, entry.offset + 1))
        });
    }
    if let Some(open) = open {
        violations.push(Violation::new("transactions", format!("the log ends within {open:?}")));
    }
}

/// What the accounts sum up to stays the same once all of them are there: transfers go through
/// whole or not at all, and none on stale balances.
fn sums(log: &Log, violations: &mut Violations) {
    let accounts = log.docs(ACCOUNTS).len();
    let mut balances: BTreeMap<Arc<str>, i64> = BTreeMap::new();
    let mut sum = None;
    for entry in log.entries.iter().filter(|entry| entry.doc.collection == ACCOUNTS) {
        let balance = entry.data.as_ref().and_then(balance);
        let Some(balance) = balance else {
            let detail = format!("an account without a balance: {entry:?}");
            violations.push(Violation::of(&entry.doc, "sums", detail));
            continue;
        };
        balances.insert(Arc::clone(&entry.doc.id), balance);
        let is_amid =
            entry.transaction.as_ref().is_some_and(|(_, index, count)| index + 1 < *count);
        if balances.len() < accounts || is_amid {
            continue;
        }
        let now: i64 = balances.values().sum();
        if *sum.get_or_insert(now) != now {
            let detail = format!("the accounts came to {sum:?}, and to {now} with {entry:?}");
            violations.push(Violation::of(&entry.doc, "sums", detail));
            sum = Some(now);
        }
    }
}
