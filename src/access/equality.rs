//! Equality, order, membership and arithmetic, as the language definition has them: numbers of
//! all types are one line, values of different types are unequal, and their order is an error.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::convert;
use crate::evaluate::{Evaluation, Fault, Outcome};
use crate::node::Binary;
use crate::time;
use crate::value::{List, Map, Text, Value};

/// How deep values are compared. Documents, and lists within an expression, nest less deep.
const DEPTH_MAX: usize = 200;

impl<'v> Evaluation<'v> {
    /// `==`.
    pub(crate) fn equal(&mut self, one: &Value<'v>, other: &Value<'v>) -> Result<bool, Fault> {
        self.charge(1)?;
        if let Some(order) = numbers(one, other) {
            return Ok(order == Some(Ordering::Equal));
        }
        Ok(match (one, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(one), Value::Bool(other)) => one == other,
            (Value::Text(one), Value::Text(other)) => {
                self.charge_bytes(one.as_str().len().min(other.as_str().len()))?;
                one.as_str() == other.as_str()
            }
            (Value::Bytes(one), Value::Bytes(other)) => {
                self.charge_bytes(one.len().min(other.len()))?;
                one == other
            }
            (Value::Timestamp(one), Value::Timestamp(other)) => one == other,
            (Value::Duration(one), Value::Duration(other)) => one == other,
            (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) => {
                if self.depth >= DEPTH_MAX {
                    return Err(Fault::Document);
                }
                self.depth += 1;
                let equal = match (one, other) {
                    (Value::List(one), Value::List(other)) => self.equal_lists(one, other),
                    (Value::Map(one), Value::Map(other)) => self.equal_maps(one, other),
                    _ => Ok(false),
                };
                self.depth -= 1;
                equal?
            }
            _ => false,
        })
    }

    fn equal_lists(&mut self, one: &List<'v>, other: &List<'v>) -> Result<bool, Fault> {
        if let (List::Json(one), List::Json(other)) = (one, other) {
            self.charge_bytes(one.bytes().len().min(other.bytes().len()))?;
            if one.bytes() == other.bytes() {
                return Ok(true);
            }
        }
        let mut one = self.items(Value::List(one.clone()))?;
        let mut other = self.items(Value::List(other.clone()))?;
        loop {
            match (one.next()?, other.next()?) {
                (None, None) => return Ok(true),
                (Some(one), Some(other)) if self.equal(&one, &other)? => {}
                _ => return Ok(false),
            }
        }
    }

    fn equal_maps(&mut self, one: &Map<'v>, other: &Map<'v>) -> Result<bool, Fault> {
        let text = |map: &Map<'v>| match map {
            Map::Json(raw) => Some(raw.bytes()),
            Map::Document(document) => Some(document.raw().bytes()),
            _ => None,
        };
        if let (Some(one), Some(other)) = (text(one), text(other)) {
            self.charge_bytes(one.len().min(other.len()))?;
            if one == other {
                return Ok(true);
            }
        }
        self.charge_map(one)?;
        let (keys, others) = (convert::keys(one)?, convert::keys(other)?);
        if keys.len() != others.len() {
            return Ok(false);
        }
        for key in &keys {
            let value = self.key(one, key)?.ok_or(Fault::Missing)?;
            match self.key(other, key)? {
                Some(found) if self.equal(&value, &found)? => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The value at a key of any type.
    fn key(&mut self, map: &Map<'v>, key: &Value<'v>) -> Result<Option<Value<'v>>, Fault> {
        match (map, key) {
            (_, Value::Text(text)) => self.field(map, text.as_str()),
            (_, Value::Int(_) | Value::UInt(_) | Value::Double(_) | Value::Bool(_)) => {
                let Map::Made(entries) = map else { return Ok(None) };
                let entries = Rc::clone(entries);
                for (found, value) in entries.iter() {
                    if self.equal(found, key)? {
                        return Ok(Some(value.clone()));
                    }
                }
                Ok(None)
            }
            _ => Err(Fault::Type),
        }
    }

    /// The order of two values of one type, or of two numbers. NaN has none.
    pub(crate) fn compare(
        &mut self,
        one: &Value<'v>,
        other: &Value<'v>,
    ) -> Result<Ordering, Fault> {
        if let Some(order) = numbers(one, other) {
            return order.ok_or(Fault::Type);
        }
        Ok(match (one, other) {
            (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
            (Value::Text(one), Value::Text(other)) => {
                self.charge_bytes(one.as_str().len().min(other.as_str().len()))?;
                one.as_str().cmp(other.as_str())
            }
            (Value::Bytes(one), Value::Bytes(other)) => one.cmp(other),
            (Value::Timestamp(one), Value::Timestamp(other)) => one.cmp(other),
            (Value::Duration(one), Value::Duration(other)) => one.cmp(other),
            _ => return Err(Fault::Type),
        })
    }

    /// `element in range`: an element of a list, or a key of a map.
    pub(crate) fn contains(
        &mut self,
        range: &Value<'v>,
        element: &Value<'v>,
    ) -> Result<bool, Fault> {
        match range {
            Value::Map(map) => Ok(self.key(map, element)?.is_some()),
            Value::List(List::Json(raw)) => {
                if let Value::Text(text) = element {
                    // The usual case, without decoding what is passed over.
                    self.charge_bytes(2 * raw.bytes().len())?;
                    let mut elements = raw.elements();
                    while let Some(found) = elements.try_next()? {
                        if found.is_string(text.as_str()) {
                            return Ok(true);
                        }
                    }
                    return Ok(false);
                }
                self.any(range, element)
            }
            Value::List(_) => self.any(range, element),
            _ => Err(Fault::Type),
        }
    }

    fn any(&mut self, list: &Value<'v>, element: &Value<'v>) -> Result<bool, Fault> {
        let mut items = self.items(list.clone())?;
        while let Some(item) = items.next()? {
            if self.equal(&item, element)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `of[index]`.
    pub(crate) fn index(&mut self, of: &Value<'v>, index: &Value<'v>) -> Outcome<'v> {
        let list = match of {
            Value::Map(map) => return self.key(map, index)?.ok_or(Fault::Missing),
            Value::List(list) => list,
            _ => return Err(Fault::Type),
        };
        let at = match index {
            Value::Int(at) => usize::try_from(*at).map_err(|_| Fault::Position)?,
            Value::UInt(at) => usize::try_from(*at).map_err(|_| Fault::Position)?,
            // A double that is whole is the same number. What is out of range becomes a position
            // that no list has.
            Value::Double(at) if *at >= 0.0 && at.fract() == 0.0 => *at as usize,
            _ => return Err(Fault::Type),
        };
        let found = match list {
            List::Made(items) => items.get(at).cloned(),
            List::Tree(items) => items.get(at).map(convert::tree),
            List::Names(names) => names.get(at).map(|name| Value::text(name)),
            List::Json(raw) => {
                self.charge_bytes(raw.bytes().len())?;
                let mut elements = raw.elements();
                for _ in 0..at {
                    elements.try_next()?.ok_or(Fault::Position)?;
                }
                elements.try_next()?.map(|raw| self.of_raw(raw)).transpose()?
            }
        };
        found.ok_or(Fault::Position)
    }

    /// `+ - * / %`.
    pub(crate) fn arithmetic(
        &mut self,
        operator: Binary,
        one: &Value<'v>,
        other: &Value<'v>,
    ) -> Outcome<'v> {
        match (one, other) {
            (Value::Int(one), Value::Int(other)) => ints(operator, *one, *other),
            (Value::UInt(one), Value::UInt(other)) => uints(operator, *one, *other),
            (Value::Double(one), Value::Double(other)) => Ok(Value::Double(match operator {
                Binary::Add => one + other,
                Binary::Subtract => one - other,
                Binary::Multiply => one * other,
                Binary::Divide => one / other,
                _ => return Err(Fault::Type),
            })),
            (Value::Text(one), Value::Text(other)) if operator == Binary::Add => {
                let (one, other) = (one.as_str(), other.as_str());
                self.charge_bytes(one.len() + other.len())?;
                Ok(Value::Text(Text::Made([one, other].concat().into())))
            }
            (Value::Bytes(one), Value::Bytes(other)) if operator == Binary::Add => {
                self.charge_bytes(one.len() + other.len())?;
                Ok(Value::Bytes([&**one, &**other].concat().into()))
            }
            (Value::List(_), Value::List(_)) if operator == Binary::Add => {
                let mut made = Vec::new();
                for list in [one, other] {
                    let mut items = self.items(list.clone())?;
                    while let Some(item) = items.next()? {
                        self.charge(1)?;
                        made.push(item);
                    }
                }
                Ok(Value::list(made))
            }
            _ => time::arithmetic(operator, one, other),
        }
    }
}

fn ints<'v>(operator: Binary, one: i64, other: i64) -> Outcome<'v> {
    let result = match operator {
        Binary::Add => one.checked_add(other),
        Binary::Subtract => one.checked_sub(other),
        Binary::Multiply => one.checked_mul(other),
        Binary::Divide | Binary::Remainder if other == 0 => return Err(Fault::DivisionByZero),
        Binary::Divide => one.checked_div(other),
        Binary::Remainder => one.checked_rem(other),
        _ => return Err(Fault::Type),
    };
    result.map(Value::Int).ok_or(Fault::Overflow)
}

fn uints<'v>(operator: Binary, one: u64, other: u64) -> Outcome<'v> {
    let result = match operator {
        Binary::Add => one.checked_add(other),
        Binary::Subtract => one.checked_sub(other),
        Binary::Multiply => one.checked_mul(other),
        Binary::Divide | Binary::Remainder if other == 0 => return Err(Fault::DivisionByZero),
        Binary::Divide => one.checked_div(other),
        Binary::Remainder => one.checked_rem(other),
        _ => return Err(Fault::Type),
    };
    result.map(Value::UInt).ok_or(Fault::Overflow)
}

/// The order of two numbers, exactly: `None` if they are not both numbers, `Some(None)` with NaN.
fn numbers(one: &Value<'_>, other: &Value<'_>) -> Option<Option<Ordering>> {
    let whole = |value: &Value<'_>| match value {
        Value::Int(int) => Some(i128::from(*int)),
        Value::UInt(uint) => Some(i128::from(*uint)),
        _ => None,
    };
    match (one, other) {
        (Value::Double(one), Value::Double(other)) => Some(one.partial_cmp(other)),
        (Value::Double(one), _) => {
            whole(other).map(|other| with_double(other, *one).map(Ordering::reverse))
        }
        (_, Value::Double(other)) => whole(one).map(|one| with_double(one, *other)),
        _ => whole(one).zip(whole(other)).map(|(one, other)| Some(one.cmp(&other))),
    }
}

/// The order of an integer and a double, without rounding the integer.
fn with_double(int: i128, double: f64) -> Option<Ordering> {
    // Integers here are below 2^64, so that a double beyond it, which `as` clamps, is beyond them.
    let floor = double.floor();
    if double.is_nan() {
        return None;
    }
    Some(int.cmp(&(floor as i128)).then(if double > floor {
        Ordering::Less
    } else {
        Ordering::Equal
    }))
}
