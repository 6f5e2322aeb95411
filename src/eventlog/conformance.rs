//! What every log must do, as one suite that each engine runs against itself.
//! Knows the trait only. Panics where a promise is broken: this is test code, kept in the library
//! so that every engine can reach it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compact_str::CompactString;
use domain::{Actor, Event, EventType, Offset, PartitionId, ProjectId, Recorded, StreamId};
use domain::{Timestamp, TransactionPart};
use uuid::Uuid;

use crate::{Error, EventLog, Read, ReadLimit, Retention};

/// The topic that a check wants. The same name again means the same topic, opened again.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its name, unlike those of the other checks.
    pub topic: String,
    /// How many partitions.
    pub partitions: u32,
    /// What trim may take.
    pub retention: Retention,
    /// Bytes of a segment, where the log has any.
    pub segment_bytes: u64,
}

/// What an engine does by its nature. What it promises is the same for all.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// A topic that was closed keeps its events.
    pub durable: bool,
    /// It applies retention itself when it is told to trim; else somebody else does, in their own
    /// time.
    pub trims: bool,
    /// A takeover is a record of its own: it takes an offset, and gives the epoch of the events
    /// that follow. Without, offsets start at 0 and have no holes at all.
    pub takeovers: bool,
}

const P0: PartitionId = PartitionId(0);
const ALL: ReadLimit = ReadLimit { events_max: 1000, bytes_max: 64 << 20 };
const KEEP: Retention = Retention { seconds_max: None, bytes_max: None };

/// Runs every check. `open` opens the topic of a [`Setup`], and makes it where it is new.
pub async fn run<F, Fut>(engine: Engine, open: F)
where
    F: Fn(Setup) -> Fut,
    Fut: Future<Output = Arc<dyn EventLog>>,
{
    let fresh = |topic: &str, partitions, retention| Setup {
        topic: topic.to_owned(),
        partitions,
        retention,
        segment_bytes: 16 << 10,
    };
    order(engine, &*open(fresh("order", 2, KEEP)).await).await;
    limits(engine, &*open(fresh("limits", 1, KEEP)).await).await;
    edges(engine, &*open(fresh("edges", 1, KEEP)).await).await;
    tail(engine, open(fresh("tail", 1, KEEP)).await).await;
    side_by_side(engine, open(fresh("side-by-side", 4, KEEP)).await).await;
    times(engine, &*open(fresh("times", 1, KEEP)).await).await;
    big(engine, &*open(fresh("big", 1, KEEP)).await).await;
    every_field(engine, &*open(fresh("every-field", 1, KEEP)).await).await;
    many(engine, &*open(fresh("many", 64, KEEP)).await).await;
    let by_bytes = Retention { seconds_max: None, bytes_max: Some(64 << 10) };
    if engine.trims {
        trim(engine, &*open(fresh("trim-bytes", 1, by_bytes)).await).await;
        let by_age = Retention { seconds_max: Some(10), bytes_max: None };
        trim(engine, &*open(fresh("trim-age", 1, by_age)).await).await;
    }
    no_trim(engine, &*open(fresh("no-trim", 1, KEEP)).await).await;
    let closing = open(fresh("closing", 1, KEEP)).await;
    closed(engine, &*closing).await;
    drop(closing);
    if engine.durable {
        reopen(engine, &open, fresh("reopen", 3, KEEP)).await;
        if engine.trims {
            reopen_trimmed(engine, &open, fresh("reopen-trimmed", 1, by_bytes)).await;
        }
    }
}

/// A plain event of `project`: version and second `number`, with `data_bytes` bytes of data.
pub fn event(project: &str, number: u64, data_bytes: usize) -> Event {
    let filler = "x".repeat(data_bytes.saturating_sub(8));
    Event {
        id: Uuid::from_u128(u128::from(number) << 64 | 7),
        project: ProjectId::new(project).expect("a valid project id"),
        stream: StreamId::parse("document/posts/one").expect("a valid stream id"),
        stream_version: number,
        kind: EventType::known("document.updated"),
        schema_version: 1,
        time: second(number),
        epoch: 1,
        actor: Actor::Admin,
        correlation_id: CompactString::const_new("c-1"),
        causation_id: None,
        depth: 0,
        transaction: None,
        fingerprint: None,
        traceparent: None,
        data: Bytes::from(format!("{{\"t\":\"{filler}\"}}")),
    }
}

/// The time of [`event`] `number`: a second apart, from some fixed time on.
pub fn second(number: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + number as i64 * 1_000_000)
}

/// Reads everything from `from` to the end.
///
/// Errors: what `read` says.
pub async fn read_on(
    log: &dyn EventLog,
    partition: PartitionId,
    from: Offset,
    limit: ReadLimit,
) -> Result<Vec<Arc<Recorded>>, Error> {
    let (mut all, mut next) = (Vec::new(), from);
    loop {
        let read = log.read(partition, next, limit).await?;
        all.extend(read.events);
        if read.next == next {
            return Ok(all);
        }
        next = read.next;
    }
}

/// Appends events `numbers` in batches of `batch`; returns them as recorded.
async fn fill(
    log: &dyn EventLog,
    partition: PartitionId,
    numbers: std::ops::Range<u64>,
    batch: usize,
    data_bytes: usize,
) -> Vec<Arc<Recorded>> {
    let events: Vec<_> = numbers.map(|number| event("p", number, data_bytes)).collect();
    let mut recorded = Vec::new();
    for chunk in events.chunks(batch) {
        recorded.extend(log.append(partition, chunk.to_vec()).await.expect("an append"));
    }
    recorded
}

/// Becomes the partition's writer; returns where the next event goes.
async fn take_over(engine: Engine, log: &dyn EventLog, partition: PartitionId) -> Offset {
    let before = log.end(partition);
    let end = log.take_over(partition, "http://127.0.0.1:1").await.expect("a takeover");
    assert_eq!(log.end(partition), end, "all of it can be read");
    assert_eq!(log.refresh_end(partition).await.expect("an end"), end);
    assert_eq!(end, before + u64::from(engine.takeovers));
    end
}

fn assert_no_holes(events: &[Arc<Recorded>], partition: PartitionId, from: Offset) {
    for (offset, recorded) in (from..).zip(events) {
        assert_eq!(recorded.position.partition, partition);
        assert_eq!(recorded.position.offset, offset);
    }
}

async fn order(engine: Engine, log: &dyn EventLog) {
    assert_eq!(log.partition_count(), 2);
    assert_eq!((log.start(P0), log.end(P0)), (0, 0));
    let base = take_over(engine, log, P0).await;
    assert!(log.append(P0, Vec::new()).await.expect("an empty batch").is_empty());
    assert_eq!(log.end(P0), base);
    let mut written = Vec::new();
    for batch in [1, 7, 3, 64] {
        let from = written.len() as u64;
        written.extend(fill(log, P0, from..from + batch as u64, batch, 300).await);
        assert_eq!(log.end(P0), base + written.len() as u64);
    }
    assert_no_holes(&written, P0, base);
    assert_eq!(log.start(P0), 0);
    let read = read_on(log, P0, 0, ALL).await.expect("a read");
    assert_eq!(read, written);
    for from in [1, 10, 74] {
        let read = read_on(log, P0, base + from, ALL).await.expect("a read");
        assert_eq!(read, written[from as usize..]);
    }
    assert_eq!(log.end(PartitionId(1)), 0, "the other partition");
}

async fn limits(engine: Engine, log: &dyn EventLog) {
    let base = take_over(engine, log, P0).await;
    let written = fill(log, P0, 0..60, 4, 1000).await;
    let weight = written[0].event.weight();
    for events_max in [0, 1, 2, 7, 1000] {
        for bytes_max in [0, 1, weight, 3 * weight, 3 * weight + 1, usize::MAX] {
            let limit = ReadLimit { events_max, bytes_max };
            let read = log.read(P0, base + 5, limit).await.expect("a read");
            let most = events_max.min(bytes_max / weight).max(1);
            assert!((1..=most).contains(&read.events.len()), "{limit:?}: {}", read.events.len());
            assert_no_holes(&read.events, P0, base + 5);
            assert_eq!(read.next, base + 5 + read.events.len() as u64);
        }
    }
    let small = ReadLimit { events_max: 7, bytes_max: 5 * weight };
    assert_eq!(read_on(log, P0, 0, small).await.expect("a read"), written);
}

async fn edges(engine: Engine, log: &dyn EventLog) {
    assert_eq!(log.read(P0, 0, ALL).await.expect("an empty log"), Read::default());
    assert!(matches!(log.read(P0, 1, ALL).await, Err(Error::BeyondEnd { asked: 1, end: 0, .. })));
    let base = take_over(engine, log, P0).await;
    fill(log, P0, 0..3, 3, 10).await;
    let end = Read { events: Vec::new(), next: base + 3 };
    assert_eq!(log.read(P0, base + 3, ALL).await.expect("the end"), end);
    let beyond = log.read(P0, base + 4, ALL).await;
    let Err(Error::BeyondEnd { asked, end, .. }) = beyond else { panic!("{beyond:?}") };
    assert_eq!((asked, end), (base + 4, base + 3));
    let nowhere = PartitionId(1);
    assert!(log.read(nowhere, 0, ALL).await.is_err());
    assert!(log.append(nowhere, vec![event("p", 0, 10)]).await.is_err());
}

async fn tail(engine: Engine, log: Arc<dyn EventLog>) {
    const COUNT: usize = 300;
    let mut end = log.watch_end(P0);
    assert_eq!(*end.borrow(), 0);
    let base = take_over(engine, &*log, P0).await;
    let reader = Arc::clone(&log);
    let follower = tokio::spawn(async move {
        let (mut seen, mut next) = (Vec::new(), base);
        while seen.len() < COUNT {
            let known = *end.wait_for(|end| *end > next).await.expect("a log");
            let read = reader.read(P0, next, ALL).await.expect("a read");
            assert!(!read.events.is_empty(), "the end was {known}");
            seen.extend(read.events);
            next = read.next;
        }
        seen
    });
    let written = fill(&*log, P0, 0..COUNT as u64, 3, 100).await;
    let seen = tokio::time::timeout(Duration::from_secs(30), follower).await;
    assert_eq!(seen.expect("in time").expect("no panic"), written);
}

async fn side_by_side(engine: Engine, log: Arc<dyn EventLog>) {
    let mut bases = Vec::new();
    for partition in (0..4).map(PartitionId) {
        bases.push(take_over(engine, &*log, partition).await);
    }
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let log = Arc::clone(&log);
            // Two writers for each partition: neither may lose or mix a batch.
            tokio::spawn(async move { fill(&*log, PartitionId(writer / 2), 0..60, 5, 50).await })
        })
        .collect();
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.expect("no panic"));
    }
    for (partition, base) in (0..4).map(PartitionId).zip(bases) {
        let read = read_on(&*log, partition, 0, ALL).await.expect("a read");
        assert_eq!(read.len(), 120);
        assert_no_holes(&read, partition, base);
        for batch in read.chunks(5) {
            let first = batch[0].event.stream_version;
            assert!((first..).zip(batch).all(|(number, r)| r.event.stream_version == number));
        }
    }
    written.sort_by_key(|recorded| recorded.position);
    written.dedup_by_key(|recorded| recorded.position);
    assert_eq!(written.len(), 480, "a position was given twice");
}

async fn times(engine: Engine, log: &dyn EventLog) {
    assert_eq!(log.offset_after(P0, second(0)).await.expect("an answer"), 0);
    let base = take_over(engine, log, P0).await;
    assert_eq!(log.offset_after(P0, second(0)).await.expect("an answer"), base);
    fill(log, P0, 0..200, 9, 300).await;
    // Several events of one time, as a transaction has.
    let same = vec![event("p", 200, 300); 5];
    log.append(P0, same).await.expect("an append");
    let after = async |time| log.offset_after(P0, time).await.expect("an answer") - base;
    assert_eq!(after(Timestamp::from_micros(0)).await, 0);
    for number in [0, 1, 50, 99, 198] {
        assert_eq!(after(second(number)).await, number + 1);
        let just_before = Timestamp::from_micros(second(number).as_micros() - 1);
        assert_eq!(after(just_before).await, number);
    }
    assert_eq!(after(second(199)).await, 200);
    assert_eq!(after(second(200)).await, 205);
}

async fn big(engine: Engine, log: &dyn EventLog) {
    take_over(engine, log, P0).await;
    let sizes = [10, (2 << 20) + (64 << 10), 10, 100_000, 10];
    let events: Vec<_> = (0..).zip(sizes).map(|(n, bytes)| event("p", n, bytes)).collect();
    let written = log.append(P0, events).await.expect("an append");
    let small = ReadLimit { events_max: 10, bytes_max: 1000 };
    assert_eq!(read_on(log, P0, 0, small).await.expect("a read"), written);
    assert_eq!(read_on(log, P0, 0, ALL).await.expect("a read"), written);
}

async fn every_field(engine: Engine, log: &dyn EventLog) {
    let base = take_over(engine, log, P0).await;
    let mut full = event("p.x_y-1", 3, 40);
    full.actor = "key:k1".parse().expect("an actor");
    full.correlation_id = CompactString::new("0af7651916cd43dd8448eb211c80319c");
    full.causation_id = Some(Uuid::from_u128(u128::MAX));
    full.depth = u16::MAX;
    full.epoch = u64::MAX >> 1;
    full.schema_version = u16::MAX;
    full.fingerprint = Some(u64::MAX);
    full.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    full.transaction = Some(TransactionPart { id: Uuid::from_u128(9), index: 0, count: 2 });
    full.data = Bytes::from("{\"t\":\"ä\\u0000 1.0\",\"n\":12345678901234567890123}".to_owned());
    let mut second = full.clone();
    second.transaction = Some(TransactionPart { id: Uuid::from_u128(9), index: 1, count: 2 });
    second.actor = Actor::System;
    second.data = Bytes::from_static(b"{}");
    let mut third = event("p", 4, 10);
    third.actor = "robot:7".parse().expect("an actor");
    third.time = Timestamp::from_micros(third.time.as_micros() + 123_457);
    let mut events = vec![full, second, third];
    let written = log.append(P0, events.clone()).await.expect("an append");
    if engine.takeovers {
        events.iter_mut().for_each(|event| event.epoch = base);
    }
    assert!(written.iter().map(|recorded| &recorded.event).eq(&events), "{written:#?}");
    let read = read_on(log, P0, 0, ALL).await.expect("a read");
    assert_eq!(read, written);
}

async fn many(engine: Engine, log: &dyn EventLog) {
    let mut bases = Vec::new();
    for partition in (0..64).map(PartitionId) {
        bases.push(take_over(engine, log, partition).await);
        fill(log, partition, 0..u64::from(partition.0 % 5), 2, 50).await;
    }
    for (partition, base) in (0..64).map(PartitionId).zip(bases) {
        assert_eq!(log.end(partition), base + u64::from(partition.0 % 5));
        let read = read_on(log, partition, 0, ALL).await.expect("a read");
        assert_eq!(base + read.len() as u64, log.end(partition));
        assert_no_holes(&read, partition, base);
    }
}

async fn trim(engine: Engine, log: &dyn EventLog) {
    assert_eq!(take_over(engine, log, P0).await, 0);
    assert_eq!(log.trim(P0, second(0)).await.expect("an empty log"), 0);
    let written = fill(log, P0, 0..200, 2, 1000).await;
    let start = log.trim(P0, second(200)).await.expect("a trim");
    assert_eq!(log.start(P0), start);
    assert!((1..200).contains(&start), "the start is {start}");
    let asked = start - 1;
    let gone = log.read(P0, asked, ALL).await;
    assert!(matches!(gone, Err(Error::Trimmed { start: s, .. }) if s == start), "{gone:?}");
    assert!(matches!(log.read(P0, 0, ALL).await, Err(Error::Trimmed { asked: 0, .. })));
    let read = read_on(log, P0, start, ALL).await.expect("a read");
    assert_eq!(read, written[start as usize..]);
    assert_eq!(log.offset_after(P0, second(0)).await.expect("an answer"), start.max(1));
    assert_eq!(log.trim(P0, second(200)).await.expect("a trim"), start, "again");
    // Everything is old, and still the newest segment stays; offsets go on.
    let start = log.trim(P0, second(1_000_000)).await.expect("a trim");
    assert!(start < 200, "the start is {start}");
    let more = fill(log, P0, 200..201, 1, 10).await;
    assert_no_holes(&more, P0, 200);
}

async fn no_trim(engine: Engine, log: &dyn EventLog) {
    take_over(engine, log, P0).await;
    fill(log, P0, 0..100, 2, 1000).await;
    assert_eq!(log.trim(P0, second(1_000_000_000)).await.expect("a trim"), 0);
    assert_eq!(read_on(log, P0, 0, ALL).await.expect("a read").len(), 100);
}

async fn closed(engine: Engine, log: &dyn EventLog) {
    take_over(engine, log, P0).await;
    let written = fill(log, P0, 0..3, 3, 10).await;
    log.close().await.expect("a close");
    log.close().await.expect("a second close");
    let refused = log.append(P0, vec![event("p", 3, 10)]).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(read_on(log, P0, 0, ALL).await.expect("a read"), written);
}

async fn reopen<F, Fut>(engine: Engine, open: &F, setup: Setup)
where
    F: Fn(Setup) -> Fut,
    Fut: Future<Output = Arc<dyn EventLog>>,
{
    let mut written: Vec<Vec<Arc<Recorded>>> = vec![Vec::new(); 3];
    let mut ends = [0; 3];
    for round in 0..4 {
        let log = open(setup.clone()).await;
        let kept = (0..).map(PartitionId).zip(&mut written).zip(&mut ends);
        for ((partition, written), end) in kept {
            assert_eq!(log.end(partition), *end);
            assert_eq!(*log.watch_end(partition).borrow(), *end);
            assert_eq!(&read_on(&*log, partition, 0, ALL).await.expect("a read"), written);
            if partition.0 == 2 {
                continue;
            }
            let base = take_over(engine, &*log, partition).await;
            let from = written.len() as u64;
            let more = fill(&*log, partition, from..from + 50, 7, 400).await;
            assert_no_holes(&more, partition, base);
            written.extend(more);
            *end = base + 50;
            assert_eq!(&read_on(&*log, partition, 0, ALL).await.expect("a read"), written);
        }
        // A clean end, then none, then a clean one again.
        if round % 2 == 0 {
            log.close().await.expect("a close");
        }
    }
}

async fn reopen_trimmed<F, Fut>(engine: Engine, open: &F, setup: Setup)
where
    F: Fn(Setup) -> Fut,
    Fut: Future<Output = Arc<dyn EventLog>>,
{
    let log = open(setup.clone()).await;
    assert_eq!(take_over(engine, &*log, P0).await, 0);
    let written = fill(&*log, P0, 0..200, 2, 1000).await;
    let start = log.trim(P0, second(200)).await.expect("a trim");
    log.close().await.expect("a close");
    drop(log);
    let log = open(setup).await;
    assert_eq!((log.start(P0), log.end(P0)), (start, 200));
    let read = read_on(&*log, P0, start, ALL).await.expect("a read");
    assert_eq!(read, written[start as usize..]);
}
