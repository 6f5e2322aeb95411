//! Reads filters as clients write them, and says where one is wrong.

use domain::json::{self, Limits};
use domain::path::InvalidPath;
use serde_json::{Map, Value};

use crate::field::Field;
use crate::filter::{Bounds, Filter, Node, Test};
use crate::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_PARTS_MAX};

/// What the JSON of a filter may be: each `and`, `or` and `not` is two levels, and a value may
/// nest as deep as that again.
const LIMITS: Limits = Limits { bytes_max: FILTER_BYTES_MAX, depth_max: FILTER_DEPTH_MAX * 4 };

/// A filter or another part of a query that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    /// Where, as a JSON Pointer into the part.
    pub at: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Invalid {
    pub(crate) fn new(at: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { at: at.into(), detail: detail.into() }
    }

    pub(crate) fn field(at: &str, error: InvalidPath) -> Self {
        Self::new(at, error.to_string())
    }

    /// The same, further down.
    #[must_use]
    pub fn below(mut self, at: &str) -> Self {
        self.at.insert_str(0, at);
        self
    }
}

/// What `op` may be, for those who wrote something else.
const OPS: &str = "expected one of == != < <= > >= in not-in array-contains array-contains-any \
                   exists starts-with";

impl Filter {
    /// Reads a filter from its JSON text.
    ///
    /// Errors with the place and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let compact = json::compact_object(text.as_bytes(), LIMITS)
            .map_err(|error| Invalid::new("", format!("the filter {error}")))?;
        let value = serde_json::from_slice(&compact)
            .map_err(|error| Invalid::new("", format!("the filter is not JSON: {error}")))?;
        Self::of(&value)
    }

    /// Reads a filter that is a part of something larger; errors as [`Filter::parse`]. The size of
    /// `value` is the caller's to limit, its depth to that of [`domain::json::Limits::DOCUMENT`].
    pub fn of(value: &Value) -> Result<Self, Invalid> {
        let mut left = FILTER_PARTS_MAX;
        Ok(Self { node: node(value, "", 1, &mut left)? })
    }
}

fn node(value: &Value, at: &str, depth: usize, left: &mut usize) -> Result<Node, Invalid> {
    if depth > FILTER_DEPTH_MAX {
        let detail = format!("a filter nests at most {FILTER_DEPTH_MAX} deep");
        return Err(Invalid::new(at, detail));
    }
    let Value::Object(parts) = value else {
        return Err(Invalid::new(at, "expected an object with and, or, not, or field and op"));
    };
    let mut names = parts.keys();
    let (first, more) = (names.next().map(String::as_str), names.next());
    let all = |name: &str| list(&parts[name], &format!("{at}/{name}"), depth, left);
    match (first, more) {
        (Some("and"), None) => {
            let mut all = all;
            all("and").map(Node::And)
        }
        (Some("or"), None) => {
            let mut all = all;
            all("or").map(Node::Or)
        }
        (Some("not"), None) => {
            let inner = node(&parts["not"], &format!("{at}/not"), depth + 1, left)?;
            Ok(Node::Not(Box::new(inner)))
        }
        _ => comparison(parts, at, left),
    }
}

fn list(value: &Value, at: &str, depth: usize, left: &mut usize) -> Result<Vec<Node>, Invalid> {
    match value {
        Value::Array(items) if !items.is_empty() => {
            let items = items.iter().enumerate();
            items.map(|(i, item)| node(item, &format!("{at}/{i}"), depth + 1, left)).collect()
        }
        _ => Err(Invalid::new(at, "expected a list of at least one filter")),
    }
}

fn comparison(parts: &Map<String, Value>, at: &str, left: &mut usize) -> Result<Node, Invalid> {
    let Some(rest) = left.checked_sub(1) else {
        let detail = format!("a filter has at most {FILTER_PARTS_MAX} comparisons");
        return Err(Invalid::new(at, detail));
    };
    *left = rest;
    if let Some(unknown) = parts.keys().find(|name| !["field", "op", "value"].contains(&&***name)) {
        let shown: String = unknown.chars().take(64).collect();
        let detail = format!("there is no {shown:?} here: expected and, or, not, or field and op");
        return Err(Invalid::new(at, detail));
    }
    let text = |name: &str| match parts.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        _ => Err(Invalid::new(format!("{at}/{name}"), "expected a text")),
    };
    let field = Field::parse(text("field")?);
    let field = field.map_err(|error| Invalid::field(&format!("{at}/field"), error))?;
    let place = format!("{at}/value");
    let op = text("op")?;
    let value = match parts.get("value") {
        Some(value) => value,
        None if op == "exists" => &Value::Bool(true),
        None => return Err(Invalid::new(place, "expected a value")),
    };
    let bounds = |bounds| match value {
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Ok(Test::Compare(bounds, value.clone()))
        }
        _ => Err(Invalid::new(&*place, "null, lists and objects have no order")),
    };
    let mut values = || match value {
        Value::Array(values) if (1..=FILTER_PARTS_MAX).contains(&values.len()) => {
            // Each is held against each document.
            *left = left.checked_sub(values.len() - 1).ok_or_else(|| {
                let detail = format!("a filter has at most {FILTER_PARTS_MAX} values in all");
                Invalid::new(&*place, detail)
            })?;
            Ok(values.clone())
        }
        _ => Err(Invalid::new(&*place, format!("expected a list of 1 to {FILTER_PARTS_MAX}"))),
    };
    let test = match op {
        "==" => Test::Is(value.clone()),
        "!=" => Test::IsNot(value.clone()),
        "<" => bounds(Bounds::Less)?,
        "<=" => bounds(Bounds::LessOrEqual)?,
        ">" => bounds(Bounds::Greater)?,
        ">=" => bounds(Bounds::GreaterOrEqual)?,
        "in" => Test::In(values()?),
        "not-in" => Test::NotIn(values()?),
        "array-contains" => Test::Contains(vec![value.clone()]),
        "array-contains-any" => Test::Contains(values()?),
        "exists" => match value {
            Value::Bool(wanted) => Test::Exists(*wanted),
            _ => return Err(Invalid::new(place, "expected true or false")),
        },
        "starts-with" => match value {
            Value::String(start) => Test::StartsWith(start.clone()),
            _ => return Err(Invalid::new(place, "expected a text")),
        },
        _ => return Err(Invalid::new(format!("{at}/op"), OPS)),
    };
    Ok(Node::Field(field, test))
}
