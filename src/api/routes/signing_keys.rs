//! The keys that sign a project's access tokens. Their private halves never leave the server; the
//! public ones are also where other servers look for them, in `routes/auth/published.rs`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use auth::access_token::Algorithm;
use domain::projects::{ProjectCommand, ProjectEvent, SigningKey};
use domain::{Timestamp, command};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::body::{self, JSON};
use crate::call::Call;
use crate::error::{Code, Problem};
use crate::people::new_signing_key;

/// How tokens are signed.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = SigningAlgorithm)]
pub(crate) enum Name {
    /// Ed25519 (RFC 8037).
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518).
    #[serde(rename = "ES256")]
    Es256,
}

/// A signing key to make.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewSigningKey {
    /// How it signs.
    #[serde(default)]
    algorithm: Name,
}

/// A signing key, without its private half.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SigningKey)]
pub(crate) struct SigningKeyBody {
    /// `kid` of the tokens that it signs.
    id: String,
    /// Its public half (JWK, RFC 7517).
    #[schema(value_type = Object)]
    public: Map<String, Value>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Since when it signs no tokens; those that it signed are good as long as it is there.
    #[schema(value_type = Option<String>, format = DateTime)]
    retired_at: Option<Timestamp>,
}

/// The project's signing keys.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SigningKeys {
    /// The one that signs comes last. There are at most 10, and none before the first session.
    signing_keys: Vec<SigningKeyBody>,
}

impl From<&SigningKey> for SigningKeyBody {
    fn from(key: &SigningKey) -> Self {
        Self {
            id: key.id.clone(),
            public: key.public.clone(),
            created_at: key.created_at,
            retired_at: key.retired_at,
        }
    }
}

/// Lists the keys that sign access tokens or have signed some.
#[utoipa::path(
    get, path = "/v1/projects/{project}/signing-keys", operation_id = "listSigningKeys",
    tag = "projects",
    responses((status = 200, description = "The keys.", body = SigningKeys)),
)]
pub(crate) async fn list(call: Call) -> Answer {
    let scope = call.reading().await?;
    call.query(&[])?;
    let signing_keys = scope.live.state.signing_keys.iter().map(SigningKeyBody::from).collect();
    answer::json(StatusCode::OK, &SigningKeys { signing_keys })
}

/// Signs access tokens with a new key from now on. The one before is retired: it signs none, and
/// those that it signed stay good.
#[utoipa::path(
    post, path = "/v1/projects/{project}/signing-keys", operation_id = "createSigningKey",
    tag = "projects",
    request_body(content = NewSigningKey),
    responses((status = 201, description = "The new key.", body = SigningKeyBody)),
)]
pub(crate) async fn create(mut call: Call) -> Answer {
    let scope = call.past_rules().await?;
    call.query(&[])?;
    let body = call.body(JSON).await?;
    let NewSigningKey { algorithm } = body::parse(&body)?;
    let algorithm = match algorithm {
        Name::EdDsa => Algorithm::EdDsa,
        Name::Es256 => Algorithm::Es256,
    };
    let (id, public, private) = new_signing_key(&call.app.people, &scope.project, algorithm)?;
    let command = ProjectCommand::AddSigningKey { id, public, private, is_first: false };
    let command = command::Body::Project(command);
    let written = call.submit(scope.project, &scope.principal, command, &body).await?;
    let first = written.events.first().map(|recorded| &recorded.event);
    let made = first.map(|event| (event.time, ProjectEvent::decode(event)));
    let Some((created_at, Ok(Some(ProjectEvent::SigningKeyAdded { id, public, .. })))) = made
    else {
        return Err(Problem::new(Code::Internal, "the write made no key"));
    };
    let key = SigningKeyBody { id, public, created_at, retired_at: None };
    answer::committed(answer::json(StatusCode::CREATED, &key)?, &written)
}

/// Takes a retired key away: tokens that it signed are good no more.
#[utoipa::path(
    delete, path = "/v1/projects/{project}/signing-keys/{signingKey}",
    operation_id = "deleteSigningKey", tag = "projects",
    responses((status = 204, description = "The key is gone.")),
)]
pub(crate) async fn delete(call: Call) -> Answer {
    let scope = call.past_rules().await?;
    let id = call.signing_key()?;
    call.query(&[])?;
    let command = command::Body::Project(ProjectCommand::RemoveSigningKey { id });
    let written = call.submit(scope.project, &scope.principal, command, &[]).await?;
    answer::committed(HttpResponse::new(StatusCode::NO_CONTENT), &written)
}
