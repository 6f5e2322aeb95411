//! What changed of users so lately that access tokens made before it are still about.

use bytes::Bytes;
use domain::Recorded;
use domain::users::{Recent, UserEvent};
use engine::Fault;
use readmodel::documents::{self as tables, RecentRow};
use readmodel::{Reader, Write};

/// Rows that may be forgotten with each new one: more than one, so that they become fewer.
const FORGET_EACH: usize = 4;

pub(super) async fn fold(
    recorded: &Recorded,
    body: &UserEvent,
    reader: &dyn Reader,
    writes: &mut Vec<Write>,
) -> Result<(), Fault> {
    let (event, offset) = (&recorded.event, recorded.position.offset);
    let recent = Recent::of(event, body);
    if recent.is_empty() {
        return Ok(());
    }
    let old = tables::recent(reader, &event.project, None, FORGET_EACH * recent.len()).await?;
    for row in old.iter().take_while(|row| row.until < event.time) {
        writes.push(tables::delete_recent(&event.project, row, offset));
    }
    for one in recent {
        let state = Bytes::from(one.to_json());
        let row = RecentRow { until: one.until(), subject: one.subject.to_string(), state };
        writes.push(tables::put_recent(&event.project, &row, offset));
    }
    Ok(())
}
