//! What anybody may know of a project's access tokens: their keys, and where things are
//! (RFC 7517, OpenID Connect Discovery 1.0).

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use auth::access_token::{Endpoints, jwks, openid_configuration};
use serde_json::Value;

use crate::answer::{self, Answer};
use crate::call::Call;

/// A new key is known everywhere after this long at the latest.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The keys that prove the project's access tokens (RFC 7517).
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/.well-known/jwks.json", operation_id = "getJwks",
    tag = "auth",
    responses((status = 200, description = "A JWK set.", body = Object)),
)]
pub(crate) async fn keys(call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    cached(&jwks(&visit.directory.keys))
}

/// Where things are (OpenID Connect Discovery 1.0).
#[utoipa::path(
    get, path = "/v1/projects/{project}/auth/.well-known/openid-configuration",
    operation_id = "getOpenidConfiguration", tag = "auth",
    responses((status = 200, description = "The provider's metadata.", body = Object)),
)]
pub(crate) async fn discovery(call: Call) -> Answer {
    let visit = call.visit().await?;
    call.query(&[])?;
    let issuer = &visit.directory.issuer;
    let jwks = format!("{issuer}/.well-known/jwks.json");
    let userinfo = format!("{issuer}/userinfo");
    let token = format!("{issuer}/token");
    let authorization = format!("{issuer}/authorize");
    let endpoints = Endpoints {
        jwks: &jwks,
        authorization: Some(&authorization),
        token: Some(&token),
        userinfo: Some(&userinfo),
    };
    cached(&openid_configuration(issuer, &endpoints))
}

fn cached(body: &Value) -> Answer {
    let mut response = answer::json(StatusCode::OK, body)?;
    response.headers_mut().insert(CACHE_CONTROL, CACHED);
    Ok(response)
}
