//! Whether a write changes a field: by value, whatever the order of names and the spelling of
//! strings, and exactly, for numbers too. CEL's `==` is more lenient, as it goes through floats,
//! and would let somebody change a digit that a float does not hold.

use std::borrow::Cow;

use domain::raw::{Kind, Malformed, Raw};

/// How deep two values are compared. Deeper ones count as different; documents nest less deep.
const DEPTH_MAX: usize = 100;

/// Whether `path` differs between the two, each of which may be absent. Text that is malformed
/// counts as different.
pub(crate) fn differs(before: Option<Raw<'_>>, after: Option<Raw<'_>>, path: &[Box<str>]) -> bool {
    try_differs(before, after, path, 0).unwrap_or(true)
}

fn try_differs(
    before: Option<Raw<'_>>,
    after: Option<Raw<'_>>,
    path: &[Box<str>],
    depth: usize,
) -> Result<bool, Malformed> {
    let (before, after) = match (before, after) {
        (None, None) => return Ok(false),
        (Some(one), None) | (None, Some(one)) => return holds(one, path, depth),
        (Some(before), Some(after)) => (before, after),
    };
    if before.bytes() == after.bytes() {
        return Ok(false);
    }
    if depth > DEPTH_MAX {
        return Ok(true);
    }
    let Some((name, rest)) = path.split_first() else {
        return Ok(!same(before, after, depth)?);
    };
    match (before.kind()?, after.kind()?) {
        (Kind::Object, Kind::Object) => {
            try_differs(before.field(name)?, after.field(name)?, rest, depth + 1)
        }
        (Kind::Array, Kind::Array) => {
            let (mut before, mut after) = (before.elements(), after.elements());
            loop {
                let (one, other) = (before.try_next()?, after.try_next()?);
                if one.is_none() && other.is_none() {
                    return Ok(false);
                }
                if try_differs(one, other, path, depth + 1)? {
                    return Ok(true);
                }
            }
        }
        _ => Ok(holds(before, path, depth)? || holds(after, path, depth)?),
    }
}

/// Whether there is anything at `path`.
fn holds(value: Raw<'_>, path: &[Box<str>], depth: usize) -> Result<bool, Malformed> {
    let Some((name, rest)) = path.split_first() else { return Ok(true) };
    if depth > DEPTH_MAX {
        return Ok(true);
    }
    match value.kind()? {
        Kind::Object => match value.field(name)? {
            Some(value) => holds(value, rest, depth + 1),
            None => Ok(false),
        },
        Kind::Array => {
            let mut elements = value.elements();
            while let Some(element) = elements.try_next()? {
                if holds(element, path, depth + 1)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

/// Whether two values are the same.
fn same(one: Raw<'_>, other: Raw<'_>, depth: usize) -> Result<bool, Malformed> {
    if one.bytes() == other.bytes() {
        return Ok(true);
    }
    if depth > DEPTH_MAX || one.kind()? != other.kind()? {
        return Ok(false);
    }
    match one.kind()? {
        Kind::Null | Kind::False | Kind::True => Ok(false),
        Kind::String => Ok(one.text()? == other.text()?),
        Kind::Number => Ok(Decimal::of(one)? == Decimal::of(other)?),
        Kind::Array => {
            let (mut one, mut other) = (one.elements(), other.elements());
            loop {
                match (one.try_next()?, other.try_next()?) {
                    (None, None) => return Ok(true),
                    (Some(one), Some(other)) if same(one, other, depth + 1)? => {}
                    _ => return Ok(false),
                }
            }
        }
        Kind::Object => {
            let (one, other) = (sorted(one)?, sorted(other)?);
            if one.len() != other.len() {
                return Ok(false);
            }
            for ((name, value), (other_name, other_value)) in one.iter().zip(&other) {
                if name != other_name || !same(*value, *other_value, depth + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

fn sorted(object: Raw<'_>) -> Result<Vec<(Cow<'_, str>, Raw<'_>)>, Malformed> {
    let (mut fields, mut entries) = (Vec::new(), object.entries());
    while let Some((name, value)) = entries.try_next()? {
        fields.push((name.text()?, value));
    }
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(fields)
}

/// A number without its spelling: `1.50`, `15e-1` and `1.5` are one.
#[derive(PartialEq)]
struct Decimal {
    is_negative: bool,
    /// From the first digit that is not zero to the last one.
    digits: Vec<u8>,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    fn of(number: Raw<'_>) -> Result<Self, Malformed> {
        let text = number.bytes();
        let (is_negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let split = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
        let (mantissa, mut exponent) = match split {
            None => (text, 0),
            Some(at) => {
                let power = text.get(at + 1..).and_then(|power| std::str::from_utf8(power).ok());
                let power = power.and_then(|power| power.parse::<i64>().ok());
                (text.get(..at).ok_or(Malformed)?, power.ok_or(Malformed)?)
            }
        };
        let mut digits = Vec::with_capacity(mantissa.len());
        let mut is_fraction = false;
        for &byte in mantissa {
            match byte {
                b'.' => is_fraction = true,
                b'0'..=b'9' => {
                    digits.push(byte);
                    exponent = exponent.saturating_sub(i64::from(is_fraction));
                }
                _ => return Err(Malformed),
            }
        }
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent = exponent.saturating_add(1);
        }
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        if digits.is_empty() {
            return Ok(Self { is_negative: false, digits, exponent: 0 });
        }
        Ok(Self { is_negative, digits, exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Path;

    fn changed(before: &str, after: &str, path: &str) -> bool {
        let raw = |text: &'static str| Some(Raw::new(text.as_bytes()));
        let (before, after) = (before.to_owned().leak(), after.to_owned().leak());
        differs(raw(before), raw(after), Path::parse(path).unwrap().as_slice())
    }

    #[test]
    fn spelling_is_no_change() {
        for (before, after) in [
            ("1", "1.0"),
            ("1e2", "100"),
            ("1E+2", "1.00e2"),
            ("-0.0", "0"),
            ("0.10", "1e-1"),
            (r#""a""#, r#""\u0061""#),
            (r#"{"x":1,"y":[{}]}"#, r#"{"y":[{}],"x":1.0}"#),
        ] {
            let of = |value: &str| format!("{{\"a\":{value}}}");
            assert!(!changed(&of(before), &of(after), "a"), "{before} {after}");
        }
    }

    #[test]
    fn a_digit_is_a_change_even_where_a_float_has_none() {
        for (before, after) in [
            ("12345678901234567890123", "12345678901234567890124"),
            ("9007199254740992.0", "9007199254740993.0"),
            ("1", "-1"),
            ("1", "10"),
            ("1", "\"1\""),
            ("0", "false"),
            ("null", "false"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#"{"x":1}"#, r#"{"x":1,"y":null}"#),
            ("{}", "[]"),
        ] {
            let of = |value: &str| format!("{{\"a\":{value}}}");
            assert!(changed(&of(before), &of(after), "a"), "{before} {after}");
            assert!(changed(&of(after), &of(before), "a"), "{after} {before}");
        }
    }

    #[test]
    fn a_path_looks_only_below_it() {
        let before = r#"{"a":{"b":1,"c":2},"l":[{"p":1,"q":1},{"p":2}]}"#;
        for (after, path, expected) in [
            (r#"{"a":{"b":1,"c":3}}"#, "a.b", false),
            (r#"{"a":{"b":1,"c":3}}"#, "a.c", true),
            (r#"{"a":{"b":1,"c":3}}"#, "a", true),
            (r#"{"a":{"c":2}}"#, "a.b", true),
            (r#"{"a":5}"#, "a.b", true),
            (r#"{"a":5}"#, "a.z", false),
            (r#"{}"#, "a.b", true),
            (r#"{"a":[{"b":1}]}"#, "a.b", true),
            (r#"{"l":[{"p":1,"q":9},{"p":2}]}"#, "l.p", false),
            (r#"{"l":[{"p":1,"q":9},{"p":2}]}"#, "l.q", true),
            (r#"{"l":[{"p":1,"q":1}]}"#, "l.p", true),
            (r#"{"l":[{"p":1,"q":1},{"p":2},{}]}"#, "l.p", false),
            (r#"{"l":[{"p":1,"q":1},{"p":2},{"p":1}]}"#, "l.p", true),
            (r#"{"l":[[{"p":1}],{"p":2}]}"#, "l.p", true),
        ] {
            assert_eq!(changed(before, after, path), expected, "{after} {path}");
        }
    }

    #[test]
    fn broken_text_is_a_change() {
        assert!(changed("{\"a\":1}", "{\"a\":", "a"));
        assert!(changed("{\"a\":1}", "{\"a\":1x}", "a"));
        let deep = |n: usize| format!("{{\"a\":{}{n}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(changed(&deep(1), &deep(2), "a"));
        assert!(changed(&deep(1), &deep(2), "a.b"));
    }
}
