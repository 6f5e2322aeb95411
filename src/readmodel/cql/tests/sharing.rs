//! Tables that partitions share: who may drop them, what is left of them, how a person sees them.

use domain::PartitionId;

use super::*;
use crate::conformance::{MIXED, batch, mixed, put, space_id};
use crate::{Batch, Scan, Space};

fn all() -> Scan {
    Scan { limit: 100, ..Scan::default() }
}

async fn tables(keyspace: &Keyspace) -> usize {
    let client = Client::connect(&keyspace.options).await.unwrap();
    let tables = schema::tables(&client).await.unwrap();
    tables.keys().filter(|name| name.ends_with("_r1")).count()
}

#[tokio::test]
async fn a_generation_goes_with_its_last_space() {
    let keyspace = Keyspace::new("removed");
    let (store, elsewhere) = (keyspace.connect().await, keyspace.connect().await);
    let ids = [3, 30].map(|number| SpaceId { partition: PartitionId(number), ..space_id(1) });
    let (one, other) = (store.open(&ids[0]).await.unwrap(), store.open(&ids[1]).await.unwrap());
    let late = elsewhere.open(&ids[0]).await.unwrap();
    one.commit(batch(vec![put(mixed("a", 0, "x", 1))], 7)).await.unwrap();
    other.commit(batch(vec![put(mixed("p30", 0, "x", 1))], 9)).await.unwrap();
    let (one_digest, other_digest) = (one.digest().await.unwrap(), other.digest().await.unwrap());
    assert_ne!(one_digest, other_digest);

    store.remove(&ids[0]).await.unwrap();
    store.remove(&ids[0]).await.unwrap();
    assert_eq!(store.list("things").await.unwrap(), [ids[1].clone()]);
    assert!(matches!(one.commit(Batch::default()).await, Err(Error::Closed)));
    for store in [&store, &elsewhere, &keyspace.connect().await] {
        if !std::ptr::eq(store, &elsewhere) {
            let refused = store.open(&ids[0]).await.err();
            assert!(matches!(refused, Some(Error::Removed { .. })), "{refused:?}");
        }
    }
    assert_eq!(other.digest().await.unwrap(), other_digest);
    other.commit(batch(vec![put(mixed("p30", 0, "y", 1))], 10)).await.unwrap();
    assert_eq!(tables(&keyspace).await, 2);

    store.remove(&ids[1]).await.unwrap();
    assert_eq!(tables(&keyspace).await, 0);
    assert!(store.list("things").await.unwrap().is_empty());
    // Whoever did not hear of it finds out.
    let write = || batch(vec![put(mixed("a", 0, "late", 1))], 5_000);
    let refused = late.commit(write()).await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");

    // Made again, it is empty, and a checkpoint of the old tables counts for nothing.
    let again = store.open(&ids[0]).await.unwrap();
    assert_eq!(again.checkpoint().await.unwrap(), 0);
    assert!(again.scan(&MIXED, all()).await.unwrap().is_empty());
    late.commit(write()).await.unwrap();
    assert_eq!(again.checkpoint().await.unwrap(), 0);
    again.commit(batch(vec![put(mixed("a", 0, "x", 2))], 1)).await.unwrap();
    assert_eq!(again.checkpoint().await.unwrap(), 1);
    let gone = keyspace.connect().await.open(&ids[1]).await.unwrap();
    assert_eq!(gone.checkpoint().await.unwrap(), 0);
}

#[tokio::test]
async fn nodes_open_the_same_space_at_once() {
    let keyspace = Keyspace::new("opened");
    let stores = [keyspace.connect().await, keyspace.connect().await, keyspace.connect().await];
    let id = space_id(1);
    let opened = futures_util::future::join_all(stores.iter().map(|store| store.open(&id))).await;
    let opened: Vec<Arc<dyn Space>> = opened.into_iter().map(Result::unwrap).collect();
    opened[0].commit(batch(vec![put(mixed("a", 0, "x", 1))], 3)).await.unwrap();
    for space in opened {
        assert_eq!(space.checkpoint().await.unwrap(), 3);
        assert_eq!(space.scan(&MIXED, all()).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_person_can_query_the_tables() {
    let keyspace = Keyspace::new("person");
    let store = keyspace.connect().await;
    let id = SpaceId { generation: 0, ..space_id(1) };
    let space = store.open(&id).await.unwrap();
    space.commit(batch(vec![put(mixed("a", -1, "x", 2))], 5)).await.unwrap();

    let session = keyspace.session().await;
    let name = &keyspace.options.keyspace;
    let text = format!(
        "SELECT owner, rank, name, title, count, seen_at, open, body, writetime(count) \
         FROM {name}.mixed_v0 WHERE owner = 'a' AND rank < 0"
    );
    let answer = session.query_unpaged(text, &[]).await.unwrap().into_rows_result().unwrap();
    type Typed<'a> = (&'a str, i64, &'a str, &'a str, i64, i64, bool, &'a str, i64);
    let row = answer.single_row::<Typed<'_>>().unwrap();
    assert_eq!(row, ("a", -1, "x", "tïtle", 2, -5, true, "{\"n\":2}", 5));

    let text = format!(
        "SELECT next_offset FROM {name}.checkpoints WHERE consumer = 'things' AND partition = 3"
    );
    let answer = session.query_unpaged(text, &[]).await.unwrap().into_rows_result().unwrap();
    assert_eq!(answer.single_row::<(i64,)>().unwrap(), (5,));
}
