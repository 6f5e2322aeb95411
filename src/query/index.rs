//! What an index is, and which places in it a document has. A place is a text that begins with the
//! values of the index's fields and ends with the document's id: see [`crate::key`].

use std::collections::BTreeSet;

use domain::number::is_same;
use domain::path::Path;
use domain::projects::{self, CollectionConfig, IndexField};
use domain::raw::{Kind, Raw};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::field::{Document, Field};
use crate::key::Encoder;
use crate::order::{Direction, Key};
use crate::parse::Invalid;
use crate::{INDEX_FIELDS_MAX, ORDERED_BYTES_MAX};

/// One field of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) field: Field,
    pub(crate) direction: Direction,
    /// Each element of the list has a place of its own.
    pub(crate) elements: bool,
}

/// An index that a collection has. Two are equal when they hold the same places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub(crate) parts: Vec<Part>,
    is_unique: bool,
}

/// How a definition is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    fields: Vec<IndexField>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unique: bool,
}

/// Bytes of a unique text at most: what orderings may have cut is longer.
const UNIQUE_BYTES_MAX: usize = ORDERED_BYTES_MAX - 4;

/// A value that has no place among unique ones, of this field: a list, an object, a long text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotComparable(pub String);

impl Definition {
    /// An index over these fields.
    ///
    /// Errors with the place below `fields` and what is wrong there.
    pub fn new(fields: &[IndexField], is_unique: bool) -> Result<Self, Invalid> {
        if !(1..=INDEX_FIELDS_MAX).contains(&fields.len()) {
            return Err(Invalid::new("", format!("an index has 1 to {INDEX_FIELDS_MAX} fields")));
        }
        let mut parts: Vec<Part> = Vec::with_capacity(fields.len());
        for (i, IndexField { field: name, direction, elements }) in fields.iter().enumerate() {
            let at = format!("/{i}/field");
            let field = Field::parse(name).map_err(|error| Invalid::field(&at, error))?;
            if field == Field::UpdatedAt {
                return Err(Invalid::new(at, "$updatedAt changes each time: it has no index"));
            }
            if parts.iter().any(|part| part.field == field) {
                return Err(Invalid::new(at, "the field is in the index already"));
            }
            if *elements && parts.iter().any(|part| part.elements) {
                return Err(Invalid::new(at, "an index has the elements of one list only"));
            }
            let direction = match direction {
                projects::Direction::Asc => Direction::Asc,
                projects::Direction::Desc => Direction::Desc,
            };
            parts.push(Part { name: name.clone(), field, direction, elements: *elements });
        }
        Ok(Self { parts, is_unique })
    }

    /// All indexes of a collection, those of what is unique last. What can't be an index is left
    /// out, for it was configured before anybody looked; so is what is or was `personal`, which is
    /// sealed in what was written.
    pub fn of_collection(config: &CollectionConfig, personal: &BTreeSet<String>) -> Vec<Self> {
        let personal: Vec<Path> =
            personal.iter().filter_map(|name| Path::parse(name).ok()).collect();
        let is_open = |one: &Self| {
            !one.paths().any(|path| personal.iter().any(|personal| path.starts_with(personal)))
        };
        let mut all = Vec::new();
        let plain = config.indexes.iter().map(|index| Self::new(&index.fields, false));
        let unique = config.unique.iter().map(|names| Self::unique(names));
        for one in plain.chain(unique).flatten() {
            if is_open(&one) && !all.contains(&one) {
                all.push(one);
            }
        }
        all
    }

    /// The index of fields whose values, taken together, no two documents have alike.
    ///
    /// Errors as [`Definition::new`].
    pub fn unique(names: &[String]) -> Result<Self, Invalid> {
        let field = |name: &String| IndexField {
            field: name.clone(),
            direction: projects::Direction::Asc,
            elements: false,
        };
        Self::new(&names.iter().map(field).collect::<Vec<_>>(), true)
    }

    /// Reads what [`Definition::text`] gave.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let Stored { fields, unique } = serde_json::from_slice(text).ok()?;
        Self::new(&fields, unique).ok()
    }

    /// Its text: equal for equal definitions.
    pub fn text(&self) -> String {
        let stored = Stored { fields: self.fields(), unique: self.is_unique };
        // Texts and booleans: there is nothing that could fail.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Its fields.
    pub fn fields(&self) -> Vec<IndexField> {
        let field = |part: &Part| IndexField {
            field: part.name.clone(),
            direction: match part.direction {
                Direction::Asc => projects::Direction::Asc,
                Direction::Desc => projects::Direction::Desc,
            },
            elements: part.elements,
        };
        self.parts.iter().map(field).collect()
    }

    /// The paths of those fields that are in the data.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().filter_map(|part| match &part.field {
            Field::Data(path) => Some(path),
            Field::Id | Field::CreatedAt | Field::UpdatedAt => None,
        })
    }

    /// The names of its fields.
    pub fn names(&self) -> Vec<String> {
        self.parts.iter().map(|part| part.name.clone()).collect()
    }

    /// The name of the list whose elements it has; empty when it has none.
    pub fn element_name(&self) -> String {
        let part = self.parts.iter().find(|part| part.elements);
        part.map_or_else(String::new, |part| part.name.clone())
    }

    /// Whether no two documents may have the same values.
    pub fn is_unique(&self) -> bool {
        self.is_unique
    }

    /// Whether it has the elements of a list: then it lacks documents that have none.
    pub fn has_elements(&self) -> bool {
        self.parts.iter().any(|part| part.elements)
    }

    /// In which direction ids stand that the fields leave undecided.
    pub(crate) fn last_direction(&self) -> Direction {
        self.parts.last().map_or(Direction::Asc, |part| part.direction)
    }

    /// All places that a document has in it, in order.
    pub fn places(&self, document: &Document<'_>) -> Vec<String> {
        let Some(at) = self.parts.iter().position(|part| part.elements) else {
            return vec![self.place(document, None)];
        };
        let mut places: Vec<String> = elements(&self.parts[at].field, document)
            .iter()
            .map(|key| self.place(document, Some(key)))
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    fn place(&self, document: &Document<'_>, element: Option<&Key>) -> String {
        let mut encoder = Encoder::default();
        for part in &self.parts {
            match element.filter(|_| part.elements) {
                Some(key) => encoder.push(key, part.direction),
                None => encoder.push(&Key::of(&part.field, document), part.direction),
            }
        }
        encoder.push_id(document.id, self.last_direction());
        encoder.text()
    }

    /// How many elements of a list the document has places for.
    pub fn elements(&self, document: &Document<'_>) -> usize {
        let part = self.parts.iter().find(|part| part.elements);
        part.map_or(0, |part| elements(&part.field, document).len())
    }

    /// What the places of all documents begin with that may have the same values as this one;
    /// `None` where a value is missing or `null`, which many documents may have.
    ///
    /// Errors when a value is a list, an object or a long text.
    pub fn unique_place(&self, document: &Document<'_>) -> Result<Option<String>, NotComparable> {
        let mut encoder = Encoder::default();
        let mut is_whole = true;
        for part in &self.parts {
            match Key::of(&part.field, document) {
                Key::List | Key::Object => return Err(NotComparable(part.name.clone())),
                // Longer texts are told apart by their beginning only.
                Key::Text(text) if text.len() > UNIQUE_BYTES_MAX => {
                    return Err(NotComparable(part.name.clone()));
                }
                Key::Missing | Key::Null => is_whole = false,
                key => encoder.push(&key, part.direction),
            }
        }
        Ok(is_whole.then(|| encoder.text()))
    }

    /// Whether two documents have the same values, however long.
    pub fn is_alike(&self, one: &Document<'_>, other: &Document<'_>) -> bool {
        self.parts.iter().all(|part| {
            let (Some(one), Some(other)) = (part.field.of(one), part.field.of(other)) else {
                return false;
            };
            // Short enough to be told apart by the places alone, but for long texts.
            match serde_json::from_slice::<Value>(&other) {
                Ok(other) => is_same(Raw::new(&one), &other),
                Err(_) => false,
            }
        })
    }
}

fn elements(field: &Field, document: &Document<'_>) -> Vec<Key> {
    let mut keys = Vec::new();
    let Some(value) = field.of(document) else { return keys };
    let list = Raw::new(&value);
    if list.kind() != Ok(Kind::Array) {
        return keys;
    }
    let mut elements = list.elements();
    while let Ok(Some(element)) = elements.try_next() {
        keys.push(Key::of_raw(element));
    }
    keys
}

/// A value of a filter as keys have it.
pub(crate) fn key_of(value: &Value) -> Key {
    match value {
        Value::Null => Key::Null,
        Value::Bool(value) => Key::Bool(*value),
        Value::Number(number) => Key::Number(number.into()),
        Value::String(text) => Key::text(text),
        Value::Array(_) => Key::List,
        Value::Object(_) => Key::Object,
    }
}

/// The beginning of a text that orderings tell apart.
pub(crate) fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(ORDERED_BYTES_MAX)]
}
