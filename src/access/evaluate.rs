//! Evaluates one question's expressions, counting steps. Follows the language definition: errors
//! are absorbed by `&&`, `||`, `all` and `exists` when the other operands decide, and a document
//! that is not loaded yet behaves as an error that is remembered.

use crate::document::{Found, Request};
use crate::node::{Binary, Literal, Loop, LoopKind, Node, Root};
use crate::pattern::Kept;
use crate::value::{Map, Text, Value};
use crate::{LOOKUPS_MAX, STEPS_MAX, convert};
use domain::raw::{Malformed, Raw};

/// Why an expression has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field or key is not there; `has()` asks for it safely.
    #[error("a field or key is not there")]
    Missing,
    /// An operation or function does not exist for the types of its values.
    #[error("an operation does not fit the types of its values")]
    Type,
    /// A number, time or duration is out of range.
    #[error("a number, time or duration is out of range")]
    Overflow,
    /// A division by zero.
    #[error("a number is divided by zero")]
    DivisionByZero,
    /// A position past the end of a list.
    #[error("a list has no such position")]
    Position,
    /// Text that a conversion or a function cannot read.
    #[error("a text cannot be converted")]
    Conversion,
    /// More than [`STEPS_MAX`] steps.
    #[error("the rule takes more than {STEPS_MAX} steps")]
    Steps,
    /// More than [`LOOKUPS_MAX`] documents.
    #[error("the rule looks up more than {LOOKUPS_MAX} documents")]
    Lookups,
    /// A document's text is not compact JSON.
    #[error("a document's text is not what it should be")]
    Document,
    /// Another document must be loaded first: [`Verdict::Needs`](crate::Verdict::Needs) has it.
    #[error("another document is not loaded yet")]
    Unknown,
}

impl From<Malformed> for Fault {
    fn from(Malformed: Malformed) -> Self {
        Self::Document
    }
}

impl Fault {
    /// Whether no other operand can make up for it.
    fn is_final(self) -> bool {
        matches!(self, Self::Steps | Self::Lookups)
    }

    /// Of two faults the one to report: with a document that is missing there may be none.
    fn or(self, other: Self) -> Self {
        if other == Self::Unknown { other } else { self }
    }
}

pub(crate) type Outcome<'v> = Result<Value<'v>, Fault>;

/// A document that was asked for.
pub(crate) struct Asked {
    pub(crate) collection: Box<str>,
    pub(crate) id: Box<str>,
    pub(crate) is_unknown: bool,
}

/// One question while it is evaluated. Its expressions share the steps.
pub(crate) struct Evaluation<'v> {
    pub(crate) request: &'v Request<'v>,
    pub(crate) patterns: &'v Kept,
    pub(crate) asked: Vec<Asked>,
    steps_left: u32,
    /// The variables of the loops that stand around, the outermost first.
    locals: Vec<Value<'v>>,
    /// How deep two values are being compared.
    pub(crate) depth: usize,
}

impl<'v> Evaluation<'v> {
    pub(crate) fn new(request: &'v Request<'v>, patterns: &'v Kept) -> Self {
        Self {
            request,
            patterns,
            asked: Vec::new(),
            steps_left: STEPS_MAX,
            locals: Vec::new(),
            depth: 0,
        }
    }

    /// Takes steps; fails when there are none left.
    pub(crate) fn charge(&mut self, steps: u32) -> Result<(), Fault> {
        match self.steps_left.checked_sub(steps) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => {
                self.steps_left = 0;
                Err(Fault::Steps)
            }
        }
    }

    /// Takes one step for each `each` of `count`.
    pub(crate) fn charge_each(&mut self, count: usize, each: usize) -> Result<(), Fault> {
        self.charge(u32::try_from(count / each.max(1)).unwrap_or(u32::MAX))
    }

    /// Takes the steps for looking through so many bytes.
    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.charge_each(bytes, 64)
    }

    #[cfg(test)]
    pub(crate) fn steps_taken(&self) -> u32 {
        STEPS_MAX - self.steps_left
    }

    /// The value of an expression. Recursion is as deep as the expression, which is bounded.
    pub(crate) fn evaluate(&mut self, node: &'v Node) -> Outcome<'v> {
        self.charge(1)?;
        match node {
            Node::Literal(value) => Ok(literal(value)),
            Node::Root(root) => self.root(*root),
            Node::Local(at) => self.locals.get(*at).cloned().ok_or(Fault::Missing),
            Node::Select(operand, field) => {
                let map = self.map(operand)?;
                self.field(&map, field)?.ok_or(Fault::Missing)
            }
            Node::Has(operand, field) => {
                let map = self.map(operand)?;
                Ok(Value::Bool(self.field(&map, field)?.is_some()))
            }
            Node::Index(both) => {
                let (of, index) = self.both(both)?;
                self.index(&of, &index)
            }
            Node::And(both) => self.logic(both, false),
            Node::Or(both) => self.logic(both, true),
            Node::Not(operand) => match self.evaluate(operand)? {
                Value::Bool(value) => Ok(Value::Bool(!value)),
                _ => Err(Fault::Type),
            },
            Node::Negate(operand) => match self.evaluate(operand)? {
                Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(Fault::Overflow),
                Value::Double(value) => Ok(Value::Double(-value)),
                _ => Err(Fault::Type),
            },
            Node::Conditional(all) => {
                let [test, yes, no] = &**all;
                match self.evaluate(test)? {
                    Value::Bool(true) => self.evaluate(yes),
                    Value::Bool(false) => self.evaluate(no),
                    _ => Err(Fault::Type),
                }
            }
            Node::Binary(operator, both) => {
                let (one, other) = self.both(both)?;
                self.binary(*operator, &one, &other)
            }
            Node::List(items) => {
                let items: Result<Vec<_>, Fault> =
                    items.iter().map(|item| self.evaluate(item)).collect();
                Ok(Value::list(items?))
            }
            Node::Map(entries) => self.make_map(entries),
            Node::Loop(inner) => self.each(inner),
            Node::Call(function, arguments) => self.call(*function, arguments),
            Node::Matches(subject, pattern) => {
                let Value::Text(text) = self.evaluate(subject)? else { return Err(Fault::Type) };
                self.charge(pattern.steps(text.as_str().len()))?;
                Ok(Value::Bool(pattern.is_match(text.as_str())))
            }
            Node::Changed(path) => self.changed(path).map(Value::Bool),
        }
    }

    fn root(&self, root: Root) -> Outcome<'v> {
        Ok(match root {
            Root::Auth => self.request.auth.map_or(Value::Null, |auth| Value::Map(Map::Auth(auth))),
            Root::Resource => convert::document(self.request.before),
            Root::Request => Value::Map(Map::Request(self.request)),
            Root::Meta => match self.request.before.or(self.request.after) {
                Some(document) => Value::Map(Map::Meta(document)),
                None => Value::Null,
            },
            Root::Now => convert::timestamp(self.request.now)?,
        })
    }

    pub(crate) fn both(&mut self, both: &'v [Node; 2]) -> Result<(Value<'v>, Value<'v>), Fault> {
        let [one, other] = both;
        Ok((self.evaluate(one)?, self.evaluate(other)?))
    }

    fn map(&mut self, node: &'v Node) -> Result<Map<'v>, Fault> {
        match self.evaluate(node)? {
            Value::Map(map) => Ok(map),
            _ => Err(Fault::Type),
        }
    }

    /// `&&` and `||`: either operand may decide, even if the other has no value.
    fn logic(&mut self, both: &'v [Node; 2], decisive: bool) -> Outcome<'v> {
        let mut fault: Option<Fault> = None;
        for operand in both {
            match self.evaluate(operand) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => fault = Some(fault.map_or(Fault::Type, |before| before.or(Fault::Type))),
                Err(other) if other.is_final() => return Err(other),
                Err(other) => fault = Some(fault.map_or(other, |before| before.or(other))),
            }
        }
        fault.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn make_map(&mut self, nodes: &'v [(Node, Node)]) -> Outcome<'v> {
        let mut entries: Vec<(Value<'v>, Value<'v>)> = Vec::with_capacity(nodes.len());
        for (key, value) in nodes {
            let key = self.evaluate(key)?;
            if !matches!(key, Value::Int(_) | Value::UInt(_) | Value::Bool(_) | Value::Text(_)) {
                return Err(Fault::Type);
            }
            for (other, _) in &entries {
                if self.equal(&key, other)? {
                    return Err(Fault::Type);
                }
            }
            entries.push((key, self.evaluate(value)?));
        }
        Ok(Value::Map(Map::Made(entries.into())))
    }

    /// A macro over a list, or over the keys of a map.
    fn each(&mut self, inner: &'v Loop) -> Outcome<'v> {
        let range = self.evaluate(&inner.range)?;
        let mut items = self.items(range)?;
        let (mut made, mut count, mut fault) = (Vec::new(), 0_u32, None::<Fault>);
        while let Some(item) = items.next()? {
            let kept = if inner.kind == LoopKind::Filter { Some(item.clone()) } else { None };
            self.locals.push(item);
            let round = self.round(inner);
            self.locals.pop();
            let decisive = inner.kind == LoopKind::Exists;
            match (inner.kind, round) {
                (LoopKind::All | LoopKind::Exists, Ok(Round::Test(value))) => {
                    if value == decisive {
                        return Ok(Value::Bool(decisive));
                    }
                }
                (LoopKind::All | LoopKind::Exists, Err(other)) if !other.is_final() => {
                    fault = Some(fault.map_or(other, |before| before.or(other)));
                }
                (_, Err(fault)) => return Err(fault),
                (_, Ok(Round::Made(value))) => made.push(value),
                (_, Ok(Round::Test(true))) => {
                    count = count.saturating_add(1);
                    made.extend(kept);
                }
                (_, Ok(Round::Test(false))) => {}
            }
        }
        match (inner.kind, fault) {
            (_, Some(fault)) => Err(fault),
            (LoopKind::All, None) => Ok(Value::Bool(true)),
            (LoopKind::Exists, None) => Ok(Value::Bool(false)),
            (LoopKind::ExistsOne, None) => Ok(Value::Bool(count == 1)),
            (LoopKind::Filter | LoopKind::Map, None) => Ok(Value::list(made)),
        }
    }

    /// One element of a loop, which is the innermost variable.
    fn round(&mut self, inner: &'v Loop) -> Result<Round<'v>, Fault> {
        self.charge(1)?;
        let test = match &inner.test {
            None => true,
            Some(test) => match self.evaluate(test)? {
                Value::Bool(value) => value,
                _ => return Err(Fault::Type),
            },
        };
        match &inner.make {
            Some(make) if test => self.evaluate(make).map(Round::Made),
            _ => Ok(Round::Test(test)),
        }
    }

    fn binary(&mut self, operator: Binary, one: &Value<'v>, other: &Value<'v>) -> Outcome<'v> {
        let ordered = match operator {
            Binary::Equal => self.equal(one, other)?,
            Binary::NotEqual => !self.equal(one, other)?,
            Binary::In => self.contains(other, one)?,
            Binary::Less => self.compare(one, other)?.is_lt(),
            Binary::LessEqual => self.compare(one, other)?.is_le(),
            Binary::Greater => self.compare(one, other)?.is_gt(),
            Binary::GreaterEqual => self.compare(one, other)?.is_ge(),
            _ => return self.arithmetic(operator, one, other),
        };
        Ok(Value::Bool(ordered))
    }

    /// Another document's text; `None` where there is no such document.
    pub(crate) fn other_document(
        &mut self,
        collection: &str,
        id: &str,
    ) -> Result<Option<Raw<'v>>, Fault> {
        self.charge(20)?;
        self.charge_bytes(collection.len() + id.len())?;
        let is_it = |asked: &Asked| *asked.collection == *collection && *asked.id == *id;
        let found = self.request.lookup.get(collection, id);
        let is_unknown = matches!(found, Found::Unknown);
        if !self.asked.iter().any(is_it) {
            if self.asked.len() >= LOOKUPS_MAX {
                return Err(Fault::Lookups);
            }
            self.asked.push(Asked { collection: collection.into(), id: id.into(), is_unknown });
        }
        match found {
            Found::Document(data) => Ok(Some(Raw::new(data))),
            Found::Nothing => Ok(None),
            Found::Unknown => Err(Fault::Unknown),
        }
    }
}

enum Round<'v> {
    Test(bool),
    Made(Value<'v>),
}

fn literal(value: &Literal) -> Value<'_> {
    match value {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::UInt(value) => Value::UInt(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::Text(text) => Value::Text(Text::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes((**bytes).into()),
    }
}
