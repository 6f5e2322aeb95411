//! Channels: what a developer says of one, or of all whose names begin alike.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use domain::projects::{self, ChannelConfig, ChannelPattern, ChannelState, ProjectCommand};
use domain::rejected::Reason;
use domain::{Timestamp, command};
use engine::channels::{self, HISTORY_MESSAGES_MAX, HISTORY_SECONDS_MAX};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::Problem;

/// Who may do what in a channel, as CEL expressions. No rule means no access, but for a secret key.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelRules {
    /// Hear its messages, see who is present, be present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    join: Option<String>,
    /// Send a message to all who are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10000)]
    publish: Option<String>,
}

/// What is kept of a channel's messages, in memory.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct History {
    /// The newest ones, at most so many.
    #[schema(minimum = 1, maximum = 1000)]
    messages: u32,
    /// For so long.
    #[schema(minimum = 1, maximum = 3600)]
    seconds: u32,
}

/// What a developer says of a channel.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChannelSettings {
    /// Access rules.
    #[serde(default, deserialize_with = "body::object")]
    rules: ChannelRules,
    /// What is kept for those who come back; nothing when absent.
    #[serde(default, deserialize_with = "body::maybe_object")]
    history: Option<History>,
}

/// A configured channel, or all whose names begin so.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Channel)]
pub(crate) struct ChannelBody {
    /// Its name; or the beginning of names and a star, which holds for those that nothing longer
    /// fits.
    #[schema(value_type = String)]
    name: ChannelPattern,
    /// Access rules.
    rules: ChannelRules,
    /// What is kept for those who come back.
    history: Option<History>,
    /// When it was first configured.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last configured.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A page of channels.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct ChannelPage {
    /// In the order of their names.
    channels: Vec<ChannelBody>,
    /// For the next page; `null` when there is none.
    cursor: Option<String>,
}

/// Configures a channel, or all whose names begin so; replaces all of its configuration.
#[utoipa::path(
    put, path = "/v1/projects/{project}/channels/{channel}",
    operation_id = "putChannel", tag = "channels",
    request_body(content = ChannelSettings),
    responses(
        (status = 200, description = "The channel, configured anew.", body = ChannelBody),
        (status = 201, description = "The channel, configured.", body = ChannelBody),
    ),
)]
pub(crate) async fn put(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let channel = call.channels()?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let settings: ChannelSettings = body::parse(&body)?;
    let config = settings.checked()?;
    let command =
        ProjectCommand::ConfigureChannel { channel: channel.clone(), config: config.clone() };
    let command = command::Body::Project(command);
    let project = scope.project;
    let written = call.submit(project.clone(), &scope.principal, command, &body).await?;
    let time = written.events.first().map(|first| first.event.time).unwrap_or_default();
    let live = call.app.engine.catalog().project(&project);
    let stored = live.as_ref().and_then(|live| live.state.channels.get(&channel));
    let created_at = stored.map_or(time, |stored| stored.created_at);
    let status = if created_at == time { StatusCode::CREATED } else { StatusCode::OK };
    let state = ChannelState { config, created_at, updated_at: time };
    let shown = ChannelBody::of(channel, &state);
    answer::committed(answer::json(status, &shown)?, &written)
}

/// Lists what is configured.
#[utoipa::path(
    get, path = "/v1/projects/{project}/channels", operation_id = "listChannels",
    tag = "channels",
    params(
        ("limit" = Option<u32>, Query, description = "Channels in the page.",
            minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the page before.",
            pattern = "^(\\*|[A-Za-z0-9-][A-Za-z0-9_.-]{0,127}(\\.\\*)?)$"),
    ),
    responses((status = 200, description = "A page of channels.", body = ChannelPage)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading().await?;
    let query = call.query(&["limit", "cursor"])?;
    let limit = query.limit(call.app.options.page_max)?;
    let after = query.id("cursor", ChannelPattern::new)?;
    let all = scope.live.state.channels.iter();
    let mut left = all.filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
    let page = left.by_ref().take(limit).map(|(name, state)| ChannelBody::of(name.clone(), state));
    let channels: Vec<_> = page.collect();
    let last = channels.last().filter(|_| left.next().is_some());
    let cursor = last.map(|last| last.name.to_string());
    answer::json(StatusCode::OK, &ChannelPage { channels, cursor })
}

/// Gets what was configured under this name, which may be other than what holds for a channel of
/// it.
#[utoipa::path(
    get, path = "/v1/projects/{project}/channels/{channel}",
    operation_id = "getChannel", tag = "channels",
    responses((status = 200, description = "The channel.", body = ChannelBody)),
)]
pub(crate) async fn get(call: Call) -> Answer {
    let scope = call.reading().await?;
    let name = call.channels()?;
    call.query(&[])?;
    match scope.live.state.channels.get(&name) {
        Some(state) => answer::json(StatusCode::OK, &ChannelBody::of(name, state)),
        None => Err(Reason::ChannelNotFound(name).into()),
    }
}

/// Takes a channel's configuration back. Who is in it by its rules leaves it.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/channels/{channel}",
    operation_id = "deleteChannel", tag = "channels",
    responses((status = 204, description = "The channel is no longer configured.")),
)]
pub(crate) async fn delete(call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let channel = call.channels()?;
    call.query(&[])?;
    let command = command::Body::Project(ProjectCommand::DeleteChannel { channel });
    let written = call.submit(scope.project, &scope.principal, command, &[]).await?;
    answer::committed(HttpResponse::new(StatusCode::NO_CONTENT), &written)
}

impl ChannelSettings {
    /// Errors with `invalid-body` and a pointer to what is out of bounds.
    fn checked(self) -> Result<ChannelConfig, Problem> {
        if let Some(history) = &self.history {
            let bounds = [
                ("messages", history.messages, HISTORY_MESSAGES_MAX),
                ("seconds", history.seconds, HISTORY_SECONDS_MAX),
            ];
            for (name, value, most) in bounds {
                if !(1..=most).contains(&value) {
                    let detail = format!("expected 1 to {most}");
                    return Err(Problem::body(format!("/history/{name}"), detail));
                }
            }
        }
        let ChannelRules { join, publish } = self.rules;
        let history = self.history.map(|history| projects::ChannelHistory {
            messages: history.messages,
            seconds: history.seconds,
        });
        let config = ChannelConfig { rules: projects::ChannelRules { join, publish }, history };
        // The compiler has the limits of what rules may be.
        access::Rules::compile(&channels::source(&config)).map_err(|error| {
            let pointer = format!("/rules/{}", channels::rule_name(&error.rule));
            let detail = format!("{}:{}: {}", error.line, error.column, error.message);
            Problem::body(pointer, detail)
        })?;
        Ok(config)
    }
}

impl ChannelBody {
    fn of(name: ChannelPattern, state: &ChannelState) -> Self {
        let ChannelConfig { rules, history } = &state.config;
        let rules = ChannelRules { join: rules.join.clone(), publish: rules.publish.clone() };
        let history =
            history.map(|history| History { messages: history.messages, seconds: history.seconds });
        let (created_at, updated_at) = (state.created_at, state.updated_at);
        Self { name, rules, history, created_at, updated_at }
    }
}
