//! Loads what a user's command is decided against, and hands it to the pure rules of `domain`.

use domain::command::Context;
use domain::rejected::Reason;
use domain::users::{self, Claimed, UserCommand, UserEvent, UserState};
use domain::{ProjectId, UserId};
use readmodel::documents as tables;

use super::Writer;
use super::decide::rejected;
use super::draft::{Draft, Outcome};
use crate::error::Error;
use crate::people::state_of;

impl Writer {
    pub(super) async fn decide_user(
        &self,
        draft: &mut Draft,
        context: &Context,
        command: &UserCommand,
    ) -> Result<Outcome, Error> {
        let project = &context.project;
        if !self.is_live(draft, project) {
            return Err(rejected(Reason::ProjectNotFound));
        }
        let before = self.user_state(draft, project, &command.user).await?;
        let mut claimed = Claimed::new();
        for key in command.identities() {
            let owner = match draft.identity(project, key) {
                Some(owner) => owner.clone(),
                None => tables::get_identity(&*self.documents.space, project, key).await?,
            };
            if let Some(owner) = owner {
                claimed.insert(key.clone(), owner);
            }
        }
        let decided =
            users::decide(&before, command, &claimed, draft.now).map_err(Error::Rejected)?;
        let first = draft.events.len();
        let outcome = draft.add(context, decided);
        let mut after = before.clone();
        for event in &draft.events[first..] {
            let body = UserEvent::decode(event).map_err(|e| Error::Corrupt(e.to_string()))?;
            if let Some(body) = body {
                after = after.evolve(event, body);
            }
        }
        draft.put_user(project, &command.user, &before, after);
        Ok(outcome)
    }

    pub(super) async fn user_state(
        &self,
        draft: &Draft,
        project: &ProjectId,
        id: &UserId,
    ) -> Result<UserState, Error> {
        if let Some(state) = draft.user(project, id) {
            return Ok(state.clone());
        }
        let row = tables::get_user(&*self.documents.space, project, id).await?;
        row.map_or_else(|| Ok(UserState::default()), |row| state_of(&row))
    }
}
