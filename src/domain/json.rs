//! JSON as clients send it: checked once (size, depth, duplicate names), then kept as compact
//! text. Text and not a tree, so that numbers keep every digit and nothing is parsed that nobody
//! looks into.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Bounds of one JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, after white space is taken out.
    pub bytes_max: usize,
    /// How deep objects and arrays may nest; the outermost object is 1.
    pub depth_max: usize,
}

impl Limits {
    /// What a document may be by default: 1 MiB, 64 deep.
    pub const DOCUMENT: Self = Self { bytes_max: 1 << 20, depth_max: 64 };
    /// What an event's data may be: two documents (the state after and what it was before), and
    /// their frame.
    pub const STORED: Self = Self { bytes_max: (2 << 20) + (64 << 10), depth_max: 72 };
}

/// Why a text is not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Invalid {
    /// Not JSON at all.
    #[error("is not valid JSON: {0}")]
    Syntax(String),
    /// Something else where an object must be.
    #[error("must be a JSON object")]
    NotAnObject,
    /// Larger than [`Limits::bytes_max`].
    #[error("is {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Nested deeper than [`Limits::depth_max`].
    #[error("is nested deeper than {depth_max} levels")]
    TooDeep {
        /// The limit.
        depth_max: usize,
    },
}

/// Checks that `text` is one JSON object within `limits`, without duplicate names, and takes the
/// white space out.
pub fn compact_object(text: &[u8], limits: Limits) -> Result<Vec<u8>, Invalid> {
    compact(text, limits, true)
}

/// The same for any JSON value.
pub fn compact_value(text: &[u8], limits: Limits) -> Result<Vec<u8>, Invalid> {
    compact(text, limits, false)
}

fn compact(text: &[u8], limits: Limits, must_be_object: bool) -> Result<Vec<u8>, Invalid> {
    let first = text.iter().find(|b| !b.is_ascii_whitespace());
    // Depth first and by hand: the parser below recurses, so nothing deeper may reach it.
    check_depth(text, limits.depth_max)?;
    let text = std::str::from_utf8(text).map_err(|e| Invalid::Syntax(e.to_string()))?;
    let mut parser = serde_json::Deserializer::from_str(text);
    NoDuplicates
        .deserialize(&mut parser)
        .and_then(|()| parser.end())
        .map_err(|e| Invalid::Syntax(e.to_string()))?;
    if must_be_object && first != Some(&b'{') {
        return Err(Invalid::NotAnObject);
    }
    let compact = strip_whitespace(text.as_bytes());
    if compact.len() > limits.bytes_max {
        return Err(Invalid::TooLarge { bytes: compact.len(), bytes_max: limits.bytes_max });
    }
    Ok(compact)
}

/// Tells, byte by byte, what stands in a string and what between.
#[derive(Default)]
struct Scan {
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Whether the next byte belongs to a string, its quotes included.
    fn is_string(&mut self, byte: u8) -> bool {
        if !self.in_string {
            self.in_string = byte == b'"';
            return self.in_string;
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_string = false,
            _ => {}
        }
        true
    }
}

/// Counts brackets outside strings. Malformed text may pass: the parser has the last word.
fn check_depth(text: &[u8], depth_max: usize) -> Result<(), Invalid> {
    let (mut scan, mut depth) = (Scan::default(), 0_usize);
    for &byte in text {
        if scan.is_string(byte) {
            continue;
        }
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return Err(Invalid::TooDeep { depth_max });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Takes white space out from between tokens. The text must be valid JSON.
fn strip_whitespace(text: &[u8]) -> Vec<u8> {
    let (mut scan, mut out) = (Scan::default(), Vec::with_capacity(text.len()));
    for &byte in text {
        if scan.is_string(byte) || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push(byte);
        }
    }
    out
}

/// Walks a value and fails on a name that an object has twice (RFC 8259 §4 leaves its meaning
/// open).
struct NoDuplicates;

impl<'de> DeserializeSeed<'de> for NoDuplicates {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NoDuplicates {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(NoDuplicates)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        // Most objects are small: a scan beats a hash set until about sixteen names.
        const SCAN_MAX: usize = 16;
        let mut few: Vec<std::borrow::Cow<'de, str>> = Vec::new();
        let mut many: HashSet<std::borrow::Cow<'de, str>> = HashSet::new();
        while let Some(name) = entries.next_key::<Name<'de>>()? {
            let Name(name) = name;
            if name == RAW_NAME {
                return Err(serde::de::Error::custom("an object has a name that is not allowed"));
            }
            let fresh = if few.len() < SCAN_MAX && many.is_empty() {
                let fresh = !few.contains(&name);
                few.push(name);
                fresh
            } else {
                many.extend(few.drain(..));
                many.insert(name)
            };
            if !fresh {
                return Err(serde::de::Error::custom("an object has the same name twice"));
            }
            entries.next_value_seed(NoDuplicates)?;
        }
        Ok(())
    }
}

/// An object with this name first is read by `serde_json` as the JSON in its text, with a limit of
/// depth of its own: texts within texts would nest without an end. Nobody's data needs it.
const RAW_NAME: &str = "$serde_json::private::RawValue";

/// Checks JSON that is to be read into a tree and is not checked by [`compact_object`]: that it
/// nests no deeper than it shows.
pub fn check_names(text: &[u8]) -> Result<(), Invalid> {
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    // The name may be written with escapes.
    if !has(b"private::RawValue") && !has(b"\\u") {
        return Ok(());
    }
    let syntax = |e: serde_json::Error| Invalid::Syntax(e.to_string());
    let mut parser = serde_json::Deserializer::from_slice(text);
    NoDuplicates.deserialize(&mut parser).and_then(|()| parser.end()).map_err(syntax)
}

/// A name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] std::borrow::Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Limits = Limits { bytes_max: 45, depth_max: 3 };

    fn compact(text: &str) -> Result<String, Invalid> {
        compact_object(text.as_bytes(), SMALL).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn white_space_goes_and_digits_stay() {
        let text = " { \"a b\" : [ 1.0 , 12345678901234567890 ] ,\n\t\"q\\\"\" : \" \" } ";
        assert_eq!(compact(text).unwrap(), r#"{"a b":[1.0,12345678901234567890],"q\"":" "}"#);
    }

    #[test]
    fn what_is_refused() {
        assert!(matches!(compact("[1]"), Err(Invalid::NotAnObject)));
        assert!(matches!(compact("{"), Err(Invalid::Syntax(_))));
        assert!(matches!(compact("{} {}"), Err(Invalid::Syntax(_))));
        assert!(matches!(compact(r#"{"a":1,"a":2}"#), Err(Invalid::Syntax(_))));
        assert!(matches!(compact(r#"{"a":1,"\u0061":2}"#), Err(Invalid::Syntax(_))));
        assert!(matches!(compact(r#"{"a":"\ud800"}"#), Err(Invalid::Syntax(_))));
        assert!(matches!(compact(r#"{"a":[[[]]]}"#), Err(Invalid::TooDeep { depth_max: 3 })));
        assert!(compact(r#"{"a":[[]]}"#).is_ok());
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(40));
        assert!(matches!(compact(&long), Err(Invalid::TooLarge { bytes: 48, bytes_max: 45 })));
    }

    #[test]
    fn no_text_nests_within_a_text() {
        let hidden = r#"{"a":{"$serde_json::private::RawValue":"[[]]"}}"#;
        let roomy = Limits { bytes_max: 4096, depth_max: 3 };
        for text in [hidden.to_owned(), hidden.replace("$serde", "\\u0024serd\\u0065")] {
            assert!(matches!(compact_object(text.as_bytes(), roomy), Err(Invalid::Syntax(_))));
            assert!(matches!(check_names(text.as_bytes()), Err(Invalid::Syntax(_))), "{text}");
        }
        assert_eq!(check_names(br#"{"a":"\u0024 and $serde_json"}"#), Ok(()));
    }

    #[test]
    fn a_name_twice_is_found_among_many() {
        let mut names: Vec<String> = (0..40).map(|i| format!("\"n{i}\":0")).collect();
        let roomy = Limits { bytes_max: 4096, depth_max: 3 };
        let text = |names: &[String]| format!("{{{}}}", names.join(","));
        assert!(compact_object(text(&names).as_bytes(), roomy).is_ok());
        for twice in [0, 15, 16, 17, 39] {
            names.push(format!("\"n{twice}\":1"));
            assert!(compact_object(text(&names).as_bytes(), roomy).is_err(), "{twice}");
            names.pop();
        }
    }

    #[test]
    fn a_million_brackets_are_an_error_and_not_a_crash() {
        let deep = "[".repeat(1_000_000);
        assert!(matches!(compact(&deep), Err(Invalid::TooDeep { .. })));
    }

    proptest! {
        #[test]
        fn compacting_keeps_the_value(
            name in ".{0,8}",
            text in ".{0,20}",
            number in any::<f64>().prop_filter("finite", |n| n.is_finite()),
        ) {
            let value = serde_json::json!({ name: [text, number, null, true] });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let roomy = Limits { bytes_max: 4096, depth_max: 8 };
            let compact = compact_object(pretty.as_bytes(), roomy).unwrap();
            prop_assert_eq!(compact, serde_json::to_vec(&value).unwrap());
        }
    }
}
