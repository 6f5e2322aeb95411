//! The idempotency projection: which events answered a client's key, for as long as a repeat must
//! get the same answer; and what changed of users, for as long as an access token made before it is
//! good. Kept apart from the documents because it forgets: its tables depend on when they were
//! built.
//!
//! Rows are deleted from the front of a table that is ordered by time. Engines that keep deletions
//! for a while would read over all of them whenever old rows are looked for, so the last deleted
//! row is remembered, and the next search starts there. No row is ever put before it: one that is
//! older, of an import or of a clock that was put back, is put right after it.

#[cfg(test)]
mod expiry_tests;
mod recent;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use domain::users::UserEvent;
use domain::{Event, Offset, ProjectId, Recorded, Timestamp};
use engine::{Fault, Projection};
use readmodel::documents::{self as tables, ByTime, IdempotencyEntry};
use readmodel::{Reader, Write};

/// Rows are kept this long; the writer asks for no older ones.
const KEEP_MICROS: i64 = 24 * 3600 * 1_000_000;
/// Expired rows deleted for each new one: more than one, so that a backlog shrinks; few, so that
/// no batch stalls.
const EXPIRE_EACH: usize = 2;
/// Expired rows deleted for one project and batch at most. After a restart as many deletions may be
/// read over, and databases refuse reads over some ten times more.
const EXPIRE_MAX: usize = 10_000;

/// Makes the projection of one partition.
pub(crate) fn make() -> Box<dyn Projection> {
    Box::new(Idempotency::default())
}

#[derive(Default)]
struct Idempotency {
    /// Of the projects that had a request with a key since the start.
    expired: HashMap<ProjectId, Expired>,
}

/// How far a project's rows were deleted for their age.
#[derive(Default, Clone, Copy)]
struct Expired {
    /// The last one that was deleted.
    last: Option<ByTime>,
    /// The last one as stored: one batch behind. Rows may be stored without their checkpoint and
    /// in any order, so only what an earlier batch has deleted is gone for sure.
    stored: Option<ByTime>,
}

#[async_trait]
impl Projection for Idempotency {
    async fn load(&mut self, _: &dyn Reader) -> Result<(), Fault> {
        self.expired.clear();
        Ok(())
    }

    async fn apply(
        &mut self,
        events: &[Arc<Recorded>],
        reader: &dyn Reader,
        writes: &mut Vec<Write>,
    ) -> Result<(), Fault> {
        let mut keyed: HashMap<&ProjectId, Vec<&Recorded>> = HashMap::new();
        for recorded in events {
            if answers_a_key(&recorded.event) {
                keyed.entry(&recorded.event.project).or_default().push(recorded);
            }
            // One that does not decode is reported where documents are folded.
            if let Ok(Some(body)) = UserEvent::decode(&recorded.event) {
                recent::fold(recorded, &body, reader, writes).await?;
            }
        }
        for (project, fresh) in keyed {
            let mut expired = match self.expired.get(project) {
                Some(known) => *known,
                None => {
                    let stored = tables::get_expired(reader, project).await?;
                    Expired { last: stored, stored }
                }
            };
            expire(project, &fresh, &mut expired, reader, writes).await?;
            for recorded in fresh {
                let event = &recorded.event;
                let entry = IdempotencyEntry {
                    offset: recorded.position.offset,
                    count: event.transaction.map_or(1, |part| part.count),
                    fingerprint: event.fingerprint.unwrap_or_default(),
                    time: event.time,
                };
                let put = tables::put_idempotency(project, event.id, &entry, expired.last);
                writes.extend(put);
            }
            self.expired.insert(project.clone(), expired);
        }
        Ok(())
    }
}

/// Deletes a project's rows that are too old by its newest event.
async fn expire(
    project: &ProjectId,
    fresh: &[&Recorded],
    expired: &mut Expired,
    reader: &dyn Reader,
    writes: &mut Vec<Write>,
) -> Result<(), Fault> {
    let Some(newest) = fresh.last() else { return Ok(()) };
    let before = Timestamp::from_micros(newest.event.time.as_micros() - KEEP_MICROS);
    // A row that it expires was put by an older event, and a later use of the same key by a newer.
    let offset: Offset = newest.position.offset;
    if let Some(last) = expired.last.filter(|_| expired.last != expired.stored) {
        writes.push(tables::put_expired(project, last, offset));
        expired.stored = expired.last;
    }
    let ids: HashSet<_> = fresh.iter().map(|recorded| recorded.event.id).collect();
    let limit = (ids.len() * EXPIRE_EACH).min(EXPIRE_MAX);
    let found = tables::expired_idempotency(reader, project, expired.last, before, limit).await?;
    for place in found {
        let [row, by_time] = tables::delete_idempotency(project, place, offset);
        // A key may be used again after it was forgotten: its row is then the newer use's.
        let stored = tables::get_idempotency(reader, project, place.event_id).await?;
        let is_old = stored.is_some_and(|stored| stored.time < before);
        if is_old && !ids.contains(&place.event_id) {
            writes.push(row);
        }
        writes.push(by_time);
        expired.last = Some(place);
    }
    Ok(())
}

/// Whether this is the first event that a request with a key came to.
fn answers_a_key(event: &Event) -> bool {
    event.fingerprint.is_some() && event.transaction.is_none_or(|part| part.index == 0)
}
