//! Mail and SMS that nobody is set up to send, for those who develop or test an app.

use actix_web::http::StatusCode;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::call::Call;
use crate::error::{Code, Problem};

/// A message that was kept instead of sent.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptMessage {
    /// Names it.
    id: String,
    /// When it would have been sent.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The address, or the number.
    to: String,
    /// What it is for: `verify-email`, `magic-link`, …
    kind: String,
    /// The subject; empty for SMS.
    subject: String,
    /// The text.
    text: String,
    /// The same as HTML.
    html: Option<String>,
    /// The code in it.
    code: Option<String>,
    /// The link in it.
    link: Option<String>,
}

/// Messages that were kept instead of sent.
#[derive(Deserialize, Serialize, ToSchema)]
pub(crate) struct KeptMessages {
    /// The newest comes first.
    messages: Vec<KeptMessage>,
}

/// Lists mail and SMS that were kept instead of sent; only on a server that keeps them.
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/inbox", operation_id = "listInbox", tag = "auth",
    params(("to" = Option<String>, Query, description = "Only those to this address or number.")),
    responses((status = 200, description = "The messages.", body = KeptMessages)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading().await?;
    let query = call.query(&["to"])?;
    let Some(inbox) = &call.app.people.inbox else {
        return Err(Problem::new(Code::NotFound, "this server keeps no messages"));
    };
    let kept = inbox.list(&scope.project, query.get("to"));
    let messages = kept
        .into_iter()
        .map(|kept| KeptMessage {
            id: kept.id,
            at: kept.at,
            to: kept.to,
            kind: kept.kind.as_str().to_owned(),
            subject: kept.subject,
            text: kept.text,
            html: kept.html,
            code: kept.code,
            link: kept.link,
        })
        .collect();
    answer::json(StatusCode::OK, &KeptMessages { messages })
}
