//! The idempotency projection: which events answered a client's key, for as long as a repeat must
//! get the same answer. Kept apart from the documents because it forgets: its tables depend on when
//! they were built.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Event, Recorded, Timestamp};
use engine::{Fault, Projection};
use readmodel::documents::{self as tables, IdempotencyEntry};
use readmodel::{Reader, Write};

/// Rows are kept this long; the writer asks for no older ones.
const KEEP_MICROS: i64 = 24 * 3600 * 1_000_000;
/// Expired rows deleted for each new one: more than one, so that a backlog shrinks; few, so that no
/// batch stalls.
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
            let (count, newest) = keyed.entry(&event.project).or_insert((0, event.time));
            *count += 1;
            *newest = event.time;
        }
        for (project, (count, newest)) in keyed {
            let before = Timestamp::from_micros(newest.as_micros() - KEEP_MICROS);
            let limit = count * EXPIRE_EACH;
            let expired = tables::expired_idempotency(reader, project, before, limit).await?;
            for (decided_at, event_id) in expired {
                writes.extend(tables::delete_idempotency(project, event_id, decided_at));
            }
        }
        Ok(())
    }
}

/// Whether this is the first event that a request with a key came to.
fn answers_a_key(event: &Event) -> bool {
    event.fingerprint.is_some() && event.transaction.is_none_or(|part| part.index == 0)
}
