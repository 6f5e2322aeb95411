//! A project's keys. A key's text is made here, shown once in the answer, and kept nowhere: only
//! its hash is.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use domain::projects::{Key, KeyKind, ProjectCommand, ProjectEvent};
use domain::rejected::Reason;
use domain::{KeyId, Timestamp, command};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::caller::{self, Scope};
use crate::error::{Code, Problem};

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 200;
/// Random characters of a key: 36 of 62 make 214 bits.
const RANDOM_CHARS: usize = 36;
/// Characters at a key's end that are kept to tell keys apart.
const HINT_CHARS: usize = 4;

/// What a secret key can be bound to.
const SCOPES: [&str; 13] = [
    "documents:read",
    "documents:write",
    "collections:read",
    "collections:write",
    "users:read",
    "users:write",
    "sign-in:read",
    "sign-in:write",
    "keys:read",
    "keys:write",
    "events:read",
    "project:read",
    "project:write",
];
/// How long a key's earlier text is taken after a rotation, in seconds, where nothing is said.
const GRACE_SECONDS: u32 = 3600;
/// The same at most: a week.
const GRACE_SECONDS_MAX: u32 = 7 * 24 * 3600;

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
    /// What a secret key is bound to; everything is open to it when absent. `documents:read`,
    /// `documents:write`, `collections:read`, `collections:write`, `users:read`, `users:write`,
    /// `sign-in:read`, `sign-in:write`, `keys:read`, `keys:write`, `events:read`, `project:read`
    /// and `project:write`; to write does not include to read.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 13)]
    scopes: Option<Vec<String>>,
}

/// How to give a key another text.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rotation {
    /// For how long the text before is taken as well, in seconds.
    #[serde(default = "grace_seconds")]
    #[schema(maximum = 604_800)]
    grace_seconds: u32,
}

fn grace_seconds() -> u32 {
    GRACE_SECONDS
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
    /// What it is bound to; everything is open to a secret key that is bound to nothing.
    scopes: Vec<String>,
    /// When its text was last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    rotated_at: Option<Timestamp>,
    /// When it was last used; noted once a day.
    #[schema(value_type = Option<String>, format = DateTime)]
    used_at: Option<Timestamp>,
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
    let NewKey { kind, name, scopes } = body::parse(&body)?;
    let count = name.chars().count();
    if !(1..=NAME_CHARS_MAX).contains(&count) {
        let detail = format!("expected 1 to {NAME_CHARS_MAX} characters, has {count}");
        return Err(Problem::body("/name", detail));
    }
    let scopes = checked_scopes(kind, scopes)?;
    check_grant(&scope, kind.into(), &scopes)?;
    let text = random_key(kind)?;
    let key_id = KeyId::new(&Uuid::now_v7().to_string())
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let command = command::Body::Project(ProjectCommand::CreateKey {
        key_id,
        kind: kind.into(),
        name,
        hash: caller::key_hash(&text),
        hint: hint(&text),
        scopes,
    });
    let written = call.submit(scope.project, &scope.principal, command, &body).await?;
    let key = Some(text).filter(|_| !written.replayed);
    let created = written.events.first().map(|recorded| {
        let decoded = ProjectEvent::decode(&recorded.event);
        (recorded.event.time, decoded)
    });
    let Some((
        created_at,
        Ok(Some(ProjectEvent::KeyCreated { key_id: id, kind, name, hint, scopes, .. })),
    )) = created
    else {
        return Err(Problem::new(Code::Internal, "the write made no key"));
    };
    let kind = kind.into();
    let about =
        KeyBody { id, kind, name, hint, created_at, scopes, rotated_at: None, used_at: None };
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
    let keys = scope
        .live
        .state
        .keys
        .iter()
        .map(|(id, key)| KeyBody::of(id, key, call.app.key_uses.last(&scope.project, id)));
    answer::json(StatusCode::OK, &Keys { keys: keys.collect() })
}

/// Gives a key another text, which is in this answer and nowhere else; what it may do stays.
#[utoipa::path(
    post, path = "/v1/projects/{project}/keys/{key}/rotate", operation_id = "rotateKey",
    tag = "projects",
    request_body(content = Rotation),
    responses((status = 200, description = "The key with its new text.", body = CreatedKey)),
)]
pub(crate) async fn rotate(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let key_id = call.key()?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let Rotation { grace_seconds } = body::parse(&body)?;
    if grace_seconds > GRACE_SECONDS_MAX {
        let detail = format!("expected 0 to {GRACE_SECONDS_MAX}");
        return Err(Problem::body("/graceSeconds", detail));
    }
    let known = scope.live.state.keys.get(&key_id);
    let known = known.cloned().ok_or_else(|| Reason::KeyNotFound(key_id.clone()))?;
    check_grant(&scope, known.kind, &known.scopes)?;
    let text = random_key(known.kind.into())?;
    let (hash, hint) = (caller::key_hash(&text), hint(&text));
    let command = ProjectCommand::RotateKey { key_id: key_id.clone(), hash, hint, grace_seconds };
    let command = command::Body::Project(command);
    let written = call.submit(scope.project, &scope.principal, command, &body).await?;
    let rotated = written.events.first().map(|recorded| &recorded.event);
    let rotated = rotated.map(|event| (event.time, ProjectEvent::decode(event)));
    let Some((at, Ok(Some(ProjectEvent::KeyRotated { hint, .. })))) = rotated else {
        return Err(Problem::new(Code::Internal, "the write rotated no key"));
    };
    let about = KeyBody { hint, rotated_at: Some(at), ..KeyBody::of(&key_id, &known, None) };
    let key = Some(text).filter(|_| !written.replayed);
    answer::committed(answer::json(StatusCode::OK, &CreatedKey { about, key })?, &written)
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

impl KeyBody {
    /// `used_here` is what this node remembers of its last use; the log knows it by the day.
    fn of(id: &KeyId, key: &Key, used_here: Option<Timestamp>) -> Self {
        Self {
            id: id.clone(),
            kind: key.kind.into(),
            name: key.name.clone(),
            hint: key.hint.clone(),
            created_at: key.created_at,
            scopes: key.scopes.clone(),
            rotated_at: key.rotated_at,
            used_at: key.used_at.max(used_here),
        }
    }
}

/// The scopes of a new key, each once.
///
/// Errors with `invalid-body` for what is none, and for a list of none: it would bind to nothing.
fn checked_scopes(kind: Kind, scopes: Option<Vec<String>>) -> Result<Vec<String>, Problem> {
    let Some(mut scopes) = scopes else { return Ok(Vec::new()) };
    if let Some(bad) = scopes.iter().position(|scope| !SCOPES.contains(&scope.as_str())) {
        let detail = format!("no such scope; there are {}", SCOPES.join(", "));
        return Err(Problem::body(format!("/scopes/{bad}"), detail));
    }
    match kind {
        Kind::Publishable => Err(Problem::body("/scopes", "a publishable key has no scopes")),
        Kind::Secret if scopes.is_empty() => {
            let detail = "leave scopes away for a key that everything is open to";
            Err(Problem::body("/scopes", detail))
        }
        Kind::Secret => {
            scopes.sort_unstable();
            scopes.dedup();
            Ok(scopes)
        }
    }
}

/// Errors with `forbidden` when the caller would get hold of a key that opens more than its own.
fn check_grant(scope: &Scope, kind: KeyKind, scopes: &[String]) -> Result<(), Problem> {
    let Some(own) = scope.bounds().filter(|_| kind == KeyKind::Secret) else { return Ok(()) };
    if scopes.is_empty() {
        let detail = "this key has scopes, so it can't give a key without";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    match scopes.iter().find(|scope| !own.contains(scope)) {
        Some(missing) => {
            let detail = format!("this key lacks the scope {missing}, so it can't give it");
            Err(Problem::new(Code::Forbidden, detail))
        }
        None => Ok(()),
    }
}

fn hint(text: &str) -> String {
    text[text.len() - HINT_CHARS..].to_owned()
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
