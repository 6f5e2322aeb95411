//! Spaces side by side: partitions, consumers and generations, active ones, removed ones, and what
//! a store keeps when it is opened again.

use std::future::Future;

use domain::PartitionId;

use super::{ALIKE, MIXED, OTHERS, bare, below, key, mixed, put, space_id, store};
use crate::{Batch, Error, Scan, SpaceId, Store, Write};

pub(super) async fn spaces(store_: &dyn Store) {
    let other_partition = SpaceId { partition: PartitionId(30), ..space_id(1) };
    let other_consumer = SpaceId { consumer: "thing", ..space_id(1) };
    let ids = [space_id(1), space_id(2), space_id(10), other_partition, other_consumer];
    // What the first key column says belongs to one partition only, so engines may keep all
    // partitions' rows in one table.
    let owner = |id: &SpaceId| if id.partition == PartitionId(30) { OTHERS } else { "a" };
    let table = |id: &SpaceId| if id.consumer == "thing" { &ALIKE } else { &MIXED };
    for (i, id) in ids.iter().enumerate() {
        let space = store_.open(id).await.unwrap();
        let row = mixed(owner(id), 0, "x", i as i64);
        let put = Write::Put { table: table(id), row, offset: 0 };
        store(&*space, vec![put], i as u64 + 1).await;
    }
    for (i, id) in ids.iter().enumerate() {
        let space = store_.open(id).await.unwrap();
        let row = mixed(owner(id), 0, "x", i as i64);
        for scan in [below(owner(id)), Scan { limit: 9, ..Scan::default() }] {
            let rows = space.scan(table(id), scan).await.unwrap();
            assert_eq!(rows, std::slice::from_ref(&row), "{id}");
        }
        assert_eq!(space.checkpoint().await.unwrap(), i as u64 + 1);
    }
    let digests = [0, 3].map(|i| {
        let space = store_.open(&ids[i]);
        async { space.await.unwrap().digest().await.unwrap() }
    });
    let [one, other] = digests;
    assert_ne!(one.await, other.await);
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

pub(super) async fn generations(store_: &dyn Store) {
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
