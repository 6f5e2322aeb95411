//! What every store must do, as one suite that each engine's tests run.
//! Tables here are made to be awkward: keys of every kind, rows of every kind, nothing but a key.

mod model;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use domain::PartitionId;

use crate::table::{Column, Kind};
use crate::{Batch, Error, Row, Scan, Space, SpaceId, Store, Table, Value, Write};

pub(crate) use model::random_batches;

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// Keys of both kinds, columns of every kind.
pub(crate) static MIXED: Table = Table {
    number: 7,
    name: "mixed",
    partition_key: &[column("owner", Kind::Text)],
    clustering_key: &[column("rank", Kind::Int), column("name", Kind::Text)],
    columns: &[
        column("title", Kind::Text),
        column("count", Kind::Int),
        column("seen_at", Kind::Time),
        column("open", Kind::Bool),
        column("body", Kind::Json),
    ],
};

/// Nothing but a key.
pub(crate) static BARE: Table = Table {
    number: 8,
    name: "bare",
    partition_key: &[column("name", Kind::Text)],
    clustering_key: &[],
    columns: &[],
};

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(crate) fn mixed(owner: &str, rank: i64, name: &str, count: i64) -> Row {
    vec![
        text(owner),
        Value::Int(rank),
        text(name),
        text("tïtle"),
        Value::Int(count),
        Value::Int(-5),
        Value::Bool(count % 2 == 0),
        Value::Json(Bytes::from(format!("{{\"n\":{count}}}"))),
    ]
}

pub(crate) fn put(row: Row) -> Write {
    Write::Put { table: &MIXED, row }
}

fn bare(name: &str) -> Write {
    Write::Put { table: &BARE, row: vec![text(name)] }
}

fn key(row: &Row) -> Vec<Value> {
    row[..MIXED.key_len()].to_vec()
}

pub(crate) fn space_id(generation: u32) -> SpaceId {
    SpaceId { consumer: "things", partition: PartitionId(3), generation }
}

async fn store(space: &dyn Space, writes: Vec<Write>, checkpoint: u64) {
    space.commit(Batch { writes, checkpoint }).await.unwrap();
}

fn below(owner: &str) -> Scan {
    Scan { prefix: vec![text(owner)], limit: 1000, ..Scan::default() }
}

/// Everything that holds without reopening. `open` gives a new, empty store each time.
pub(crate) async fn every_store<S, F>(open: impl Fn() -> F)
where
    S: Store,
    F: Future<Output = S>,
{
    rows(&open().await).await;
    order_of_ints(&open().await).await;
    order_of_texts(&open().await).await;
    scans(&open().await).await;
    whole_table(&open().await).await;
    batches(&open().await).await;
    misfits(&open().await).await;
    views(&open().await).await;
    spaces(&open().await).await;
    generations(&open().await).await;
    digests(&open().await).await;
}

async fn rows(store_: &dyn Store) {
    let space = store_.open(&space_id(1)).await.unwrap();
    let row = mixed("a", 1, "x", 7);
    assert_eq!(space.get(&MIXED, &key(&row)).await.unwrap(), None);
    store(&*space, vec![put(row.clone())], 1).await;
    assert_eq!(space.get(&MIXED, &key(&row)).await.unwrap(), Some(row.clone()));
    assert_eq!(space.checkpoint().await.unwrap(), 1);

    let mut nulls = row.clone();
    nulls[MIXED.key_len()..].fill(Value::Null);
    store(&*space, vec![put(nulls.clone())], 2).await;
    assert_eq!(space.get(&MIXED, &key(&row)).await.unwrap(), Some(nulls));

    let delete = || Write::Delete { table: &MIXED, key: key(&row) };
    store(&*space, vec![delete()], 3).await;
    assert_eq!(space.get(&MIXED, &key(&row)).await.unwrap(), None);
    store(&*space, vec![delete()], 4).await;
    assert_eq!(space.checkpoint().await.unwrap(), 4);

    let mut extremes = mixed("", i64::MIN, "", i64::MAX);
    extremes[5] = Value::Int(i64::MIN);
    extremes[7] = Value::Json(Bytes::new());
    store(&*space, vec![put(extremes.clone()), bare("")], 5).await;
    assert_eq!(space.get(&MIXED, &key(&extremes)).await.unwrap(), Some(extremes));
    assert_eq!(space.get(&BARE, &[text("")]).await.unwrap(), Some(vec![text("")]));
}

async fn order_of_ints(store_: &dyn Store) {
    let space = store_.open(&space_id(1)).await.unwrap();
    let ranks = [i64::MIN, -256, -255, -1, 0, 1, 255, 256, i64::MAX];
    let shuffled = [4, 0, 8, 2, 6, 1, 7, 3, 5];
    let writes = shuffled.iter().map(|i| put(mixed("a", ranks[*i], "x", 0))).collect();
    store(&*space, writes, 1).await;
    let found = space.scan(&MIXED, below("a")).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(found, ranks.map(Value::Int));
}

async fn order_of_texts(store_: &dyn Store) {
    let space = store_.open(&space_id(1)).await.unwrap();
    let names = ["", "\0", "\0\0", "\0a", "\u{1}", "a", "a\0", "a\0b", "aa", "ab", "z", "ä", "字"];
    let writes = names.iter().rev().map(|name| put(mixed("a", 0, name, 0))).collect();
    store(&*space, writes, 1).await;
    let found = space.scan(&MIXED, below("a")).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|row| row[2].clone()).collect();
    assert_eq!(found, names.map(text));
}

async fn scans(store_: &dyn Store) {
    let space = store_.open(&space_id(1)).await.unwrap();
    let mut rows = Vec::new();
    for owner in ["a", "a\0", "ab", "b"] {
        for rank in -2..3 {
            for name in ["x", "y"] {
                rows.push(mixed(owner, rank, name, rank));
            }
        }
    }
    store(&*space, rows.iter().cloned().map(put).collect(), 1).await;
    for owner in 0..4 {
        let own = &rows[owner * 10..][..10];
        let Value::Text(name) = &own[0][0] else { unreachable!() };
        let scan = |after: Option<&Row>, reverse, limit| {
            let scan = Scan { after: after.map(key), reverse, limit, ..below(name) };
            let space = Arc::clone(&space);
            async move { space.scan(&MIXED, scan).await.unwrap() }
        };
        let reversed: Vec<_> = own.iter().rev().cloned().collect();
        assert_eq!(scan(None, false, 1000).await, own);
        assert_eq!(scan(None, false, 3).await, own[..3]);
        assert_eq!(scan(None, false, 0).await, own[..0]);
        assert_eq!(scan(None, true, 3).await, reversed[..3]);
        for at in 0..10 {
            assert_eq!(scan(Some(&own[at]), false, 4).await, own[at + 1..(at + 5).min(10)]);
            assert_eq!(scan(Some(&own[at]), true, 1000).await, reversed[10 - at..]);
        }
        // Past either end of the prefix, and where no row is.
        assert_eq!(scan(Some(&rows[0]), false, 1000).await, own[usize::from(owner == 0)..]);
        assert_eq!(scan(Some(&mixed(name, 0, "xx", 0)), false, 1).await, own[5..6]);
        let last = scan(Some(&rows[39]), false, 1000).await;
        assert!(last.is_empty(), "{last:?}");
        let first = scan(Some(&mixed("", 0, "", 0)), true, 1000).await;
        assert!(first.is_empty(), "{first:?}");
    }
    let deeper = Scan { prefix: vec![text("ab"), Value::Int(-1)], limit: 9, ..Scan::default() };
    assert_eq!(space.scan(&MIXED, deeper).await.unwrap(), rows[22..24]);
    assert!(space.scan(&MIXED, below("nobody")).await.unwrap().is_empty());
}

async fn whole_table(store_: &dyn Store) {
    let space = store_.open(&space_id(1)).await.unwrap();
    let names = ["a", "b", "c", "d"];
    let mut writes: Vec<_> = names.iter().map(|name| bare(name)).collect();
    writes.push(put(mixed("a", 0, "x", 0)));
    store(&*space, writes, 1).await;
    let all = Scan { limit: 3, ..Scan::default() };
    let first = space.scan(&BARE, all.clone()).await.unwrap();
    let rest = Scan { after: first.last().cloned(), ..all };
    let rest = space.scan(&BARE, rest).await.unwrap();
    let found: Vec<_> = first.into_iter().chain(rest).flatten().collect();
    assert_eq!(found, names.map(text));
}

async fn batches(store_: &dyn Store) {
    let space = store_.open(&space_id(1)).await.unwrap();
    let (a, b) = (mixed("a", 0, "x", 1), mixed("a", 0, "x", 2));
    let delete = || Write::Delete { table: &MIXED, key: key(&a) };
    store(&*space, vec![put(a.clone()), delete(), put(b.clone())], 1).await;
    assert_eq!(space.get(&MIXED, &key(&a)).await.unwrap(), Some(b));
    store(&*space, vec![put(a.clone()), delete()], 2).await;
    assert_eq!(space.get(&MIXED, &key(&a)).await.unwrap(), None);
    store(&*space, Vec::new(), 3).await;
    assert_eq!(space.checkpoint().await.unwrap(), 3);
}

async fn misfits(store_: &dyn Store) {
    let space = store_.open(&space_id(1)).await.unwrap();
    store(&*space, vec![bare("kept")], 5).await;
    let good = mixed("a", 0, "x", 1);
    let mut wrong_kind = good.clone();
    wrong_kind[4] = text("4");
    let mut null_key = good.clone();
    null_key[0] = Value::Null;
    let mut long_key = good.clone();
    long_key[0] = text(&"k".repeat(70_000));
    let short = good[..5].to_vec();
    for bad in [wrong_kind, null_key, long_key, short, Vec::new()] {
        let batch = Batch { writes: vec![bare("lost"), put(bad)], checkpoint: 6 };
        let refused = space.commit(batch).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    let half_key = Write::Delete { table: &MIXED, key: vec![text("a")] };
    let batch = Batch { writes: vec![bare("lost"), half_key], checkpoint: 6 };
    assert!(matches!(space.commit(batch).await, Err(Error::Invalid { .. })));
    let half_key = space.get(&MIXED, &[text("a")]).await;
    assert!(matches!(half_key, Err(Error::Invalid { .. })));
    assert_eq!(space.get(&BARE, &[text("lost")]).await.unwrap(), None);
    assert_eq!(space.checkpoint().await.unwrap(), 5);
}

async fn views(store_: &dyn Store) {
    let space = store_.open(&space_id(1)).await.unwrap();
    let empty = space.view();
    let (old, new) = (mixed("a", 0, "x", 1), mixed("a", 0, "x", 2));
    store(&*space, vec![put(old.clone()), put(mixed("a", 1, "x", 1))], 1).await;
    let view = space.view();
    let gone = Write::Delete { table: &MIXED, key: key(&mixed("a", 1, "x", 1)) };
    store(&*space, vec![put(new.clone()), gone, put(mixed("a", 2, "x", 1))], 2).await;

    assert_eq!(empty.checkpoint().await.unwrap(), 0);
    assert!(empty.scan(&MIXED, below("a")).await.unwrap().is_empty());
    assert_eq!(view.checkpoint().await.unwrap(), 1);
    assert_eq!(view.get(&MIXED, &key(&old)).await.unwrap(), Some(old.clone()));
    let seen = view.scan(&MIXED, below("a")).await.unwrap();
    assert_eq!(seen, [old, mixed("a", 1, "x", 1)]);
    let seen = space.view().scan(&MIXED, below("a")).await.unwrap();
    assert_eq!(seen, [new, mixed("a", 2, "x", 1)]);
}

async fn spaces(store_: &dyn Store) {
    let other_partition = SpaceId { partition: PartitionId(30), ..space_id(1) };
    let other_consumer = SpaceId { consumer: "thing", ..space_id(1) };
    let ids = [space_id(1), space_id(2), space_id(10), other_partition, other_consumer];
    for (i, id) in ids.iter().enumerate() {
        let space = store_.open(id).await.unwrap();
        store(&*space, vec![put(mixed("a", 0, "x", i as i64))], i as u64).await;
    }
    for (i, id) in ids.iter().enumerate() {
        let space = store_.open(id).await.unwrap();
        let rows = space.scan(&MIXED, below("a")).await.unwrap();
        assert_eq!(rows, [mixed("a", 0, "x", i as i64)], "{id}");
        assert_eq!(space.checkpoint().await.unwrap(), i as u64);
    }
    assert_eq!(store_.list("things").await.unwrap(), ids[..4]);
    assert_eq!(store_.list("thing").await.unwrap(), ids[4..]);
    assert!(store_.list("thin").await.unwrap().is_empty());

    let dropped = store_.open(&ids[1]).await.unwrap();
    store_.remove(&ids[1]).await.unwrap();
    store_.remove(&ids[1]).await.unwrap();
    assert_eq!(store_.list("things").await.unwrap(), [&ids[..1], &ids[2..4]].concat());
    let refused = dropped.commit(Batch::default()).await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    let again = store_.open(&ids[1]).await.unwrap();
    assert!(again.scan(&MIXED, below("a")).await.unwrap().is_empty());
    assert_eq!(again.checkpoint().await.unwrap(), 0);
    store(&*again, vec![bare("x")], 1).await;
}

async fn generations(store_: &dyn Store) {
    let active = |partition| store_.active("things", PartitionId(partition));
    assert_eq!(active(3).await.unwrap(), None);
    store_.open(&space_id(1)).await.unwrap();
    store_.activate(&space_id(1)).await.unwrap();
    assert_eq!(active(3).await.unwrap(), Some(1));
    store_.activate(&space_id(7)).await.unwrap();
    assert_eq!(active(3).await.unwrap(), Some(7));
    assert_eq!(active(30).await.unwrap(), None);
    assert_eq!(store_.active("thing", PartitionId(3)).await.unwrap(), None);
}

async fn digests(store_: &dyn Store) {
    let row = mixed("a", 0, "x", 1);
    let changed = |at: usize, value| {
        let mut row = row.clone();
        row[at] = value;
        vec![put(row)]
    };
    let contents = [
        vec![],
        vec![put(row.clone())],
        vec![put(row.clone()), bare("")],
        vec![put(row.clone()), put(mixed("a", 0, "y", 1))],
        vec![bare("a"), bare("b")],
        vec![bare("ab")],
        changed(0, text("b")),
        changed(1, Value::Int(1)),
        changed(2, text("")),
        changed(3, text("")),
        changed(3, Value::Null),
        changed(4, Value::Int(-1)),
        changed(5, Value::Int(5)),
        changed(6, Value::Bool(true)),
        changed(7, Value::Json(Bytes::from_static(b"{}"))),
        changed(7, Value::Null),
    ];
    let mut seen = Vec::new();
    for (generation, writes) in (1..).zip(contents) {
        let space = store_.open(&space_id(generation)).await.unwrap();
        store(&*space, writes.clone(), 1).await;
        let digest = space.digest().await.unwrap();
        assert!(!seen.contains(&digest), "{generation}");
        seen.push(digest);
        // Neither the checkpoint counts, nor how the rows came to be.
        store(&*space, vec![put(mixed("passing", 0, "", 0))], 2).await;
        let passing = key(&mixed("passing", 0, "", 0));
        store(&*space, vec![Write::Delete { table: &MIXED, key: passing }], 3).await;
        assert_eq!(space.digest().await.unwrap(), digest);
        // And every engine gives the same.
        let memory = crate::memory::Store::default();
        let same = memory.open(&space_id(1)).await.unwrap();
        store(&*same, writes.into_iter().rev().collect(), 9).await;
        assert_eq!(same.digest().await.unwrap(), digest);
    }
}

/// For stores that outlive the process: what was stored is there again. `open` must open the same
/// store each time.
pub(crate) async fn durable_store<S, F>(open: impl Fn() -> F)
where
    S: Store,
    F: Future<Output = S>,
{
    let row = mixed("a", 0, "x", 1);
    let mut digest = None;
    for close in [true, false, true, true] {
        let store_ = open().await;
        let space = store_.open(&space_id(2)).await.unwrap();
        if let Some(digest) = digest {
            assert_eq!(store_.active("things", PartitionId(3)).await.unwrap(), Some(2));
            assert_eq!(store_.list("things").await.unwrap(), [space_id(2)]);
            assert_eq!(space.get(&MIXED, &key(&row)).await.unwrap(), Some(row.clone()));
            assert_eq!(space.digest().await.unwrap(), digest);
        }
        let checkpoint = space.checkpoint().await.unwrap();
        store(
            &*space,
            vec![put(row.clone()), put(mixed("n", checkpoint as i64, "", 0))],
            checkpoint + 1,
        )
        .await;
        assert_eq!(space.scan(&MIXED, below("n")).await.unwrap().len() as u64, checkpoint + 1);
        store_.open(&space_id(1)).await.unwrap();
        store_.activate(&space_id(2)).await.unwrap();
        store_.remove(&space_id(1)).await.unwrap();
        digest = Some(space.digest().await.unwrap());
        if close {
            store_.close().await.unwrap();
            store_.close().await.unwrap();
            assert!(matches!(space.commit(Batch::default()).await, Err(Error::Closed)));
        }
    }
}
