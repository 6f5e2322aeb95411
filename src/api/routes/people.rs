//! The roles and groups of a project: what each includes. Who has one is said of each user.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use domain::command;
use domain::ids::check_id;
use domain::projects::{Group, People, ProjectCommand, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::users::check_names;
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::Problem;

/// The most roles, and the most groups.
const ROLES_MAX: usize = 500;
/// The most roles that one of them names.
const INCLUDES_MAX: usize = 100;
/// The longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 500;

/// A role.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = Role)]
pub(crate) struct RoleBody {
    /// Roles that whoever has this one has, too.
    #[schema(max_items = 100)]
    includes: Vec<String>,
    /// For people.
    #[schema(max_length = 500)]
    description: String,
}

/// A group of users.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = Group)]
pub(crate) struct GroupBody {
    /// Roles of its members.
    #[schema(max_items = 100)]
    roles: Vec<String>,
    /// For people.
    #[schema(max_length = 500)]
    description: String,
}

/// All roles and groups. A role that is not named here is one all the same, and includes nothing.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Roles {
    /// By name.
    roles: BTreeMap<String, RoleBody>,
    /// By name.
    groups: BTreeMap<String, GroupBody>,
}

/// Gets roles and groups.
#[utoipa::path(
    get, path = "/v1/projects/{project}/roles", operation_id = "getRoles", tag = "users",
    responses((status = 200, description = "Roles and groups.", body = Roles)),
)]
pub(crate) async fn get(call: Call) -> Answer {
    let scope = call.reading().await?;
    call.query(&[])?;
    answer::json(StatusCode::OK, &Roles::from(scope.live.state.people.clone()))
}

/// Gives roles and groups: replaces all of them. A role may include one that includes it.
#[utoipa::path(
    put, path = "/v1/projects/{project}/roles", operation_id = "putRoles", tag = "users",
    request_body(content = Roles),
    responses((status = 200, description = "Roles and groups.", body = Roles)),
)]
pub(crate) async fn put(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let roles: Roles = body::parse(&body)?;
    roles.check()?;
    let people = People::from(roles);
    let shown = Roles::from(people.clone());
    let command = command::Body::Project(ProjectCommand::ConfigurePeople { people });
    let written = call.submit(scope.project, &scope.principal, command, &body).await?;
    answer::committed(answer::json(StatusCode::OK, &shown)?, &written)
}

impl Roles {
    fn check(&self) -> Result<(), Problem> {
        check_entries("/roles", self.roles.keys())?;
        check_entries("/groups", self.groups.keys())?;
        for (name, role) in &self.roles {
            check_names(&format!("/roles/{name}/includes"), &role.includes, INCLUDES_MAX)?;
            check_description(&format!("/roles/{name}/description"), &role.description)?;
        }
        for (name, group) in &self.groups {
            check_names(&format!("/groups/{name}/roles"), &group.roles, INCLUDES_MAX)?;
            check_description(&format!("/groups/{name}/description"), &group.description)?;
        }
        Ok(())
    }
}

fn check_entries<'a>(
    at: &'static str,
    names: impl ExactSizeIterator<Item = &'a String>,
) -> Result<(), Problem> {
    if names.len() > ROLES_MAX {
        return Err(Problem::body(at, format!("at most {ROLES_MAX}")));
    }
    for name in names {
        check_id(name).map_err(|error| Problem::body(at, format!("a name {error}")))?;
    }
    Ok(())
}

fn check_description(at: &str, text: &str) -> Result<(), Problem> {
    match text.chars().count() <= DESCRIPTION_CHARS_MAX {
        true => Ok(()),
        false => {
            Err(Problem::body(at.to_owned(), format!("at most {DESCRIPTION_CHARS_MAX} characters")))
        }
    }
}

impl From<Roles> for People {
    fn from(roles: Roles) -> Self {
        let role = |role: RoleBody| Role {
            includes: role.includes.into_iter().collect(),
            description: role.description,
        };
        let group = |group: GroupBody| Group {
            roles: group.roles.into_iter().collect(),
            description: group.description,
        };
        Self {
            roles: roles.roles.into_iter().map(|(name, one)| (name, role(one))).collect(),
            groups: roles.groups.into_iter().map(|(name, one)| (name, group(one))).collect(),
        }
    }
}

impl From<People> for Roles {
    fn from(people: People) -> Self {
        let role = |role: Role| RoleBody {
            includes: role.includes.into_iter().collect(),
            description: role.description,
        };
        let group = |group: Group| GroupBody {
            roles: group.roles.into_iter().collect(),
            description: group.description,
        };
        Self {
            roles: people.roles.into_iter().map(|(name, one)| (name, role(one))).collect(),
            groups: people.groups.into_iter().map(|(name, one)| (name, group(one))).collect(),
        }
    }
}
