//! What is in maps and lists, wherever they come from, and what it costs to look for it.

use std::rc::Rc;

use crate::convert;
use crate::evaluate::{Evaluation, Fault, Outcome};
use crate::value::{List, Map, Value};
use domain::raw::{Elements, Raw};

impl<'v> Evaluation<'v> {
    /// The value of a field or of a key that is text.
    pub(crate) fn field(&mut self, map: &Map<'v>, name: &str) -> Result<Option<Value<'v>>, Fault> {
        let raw = match map {
            Map::Made(entries) => {
                self.charge_map(map)?;
                let is_it =
                    |key: &Value<'_>| matches!(key, Value::Text(text) if text.as_str() == name);
                let found = entries.iter().find(|(key, _)| is_it(key));
                return Ok(found.map(|(_, value)| value.clone()));
            }
            Map::Json(raw) => {
                self.charge_map(map)?;
                raw.field(name)?
            }
            Map::Document(document) => {
                self.charge_map(map)?;
                document.field(name)?
            }
            Map::Tree(fields) => return Ok(fields.get(name).map(convert::tree)),
            Map::Auth(auth) => return convert::auth(auth, name),
            Map::Request(request) => return Ok(convert::request(request, name)),
            Map::Meta(document) => return convert::meta(document, name),
        };
        raw.map(|raw| self.of_raw(raw)).transpose()
    }

    /// The value of JSON text, its string decoded.
    pub(crate) fn of_raw(&mut self, raw: Raw<'v>) -> Outcome<'v> {
        if raw.bytes().first() == Some(&b'"') {
            self.charge_bytes(raw.bytes().len())?;
        }
        convert::raw(raw)
    }

    /// The elements of a list, or the keys of a map.
    pub(crate) fn items(&mut self, range: Value<'v>) -> Result<Items<'v>, Fault> {
        Ok(match range {
            Value::List(List::Made(items)) => Items::Made(items, 0),
            Value::List(List::Json(raw)) => {
                self.charge_bytes(raw.bytes().len())?;
                Items::Json(raw.elements())
            }
            Value::List(List::Tree(items)) => Items::Tree(items.iter()),
            Value::List(List::Names(names)) => Items::Names(names.iter()),
            Value::Map(map) => {
                self.charge_map(&map)?;
                Items::Made(convert::keys(&map)?.into(), 0)
            }
            _ => return Err(Fault::Type),
        })
    }

    /// Takes the steps for looking through a map.
    pub(crate) fn charge_map(&mut self, map: &Map<'v>) -> Result<(), Fault> {
        match map {
            Map::Made(entries) => self.charge_each(entries.len(), 8),
            Map::Json(raw) => self.charge_bytes(raw.bytes().len()),
            Map::Tree(fields) => self.charge_each(fields.len(), 8),
            Map::Document(document) => self.charge_each(document.len()?, 32),
            Map::Auth(_) | Map::Request(_) | Map::Meta(_) => Ok(()),
        }
    }
}

/// The elements of a list, one by one.
pub(crate) enum Items<'v> {
    Made(Rc<[Value<'v>]>, usize),
    Json(Elements<'v>),
    Tree(std::slice::Iter<'v, serde_json::Value>),
    Names(std::slice::Iter<'v, compact_str::CompactString>),
}

impl<'v> Items<'v> {
    pub(crate) fn next(&mut self) -> Result<Option<Value<'v>>, Fault> {
        Ok(match self {
            Self::Made(items, at) => {
                *at += 1;
                items.get(*at - 1).cloned()
            }
            Self::Json(elements) => elements.try_next()?.map(convert::raw).transpose()?,
            Self::Tree(items) => items.next().map(convert::tree),
            Self::Names(names) => names.next().map(|name| Value::text(name)),
        })
    }
}
