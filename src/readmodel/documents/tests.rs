//! Typed rows, there and back, over the memory store.

use std::sync::Arc;

use bytes::Bytes;
use domain::{DocumentId, EventType, PartitionId, ProjectId, Timestamp};
use uuid::Uuid;

use super::*;
use crate::{Batch, Error, Space, SpaceId, Store, Value, Write, memory};

async fn space() -> Arc<dyn Space> {
    let id = SpaceId { consumer: "documents", partition: PartitionId(0), generation: 1 };
    memory::Store::default().open(&id).await.unwrap()
}

async fn store(space: &dyn Space, writes: impl IntoIterator<Item = Write>) {
    let writes = writes.into_iter().collect();
    space.commit(Batch { writes, checkpoint: 1 }).await.unwrap();
}

fn acme() -> ProjectId {
    ProjectId::new("acme").unwrap()
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn document(version: u64, live: bool) -> Document {
    Document {
        version,
        created_at: at(-7),
        updated_at: at(8),
        offset: 99,
        data: live.then(|| Bytes::from_static(br#"{"a":1}"#)),
    }
}

fn entry(version: u64, offset: u64) -> HistoryEntry {
    let kind = EventType::parse("document.updated").unwrap();
    HistoryEntry { version, offset, time: at(offset as i64), kind }
}

#[test]
fn tables_have_numbers_and_names_of_their_own() {
    let mut tables = [&TABLES[..], &IDEMPOTENCY_TABLES[..]].concat();
    tables.sort_by_key(|table| table.number);
    for (i, table) in tables.iter().enumerate() {
        assert_eq!(usize::from(table.number), i + 1);
        assert!(tables[..i].iter().all(|other| other.name != table.name));
    }
}

#[tokio::test]
async fn projects_come_back_in_order() {
    let space = space().await;
    let project = |version| Project {
        version,
        created_at: at(1),
        updated_at: at(2),
        state: Bytes::from_static(b"{}"),
    };
    let ids: Vec<_> = (0..600).map(|i| ProjectId::new(&format!("p{i:03}")).unwrap()).collect();
    store(&*space, ids.iter().map(|id| put_project(id, &project(3), 0))).await;
    assert_eq!(get_project(&*space, &ids[5]).await.unwrap(), Some(project(3)));
    assert_eq!(get_project(&*space, &acme()).await.unwrap(), None);
    let all = projects(&*space).await.unwrap();
    assert_eq!(all.iter().map(|(id, _)| id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn documents_come_back_live_or_deleted() {
    let space = space().await;
    for document in [document(1, true), document(2, false)] {
        store(&*space, [put_document(&acme(), "posts", "a", &document)]).await;
        let found = get_document(&*space, &acme(), "posts", "a").await.unwrap();
        assert_eq!(found, Some(document));
    }
    assert_eq!(get_document(&*space, &acme(), "posts", "b").await.unwrap(), None);
    assert_eq!(get_document(&*space, &acme(), "post", "sa").await.unwrap(), None);
}

#[tokio::test]
async fn rows_of_a_collection_come_in_pages_and_deleted_ones_too() {
    let space = space().await;
    let ids: Vec<_> = (0..90).map(|i| format!("d{i:03}")).collect();
    let writes = ids
        .iter()
        .enumerate()
        .map(|(i, id)| put_document(&acme(), "posts", id, &document(i as u64 + 1, i % 2 == 0)));
    store(&*space, writes).await;
    store(&*space, [put_document(&acme(), "post", "x", &document(1, true))]).await;
    let list = async |after: Option<&str>, limit| {
        let found = list_rows(&*space, &acme(), "posts", after, limit).await.unwrap();
        found.into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 100).await, ids);
    assert_eq!(list(None, 12).await, ids[..12]);
    assert_eq!(list(Some("d004"), 12).await, ids[5..17]);
    assert_eq!(list(Some("d089"), 5).await, ids[..0]);
}

#[tokio::test]
async fn history_is_newest_first() {
    let space = space().await;
    let writes = (1..=9).map(|v| put_history(&acme(), "posts", "a", &entry(v, v * 10)));
    store(&*space, writes).await;
    store(&*space, [put_history(&acme(), "posts", "aa", &entry(1, 5))]).await;
    let versions = async |before, limit| {
        let found = history(&*space, &acme(), "posts", "a", before, limit).await.unwrap();
        found.into_iter().map(|entry| entry.version).collect::<Vec<_>>()
    };
    assert_eq!(versions(None, 3).await, [9, 8, 7]);
    assert_eq!(versions(Some(3), 10).await, [2, 1]);
    assert_eq!(versions(Some(u64::MAX), 1).await, [9]);
    assert_eq!(versions(Some(1), 10).await, [0_u64; 0]);
}

#[tokio::test]
async fn a_version_is_found_by_offset_and_by_time() {
    for count in [1, 2, 3, 7, 64] {
        let space = space().await;
        // Versions 3, 4, …: older ones may have been forgotten.
        let entries: Vec<_> = (0..count).map(|i| entry(3 + i, 10 + i * 10)).collect();
        store(&*space, entries.iter().map(|e| put_history(&acme(), "posts", "a", e))).await;
        for offset in 0..count * 10 + 20 {
            let found = version_at(&*space, &acme(), "posts", "a", offset).await.unwrap();
            let expected = entries.iter().rfind(|entry| entry.offset <= offset);
            assert_eq!(found.as_ref(), expected, "{count} {offset}");
            let time = at(offset as i64);
            let found = version_at_time(&*space, &acme(), "posts", "a", time).await.unwrap();
            assert_eq!(found.as_ref(), expected, "{count} {offset}");
        }
        let nobody = version_at(&*space, &acme(), "posts", "b", 50).await.unwrap();
        assert_eq!(nobody, None);
    }
}

#[tokio::test]
async fn collections_are_per_project() {
    let space = space().await;
    let other = ProjectId::new("acme2").unwrap();
    store(
        &*space,
        [
            put_collection(&acme(), "posts", 7),
            put_collection(&acme(), "authors", 9),
            put_collection(&other, "things", 1),
        ],
    )
    .await;
    let found = collections(&*space, &acme()).await.unwrap();
    let found: Vec<_> = found.iter().map(|(name, first)| (name.as_str(), *first)).collect();
    assert_eq!(found, [("authors", 9), ("posts", 7)]);
}

#[tokio::test]
async fn idempotency_entries_expire_by_time() {
    let space = space().await;
    let ids: Vec<_> = (0..5_u128).map(|i| Uuid::from_u128(u128::MAX - i)).collect();
    let entry = |time| IdempotencyEntry { offset: 4, count: 2, fingerprint: u64::MAX, time };
    let times = [30, -10, 20, 20, 40].map(at);
    for (id, time) in ids.iter().zip(times) {
        store(&*space, put_idempotency(&acme(), *id, &entry(time), None)).await;
    }
    let found = get_idempotency(&*space, &acme(), ids[0]).await.unwrap();
    assert_eq!(found, Some(entry(at(30))));
    let expired = async |after, before, limit| {
        expired_idempotency(&*space, &acme(), after, at(before), limit).await.unwrap()
    };
    let place = |time, event_id| ByTime { time: at(time), event_id };
    let all = expired(None, 30, 10).await;
    assert_eq!(all, [place(-10, ids[1]), place(20, ids[3]), place(20, ids[2])]);
    assert_eq!(expired(None, 99, 2).await, all[..2]);
    // Among equal times, too, it goes on where it was.
    assert_eq!(expired(Some(all[1]), 30, 9).await, all[2..]);
    for place in &all {
        store(&*space, delete_idempotency(&acme(), *place, 9)).await;
        assert_eq!(get_idempotency(&*space, &acme(), place.event_id).await.unwrap(), None);
    }
    assert_eq!(expired(None, 99, 10).await, [place(30, ids[0]), place(40, ids[4])]);
}

#[tokio::test]
async fn what_comes_late_stands_after_what_has_expired() {
    let space = space().await;
    assert_eq!(get_expired(&*space, &acme()).await.unwrap(), None);
    let id = Uuid::from_u128;
    let last = ByTime { time: at(-20), event_id: id(5) };
    store(&*space, [put_expired(&acme(), last, 7)]).await;
    assert_eq!(get_expired(&*space, &acme()).await.unwrap(), Some(last));
    for (event_id, time) in [(1, -90), (4, -20), (5, -20), (6, -20), (2, 0)] {
        let entry = IdempotencyEntry { offset: 8, count: 1, fingerprint: 1, time: at(time) };
        store(&*space, put_idempotency(&acme(), id(event_id), &entry, Some(last))).await;
        let stored = get_idempotency(&*space, &acme(), id(event_id)).await.unwrap();
        assert_eq!(stored, Some(entry));
    }
    let found = expired_idempotency(&*space, &acme(), Some(last), at(1), 9).await.unwrap();
    let found: Vec<_> = found.iter().map(|p| (p.event_id.as_u128(), p.time.as_micros())).collect();
    assert_eq!(found, [(6, -20), (1, -19), (4, -19), (5, -19), (2, 0)]);
}

#[tokio::test]
async fn rows_that_make_no_sense_are_corrupt() {
    let space = space().await;
    let Write::Put { table, mut row, offset } =
        put_document(&acme(), "posts", "a", &document(1, true))
    else {
        unreachable!()
    };
    row[7] = Value::Bool(false);
    store(&*space, [Write::Put { table, row, offset }]).await;
    let found = get_document(&*space, &acme(), "posts", "a").await;
    assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
    store(&*space, [put_document(&acme(), "posts", "no id", &document(1, true))]).await;
    assert!(DocumentId::new("no id").is_err());
    let found = list_rows(&*space, &acme(), "posts", Some("b"), 9).await;
    assert!(matches!(found, Err(Error::Corrupt { .. })), "{found:?}");
}
