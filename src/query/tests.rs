//! Laws: the evaluator against a naive one over trees, cursors, the choice of fields, aggregates,
//! and what is hostile.

use domain::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    Aggregate, Aggregates, Cursor, Document, FILTER_PARTS_MAX, Filter, GROUPS_MAX, Order,
    Selection, TooManyGroups, pick,
};

pub(crate) fn document<'a>(id: &'a str, data: &'a str) -> Document<'a> {
    let at = Timestamp::default();
    Document { id, created_at: at, updated_at: at, data: data.as_bytes() }
}

/// What a filter means, by the book and slowly. Numbers are small: doubles tell them apart.
fn naive(filter: &Value, data: &Value) -> bool {
    let all = |name: &str| filter[name].as_array().unwrap().iter().map(|one| naive(one, data));
    if filter.get("and").is_some() {
        return all("and").all(|one| one);
    }
    if filter.get("or").is_some() {
        return all("or").any(|one| one);
    }
    if let Some(inner) = filter.get("not") {
        return !naive(inner, data);
    }
    let mut path = filter["field"].as_str().unwrap().split('.');
    let found = path.try_fold(data, |at, name| at.as_object()?.get(name));
    let (op, value) = (filter["op"].as_str().unwrap(), &filter["value"]);
    let Some(found) = found else { return op == "exists" && value == false };
    let order = match (found, value) {
        (Value::Number(one), Value::Number(other)) => one.as_f64().partial_cmp(&other.as_f64()),
        (Value::String(one), Value::String(other)) => Some(one.chars().cmp(other.chars())),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        _ => None,
    };
    let among = |found: &Value| value.as_array().unwrap().iter().any(|one| same(found, one));
    let list = found.as_array().cloned().unwrap_or_default();
    match op {
        "==" => same(found, value),
        "!=" => !same(found, value),
        "<" => order.is_some_and(|at| at.is_lt()),
        "<=" => order.is_some_and(|at| at.is_le()),
        ">" => order.is_some_and(|at| at.is_gt()),
        ">=" => order.is_some_and(|at| at.is_ge()),
        "in" => among(found),
        "not-in" => !among(found),
        "array-contains" => list.iter().any(|one| same(one, value)),
        "array-contains-any" => list.iter().any(among),
        "exists" => value == true,
        "starts-with" => found.as_str().is_some_and(|s| s.starts_with(value.as_str().unwrap())),
        _ => unreachable!("{op}"),
    }
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let is_in = |(name, value)| other.get(name).is_some_and(|other| same(value, other));
            one.len() == other.len() && one.iter().all(is_in)
        }
        _ => one == other,
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        (-6_i64..7).prop_map(|n| Value::from(n as f64 / 2.0)),
        "[ab\"\\\\é]{0,2}".prop_map(Value::from),
    ]
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec(("[abc]", inner), 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

pub(crate) fn data() -> impl Strategy<Value = Value> {
    proptest::collection::vec(("[abc]", value()), 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

pub(crate) fn filter() -> impl Strategy<Value = Value> {
    let field = "[abc](\\.[abc]){0,2}";
    let values = || proptest::collection::vec(value(), 1..4).prop_map(Value::from);
    let ordered = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        "[abé]{0,2}".prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        (Just("=="), value()),
        (Just("!="), value()),
        (prop_oneof![Just("<"), Just("<="), Just(">"), Just(">=")], ordered),
        (prop_oneof![Just("in"), Just("not-in"), Just("array-contains-any")], values()),
        (Just("array-contains"), value()),
        (Just("exists"), any::<bool>().prop_map(Value::from)),
        (Just("starts-with"), "[ab]{0,1}".prop_map(Value::from)),
    ];
    let leaf = (field, leaf)
        .prop_map(|(field, (op, value))| json!({"field": field, "op": op, "value": value}));
    leaf.prop_recursive(4, 12, 3, |inner| {
        let some = proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            some.clone().prop_map(|all| json!({ "and": all })),
            some.prop_map(|any| json!({ "or": any })),
            inner.prop_map(|one| json!({ "not": one })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn filters_mean_what_the_naive_evaluator_says(filter in filter(), data in data()) {
        let read = Filter::parse(&filter.to_string()).unwrap();
        let text = data.to_string();
        prop_assert_eq!(read.matches(&document("d", &text)), naive(&filter, &data));
    }

    #[test]
    fn orders_are_total_and_cursors_keep_their_place(
        one in data(),
        other in data(),
        third in data(),
        descends in any::<bool>(),
    ) {
        let direction = if descends { "desc" } else { "asc" };
        let order = json!([{"field": "a"}, {"field": "b.c", "direction": direction}]);
        let order = Order::of(&order).unwrap();
        let texts = [one.to_string(), other.to_string(), third.to_string()];
        let keys = [("x", &texts[0]), ("y", &texts[1]), ("z", &texts[2])]
            .map(|(id, text)| order.keys(&document(id, text)));
        for one in &keys {
            let cursor = Cursor::of(one.clone()).text(&order);
            let back = Cursor::parse(&cursor, &order).unwrap();
            prop_assert_eq!(back.keys(), one);
            for other in &keys {
                let at = order.compare(one, other);
                prop_assert_eq!(at, order.compare(other, one).reverse());
                prop_assert_eq!(at.is_eq(), one == other);
                prop_assert_eq!(order.compare(back.keys(), other), at);
                for third in &keys {
                    if at.is_le() && order.compare(other, third).is_le() {
                        prop_assert!(order.compare(one, third).is_le());
                    }
                }
            }
        }
    }

    #[test]
    fn no_text_of_a_filter_or_cursor_panics(text in "\\PC{0,60}") {
        let _ = Filter::parse(&text);
        let _ = Filter::parse(&format!("{{\"and\":[{text}]}}"));
        let _ = Cursor::parse(&text, &Order::default());
    }

    #[test]
    fn broken_documents_match_nothing_and_harm_nothing(filter in filter(), text in "\\PC{0,40}") {
        let filter = Filter::parse(&filter.to_string()).unwrap();
        let document = document("d", &text);
        let _ = filter.matches(&document);
        let _ = Order::of(&json!([{"field": "a"}])).unwrap().keys(&document);
    }
}

#[test]
fn what_is_too_large_or_too_deep_is_refused() {
    let leaf = json!({"field": "a", "op": "==", "value": 1});
    let many = |count: usize| json!({"or": vec![leaf.clone(); count]}).to_string();
    assert!(Filter::parse(&many(FILTER_PARTS_MAX)).is_ok());
    let refused = Filter::parse(&many(FILTER_PARTS_MAX + 1)).unwrap_err();
    assert_eq!(refused.at, format!("/or/{FILTER_PARTS_MAX}"));
    let nested = |depth: usize| (1..depth).fold(leaf.clone(), |inner, _| json!({"not": inner}));
    assert!(Filter::parse(&nested(16).to_string()).is_ok());
    assert!(Filter::parse(&nested(17).to_string()).is_err());
    let deep = format!("{}1{}", "{\"not\":".repeat(100_000), "}".repeat(100_000));
    assert!(Filter::parse(&deep).is_err());
    let list = |count: usize| json!({"field": "a", "op": "in", "value": vec![1; count]});
    assert!(Filter::parse(&json!({"or": [list(50), list(50)]}).to_string()).is_ok());
    let refused = Filter::parse(&json!({"or": [list(50), list(51)]}).to_string()).unwrap_err();
    assert_eq!(refused.at, "/or/1/value");
    let long = json!({"field": "a", "op": "==", "value": "x".repeat(40_000)}).to_string();
    assert!(Filter::parse(&long).unwrap_err().detail.contains("32768"));
    assert!(Filter::parse("{\"field\":\"a\",\"field\":\"b\"}").is_err(), "twice the same name");
    let orders = vec![json!({"field": "a"}); 9];
    assert!(Order::of(&Value::from(orders)).is_err());
}

#[test]
fn a_cursor_is_of_one_ordering() {
    let order =
        |direction: &str| Order::of(&json!([{"field": "a", "direction": direction}])).unwrap();
    let (up, down) = (order("asc"), order("desc"));
    let cursor = Cursor::of(up.keys(&document("x", "{\"a\":1}"))).text(&up);
    assert!(Cursor::parse(&cursor, &up).is_ok());
    assert!(Cursor::parse(&cursor, &down).is_err());
    assert!(Cursor::parse(&cursor, &Order::default()).is_err());
    let by_id = Cursor::parse("x", &Order::default()).unwrap();
    assert_eq!((by_id.text(&Order::default()), by_id.id().unwrap().as_str()), ("x".into(), "x"));
    assert!(Cursor::parse("no id", &Order::default()).is_err());
    // A double comes back as it was.
    let double = up.keys(&document("x", "{\"a\":6666800000000000000747168756}"));
    let cursor = Cursor::of(double.clone()).text(&up);
    assert_eq!(Cursor::parse(&cursor, &up).unwrap().keys(), &double);
    // A text is ordered by its beginning, and a cursor has no more of it.
    let long = json!({"a": "é".repeat(100_000)}).to_string();
    let cursor = Cursor::of(up.keys(&document("x", &long))).text(&up);
    assert!(cursor.len() < 5_000 && Cursor::parse(&cursor, &up).is_ok(), "{}", cursor.len());
}

#[test]
fn only_what_was_chosen_is_left() {
    let data = r#"{"a":1.00,"b":{"c":2,"d":[3]},"l":[{"p":1,"q":2},7,[{"p":3}]],"z":null}"#;
    let chosen = |names: &[&str]| {
        let selection = Selection::of(names.iter().copied()).unwrap();
        String::from_utf8(pick(data.as_bytes(), &selection)).unwrap()
    };
    assert_eq!(chosen(&["z", "a"]), r#"{"a":1.00,"z":null}"#);
    assert_eq!(chosen(&["b.d", "l.p"]), r#"{"b":{"d":[3]},"l":[{"p":1},[{"p":3}]]}"#);
    assert_eq!(chosen(&["b", "b.c"]), r#"{"b":{"c":2,"d":[3]}}"#);
    assert_eq!(chosen(&["none", "a.none"]), "{}");
    assert!(Selection::of([]).is_err() && Selection::of(["a..b"]).is_err());
    let selection = Selection::of(["a"]).unwrap();
    assert_eq!(pick(b"[1", &selection), b"{}");
}

fn aggregated(asked: Value, group_by: &[&str], documents: &[Value]) -> Vec<Value> {
    let group_by: Vec<String> = group_by.iter().map(|name| (*name).to_owned()).collect();
    let aggregate = Aggregate::of(&asked, &group_by).unwrap();
    let mut all = Aggregates::new(&aggregate);
    for data in documents {
        all.add(&document("d", &data.to_string())).unwrap();
    }
    all.done().into_iter().map(|group| json!([group.key, group.values])).collect()
}

#[test]
fn aggregates_of_all_and_by_groups() {
    let documents = [
        json!({"g": "x", "n": 1, "s": "b"}),
        json!({"g": "x", "n": 2.5, "s": "a"}),
        json!({"g": "y", "n": "no number"}),
        json!({"n": null, "s": null}),
    ];
    let asked = json!({
        "all": {"op": "count"}, "sum": {"op": "sum", "field": "n"},
        "avg": {"op": "avg", "field": "n"}, "min": {"op": "min", "field": "s"},
        "max": {"op": "max", "field": "s"},
    });
    assert_eq!(
        aggregated(asked.clone(), &[], &documents),
        [json!([{}, {"all": 4, "sum": 3.5, "avg": 1.75, "min": "a", "max": "b"}])]
    );
    assert_eq!(
        aggregated(asked.clone(), &["g"], &documents),
        [
            json!([{}, {"all": 1, "sum": 0, "avg": null, "min": null, "max": null}]),
            json!([{"g": "x"}, {"all": 2, "sum": 3.5, "avg": 1.75, "min": "a", "max": "b"}]),
            json!([{"g": "y"}, {"all": 1, "sum": 0, "avg": null, "min": null, "max": null}]),
        ]
    );
    let nothing = json!([{}, {"all": 0, "sum": 0, "avg": null, "min": null, "max": null}]);
    assert_eq!(aggregated(asked.clone(), &[], &[]), [nothing]);
    assert_eq!(aggregated(asked, &["g"], &[]), Vec::<Value>::new());
    // Whole numbers are summed exactly.
    let large = [json!({"n": u64::MAX}), json!({"n": i64::MIN}), json!({"n": i64::MIN})];
    let sum = aggregated(json!({"s": {"op": "sum", "field": "n"}}), &[], &large);
    assert_eq!(sum, [json!([{}, {"s": -1}])]);
}

#[test]
fn aggregates_that_can_not_be() {
    for (asked, at) in [
        (json!({}), "/aggregate"),
        (json!([1]), "/aggregate"),
        (json!({"a/b": {"op": "median", "field": "n"}}), "/aggregate/a~1b/op"),
        (json!({"a": {"op": "sum"}}), "/aggregate/a/field"),
        (json!({"a": {"op": "count", "field": "n"}}), "/aggregate/a/field"),
        (json!({"a": 1}), "/aggregate/a"),
    ] {
        assert_eq!(Aggregate::of(&asked, &[]).unwrap_err().at, at, "{asked}");
    }
    let count = json!({"n": {"op": "count"}});
    let five = vec!["a".to_owned(); 5];
    assert_eq!(Aggregate::of(&count, &five).unwrap_err().at, "/groupBy");
    assert_eq!(Aggregate::of(&count, &["a".into(), String::new()]).unwrap_err().at, "/groupBy/1");
    let aggregate = Aggregate::of(&count, &["n".to_owned()]).unwrap();
    let mut all = Aggregates::new(&aggregate);
    for n in 0..GROUPS_MAX {
        all.add(&document("d", &json!({ "n": n }).to_string())).unwrap();
    }
    assert_eq!(all.add(&document("d", "{\"n\":0}")), Ok(()));
    assert_eq!(all.add(&document("d", "{}")), Err(TooManyGroups));
}
