//! Holds our evaluation against the `cel` crate's own interpreter, on random expressions and
//! documents: both have the same value, or both have none.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use crate::compile;
use crate::evaluate::{Evaluation, Fault};
use crate::pattern::Kept;
use crate::tests::{document, now};
use crate::value::{Map, Value};
use crate::{NoDocuments, Operation, Request, convert};
use domain::raw::Raw;

/// Writes an expression, choosing by bytes.
struct Writer<'a> {
    choices: &'a [u8],
    /// Names of the loops' variables that are in reach.
    variables: Vec<&'static str>,
}

impl Writer<'_> {
    fn choose(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.choices.split_first() else { return 0 };
        self.choices = rest;
        usize::from(*first) % count
    }

    fn pick(&mut self, texts: &[&str]) -> String {
        texts[self.choose(texts.len())].to_owned()
    }

    fn any(&mut self, depth: usize) -> String {
        match self.choose(10) {
            0 | 1 => self.int(depth),
            2 => self.double(depth),
            3 => self.pick(&["0u", "3u", "uint(5)", "2u + 3u", "7u / 2u", "1u - 2u", "resource.u"]),
            4 | 5 => self.text(depth),
            6 => self.list(depth),
            7 => self.map(depth),
            8 => self.pick(&[
                "null",
                "resource.missing",
                "b'ab'",
                "b'\\xff'",
                "timestamp('2026-01-01T00:00:00Z')",
                "timestamp('2026-01-01T00:00:00Z') + duration('1h')",
                "duration('90m') + duration('-1.5s')",
                "resource.nothing",
            ]),
            _ => self.bool(depth),
        }
    }

    fn int(&mut self, depth: usize) -> String {
        if depth == 0 || self.choose(3) == 0 {
            if !self.variables.is_empty() && self.choose(2) == 0 {
                let at = self.choose(self.variables.len());
                return self.variables[at].to_owned();
            }
            return self.pick(&[
                "0",
                "1",
                "2",
                "-3",
                "9223372036854775807",
                "resource.n",
                "resource.o.k",
                "resource['n']",
                "resource.l[0]",
            ]);
        }
        let depth = depth - 1;
        match self.choose(8) {
            0 => format!("({} + {})", self.int(depth), self.int(depth)),
            1 => format!("({} - {})", self.int(depth), self.int(depth)),
            2 => format!("({} * {})", self.int(depth), self.int(depth)),
            3 => format!("({} / {})", self.int(depth), self.int(depth)),
            4 => format!("({} % {})", self.int(depth), self.int(depth)),
            5 => {
                let (text, list, map) = (self.text(depth), self.list(depth), self.map(depth));
                [format!("size({text})"), format!("{list}.size()"), format!("size({map})")]
                    [self.choose(3)]
                .clone()
            }
            6 => format!("{}[{}]", self.list(depth), self.int(depth)),
            _ => format!("({} ? {} : {})", self.bool(depth), self.int(depth), self.any(depth)),
        }
    }

    fn double(&mut self, depth: usize) -> String {
        if depth == 0 || self.choose(2) == 0 {
            return self.pick(&["0.0", "1.5", "-2.0", "resource.d", "double(2)", "1e300", "2.0"]);
        }
        let operator = self.pick(&["+", "-", "*", "/"]);
        format!("({} {operator} {})", self.double(depth - 1), self.double(depth - 1))
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 || self.choose(2) == 0 {
            return self.pick(&["''", "'a'", "'ab'", "'é'", "resource.s", "resource.o.t", "'k'"]);
        }
        let depth = depth - 1;
        match self.choose(4) {
            0 => format!("({} + {})", self.text(depth), self.text(depth)),
            1 => format!("string({})", self.int(depth)),
            2 => format!("({} ? {} : 'no')", self.bool(depth), self.text(depth)),
            _ => format!("{}[{}]", self.map(depth), self.text(depth)),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        if depth == 0 || self.choose(3) == 0 {
            return self.pick(&["[]", "resource.l", "resource.mixed", "[1, 2, 3]", "['a', 'b']"]);
        }
        let depth = depth - 1;
        match self.choose(4) {
            0 => format!("[{}, {}]", self.any(depth), self.any(depth)),
            1 => format!("({} + {})", self.list(depth), self.list(depth)),
            2 => self.over(depth, "map", Self::any),
            _ => self.over(depth, "filter", Self::bool),
        }
    }

    fn map(&mut self, depth: usize) -> String {
        if depth == 0 || self.choose(3) != 0 {
            return self.pick(&["{}", "resource", "resource.o", "{'a': 1}", "{1: 'x', 'k': 2}"]);
        }
        format!("{{'a': {}, 'k': {}}}", self.any(depth - 1), self.any(depth - 1))
    }

    /// A macro over a list, or, where order does not show, over the keys of a map.
    fn over(&mut self, depth: usize, name: &str, body: fn(&mut Self, usize) -> String) -> String {
        let has_order = matches!(name, "map" | "filter");
        let range =
            if !has_order && self.choose(4) == 0 { self.map(depth) } else { self.list(depth) };
        let Some(variable) = ["x", "y"].get(self.variables.len()) else { return range };
        self.variables.push(variable);
        let body = body(self, depth);
        self.variables.pop();
        format!("{range}.{name}({variable}, {body})")
    }

    fn bool(&mut self, depth: usize) -> String {
        if depth == 0 || self.choose(4) == 0 {
            return self.pick(&[
                "true",
                "false",
                "resource.yes",
                "has(resource.n)",
                "has(resource.z)",
            ]);
        }
        let depth = depth - 1;
        match self.choose(12) {
            0 => format!("({} && {})", self.bool(depth), self.bool(depth)),
            1 => format!("({} || {})", self.bool(depth), self.bool(depth)),
            2 => format!("!{}", self.bool(depth)),
            3 => format!("({} == {})", self.any(depth), self.any(depth)),
            4 => format!("({} != {})", self.any(depth), self.any(depth)),
            5 => {
                let operator = self.pick(&["<", "<=", ">", ">="]);
                format!("({} {operator} {})", self.int(depth), self.int(depth))
            }
            6 => {
                let operator = self.pick(&["<", "<=", ">", ">="]);
                // Numbers of two types are ordered by the language, but not by `cel`.
                let one = [Self::text, Self::double, Self::bool, Self::list][self.choose(4)];
                format!("({} {operator} {})", one(self, depth), one(self, depth))
            }
            7 => {
                let range = if self.choose(3) == 0 { self.map(depth) } else { self.list(depth) };
                format!("({} in {range})", self.any(depth))
            }
            8 => {
                let name = self.pick(&["startsWith", "endsWith", "contains"]);
                format!("{}.{name}({})", self.text(depth), self.text(depth))
            }
            9 => {
                let pattern = self.pick(&["'^a+$'", "'b'", "'^.$'", "'(a|é)'"]);
                format!("{}.matches({pattern})", self.text(depth))
            }
            10 => format!("({} && {})", self.any(depth), self.bool(depth)),
            _ => {
                let name = self.pick(&["all", "exists", "exists_one"]);
                self.over(depth, &name, Self::bool)
            }
        }
    }
}

/// A value in one spelling for both: with its type, and maps sorted.
fn ours(value: &Value<'_>) -> Result<String, Fault> {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(int) => format!("int {int}"),
        Value::UInt(uint) => format!("uint {uint}"),
        Value::Double(double) => format!("double {double:?}"),
        Value::Text(text) => format!("{:?}", text.as_str()),
        Value::Bytes(bytes) => format!("bytes {bytes:?}"),
        Value::Timestamp(time) => format!("time {}", time.as_nanosecond()),
        Value::Duration(duration) => format!("duration {}", duration.as_nanos()),
        Value::List(_) => {
            let (request, kept) = (request(), Kept::default());
            let mut evaluation = Evaluation::new(&request, &kept);
            let mut items = evaluation.items(value.clone())?;
            let mut shown = Vec::new();
            while let Some(item) = items.next()? {
                shown.push(ours(&item)?);
            }
            format!("{shown:?}")
        }
        Value::Map(map) => {
            let mut shown = BTreeMap::new();
            match map {
                Map::Made(entries) => {
                    for (key, value) in entries.iter() {
                        shown.insert(ours(key)?, ours(value)?);
                    }
                }
                Map::Json(raw) => shown_json(*raw, &mut shown)?,
                Map::Document(document) => shown_json(document.raw(), &mut shown)?,
                _ => unreachable!("not in these expressions"),
            }
            format!("{shown:?}")
        }
    })
}

fn shown_json(raw: Raw<'_>, shown: &mut BTreeMap<String, String>) -> Result<(), Fault> {
    let mut entries = raw.entries();
    while let Some((name, value)) = entries.try_next()? {
        shown.insert(ours(&convert::name(name)?)?, ours(&convert::raw(value)?)?);
    }
    Ok(())
}

fn request() -> Request<'static> {
    Request {
        operation: Operation::Read,
        auth: None,
        before: None,
        after: None,
        now: now(),
        lookup: &NoDocuments,
    }
}

fn theirs(value: &cel::Value) -> String {
    use cel::objects::Key;
    match value {
        cel::Value::Null => "null".to_owned(),
        cel::Value::Bool(value) => value.to_string(),
        cel::Value::Int(int) => format!("int {int}"),
        cel::Value::UInt(uint) => format!("uint {uint}"),
        cel::Value::Float(double) => format!("double {double:?}"),
        cel::Value::String(text) => format!("{text:?}"),
        cel::Value::Bytes(bytes) => format!("bytes {bytes:?}"),
        cel::Value::Timestamp(time) => {
            format!("time {}", time.timestamp_nanos_opt().expect("near enough"))
        }
        cel::Value::Duration(duration) => {
            format!("duration {}", duration.num_nanoseconds().expect("short enough"))
        }
        cel::Value::List(items) => {
            format!("{:?}", items.iter().map(theirs).collect::<Vec<_>>())
        }
        cel::Value::Map(map) => {
            let key = |key: &Key| match key {
                Key::Int(int) => format!("int {int}"),
                Key::Uint(uint) => format!("uint {uint}"),
                Key::Bool(value) => value.to_string(),
                Key::String(text) => format!("{text:?}"),
            };
            let shown: BTreeMap<_, _> =
                map.map.iter().map(|(name, value)| (key(name), theirs(value))).collect();
            format!("{shown:?}")
        }
        other => format!("{other:?}"),
    }
}

/// JSON as `cel` takes it, with integers as ours.
fn to_cel(value: &serde_json::Value) -> cel::Value {
    match value {
        serde_json::Value::Null => cel::Value::Null,
        serde_json::Value::Bool(value) => cel::Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => cel::Value::Int(int),
            (None, Some(uint)) => cel::Value::UInt(uint),
            (None, None) => cel::Value::Float(number.as_f64().expect("a float")),
        },
        serde_json::Value::String(text) => cel::Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            cel::Value::from(items.iter().map(to_cel).collect::<Vec<_>>())
        }
        serde_json::Value::Object(fields) => {
            let fields: std::collections::HashMap<String, cel::Value> =
                fields.iter().map(|(name, value)| (name.clone(), to_cel(value))).collect();
            cel::Value::from(fields)
        }
    }
}

fn ours_of(text: &str, data: &str) -> Result<String, Fault> {
    let compiled = compile::with_stack(|| compile::expression(text)).expect("no panic");
    let expression = compiled.unwrap_or_else(|why| panic!("{text}: {}", why.message));
    let document = document(data);
    let request = Request { before: Some(&document), ..request() };
    let kept = Kept::default();
    let mut evaluation = Evaluation::new(&request, &kept);
    ours(&evaluation.evaluate(&expression.node)?)
}

fn theirs_of(text: &str, data: &serde_json::Value) -> Result<String, cel::ExecutionError> {
    let program = cel::Program::compile(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    let mut context = cel::Context::default();
    context.add_variable_from_value("resource", to_cel(data));
    Ok(theirs(&program.execute(&context)?))
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_interpreters_agree(
        choices in proptest::collection::vec(any::<u8>(), 0..120),
        n in -3_i64..10,
        d in prop_oneof![Just(2.0), Just(0.5), Just(-7.25)],
        s in "[abké\"\\\\]{0,3}",
        l in proptest::collection::vec(-2_i64..5, 0..4),
    ) {
        let data = json!({
            "n": n, "d": d, "s": s, "l": l, "u": u64::MAX, "yes": n > 0, "nothing": null,
            "mixed": [1, "a", 2.0, null, true, [n], {"k": s}, d],
            "o": {"k": n + 1, "t": s, "a": [1]},
        });
        let mut writer = Writer { choices: &choices, variables: Vec::new() };
        let text = writer.any(4);
        match (ours_of(&text, &data.to_string()), theirs_of(&text, &data)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs, "{}", text),
            (Err(_), Err(_)) => {}
            (ours, theirs) => {
                prop_assert!(false, "{text}\nours: {ours:?}\ntheirs: {theirs:?}\n{data}")
            }
        }
    }
}
