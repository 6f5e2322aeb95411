//! A file of JSON, and where in it something is: line and column, from 1.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// A file's text.
pub(super) struct Text {
    path: String,
    pub(super) text: String,
}

/// What is wrong with a file, and where: `file:line:column: message`.
#[derive(Debug)]
pub(super) struct Problem(String);

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text {
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let name = path.display().to_string();
        let problem = |why: &dyn fmt::Display| Problem(format!("{name}:1:1: {why}"));
        let bytes = path.metadata().map_err(|error| problem(&error))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(problem(&format!("is {bytes} bytes, the limit is {FILE_BYTES_MAX}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| problem(&error))?;
        Ok(Self::new(&name, text))
    }

    pub(super) fn new(name: &str, text: String) -> Self {
        Self { path: name.to_owned(), text }
    }

    /// A problem at a byte of the text.
    pub(super) fn problem(&self, at: usize, message: impl fmt::Display) -> Problem {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Problem(format!("{}:{line}:{column}: {message}", self.path))
    }

    /// Where `part`, a slice of the text, starts.
    pub(super) fn start(&self, part: &str) -> usize {
        let start = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize);
        start.filter(|start| *start <= self.text.len()).unwrap_or(0)
    }

    /// Reads `part`, a slice of the text, as JSON.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&self, part: &'a str) -> Result<T, Problem> {
        serde_json::from_str(part).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let lines = part.split_inclusive('\n').take(line.saturating_sub(1));
            let at = lines.map(str::len).sum::<usize>() + column.saturating_sub(1);
            let message = error.to_string();
            let place = format!(" at line {line} column {column}");
            let message = message.strip_suffix(&place).unwrap_or(&message);
            self.problem(self.start(part) + at, message)
        })
    }
}

/// The byte of a JSON string's text, its quotes included, that makes the character at a line and a
/// column of what it says.
pub(super) fn byte_of(raw: &str, line: u32, column: u32) -> usize {
    let (mut at, mut here) = (1, (1, 1));
    while here < (line, column) {
        let Some(rest) = raw.get(at..) else { break };
        let (length, is_newline) = match rest.as_bytes() {
            [] | [b'"', ..] => break,
            [b'\\', b'u', ..] => {
                let digits = rest.get(2..6).unwrap_or_default().to_ascii_lowercase();
                // A pair of surrogates is one character.
                let is_half = matches!(digits.get(..2), Some("d8" | "d9" | "da" | "db"));
                (if is_half { 12 } else { 6 }, digits == "000a")
            }
            [b'\\', escape, ..] => (2, *escape == b'n'),
            _ => (rest.chars().next().map_or(1, char::len_utf8), false),
        };
        at += length;
        here = if is_newline { (here.0 + 1, 1) } else { (here.0, here.1 + 1) };
    }
    at.min(raw.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_say_where() {
        let text = Text::new("f.json", "{\n  \"é\": [1, x]\n}".to_owned());
        let problem = text.parse::<serde_json::Value>(&text.text).unwrap_err();
        assert!(problem.to_string().starts_with("f.json:2:12: "), "{problem}");
        let part = &text.text[text.text.find('[').unwrap()..];
        let problem = text.parse::<Vec<u8>>(&part[..6]).unwrap_err();
        assert!(problem.to_string().starts_with("f.json:2:12: "), "{problem}");
        assert_eq!(text.start(part), 10);
    }

    #[test]
    fn characters_of_a_string_are_found_in_its_text() {
        let raw = r#""a\n\"\u00e9\ud83d\ude00é x""#;
        for (line, column, found) in [
            (1, 1, "a"),
            (2, 1, "\\\""),
            (2, 2, "\\u00e9"),
            (2, 3, "\\ud83d"),
            (2, 4, "é"),
            (2, 6, "x"),
        ] {
            let at = byte_of(raw, line, column);
            assert!(raw[at..].starts_with(found), "{line}:{column}: {}", &raw[at..]);
        }
        assert_eq!(byte_of(raw, 9, 9), raw.len() - 1);
    }
}
