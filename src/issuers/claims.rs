//! What a token claims, checked against the time and against whom it is meant for (RFC 7519
//! section 4.1).

use domain::Timestamp;
use serde_json::{Map, Value};

use crate::Error;

/// How far clocks may be apart, in microseconds.
const LEEWAY_MICROS: i64 = 30 * 1_000_000;
/// How long a subject may be, in characters (OpenID Connect Core 1.0 section 2).
const SUBJECT_CHARS_MAX: usize = 255;

/// The times of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) expires_at: Timestamp,
    pub(crate) issued_at: Option<Timestamp>,
}

/// Checks `exp`, which must be there, and `nbf` and `iat` if they are.
///
/// Errors: [`Error::Expired`], [`Error::NotYetValid`], [`Error::InvalidToken`].
pub(crate) fn times(claims: &Map<String, Value>, now: Timestamp) -> Result<Times, Error> {
    let missing = Error::InvalidToken("it does not say when it expires");
    let expires_at = time(claims, "exp")?.ok_or(missing)?;
    let issued_at = time(claims, "iat")?;
    let now = now.as_micros();
    if now >= expires_at.as_micros().saturating_add(LEEWAY_MICROS) {
        return Err(Error::Expired);
    }
    for start in [issued_at, time(claims, "nbf")?].into_iter().flatten() {
        if start.as_micros() > now.saturating_add(LEEWAY_MICROS) {
            return Err(Error::NotYetValid);
        }
    }
    Ok(Times { expires_at, issued_at })
}

/// A claim that is a time: seconds since the epoch, perhaps with a fraction (RFC 7519 section 2).
pub(crate) fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Error> {
    let Some(value) = claims.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let wrong = Error::InvalidToken("a time in it is not a number of seconds");
    let micros = match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) => seconds.checked_mul(1_000_000),
        // A cast of a float saturates.
        (None, Some(seconds)) if seconds.is_finite() => Some((seconds * 1e6) as i64),
        _ => None,
    };
    match micros {
        Some(micros) if micros >= 0 => Ok(Some(Timestamp::from_micros(micros))),
        _ => Err(wrong),
    }
}

/// A claim that is text.
pub(crate) fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// `sub`.
///
/// Errors: [`Error::InvalidToken`] when it is missing, empty or too long.
pub(crate) fn subject(claims: &Map<String, Value>) -> Result<&str, Error> {
    let subject = text(claims, "sub").unwrap_or_default();
    let fits = !subject.is_empty()
        && subject.chars().count() <= SUBJECT_CHARS_MAX
        && !subject.chars().any(char::is_control);
    if fits { Ok(subject) } else { Err(Error::InvalidToken("its subject is missing or unfit")) }
}

/// Everybody whom a token is meant for.
pub(crate) fn audiences(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether it is meant for one of `us`. A token that is also meant for others must have been asked
/// for by us (`azp`, OpenID Connect Core 1.0 section 3.1.3.7); with `strict`, every token that says
/// who asked for it.
///
/// Errors: [`Error::InvalidToken`].
pub(crate) fn audience(
    claims: &Map<String, Value>,
    us: &[&str],
    strict: bool,
) -> Result<(), Error> {
    let audiences = audiences(claims);
    if !audiences.iter().any(|one| us.contains(one)) {
        return Err(Error::InvalidToken("it is meant for somebody else"));
    }
    let asked = claims.get("azp").filter(|value| !value.is_null());
    let by_us = asked.is_some_and(|asked| asked.as_str().is_some_and(|asked| us.contains(&asked)));
    let matters = audiences.len() > 1 || (strict && asked.is_some());
    if matters && !by_us {
        return Err(Error::InvalidToken("somebody else asked for it"));
    }
    Ok(())
}

/// Whether a claim says yes, as a boolean or, as Apple and others write it, as text.
pub(crate) fn is_true(claims: &Map<String, Value>, name: &str) -> bool {
    match claims.get(name) {
        Some(Value::Bool(yes)) => *yes,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn times_have_thirty_seconds_of_grace() {
        let claims = map(json!({"exp": 1000, "iat": 500, "nbf": 500}));
        assert_eq!(times(&claims, at(469)), Err(Error::NotYetValid));
        assert!(times(&claims, at(470)).is_ok());
        assert!(times(&claims, at(1029)).is_ok());
        assert_eq!(times(&claims, at(1030)), Err(Error::Expired));
        let later = map(json!({"exp": 1000, "nbf": 600}));
        assert_eq!(times(&later, at(500)), Err(Error::NotYetValid));
    }

    #[test]
    fn times_must_be_numbers() {
        let good = map(json!({"exp": 1000.5, "iat": null}));
        let found = times(&good, at(1000)).unwrap();
        assert_eq!(found.expires_at.as_micros(), 1_000_500_000);
        assert_eq!(found.issued_at, None);
        for claims in [
            json!({}),
            json!({"exp": "1000"}),
            json!({"exp": -1}),
            json!({"exp": i64::MAX}),
            json!({"exp": 1000, "nbf": true}),
            json!({"exp": 1000, "iat": "now"}),
        ] {
            assert!(matches!(times(&map(claims), at(0)), Err(Error::InvalidToken(_))));
        }
    }

    #[test]
    fn whom_a_token_is_meant_for() {
        let check = |claims: Value, strict| audience(&map(claims), &["app", "ios"], strict).is_ok();
        assert!(check(json!({"aud": "app"}), true));
        assert!(check(json!({"aud": ["ios"]}), true));
        assert!(check(json!({"aud": ["app", "other"], "azp": "app"}), true));
        assert!(!check(json!({"aud": ["app", "other"]}), false));
        assert!(!check(json!({"aud": ["app", "other"], "azp": "other"}), false));
        assert!(!check(json!({"aud": "other", "azp": "app"}), false));
        assert!(!check(json!({}), false));
        assert!(!check(json!({"aud": {"app": 1}}), false));
        // A mobile app asks by its own id for a token that is meant for the server.
        assert!(check(json!({"aud": "app", "azp": "android"}), false));
        assert!(!check(json!({"aud": "app", "azp": "android"}), true));
    }

    proptest! {
        #[test]
        fn a_token_is_good_for_one_stretch_of_time(
            exp in 0_i64..4_000_000_000, life in 0_i64..100_000, now in 0_i64..4_000_000_000,
        ) {
            let claims = map(json!({"exp": exp, "iat": (exp - life).max(0)}));
            let good = times(&claims, at(now)).is_ok();
            prop_assert_eq!(good, now >= (exp - life).max(0) - 30 && now < exp + 30);
        }
    }
}
