//! Tries a draft of access rules on requests that those in force have decided on this node.

use access::Operation;
use actix_web::http::StatusCode;
use domain::projects::CollectionConfig;
use domain::{CollectionName, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::collections::{CollectionSettings, check_rules};
use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::Problem;
use crate::recording::{Change, Replay};

/// A draft of a collection's rules.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RulesDraft {
    /// Which collection.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}$")]
    collection: CollectionName,
    /// What would be said of it.
    #[serde(deserialize_with = "body::object")]
    settings: CollectionSettings,
}

/// What rules say.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RulesVerdict {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

/// What somebody wants to do with a document.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RulesOperation {
    /// See it by its id.
    Read,
    /// See it among others.
    List,
    /// Make it.
    Create,
    /// Change it.
    Update,
    /// Delete it.
    Delete,
}

/// A decision that the draft makes otherwise.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct RulesChange {
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    /// What.
    op: RulesOperation,
    /// Of which document.
    id: String,
    /// Which user asked; `null` for somebody who was not signed in.
    r#as: Option<String>,
    /// What the rules in force say.
    was: RulesVerdict,
    /// What the draft says.
    would: RulesVerdict,
    /// The field that it is about: one that is shown or not, or that may not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
}

/// What came of a draft.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct RulesTried {
    /// Decisions that were held against both; each document of a page is one.
    checked: usize,
    /// Those that come out alike.
    unchanged: usize,
    /// Decisions that can't be made again: what they were about can't be had as it was.
    skipped: usize,
    /// The others; at most 1,000 are listed.
    #[schema(max_items = 1000)]
    changes: Vec<RulesChange>,
}

/// Tries a draft of a collection's rules on requests of the last day, of which this node keeps
/// some in memory. Nothing is changed.
#[utoipa::path(
    post, path = "/v1/projects/{project}/rules/try", operation_id = "tryRules",
    tag = "collections",
    request_body(content = RulesDraft),
    responses((status = 200, description = "What would come out otherwise.", body = RulesTried)),
)]
pub(crate) async fn try_draft(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let RulesDraft { collection, settings } = body::parse(&body)?;
    settings.check().map_err(below_settings)?;
    let draft = check_rules(&CollectionConfig::from(settings)).map_err(below_settings)?;
    let current = scope.live.rules(&collection);
    let replay = Replay {
        engine: &call.app.engine,
        project: &scope.project,
        collection: &collection,
        current: &current,
        draft: &draft,
        changed_at: scope.live.state.access_changed_at,
    };
    let requests = call.app.recorder.of(&scope.project, &collection);
    let tried = replay.run(&requests).await;
    let shown = RulesTried {
        checked: tried.checked,
        unchanged: tried.unchanged,
        skipped: tried.skipped,
        changes: tried.changes.into_iter().map(RulesChange::from).collect(),
    };
    answer::json(StatusCode::OK, &shown)
}

/// The settings are a part of this body.
fn below_settings(problem: Problem) -> Problem {
    let pointer = format!("/settings{}", problem.place().unwrap_or_default());
    problem.field(pointer)
}

impl From<bool> for RulesVerdict {
    fn from(is_allowed: bool) -> Self {
        if is_allowed { Self::Allow } else { Self::Deny }
    }
}

impl From<Operation> for RulesOperation {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Read => Self::Read,
            Operation::List => Self::List,
            Operation::Create => Self::Create,
            Operation::Update => Self::Update,
            Operation::Delete => Self::Delete,
        }
    }
}

impl From<Change> for RulesChange {
    fn from(change: Change) -> Self {
        Self {
            time: change.time,
            op: change.operation.into(),
            id: change.id.to_string(),
            r#as: change.uid.map(|uid| uid.to_string()),
            was: change.was_allowed.into(),
            would: change.would_be_allowed.into(),
            field: change.field,
        }
    }
}
