//! Every byte of a small log changed, blocks of it zeroed, its files cut: what is read afterwards
//! is what was acknowledged, or an error that names an offset.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// A log with several batches in several segments, and what it holds.
struct Sample {
    folder: TempDir,
    options: Options,
    written: Vec<Arc<Recorded>>,
    snapshot: Snapshot,
    spots: Vec<Spot>,
}

async fn sample(clean: bool) -> Sample {
    let folder = folder();
    let options = options(folder.path());
    let log = open(&options).unwrap();
    let mut written = Vec::new();
    for count in [1, 3, 2, 1, 4, 1, 2, 3] {
        written.extend(append(&log, count).await.unwrap());
    }
    if clean {
        log.close().await.unwrap();
    }
    drop(log);
    let snapshot = Snapshot::take(folder.path());
    assert_eq!(snapshot.ending(".log").len(), 3);
    let spots = spots(&snapshot);
    assert_eq!(spots.len(), written.len());
    Sample { folder, options, written, snapshot, spots }
}

impl Sample {
    /// The records whose bytes differ from `damaged`, the new content of `file`.
    fn touched(&self, file: &Path, damaged: &[u8]) -> Vec<&Spot> {
        let before = &self.snapshot.0[file];
        let differs = |spot: &&Spot| {
            spot.file == file
                && before[spot.bytes.clone()] != *damaged.get(spot.bytes.clone()).unwrap_or(&[])
        };
        self.spots.iter().filter(differs).collect()
    }

    /// Puts `damaged` in the place of `file`, opens, reads, and checks what comes.
    async fn check(&self, file: &Path, damaged: &[u8], clean: bool) {
        self.snapshot.restore(self.folder.path());
        std::fs::write(file, damaged).unwrap();
        let touched = self.touched(file, damaged);
        let batches: Vec<_> = touched.iter().map(|spot| spot.batch).collect();
        let log = open(&self.options).unwrap();
        let (events, error) = read_all(&log, 0).await;
        assert_eq!(events, self.written[..events.len()]);
        let Some(error) = error else {
            assert_eq!(log.end(P0), events.len() as u64);
            let left = Snapshot::take(self.folder.path());
            let bytes: usize = left.ending(".log").iter().map(|(_, bytes)| bytes.len()).sum();
            let kept: usize = self.spots[..events.len()].iter().map(|spot| spot.bytes.len()).sum();
            assert_eq!(bytes, kept, "a part of a batch was left in the file");
            if events.len() < self.written.len() {
                // Only a tail of batches that are all damaged may go, and never after a clean end.
                assert!(!clean, "{} was cut silently", file.display());
                let first_gone = events.len() as u64;
                assert!(self.spots.iter().any(|spot| spot.batch == first_gone), "half a batch");
                let gone = self.spots.iter().filter(|spot| spot.offset >= first_gone);
                assert!(gone.map(|spot| spot.batch).all(|batch| batches.contains(&batch)));
            } else {
                assert!(touched.is_empty(), "{} was not seen", file.display());
            }
            self.goes_on(log, events).await;
            return;
        };
        let Error::Corrupt { offset, .. } = error else { panic!("{error}") };
        let first = touched.first().unwrap();
        assert!((first.batch..=first.offset).contains(&offset), "{error}, not {}", first.offset);
        assert!(matches!(
            append(&log, 1).await,
            Err(Error::Refused { .. } | Error::Corrupt { .. })
        ));
        drop(log);
        // It does not heal by being started again.
        let log = open(&self.options).unwrap();
        let (events, error) = read_all(&log, 0).await;
        assert_eq!(events, self.written[..events.len()]);
        assert!(matches!(error, Some(Error::Corrupt { .. })), "{error:?} at the second start");
    }

    /// A log that lost its torn batch takes new ones, and keeps them.
    async fn goes_on(&self, log: Log, mut events: Vec<Arc<Recorded>>) {
        events.extend(append(&log, 2).await.unwrap());
        drop(log);
        let log = open(&self.options).unwrap();
        let (read, error) = read_all(&log, 0).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(read, events);
    }

    async fn each_byte(&self, clean: bool) {
        for (file, bytes) in self.snapshot.ending(".log") {
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                self.check(file, &damaged, clean).await;
                damaged[at] = 0;
                self.check(file, &damaged, clean).await;
            }
        }
    }

    async fn blocks(&self, clean: bool) {
        for (file, bytes) in self.snapshot.ending(".log") {
            for block in [64, 512] {
                for start in (0..bytes.len()).step_by(block / 4) {
                    let mut damaged = bytes.clone();
                    let end = (start + block).min(bytes.len());
                    damaged[start..end].fill(0);
                    self.check(file, &damaged, clean).await;
                }
            }
        }
    }

    async fn lengths(&self, clean: bool) {
        for (file, bytes) in self.snapshot.ending(".log") {
            for len in 0..bytes.len() {
                self.check(file, &bytes[..len], clean).await;
            }
        }
    }
}

#[tokio::test]
async fn each_byte_after_a_crash() {
    sample(false).await.each_byte(false).await;
}

#[tokio::test]
async fn each_byte_after_a_clean_end() {
    sample(true).await.each_byte(true).await;
}

#[tokio::test]
async fn blocks_of_zeros() {
    sample(false).await.blocks(false).await;
    sample(true).await.blocks(true).await;
}

#[tokio::test]
async fn each_length() {
    sample(false).await.lengths(false).await;
    sample(true).await.lengths(true).await;
}

#[tokio::test]
async fn bytes_behind_the_end() {
    for clean in [false, true] {
        let sample = sample(clean).await;
        let (file, bytes) = sample.snapshot.ending(".log").pop().unwrap();
        for tail in [&[0_u8; 1][..], &[0; 600], &[0xff; 40], &[1; 600], &bytes[..50]] {
            sample.snapshot.restore(sample.folder.path());
            std::fs::write(file, [bytes, tail].concat()).unwrap();
            let log = open(&sample.options).unwrap();
            let (events, error) = read_all(&log, 0).await;
            if clean {
                let end = sample.written.len() as u64;
                assert!(matches!(error, Some(Error::Corrupt { offset, .. }) if offset == end));
            } else {
                assert_eq!(events, sample.written);
                sample.goes_on(log, events).await;
            }
        }
    }
}

#[tokio::test]
async fn the_other_files_may_be_damaged() {
    for clean in [false, true] {
        let sample = sample(clean).await;
        for (file, bytes) in &sample.snapshot.0 {
            if file.extension().is_some_and(|end| end == "log") {
                continue;
            }
            for at in 0..=bytes.len() {
                sample.snapshot.restore(sample.folder.path());
                let mut damaged = bytes.clone();
                match damaged.get_mut(at) {
                    Some(byte) => *byte ^= 1 << (at % 8),
                    None => damaged.truncate(at / 2),
                }
                std::fs::write(file, &damaged).unwrap();
                let log = match open(&sample.options) {
                    Ok(log) => log,
                    Err(Error::Open { .. }) if file.ends_with("topic.json") => continue,
                    Err(error) => panic!("{error}"),
                };
                let (events, error) = read_all(&log, 0).await;
                assert!(error.is_none(), "{} byte {at}: {error:?}", file.display());
                assert_eq!(events, sample.written);
            }
        }
    }
}

#[tokio::test]
async fn missing_files() {
    for clean in [false, true] {
        let sample = sample(clean).await;
        let logs = sample.snapshot.ending(".log");
        let first_of = |file: &Path| sample.spots.iter().find(|spot| spot.file == file).unwrap();
        for (i, (file, _)) in logs.iter().enumerate() {
            sample.snapshot.restore(sample.folder.path());
            std::fs::remove_file(file).unwrap();
            let log = open(&sample.options).unwrap();
            let (events, error) = read_all(&log, log.start(P0)).await;
            let first = first_of(file).offset;
            match (i, error) {
                // The oldest is gone as if trimmed.
                (0, None) => assert_eq!(events, sample.written[log.start(P0) as usize..]),
                // The newest is known to be missing only after a clean end.
                (2, None) if !clean => assert_eq!(events, sample.written[..first as usize]),
                (_, Some(Error::Corrupt { offset, .. })) => assert_eq!(offset, first),
                (_, error) => panic!("{i} {clean}: {error:?}"),
            }
        }
        for (index, _) in sample.snapshot.ending(".index") {
            sample.snapshot.restore(sample.folder.path());
            std::fs::remove_file(index).unwrap();
            let log = open(&sample.options).unwrap();
            assert_eq!(read_all(&log, 0).await.0, sample.written);
            assert!(index.exists(), "it was not made again");
        }
    }
}

/// A record written whole within an event's data must not look like a later batch.
#[tokio::test]
async fn json_data_cannot_pose_as_a_later_batch() {
    let sample = sample(false).await;
    let (file, bytes) = sample.snapshot.ending(".log").pop().unwrap();
    let last = sample.spots.last().unwrap();
    let whole = sample.spots.iter().position(|spot| spot.batch == last.batch).unwrap();
    let mut damaged = bytes.clone();
    damaged[last.bytes.start + 40] ^= 1;
    // The search looks for the version byte, which text never has.
    let text = "{\"a\":\"\u{7f} \u{e4}\"}".repeat(200);
    assert!(!text.bytes().any(|byte| byte == record::VERSION));
    damaged.extend(text.bytes());
    std::fs::write(file, damaged).unwrap();
    let log = open(&sample.options).unwrap();
    let (events, error) = read_all(&log, 0).await;
    assert!(error.is_none());
    assert_eq!(events, sample.written[..whole]);
}

/// What a power cut leaves of the batch being written: any of its sectors, in any order, the
/// others zero or beyond the end. Everything before it is kept; it is there whole or not at all.
#[test]
fn torn_writes() {
    const SECTOR: usize = 512;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = folder();
    let mut options = options(folder.path());
    options.segment_bytes = 1 << 20;
    let (before, after, written) = runtime.block_on(async {
        let log = open(&options).unwrap();
        let mut written = append(&log, 3).await.unwrap();
        written.extend(append(&log, 20).await.unwrap());
        let before = Snapshot::take(folder.path());
        written.extend(append(&log, 40).await.unwrap());
        (before, Snapshot::take(folder.path()), written)
    });
    let file = before.ending(".log")[0].0;
    let (old, new) = (&before.0[file], &after.0[file]);
    let sectors = new.len().div_ceil(SECTOR);
    let states = (proptest::collection::vec(any::<bool>(), sectors), old.len()..=new.len());
    let mut runner = TestRunner::new(Config { cases: 300, ..Config::default() });
    let outcome = runner.run(&states, |(arrived, len)| {
        before.restore(folder.path());
        let mut torn = new[..len].to_vec();
        for at in old.len()..len {
            if !arrived[at / SECTOR] {
                torn[at] = 0;
            }
        }
        std::fs::write(file, &torn).unwrap();
        runtime.block_on(async {
            let log = open(&options).unwrap();
            let (events, error) = read_all(&log, 0).await;
            prop_assert!(error.is_none(), "{:?}", error);
            let kept = if torn == *new { written.len() } else { 23 };
            prop_assert_eq!(&events[..], &written[..kept]);
            append(&log, 1).await.unwrap();
            Ok(())
        })
    });
    outcome.unwrap();
}
