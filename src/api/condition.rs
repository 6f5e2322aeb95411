//! Conditions on a document's version by header: `If-Match` and `If-None-Match` (RFC 9110 §13).
//! An entity tag is the version in quotes.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use domain::documents::ExpectedVersion;

use crate::error::Problem;

/// A document's entity tag.
pub(crate) fn etag(version: u64) -> HeaderValue {
    let tag = format!("\"{version}\"");
    HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// The version that a write is meant for, by `If-Match`.
///
/// Errors when the header is neither `*` nor one strong entity tag of ours.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<ExpectedVersion, Problem> {
    match text(headers, IF_MATCH, "If-Match")? {
        None => Ok(ExpectedVersion::Any),
        Some("*") => Ok(ExpectedVersion::Exists),
        Some(tag) => version_of(tag).map(ExpectedVersion::Exact).ok_or_else(|| {
            Problem::parameter("If-Match", "expected * or one version in quotes, as in \"3\"")
        }),
    }
}

/// As [`if_match`], or `If-None-Match: *` for a document that must not exist.
pub(crate) fn if_match_or_none(headers: &HeaderMap) -> Result<ExpectedVersion, Problem> {
    let expected = if_match(headers)?;
    match text(headers, IF_NONE_MATCH, "If-None-Match")? {
        None => Ok(expected),
        Some("*") if expected == ExpectedVersion::Any => Ok(ExpectedVersion::NoStream),
        Some("*") => Err(Problem::parameter("If-None-Match", "can't stand beside If-Match")),
        Some(_) => Err(Problem::parameter("If-None-Match", "on a write expected *")),
    }
}

/// Whether a read may be answered with 304: the client has this version.
///
/// Errors when the header is not a list of entity tags.
pub(crate) fn has_version(headers: &HeaderMap, version: u64) -> Result<bool, Problem> {
    let Some(list) = text(headers, IF_NONE_MATCH, "If-None-Match")? else { return Ok(false) };
    if list == "*" {
        return Ok(true);
    }
    let mut found = false;
    for tag in list.split(',') {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        if tag.len() < 2 || !tag.starts_with('"') || !tag.ends_with('"') {
            return Err(Problem::parameter("If-None-Match", "expected * or tags in quotes"));
        }
        found |= version_of(tag) == Some(version);
    }
    Ok(found)
}

fn text<'a>(
    headers: &'a HeaderMap,
    name: HeaderName,
    shown: &'static str,
) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Problem::parameter(shown, "not ASCII"))?;
    Ok(Some(text.trim()))
}

fn version_of(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if canonical { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_writes_may_ask_for() {
        use ExpectedVersion::{Any, Exact, Exists, NoStream};
        type Row<'a> = (&'a [(HeaderName, &'a str)], Option<ExpectedVersion>);
        let rows: &[Row<'_>] = &[
            (&[], Some(Any)),
            (&[(IF_MATCH, "*")], Some(Exists)),
            (&[(IF_MATCH, "\"12\"")], Some(Exact(12))),
            (&[(IF_NONE_MATCH, "*")], Some(NoStream)),
            (&[(IF_MATCH, "12")], None),
            (&[(IF_MATCH, "\"012\"")], None),
            (&[(IF_MATCH, "\"\"")], None),
            (&[(IF_MATCH, "W/\"12\"")], None),
            (&[(IF_MATCH, "\"1\", \"2\"")], None),
            (&[(IF_MATCH, "\"99999999999999999999\"")], None),
            (&[(IF_NONE_MATCH, "\"1\"")], None),
            (&[(IF_NONE_MATCH, "*"), (IF_MATCH, "\"1\"")], None),
        ];
        for (given, expected) in rows {
            assert_eq!(if_match_or_none(&headers(given)).ok(), *expected, "{given:?}");
        }
    }

    #[test]
    fn what_reads_may_have() {
        let rows = [
            ("*", Some(true)),
            ("\"3\"", Some(true)),
            ("W/\"3\"", Some(true)),
            ("\"1\", \"3\"", Some(true)),
            ("\"4\"", Some(false)),
            ("\"abc\"", Some(false)),
            ("3", None),
            ("\"", None),
        ];
        for (given, expected) in rows {
            let headers = headers(&[(IF_NONE_MATCH, given)]);
            assert_eq!(has_version(&headers, 3).ok(), expected, "{given}");
        }
        assert!(!has_version(&HeaderMap::new(), 3).unwrap());
    }
}
