//! Transforms: changes of a field that depend on what it holds when they are written, so that
//! nobody has to read first and nobody's change is lost.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{Fields, is_object};
use crate::number::Number;
use crate::path::Path;
use crate::raw::{Kind, Raw};
use crate::time::Timestamp;

/// Transforms of one write at most.
pub const TRANSFORMS_MAX: usize = 100;
/// Elements that one transform adds to a list or takes out of it at most.
pub const TRANSFORM_ELEMENTS_MAX: usize = 1_000;

/// A change of one field. Where what is around it is no object, it becomes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transform {
    /// Which.
    pub field: Path,
    /// How.
    pub change: TransformChange,
}

/// What becomes of a field. Operands are compact JSON texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransformChange {
    /// Add this number; what is no number counts as 0. Whole numbers stay whole while 64 bits hold
    /// them, and are doubles beyond.
    Increment(String),
    /// This number, unless a smaller one is there.
    Min(String),
    /// This number, unless a larger one is there.
    Max(String),
    /// The time of the write, RFC 3339 in UTC.
    ServerTime,
    /// Append those of these that a list does not have; what is no list counts as empty.
    ArrayUnion(Vec<String>),
    /// Take all of these out of a list; what is no list becomes an empty one.
    ArrayRemove(Vec<String>),
    /// Take the field away.
    Delete,
}

impl Transform {
    /// What it takes in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        let operands = match &self.change {
            TransformChange::Increment(one)
            | TransformChange::Min(one)
            | TransformChange::Max(one) => one.len(),
            TransformChange::ArrayUnion(list) | TransformChange::ArrayRemove(list) => {
                list.iter().map(|one| one.len() + size_of::<String>()).sum()
            }
            TransformChange::ServerTime | TransformChange::Delete => 0,
        };
        size_of::<Self>() + self.field.as_str().len() + operands
    }
}

/// A document's compact JSON text with fields changed, in order. What no change goes through stays
/// text: each part is read once, however many changes there are.
pub(super) fn apply(json: &str, transforms: &[Transform], now: Timestamp) -> String {
    let mut root = Node::Text(json.to_owned());
    for Transform { field, change } in transforms {
        root.change(field.as_slice(), change, now);
    }
    let mut out = String::with_capacity(json.len());
    root.write(&mut out);
    out
}

/// A part of a document: its text, or what was looked into.
enum Node {
    Text(String),
    Object(IndexMap<String, Node>),
}

impl Node {
    /// Recursion is as deep as the path.
    fn change(&mut self, names: &[Box<str>], change: &TransformChange, now: Timestamp) {
        let Some((name, rest)) = names.split_first() else { return };
        // To take away what is not there makes nothing.
        let is_deletion = *change == TransformChange::Delete;
        if is_deletion && !self.is_object() {
            return;
        }
        let fields = self.fields();
        if !rest.is_empty() {
            match fields.get_mut(&**name) {
                Some(inner) => inner.change(rest, change, now),
                None if is_deletion => {}
                None => {
                    let mut inner = Self::Object(IndexMap::new());
                    inner.change(rest, change, now);
                    fields.insert(name.to_string(), inner);
                }
            }
            return;
        }
        let held = fields.get(&**name).map(|held| {
            let mut text = String::new();
            held.write(&mut text);
            text
        });
        match change.of(held.as_deref(), now) {
            Some(new) => drop(fields.insert(name.to_string(), Self::Text(new))),
            None => drop(fields.shift_remove(&**name)),
        }
    }

    fn is_object(&self) -> bool {
        match self {
            Self::Text(text) => is_object(text),
            Self::Object(_) => true,
        }
    }

    /// Its fields; what is no object becomes one without any.
    fn fields(&mut self) -> &mut IndexMap<String, Self> {
        if let Self::Text(text) = self {
            let fields = Fields::of(text);
            let fields = fields.iter().map(|(name, text)| (name, Self::Text(text.to_owned())));
            *self = Self::Object(fields.map(|(name, node)| (name.to_owned(), node)).collect());
        }
        match self {
            Self::Object(fields) => fields,
            Self::Text(_) => unreachable!("it was looked into"),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Object(fields) => {
                out.push('{');
                for (index, (name, inner)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&Value::from(name.as_str()).to_string());
                    out.push(':');
                    inner.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl TransformChange {
    /// What a field is to hold; `None` for nothing.
    fn of(&self, held: Option<&str>, now: Timestamp) -> Option<String> {
        match self {
            Self::Increment(by) => {
                let sum = match (number(held), number(Some(by))) {
                    (Some(held), Some(by)) => (held + by).to_json().to_string(),
                    // As it was written.
                    _ => by.clone(),
                };
                Some(sum)
            }
            Self::Min(than) => Some(closer(held, than, |held, than| held <= than)),
            Self::Max(than) => Some(closer(held, than, |held, than| held >= than)),
            Self::ServerTime => Some(format!("\"{now}\"")),
            Self::ArrayUnion(new) => {
                let mut list = elements(held);
                let mut known: HashSet<String> = list.iter().copied().map(canonical).collect();
                let new = new.iter().map(String::as_str);
                list.extend(new.filter(|one| known.insert(canonical(one))));
                Some(format!("[{}]", list.join(",")))
            }
            Self::ArrayRemove(gone) => {
                let gone: HashSet<String> = gone.iter().map(|one| canonical(one)).collect();
                let mut list = elements(held);
                list.retain(|one| !gone.contains(&canonical(one)));
                Some(format!("[{}]", list.join(",")))
            }
            Self::Delete => None,
        }
    }
}

fn number(json: Option<&str>) -> Option<Number> {
    Raw::new(json?.as_bytes()).number().ok().map(Number::from)
}

fn closer(held: Option<&str>, than: &str, stays: impl Fn(Number, Number) -> bool) -> String {
    match (held, number(held), number(Some(than))) {
        (Some(text), Some(held), Some(other)) if stays(held, other) => text.to_owned(),
        _ => than.to_owned(),
    }
}

fn elements(held: Option<&str>) -> Vec<&str> {
    let raw = Raw::new(held.unwrap_or_default().as_bytes());
    if raw.kind() != Ok(Kind::Array) {
        return Vec::new();
    }
    let (mut elements, mut list) = (raw.elements(), Vec::new());
    while let Ok(Some(element)) = elements.try_next() {
        list.extend(std::str::from_utf8(element.bytes()));
    }
    list
}

/// Equal for values that are the same, as filters see it: whatever the spelling of numbers and the
/// order of names. Comparing each with each would take a writer's time by the square.
fn canonical(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    match serde_json::from_str(json) {
        Ok(value) => write_canonical(&value, &mut out),
        Err(_) => out.push_str(json),
    }
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => out.push_str(&Number::from(number).canonical()),
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            out.push('{');
            for name in names {
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_canonical(&fields[name], out);
                out.push(',');
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(json: &str, field: &str, change: TransformChange) -> String {
        let field = Path::parse(field).unwrap();
        let now = Timestamp::from_micros(1_700_000_000_000_123);
        apply(json, &[Transform { field, change }], now)
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn numbers_grow_and_keep_their_kind() {
        let by = |by: &str| TransformChange::Increment(by.to_owned());
        assert_eq!(applied(r#"{"n":1,"m":1.10}"#, "n", by("2")), r#"{"n":3,"m":1.10}"#);
        assert_eq!(applied(r#"{"n":1}"#, "n", by("0.5")), r#"{"n":1.5}"#);
        assert_eq!(applied(r#"{"n":"x"}"#, "n", by("2")), r#"{"n":2}"#);
        assert_eq!(applied("{}", "a.n", by("-1")), r#"{"a":{"n":-1}}"#);
        assert_eq!(applied(r#"{"a":[1]}"#, "a.n", by("1")), r#"{"a":{"n":1}}"#);
        let max = i64::MAX;
        let large = applied(&format!("{{\"n\":{max}}}"), "n", by("1"));
        assert_eq!(large, r#"{"n":9223372036854775808}"#);
        let larger = applied(&format!("{{\"n\":{}}}", u64::MAX), "n", by("1"));
        assert_eq!(larger, r#"{"n":1.8446744073709552e+19}"#);
        let (min, max) = (TransformChange::Min("2".into()), TransformChange::Max("2.0".into()));
        assert_eq!(applied(r#"{"n":3}"#, "n", min.clone()), r#"{"n":2}"#);
        assert_eq!(applied(r#"{"n":1.00}"#, "n", min), r#"{"n":1.00}"#);
        assert_eq!(applied(r#"{"n":2}"#, "n", max.clone()), r#"{"n":2}"#);
        assert_eq!(applied(r#"{"n":null}"#, "n", max), r#"{"n":2.0}"#);
    }

    #[test]
    fn lists_times_and_what_goes() {
        let union = TransformChange::ArrayUnion(texts(&["1", "\"x\"", "{\"a\":[1]}", "\"x\""]));
        let held = r#"{"l":[1.0,{"a":[1]}]}"#;
        assert_eq!(applied(held, "l", union.clone()), r#"{"l":[1.0,{"a":[1]},"x"]}"#);
        assert_eq!(applied(r#"{"l":7}"#, "l", union), r#"{"l":[1,"x",{"a":[1]}]}"#);
        let remove = TransformChange::ArrayRemove(texts(&["1", "null"]));
        assert_eq!(applied(r#"{"l":[1,2,1.0,null,[1]]}"#, "l", remove.clone()), r#"{"l":[2,[1]]}"#);
        assert_eq!(applied("{}", "l", remove), r#"{"l":[]}"#);
        let at = applied("{}", "at", TransformChange::ServerTime);
        assert_eq!(at, r#"{"at":"2023-11-14T22:13:20.000123Z"}"#);
        let delete = || TransformChange::Delete;
        assert_eq!(applied(r#"{"a":{"b":1,"c":2}}"#, "a.b", delete()), r#"{"a":{"c":2}}"#);
        assert_eq!(applied(r#"{"a":1}"#, "x.y.z", delete()), r#"{"a":1}"#);
        assert_eq!(applied(r#"{"a":[1,2]}"#, "a.b", delete()), r#"{"a":[1,2]}"#);
    }

    #[test]
    fn changes_follow_each_other() {
        let field = |name| Path::parse(name).unwrap();
        let by = |name, change| Transform { field: field(name), change };
        let one = || TransformChange::Increment("1".to_owned());
        let all = [
            by("a.b", one()),
            by("a.c", TransformChange::ArrayUnion(texts(&["2"]))),
            by("a.b", one()),
            by("x", TransformChange::Delete),
            by("y\"z", one()),
        ];
        let after = apply(r#"{"x":1.0,"a":{"d":1.10}}"#, &all, Timestamp::default());
        assert_eq!(after, r#"{"a":{"d":1.10,"b":2,"c":[2]},"y\"z":1}"#);
    }

    proptest! {
        #[test]
        fn unions_and_removals_are_of_sets(
            held in proptest::collection::vec(-3_i32..4, 0..6),
            operand in proptest::collection::vec(-3_i32..4, 1..6),
        ) {
            let json = |list: &[i32]| serde_json::json!({ "l": list }).to_string();
            let operands: Vec<String> = operand.iter().map(ToString::to_string).collect();
            let list = |json: String| -> Vec<i32> {
                let value: Value = serde_json::from_str(&json).unwrap();
                serde_json::from_value(value["l"].clone()).unwrap()
            };
            let all = || TransformChange::ArrayUnion(operands.clone());
            let union = |json: &str| applied(json, "l", all());
            let once = union(&json(&held));
            prop_assert_eq!(&union(&once), &once, "a second time changes nothing");
            let both = list(once.clone());
            prop_assert!(both.starts_with(&held));
            prop_assert!(operand.iter().all(|one| both.contains(one)));
            let left = list(applied(&once, "l", TransformChange::ArrayRemove(operands.clone())));
            prop_assert!(left.iter().all(|one| held.contains(one) && !operand.contains(one)));
        }
    }
}
