//! What the log says, read as a stranger would read it, and what must be true of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::subscriber::{Seen, Target};
use super::world::Ack;
use harness::Project;

/// The log of one project, folded.
#[derive(Default)]
pub(super) struct Ledger {
    /// Where to read on.
    next: String,
    events: BTreeMap<u64, Entry>,
    /// By subject: version, and the document unless it was deleted.
    streams: BTreeMap<String, (u64, Option<Value>)>,
    ids: HashSet<String>,
    /// What was written by which operation to which document: never twice.
    operations: HashSet<(String, String)>,
}

struct Entry {
    subject: String,
    version: u64,
    kind: String,
    id: String,
    data: Option<Value>,
}

impl Ledger {
    /// Reads what is new, checks it, and returns the documents that it changed.
    pub(super) async fn read_on(&mut self, project: &Project) -> BTreeSet<(String, String)> {
        let (events, next) = project.events(&self.next).await;
        self.next = next;
        check_transactions(&events);
        let mut touched = BTreeSet::new();
        for event in &events {
            let subject = text(event, "subject");
            if let Some((collection, id)) = split(&subject) {
                touched.insert((collection.to_owned(), id.to_owned()));
                self.add(event, subject);
            }
        }
        touched
    }

    fn add(&mut self, event: &Value, subject: String) {
        let version = event["streamversion"].as_u64().expect("a stream version");
        let kind = text(event, "type");
        let deleted = kind == "document.deleted";
        let data = (!deleted).then(|| event["data"]["data"].clone());
        let known = self.streams.entry(subject.clone()).or_default();
        assert_eq!(version, known.0 + 1, "a hole in the versions of {subject}: {event}");
        *known = (version, data.clone());
        let id = text(event, "id");
        assert!(self.ids.insert(id.clone()), "an event id comes twice: {event}");
        if let Some(op) = data.as_ref().and_then(|data| data["op"].as_str()) {
            let once = self.operations.insert((op.to_owned(), subject.clone()));
            assert!(once, "an operation was done twice: {event}");
        }
        let offset = offset_of(&text(event, "position"));
        self.events.insert(offset, Entry { subject, version, kind, id, data });
    }

    /// How many events there are.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// An acknowledged write must be there, as it was acknowledged.
    pub(super) fn check_ack(&self, ack: &Ack) {
        let found = self.events.get(&ack.offset);
        let entry = found.unwrap_or_else(|| panic!("acknowledged and not in the log: {ack:?}"));
        let subject = format!("document/{}/{}", ack.collection, ack.id);
        assert_eq!((&entry.subject, entry.version), (&subject, ack.version), "{ack:?}");
        assert_eq!(entry.data, ack.data, "{ack:?}");
    }

    /// A document's version, and its data unless it was deleted.
    pub(super) fn document(&self, collection: &str, id: &str) -> (u64, Option<&Value>) {
        let (version, data) = &self.streams[&format!("document/{collection}/{id}")];
        (*version, data.as_ref())
    }

    /// Every document of a collection that is not deleted: id, version, data, by id.
    pub(super) fn live(&self, collection: &str) -> Vec<(String, u64, Value)> {
        let live = self.streams.iter().filter_map(|(subject, (version, data))| {
            let (name, id) = split(subject)?;
            (name == collection).then_some((id.to_owned(), *version, data.clone()?))
        });
        live.collect()
    }

    /// Every document that ever was, with its version.
    pub(super) fn histories(&self) -> Vec<(String, String, u64)> {
        let all = self.streams.iter().filter_map(|(subject, (version, _))| {
            let (collection, id) = split(subject)?;
            Some((collection.to_owned(), id.to_owned(), *version))
        });
        all.collect()
    }

    /// The last offset of each collection and each document, by `a` or `a/id`.
    pub(super) fn last_positions(&self) -> HashMap<String, u64> {
        let mut last = HashMap::new();
        for (offset, entry) in &self.events {
            let Some((collection, id)) = split(&entry.subject) else { continue };
            last.insert(collection.to_owned(), *offset);
            last.insert(format!("{collection}/{id}"), *offset);
        }
        last
    }

    /// What a subscriber must have seen after `start`.
    pub(super) fn seen_by(&self, target: &Target, start: u64) -> Vec<Seen> {
        let after = self.events.range(start + 1..);
        let theirs = after.filter(|(_, entry)| target.takes(&entry.subject));
        let seen = theirs.map(|(offset, entry)| Seen {
            offset: *offset,
            event: entry.id.clone(),
            kind: match entry.kind.as_str() {
                "document.created" => "added",
                "document.updated" => "modified",
                "document.deleted" => "removed",
                other => panic!("an event of type {other}"),
            }
            .to_owned(),
            version: entry.version,
        });
        seen.collect()
    }
}

/// The events of a transaction lie side by side, and all of them are there.
fn check_transactions(events: &[Value]) {
    let mut open: Option<(&str, u64, u64)> = None;
    let mut last_offset = None;
    for event in events {
        let offset = offset_of(&text(event, "position"));
        let Some(id) = event["transactionid"].as_str() else {
            assert!(open.is_none(), "a transaction is cut short before {event}");
            continue;
        };
        let number = |field: &str| event[field].as_u64().expect("a transaction is counted");
        let (index, count) = (number("transactionindex"), number("transactioncount"));
        match open {
            None => assert_eq!(index, 0, "a transaction does not start at 0: {event}"),
            Some((open_id, next, open_count)) => {
                assert_eq!((id, index, count), (open_id, next, open_count), "{event}");
                assert_eq!(last_offset.map(|last: u64| last + 1), Some(offset), "{event}");
            }
        }
        open = (index + 1 < count).then_some((id, index + 1, count));
        last_offset = Some(offset);
    }
    assert!(open.is_none(), "the log ends within a transaction");
}

/// The offset in a position.
pub(super) fn offset_of(position: &str) -> u64 {
    let offset = position.split_once('-').and_then(|(_, offset)| offset.parse().ok());
    offset.unwrap_or_else(|| panic!("{position:?} is not a position"))
}

/// Collection and id of a document's subject.
pub(super) fn split(subject: &str) -> Option<(&str, &str)> {
    subject.strip_prefix("document/")?.split_once('/')
}

fn text(event: &Value, field: &str) -> String {
    let text = event[field].as_str();
    text.unwrap_or_else(|| panic!("no {field} in {event}")).to_owned()
}
