//! Disks that are full or fail, and damage that shows while the log is open.

use super::*;

fn open_with(options: &Options, faults: &Faults) -> Log {
    Log::open_with(options.clone(), &metrics(), faults.clone()).unwrap()
}

#[tokio::test]
async fn a_full_disk_takes_nothing_and_later_everything() {
    let folder = folder();
    let options = options(folder.path());
    let faults = Faults::default();
    let log = open_with(&options, &faults);
    let mut written = append(&log, 2).await.unwrap();
    let mut end = log.watch_end(P0);
    for room in (0..400).step_by(7) {
        let before = Snapshot::take(folder.path());
        faults.plan().room_bytes = Some(room);
        let refused = append(&log, 3).await;
        assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
        assert_eq!(log.end(P0), written.len() as u64);
        let now = Snapshot::take(folder.path());
        for (path, bytes) in before.ending(".log") {
            assert_eq!(&now.0[path], bytes, "bytes were left behind");
        }
        faults.plan().room_bytes = None;
        written.extend(append(&log, 2).await.unwrap());
        assert_eq!(read_all(&log, 0).await.0, written);
    }
    assert!(end.has_changed().unwrap());
    assert_eq!(*end.borrow_and_update(), written.len() as u64);
    drop(log);
    let (events, error) = read_all(&open(&options).unwrap(), 0).await;
    assert!(error.is_none());
    assert_eq!(events, written);
}

#[tokio::test]
async fn a_failed_sync_ends_appends_until_a_restart() {
    let folder = folder();
    let options = options(folder.path());
    let faults = Faults::default();
    let log = open_with(&options, &faults);
    let written = append(&log, 2).await.unwrap();
    faults.plan().sync_fails = true;
    assert!(matches!(append(&log, 1).await, Err(Error::Refused { .. })));
    faults.plan().sync_fails = false;
    let syncs = faults.plan().syncs;
    assert!(matches!(append(&log, 1).await, Err(Error::Refused { .. })));
    assert_eq!(faults.plan().syncs, syncs, "the sync was tried again");
    assert_eq!(log.end(P0), 2);
    assert_eq!(read_all(&log, 0).await.0, written);
    log.close().await.unwrap();
    drop(log);
    let log = open(&options).unwrap();
    assert_eq!(read_all(&log, 0).await.0, written);
    append(&log, 1).await.unwrap();
}

/// The same while a segment is rolled: the folder's sync may fail, too.
#[tokio::test]
async fn a_failed_sync_at_a_new_segment() {
    let folder = folder();
    let options = options(folder.path());
    let faults = Faults::default();
    let log = open_with(&options, &faults);
    let written = append(&log, 5).await.unwrap();
    faults.plan().sync_fails = true;
    assert!(matches!(append(&log, 5).await, Err(Error::Refused { .. })));
    drop(log);
    let log = open(&options).unwrap();
    assert_eq!(read_all(&log, 0).await.0, written);
}

#[tokio::test]
async fn one_sync_for_each_batch_and_none_when_relaxed() {
    for fsync in [true, false] {
        let folder = folder();
        let mut options = options(folder.path());
        options.segment_bytes = 1 << 20;
        options.fsync = fsync;
        let faults = Faults::default();
        let log = open_with(&options, &faults);
        let before = faults.plan().syncs;
        for count in [1, 20, 5] {
            append(&log, count).await.unwrap();
        }
        assert_eq!(faults.plan().syncs - before, if fsync { 3 } else { 0 });
    }
}

#[tokio::test]
async fn a_part_of_the_disk_is_left_free() {
    let folder = folder();
    let mut options = options(folder.path());
    options.disk_reserve_bytes = 1 << 20;
    let faults = Faults::default();
    faults.plan().free_bytes = Some((1 << 20) + 500);
    let log = open_with(&options, &faults);
    append(&log, 1).await.unwrap();
    let refused = append(&log, 3).await;
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    faults.plan().free_bytes = Some(1 << 30);
    tokio::time::sleep(std::time::Duration::from_millis(110)).await;
    append(&log, 3).await.unwrap();
    faults.plan().free_bytes = Some(0);
    tokio::time::sleep(std::time::Duration::from_millis(110)).await;
    assert!(matches!(append(&log, 1).await, Err(Error::Full { .. })));
    assert_eq!(read_all(&log, 0).await.0.len(), 4);
}

#[tokio::test]
async fn damage_seen_while_open_is_not_forgotten() {
    let folder = folder();
    let mut options = options(folder.path());
    options.partitions = 2;
    let log = open(&options).unwrap();
    for _ in 0..4 {
        append(&log, 2).await.unwrap();
    }
    // In the last batch: without the mark, the next start would take it for a torn one.
    let good = Snapshot::take(folder.path());
    let last = spots(&good).pop().unwrap();
    let mut bytes = good.0[&last.file].clone();
    bytes[last.bytes.start + 50] ^= 4;
    std::fs::write(&last.file, &bytes).unwrap();
    for _ in 0..2 {
        let read = log.read(P0, last.offset, ALL).await;
        assert!(
            matches!(read, Err(Error::Corrupt { offset, .. }) if offset == last.offset),
            "{read:?}"
        );
    }
    assert!(matches!(append(&log, 1).await, Err(Error::Refused { .. })));
    assert_eq!(read_all(&log, 0).await.0.len() as u64, last.offset, "elsewhere");
    log.append(PartitionId(1), vec![event("p", 0, 10)]).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    for _ in 0..2 {
        let log = open(&options).unwrap();
        let read = log.read(P0, 0, ALL).await;
        assert!(matches!(read, Err(Error::Corrupt { offset, .. }) if offset == last.offset));
        assert!(log.append(P0, vec![event("p", 9, 10)]).await.is_err());
        assert!(log.trim(P0, conformance::second(0)).await.is_err());
        assert!(log.offset_after(P0, conformance::second(0)).await.is_err());
        assert_eq!(log.end(PartitionId(1)), 1, "the other one serves");
        log.append(PartitionId(1), Vec::new()).await.unwrap();
    }
    // Somebody puts the file back as it was.
    std::fs::write(&last.file, &good.0[&last.file]).unwrap();
    let log = open(&options).unwrap();
    assert_eq!(read_all(&log, 0).await.0.len(), 8);
    append(&log, 1).await.unwrap();
}

/// Without waiting for the disk a power cut may keep a later batch and lose an earlier one.
#[tokio::test]
async fn relaxed_logs_lose_their_tail_instead_of_refusing() {
    for relaxed in [true, false] {
        let folder = folder();
        let mut options = options(folder.path());
        options.segment_bytes = 1 << 20;
        options.fsync = !relaxed;
        let log = open(&options).unwrap();
        for _ in 0..4 {
            append(&log, 2).await.unwrap();
        }
        drop(log);
        let snapshot = Snapshot::take(folder.path());
        let hole = &spots(&snapshot)[5];
        let mut bytes = snapshot.0[&hole.file].clone();
        bytes[hole.bytes.clone()].fill(0);
        std::fs::write(&hole.file, bytes).unwrap();
        // The rule goes by how it was written, not by how it is opened.
        options.fsync = true;
        let log = open(&options).unwrap();
        let (events, error) = read_all(&log, 0).await;
        if relaxed {
            assert!(error.is_none());
            assert_eq!(events.len(), 4);
        } else {
            assert!(matches!(error, Some(Error::Corrupt { offset: 5, .. })), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_whole() {
    let folder = folder();
    let log = open(&options(folder.path())).unwrap();
    let huge = event("p", 1, record::BYTES_MAX);
    let refused = log.append(P0, vec![event("p", 0, 10), huge]).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");
    assert_eq!(log.end(P0), 0);
    append(&log, 1).await.unwrap();
    assert_eq!(read_all(&log, 0).await.0.len(), 1);
}
