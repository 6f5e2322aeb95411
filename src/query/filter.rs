//! The filter tree and its evaluation.

use std::cmp::Ordering;

use domain::number::{Number, is_same};
use domain::path::Path;
use domain::raw::{Kind, Raw};
use serde_json::Value;

use crate::field::{Document, Field};

/// Which documents a query is about. Two of them are equal when they were written alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    pub(crate) node: Node,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Field(Field, Test),
}

/// What is asked of a field's value. Of a field that is not there all of it is false, but for
/// `Exists(false)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Is(Value),
    IsNot(Value),
    /// In order of the value's own type: of another type's it is false.
    Compare(Bounds, Value),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    Contains(Vec<Value>),
    Exists(bool),
    StartsWith(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bounds {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// What this filter holds of, if there is one, and where these fields have these values.
    pub fn with_equal(filter: Option<&Self>, equal: Vec<(Path, Value)>) -> Option<Self> {
        let equal =
            equal.into_iter().map(|(path, value)| Node::Field(Field::Data(path), Test::Is(value)));
        let all: Vec<Node> =
            filter.map(|filter| filter.node.clone()).into_iter().chain(equal).collect();
        (!all.is_empty()).then_some(Self { node: Node::And(all) })
    }

    /// Whether it asks when a document was last changed.
    pub fn asks_when_changed(&self) -> bool {
        self.node.asks_of(&Field::UpdatedAt)
    }

    /// Whether a document is among those that the query is about. Text that is no document is not.
    pub fn matches(&self, document: &Document<'_>) -> bool {
        self.node.holds(document)
    }
}

impl Node {
    fn asks_of(&self, wanted: &Field) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.asks_of(wanted)),
            Self::Not(part) => part.asks_of(wanted),
            Self::Field(field, _) => field == wanted,
        }
    }

    /// Recursion is as deep as the filter, whose depth was limited when it was read.
    fn holds(&self, document: &Document<'_>) -> bool {
        match self {
            Self::And(all) => all.iter().all(|one| one.holds(document)),
            Self::Or(any) => any.iter().any(|one| one.holds(document)),
            Self::Not(one) => !one.holds(document),
            Self::Field(field, test) => match field.of(document) {
                Some(value) => test.holds(Raw::new(&value)),
                None => *test == Test::Exists(false),
            },
        }
    }
}

impl Test {
    fn holds(&self, raw: Raw<'_>) -> bool {
        let is_any = |raw: Raw<'_>, values: &[Value]| values.iter().any(|one| is_same(raw, one));
        match self {
            Self::Is(value) => is_same(raw, value),
            Self::IsNot(value) => !is_same(raw, value),
            Self::In(values) => is_any(raw, values),
            Self::NotIn(values) => !is_any(raw, values),
            Self::Compare(bounds, value) => compare(raw, value).is_some_and(|at| bounds.hold(at)),
            Self::Contains(values) => {
                let mut elements = match raw.kind() {
                    Ok(Kind::Array) => raw.elements(),
                    _ => return false,
                };
                while let Ok(Some(element)) = elements.try_next() {
                    if is_any(element, values) {
                        return true;
                    }
                }
                false
            }
            Self::Exists(wanted) => *wanted,
            Self::StartsWith(start) => {
                raw.kind() == Ok(Kind::String)
                    && raw.text().is_ok_and(|text| text.starts_with(start.as_str()))
            }
        }
    }
}

impl Bounds {
    fn hold(self, at: Ordering) -> bool {
        match self {
            Self::Less => at.is_lt(),
            Self::LessOrEqual => at.is_le(),
            Self::Greater => at.is_gt(),
            Self::GreaterOrEqual => at.is_ge(),
        }
    }
}

/// Where a value stands to one of the same type; `None` for other types, and for lists and objects,
/// which have no order.
fn compare(raw: Raw<'_>, value: &Value) -> Option<Ordering> {
    match (raw.kind().ok()?, value) {
        (Kind::Number, Value::Number(number)) => {
            Some(Number::from(raw.number().ok()?).cmp(&number.into()))
        }
        (Kind::String, Value::String(text)) => Some(raw.text().ok()?.as_ref().cmp(text.as_str())),
        (Kind::False, Value::Bool(other)) => Some(false.cmp(other)),
        (Kind::True, Value::Bool(other)) => Some(true.cmp(other)),
        _ => None,
    }
}
