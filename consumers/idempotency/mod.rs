//! The idempotency projection: which events answered a client's key, for as long as a repeat must
//! get the same answer. Kept apart from the documents because it forgets: its tables depend on
//! when they were built.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Event, Offset, ProjectId, Recorded, Timestamp};
use engine::{Fault, Projection};
use readmodel::documents::{self as tables, IdempotencyEntry};
use readmodel::{Reader, Write};
use uuid::Uuid;

/// Rows are kept this long; the writer asks for no older ones.
const KEEP_MICROS: i64 = 24 * 3600 * 1_000_000;
/// Expired rows deleted for each new one: more than one, so that a backlog shrinks; few, so that
/// no batch stalls.
const EXPIRE_EACH: usize = 2;

/// Makes the projection of one partition.
pub(crate) fn make() -> Box<dyn Projection> {
    Box::new(Idempotency)
}

struct Idempotency;

#[async_trait]
impl Projection for Idempotency {
    async fn load(&mut self, _: &dyn Reader) -> Result<(), Fault> {
        Ok(())
    }

    async fn apply(
        &mut self,
        events: &[Arc<Recorded>],
        reader: &dyn Reader,
        writes: &mut Vec<Write>,
    ) -> Result<(), Fault> {
        let mut keyed = HashMap::new();
        for recorded in events.iter().filter(|recorded| answers_a_key(&recorded.event)) {
            let event = &recorded.event;
            let entry = IdempotencyEntry {
                offset: recorded.position.offset,
                count: event.transaction.map_or(1, |part| part.count),
                fingerprint: event.fingerprint.unwrap_or_default(),
                time: event.time,
            };
            writes.extend(tables::put_idempotency(&event.project, event.id, &entry));
            let fresh: &mut Fresh = keyed.entry(&event.project).or_default();
            fresh.ids.insert(event.id);
            fresh.newest = event.time;
            fresh.offset = recorded.position.offset;
        }
        for (project, fresh) in keyed {
            expire(project, &fresh, reader, writes).await?;
        }
        Ok(())
    }
}

/// What a batch adds for one project.
#[derive(Default)]
struct Fresh {
    ids: HashSet<Uuid>,
    newest: Timestamp,
    /// Of the newest of them. A row that it expires was put by an older event, and a later use of
    /// the same key by a newer.
    offset: Offset,
}

/// Deletes rows that are too old by now.
async fn expire(
    project: &ProjectId,
    fresh: &Fresh,
    reader: &dyn Reader,
    writes: &mut Vec<Write>,
) -> Result<(), Fault> {
    let before = Timestamp::from_micros(fresh.newest.as_micros() - KEEP_MICROS);
    let limit = fresh.ids.len() * EXPIRE_EACH;
    for (decided_at, id) in tables::expired_idempotency(reader, project, before, limit).await? {
        let [row, by_time] = tables::delete_idempotency(project, id, decided_at, fresh.offset);
        // A key may be used again after it was forgotten: its row is then the newer use's.
        let stored = tables::get_idempotency(reader, project, id).await?;
        let is_old = stored.is_some_and(|stored| stored.time == decided_at);
        if is_old && !fresh.ids.contains(&id) {
            writes.push(row);
        }
        writes.push(by_time);
    }
    Ok(())
}

/// Whether this is the first event that a request with a key came to.
fn answers_a_key(event: &Event) -> bool {
    event.fingerprint.is_some() && event.transaction.is_none_or(|part| part.index == 0)
}
