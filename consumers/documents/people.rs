//! Users: a row for each, and a row for each way in.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use domain::users::{UserEvent, UserState};
use domain::{ProjectId, Recorded, UserId};
use engine::Fault;
use readmodel::documents::{self as tables, UserRow};
use readmodel::{Reader, Write};

/// Users that a batch has changed so far.
#[derive(Default)]
pub(super) struct People {
    changed: HashMap<(ProjectId, UserId), UserState>,
}

impl People {
    pub(super) async fn fold(
        &mut self,
        recorded: &Recorded,
        body: UserEvent,
        reader: &dyn Reader,
        writes: &mut Vec<Write>,
    ) -> Result<(), Fault> {
        let (event, offset) = (&recorded.event, recorded.position.offset);
        let project = &event.project;
        let Some(id) = event.stream.as_user() else { return Ok(()) };
        let key = (project.clone(), id.clone());
        let before = match self.changed.remove(&key) {
            Some(state) => state,
            None => match tables::get_user(reader, project, &id).await? {
                Some(row) => serde_json::from_slice(&row.state).unwrap_or_default(),
                None => UserState::default(),
            },
        };
        if event.stream_version <= before.version {
            // Its row was stored before its checkpoint was.
            self.changed.insert(key, before);
            return Ok(());
        }
        let earlier = ways_in(&before);
        let state = before.evolve(event, body);
        let now = ways_in(&state);
        writes.extend(
            earlier.difference(&now).map(|way| tables::delete_identity(project, way, offset)),
        );
        writes.extend(
            now.difference(&earlier).map(|way| tables::put_identity(project, way, &id, offset)),
        );
        let row = UserRow {
            version: state.version,
            created_at: state.created_at,
            updated_at: state.updated_at,
            offset,
            state: Bytes::from(serde_json::to_vec(&state).unwrap_or_default()),
        };
        writes.push(tables::put_user(project, &id, &row));
        self.changed.insert(key, state);
        Ok(())
    }
}

fn ways_in(state: &UserState) -> BTreeSet<String> {
    state.user.identities.keys().chain(state.user.passkeys.keys()).cloned().collect()
}
