//! A field of a document by its name, or by the names on the way down to it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::raw::Name;

/// The longest path, in bytes.
const BYTES_MAX: usize = 1_000;
/// Names in one path at most; documents nest no deeper.
const NAMES_MAX: usize = 64;

/// The way to a field: `owner`, `address.city`, or, where a name has a dot or is empty, a JSON
/// Pointer (RFC 6901): `/address/city`. Names are those of objects; a list on the way is passed
/// through, so that `items.price` is the price of each item.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path {
    text: Box<str>,
    names: Box<[Box<str>]>,
}

/// The text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// No text, or a name of no characters between two dots.
    #[error("a field has an empty name; write it as a JSON pointer if that is meant")]
    Empty,
    /// Longer than 1,000 bytes or 64 names.
    #[error("a field's path has at most {BYTES_MAX} bytes and {NAMES_MAX} names")]
    TooLong,
    /// A `~` in a pointer that is not `~0` or `~1` (RFC 6901, section 3).
    #[error("in a JSON pointer ~ may only stand as ~0 or ~1")]
    Escape,
}

impl Path {
    /// Reads a dotted path, or a JSON Pointer if it starts with `/`.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        if text.len() > BYTES_MAX {
            return Err(InvalidPath::TooLong);
        }
        let names: Vec<Box<str>> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(unescape).collect::<Result<_, _>>()?,
            None if text.split('.').any(str::is_empty) => return Err(InvalidPath::Empty),
            None => text.split('.').map(Box::from).collect(),
        };
        if names.len() > NAMES_MAX {
            return Err(InvalidPath::TooLong);
        }
        Ok(Self { text: text.into(), names: names.into() })
    }

    /// Reads a JSON Pointer (RFC 6901), also the one of the whole document, `""`, which has no
    /// names; `None` for any other text.
    pub fn parse_pointer(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self { text: "".into(), names: Box::default() }),
            text if text.starts_with('/') => Self::parse(text).ok(),
            _ => None,
        }
    }

    /// Whether it is `other`, or leads to something within it.
    pub fn starts_with(&self, other: &Self) -> bool {
        self.names.starts_with(&other.names)
    }

    /// The path as a JSON Pointer (RFC 6901), however it was written.
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        self.names.iter().for_each(|name| push_name(&mut pointer, name));
        pointer
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names from the outermost object down. At least one, but for the pointer to the whole.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The names, as [`Path::names`] gives them.
    pub fn as_slice(&self) -> &[Box<str>] {
        &self.names
    }
}

impl TryFrom<String> for Path {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        Self::parse(&text)
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.text.into()
    }
}

impl PartialEq for Path {
    /// Two spellings of one path are equal.
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Eq for Path {}

impl AsRef<Self> for Path {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Appends `/name` to a JSON Pointer, escaped as RFC 6901, section 3 says.
pub fn push_name(pointer: &mut String, name: &str) {
    pointer.push('/');
    for character in name.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// The JSON Pointer `at`, one name further down.
pub fn below(at: &str, name: &str) -> String {
    let mut pointer = at.to_owned();
    push_name(&mut pointer, name);
    pointer
}

/// Of ways to fields, what is left of those that lead through `name`, and whether one ends there.
pub fn through<'p>(paths: &[&'p [Box<str>]], name: Name<'_>) -> (Vec<&'p [Box<str>]>, bool) {
    let (mut left, mut ends) = (Vec::new(), false);
    for (first, rest) in paths.iter().filter_map(|path| path.split_first()) {
        if name.is(first) {
            ends |= rest.is_empty();
            left.push(rest);
        }
    }
    (left, ends)
}

/// RFC 6901, section 4.
fn unescape(token: &str) -> Result<Box<str>, InvalidPath> {
    let mut name = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(char) = chars.next() {
        name.push(match char {
            '~' => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err(InvalidPath::Escape),
            },
            other => other,
        });
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        Path::parse(text).unwrap().names().map(str::to_owned).collect()
    }

    #[test]
    fn dots_and_pointers() {
        assert_eq!(names("owner"), ["owner"]);
        assert_eq!(names("a.b~1"), ["a", "b~1"]);
        assert_eq!(names("/a.b/c~1d~0e/"), ["a.b", "c/d~e", ""]);
        assert_eq!(names("/"), [""]);
        assert_eq!(Path::parse("/a/b").unwrap(), Path::parse("a.b").unwrap());
        assert_ne!(Path::parse("/a.b").unwrap(), Path::parse("a.b").unwrap());
    }

    #[test]
    fn one_pointer_for_all_spellings() {
        for (text, pointer) in [("a.b", "/a/b"), ("/a/b", "/a/b"), ("/a.b/c~1d~0e", "/a.b/c~1d~0e")]
        {
            assert_eq!(Path::parse(text).unwrap().pointer(), pointer);
            assert_eq!(Path::parse_pointer(pointer), Some(Path::parse(text).unwrap()));
        }
        assert_eq!(Path::parse_pointer("").unwrap().names().count(), 0);
        assert_eq!(Path::parse_pointer("a"), None);
    }

    #[test]
    fn what_is_no_path() {
        for text in ["", ".", "a..b", "a.", ".a"] {
            assert_eq!(Path::parse(text), Err(InvalidPath::Empty), "{text}");
        }
        assert_eq!(Path::parse("/a~2"), Err(InvalidPath::Escape));
        assert_eq!(Path::parse("/a~"), Err(InvalidPath::Escape));
        assert_eq!(Path::parse(&"a.".repeat(64)[..]), Err(InvalidPath::Empty));
        assert_eq!(Path::parse(&"/a".repeat(65)), Err(InvalidPath::TooLong));
        assert_eq!(Path::parse(&"a".repeat(1_001)), Err(InvalidPath::TooLong));
    }
}
