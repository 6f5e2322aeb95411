//! A project's users, as its developer's server sees and changes them: past the rules, by a secret
//! key. What users do for themselves is in `routes/auth/`.

pub(crate) mod act;
pub(crate) mod edit;
pub(crate) mod list;
pub(crate) mod personal;

use actix_web::HttpResponse;
use domain::ids::check_id;
use engine::Committed;

use super::auth::visit::Visit;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::caller::Scope;
use crate::error::Problem;

impl Call {
    /// What mail, links and hooks of the caller's project need.
    fn visit_of(&self, scope: &Scope) -> Result<Visit, Problem> {
        let directory = self.app.people.directory(&scope.project, &scope.live)?;
        Ok(Visit { project: scope.project.clone(), live: scope.live.clone(), directory })
    }
}

/// Adds what answers to writes have; a write that changed nothing has no place in the log.
fn written(response: HttpResponse, committed: &Committed) -> Answer {
    match committed.events.is_empty() {
        true => Ok(response),
        false => answer::committed(response, committed),
    }
}

/// Checks names of roles or groups; `field` is where they are in the body.
pub(super) fn check_names<'a>(
    field: &str,
    names: impl IntoIterator<Item = &'a String>,
    count_max: usize,
) -> Result<(), Problem> {
    for (index, name) in names.into_iter().enumerate() {
        if index == count_max {
            return Err(Problem::body(field.to_owned(), format!("at most {count_max}")));
        }
        check_id(name)
            .map_err(|error| Problem::body(format!("{field}/{index}"), error.to_string()))?;
    }
    Ok(())
}
