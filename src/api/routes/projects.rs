//! Projects: the administrator makes, lists and deletes them; a secret key may read and rename its
//! own.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use domain::projects::{ProjectCommand, ProjectState};
use domain::{ProjectId, Timestamp, command};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::caller::Principal;
use crate::error::Problem;

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 200;

/// A project to make.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProject {
    /// Its id, for ever; never given again, not even after it is deleted.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$")]
    id: ProjectId,
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// What to change of a project.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectPatch {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// A project.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Project)]
pub(crate) struct ProjectBody {
    /// Its id.
    #[schema(value_type = String)]
    id: ProjectId,
    /// For people.
    name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When its configuration was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A page of projects.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct ProjectPage {
    /// In the order of their ids.
    projects: Vec<ProjectBody>,
    /// For the next page; `null` when there is none.
    cursor: Option<String>,
}

impl ProjectBody {
    fn new(id: ProjectId, state: &ProjectState) -> Self {
        let ProjectState { name, created_at, updated_at, .. } = state;
        Self { id, name: name.clone(), created_at: *created_at, updated_at: *updated_at }
    }
}

/// Makes a project.
#[utoipa::path(
    post, path = "/v1/projects", operation_id = "createProject", tag = "projects",
    request_body(content = NewProject),
    responses((status = 201, description = "The new project.", body = ProjectBody)),
)]
pub(crate) async fn create(mut call: Call) -> Answer {
    call.admin()?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let NewProject { id, name } = body::parse(&body)?;
    let command = command::Body::Project(ProjectCommand::Create { name: checked_name(name)? });
    let written = call.submit(id.clone(), &Principal::Admin, command, &body).await?;
    let mut response = answer::json(StatusCode::CREATED, &now(&call, id.clone())?)?;
    let location = answer::text(&format!("/v1/projects/{id}"));
    response.headers_mut().insert(header::LOCATION, location);
    answer::committed(response, &written)
}

/// Lists projects in the order of their ids.
#[utoipa::path(
    get, path = "/v1/projects", operation_id = "listProjects", tag = "projects",
    params(
        ("limit" = Option<u32>, Query, description = "Projects in the page.",
            minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the page before.",
            pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$"),
    ),
    responses((status = 200, description = "A page of projects.", body = ProjectPage)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    call.admin()?;
    let query = call.query(&["limit", "cursor"])?;
    let limit = query.limit(call.app.options.page_max)?;
    let after = query.id("cursor", ProjectId::new)?;
    call.app.engine.refresh_all().await?;
    // One more than asked for tells whether there is a next page.
    let mut found = call.app.engine.catalog().list(after.as_ref(), limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let cursor = found.last().filter(|_| more).map(|(id, _)| id.to_string());
    let projects =
        found.into_iter().map(|(id, project)| ProjectBody::new(id, &project.state)).collect();
    answer::json(StatusCode::OK, &ProjectPage { projects, cursor })
}

/// Gets a project.
#[utoipa::path(
    get, path = "/v1/projects/{project}", operation_id = "getProject", tag = "projects",
    responses((status = 200, description = "The project.", body = ProjectBody)),
)]
pub(crate) async fn get(call: Call) -> Answer {
    let scope = call.reading().await?;
    call.query(&[])?;
    answer::json(StatusCode::OK, &ProjectBody::new(scope.project, &scope.live.state))
}

/// Renames a project.
#[utoipa::path(
    patch, path = "/v1/projects/{project}", operation_id = "patchProject", tag = "projects",
    request_body(content = ProjectPatch),
    responses((status = 200, description = "The project, renamed.", body = ProjectBody)),
)]
pub(crate) async fn patch(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let ProjectPatch { name } = body::parse(&body)?;
    let command = command::Body::Project(ProjectCommand::Update { name: checked_name(name)? });
    let written = call.submit(scope.project.clone(), &scope.principal, command, &body).await?;
    let project = now(&call, scope.project)?;
    answer::committed(answer::json(StatusCode::OK, &project)?, &written)
}

/// Deletes a project and its keys. Its events stay in the log; its id is not given again.
#[utoipa::path(
    delete, path = "/v1/projects/{project}", operation_id = "deleteProject", tag = "projects",
    responses((status = 204, description = "The project is deleted.")),
)]
pub(crate) async fn delete(call: Call) -> Answer {
    call.admin()?;
    let project = call.project()?;
    call.query(&[])?;
    let command = command::Body::Project(ProjectCommand::Delete);
    let written = call.submit(project.clone(), &Principal::Admin, command, &[]).await?;
    // Its people are erased with it. Where that fails, a repeat of the request under its
    // idempotency key tries again.
    call.app.people.sealer.keys().wipe_project(&project).await?;
    answer::committed(HttpResponse::new(StatusCode::NO_CONTENT), &written)
}

/// The project as it is after a write; somebody else may have changed it once more.
fn now(call: &Call, id: ProjectId) -> Result<ProjectBody, Problem> {
    match call.app.engine.catalog().project(&id) {
        Some(project) => Ok(ProjectBody::new(id, &project.state)),
        None => Err(domain::rejected::Reason::ProjectNotFound.into()),
    }
}

fn checked_name(name: String) -> Result<String, Problem> {
    match name.chars().count() {
        1..=NAME_CHARS_MAX => Ok(name),
        count => {
            let detail = format!("expected 1 to {NAME_CHARS_MAX} characters, has {count}");
            Err(Problem::body("/name", detail))
        }
    }
}
