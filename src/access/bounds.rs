//! What an expression's text must keep to before it reaches the parser, so that no text can take
//! the parser's stack or its time.

use crate::{EXPRESSION_BYTES_MAX, NODES_MAX};

/// How deep brackets may nest. More than an expression may, as brackets may stand for nothing.
const BRACKETS_MAX: usize = 40;
/// Words, literals and signs at most: a node is rarely more than four of them.
const TOKENS_MAX: usize = 4 * NODES_MAX;

/// Why a text goes no further, and the byte where it shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfBounds {
    pub(crate) message: String,
    pub(crate) at: usize,
}

/// Checks length, nesting of brackets, and count of tokens, roughly as the language's lexer reads
/// them. What is no expression may pass: the parser has the last word.
pub(crate) fn check(text: &str) -> Result<(), OutOfBounds> {
    let fail = |at, message: &str| Err(OutOfBounds { message: message.to_owned(), at });
    if text.len() > EXPRESSION_BYTES_MAX {
        let message = format!("is {} bytes, the limit is {EXPRESSION_BYTES_MAX}", text.len());
        return Err(OutOfBounds { message, at: 0 });
    }
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut tokens) = (0, 0_usize, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' => {
                at += 1;
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                let rest = bytes.get(at..).unwrap_or_default();
                at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                continue;
            }
            b'"' | b'\'' => match string_end(bytes, at, is_raw(bytes, at)) {
                Some(end) => end,
                None => return fail(at, "a string has no end"),
            },
            byte if is_word(byte) => {
                let rest = bytes.get(at..).unwrap_or_default();
                at + rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                at + 1
            }
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at + 1
            }
            b'&' | b'|' if bytes.get(at + 1) == Some(&byte) => at + 2,
            b'=' | b'!' | b'<' | b'>' if bytes.get(at + 1) == Some(&b'=') => at + 2,
            b'.' | b',' | b':' | b'?' | b'+' | b'-' | b'*' | b'/' | b'%' | b'!' | b'<' | b'>' => {
                at + 1
            }
            _ => return fail(at, "a character that has no meaning outside of a string"),
        };
        tokens += 1;
        if depth > BRACKETS_MAX {
            return fail(start, "brackets are nested too deep");
        }
        if tokens > TOKENS_MAX {
            return fail(start, "is too long: too many words and signs");
        }
    }
    Ok(())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether the quote at `at` follows an `r`: nothing in the string is an escape then.
fn is_raw(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    matches!(before.last(), Some(b'r' | b'R'))
}

/// Where the string that starts at `at` ends, its quotes included.
fn string_end(bytes: &[u8], at: usize, is_raw: bool) -> Option<usize> {
    let quote = *bytes.get(at)?;
    let triple = [quote; 3];
    let is_triple = bytes.get(at..)?.starts_with(&triple);
    let mut at = at + if is_triple { 3 } else { 1 };
    loop {
        match *bytes.get(at)? {
            b'\\' if !is_raw => at += 2,
            b'\n' | b'\r' if !is_triple => return None,
            byte if byte == quote && !is_triple => return Some(at + 1),
            byte if byte == quote && bytes.get(at..)?.starts_with(&triple) => return Some(at + 3),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        let many = "(".repeat(100);
        for text in [
            format!("'{many}' == \"{many}\""),
            format!("'''{many}''{many}''' // {many}\n == r'{many}\\'"),
            format!("'\\'{many}'"),
            "resource.name.matches('^[a-z]+$')".to_owned(),
        ] {
            assert_eq!(check(&text), Ok(()), "{text}");
        }
        assert!(check(&many).is_err());
        assert!(check(&"[{(".repeat(14)).is_err());
        assert!(check(&"(a)".repeat(100)).is_ok());
    }

    #[test]
    fn what_is_refused() {
        for text in
            ["'a", "'a\nb'", "\"\\\"", "'''a''", "a # b", "a `b`", "é", "a & b", "a = b", "\0"]
        {
            assert!(check(text).is_err(), "{text:?}");
        }
        assert!(check(&" ".repeat(EXPRESSION_BYTES_MAX + 1)).is_err());
        assert!(check(&"1,".repeat(TOKENS_MAX)).is_err());
        assert_eq!(check("'é' == '#'").map_err(|error| error.at), Ok(()));
    }
}
