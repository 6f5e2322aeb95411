//! A repeat gets the first answer: at once, in the same batch, after a restart; and a misuse is
//! told.

use std::sync::Arc;

use bytes::Bytes;
use domain::documents::Op;
use domain::rejected::Reason;
use domain::{Event, PartitionId, Position, Recorded, Timestamp};
use engine::Error;
use readmodel::documents::get_idempotency;
use readmodel::{Batch, SpaceId, Store as _};

use crate::testing::{Disk, commit, create_project, project, write};

fn create(name: &str) -> Vec<domain::documents::Write> {
    vec![write(name, Op::Create(Bytes::from_static(b"{}")))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_gets_the_first_answer_also_after_a_restart() {
    let disk = Disk::new();
    let engine = disk.start().await;
    create_project(&engine).await;
    let first = commit(&engine, create("a"), Some(("k", 1))).await.unwrap();
    assert!(!first.replayed);
    let again = commit(&engine, create("a"), Some(("k", 1))).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.events, first.events);
    engine.stop().await.unwrap();

    let engine = disk.start().await;
    let again = commit(&engine, create("a"), Some(("k", 1))).await.unwrap();
    assert_eq!(again.events, first.events);
    let other = commit(&engine, create("b"), Some(("k", 2))).await.unwrap_err();
    assert!(
        matches!(&other, Error::Rejected(r) if r.reason == Reason::IdempotencyKeyReused),
        "{other}"
    );
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_at_the_same_moment_are_one_write() {
    let engine = Disk::new().start().await;
    create_project(&engine).await;
    let writes = || [create("a"), create("b")].concat();
    let key = || Some(("k", 1));
    let all = futures_util::future::join_all((0..20).map(|_| commit(&engine, writes(), key())));
    let all: Vec<_> = all.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|one| !one.replayed).count(), 1);
    assert!(all.iter().all(|one| one.events == all[0].events && one.events.len() == 2));
    engine.stop().await.unwrap();
}

/// What an older version left is not read: its tables lack what this one needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_an_older_version_are_filled_anew() {
    let disk = Disk::new();
    let engine = disk.start().await;
    create_project(&engine).await;
    let first = commit(&engine, create("a"), Some(("k", 1))).await.unwrap();
    engine.stop().await.unwrap();
    let newer = disk.store.list("idempotency").await.unwrap();
    for id in &newer {
        let older = SpaceId { generation: 1 << 16, ..id.clone() };
        let checkpoint = disk.store.open(id).await.unwrap().checkpoint().await.unwrap();
        let space = disk.store.open(&older).await.unwrap();
        space.commit(Batch { writes: Vec::new(), checkpoint }).await.unwrap();
        disk.store.activate(&older).await.unwrap();
        disk.store.remove(id).await.unwrap();
    }

    let engine = disk.start().await;
    let again = commit(&engine, create("a"), Some(("k", 1))).await.unwrap();
    assert_eq!((again.replayed, again.events), (true, first.events));
    assert_eq!(disk.store.list("idempotency").await.unwrap(), newer);
    engine.stop().await.unwrap();
}

/// A key that is used again after a day is a new use, and that one must be remembered.
#[tokio::test]
async fn a_key_used_again_after_a_day_is_remembered_again() {
    let store = readmodel::memory::Store::default();
    let id = SpaceId { consumer: "idempotency", partition: PartitionId(0), generation: 1 };
    let space = store.open(&id).await.unwrap();
    let event_id = domain::command::event_id_for_key(&project(), "daily", 0);
    let mut projection = super::make();
    for (offset, hours) in [(0, 0), (1, 25), (2, 50)] {
        let event = Event {
            id: event_id,
            time: Timestamp::from_micros(hours * 3_600_000_000),
            fingerprint: Some(1),
            ..eventlog::conformance::event(project().as_str(), offset, 2)
        };
        let position = Position { partition: PartitionId(0), offset };
        let events = [Arc::new(Recorded { position, event })];
        let mut writes = Vec::new();
        projection.apply(&events, &*space, &mut writes).await.unwrap();
        space.commit(Batch { writes, checkpoint: offset + 1 }).await.unwrap();
        let entry = get_idempotency(&*space, &project(), event_id).await.unwrap();
        assert_eq!(entry.map(|entry| entry.offset), Some(offset));
    }
}
