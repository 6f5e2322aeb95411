//! One project's sign-in, ready to use: its configuration with secrets opened, the keys that prove
//! its tokens, and the one that signs them.

use std::sync::Arc;

use auth::access_token::{
    Algorithm, Cache, Claims, Issuer, PublicKey, Refused, SigningKey, Verifier,
};
use domain::sign_in::Config;
use domain::{ProjectId, Timestamp};
use engine::Project;
use serde_json::{Map, Value};

use super::People;
use crate::error::{Code, Problem};

/// One project's sign-in.
pub(crate) struct Directory {
    /// How people sign in, secrets opened.
    pub(crate) config: Config,
    /// `iss` of its tokens.
    pub(crate) issuer: String,
    /// The public halves of its signing keys, the newest last.
    pub(crate) keys: Vec<PublicKey>,
    verifier: Verifier,
    signer: Option<Issuer>,
}

impl Directory {
    pub(super) fn new(
        people: &People,
        id: &ProjectId,
        project: &Arc<Project>,
        cache: &Cache,
    ) -> Result<Self, Problem> {
        let state = &project.state;
        let mut config = state.sign_in.clone();
        for secret in config.secrets_mut() {
            let opened = people.server_keys.open_secret(&secret_context(id), &secret.0)?;
            secret.0 = String::from_utf8(opened)
                .map_err(|_| Problem::new(Code::Internal, "a stored secret is not text"))?;
        }
        let issuer = people.issuer(id);
        let public = |jwk: &Map<String, Value>| PublicKey::from_jwk(Value::Object(jwk.clone()));
        let keys: Vec<PublicKey> =
            state.signing_keys.iter().filter_map(|key| public(&key.public).ok()).collect();
        let verifier = Verifier::new(keys.iter().cloned(), &issuer, id.as_str(), cache);
        let active = state.signing_keys.iter().rev().find(|key| key.retired_at.is_none());
        let signer = match active {
            Some(key) => {
                let opened = people.server_keys.open_secret(&key_context(id), &key.private)?;
                let public = public(&key.public).map_err(bad_key)?;
                let key = SigningKey::from_pkcs8(public.algorithm(), &opened).map_err(bad_key)?;
                Some(Issuer::new(key))
            }
            None => None,
        };
        Ok(Self { config, issuer, keys, verifier, signer })
    }

    /// What an access token of this project says, if it is good now.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Refused> {
        self.verifier.verify(token, now)
    }

    /// Signs access tokens; `None` before the project's first.
    pub(crate) fn signer(&self) -> Option<&Issuer> {
        self.signer.as_ref()
    }
}

fn bad_key(error: auth::access_token::InvalidKey) -> Problem {
    Problem::new(Code::Internal, "a stored signing key can't be used").because(error)
}

/// A new signing key for a project: its id, its public half, and its private half sealed.
pub(crate) fn new_signing_key(
    people: &People,
    id: &ProjectId,
    algorithm: Algorithm,
) -> Result<(String, Map<String, Value>, String), Problem> {
    let (private, public) = SigningKey::generate(algorithm);
    let sealed = people.server_keys.seal_secret(&key_context(id), &private)?;
    let jwk = public.jwk().as_object().cloned().unwrap_or_default();
    Ok((public.id().to_owned(), jwk, sealed))
}

/// What the secrets of a project's sign-in are sealed for.
pub(crate) fn secret_context(id: &ProjectId) -> String {
    format!("sign-in/{id}")
}

fn key_context(id: &ProjectId) -> String {
    format!("signing-key/{id}")
}
