//! Tokens of other issuers, taken as access tokens: signed by the issuer's keys (RFC 7519, 7515),
//! meant for one of the audiences that the project names, and not yet expired. Tokens that were
//! verified are remembered for a short while.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use domain::sign_in::Issuer;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::jwt::Token;
use crate::{Client, Error, claims, discovery};

/// How large a token may be, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How many roles a token may give; further ones don't count.
pub const ROLES_MAX: usize = 100;
const ROLE_CHARS_MAX: usize = 255;
/// How long a verified token is not verified again: as long as a key that its issuer has taken
/// back may still count.
const VERIFIED_MICROS_MAX: i64 = 5 * 60 * 1_000_000;
/// How many verified tokens are remembered, in each of two halves.
const VERIFIED_MAX: usize = 2048;

/// Whoever a token of another issuer stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// All claims as they are.
    pub claims: Map<String, Value>,
    /// What the issuer's `roles_claim` holds: a list, or text with spaces between.
    pub roles: Vec<String>,
    /// `exp`.
    pub expires_at: Timestamp,
    /// `iat`, if it says so.
    pub issued_at: Option<Timestamp>,
    /// `auth_time`, if it says so: when somebody last proved who they are.
    pub auth_time: Option<Timestamp>,
}

/// Who a token says that it is from, before anything of it was verified: only good for choosing
/// how to verify it. `None` when it is no token of any issuer.
pub fn peek_issuer(token: &str) -> Option<String> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims).ok().filter(|_| parts.next().is_none())?;
    let claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
    claims::text(&claims, "iss").map(str::to_owned)
}

impl Client {
    /// Verifies a token by that one of `issuers` which wrote it.
    ///
    /// Errors: all of [`Error`] but `Refused`. [`Error::InvalidToken`] also when none of them
    /// wrote it.
    pub async fn verify_foreign(
        &self,
        issuers: &[Issuer],
        token: &str,
        now: Timestamp,
    ) -> Result<Foreign, Error> {
        let read = Token::read(token, TOKEN_BYTES_MAX)?;
        let name = claims::text(&read.claims, "iss").unwrap_or_default();
        // An issuer may be named more than once, with other audiences.
        let named: Vec<&Issuer> = issuers.iter().filter(|issuer| issuer.issuer == name).collect();
        if named.is_empty() {
            return Err(Error::InvalidToken("none of the project's issuers wrote it"));
        }
        let audiences = claims::audiences(&read.claims);
        let meant = |issuer: &&&Issuer| {
            issuer.audiences.iter().any(|audience| audiences.contains(&audience.as_str()))
        };
        let issuer = named.iter().find(meant);
        let issuer = issuer.ok_or(Error::InvalidToken("it is meant for somebody else"))?;

        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(foreign) = self.inner.verified.get(&digest, issuer, now) {
            claims::times(&foreign.claims, now)?;
            return Ok(foreign.as_ref().clone());
        }
        let keys = match &issuer.jwks_url {
            Some(url) => url.clone(),
            None => {
                let document = self.discover(&issuer.issuer).await?;
                discovery::endpoint(document.jwks_uri.as_ref(), "jwks_uri")?.to_owned()
            }
        };
        self.verify_signature(&keys, &read, |_| true).await?;
        let foreign = Arc::new(foreign(issuer, read.claims, now)?);
        self.inner.verified.keep(digest, issuer, &foreign, now);
        Ok(foreign.as_ref().clone())
    }
}

fn foreign(issuer: &Issuer, claims: Map<String, Value>, now: Timestamp) -> Result<Foreign, Error> {
    let times = claims::times(&claims, now)?;
    let roles = issuer.roles_claim.as_deref();
    Ok(Foreign {
        issuer: issuer.issuer.clone(),
        subject: claims::subject(&claims)?.to_owned(),
        roles: roles.map(|path| self::roles(&claims, path)).unwrap_or_default(),
        expires_at: times.expires_at,
        issued_at: times.issued_at,
        auth_time: claims::time(&claims, "auth_time")?,
        claims,
    })
}

/// The roles at a path of dotted names. A claim whose own name has dots, as names that are
/// addresses do, comes first.
fn roles(claims: &Map<String, Value>, path: &str) -> Vec<String> {
    let found = claims.get(path).or_else(|| {
        let mut names = path.split('.');
        let first = claims.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    });
    let texts: Vec<&str> = match found {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => text.split_whitespace().collect(),
        _ => Vec::new(),
    };
    let fits = |text: &&str| {
        (1..=ROLE_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    };
    texts.into_iter().filter(fits).take(ROLES_MAX).map(str::to_owned).collect()
}

/// Tokens that were verified, by their SHA-256. Full, it forgets the older half.
#[derive(Default)]
pub(crate) struct Verified {
    halves: Mutex<(Half, Half)>,
}

type Half = HashMap<[u8; 32], Entry>;

#[derive(Clone)]
struct Entry {
    // Another project may name the same issuer with other audiences.
    by: Issuer,
    foreign: Arc<Foreign>,
    verified_at: Timestamp,
}

impl Verified {
    fn get(&self, digest: &[u8; 32], by: &Issuer, now: Timestamp) -> Option<Arc<Foreign>> {
        let halves = self.halves.lock();
        let entry = halves.0.get(digest).or_else(|| halves.1.get(digest))?;
        let age = now.as_micros().saturating_sub(entry.verified_at.as_micros());
        let good = entry.by == *by && (0..VERIFIED_MICROS_MAX).contains(&age);
        good.then(|| Arc::clone(&entry.foreign))
    }

    fn keep(&self, digest: [u8; 32], by: &Issuer, foreign: &Arc<Foreign>, now: Timestamp) {
        let entry = Entry { by: by.clone(), foreign: Arc::clone(foreign), verified_at: now };
        let mut halves = self.halves.lock();
        if halves.0.len() >= VERIFIED_MAX {
            halves.1 = mem::take(&mut halves.0);
        }
        halves.0.insert(digest, entry);
    }
}

#[cfg(test)]
#[path = "third_party_tests.rs"]
mod tests;
