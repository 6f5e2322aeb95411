//! Looking at users: one, a page of them, one by its address, and the sessions of one.

use actix_web::http::StatusCode;
use domain::{ProjectId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::call::{Call, Query};
use crate::error::Problem;
use crate::people::{UserBody, Way};
use crate::routes::auth::sessions::Sessions;

/// Users that are read at a time.
const CHUNK: usize = 100;
/// Bytes of users in one page, whatever its limit.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// A page of users.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = UserPage)]
pub(crate) struct Page {
    /// In the order of their ids.
    users: Vec<UserBody>,
    /// The `cursor` of the next page; `null` when there is none.
    cursor: Option<String>,
}

/// Lists users in the order of their ids, or finds the one that signs in by an address.
#[utoipa::path(
    get, path = "/v1/projects/{project}/users", operation_id = "listUsers", tag = "users",
    params(
        ("limit" = Option<u32>, Query, description = "Users in the page.",
            minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the page before.",
            pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$"),
        ("email" = Option<String>, Query, description = "Only whose mail address this is."),
        ("phone" = Option<String>, Query, description = "Only whose phone number this is."),
    ),
    responses((status = 200, description = "A page of users.", body = Page)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading().await?;
    let query = call.query(&["limit", "cursor", "email", "phone"])?;
    let limit = query.limit(call.app.options.page_max)?;
    let after = query.id("cursor", UserId::new)?;
    let page = match way(&query)? {
        Some(way) => call.users_by(&scope.project, way).await?,
        None => call.users_after(&scope.project, after, limit).await?,
    };
    answer::json(StatusCode::OK, &page)
}

/// Gets a user.
#[utoipa::path(
    get, path = "/v1/projects/{project}/users/{user}", operation_id = "getUser", tag = "users",
    responses((status = 200, description = "The user.", body = UserBody)),
)]
pub(crate) async fn get(call: Call) -> Answer {
    let scope = call.reading().await?;
    let id = call.user()?;
    call.query(&[])?;
    let state = call.user_state(&scope.project, &id).await?;
    let body = call.app.people.show(&scope.project, &id, &state).await?;
    answer::json(StatusCode::OK, &body)
}

/// Lists a user's sessions.
#[utoipa::path(
    get, path = "/v1/projects/{project}/users/{user}/sessions",
    operation_id = "listUserSessions", tag = "users",
    responses((status = 200, description = "The sessions.", body = Sessions)),
)]
pub(crate) async fn sessions(call: Call) -> Answer {
    let scope = call.reading().await?;
    let id = call.user()?;
    call.query(&[])?;
    answer::json(StatusCode::OK, &call.sessions_of(&scope.project, &id, None).await?)
}

/// The address that is asked for.
///
/// Errors with `invalid-parameter` when it is none, or there are two.
fn way(query: &Query) -> Result<Option<Way<'_>>, Problem> {
    match (query.get("email"), query.get("phone")) {
        (None, None) => Ok(None),
        (Some(email), None) => match auth::address::email(email) {
            Ok(_) => Ok(Some(Way::Email(email))),
            Err(error) => Err(Problem::parameter("email", error.to_string())),
        },
        (None, Some(phone)) => match auth::address::phone(phone) {
            Ok(_) => Ok(Some(Way::Phone(phone))),
            Err(error) => Err(Problem::parameter("phone", error.to_string())),
        },
        (Some(_), Some(_)) => Err(Problem::parameter("phone", "ask for one address at a time")),
    }
}

impl Call {
    async fn users_by(&self, project: &ProjectId, way: Way<'_>) -> Result<Page, Problem> {
        let people = &self.app.people;
        let key = people.key(project, way)?;
        let mut users = Vec::new();
        if let Some(id) = self.app.engine.user_by_identity(project, &key).await?
            && let Some(state) = self.app.engine.user(project, &id).await?
        {
            users.push(people.show(project, &id, &state).await?);
        }
        Ok(Page { users, cursor: None })
    }

    async fn users_after(
        &self,
        project: &ProjectId,
        mut after: Option<UserId>,
        limit: usize,
    ) -> Result<Page, Problem> {
        let (mut users, mut bytes) = (Vec::new(), 0);
        loop {
            let chunk = CHUNK.min(limit - users.len());
            let (found, next) = self.app.engine.users(project, after.as_ref(), chunk).await?;
            for (id, state) in found {
                let user = self.app.people.show(project, &id, &state).await?;
                bytes += serde_json::to_vec(&user).map_or(0, |json| json.len());
                users.push(user);
            }
            let is_full = users.len() >= limit || bytes > PAGE_BYTES_MAX;
            match next {
                Some(next) if is_full => {
                    return Ok(Page { users, cursor: Some(next.to_string()) });
                }
                None => return Ok(Page { users, cursor: None }),
                next => after = next,
            }
        }
    }
}
