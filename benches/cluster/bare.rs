//! The engines by themselves: what a client library alone gets out of Kafka and out of the CQL
//! database, for the same records and the same rows.

use std::sync::Arc;

use anyhow::{Context, Result};
use benches::load::{Caller, Figures, Span, closed_loop};
use benches::{collection, document};
use bytes::Bytes;
use domain::{Event, EventType, PartitionId, ProjectId, StreamId, Timestamp};
use eventlog::kafka::bench::BareProducer;
use readmodel::Write;
use readmodel::cql::bench::BareInserts;
use readmodel::documents::{Document, HistoryEntry, put_document, put_history};
use uuid::Uuid;

use super::creates::{CONNECTIONS, IN_FLIGHT, PARTITIONS};
use super::engines::Engines;
use super::nodes::project_ids;
use super::rig::Rig;
use super::table::{Table, ratio};

/// Requests that are under way at once, as many as the store allows itself.
const REQUESTS: usize = 128;
/// Rows in one batch: as many as the store puts into one.
const BATCH_ROWS: usize = 64;
/// Bytes of an event's data around its document.
const AROUND_DOCUMENT: usize = 9;

/// Awaited appends by a bare producer.
pub(crate) async fn kafka(rig: &mut Rig, table: &mut Table) -> Result<()> {
    let span = rig.span;
    let engines = rig.engines().await?;
    let one = Appends::prepare(engines, "bare-one", 1).await?;
    let spread = Appends::prepare(engines, "bare", PARTITIONS).await?;
    let figures = one.measure(CONNECTIONS, span).await?;
    table.add(format!("bare appends, {CONNECTIONS} in flight, 1 partition"), figures, "", "");
    for in_flight in IN_FLIGHT {
        let figures = spread.measure(in_flight, span).await?;
        let what = format!("bare appends, {in_flight} in flight, {PARTITIONS} partitions");
        table.add(what, figures, "", "");
        rig.appends.insert(in_flight, figures);
    }
    Ok(())
}

/// Bare inserts of the rows that the projection writes.
pub(crate) async fn cql(rig: &mut Rig, table: &mut Table) -> Result<()> {
    let span = rig.span;
    let engines = rig.engines().await?;
    let inserts = Inserts::prepare(engines, "bare", PARTITIONS).await?;
    let figures = inserts.measure(Shape::ByPartition, span).await?;
    let rate = format!("{:.0} rows/s", figures.rate);
    table.add("bare inserts, documents in batches, history one by one", rate, "", "");
    rig.inserts = Some(figures);
    // One batch for many partitions is what no cluster of several nodes should be sent.
    let all = inserts.measure(Shape::AllBatched, span).await?;
    let beside = ratio(all.rate, Some(figures.rate), "the row above");
    let what = "bare inserts, history in batches too";
    table.add(what, format!("{:.0} rows/s", all.rate), beside, "");
    rig.inserts_batched = Some(all);
    Ok(())
}

/// A bare producer, and events for it in each partition.
pub(crate) struct Appends {
    producer: BareProducer,
    events: Vec<(PartitionId, Arc<Event>)>,
}

impl Appends {
    /// Makes the topic as the log makes it.
    pub(crate) async fn prepare(engines: &Engines, topic: &str, partitions: u32) -> Result<Self> {
        let options = engines.topic(topic, partitions);
        let metrics = eventlog::metrics::Metrics::new(&prometheus::Registry::new())?;
        drop(eventlog::kafka::Log::open(options.clone(), &metrics).await?);
        let producer = BareProducer::connect(&options, true)?;
        let events = project_ids(partitions).into_iter().enumerate();
        let events = events.map(|(number, project)| {
            let event = Arc::new(event(&project, number)?);
            Ok((PartitionId(number as u32), event))
        });
        Ok(Self { producer, events: events.collect::<Result<_>>()? })
    }

    pub(crate) async fn measure(&self, in_flight: usize, span: Span) -> Result<Figures> {
        let caller = |number: usize| {
            let (partition, event) = self.events[number % self.events.len()].clone();
            Append { producer: self.producer.clone(), partition, event }
        };
        closed_loop((0..in_flight).map(caller).collect(), span).await
    }
}

/// What a create appends, near enough: the same size and the same headers.
fn event(project: &ProjectId, number: usize) -> Result<Event> {
    let data_bytes = document(number).len() + AROUND_DOCUMENT;
    let stream = format!("document/{}/{}", collection(), Uuid::now_v7());
    Ok(Event {
        stream: StreamId::parse(&stream).ok().context("a stream id")?,
        correlation_id: Uuid::now_v7().to_string().into(),
        kind: EventType::known("document.created"),
        ..eventlog::conformance::event(project.as_str(), number as u64 + 1, data_bytes)
    })
}

struct Append {
    producer: BareProducer,
    partition: PartitionId,
    event: Arc<Event>,
}

impl Caller for Append {
    async fn call(&mut self) -> Result<usize> {
        self.producer.append(self.partition, &self.event).await?;
        Ok(1)
    }
}

/// How rows are put into requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A batch never leaves a partition of the database. Rows of `history` each have their own.
    ByPartition,
    /// Rows of `history` are put together all the same.
    AllBatched,
}

/// A connection to a keyspace with the consumers' tables.
pub(crate) struct Inserts {
    inserts: Arc<BareInserts>,
    projects: Vec<ProjectId>,
}

impl Inserts {
    pub(crate) async fn prepare(engines: &Engines, name: &str, partitions: u32) -> Result<Self> {
        let options = engines.keyspace(name, partitions);
        readmodel::cql::migrate(&options).await?;
        let inserts = Arc::new(BareInserts::connect(&options).await?);
        Ok(Self { inserts, projects: project_ids(partitions) })
    }

    /// In rows.
    pub(crate) async fn measure(&self, shape: Shape, span: Span) -> Result<Figures> {
        let caller = |number: usize| Insert {
            inserts: Arc::clone(&self.inserts),
            shape,
            project: self.projects[number % self.projects.len()].clone(),
            next: 0,
            history: Vec::new(),
        };
        closed_loop((0..REQUESTS).map(caller).collect(), span).await
    }
}

/// Sends the rows of documents as one batch, and then those of their history.
struct Insert {
    inserts: Arc<BareInserts>,
    shape: Shape,
    project: ProjectId,
    next: usize,
    /// Not sent yet.
    history: Vec<Write>,
}

impl Insert {
    /// The rows of new documents; those of their history are kept for later.
    fn documents(&mut self) -> Vec<Write> {
        let collection = collection();
        let rows = (self.next..self.next + BATCH_ROWS).map(|number| {
            let id = Uuid::now_v7().to_string();
            let offset = number as u64;
            let time = Timestamp::from_micros(1_700_000_000_000_000 + number as i64);
            let document = Document {
                version: 1,
                created_at: time,
                updated_at: time,
                offset,
                data: Some(Bytes::from(document(number))),
            };
            let kind = EventType::known("document.created");
            let entry = HistoryEntry { version: 1, offset, time, kind };
            self.history.push(put_history(&self.project, collection.as_str(), &id, &entry));
            put_document(&self.project, collection.as_str(), &id, &document)
        });
        let rows = rows.collect();
        self.next += BATCH_ROWS;
        rows
    }
}

impl Caller for Insert {
    async fn call(&mut self) -> Result<usize> {
        let rows = match (self.history.pop(), self.shape) {
            (None, _) => self.documents(),
            (Some(row), Shape::ByPartition) => vec![row],
            (Some(row), Shape::AllBatched) => {
                let mut rows = std::mem::take(&mut self.history);
                rows.push(row);
                rows
            }
        };
        self.inserts.insert(&rows).await?;
        Ok(rows.len())
    }
}
