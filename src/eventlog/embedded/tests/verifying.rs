//! The check of a whole topic names what is bad, and nothing else.

use super::*;
use crate::embedded::verify::{Bad, Report, verify};

struct Sample {
    folder: TempDir,
    snapshot: Snapshot,
    spots: Vec<Spot>,
}

async fn sample(clean: bool) -> Sample {
    let folder = folder();
    let log = open(&options(folder.path())).unwrap();
    for count in [2, 3, 2, 4, 1, 2, 3] {
        append(&log, count).await.unwrap();
    }
    if clean {
        log.close().await.unwrap();
    }
    drop(log);
    let snapshot = Snapshot::take(folder.path());
    let spots = spots(&snapshot);
    Sample { folder, snapshot, spots }
}

impl Sample {
    fn verify(&self) -> Report {
        let mut calls = Vec::new();
        let report = verify(&self.folder.path().join("t"), &mut |p| calls.push(p)).unwrap();
        let last = calls.last().unwrap();
        assert_eq!(last.bytes, last.bytes_total);
        assert_eq!(last.records, report.records);
        report
    }

    fn damage(&self, spots: &[&Spot]) {
        self.snapshot.restore(self.folder.path());
        for spot in spots {
            let mut bytes = std::fs::read(&spot.file).unwrap();
            bytes[spot.bytes.start + 60] ^= 1;
            std::fs::write(&spot.file, bytes).unwrap();
        }
    }
}

fn runs(report: &Report) -> Vec<(Offset, Option<Offset>, bool)> {
    report.bad.iter().map(|Bad { first, next, torn, .. }| (*first, *next, *torn)).collect()
}

#[tokio::test]
async fn a_good_topic_is_good() {
    for clean in [false, true] {
        let sample = sample(clean).await;
        let report = sample.verify();
        assert_eq!((report.partitions, report.records), (1, 17));
        assert_eq!(report.segments as usize, sample.snapshot.ending(".log").len());
        assert!(report.bad.is_empty(), "{report:#?}");
    }
}

#[tokio::test]
async fn each_bad_record_is_named() {
    for clean in [false, true] {
        let sample = sample(clean).await;
        let last_batch = sample.spots.last().unwrap().batch;
        for spot in &sample.spots {
            sample.damage(&[spot]);
            let report = sample.verify();
            assert_eq!(report.records, 16);
            let [bad] = &report.bad[..] else { panic!("{report:#?}") };
            assert_eq!((bad.first, bad.byte), (spot.offset, spot.bytes.start as u64));
            assert_eq!(bad.file, spot.file);
            let next = (spot.offset + 1 < 17).then_some(spot.offset + 1);
            assert_eq!(bad.next, next);
            assert_eq!(bad.torn, !clean && spot.batch == last_batch, "{bad:?}");
        }
    }
}

#[tokio::test]
async fn several_bad_records_are_named() {
    let sample = sample(true).await;
    sample.damage(&[&sample.spots[1], &sample.spots[2], &sample.spots[9], &sample.spots[16]]);
    let found = runs(&sample.verify());
    assert_eq!(found, [(1, Some(3), false), (9, Some(10), false), (16, None, false)]);
}

#[tokio::test]
async fn lost_ends_are_named() {
    for clean in [false, true] {
        let sample = sample(clean).await;
        let logs = sample.snapshot.ending(".log");
        for (i, (file, _)) in logs.iter().enumerate() {
            sample.snapshot.restore(sample.folder.path());
            let inside: Vec<_> = sample.spots.iter().filter(|spot| spot.file == **file).collect();
            let last = inside.last().unwrap();
            std::fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(last.bytes.start as u64)
                .unwrap();
            let report = sample.verify();
            let newest = i + 1 == logs.len();
            let [bad] = &report.bad[..] else { panic!("{report:#?}") };
            assert!((last.batch..=last.offset).contains(&bad.first), "{bad:?}");
            assert_eq!(bad.torn, newest && !clean);
        }
    }
}

#[tokio::test]
async fn missing_segments_are_named() {
    for clean in [false, true] {
        let sample = sample(clean).await;
        let logs = sample.snapshot.ending(".log");
        for (i, (file, _)) in logs.iter().enumerate().skip(1) {
            sample.snapshot.restore(sample.folder.path());
            std::fs::remove_file(file).unwrap();
            let first = sample.spots.iter().find(|spot| spot.file == **file).unwrap().offset;
            let report = sample.verify();
            let newest = i + 1 == logs.len();
            match &report.bad[..] {
                [] => assert!(newest && !clean),
                [bad] => assert_eq!((bad.first, bad.torn), (first, false)),
                more => panic!("{more:#?}"),
            }
        }
    }
}
