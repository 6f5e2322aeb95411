//! The embedded store against the suite, and what is its own: locks, damage, wiping.

use std::cell::Cell;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::conformance::{self, mixed, put, space_id};
use crate::{Batch, Store as _};

fn options(dir: &Path) -> Options {
    Options { cache_bytes: 1 << 20, ..Options::new(dir) }
}

/// Opens a store in a new folder of its own each time.
struct Fresh(TempDir, Cell<u32>);

impl Fresh {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), Cell::new(0))
    }

    async fn open(&self) -> Store {
        self.1.set(self.1.get() + 1);
        Store::open(options(&self.0.path().join(self.1.get().to_string()))).unwrap()
    }
}

#[tokio::test]
async fn conforms() {
    let fresh = Fresh::new();
    conformance::every_store(|| fresh.open()).await;
}

#[test]
fn agrees_with_the_model() {
    let fresh = Fresh::new();
    conformance::random_batches(40, || fresh.open());
}

#[tokio::test]
async fn keeps_what_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    conformance::durable_store(|| async { Store::open(options(dir.path())).unwrap() }).await;
}

#[tokio::test]
async fn a_store_in_use_is_neither_opened_nor_wiped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Store::open(options(&path)).unwrap();
    let space = store.open(&space_id(1)).await.unwrap();
    let batch = Batch { writes: vec![put(mixed("a", 0, "x", 1))], checkpoint: 4 };
    space.commit(batch).await.unwrap();
    assert!(matches!(Store::open(options(&path)), Err(Error::Locked { .. })));
    assert!(matches!(wipe(&path), Err(Error::Locked { .. })));
    assert_eq!(space.checkpoint().await.unwrap(), 4);
    drop(store);
    // A space keeps the folder locked as the store does.
    assert!(matches!(wipe(&path), Err(Error::Locked { .. })));
    drop(space);
    wipe(&path).unwrap();
    wipe(&path).unwrap();
    let store = Store::open(options(&path)).unwrap();
    assert!(store.list("things").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_damaged_store_is_unopenable_until_wiped() {
    for damaged in ["version", "keyspaces/0/current", "keyspaces/2/current"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let store = Store::open(options(&path)).unwrap();
        let space = store.open(&space_id(1)).await.unwrap();
        space.commit(Batch { writes: vec![], checkpoint: 4 }).await.unwrap();
        store.close().await.unwrap();
        drop((store, space));
        fs::write(path.join(damaged), b"damaged!").unwrap();
        let refused = Store::open(options(&path)).map(drop);
        assert!(matches!(refused, Err(Error::Unopenable { .. })), "{damaged}: {refused:?}");
        wipe(&path).unwrap();
        let store = Store::open(options(&path)).unwrap();
        let space = store.open(&space_id(1)).await.unwrap();
        assert_eq!(space.checkpoint().await.unwrap(), 0, "{damaged}");
    }
}

#[tokio::test]
async fn a_clean_end_leaves_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let store = Store::open(options(dir.path())).unwrap();
        let space = store.open(&space_id(1)).await.unwrap();
        assert_eq!(space.checkpoint().await.unwrap(), round - 1);
        let writes = (0..500).map(|i| put(mixed("a", i, "x", round as i64))).collect();
        space.commit(Batch { writes, checkpoint: round }).await.unwrap();
        let digest = space.digest().await.unwrap();
        store.close().await.unwrap();
        assert_eq!(space.digest().await.unwrap(), digest);
        let journals = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        let bytes: u64 = journals
            .filter(|entry| entry.path().extension().is_some_and(|x| x == "jnl"))
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        assert_eq!(bytes, 0);
    }
}

#[test]
fn only_names_of_spaces_are_taken_for_spaces() {
    assert_eq!(parse(&space_id(12).to_string(), "things"), Some(space_id(12)));
    for name in ["meta", "things", "things-p3", "things-p3-g", "thing-p3-g1", "things-px-g1"] {
        assert_eq!(parse(name, "things"), None, "{name}");
    }
}

#[tokio::test]
async fn commits_that_outrun_the_flushes_wait_for_them() {
    const ROWS: i64 = 4000;
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(Options { memtable_bytes: 16 << 10, ..options(dir.path()) }).unwrap();
    let store = open();
    let space = store.open(&space_id(1)).await.unwrap();
    for i in 0..ROWS {
        let writes = vec![put(mixed("a", i, "x", i))];
        space.commit(Batch { writes, checkpoint: i as u64 + 1 }).await.unwrap();
    }
    let digest = space.digest().await.unwrap();
    store.close().await.unwrap();
    drop((store, space));
    let store = open();
    let space = store.open(&space_id(1)).await.unwrap();
    assert_eq!(space.checkpoint().await.unwrap(), ROWS as u64);
    assert_eq!(space.digest().await.unwrap(), digest);
}
