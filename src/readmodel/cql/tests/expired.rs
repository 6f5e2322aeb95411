//! Rows that are deleted in the order of their key: what the database keeps of them for a while
//! must not be read over again and again.

use domain::{ProjectId, Timestamp};
use uuid::Uuid;

use super::names::Shape;
use super::*;
use crate::documents::{
    ByTime, IDEMPOTENCY_BY_TIME, IDEMPOTENCY_TABLES, IdempotencyEntry, delete_idempotency,
    expired_idempotency, get_expired, put_expired, put_idempotency,
};
use crate::{Batch, Value};

/// More than the thousand that a database warns of, and fewer than it refuses.
const DELETED: u64 = 2_500;

fn place(offset: u64) -> ByTime {
    // Three have the same time each.
    let time = Timestamp::from_micros((offset / 3).cast_signed());
    ByTime { time, event_id: Uuid::from_u128(offset.into()) }
}

#[tokio::test]
async fn a_search_for_old_rows_starts_behind_those_that_are_gone() {
    let mut keyspace = Keyspace::new("expired");
    let tables = &IDEMPOTENCY_TABLES;
    keyspace.options.tables = vec![Declared { consumer: "idempotency", version: 2, tables }];
    let store = keyspace.connect().await;
    let partition = PartitionId(3);
    let id = SpaceId { consumer: "idempotency", partition, generation: 2 << 16 };
    let space = store.open(&id).await.unwrap();
    let project = ProjectId::new("acme").unwrap();

    let put = |offset| {
        let ByTime { time, event_id } = place(offset);
        let entry = IdempotencyEntry { offset, count: 1, fingerprint: 1, time };
        put_idempotency(&project, event_id, &entry, None)
    };
    let writes = (0..DELETED + 5).flat_map(put).collect();
    space.commit(Batch { writes, checkpoint: DELETED + 5 }).await.unwrap();
    let delete = |offset| delete_idempotency(&project, place(offset), DELETED + 6);
    let writes = (0..DELETED).flat_map(delete).collect();
    space.commit(Batch { writes, checkpoint: DELETED + 7 }).await.unwrap();
    let last = place(DELETED - 1);
    let writes = vec![put_expired(&project, last, DELETED + 8)];
    space.commit(Batch { writes, checkpoint: DELETED + 9 }).await.unwrap();

    // As after a restart.
    let last = get_expired(&*space, &project).await.unwrap().filter(|found| *found == last);
    let before = Timestamp::from_micros(i64::MAX);
    let found = expired_idempotency(&*space, &project, last, before, 3).await.unwrap();
    assert_eq!(found, [0, 1, 2].map(|n| place(DELETED + n)));

    // The same statements, for what the database says of them.
    let client = Client::connect(&keyspace.options).await.unwrap();
    let name = client.qualified(&names::table_name(&IDEMPOTENCY_BY_TIME, id.generation));
    let warnings = async |after: bool, values: &[Value]| {
        let shape = Shape { prefix_len: 1, after, reverse: false };
        let text = names::select(&IDEMPOTENCY_BY_TIME, &name, shape);
        let statement = client.prepare("preparing a scan", &text).await.unwrap();
        let bound = values::Bound { values, extra: values::Extra::None };
        let answer = client.execute("reading rows", &statement, bound).await.unwrap();
        let warnings = answer.warnings().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(answer.into_rows_result().unwrap().rows_num(), 5);
        warnings
    };
    let first = Value::Text("acme".into());
    let from_front = warnings(false, std::slice::from_ref(&first)).await;
    assert!(from_front.iter().any(|text| text.contains("tombstone")), "{from_front:?}");
    let last = last.unwrap();
    let event_id = Value::Text(last.event_id.to_string().into());
    let behind = warnings(true, &[first, Value::Int(last.time.as_micros()), event_id]).await;
    assert!(behind.is_empty(), "{behind:?}");
}

#[tokio::test]
async fn deletions_of_short_lived_rows_are_kept_for_an_hour() {
    let keyspace = Keyspace::new("grace");
    keyspace.connect().await;
    let session = keyspace.session().await;
    let text = "SELECT gc_grace_seconds FROM system_schema.tables \
                WHERE keyspace_name = ? AND table_name = ?";
    for (table, seconds) in [("bare_v0", 3_600), ("mixed_v0", 864_000)] {
        let values = (&keyspace.options.keyspace, table);
        let answer = session.query_unpaged(text, values).await.unwrap();
        let row = answer.into_rows_result().unwrap().single_row::<(i32,)>().unwrap();
        assert_eq!(row, (seconds,), "{table}");
    }
}
