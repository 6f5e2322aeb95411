//! Id tokens (OpenID Connect Core 1.0 section 3.1.3.7): those that a code was exchanged for, and
//! those that a mobile app got from its platform.

use std::fmt::Write as _;

use domain::Timestamp;
use domain::sign_in::{Preset, Provider};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::jwt::{ID_TOKEN_BYTES_MAX, Token};
use crate::person::Person;
use crate::provider::Known;
use crate::{Client, Error, claims, discovery};

/// An id token whose issuer, signature and times are as they should be.
pub(crate) struct IdToken {
    pub(crate) issuer: String,
    pub(crate) algorithm: String,
    pub(crate) claims: Map<String, Value>,
}

impl Client {
    /// Takes an id token that an app got from its platform (Sign in with Apple, Google's
    /// Credential Manager and the like). It must be meant for the client id or one of the
    /// provider's further audiences. If the token has a nonce, `nonce` must be the same, or what
    /// the token has is its SHA-256 in hexadecimal; one without the other is refused.
    ///
    /// Errors: all of [`Error`] but `Refused`; [`Error::Configuration`] for GitHub, which has no
    /// id tokens.
    pub async fn verify_id_token(
        &self,
        provider: &Provider,
        token: &str,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<Person, Error> {
        if provider.kind == Preset::Github {
            return Err(Error::Configuration("GitHub has no id tokens".to_owned()));
        }
        let known = Known::of(provider)?;
        let IdToken { issuer, claims, .. } = self.check_id_token(&known, token, now).await?;
        let mut us = vec![provider.client_id.as_str()];
        us.extend(provider.audiences.iter().map(String::as_str));
        claims::audience(&claims, &us, false)?;
        check_nonce(&claims, nonce)?;
        let subject = claims::subject(&claims)?.to_owned();
        Ok(Person::new(provider.kind, issuer, subject, claims))
    }

    /// Checks what every id token must fulfil: who wrote it, that they signed it, and its times.
    /// Whom it is meant for, and the nonce, are left to the caller.
    pub(crate) async fn check_id_token(
        &self,
        known: &Known,
        text: &str,
        now: Timestamp,
    ) -> Result<IdToken, Error> {
        let token = Token::read(text, ID_TOKEN_BYTES_MAX)?;
        let issuer = known.token_issuer(&token.claims)?;
        let tenant = claims::text(&token.claims, "tid").unwrap_or_default().to_owned();
        let document = self.document(known).await?;
        let keys = discovery::endpoint(document.jwks_uri.as_ref(), "jwks_uri")?;
        let admits = |key: &crate::jwk::Key| known.key_signs_for(key.issuer(), &issuer, &tenant);
        self.verify_signature(keys, &token, admits).await?;
        let times = claims::times(&token.claims, now)?;
        if times.issued_at.is_none() {
            return Err(Error::InvalidToken("it does not say when it was made"));
        }
        Ok(IdToken { issuer, algorithm: token.header.alg, claims: token.claims })
    }
}

fn check_nonce(claims: &Map<String, Value>, nonce: Option<&str>) -> Result<(), Error> {
    let found = match claims.get("nonce") {
        None | Some(Value::Null) => None,
        Some(value) => Some(value.as_str().unwrap_or_default()),
    };
    let same = match (found, nonce) {
        (None, None) => true,
        (Some(found), Some(nonce)) if !nonce.is_empty() => {
            found == nonce || found.eq_ignore_ascii_case(&hexadecimal(&Sha256::digest(nonce)))
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(NONCE) }
}

/// The nonce is not the one that was sent along.
pub(crate) const NONCE: Error = Error::InvalidToken("it was made for another attempt to sign in");

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_nonce_is_compared_raw_or_hashed_and_never_left_out() {
        let check = |found: Value, given: Option<&str>| {
            check_nonce(json!({ "nonce": found }).as_object().unwrap(), given).is_ok()
        };
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(check(json!("abc"), Some("abc")));
        assert!(check(json!(hash), Some("abc")));
        assert!(check(json!(hash), Some(hash)));
        assert!(check(json!(null), None));
        assert!(!check(json!("abc"), Some(hash)));
        assert!(!check(json!("abc"), None));
        assert!(!check(json!(null), Some("abc")));
        assert!(!check(json!(""), Some("")));
        assert!(!check(json!(1), Some("1")));
    }
}
