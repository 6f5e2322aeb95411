//! Signed tokens (JWT, RFC 7519; compact JWS, RFC 7515): taken apart, and verified by an issuer's
//! keys. What a token says of keys or addresses of its own is never followed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::jwk::{Key, KeySet, Verdict};
use crate::{Client, Error, discovery};

/// How large an id token may be, in bytes.
pub(crate) const ID_TOKEN_BYTES_MAX: usize = 32 * 1024;

/// A token that was taken apart. Nothing of it is to be believed before its signature is verified.
pub(crate) struct Token<'a> {
    pub(crate) header: Header,
    pub(crate) claims: Map<String, Value>,
    /// Header and claims as they were signed.
    pub(crate) signed: &'a str,
    pub(crate) signature: &'a str,
}

/// What matters of a token's header.
#[derive(Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    #[serde(default)]
    pub(crate) kid: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

const FORM: Error = Error::InvalidToken("it is not a signed token");

impl<'a> Token<'a> {
    /// Takes a token apart that has at most `bytes_max` bytes.
    ///
    /// Errors: [`Error::InvalidToken`].
    pub(crate) fn read(text: &'a str, bytes_max: usize) -> Result<Self, Error> {
        if text.len() > bytes_max {
            return Err(Error::InvalidToken("it is too long"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(FORM)?;
        let (header, claims) = signed.split_once('.').ok_or(FORM)?;
        if claims.contains('.') {
            return Err(FORM);
        }
        let header = Value::Object(part(header)?);
        let header: Header = serde_json::from_value(header).map_err(|_| FORM)?;
        // Extensions that must be understood: none is (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(Error::InvalidToken("its header asks for an extension"));
        }
        Ok(Self { header, claims: part(claims)?, signed, signature })
    }
}

// Structs would take lists as well: their fields in order.
fn part(text: &str) -> Result<Map<String, Value>, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| FORM)?;
    serde_json::from_slice(&bytes).map_err(|_| FORM)
}

impl Client {
    /// Verifies a token's signature by those keys at `address` that `admits` lets through. The keys
    /// are fetched again, at a bounded rate, when none of them can be the one: it may be new.
    pub(crate) async fn verify_signature(
        &self,
        address: &str,
        token: &Token<'_>,
        admits: impl Fn(&Key) -> bool,
    ) -> Result<(), Error> {
        // No key needs to be asked for a token that none may sign.
        if Algorithm::named(&token.header.alg).is_none() {
            return KeySet::new(Vec::new()).verify(token, admits).map(|_| ());
        }
        let inner = &self.inner;
        let fetch = || discovery::fetch_keys(&inner.http, address);
        let keys = inner.key_sets.get(address, fetch).await?;
        if keys.verify(token, &admits)? == Verdict::Signed {
            return Ok(());
        }
        let again_after = inner.options.keys_again_after;
        let newer = inner.key_sets.newer(address, &keys, again_after, fetch).await?;
        match newer.map(|keys| keys.verify(token, &admits)).transpose()? {
            Some(Verdict::Signed) => Ok(()),
            _ => Err(Error::InvalidToken("none of the issuer's keys signed it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::encode;

    #[test]
    fn what_is_not_a_token_is_refused() {
        let head = encode(&json!({"alg": "ES256"}));
        let claims = encode(&json!({"sub": "me"}));
        assert!(Token::read(&format!("{head}.{claims}.AA"), 4096).is_ok());
        let crit = encode(&json!({"alg": "ES256", "crit": ["b64"], "b64": false}));
        let list = encode(&json!(["sub"]));
        for text in [
            String::new(),
            "..".to_owned(),
            format!("{head}.{claims}"),
            format!("{head}.{claims}.AA.AA"),
            format!("{head}.{list}.AA"),
            format!("{head}=.{claims}.AA"),
            format!("{crit}.{claims}.AA"),
            format!("{}.{claims}.AA", encode(&json!({}))),
            format!("{}.{claims}.AA", encode(&json!(["ES256", null, null]))),
            format!("{head}.{claims}.{}", "A".repeat(5000)),
        ] {
            assert!(matches!(Token::read(&text, 4096), Err(Error::InvalidToken(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[A-Za-z0-9_.=-]{0,200}") {
            let _ = Token::read(&text, 100);
        }
    }
}
