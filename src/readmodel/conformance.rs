//! What every store must do, as one suite that each engine's tests run.
//! Tables here are made to be awkward: keys of every kind, rows of every kind, nothing but a key.

mod model;
mod spaces;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use domain::{Offset, PartitionId};

use crate::table::{Column, Kind};
use crate::{Batch, Error, Row, Scan, Space, SpaceId, Store, Table, Value, Write};

pub(crate) use model::random_batches;
pub(crate) use spaces::durable_store;
use spaces::{generations, spaces};

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
    short_lived: false,
};

/// As [`MIXED`], of another consumer.
static ALIKE: Table = Table { name: "alike", ..MIXED };

/// Rows whose first key column begins with this belong to partition 30, and all others to 3.
const OTHERS: &str = "p30";

/// Whether rows whose first key column is `text` belong to a partition.
#[cfg(feature = "cql")]
pub(crate) fn belongs(text: &str, partition: PartitionId) -> bool {
    partition == PartitionId(if text.starts_with(OTHERS) { 30 } else { 3 })
}

/// The tables of each consumer here.
#[cfg(feature = "cql")]
pub(crate) const TABLES: [crate::Declared; 2] = [
    crate::Declared { consumer: "things", version: 0, tables: &[&MIXED, &BARE] },
    crate::Declared { consumer: "thing", version: 0, tables: &[&ALIKE] },
];

/// Nothing but a key.
pub(crate) static BARE: Table = Table {
    number: 8,
    name: "bare",
    partition_key: &[column("name", Kind::Text)],
    clustering_key: &[],
    columns: &[],
    short_lived: true,
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
    Write::Put { table: &MIXED, row, offset: 0 }
}

pub(crate) fn delete(row: &Row) -> Write {
    Write::Delete { table: &MIXED, key: key(row), offset: 0 }
}

fn bare(name: &str) -> Write {
    Write::Put { table: &BARE, row: vec![text(name)], offset: 0 }
}

/// A batch of one event, the last before `checkpoint`, which caused all its writes.
pub(crate) fn batch(mut writes: Vec<Write>, checkpoint: Offset) -> Batch {
    for write in &mut writes {
        match write {
            Write::Put { offset, .. } | Write::Delete { offset, .. } => *offset = checkpoint - 1,
        }
    }
    Batch { writes, checkpoint }
}

pub(crate) fn key(row: &Row) -> Vec<Value> {
    row[..MIXED.key_len()].to_vec()
}

pub(crate) fn space_id(generation: u32) -> SpaceId {
    SpaceId { consumer: "things", partition: PartitionId(3), generation }
}

async fn store(space: &dyn Space, writes: Vec<Write>, checkpoint: Offset) {
    space.commit(batch(writes, checkpoint)).await.unwrap();
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

    store(&*space, vec![delete(&row)], 3).await;
    assert_eq!(space.get(&MIXED, &key(&row)).await.unwrap(), None);
    store(&*space, vec![delete(&row)], 4).await;
    assert_eq!(space.checkpoint().await.unwrap(), 4);

    // No empty text as the whole partition key: CQL can't have it, and our ids are never empty.
    let mut extremes = mixed("\0", i64::MIN, "", i64::MAX);
    extremes[5] = Value::Int(i64::MIN);
    extremes[7] = Value::Json(Bytes::new());
    store(&*space, vec![put(extremes.clone()), bare("\0")], 5).await;
    assert_eq!(space.get(&MIXED, &key(&extremes)).await.unwrap(), Some(extremes));
    assert_eq!(space.get(&BARE, &[text("\0")]).await.unwrap(), Some(vec![text("\0")]));
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
    store(&*space, vec![put(a.clone()), delete(&a), put(b.clone())], 1).await;
    assert_eq!(space.get(&MIXED, &key(&a)).await.unwrap(), Some(b));
    store(&*space, vec![put(a.clone()), delete(&a)], 2).await;
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
        let refused = space.commit(batch(vec![bare("lost"), put(bad)], 6)).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    let half_key = Write::Delete { table: &MIXED, key: vec![text("a")], offset: 5 };
    let half_key = batch(vec![bare("lost"), half_key], 6);
    assert!(matches!(space.commit(half_key).await, Err(Error::Invalid { .. })));
    let half_key = space.get(&MIXED, &[text("a")]).await;
    assert!(matches!(half_key, Err(Error::Invalid { .. })));
    assert_eq!(space.get(&BARE, &[text("lost")]).await.unwrap(), None);
    assert_eq!(space.checkpoint().await.unwrap(), 5);
}

async fn views(store_: &dyn Store) {
    let space = store_.open(&space_id(1)).await.unwrap();
    let empty = space.view().await.unwrap();
    let (old, new) = (mixed("a", 0, "x", 1), mixed("a", 0, "x", 2));
    store(&*space, vec![put(old.clone()), put(mixed("a", 1, "x", 1))], 1).await;
    let view = space.view().await.unwrap();
    let gone = delete(&mixed("a", 1, "x", 1));
    store(&*space, vec![put(new.clone()), gone, put(mixed("a", 2, "x", 1))], 2).await;

    let newest = [new.clone(), mixed("a", 2, "x", 1)];
    assert_eq!(empty.checkpoint().await.unwrap(), 0);
    assert_eq!(view.checkpoint().await.unwrap(), 1);
    assert_eq!(view.is_exact(), space.is_exact());
    let seen_empty = empty.scan(&MIXED, below("a")).await.unwrap();
    let row = view.get(&MIXED, &key(&old)).await.unwrap();
    let seen = view.scan(&MIXED, below("a")).await.unwrap();
    if space.is_exact() {
        assert!(seen_empty.is_empty());
        assert_eq!(row, Some(old.clone()));
        assert_eq!(seen, [old, mixed("a", 1, "x", 1)]);
    } else {
        assert_eq!(seen_empty, newest);
        assert_eq!(row, Some(new));
        assert_eq!(seen, newest);
    }
    let view = space.view().await.unwrap();
    assert_eq!(view.checkpoint().await.unwrap(), 2);
    assert_eq!(view.scan(&MIXED, below("a")).await.unwrap(), newest);
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
        vec![put(row.clone()), bare("\0")],
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
        let passing = mixed("passing", 0, "", 0);
        store(&*space, vec![delete(&passing)], 3).await;
        assert_eq!(space.digest().await.unwrap(), digest);
        // And every engine gives the same.
        let memory = crate::memory::Store::default();
        let same = memory.open(&space_id(1)).await.unwrap();
        store(&*same, writes.into_iter().rev().collect(), 9).await;
        assert_eq!(same.digest().await.unwrap(), digest);
    }
}
