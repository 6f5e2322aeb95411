//! JSON values as they stand in a document's text: found by looking through it, copied nowhere.
//! The text must be compact and without duplicate names, as stored documents are; text that is
//! not is an error or another value, never a panic.

use std::borrow::Cow;

use memchr::memchr2;

/// The text is not what a document's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The text of one value.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a>(&'a [u8]);

/// What a value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `false`.
    False,
    /// `true`.
    True,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A number as CEL has it: what is written whole is an integer where it fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Whole, and it fits.
    Int(i64),
    /// Whole, and larger than an `i64`.
    UInt(u64),
    /// Any other; rounded to the nearest.
    Double(f64),
}

impl<'a> Raw<'a> {
    /// The text of one value.
    pub fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The text.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// What it is, by its first byte.
    pub fn kind(self) -> Result<Kind, Malformed> {
        match self.0.first() {
            Some(b'n') => Ok(Kind::Null),
            Some(b'f') => Ok(Kind::False),
            Some(b't') => Ok(Kind::True),
            Some(b'"') => Ok(Kind::String),
            Some(b'[') => Ok(Kind::Array),
            Some(b'{') => Ok(Kind::Object),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            _ => Err(Malformed),
        }
    }

    /// The characters of a string.
    pub fn text(self) -> Result<Cow<'a, str>, Malformed> {
        Name::of(self)?.text()
    }

    /// The value of a number.
    pub fn number(self) -> Result<Number, Malformed> {
        let text = std::str::from_utf8(self.0).map_err(|_| Malformed)?;
        if let Ok(int) = text.parse() {
            return Ok(Number::Int(int));
        }
        if let Ok(uint) = text.parse() {
            return Ok(Number::UInt(uint));
        }
        match text.parse::<f64>() {
            Ok(double) if double.is_finite() => Ok(Number::Double(double)),
            _ => Err(Malformed),
        }
    }

    /// The fields of an object, in order.
    pub fn entries(self) -> Entries<'a> {
        Entries(Items { text: self.0, at: 0, open: b'{', close: b'}' })
    }

    /// The elements of an array, in order.
    pub fn elements(self) -> Elements<'a> {
        Elements(Items { text: self.0, at: 0, open: b'[', close: b']' })
    }

    /// A field of an object.
    pub fn field(self, name: &str) -> Result<Option<Raw<'a>>, Malformed> {
        let mut entries = self.entries();
        while let Some((found, value)) = entries.try_next()? {
            if found.is(name) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Whether this is a string of these characters.
    pub fn is_string(self, characters: &str) -> bool {
        match Name::of(self) {
            Ok(name) => name.is(characters),
            Err(Malformed) => false,
        }
    }
}

/// The name of a field, or a string, without its quotes and with its escapes.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// What is between a string's quotes.
    pub fn of(quoted: Raw<'a>) -> Result<Self, Malformed> {
        match quoted.0 {
            [b'"', inner @ .., b'"'] => Ok(Self(inner)),
            _ => Err(Malformed),
        }
    }

    /// The bytes between the quotes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// From what is between the quotes.
    pub fn inner(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether this spells `name`, with or without escapes.
    pub fn is(self, name: &str) -> bool {
        if !has_escape(self.0) {
            return self.0 == name.as_bytes();
        }
        self.text().is_ok_and(|text| text == name)
    }

    /// The characters.
    pub fn text(self) -> Result<Cow<'a, str>, Malformed> {
        if !has_escape(self.0) {
            return std::str::from_utf8(self.0).map(Cow::Borrowed).map_err(|_| Malformed);
        }
        let mut quoted = Vec::with_capacity(self.0.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(self.0);
        quoted.push(b'"');
        serde_json::from_slice(&quoted).map(Cow::Owned).map_err(|_| Malformed)
    }
}

fn has_escape(text: &[u8]) -> bool {
    memchr::memchr(b'\\', text).is_some()
}

/// Walks what stands between brackets.
struct Items<'a> {
    text: &'a [u8],
    at: usize,
    open: u8,
    close: u8,
}

impl<'a> Items<'a> {
    /// Goes to the start of the next item; false at the end.
    fn advance(&mut self) -> Result<bool, Malformed> {
        let expected = if self.at == 0 { self.open } else { b',' };
        let found = *self.text.get(self.at).ok_or(Malformed)?;
        let is_first = self.at == 0;
        self.at += 1;
        if is_first {
            if found != expected {
                return Err(Malformed);
            }
            return Ok(self.text.get(1) != Some(&self.close));
        }
        match found {
            b',' => Ok(true),
            close if close == self.close => {
                self.at -= 1;
                Ok(false)
            }
            _ => Err(Malformed),
        }
    }

    fn value(&mut self) -> Result<Raw<'a>, Malformed> {
        let end = skip(self.text, self.at)?;
        let value = self.text.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(Raw(value))
    }
}

/// The elements of an array.
pub struct Elements<'a>(Items<'a>);

impl<'a> Elements<'a> {
    /// The next element; `None` after the last.
    pub fn try_next(&mut self) -> Result<Option<Raw<'a>>, Malformed> {
        Ok(if self.0.advance()? { Some(self.0.value()?) } else { None })
    }
}

/// The fields of an object.
pub struct Entries<'a>(Items<'a>);

impl<'a> Entries<'a> {
    /// The next field; `None` after the last.
    pub fn try_next(&mut self) -> Result<Option<(Name<'a>, Raw<'a>)>, Malformed> {
        if !self.0.advance()? {
            return Ok(None);
        }
        let name = Name::of(self.0.value()?)?;
        if self.0.text.get(self.0.at) != Some(&b':') {
            return Err(Malformed);
        }
        self.0.at += 1;
        Ok(Some((name, self.0.value()?)))
    }
}

/// Where the value that starts at `at` ends. Nested values are passed over without recursion.
fn skip(text: &[u8], at: usize) -> Result<usize, Malformed> {
    match text.get(at) {
        Some(b'"') => skip_string(text, at),
        Some(b'{' | b'[') => skip_nested(text, at),
        Some(_) => {
            let rest = text.get(at..).ok_or(Malformed)?;
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']');
            match rest.iter().position(is_end).unwrap_or(rest.len()) {
                0 => Err(Malformed),
                length => Ok(at + length),
            }
        }
        None => Err(Malformed),
    }
}

fn skip_string(text: &[u8], at: usize) -> Result<usize, Malformed> {
    let mut at = at + 1;
    loop {
        let rest = text.get(at..).ok_or(Malformed)?;
        let found = memchr2(b'"', b'\\', rest).ok_or(Malformed)?;
        at += found;
        if rest.get(found) == Some(&b'"') {
            return Ok(at + 1);
        }
        at += 2;
    }
}

fn skip_nested(text: &[u8], at: usize) -> Result<usize, Malformed> {
    let (mut at, mut depth) = (at, 0_usize);
    loop {
        match text.get(at).ok_or(Malformed)? {
            b'"' => {
                at = skip_string(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw<'_> {
        Raw::new(text.as_bytes())
    }

    fn shown(raw: Raw<'_>) -> &str {
        std::str::from_utf8(raw.bytes()).unwrap()
    }

    #[test]
    fn fields_are_found_whatever_stands_around_them() {
        let text = r#"{"a":{"b":[1,"}"]},"q\"":"\\","n":-1.5e3,"\u006fwner":"x","z":[]}"#;
        let field = |name| raw(text).field(name).unwrap().map(shown);
        assert_eq!(field("a"), Some(r#"{"b":[1,"}"]}"#));
        assert_eq!(field("q\""), Some(r#""\\""#));
        assert_eq!(field("n"), Some("-1.5e3"));
        assert_eq!(field("owner"), Some("\"x\""));
        assert_eq!(field("z"), Some("[]"));
        assert_eq!(field("b"), None);
        assert_eq!(raw("{}").field("a").unwrap().map(shown), None);
    }

    #[test]
    fn elements_come_in_order() {
        let mut elements = raw(r#"[1,[2,3],"4,5",{"a":6}]"#).elements();
        let mut all = Vec::new();
        while let Some(element) = elements.try_next().unwrap() {
            all.push(shown(element));
        }
        assert_eq!(all, ["1", "[2,3]", "\"4,5\"", "{\"a\":6}"]);
        assert!(elements.try_next().unwrap().is_none(), "and stays at the end");
        assert!(raw("[]").elements().try_next().unwrap().is_none());
    }

    #[test]
    fn numbers_are_integers_where_they_fit() {
        assert_eq!(raw("5").number(), Ok(Number::Int(5)));
        assert_eq!(raw("-9223372036854775808").number(), Ok(Number::Int(i64::MIN)));
        assert_eq!(raw("18446744073709551615").number(), Ok(Number::UInt(u64::MAX)));
        assert_eq!(raw("5.0").number(), Ok(Number::Double(5.0)));
        assert_eq!(
            raw("18446744073709551616").number(),
            Ok(Number::Double(18446744073709551616.0))
        );
        assert_eq!(raw("1e999").number(), Err(Malformed));
    }

    #[test]
    fn broken_text_is_an_error() {
        for text in
            ["", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":\"", "{a:1}", "{\"a\":}", "[1"]
        {
            assert_eq!(raw(text).field("b").map(|_| ()), Err(Malformed), "{text}");
        }
        assert!(raw("[1").elements().try_next().is_ok());
        assert!(raw("[,]").elements().try_next().is_err());
        assert!(raw("\"").text().is_err());
        assert!(raw(r#""\ud800""#).text().is_err());
    }
}
