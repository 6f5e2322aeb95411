//! Checks access tokens: first the form and the key, then the signature, then what it says. What
//! was checked once is remembered by its hash for as long as it is good.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use compact_str::CompactString;
use data_encoding::BASE64URL_NOPAD;
use domain::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Claims, LEEWAY_SECONDS, PublicKey, TOKEN_BYTES_MAX, TYPE};

/// Why a token is not taken. For logs and metrics; a client learns only that it was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is too long")]
    TooLong,
    /// Not a JWT in the compact form with the claims that an access token has.
    #[error("the token is malformed")]
    Malformed,
    /// Its header has something else than `alg`, `typ` and `kid`: extensions (`crit`), of which we
    /// know none, or keys and places of keys (`jwk`, `jku`, `x5u`), which we take from no token.
    #[error("the token's header is not one of ours")]
    Header,
    /// It is no access token.
    #[error("the token is of another type")]
    Type,
    /// Signed by a key that is not, or no longer, known.
    #[error("the token's key is unknown")]
    Key,
    /// Its algorithm is not its key's.
    #[error("the token's algorithm is not its key's")]
    Algorithm,
    /// It was not signed by its key.
    #[error("the token's signature is wrong")]
    Signature,
    /// It is of another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// It is for another project.
    #[error("the token is for another audience")]
    Audience,
    /// It is no longer good.
    #[error("the token has expired")]
    Expired,
    /// It is not good yet, or was made in the future.
    #[error("the token is not good yet")]
    NotYet,
}

/// Tokens that were found good; one for all verifiers of a process. Clones are the same cache.
#[derive(Clone)]
pub struct Cache {
    /// By the verifier that found it good and the token's SHA-256.
    tokens: Arc<quick_cache::sync::Cache<(u64, [u8; 32]), Found, Weigh>>,
    verifiers: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Found {
    claims: Arc<Claims>,
    token_bytes: usize,
}

#[derive(Clone)]
struct Weigh;

impl quick_cache::Weighter<(u64, [u8; 32]), Found> for Weigh {
    fn weight(&self, _: &(u64, [u8; 32]), found: &Found) -> u64 {
        found.token_bytes as u64
    }
}

impl Cache {
    /// Room for tokens of `bytes_max` bytes in all; 0 for none. What is remembered of a token takes
    /// two to three times its length.
    pub fn new(bytes_max: usize) -> Self {
        const TOKEN_BYTES_USUAL: usize = 768;
        let tokens = bytes_max / TOKEN_BYTES_USUAL;
        Self {
            tokens: Arc::new(quick_cache::sync::Cache::with_weighter(
                tokens,
                bytes_max as u64,
                Weigh,
            )),
            verifiers: Arc::new(AtomicU64::new(0)),
        }
    }

    /// How many tokens are in it: for metrics.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// Checks the tokens of one issuer for one audience.
pub struct Verifier {
    keys: HashMap<Box<str>, PublicKey>,
    issuer: CompactString,
    audience: CompactString,
    cache: Cache,
    /// Which verifier of the cache this is: what another one found good says nothing here.
    number: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    typ: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
}

impl Verifier {
    /// A verifier of tokens by `issuer` for `audience`, both compared as they are, signed by any
    /// of `keys`: the one in use and those that were retired but may still have signed tokens that
    /// are good. To drop a key, make a new verifier; what this one remembers goes with it.
    pub fn new(
        keys: impl IntoIterator<Item = PublicKey>,
        issuer: &str,
        audience: &str,
        cache: &Cache,
    ) -> Self {
        Self {
            keys: keys.into_iter().map(|key| (key.id().into(), key)).collect(),
            issuer: issuer.into(),
            audience: audience.into(),
            cache: cache.clone(),
            number: cache.verifiers.fetch_add(1, Relaxed),
        }
    }

    /// What the token says, if it is good at `now`. Whether its session has ended meanwhile is the
    /// caller's to look up.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let key = (self.number, Sha256::digest(token).into());
        if let Some(Found { claims, .. }) = self.cache.tokens.get(&key) {
            if let Err(refused) = self.check_times(&claims, now) {
                self.cache.tokens.remove(&key);
                return Err(refused);
            }
            return Ok(claims);
        }
        let claims = Arc::new(self.verify_anew(token)?);
        self.check_times(&claims, now)?;
        let found = Found { claims: claims.clone(), token_bytes: token.len() };
        self.cache.tokens.insert(key, found);
        Ok(claims)
    }

    #[cfg(test)]
    pub(super) fn cache_len(&self) -> usize {
        self.cache.len()
    }

    fn verify_anew(&self, token: &str) -> Result<Claims, Refused> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Refused::Malformed)?;
        let header = decode(header)?;
        let key = self.key(&header)?;
        if !key.verifies(message.as_bytes(), &decode(signature)?) {
            return Err(Refused::Signature);
        }
        let claims: Claims = object(&decode(payload)?).ok_or(Refused::Malformed)?;
        if claims.iss != self.issuer {
            return Err(Refused::Issuer);
        }
        if claims.aud != self.audience {
            return Err(Refused::Audience);
        }
        Ok(claims)
    }

    /// The key that the header names, if all that the header says is as it must be.
    fn key(&self, header: &[u8]) -> Result<&PublicKey, Refused> {
        let header: Header<'_> = object(header).ok_or(Refused::Header)?;
        // RFC 9068, section 4: `application/` may stand before it; RFC 2045: case does not count.
        let is_ours = header.typ.is_some_and(|typ| {
            let name = typ.strip_prefix("application/").unwrap_or(&typ);
            name.eq_ignore_ascii_case(TYPE)
        });
        if !is_ours {
            return Err(Refused::Type);
        }
        let kid = header.kid.ok_or(Refused::Key)?;
        let key = self.keys.get(&*kid).ok_or(Refused::Key)?;
        if header.alg != key.algorithm().name() {
            return Err(Refused::Algorithm);
        }
        Ok(key)
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<(), Refused> {
        let now = now.as_micros().div_euclid(1_000_000);
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= now {
            return Err(Refused::Expired);
        }
        let from = claims.nbf.map_or(claims.iat, |nbf| nbf.max(claims.iat));
        if from.saturating_sub(LEEWAY_SECONDS) > now {
            return Err(Refused::NotYet);
        }
        Ok(())
    }
}

/// A JSON object. serde would also take a list of its values.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    json.starts_with(b"{").then(|| serde_json::from_slice(json).ok()).flatten()
}

/// Base64url without padding, each value in one spelling.
fn decode(text: &str) -> Result<Vec<u8>, Refused> {
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| Refused::Malformed)
}
