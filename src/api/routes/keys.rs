//! A project's keys. A key's text is made here, shown once in the answer, and kept nowhere: only
//! its hash is.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use domain::projects::{KeyKind, ProjectCommand, ProjectEvent};
use domain::{KeyId, Timestamp, command};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::caller;
use crate::error::{Code, Problem};

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 200;
/// Random characters of a key: 36 of 62 make 214 bits.
const RANDOM_CHARS: usize = 36;
/// Characters at a key's end that are kept to tell keys apart.
const HINT_CHARS: usize = 4;

/// What a key may do.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = KeyKind)]
pub(crate) enum Kind {
    /// Names the app; no rights of its own.
    Publishable,
    /// Past the rules; for servers only.
    Secret,
}

/// A key to make.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// What it may do.
    kind: Kind,
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// A key, without its text.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Key)]
pub(crate) struct KeyBody {
    /// Names the key in public.
    #[schema(value_type = String)]
    id: KeyId,
    /// What it may do.
    kind: Kind,
    /// For people.
    name: String,
    /// The key's last four characters.
    hint: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A new key, with its text.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct CreatedKey {
    #[serde(flatten)]
    about: KeyBody,
    /// The key's text, shown this once. `null` in the answer to a repeat by idempotency key: if
    /// the first answer was lost, revoke the key and make another.
    key: Option<String>,
}

/// The project's keys.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Keys {
    /// In the order of their ids. There are at most 100.
    keys: Vec<KeyBody>,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Publishable => Self::Publishable,
            Kind::Secret => Self::Secret,
        }
    }
}

impl From<KeyKind> for Kind {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Publishable => Self::Publishable,
            KeyKind::Secret => Self::Secret,
        }
    }
}

/// Makes a key. Its text is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/v1/projects/{project}/keys", operation_id = "createKey", tag = "projects",
    request_body(content = NewKey),
    responses((status = 201, description = "The new key.", body = CreatedKey)),
)]
pub(crate) async fn create(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let NewKey { kind, name } = body::parse(&body)?;
    let count = name.chars().count();
    if !(1..=NAME_CHARS_MAX).contains(&count) {
        let detail = format!("expected 1 to {NAME_CHARS_MAX} characters, has {count}");
        return Err(Problem::body("/name", detail));
    }
    let text = random_key(kind)?;
    let key_id = KeyId::new(&Uuid::now_v7().to_string())
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let command = command::Body::Project(ProjectCommand::CreateKey {
        key_id,
        kind: kind.into(),
        name,
        hash: caller::key_hash(&text),
        hint: text[text.len() - HINT_CHARS..].to_owned(),
        scopes: Vec::new(),
    });
    let written = call.submit(scope.project, &scope.principal, command, &body).await?;
    let key = Some(text).filter(|_| !written.replayed);
    let created = written.events.first().map(|recorded| {
        let decoded = ProjectEvent::decode(&recorded.event);
        (recorded.event.time, decoded)
    });
    let Some((created_at, Ok(Some(ProjectEvent::KeyCreated { key_id, kind, name, hint, .. })))) =
        created
    else {
        return Err(Problem::new(Code::Internal, "the write made no key"));
    };
    let about = KeyBody { id: key_id, kind: kind.into(), name, hint, created_at };
    let response = answer::json(StatusCode::CREATED, &CreatedKey { about, key })?;
    answer::committed(response, &written)
}

/// Lists the project's keys.
#[utoipa::path(
    get, path = "/v1/projects/{project}/keys", operation_id = "listKeys", tag = "projects",
    responses((status = 200, description = "The keys, without their text.", body = Keys)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading().await?;
    call.query(&[])?;
    let keys = scope.live.state.keys.iter().map(|(id, key)| KeyBody {
        id: id.clone(),
        kind: key.kind.into(),
        name: key.name.clone(),
        hint: key.hint.clone(),
        created_at: key.created_at,
    });
    answer::json(StatusCode::OK, &Keys { keys: keys.collect() })
}

/// Revokes a key, at once.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/keys/{key}", operation_id = "deleteKey",
    tag = "projects",
    responses((status = 204, description = "The key is revoked.")),
)]
pub(crate) async fn delete(call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let key_id = call.key()?;
    call.query(&[])?;
    let command = command::Body::Project(ProjectCommand::RevokeKey { key_id });
    let written = call.submit(scope.project, &scope.principal, command, &[]).await?;
    answer::committed(HttpResponse::new(StatusCode::NO_CONTENT), &written)
}

/// `hw_sk_` or `hw_pk_`, and random letters and digits, each equally likely.
fn random_key(kind: Kind) -> Result<String, Problem> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    /// The largest multiple of 62 that fits a byte: bytes from here on would favour some letters.
    const BYTE_END: u8 = 248;
    let mut text = String::from(match kind {
        Kind::Publishable => "hw_pk_",
        Kind::Secret => "hw_sk_",
    });
    let length = text.len() + RANDOM_CHARS;
    while text.len() < length {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)
            .map_err(|error| Problem::new(Code::Internal, format!("no randomness: {error}")))?;
        let fair = bytes.iter().filter(|byte| **byte < BYTE_END);
        let missing = length - text.len();
        text.extend(fair.take(missing).map(|byte| char::from(LETTERS[usize::from(byte % 62)])));
    }
    Ok(text)
}
