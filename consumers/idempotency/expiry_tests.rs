//! What is too old goes, whatever the times of events and however they are cut into batches, and
//! looking for it costs the same however much went before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Event, PartitionId, Position, Recorded, Timestamp};
use engine::Projection;
use parking_lot::Mutex;
use proptest::prelude::*;
use readmodel::documents::{IDEMPOTENCY, IDEMPOTENCY_BY_TIME, get_idempotency};
use readmodel::{
    Batch, Reader, Row, Scan, Space, SpaceId, Store as _, Table, Value, Write, memory,
};
use uuid::Uuid;

use super::KEEP_MICROS;
use crate::testing::project;

/// A space that remembers what was deleted, as databases do for a while, and what scans pass over.
struct Graves {
    space: Arc<dyn Space>,
    deleted: Mutex<BTreeSet<(i64, String)>>,
    /// The most rows and deletions that one scan looked at.
    looked_max: Mutex<usize>,
}

/// A row's place by time.
fn place(key: &[Value]) -> (i64, String) {
    match key {
        [_, Value::Int(time), Value::Text(id), ..] => (*time, id.to_string()),
        other => panic!("{other:?}"),
    }
}

impl Graves {
    async fn new() -> Self {
        let id = SpaceId { consumer: "idempotency", partition: PartitionId(0), generation: 1 };
        let space = memory::Store::default().open(&id).await.unwrap();
        Self { space, deleted: Mutex::default(), looked_max: Mutex::default() }
    }

    async fn commit(&self, writes: Vec<Write>, checkpoint: u64) {
        for write in &writes {
            match write {
                Write::Delete { table, key, .. } if table.name == IDEMPOTENCY_BY_TIME.name => {
                    self.deleted.lock().insert(place(key));
                }
                Write::Put { table, row, .. } if table.name == IDEMPOTENCY_BY_TIME.name => {
                    self.deleted.lock().remove(&place(row));
                }
                _ => {}
            }
        }
        self.space.commit(Batch { writes, checkpoint }).await.unwrap();
    }

    async fn rows(&self, table: &'static Table) -> Vec<Row> {
        let all = Scan { limit: usize::MAX, ..Scan::default() };
        self.space.scan(table, all).await.unwrap()
    }
}

#[async_trait]
impl Reader for Graves {
    async fn checkpoint(&self) -> Result<u64, readmodel::Error> {
        self.space.checkpoint().await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &[Value],
    ) -> Result<Option<Row>, readmodel::Error> {
        self.space.get(table, key).await
    }

    async fn scan(&self, table: &'static Table, scan: Scan) -> Result<Vec<Row>, readmodel::Error> {
        let after = scan.after.as_deref().map(place);
        let limit = scan.limit;
        let rows = self.space.scan(table, scan).await?;
        // It goes on to the end where it finds too few.
        let last = rows.last().filter(|_| rows.len() == limit).map(|row| place(row));
        let deleted = self.deleted.lock();
        let passed = deleted.iter().filter(|place| {
            after.as_ref().is_none_or(|after| *place > after)
                && last.as_ref().is_none_or(|last| *place < last)
        });
        let looked = rows.len() + passed.count();
        let mut looked_max = self.looked_max.lock();
        *looked_max = looked.max(*looked_max);
        Ok(rows)
    }

    async fn digest(&self) -> Result<[u8; 32], readmodel::Error> {
        self.space.digest().await
    }

    fn is_exact(&self) -> bool {
        self.space.is_exact()
    }
}

/// A request with a key.
fn request(offset: u64, key: &str, time: i64) -> Arc<Recorded> {
    let event = Event {
        id: domain::command::event_id_for_key(&project(), key, 0),
        time: Timestamp::from_micros(time),
        fingerprint: Some(1),
        ..eventlog::conformance::event(project().as_str(), offset, 2)
    };
    Arc::new(Recorded { position: Position { partition: PartitionId(0), offset }, event })
}

async fn fold(
    projection: &mut dyn Projection,
    space: &Graves,
    events: &[Arc<Recorded>],
) -> Vec<Write> {
    let mut writes = Vec::new();
    projection.apply(events, space, &mut writes).await.unwrap();
    writes
}

/// Batches of 8 requests, some minutes apart, over many days: the 100th batch of a day looks at no
/// more than the first one, with a restart now and then.
#[tokio::test]
async fn a_batch_does_not_look_at_what_went_before() {
    const EACH: u64 = 8;
    let space = Graves::new().await;
    let mut projection = super::make();
    for batch in 0..1_500_u64 {
        let offsets = batch * EACH..(batch + 1) * EACH;
        let time = i64::try_from(batch).unwrap() * KEEP_MICROS / 100;
        let events: Vec<_> = offsets.map(|o| request(o, &format!("key {o}"), time)).collect();
        let writes = fold(&mut *projection, &space, &events).await;
        space.commit(writes, (batch + 1) * EACH).await;
        if batch % 7 == 0 {
            // Another node takes over: what is in memory is gone.
            projection = super::make();
        }
    }
    let kept = space.rows(&IDEMPOTENCY).await.len();
    assert!((800..900).contains(&kept), "{kept}");
    assert!(space.deleted.lock().len() > 11_000);
    // Two rows for each request; and after a restart, what the last batch has deleted.
    let looked = *space.looked_max.lock();
    assert!(looked <= 2 * 2 * EACH as usize, "{looked}");
}

/// The newest use of each key that must be remembered: no later event made it too old or took its
/// place, nor one that was seen before a crash and will come again.
fn remembered(events: &[Arc<Recorded>], seen: &[Arc<Recorded>]) -> BTreeMap<Uuid, u64> {
    let mut found = BTreeMap::new();
    let mut latest = i64::MIN;
    let all: Vec<_> = events.iter().chain(seen).collect();
    for (at, recorded) in all.iter().enumerate().rev() {
        let (id, time) = (recorded.event.id, recorded.event.time.as_micros());
        latest = latest.max(time);
        let kept = time >= latest - KEEP_MICROS && at < events.len();
        found.entry(id).or_insert((kept, recorded.position.offset));
    }
    found.into_iter().filter(|(_, (kept, _))| *kept).map(|(id, (_, at))| (id, at)).collect()
}

/// Applies events in batches of these sizes. Where a batch is cut short, only so many of its writes
/// are stored, and no checkpoint; all of them come again.
async fn run(events: &[Arc<Recorded>], cuts: &[(usize, Option<usize>)]) {
    let space = Graves::new().await;
    let mut projection = super::make();
    let (mut next, mut seen) = (0, 0);
    for (size, cut_short) in cuts.iter().cycle().take(events.len() * 3) {
        let end = (next + size).min(events.len());
        seen = seen.max(end);
        let mut writes = fold(&mut *projection, &space, &events[next..end]).await;
        if let Some(stored) = cut_short {
            writes.truncate(*stored);
            space.commit(writes, next as u64).await;
            projection = super::make();
            continue;
        }
        space.commit(writes, end as u64).await;
        next = end;
        for (id, offset) in remembered(&events[..next], &events[next..seen]) {
            let entry = get_idempotency(&space, &project(), id).await.unwrap();
            assert_eq!(entry.map(|entry| entry.offset), Some(offset), "of {next}");
        }
    }
    assert_eq!(next, events.len());
    // Days later everything of then goes, with what came late.
    let newest = events.iter().map(|recorded| recorded.event.time.as_micros()).max().unwrap();
    let later = newest + 3 * KEEP_MICROS;
    for round in 0..6 {
        let first = (next + round * 40) as u64;
        let offsets = first..first + 40;
        let fresh: Vec<_> = offsets.map(|o| request(o, &format!("later {o}"), later)).collect();
        let writes = fold(&mut *projection, &space, &fresh).await;
        space.commit(writes, first + 40).await;
    }
    for (table, time) in [(&IDEMPOTENCY, 5), (&IDEMPOTENCY_BY_TIME, 1)] {
        let rows = space.rows(table).await;
        assert_eq!(rows.len(), 240, "{}", table.name);
        assert!(rows.iter().all(|row| row[time] == Value::Int(later)), "{}", table.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_too_old_goes_and_nothing_else(
        requests in proptest::collection::vec((0_u8..30, -40_i64..50), 1..120),
        mut cuts in proptest::collection::vec(
            (1_usize..12, proptest::option::weighted(0.3, 0_usize..40)),
            1..20,
        ),
    ) {
        cuts.extend([(5, None), (9, None), (3, None)]);
        cuts.retain(|(size, cut_short)| *size > 2 || cut_short.is_none());
        // Some come at the same time, and imports long before.
        let mut time = 0;
        let events: Vec<_> = (0..).zip(&requests).map(|(offset, (key, hours))| {
            let at = time + hours.min(&0) * 3_600_000_000;
            time += hours.max(&0) / 10 * 3_600_000_000;
            request(offset, &format!("key {key}"), at)
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(&events, &cuts));
    }
}
