//! Orderings: what comes first in a page.

use std::cmp::Ordering;

use domain::number::Number;
use domain::raw::{Kind, Raw};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::field::{Document, Field};
use crate::parse::Invalid;
use crate::{ORDERED_BYTES_MAX, ORDERS_MAX};

/// Ascending or descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Smallest first.
    #[default]
    Asc,
    /// Largest first.
    Desc,
}

/// Fields to order by, the first one first. What they leave undecided is in the order of the ids,
/// in the direction of the last field. With no field all is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order {
    pub(crate) fields: Vec<(Field, Direction)>,
}

/// One field's value as orderings see it. Types follow each other in this order; all lists are
/// alike, and all objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// The document has no such field.
    Missing,
    /// `null`.
    Null,
    /// `false` before `true`.
    Bool(bool),
    /// By value.
    Number(Number),
    /// By its characters' numbers (Unicode code points).
    Text(String),
    /// Any list.
    List,
    /// Any object.
    Object,
}

/// Where a document stands in an ordering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// One for each field.
    pub(crate) fields: Vec<Key>,
    /// The document's id.
    pub(crate) id: String,
}

impl Key {
    pub(crate) fn of(field: &Field, document: &Document<'_>) -> Self {
        field.of(document).map_or(Self::Missing, |value| Self::of_raw(Raw::new(&value)))
    }

    pub(crate) fn of_raw(raw: Raw<'_>) -> Self {
        match raw.kind() {
            Ok(Kind::Null) => Self::Null,
            Ok(Kind::False) => Self::Bool(false),
            Ok(Kind::True) => Self::Bool(true),
            Ok(Kind::Number) => {
                raw.number().map_or(Self::Missing, |number| Self::Number(number.into()))
            }
            Ok(Kind::String) => raw.text().map_or(Self::Missing, |text| Self::text(&text)),
            Ok(Kind::Array) => Self::List,
            Ok(Kind::Object) => Self::Object,
            Err(_) => Self::Missing,
        }
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text[..text.floor_char_boundary(ORDERED_BYTES_MAX)].to_owned())
    }

    /// What it tells of the value; `None` for what is missing.
    pub(crate) fn value(&self) -> Option<Value> {
        Some(match self {
            Self::Missing => return None,
            Self::Null => Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => number.to_json(),
            Self::Text(text) => text.as_str().into(),
            Self::List => Value::Array(Vec::new()),
            Self::Object => Value::Object(Map::new()),
        })
    }

    /// As a list of one value, or of none for what is missing: what a cursor has of it.
    pub(crate) fn to_json(&self) -> Value {
        Value::Array(self.value().into_iter().collect())
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        match &value.as_array()?[..] {
            [] => Some(Self::Missing),
            [value] => Some(match value {
                Value::Null => Self::Null,
                Value::Bool(value) => Self::Bool(*value),
                Value::Number(number) => Self::Number(number.into()),
                Value::String(text) => Self::text(text),
                Value::Array(_) => Self::List,
                Value::Object(_) => Self::Object,
            }),
            _ => None,
        }
    }
}

impl Order {
    /// Reads `[{"field": "…", "direction": "asc" | "desc"}, …]`.
    ///
    /// Errors with the place and what is wrong there.
    pub fn of(value: &Value) -> Result<Self, Invalid> {
        let items = match value {
            Value::Array(items) if items.len() <= ORDERS_MAX => items,
            _ => {
                let detail = format!("expected a list of at most {ORDERS_MAX} orderings");
                return Err(Invalid::new("", detail));
            }
        };
        let mut fields = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let part: OrderPart =
                Deserialize::deserialize(item).map_err(|error: serde_json::Error| {
                    Invalid::new(format!("/{i}"), error.to_string())
                })?;
            let field = Field::parse(&part.field);
            let field = field.map_err(|error| Invalid::field(&format!("/{i}/field"), error))?;
            fields.push((field, part.direction));
        }
        Ok(Self { fields })
    }

    /// Whether there is no field in it.
    pub fn is_by_id(&self) -> bool {
        self.fields.is_empty()
    }

    /// Where a document stands.
    pub fn keys(&self, document: &Document<'_>) -> Keys {
        let fields = self.fields.iter().map(|(field, _)| Key::of(field, document));
        Keys { fields: fields.collect(), id: document.id.to_owned() }
    }

    /// Which of two documents comes first.
    pub fn compare(&self, one: &Keys, other: &Keys) -> Ordering {
        let directed = |at: Ordering, direction| match direction {
            Direction::Asc => at,
            Direction::Desc => at.reverse(),
        };
        let pairs = one.fields.iter().zip(&other.fields);
        let mut by_field = self.fields.iter().zip(pairs);
        let decided = by_field.find_map(|((_, direction), (one, other))| {
            Some(directed(one.cmp(other), *direction)).filter(|at| at.is_ne())
        });
        let last = self.fields.last().map_or(Direction::Asc, |(_, direction)| *direction);
        decided.unwrap_or_else(|| directed(one.id.cmp(&other.id), last))
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Tells orderings apart, for cursors: a number from their text (FNV-1a).
    pub(crate) fn fingerprint(&self) -> u32 {
        let text = format!("{:?}", self.fields);
        text.bytes()
            .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderPart {
    field: String,
    #[serde(default)]
    direction: Direction,
}
