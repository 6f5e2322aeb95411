//! What a reader is shown of a partition in which not everything counts, is kept, or makes sense.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset as Place, TopicPartitionList};

use super::*;
use crate::kafka::options::EVENT_BYTES_MAX;
use crate::kafka::record;

/// Writes records past every rule.
struct Raw {
    topic: String,
    producer: FutureProducer,
}

impl Raw {
    fn new(topic: &str) -> Self {
        let mut config = ClientConfig::new();
        let producer = config.set("bootstrap.servers", brokers()).create().unwrap();
        Self { topic: topic.to_owned(), producer }
    }

    async fn send(&self, event: &Event, headers: OwnedHeaders) -> Offset {
        let record = FutureRecord::to(&self.topic).partition(0).key("p").payload(&event.data[..]);
        let sent = self.producer.send(record.headers(headers), Duration::from_secs(5)).await;
        sent.unwrap().offset as u64
    }

    /// An event whose writer expects `expected`.
    async fn event(&self, event: &Event, expected: Offset) -> Offset {
        self.send(event, record::headers(event, 1, expected)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_ours_is_passed_over() {
    let options = options(&unique("foreign"), 1);
    let log = open(options.clone()).await;
    let raw = Raw::new(&options.topic);
    log.take_over(P0, NODE).await.unwrap();
    let mut written = log.append(P0, events(0..2)).await.unwrap();
    let other = event("p", 7, 10);
    raw.send(&other, OwnedHeaders::new()).await;
    let nonsense = Header { key: "ce_expectedoffset", value: Some("x") };
    raw.send(&other, OwnedHeaders::new().insert(nonsense)).await;
    assert_eq!(log.refresh_end(P0).await.unwrap(), 5);
    let read = log.read(P0, 3, ALL).await.unwrap();
    assert_eq!((read.events.len(), read.next), (0, 5));
    let fenced = log.append(P0, events(2..3)).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    log.take_over(P0, NODE).await.unwrap();
    written.extend(log.append(P0, events(2..3)).await.unwrap());
    assert_eq!(read_on(&*log, P0, 0, ALL).await.unwrap(), written);
    assert_eq!(read_cold(&options, 0).await, written);
    assert_eq!(log.offset_after(P0, conformance::second(1)).await.unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_not_whole_is_not_shown() {
    let options = options(&unique("cut"), 1);
    let log = open(options.clone()).await;
    let raw = Raw::new(&options.topic);
    let parts = transaction(events(0..3));
    for (expected, part) in (0..2).zip(&parts) {
        assert_eq!(raw.event(part, expected).await, expected);
    }
    assert_eq!(log.refresh_end(P0).await.unwrap(), 0, "all is seen, nothing is decided");
    let late = open(options.clone()).await;
    assert_eq!(late.end(P0), 0);
    assert_eq!(raw.event(&parts[2], 2).await, 2);
    assert_eq!(log.refresh_end(P0).await.unwrap(), 3);
    let whole = read_on(&*log, P0, 0, ALL).await.unwrap();
    assert_eq!(whole.len(), 3);
    assert_eq!(late.refresh_end(P0).await.unwrap(), 3);
    assert_eq!(read_on(&*late, P0, 0, ALL).await.unwrap(), whole);
    for from in 0..3 {
        let cold = read_cold(&options, from).await;
        assert_eq!(cold, whole[from as usize..], "from {from}");
    }
    // The next one is cut by a takeover.
    raw.event(&parts[0], 3).await;
    raw.event(&parts[1], 4).await;
    assert_eq!(log.refresh_end(P0).await.unwrap(), 3);
    assert_eq!(log.take_over(P0, NODE).await.unwrap(), 6);
    assert_eq!(late.refresh_end(P0).await.unwrap(), 6);
    let read = late.read(P0, 3, ALL).await.unwrap();
    assert_eq!((read.events.len(), read.next), (0, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_counts_and_makes_no_sense_is_named() {
    let options = options(&unique("corrupt"), 1);
    let log = open(options.clone()).await;
    let raw = Raw::new(&options.topic);
    log.take_over(P0, NODE).await.unwrap();
    let written = log.append(P0, events(0..2)).await.unwrap();
    let expected = Header { key: "ce_expectedoffset", value: Some("3") };
    raw.send(&event("p", 3, 10), OwnedHeaders::new().insert(expected)).await;
    raw.event(&event("p", 4, 10), 4).await;
    let corrupt = |error: &Error| matches!(error, Error::Corrupt { offset: 3, .. });
    assert!(log.refresh_end(P0).await.is_err_and(|error| corrupt(&error)));
    assert!(log.take_over(P0, NODE).await.is_err_and(|error| corrupt(&error)));
    assert_eq!(log.end(P0), 3);
    let again = open(Options { ring_bytes: 0, ..options }).await;
    for log in [&log, &again] {
        let (mut read, mut next) = (Vec::new(), 0);
        while next < 3 {
            let more = log.read(P0, next, ALL).await.unwrap();
            (read, next) = ([read, more.events].concat(), more.next);
        }
        assert_eq!(read, written);
        assert!(log.read(P0, 3, ALL).await.is_err_and(|error| corrupt(&error)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_has_taken_is_told() {
    let options = options(&unique("trimmed"), 1);
    let log = open(Options { ring_bytes: 0, ..options.clone() }).await;
    log.take_over(P0, NODE).await.unwrap();
    let mut written = log.append(P0, events(0..20)).await.unwrap();
    written.extend(log.append(P0, transaction(events(20..40))).await.unwrap());
    assert_eq!(log.trim(P0, conformance::second(1_000_000)).await.unwrap(), 0);
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    let mut taken = TopicPartitionList::new();
    taken.add_partition_offset(&options.topic, 0, Place::Offset(11)).unwrap();
    admin.delete_records(&taken, &AdminOptions::new()).await.unwrap();
    // Whoever reads there finds out.
    let trimmed = log.read(P0, 4, ALL).await;
    assert!(matches!(trimmed, Err(Error::Trimmed { asked: 4, start: 11, .. })), "{trimmed:?}");
    assert_eq!(log.start(P0), 11);
    assert_eq!(read_on(&*log, P0, 11, ALL).await.unwrap(), written[10..]);
    assert_eq!(log.offset_after(P0, conformance::second(0)).await.unwrap(), 11);
    // Of a transaction whose beginning is gone the rest does not count.
    let mut taken = TopicPartitionList::new();
    taken.add_partition_offset(&options.topic, 0, Place::Offset(25)).unwrap();
    admin.delete_records(&taken, &AdminOptions::new()).await.unwrap();
    assert_eq!(log.trim(P0, conformance::second(0)).await.unwrap(), 25);
    assert!(read_on(&*log, P0, 25, ALL).await.unwrap().is_empty());
    let again = open(options).await;
    assert_eq!((again.start(P0), again.end(P0)), (25, 41));
    assert!(read_on(&*again, P0, 25, ALL).await.unwrap().is_empty());
    again.take_over(P0, NODE).await.unwrap();
    let more = again.append(P0, events(40..41)).await.unwrap();
    log.refresh_end(P0).await.unwrap();
    assert_eq!(read_on(&*log, P0, 30, ALL).await.unwrap(), more);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_event_fits_and_a_larger_one_does_not() {
    let options = options(&unique("large"), 1);
    let log = open(options.clone()).await;
    log.take_over(P0, NODE).await.unwrap();
    let mut largest = event("p", 0, EVENT_BYTES_MAX - 1000);
    // What does not compress.
    let mut chance = fastrand::Rng::with_seed(7);
    let noise: String = (0..EVENT_BYTES_MAX - 1000).map(|_| chance.alphanumeric()).collect();
    largest.data = format!("{{\"t\":\"{noise}\"}}").into();
    let written = log.append(P0, vec![largest.clone(), event("p", 1, 10)]).await.unwrap();
    let too_large = event("p", 2, EVENT_BYTES_MAX);
    let unfit = log.append(P0, vec![event("p", 2, 10), too_large]).await;
    assert!(matches!(unfit, Err(Error::Unfit { .. })), "{unfit:?}");
    let mut part = transaction(events(0..3));
    part.pop();
    let unfit = log.append(P0, part.clone()).await;
    assert!(matches!(unfit, Err(Error::Unfit { .. })), "no end: {unfit:?}");
    part.remove(0);
    let unfit = log.append(P0, part).await;
    assert!(matches!(unfit, Err(Error::Unfit { .. })), "no beginning: {unfit:?}");
    let more = log.append(P0, vec![event("p", 2, 10)]).await.expect("it goes on serving");
    let all = [written, more].concat();
    assert!(read_cold(&options, 0).await == all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_past_the_published_end_is_read() {
    let log = open(options(&unique("published"), 1)).await;
    log.take_over(P0, NODE).await.unwrap();
    let written = log.append(P0, events(0..30)).await.unwrap();
    // As if the tail had come no further yet.
    for end in [1, 2, 9, 31] {
        let (mut read, mut next) = (Vec::new(), 0);
        while next < end {
            let more = log.fetch.read(&log.lanes[0].partition, next, end, ALL).await.unwrap();
            (read, next) = ([read, more.events].concat(), more.next);
        }
        assert_eq!((&read[..], next), (&written[..end as usize - 1], end));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_share_a_few_consumers() {
    let options = options(&unique("readers"), 2);
    let log = open(Options { ring_bytes: 0, ..options }).await;
    let mut written = Vec::new();
    for partition in (0..2).map(PartitionId) {
        log.take_over(partition, NODE).await.unwrap();
        written.push(log.append(partition, events(0..3000)).await.unwrap());
    }
    let readers: Vec<_> = (0..24)
        .map(|reader: usize| {
            let (log, written) = (Arc::clone(&log), written[reader % 2].clone());
            tokio::spawn(async move {
                let events_max = [1000, 100, 10][reader % 3];
                let limit = ReadLimit { events_max, bytes_max: 4 << 20 };
                let from = reader as u64 * 40 + 1 + if events_max == 10 { 1900 } else { 0 };
                let partition = PartitionId(reader as u32 % 2);
                let read = read_on(&*log, partition, from, limit).await.unwrap();
                assert!(read == written[from as usize - 1..]);
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
}
