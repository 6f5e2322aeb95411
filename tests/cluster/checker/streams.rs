//! Each subscription against the log: a snapshot as the log has it at that position, then exactly
//! the log's events of the collection, in order, over all connections.

use super::log::Log;
use super::{Evidence, Violation, Violations};
use crate::history::Shown;

/// A change as a subscriber was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) offset: u64,
    pub(crate) id: String,
    pub(crate) version: u64,
    /// `added`, `modified` or `removed`.
    pub(crate) kind: String,
    pub(crate) event: String,
    /// The connection that it came over, counted from 0.
    pub(crate) connection: usize,
}

/// All that a subscriber was told.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) tenant: usize,
    pub(crate) collection: &'static str,
    /// The position of its snapshot.
    pub(crate) start: u64,
    pub(crate) snapshot: Vec<Shown>,
    pub(crate) told: Vec<Told>,
    /// The node of each connection, and how it ended.
    pub(crate) connections: Vec<String>,
    /// What it was told that nobody may be told.
    pub(crate) problems: Vec<String>,
}

pub(super) fn check(evidence: &Evidence, violations: &mut Violations) {
    for stream in &evidence.streams {
        let log = &evidence.logs[stream.tenant];
        for problem in &stream.problems {
            violations.push(Violation::new("streams", format!("{}: {problem}", stream.name)));
        }
        for checked in [check_snapshot(stream, log), check_changes(stream, log)] {
            if let Err(detail) = checked {
                let detail = format!("{}: {detail}", stream.name);
                violations.push(Violation::new("streams", detail));
            }
        }
    }
}

fn check_snapshot(stream: &Stream, log: &Log) -> Result<(), String> {
    let docs = log.docs(stream.collection).into_iter();
    let wanted = docs.filter_map(|doc| {
        let entry = log.at(doc, stream.start)?;
        let data = entry.data.clone()?;
        let (version, offset) = (entry.version, entry.offset);
        Some(Shown { id: doc.id.clone(), version, offset, data })
    });
    let wanted: Vec<_> = wanted.collect();
    if wanted == stream.snapshot {
        return Ok(());
    }
    let (start, snapshot) = (stream.start, &stream.snapshot);
    Err(format!("its snapshot at {start} is {snapshot:?} instead of {wanted:?}"))
}

fn check_changes(stream: &Stream, log: &Log) -> Result<(), String> {
    let entries = log.entries.iter();
    let theirs = entries
        .filter(|entry| entry.offset > stream.start && entry.doc.collection == stream.collection);
    let wanted: Vec<_> = theirs
        .map(|entry| Told {
            offset: entry.offset,
            id: entry.doc.id.to_string(),
            version: entry.version,
            kind: match entry.kind.as_str() {
                "document.created" => "added",
                "document.deleted" => "removed",
                _ => "modified",
            }
            .to_owned(),
            event: entry.event.clone(),
            connection: 0,
        })
        .collect();
    let is_same = |(told, wanted): (&Told, &Told)| {
        *told == Told { connection: told.connection, ..wanted.clone() }
    };
    let told = &stream.told;
    let same = told.iter().zip(&wanted).take_while(|pair| is_same(*pair)).count();
    if same == told.len() && same == wanted.len() {
        return Ok(());
    }
    let around = |list: &[Told]| -> Vec<Told> {
        list.iter().skip(same.saturating_sub(2)).take(5).cloned().collect()
    };
    let of = told.get(same).or(told.last()).map_or(0, |told| told.connection);
    let connections = &stream.connections[of.saturating_sub(1)..];
    let connections = &connections[..connections.len().min(3)];
    Err(format!(
        "told {} of {} changes, and other ones from number {same} on: {:?} instead of {:?}; \
         connections {} and on: {connections:?}",
        told.len(),
        wanted.len(),
        around(told),
        around(&wanted),
        of.saturating_sub(1),
    ))
}

impl Stream {
    /// A stream that has not begun.
    pub(crate) fn new(name: String, tenant: usize, collection: &'static str) -> Self {
        let (snapshot, told, connections, problems) = Default::default();
        Self { name, tenant, collection, start: 0, snapshot, told, connections, problems }
    }
}
