//! What a question is about: the document before and after, who asks, and other documents.

use std::sync::OnceLock;

use domain::Timestamp;
use domain::access::Auth;

use crate::source::Operation;
use domain::raw::{Malformed, Name, Raw};

/// A document as rules see it. Its text is looked through when a rule first reads a field, and
/// only once.
#[derive(Debug)]
pub struct Document<'a> {
    pub(crate) id: &'a str,
    pub(crate) collection: &'a str,
    pub(crate) version: u64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    data: &'a [u8],
    index: OnceLock<Result<Box<[Entry]>, Malformed>>,
}

/// Where a field's name (without quotes) and value stand in the text.
#[derive(Debug)]
struct Entry {
    name: (u32, u32),
    value: (u32, u32),
}

impl<'a> Document<'a> {
    /// A document of compact JSON text, an object without duplicate names: as
    /// [`domain::json::compact_object`] makes it. Text that is not makes rules fail that read it.
    pub fn new(
        id: &'a str,
        collection: &'a str,
        version: u64,
        created_at: Timestamp,
        updated_at: Timestamp,
        data: &'a [u8],
    ) -> Self {
        let index = OnceLock::new();
        Self { id, collection, version, created_at, updated_at, data, index }
    }

    pub(crate) fn raw(&self) -> Raw<'a> {
        Raw::new(self.data)
    }

    /// How many fields there are.
    pub(crate) fn len(&self) -> Result<usize, Malformed> {
        Ok(self.index()?.len())
    }

    /// The field with this name.
    pub(crate) fn field(&self, name: &str) -> Result<Option<Raw<'a>>, Malformed> {
        for entry in self.index()? {
            let (found, value) = self.entry(entry)?;
            if found.is(name) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The fields in order.
    pub(crate) fn fields(&self) -> Result<Vec<(Name<'a>, Raw<'a>)>, Malformed> {
        self.index()?.iter().map(|entry| self.entry(entry)).collect()
    }

    fn entry(&self, entry: &Entry) -> Result<(Name<'a>, Raw<'a>), Malformed> {
        let part = |(start, end): (u32, u32)| self.data.get(start as usize..end as usize);
        let name = part(entry.name).ok_or(Malformed)?;
        let value = part(entry.value).ok_or(Malformed)?;
        Ok((Name::inner(name), Raw::new(value)))
    }

    fn index(&self) -> Result<&[Entry], Malformed> {
        match self.index.get_or_init(|| index(self.data)) {
            Ok(entries) => Ok(entries),
            Err(malformed) => Err(*malformed),
        }
    }
}

fn index(data: &[u8]) -> Result<Box<[Entry]>, Malformed> {
    let mut index = Vec::with_capacity(32);
    let mut entries = Raw::new(data).entries();
    // Fields stand one behind the other, so lengths alone tell where: `{"name":value,"name":…`.
    let mut at = 1;
    while let Some((name, value)) = entries.try_next()? {
        let name_at = at + 1;
        let name_end = name_at + name.bytes().len();
        let value_at = name_end + 2;
        let value_end = value_at + value.bytes().len();
        index.push(Entry { name: range(name_at, name_end)?, value: range(value_at, value_end)? });
        at = value_end + 1;
    }
    Ok(index.into())
}

fn range(start: usize, end: usize) -> Result<(u32, u32), Malformed> {
    let of = |at: usize| u32::try_from(at).map_err(|_| Malformed);
    Ok((of(start)?, of(end)?))
}

/// One question to the rules.
pub struct Request<'a> {
    /// What is to be done.
    pub operation: Operation,
    /// Who asks: `auth`, `null` when nobody is signed in.
    pub auth: Option<&'a Auth>,
    /// The document as it is: `resource`, `null` where there is none.
    pub before: Option<&'a Document<'a>>,
    /// The document as it would be: `request.resource`, `null` where there would be none.
    pub after: Option<&'a Document<'a>>,
    /// The time of the question: `now`.
    pub now: Timestamp,
    /// Other documents, for `get` and `exists`.
    pub lookup: &'a dyn Lookup,
}

/// What is known of another document.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// Its compact JSON text, an object.
    Document(&'a [u8]),
    /// There is no such document.
    Nothing,
    /// Nobody looked yet. The question is answered with what is needed.
    Unknown,
}

/// Documents that were loaded for a question.
pub trait Lookup {
    /// The document `id` of `collection`. Both are as the rule computed them: they may be no ids
    /// at all, and then there is no such document.
    fn get(&self, collection: &str, id: &str) -> Found<'_>;
}

/// A [`Lookup`] for rules that need none: there are no other documents.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDocuments;

impl Lookup for NoDocuments {
    fn get(&self, _: &str, _: &str) -> Found<'_> {
        Found::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(data: &str) -> Document<'_> {
        let time = Timestamp::default();
        Document::new("a", "things", 1, time, time, data.as_bytes())
    }

    #[test]
    fn the_index_is_what_the_text_says() {
        let text = r#"{"a":1,"b\"":[1,{"x":"}"}],"":"last","\u0063":{}}"#;
        let document = document(text);
        assert_eq!(document.len(), Ok(4));
        for name in ["a", "b\"", "", "c", "nothing"] {
            let indexed = document.field(name).unwrap().map(Raw::bytes);
            let scanned = document.raw().field(name).unwrap().map(Raw::bytes);
            assert_eq!(indexed, scanned, "{name}");
        }
        let names = document.fields().unwrap();
        let names: Vec<_> = names.iter().map(|(name, _)| name.text().unwrap()).collect();
        assert_eq!(names, ["a", "b\"", "", "c"]);
    }

    #[test]
    fn text_that_is_no_object_is_an_error() {
        for text in ["", "null", "[1]", "{", "{\"a\":1"] {
            assert_eq!(document(text).len(), Err(Malformed), "{text}");
        }
        assert_eq!(document("{}").len(), Ok(0));
    }
}
