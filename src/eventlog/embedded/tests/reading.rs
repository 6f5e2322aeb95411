//! Reads from disk at any place, the ring, and reads that meet a trim.

use super::*;
use crate::Retention;

#[tokio::test]
async fn any_offset_of_any_segment() {
    let folder = folder();
    let mut options = options(folder.path());
    options.segment_bytes = 40_000;
    let log = open(&options).unwrap();
    let mut written = Vec::new();
    for count in 1..40 {
        written.extend(append(&log, count).await.unwrap());
    }
    let sealed = Snapshot::take(folder.path()).ending(".index").len();
    assert!(sealed > 2);
    let check = async |from: usize, events_max: usize| {
        let limit = ReadLimit { events_max, bytes_max: usize::MAX };
        let read = log.read(P0, from as u64, limit).await.unwrap().events;
        assert!(!read.is_empty() && read.len() <= events_max);
        assert_eq!(read, written[from..from + read.len()]);
    };
    for step in 0..written.len() {
        check(step * 389 % written.len(), 1 + step % 3).await;
    }
    for (number, recorded) in written.iter().enumerate() {
        let after = log.offset_after(P0, recorded.event.time).await.unwrap();
        assert_eq!(after, number as u64 + 1);
    }
    // The index files are a help, not a need.
    for (index, _) in Snapshot::take(folder.path()).ending(".index") {
        std::fs::write(index, "not an index").unwrap();
    }
    drop(log);
    let log = open(&options).unwrap();
    for (index, _) in Snapshot::take(folder.path()).ending(".index") {
        std::fs::remove_file(index).unwrap();
    }
    for from in (0..written.len()).rev().step_by(7) {
        let read = log.read(P0, from as u64, ALL).await.unwrap().events;
        assert_eq!(read, written[from..from + read.len()]);
    }
}

#[tokio::test]
async fn the_ring_shares_what_was_appended_and_stays_bounded() {
    let folder = folder();
    let mut options = options(folder.path());
    options.ring_bytes = 4000;
    let log = open(&options).unwrap();
    let mut written = Vec::new();
    for count in [3, 8, 2, 9] {
        written.extend(append(&log, count).await.unwrap());
    }
    let read = read_all(&log, 0).await.0;
    assert_eq!(read, written);
    let shared: Vec<_> =
        read.iter().zip(&written).map(|(read, written)| Arc::ptr_eq(read, written)).collect();
    let kept = 4000 / written[0].event.weight();
    assert!(shared[written.len() - kept..].iter().all(|shared| *shared));
    assert!(!shared[0], "the oldest is still in memory");
}

#[tokio::test]
async fn a_trim_below_a_reader() {
    let folder = folder();
    let mut options = options(folder.path());
    options.retention = Retention { seconds_max: Some(5), bytes_max: None };
    let log = open(&options).unwrap();
    for _ in 0..20 {
        append(&log, 2).await.unwrap();
    }
    assert_eq!(log.read(P0, 0, ALL).await.unwrap().events[0].position.offset, 0);
    let start = log.trim(P0, conformance::second(40)).await.unwrap();
    assert!(start > 20);
    assert!(matches!(log.read(P0, 1, ALL).await, Err(Error::Trimmed { asked: 1, .. })));
    assert_eq!(read_all(&log, start).await.0.len() as u64, 40 - start);
    let left = Snapshot::take(folder.path());
    drop(log);
    let log = open(&options).unwrap();
    assert_eq!((log.start(P0), log.end(P0)), (start, 40));
    let bases: Vec<_> = left.ending(".log").iter().map(|(path, _)| (*path).clone()).collect();
    assert!(bases[0].to_str().unwrap().ends_with(&format!("/{start:020}.log")));
    append(&log, 1).await.unwrap();
}

#[tokio::test]
async fn a_segment_that_somebody_took_is_named() {
    let folder = folder();
    let log = open(&options(folder.path())).unwrap();
    for _ in 0..8 {
        append(&log, 2).await.unwrap();
    }
    let snapshot = Snapshot::take(folder.path());
    std::fs::remove_file(snapshot.ending(".log")[1].0).unwrap();
    let (events, error) = read_all(&log, 0).await;
    let Some(Error::Corrupt { offset, .. }) = error else { panic!("{error:?}") };
    assert_eq!(offset, events.len() as u64);
}
