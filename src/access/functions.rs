//! Functions of rules: those of the language's standard, and ours about roles, changes and other
//! documents.

use crate::compare;
use crate::convert;
use crate::document::Document;
use crate::evaluate::{Evaluation, Fault, Outcome};
use crate::node::{Function, Node};
use crate::time;
use crate::value::{List, Map, Text, Value};
use domain::path::Path;
use domain::raw::{Name, Raw};

/// Steps that compiling a computed pattern costs.
const PATTERN_STEPS: u32 = 10_000;

impl<'v> Evaluation<'v> {
    /// Calls a function; how many arguments it takes was checked when the rule was compiled.
    pub(crate) fn call(&mut self, function: Function, arguments: &'v [Node]) -> Outcome<'v> {
        match arguments {
            [] if function == Function::ChangedFields => self.changed_fields(),
            [one] => {
                let one = self.evaluate(one)?;
                self.call_with_one(function, one)
            }
            [one, other] => {
                let (one, other) = (self.evaluate(one)?, self.evaluate(other)?);
                let (Value::Text(one), Value::Text(other)) = (one, other) else {
                    return Err(Fault::Type);
                };
                self.call_with_texts(function, &one, &other)
            }
            _ => Err(Fault::Type),
        }
    }

    fn call_with_texts(
        &mut self,
        function: Function,
        one: &Text<'v>,
        other: &Text<'v>,
    ) -> Outcome<'v> {
        let (one, other) = (one.as_str(), other.as_str());
        self.charge_bytes(one.len() + other.len())?;
        Ok(match function {
            Function::Contains => Value::Bool(one.contains(other)),
            Function::StartsWith => Value::Bool(one.starts_with(other)),
            Function::EndsWith => Value::Bool(one.ends_with(other)),
            Function::Matches => Value::Bool(self.matches(one, other)?),
            Function::Get => match self.other_document(one, other)? {
                Some(raw) => Value::Map(Map::Json(raw)),
                None => Value::Null,
            },
            Function::Exists => Value::Bool(self.other_document(one, other)?.is_some()),
            _ => return Err(Fault::Type),
        })
    }

    fn call_with_one(&mut self, function: Function, value: Value<'v>) -> Outcome<'v> {
        Ok(match function {
            Function::Size => Value::Int(self.size(&value)?),
            Function::HasRole => {
                let Value::Text(role) = value else { return Err(Fault::Type) };
                let roles = self.request.auth.map_or(&[][..], |auth| &auth.roles);
                self.charge_each(roles.len(), 8)?;
                Value::Bool(roles.iter().any(|one| one == role.as_str()))
            }
            Function::Changed => {
                let Value::Text(path) = value else { return Err(Fault::Type) };
                let path = Path::parse(path.as_str()).map_err(|_| Fault::Conversion)?;
                Value::Bool(self.changed(&path)?)
            }
            Function::ToDyn => value,
            Function::ToTimestamp => time::timestamp(&value)?,
            Function::ToDuration => time::duration(&value)?,
            Function::Date(part) => Value::Int(time::part(part, &value)?),
            _ => {
                if let Value::Text(text) = &value {
                    self.charge_bytes(text.as_str().len())?;
                }
                scalar(function, value)?
            }
        })
    }

    fn size(&mut self, value: &Value<'v>) -> Result<i64, Fault> {
        let size = match value {
            Value::Text(text) => {
                self.charge_bytes(text.as_str().len())?;
                text.as_str().chars().count()
            }
            Value::Bytes(bytes) => bytes.len(),
            Value::List(List::Made(items)) => items.len(),
            Value::List(List::Tree(items)) => items.len(),
            Value::List(List::Names(names)) => names.len(),
            Value::List(List::Json(raw)) => {
                self.charge_bytes(raw.bytes().len())?;
                let (mut count, mut elements) = (0, raw.elements());
                while elements.try_next()?.is_some() {
                    count += 1;
                }
                count
            }
            Value::Map(map) => {
                self.charge_map(map)?;
                convert::keys(map)?.len()
            }
            _ => return Err(Fault::Type),
        };
        i64::try_from(size).map_err(|_| Fault::Overflow)
    }

    fn matches(&mut self, text: &str, pattern: &str) -> Result<bool, Fault> {
        let compiled = match self.patterns.find(pattern) {
            Some(compiled) => compiled,
            None => {
                self.charge(PATTERN_STEPS)?;
                self.patterns.compile(pattern).map_err(|_| Fault::Conversion)?
            }
        };
        self.charge(compiled.steps(text.len()))?;
        Ok(compiled.is_match(text))
    }

    /// Whether a field differs between the documents before and after.
    pub(crate) fn changed(&mut self, path: &Path) -> Result<bool, Fault> {
        let Some((first, rest)) = path.as_slice().split_first() else { return Ok(false) };
        let before = self.top_field(self.request.before, first)?;
        let after = self.top_field(self.request.after, first)?;
        self.differs(before, after, rest)
    }

    fn top_field(
        &mut self,
        document: Option<&'v Document<'v>>,
        name: &str,
    ) -> Result<Option<Raw<'v>>, Fault> {
        let Some(document) = document else { return Ok(None) };
        self.charge_each(document.len()?, 32)?;
        Ok(document.field(name)?)
    }

    fn differs(
        &mut self,
        before: Option<Raw<'v>>,
        after: Option<Raw<'v>>,
        rest: &[Box<str>],
    ) -> Result<bool, Fault> {
        let length = |raw: Option<Raw<'_>>| raw.map_or(0, |raw| raw.bytes().len());
        self.charge_each(length(before) + length(after), 512)?;
        Ok(compare::differs(before, after, rest))
    }

    /// The names of the fields that differ: those from before in their order, then new ones.
    fn changed_fields(&mut self) -> Outcome<'v> {
        let fields = |document: Option<&'v Document<'v>>| match document {
            Some(document) => document.fields(),
            None => Ok(Vec::new()),
        };
        let (before, after) = (fields(self.request.before)?, fields(self.request.after)?);
        let mut changed = Vec::new();
        for (at, (name, value)) in before.iter().enumerate() {
            let other = self.counterpart(*name, at, &after)?;
            if self.differs(Some(*value), other, &[])? {
                changed.push(convert::name(*name)?);
            }
        }
        for (at, (name, _)) in after.iter().enumerate() {
            if self.counterpart(*name, at, &before)?.is_none() {
                changed.push(convert::name(*name)?);
            }
        }
        Ok(Value::list(changed))
    }

    /// The field of the same name in the other document, most often at the same place.
    fn counterpart(
        &mut self,
        name: Name<'v>,
        at: usize,
        others: &[(Name<'v>, Raw<'v>)],
    ) -> Result<Option<Raw<'v>>, Fault> {
        self.charge(1)?;
        if let Some((other, value)) = others.get(at)
            && other.bytes() == name.bytes()
        {
            return Ok(Some(*value));
        }
        self.charge_each(others.len(), 8)?;
        let text = name.text()?;
        Ok(others.iter().find(|(other, _)| other.is(&text)).map(|(_, value)| *value))
    }
}

/// Conversions between scalars.
fn scalar<'v>(function: Function, value: Value<'v>) -> Outcome<'v> {
    match function {
        Function::ToBool => match &value {
            Value::Bool(_) => Ok(value),
            Value::Text(text) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
                _ => Err(Fault::Conversion),
            },
            _ => Err(Fault::Type),
        },
        Function::ToBytes => match &value {
            Value::Bytes(_) => Ok(value),
            Value::Text(text) => Ok(Value::Bytes(text.as_str().as_bytes().into())),
            _ => Err(Fault::Type),
        },
        Function::ToInt => to_int(&value).map(Value::Int),
        Function::ToUInt => to_uint(&value).map(Value::UInt),
        Function::ToDouble => match &value {
            Value::Double(_) => Ok(value),
            Value::Int(int) => Ok(Value::Double(*int as f64)),
            Value::UInt(uint) => Ok(Value::Double(*uint as f64)),
            Value::Text(text) => {
                text.as_str().parse().map(Value::Double).map_err(|_| Fault::Conversion)
            }
            _ => Err(Fault::Type),
        },
        Function::ToString => to_string(value),
        _ => Err(Fault::Type),
    }
}

fn to_int(value: &Value<'_>) -> Result<i64, Fault> {
    match value {
        Value::Int(int) => Ok(*int),
        Value::UInt(uint) => i64::try_from(*uint).map_err(|_| Fault::Overflow),
        // The language takes the open range, as doubles near its ends are not exact.
        Value::Double(double) if double.abs() < 9_223_372_036_854_775_808.0 => Ok(*double as i64),
        Value::Double(_) => Err(Fault::Overflow),
        Value::Text(text) => text.as_str().parse().map_err(|_| Fault::Conversion),
        Value::Timestamp(time) => Ok(time.as_second()),
        _ => Err(Fault::Type),
    }
}

fn to_uint(value: &Value<'_>) -> Result<u64, Fault> {
    match value {
        Value::UInt(uint) => Ok(*uint),
        Value::Int(int) => u64::try_from(*int).map_err(|_| Fault::Overflow),
        Value::Double(double) if (0.0..18_446_744_073_709_551_616.0).contains(double) => {
            Ok(*double as u64)
        }
        Value::Double(_) => Err(Fault::Overflow),
        Value::Text(text) => text.as_str().parse().map_err(|_| Fault::Conversion),
        _ => Err(Fault::Type),
    }
}

fn to_string(value: Value<'_>) -> Outcome<'_> {
    let text = match &value {
        Value::Text(_) => return Ok(value),
        Value::Bool(value) => value.to_string(),
        Value::Int(int) => int.to_string(),
        Value::UInt(uint) => uint.to_string(),
        Value::Double(double) => double.to_string(),
        Value::Bytes(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| Fault::Conversion)?;
            return Ok(Value::made_text(text));
        }
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(duration) => time::print_duration(*duration),
        Value::Null | Value::List(_) | Value::Map(_) => return Err(Fault::Type),
    };
    Ok(Value::made_text(&text))
}
