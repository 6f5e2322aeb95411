//! When all is quiet: every node tells the same log, and lists exactly what the log comes to.

use super::log::Log;
use super::{Evidence, Violation, Violations};
use crate::history::Shown;

/// What one node says of one project in the end.
#[derive(Debug, Clone)]
pub(crate) struct Final {
    pub(crate) node: String,
    pub(crate) tenant: usize,
    pub(crate) log: Log,
    /// Each collection with all its documents.
    pub(crate) lists: Vec<(&'static str, Vec<Shown>)>,
}

pub(super) fn check(evidence: &Evidence, violations: &mut Violations) {
    for told in &evidence.finals {
        let log = &evidence.logs[told.tenant];
        let mut add = |what: String| {
            let detail = format!("project #{} at {}: {what}", told.tenant, told.node);
            violations.push(Violation::new("final state", detail));
        };
        if told.log != *log {
            let differs = told.log.entries.iter().zip(&log.entries).find(|(one, two)| one != two);
            let counts = (told.log.entries.len(), log.entries.len());
            add(format!("another log than elsewhere: {counts:?} events, first {differs:?}"));
        }
        for (collection, listed) in &told.lists {
            let wanted = live(log, collection);
            if *listed == wanted {
                continue;
            }
            let missing = wanted.iter().filter(|one| !listed.contains(one)).take(3);
            let missing: Vec<_> = missing.collect();
            let strange = listed.iter().filter(|one| !wanted.contains(one)).take(3);
            let strange: Vec<_> = strange.collect();
            add(format!(
                "{collection} has {} documents instead of {}; not there: {missing:?}; not in the \
                 log: {strange:?}",
                listed.len(),
                wanted.len()
            ));
        }
    }
}

/// Every document of a collection that is not deleted, by id.
fn live(log: &Log, collection: &str) -> Vec<Shown> {
    let docs = log.docs(collection).into_iter();
    let live = docs.filter_map(|doc| {
        let entry = log.of_doc(doc).next_back()?;
        let data = entry.data.clone()?;
        let (version, offset) = (entry.version, entry.offset);
        Some(Shown { id: doc.id.clone(), version, offset, data })
    });
    live.collect()
}
