//! Reads of users: one, one by a way in, and pages of them.

use domain::users::UserState;
use domain::{ProjectId, UserId};
use readmodel::documents::{self as tables, UserRow};

use crate::Engine;
use crate::error::Error;

impl Engine {
    /// A user as it is now; erased ones and those that never were are not there.
    pub async fn user(&self, project: &ProjectId, id: &UserId) -> Result<Option<UserState>, Error> {
        let partition = self.partition(project);
        partition.check_readable()?;
        let row = tables::get_user(&*partition.documents(), project, id).await?;
        let state = row.map(|row| state_of(&row)).transpose()?;
        Ok(state.filter(UserState::is_live))
    }

    /// Whether there was such a user and it is erased.
    pub async fn is_erased(&self, project: &ProjectId, id: &UserId) -> Result<bool, Error> {
        let partition = self.partition(project);
        partition.check_readable()?;
        let row = tables::get_user(&*partition.documents(), project, id).await?;
        let state = row.map(|row| state_of(&row)).transpose()?;
        Ok(state.is_some_and(|state| state.deleted))
    }

    /// Whose a way in is.
    pub async fn user_by_identity(
        &self,
        project: &ProjectId,
        key: &str,
    ) -> Result<Option<UserId>, Error> {
        let partition = self.partition(project);
        partition.check_readable()?;
        Ok(tables::get_identity(&*partition.documents(), project, key).await?)
    }

    /// Up to `limit` users in the order of their ids, after `after`, and where to go on: a page may
    /// be short of users who were erased.
    pub async fn users(
        &self,
        project: &ProjectId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<(Vec<(UserId, UserState)>, Option<UserId>), Error> {
        let partition = self.partition(project);
        partition.check_readable()?;
        let space = partition.documents();
        let rows = tables::list_users(&*space, project, after, limit).await?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|(id, _)| id.clone());
        let mut users = Vec::with_capacity(rows.len());
        for (id, row) in rows {
            let state = state_of(&row)?;
            if state.is_live() {
                users.push((id, state));
            }
        }
        Ok((users, next))
    }
}

/// A user's state from its row.
pub(crate) fn state_of(row: &UserRow) -> Result<UserState, Error> {
    serde_json::from_slice(&row.state).map_err(|e| Error::Corrupt(format!("a user's state: {e}")))
}
