//! What others need to check our tokens: the keys, and where they are.

use serde_json::{Map, Value, json};

use super::{Algorithm, PublicKey};

/// The JWK set (RFC 7517, section 5): the key in use, those to come, and those that were retired
/// but are still good.
pub fn jwks<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Value {
    let keys: Vec<Value> = keys.into_iter().map(PublicKey::jwk).collect();
    json!({ "keys": keys })
}

/// Where things are: absolute URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Endpoints<'a> {
    /// The JWK set.
    pub jwks: &'a str,
    /// Where people are sent to sign in, if there is such a page.
    pub authorization: Option<&'a str>,
    /// Where codes and refresh tokens are exchanged.
    pub token: Option<&'a str>,
    /// What is known of the user.
    pub userinfo: Option<&'a str>,
}

/// The discovery document (OpenID Connect Discovery 1.0, section 3; RFC 8414) of `issuer`, which
/// must be `iss` of the tokens exactly.
pub fn openid_configuration(issuer: &str, endpoints: &Endpoints<'_>) -> Value {
    let Endpoints { jwks, authorization, token, userinfo } = *endpoints;
    let algorithms = [Algorithm::EdDsa.name(), Algorithm::Es256.name()];
    let mut document = Map::new();
    let mut say = |name: &str, value: Value| document.insert(name.to_owned(), value);
    say("issuer", issuer.into());
    say("jwks_uri", jwks.into());
    let optional = [
        ("authorization_endpoint", authorization),
        ("token_endpoint", token),
        ("userinfo_endpoint", userinfo),
    ];
    for (name, url) in optional {
        if let Some(url) = url {
            say(name, url.into());
        }
    }
    say("response_types_supported", json!(["code"]));
    say("subject_types_supported", json!(["public"]));
    say("id_token_signing_alg_values_supported", json!(algorithms));
    say("code_challenge_methods_supported", json!(["S256"]));
    say("acr_values_supported", json!(["aal1", "aal2"]));
    let claims = [
        "iss",
        "sub",
        "aud",
        "iat",
        "exp",
        "nbf",
        "jti",
        "sid",
        "roles",
        "groups",
        "claims",
        "acr",
        "amr",
        "auth_time",
        "email",
        "email_verified",
        "name",
        "picture",
        "locale",
        "phone_number",
        "phone_number_verified",
        "isAnonymous",
        "act",
    ];
    say("claims_supported", json!(claims));
    Value::Object(document)
}
