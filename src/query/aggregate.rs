//! Aggregates over the documents that a query is about: count, sum, average, smallest, largest, for
//! all of them or by groups.

use std::collections::BTreeMap;

use domain::number::Number;
use domain::path::below;
use domain::raw::Raw;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::field::{Document, Field};
use crate::order::Key;
use crate::parse::Invalid;
use crate::{AGGREGATES_MAX, GROUP_FIELDS_MAX, GROUPS_MAX};

/// Bytes of an aggregate's name at most.
const NAME_BYTES_MAX: usize = 100;

/// What is asked for, by the names that the client gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    asked: Vec<(String, Op)>,
    group_by: Vec<(String, Field)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    Count,
    /// Of numbers; whatever else is there does not count.
    Sum(Field),
    Average(Field),
    /// Of numbers, texts and booleans, in the order of orderings.
    Min(Field),
    Max(Field),
}

/// A query has more groups than [`GROUPS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query comes to more than {GROUPS_MAX} groups")]
pub struct TooManyGroups;

/// Aggregates on their way, document by document.
#[derive(Debug)]
pub struct Aggregates<'a> {
    aggregate: &'a Aggregate,
    groups: BTreeMap<Vec<Key>, Vec<State>>,
}

/// The aggregates of one group; without `groupBy` there is one, of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The fields' values by their names; what a document did not have is left out. Lists are all
    /// alike, and so are objects, and long texts are cut as orderings cut them.
    pub key: Map<String, Value>,
    /// By the names that the client gave.
    pub values: Map<String, Value>,
}

#[derive(Debug, Clone)]
enum State {
    Count(u64),
    Sum(Sum),
    Average(Sum),
    Best(Option<Key>),
}

/// Whole numbers are summed exactly, and doubles beside them.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    whole: i128,
    rest: f64,
    has_rest: bool,
    count: u64,
}

impl Sum {
    fn add(&mut self, number: Number) {
        self.count += 1;
        match number {
            // 2^64 numbers of 64 bits fit.
            Number::Int(int) => self.whole = self.whole.saturating_add(int),
            Number::Float(float) => {
                self.rest += float;
                self.has_rest = true;
            }
        }
    }

    fn total(self) -> Number {
        match self.has_rest {
            true => Number::Float(self.whole as f64 + self.rest),
            false => Number::Int(self.whole),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    op: String,
    field: Option<String>,
}

impl Aggregate {
    /// Reads `{"name": {"op": "count", …}, "other": {"op": "sum", "field": "…"}}` and the fields
    /// to group by.
    ///
    /// Errors with the place below `aggregate` or `groupBy`, and what is wrong there.
    pub fn of(asked: &Value, group_by: &[String]) -> Result<Self, Invalid> {
        let parts = match asked {
            Value::Object(parts) if (1..=AGGREGATES_MAX).contains(&parts.len()) => parts,
            _ => {
                let detail = format!("expected 1 to {AGGREGATES_MAX} aggregates by name");
                return Err(Invalid::new("/aggregate", detail));
            }
        };
        let mut own = Vec::with_capacity(parts.len());
        for (name, value) in parts {
            if name.len() > NAME_BYTES_MAX {
                let detail = format!("a name has at most {NAME_BYTES_MAX} bytes");
                return Err(Invalid::new("/aggregate", detail));
            }
            own.push((name.clone(), Op::of(value, &below("/aggregate", name))?));
        }
        if group_by.len() > GROUP_FIELDS_MAX {
            let detail = format!("at most {GROUP_FIELDS_MAX} fields");
            return Err(Invalid::new("/groupBy", detail));
        }
        let field = |(i, name): (usize, &String)| {
            let field = Field::parse(name);
            let field = field.map_err(|error| Invalid::field(&format!("/groupBy/{i}"), error));
            Ok((name.clone(), field?))
        };
        let group_by: Result<Vec<_>, Invalid> = group_by.iter().enumerate().map(field).collect();
        Ok(Self { asked: own, group_by: group_by? })
    }

    /// Whether groups are asked for.
    pub fn is_grouped(&self) -> bool {
        !self.group_by.is_empty()
    }

    fn states(&self) -> Vec<State> {
        let state = |(_, op): &(String, Op)| match op {
            Op::Count => State::Count(0),
            Op::Sum(_) => State::Sum(Sum::default()),
            Op::Average(_) => State::Average(Sum::default()),
            Op::Min(_) | Op::Max(_) => State::Best(None),
        };
        self.asked.iter().map(state).collect()
    }
}

impl Op {
    fn of(value: &Value, at: &str) -> Result<Self, Invalid> {
        let asked = Asked::deserialize(value);
        let asked = asked.map_err(|error| Invalid::new(at, error.to_string()))?;
        let field = || match &asked.field {
            Some(field) => {
                Field::parse(field).map_err(|e| Invalid::field(&format!("{at}/field"), e))
            }
            None => Err(Invalid::new(format!("{at}/field"), "expected a field")),
        };
        Ok(match asked.op.as_str() {
            "count" if asked.field.is_none() => Self::Count,
            "count" => {
                let detail = "a count has no field: filter by exists";
                return Err(Invalid::new(format!("{at}/field"), detail));
            }
            "sum" => Self::Sum(field()?),
            "avg" => Self::Average(field()?),
            "min" => Self::Min(field()?),
            "max" => Self::Max(field()?),
            _ => {
                return Err(Invalid::new(
                    format!("{at}/op"),
                    "expected count, sum, avg, min or max",
                ));
            }
        })
    }
}

impl<'a> Aggregates<'a> {
    /// Of no document yet.
    pub fn new(aggregate: &'a Aggregate) -> Self {
        Self { aggregate, groups: BTreeMap::new() }
    }

    /// Counts a document in.
    ///
    /// Errors with [`TooManyGroups`].
    pub fn add(&mut self, document: &Document<'_>) -> Result<(), TooManyGroups> {
        let of = |(_, field): &(String, Field)| Key::of(field, document);
        let key: Vec<Key> = self.aggregate.group_by.iter().map(of).collect();
        if !self.groups.contains_key(&key) {
            if self.groups.len() == GROUPS_MAX {
                return Err(TooManyGroups);
            }
            self.groups.insert(key.clone(), self.aggregate.states());
        }
        let Some(states) = self.groups.get_mut(&key) else { return Ok(()) };
        for ((_, op), state) in self.aggregate.asked.iter().zip(states) {
            state.add(op, document);
        }
        Ok(())
    }

    /// What they came to, in the order of the groups' values.
    pub fn done(mut self) -> Vec<Group> {
        if self.groups.is_empty() && self.aggregate.group_by.is_empty() {
            self.groups.insert(Vec::new(), self.aggregate.states());
        }
        let names = || self.aggregate.group_by.iter().map(|(name, _)| name.clone());
        let asked = || self.aggregate.asked.iter().map(|(name, _)| name.clone());
        let groups = self.groups.iter().map(|(keys, states)| {
            let known = |(name, key): (String, &Key)| Some((name, key.value()?));
            Group {
                key: names().zip(keys).filter_map(known).collect(),
                values: asked().zip(states.iter().map(State::to_json)).collect(),
            }
        });
        groups.collect()
    }
}

impl State {
    fn add(&mut self, op: &Op, document: &Document<'_>) {
        match (self, op) {
            (Self::Count(count), _) => *count += 1,
            (Self::Sum(sum) | Self::Average(sum), Op::Sum(field) | Op::Average(field)) => {
                let number = field.of(document);
                if let Some(number) = number.and_then(|value| Raw::new(&value).number().ok()) {
                    sum.add(number.into());
                }
            }
            (Self::Best(best), Op::Min(field) | Op::Max(field)) => {
                let key = Key::of(field, document);
                let is_better = match best {
                    // Neither what is missing nor what has no order of its own.
                    _ if key <= Key::Null || key >= Key::List => false,
                    None => true,
                    Some(known) if matches!(op, Op::Min(_)) => key < *known,
                    Some(known) => key > *known,
                };
                if is_better {
                    *best = Some(key);
                }
            }
            _ => {}
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Count(count) => (*count).into(),
            Self::Sum(sum) => sum.total().to_json(),
            Self::Average(Sum { count: 0, .. }) | Self::Best(None) => Value::Null,
            Self::Average(sum) => (sum.total().to_f64() / sum.count as f64).into(),
            Self::Best(Some(key)) => key.value().unwrap_or_default(),
        }
    }
}
