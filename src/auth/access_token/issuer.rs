//! Makes access tokens.

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use super::{Claims, SigningKey, TOKEN_BYTES_MAX, TYPE};

/// The claims make a token that is longer than [`TOKEN_BYTES_MAX`], or could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// Too many or too large claims; the length that the token would have, in bytes.
    #[error("the token would have {0} bytes, more than {TOKEN_BYTES_MAX}")]
    TooLarge(usize),
    /// The system has no random bytes to give, which ES256 needs.
    #[error("the token could not be signed")]
    NoRandom,
}

/// Signs with one key. Clones are the same.
#[derive(Debug, Clone)]
pub struct Issuer {
    key: SigningKey,
    /// The header and the dot behind it.
    header: Box<str>,
}

impl Issuer {
    /// An issuer that signs with `key`.
    pub fn new(key: SigningKey) -> Self {
        let (alg, kid) = (key.public().algorithm().name(), key.public().id());
        let header = json!({ "alg": alg, "typ": TYPE, "kid": kid }).to_string();
        let header = format!("{}.", BASE64URL_NOPAD.encode(header.as_bytes())).into();
        Self { key, header }
    }

    /// The public half of the key that it signs with.
    pub fn key(&self) -> &super::PublicKey {
        self.key.public()
    }

    /// The token, in the compact form (RFC 7515, section 7.1).
    pub fn sign(&self, claims: &Claims) -> Result<String, Unsigned> {
        // A map with text keys and plain values always prints.
        let claims = serde_json::to_vec(claims).unwrap_or_default();
        const SIGNATURE_CHARACTERS: usize = 86;
        let message_bytes = self.header.len() + BASE64URL_NOPAD.encode_len(claims.len());
        let token_bytes = message_bytes + 1 + SIGNATURE_CHARACTERS;
        if token_bytes > TOKEN_BYTES_MAX {
            return Err(Unsigned::TooLarge(token_bytes));
        }
        let mut token = String::with_capacity(token_bytes);
        token.push_str(&self.header);
        BASE64URL_NOPAD.encode_append(&claims, &mut token);
        let signature = self.key.sign(token.as_bytes()).ok_or(Unsigned::NoRandom)?;
        token.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut token);
        Ok(token)
    }
}
