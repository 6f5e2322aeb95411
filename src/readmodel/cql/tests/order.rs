//! Writes that come twice, late, or cut differently: the newest event always wins.

use super::*;
use crate::conformance::{MIXED, batch, delete, key, mixed, put, space_id, text};
use crate::{Batch, Scan, Write};

fn at(write: Write, at: u64) -> Write {
    batch(vec![write], at + 1).writes.remove(0)
}

async fn commit(space: &dyn crate::Space, writes: Vec<Write>, checkpoint: u64) {
    space.commit(Batch { writes, checkpoint }).await.unwrap();
}

#[tokio::test]
async fn a_late_write_changes_nothing() {
    let keyspace = Keyspace::new("late");
    let (owner, replaced) = (keyspace.connect().await, keyspace.connect().await);
    let space = owner.open(&space_id(1)).await.unwrap();
    let late = replaced.open(&space_id(1)).await.unwrap();
    let (old, new, gone) = (mixed("a", 0, "x", 1), mixed("a", 0, "x", 2), mixed("a", 1, "x", 1));
    let mut nulls = mixed("a", 2, "x", 1);
    nulls[MIXED.key_len()..].fill(crate::Value::Null);

    commit(&*space, vec![at(put(gone.clone()), 3)], 4).await;
    let newest = vec![at(put(new.clone()), 8), at(delete(&gone), 9), at(put(nulls.clone()), 9)];
    commit(&*space, newest, 10).await;
    let digest = space.digest().await.unwrap();

    // All that the replaced owner still held, in one batch and one by one.
    let held = [
        at(put(old), 5),
        at(put(gone.clone()), 6),
        at(put(mixed("a", 2, "x", 1)), 6),
        at(delete(&new), 7),
    ];
    commit(&*late, held.to_vec(), 8).await;
    for (checkpoint, write) in (6..).zip(held) {
        commit(&*late, vec![write], checkpoint).await;
    }
    assert_eq!(space.get(&MIXED, &key(&new)).await.unwrap(), Some(new));
    assert_eq!(space.get(&MIXED, &key(&gone)).await.unwrap(), None);
    assert_eq!(space.get(&MIXED, &key(&nulls)).await.unwrap(), Some(nulls));
    assert_eq!(space.digest().await.unwrap(), digest);
    assert_eq!(space.checkpoint().await.unwrap(), 10);
    assert_eq!(late.checkpoint().await.unwrap(), 10);
}

/// What event `offset` does: puts, and deletes what was put before.
fn writes_of(offset: u64) -> Vec<Write> {
    let row = |n: u64| mixed(&format!("o{}", n % 3), (n % 7) as i64, "x", n as i64);
    let mut writes = vec![at(put(row(offset)), offset)];
    if offset % 4 == 3 {
        writes.push(at(delete(&row(offset - 2)), offset));
    }
    if offset.is_multiple_of(5) {
        writes.push(at(put(mixed("once", offset as i64, "y", 0)), offset));
    }
    writes
}

async fn replay(space: &dyn crate::Space, from: u64, to: u64, each: u64) {
    let mut next = from;
    while next < to {
        let end = (next + each).min(to);
        commit(space, (next..end).flat_map(writes_of).collect(), end).await;
        next = end;
    }
}

#[tokio::test]
async fn a_replay_may_cut_batches_differently() {
    const END: u64 = 60;
    let memory = crate::memory::Store::default().open(&space_id(1)).await.unwrap();
    replay(&*memory, 0, END, 1).await;
    let digest = memory.digest().await.unwrap();

    let keyspace = Keyspace::new("cuts");
    let store = keyspace.connect().await;
    let space = store.open(&space_id(1)).await.unwrap();
    replay(&*space, 0, END, 7).await;
    assert_eq!(space.digest().await.unwrap(), digest);
    for (from, each) in [(0, 1), (0, END), (13, 4), (55, 3)] {
        replay(&*space, from, END, each).await;
        assert_eq!(space.digest().await.unwrap(), digest, "from {from} by {each}");
        assert_eq!(space.checkpoint().await.unwrap(), END);
    }
}

#[tokio::test]
async fn rows_without_their_checkpoint_are_mended_by_a_replay() {
    const END: u64 = 40;
    let keyspace = Keyspace::new("crash");
    let store = keyspace.connect().await;
    let space = store.open(&space_id(1)).await.unwrap();
    replay(&*space, 0, 20, 6).await;
    let view = space.view().await.unwrap();
    // The end came after some of the next rows, and before their checkpoint.
    commit(&*space, (20..33).flat_map(writes_of).collect(), 20).await;
    assert_eq!(view.checkpoint().await.unwrap(), 20);
    assert_eq!(space.checkpoint().await.unwrap(), 20);
    // Newer rows show, also in a view.
    let newest = Scan { prefix: vec![text("o2")], limit: 100, ..Scan::default() };
    let rows = view.scan(&MIXED, newest).await.unwrap();
    assert!(rows.iter().any(|row| row[4] == crate::Value::Int(32)), "{rows:?}");

    let store = keyspace.connect().await;
    let space = store.open(&space_id(1)).await.unwrap();
    let from = space.checkpoint().await.unwrap();
    replay(&*space, from, END, 9).await;
    let memory = crate::memory::Store::default().open(&space_id(1)).await.unwrap();
    replay(&*memory, 0, END, 1).await;
    assert_eq!(space.digest().await.unwrap(), memory.digest().await.unwrap());
}

#[tokio::test]
async fn batches_of_many_rows_and_of_large_ones_arrive_whole() {
    let keyspace = Keyspace::new("large");
    let store = keyspace.connect().await;
    let space = store.open(&space_id(1)).await.unwrap();
    let memory = crate::memory::Store::default().open(&space_id(1)).await.unwrap();
    let mut writes: Vec<_> = (0..3000).map(|i| put(mixed("many", i, "x", i))).collect();
    for (i, bytes) in [60 << 10, 300 << 10, 1 << 20, 10, 40 << 10, 40 << 10].iter().enumerate() {
        let mut row = mixed("large", i as i64, "x", 0);
        row[7] = crate::Value::Json(format!("\"{}\"", "x".repeat(*bytes)).into());
        writes.push(put(row));
    }
    writes.extend((0..500).map(|i| put(mixed(&format!("own{i}"), 0, "x", i))));
    for space in [&space, &memory] {
        space.commit(batch(writes.clone(), 1)).await.unwrap();
    }
    let many = Scan { prefix: vec![text("many")], limit: 2500, reverse: true, ..Scan::default() };
    let rows = space.scan(&MIXED, many.clone()).await.unwrap();
    assert_eq!(rows.len(), 2500);
    assert_eq!(rows, memory.scan(&MIXED, many).await.unwrap());
    let all = Scan { limit: usize::MAX, ..Scan::default() };
    let rows = space.scan(&MIXED, all.clone()).await.unwrap();
    assert!(rows == memory.scan(&MIXED, all.clone()).await.unwrap());
    let reversed = Scan { reverse: true, limit: 700, after: Some(key(&rows[2800])), ..all };
    let found = space.scan(&MIXED, reversed.clone()).await.unwrap();
    assert!(found == memory.scan(&MIXED, reversed).await.unwrap());
    assert_eq!(space.digest().await.unwrap(), memory.digest().await.unwrap());
}
