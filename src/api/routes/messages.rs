//! Channels by HTTP: to say something in one, and to see who is present. Neither is kept.

use actix_web::http::StatusCode;
use domain::Timestamp;
use domain::access::Access;
use domain::rejected::Reason;
use engine::channels::{Act, Channel, Draft};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::socket::channels::{data_of, entries, may, user};

/// A message to publish.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMessage<'a> {
    /// What to say: any JSON.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    data: &'a RawValue,
}

/// A message that all who are in the channel get.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Published {
    /// Names the message.
    #[schema(value_type = String)]
    id: Uuid,
    /// Its place among the channel's others.
    #[schema(pattern = "^[0-9a-f]{1,16}-[0-9]{1,20}$")]
    offset: String,
}

/// One connection of somebody.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct PresentOne {
    /// Names it.
    key: String,
    /// The user, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<String>,
    /// What it says of itself: any JSON.
    state: Value,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// Who is present.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Presence {
    /// In the order in which they came.
    present: Vec<PresentOne>,
}

/// Says something to all who are in a channel; by its `publish` rule, or with a secret key.
#[utoipa::path(
    post, path = "/v1/projects/{project}/channels/{channel}/messages",
    operation_id = "publishMessage", tag = "channels",
    request_body(content = NewMessage),
    responses((status = 200, description = "It is accepted.", body = Published)),
)]
pub(crate) async fn publish(mut call: Call) -> Answer {
    let scope = call.scope().await?;
    let name = call.channel()?;
    call.query(&[])?;
    let has_rule = || scope.live.channel(&name).is_some_and(|terms| terms.may_publish());
    if scope.principal.access() != Access::PastRules && !has_rule() {
        return Err(Reason::Denied.into());
    }
    let body = call.body(JSON).await?;
    let message: NewMessage<'_> = body::parse(&body)?;
    let engine = &call.app.engine;
    let data = data_of(engine, message.data.get())?;
    let channel = Channel::new(&scope.project, &name);
    may(engine, &scope, &channel, Act::Publish(&data)).await?;
    let draft = Draft { data, user: user(&scope), not_to: None };
    let (id, accepted) = engine.channels().publish(&channel, draft)?;
    let offset = accepted.await?.to_string();
    answer::json(StatusCode::OK, &Published { id, offset })
}

/// Lists who is present in a channel; by its `join` rule, or with a secret key.
#[utoipa::path(
    get, path = "/v1/projects/{project}/channels/{channel}/presence",
    operation_id = "listPresent", tag = "channels",
    responses((status = 200, description = "Who is present.", body = Presence)),
)]
pub(crate) async fn present(call: Call) -> Answer {
    let scope = call.reading_by_rules().await?;
    let name = call.channel()?;
    call.query(&[])?;
    let channel = Channel::new(&scope.project, &name);
    may(&call.app.engine, &scope, &channel, Act::Join).await?;
    let all = entries(&call.app.engine.channels().present(&channel));
    let json = format!("{{\"present\":{all}}}").into_bytes();
    Ok(answer::json_bytes(StatusCode::OK, json))
}
