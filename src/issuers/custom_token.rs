//! Custom tokens: the app's own server signs who somebody is, by a key whose public half the
//! project's configuration names. Good for one hour at most, and for one project.

use domain::Timestamp;
use serde_json::{Map, Value};

use crate::algorithm::Algorithm;
use crate::jwk::{Key, KeySet, Verdict};
use crate::jwt::Token;
use crate::{Error, claims};

/// How large a token may be, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How long a token may be good, in seconds from when it was made.
pub const SECONDS_MAX: i64 = 3600;
/// How many keys a project may name.
pub const KEYS_MAX: usize = 20;
const ROLES_MAX: usize = 100;
const ROLE_CHARS_MAX: usize = 255;
const TOKEN_ID_CHARS_MAX: usize = 255;
const AUDIENCE: &str = "headwater:";
/// What a project's keys may be used for, each only as far as it is of that kind.
const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256, Algorithm::Ps256];
/// What only private keys have (RFC 7518 section 6, RFC 8037 section 2).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What the app's own server says of somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct Custom {
    /// Who: `sub`, 1 to 255 characters.
    pub uid: String,
    /// What the `claims` claim holds; empty when absent.
    pub claims: Map<String, Value>,
    /// What the `roles` claim holds; `None` when absent.
    pub roles: Option<Vec<String>>,
    /// `jti`, if it has one: whoever wants it used once remembers it until it expires.
    pub token_id: Option<String>,
    /// `exp`.
    pub expires_at: Timestamp,
}

/// Whether a key may be named in a project's configuration.
///
/// Errors: [`Error::Configuration`] when it is symmetric, private, weak, or of a kind that is not
/// supported.
pub fn check_key(jwk: &Map<String, Value>) -> Result<(), Error> {
    read_key(jwk).map(|_| ()).map_err(|why| Error::Configuration(why.to_owned()))
}

fn read_key(jwk: &Map<String, Value>) -> Result<Key, &'static str> {
    let key = Key::read(jwk)?;
    if PRIVATE.iter().any(|part| jwk.contains_key(*part)) {
        return Err("the key is private: name its public half only");
    }
    key.only(&ALGORITHMS).ok_or("the key's alg must be EdDSA, ES256, RS256 or PS256")
}

/// Verifies a token for a project by the project's keys. `aud` must be `headwater:` and the
/// project's id; `iat` and `exp` must be there, at most an hour apart.
///
/// Errors: [`Error::InvalidToken`], [`Error::Expired`], [`Error::NotYetValid`], and
/// [`Error::Configuration`] when the project names no key that can be used.
pub fn verify(
    keys: &[Map<String, Value>],
    token: &str,
    project: &str,
    now: Timestamp,
) -> Result<Custom, Error> {
    let token = Token::read(token, TOKEN_BYTES_MAX)?;
    let usable: Vec<Key> = keys.iter().take(KEYS_MAX).flat_map(read_key).collect();
    if usable.is_empty() {
        let text = "the project has no key for custom tokens".to_owned();
        return Err(Error::Configuration(text));
    }
    if KeySet::new(usable).verify(&token, |_| true)? != Verdict::Signed {
        return Err(Error::InvalidToken("none of the project's keys signed it"));
    }
    let claims = &token.claims;
    let audience = format!("{AUDIENCE}{project}");
    if claims::audiences(claims) != [audience.as_str()] {
        return Err(Error::InvalidToken("it is meant for somebody else"));
    }
    let times = claims::times(claims, now)?;
    let made = times.issued_at.ok_or(Error::InvalidToken("it does not say when it was made"))?;
    let life = times.expires_at.as_micros() - made.as_micros();
    if !(1..=SECONDS_MAX * 1_000_000).contains(&life) {
        return Err(Error::InvalidToken("it must be good for an hour at most"));
    }
    Ok(Custom {
        uid: claims::subject(claims)?.to_owned(),
        roles: roles(claims)?,
        token_id: token_id(claims)?,
        expires_at: times.expires_at,
        claims: match claims.get("claims") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(custom)) => custom.clone(),
            Some(_) => return Err(Error::InvalidToken("its claims are not an object")),
        },
    })
}

fn roles(claims: &Map<String, Value>) -> Result<Option<Vec<String>>, Error> {
    let wrong = || Error::InvalidToken("its roles are not a list of up to 100 names");
    let list = match claims.get("roles") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) if list.len() <= ROLES_MAX => list,
        Some(_) => return Err(wrong()),
    };
    let role = |value: &Value| {
        let role = value.as_str()?;
        let fits = (1..=ROLE_CHARS_MAX).contains(&role.chars().count())
            && !role.chars().any(char::is_control);
        fits.then(|| role.to_owned())
    };
    list.iter().map(role).collect::<Option<_>>().map(Some).ok_or_else(wrong)
}

fn token_id(claims: &Map<String, Value>) -> Result<Option<String>, Error> {
    match claims.get("jti") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if (1..=TOKEN_ID_CHARS_MAX).contains(&id.chars().count()) => {
            Ok(Some(id.clone()))
        }
        Some(_) => Err(Error::InvalidToken("its id is unfit")),
    }
}

#[cfg(test)]
#[path = "custom_token_tests.rs"]
mod tests;
