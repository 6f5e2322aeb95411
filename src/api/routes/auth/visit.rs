//! Somebody at a project's door: the project, how people sign in there, and how often this one may
//! try.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use auth::limits::Class;
use domain::ProjectId;
use domain::rejected::Reason;
use engine::Project;

use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::{Directory, now};

/// Somebody at a project's door.
pub(crate) struct Visit {
    /// The project.
    pub(crate) project: ProjectId,
    /// Its configuration now.
    pub(crate) live: Arc<Project>,
    /// How people sign in.
    pub(crate) directory: Arc<Directory>,
}

impl Call {
    /// Who calls a route that asks for no token.
    ///
    /// Errors: `invalid-id`, `project-not-found`.
    pub(crate) async fn visit(&self) -> Result<Visit, Problem> {
        let project = self.project()?;
        let find = || self.app.engine.catalog().project(&project);
        let live = match find() {
            Some(live) => live,
            None => {
                // Another node may have made it a moment ago.
                self.app.engine.refresh(&project).await?;
                find().ok_or(Reason::ProjectNotFound)?
            }
        };
        let directory = self.app.people.directory(&project, &live)?;
        Ok(Visit { project, live, directory })
    }

    /// Counts a try of this address.
    ///
    /// Errors with `too-many-requests`.
    pub(crate) fn limit_address(&self, class: Class) -> Result<(), Problem> {
        // Only a socket without a peer has none, and there is no such client.
        let address = self.address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let checked = self.app.people.limits.check(class, address);
        checked.map_err(|wait| Problem::too_many_requests(wait.seconds()))
    }

    /// Counts a try for something that has a name: an identity's key, a session.
    ///
    /// Errors with `too-many-requests`.
    pub(crate) fn limit_name(
        &self,
        class: Class,
        project: &ProjectId,
        name: &str,
    ) -> Result<(), Problem> {
        let checked = self.app.people.limits.check(class, format!("{project} {name}").as_str());
        checked.map_err(|wait| Problem::too_many_requests(wait.seconds()))
    }

    /// Whether an identity that failed too often may try again yet.
    ///
    /// Errors with `too-many-requests`.
    pub(crate) fn check_lockout(&self, project: &ProjectId, key: &str) -> Result<(), Problem> {
        let checked = self.app.people.lockouts.check(&format!("{project} {key}"), now());
        checked.map_err(|wait| Problem::too_many_requests(wait.seconds()))
    }

    /// Notes how a try of an identity went.
    pub(crate) fn note_try(&self, project: &ProjectId, key: &str, is_good: bool) {
        let name = format!("{project} {key}");
        match is_good {
            true => self.app.people.lockouts.succeeded(&name),
            false => {
                self.app.people.lockouts.failed(&name, now());
            }
        }
    }
}

/// What is told of every try that shows nothing.
pub(crate) fn invalid_credentials() -> Problem {
    Problem::new(Code::InvalidCredentials, "that does not show who you are")
}

/// What is told where a project does not let people in this way.
pub(crate) fn disabled(what: &'static str) -> Problem {
    Problem::new(Code::Forbidden, format!("this project has no sign-in by {what}"))
}
