//! A process that commits as fast as it can is killed, again and again: rows and checkpoint must
//! come back together, and nothing that was committed may be missing.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Options, Store};
use crate::conformance::{self, MIXED, delete, mixed, put, space_id, text};
use crate::{Batch, Scan, Store as _, Value};

const DIR: &str = "READMODEL_CRASH_DIR";
const KILLS: u64 = 6;
/// Each batch puts this many rows and deletes those of this many batches ago.
const ROWS: u64 = 20;
const KEPT_BATCHES: u64 = 100;

fn options(dir: &Path) -> Options {
    // Small memtables, so that kills hit flushes and compactions too.
    Options { memtable_bytes: 64 << 10, worker_threads: 2, ..Options::new(dir) }
}

fn batch(number: u64) -> Batch {
    let row = |batch: u64, i: u64| mixed("a", batch as i64, &i.to_string(), batch as i64);
    let mut writes: Vec<_> = (0..ROWS).map(|i| put(row(number, i))).collect();
    if let Some(old) = number.checked_sub(KEPT_BATCHES) {
        writes.extend((0..ROWS).map(|i| delete(&row(old, i))));
    }
    conformance::batch(writes, number + 1)
}

/// Not a test of its own: what the killed process runs.
#[tokio::test]
async fn commit_until_killed() {
    let Ok(dir) = env::var(DIR) else { return };
    let store = Store::open(options(&PathBuf::from(dir))).unwrap();
    let space = store.open(&space_id(1)).await.unwrap();
    loop {
        let number = space.checkpoint().await.unwrap();
        space.commit(batch(number)).await.unwrap();
        println!("committed {}", number + 1);
    }
}

fn start(dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "embedded::crash_tests::commit_until_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the process after it has reported `after` commits; what it reported last.
fn run_and_kill(dir: &Path, after: u64) -> u64 {
    let mut child = start(dir);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let mut seen = 0;
    while seen < after {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the child ended by itself");
        seen += u64::from(line.starts_with("committed"));
    }
    thread::sleep(Duration::from_micros(after * 37 % 1000));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    let last = |text: &str| {
        // The last line may have been cut off.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().rev().find_map(|line| line.strip_prefix("committed ")?.parse().ok())
    };
    last(&rest).or_else(|| last(&line)).unwrap()
}

async fn check(dir: &Path, committed: u64) -> u64 {
    let store = Store::open(options(dir)).unwrap();
    let space = store.open(&space_id(1)).await.unwrap();
    let checkpoint = space.checkpoint().await.unwrap();
    assert!(checkpoint >= committed, "{checkpoint} < {committed}");
    let scan = Scan { prefix: vec![text("a")], limit: usize::MAX, ..Scan::default() };
    let rows = space.scan(&MIXED, scan).await.unwrap();
    let kept = checkpoint.saturating_sub(KEPT_BATCHES)..checkpoint;
    assert_eq!(rows.len() as u64, (kept.end - kept.start) * ROWS);
    for row in rows {
        let (Value::Int(batch), Value::Int(count)) = (&row[1], &row[4]) else { unreachable!() };
        assert!(kept.contains(&(*batch as u64)) && batch == count, "{batch} {count}");
    }
    checkpoint
}

#[tokio::test]
async fn rows_and_checkpoint_survive_kills_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoint = 0;
    for kill in 1..=KILLS {
        let committed = run_and_kill(dir.path(), kill * 61 % 200 + 20);
        assert!(committed > checkpoint);
        checkpoint = check(dir.path(), committed).await;
    }
}
