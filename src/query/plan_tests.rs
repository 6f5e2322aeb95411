//! Laws of plans: they find every document that the filter holds of, in the order they say.

use domain::projects::IndexField;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::tests::{data, document, filter, value};
use crate::{Definition, Filter, Order, Plan, Range, plans, suggestion};

fn fields() -> impl Strategy<Value = Vec<IndexField>> {
    let names = Just(vec!["a", "b", "c", "a.b"]).prop_shuffle();
    (names, 1..4_usize, any::<[bool; 4]>(), prop::option::of(0..3_usize)).prop_map(
        |(names, count, descending, elements)| {
            let field = |(i, name): (usize, &&str)| {
                let direction = if descending[i] { "desc" } else { "asc" };
                let elements = elements == Some(i);
                json!({"field": name, "direction": direction, "elements": elements})
            };
            let all: Vec<Value> = names[..count].iter().enumerate().map(field).collect();
            serde_json::from_value(all.into()).unwrap()
        },
    )
}

/// Filters that indexes can serve, and others.
fn served() -> impl Strategy<Value = Value> {
    let values = || proptest::collection::vec(value(), 1..4).prop_map(Value::from);
    let bound = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    let test = prop_oneof![
        4 => (Just("=="), value()),
        1 => (Just("in"), values()),
        2 => (prop_oneof![Just("<"), Just("<="), Just(">"), Just(">=")], bound),
        1 => (Just("array-contains"), value()),
        1 => (Just("array-contains-any"), values()),
        1 => (Just("starts-with"), "[ab]{0,1}".prop_map(Value::from)),
    ];
    let leaf = (prop_oneof![Just("a"), Just("b"), Just("c"), Just("a.b")], test)
        .prop_map(|(field, (op, value))| json!({"field": field, "op": op, "value": value}));
    let part = prop_oneof![4 => leaf, 1 => filter()];
    proptest::collection::vec(part, 1..4).prop_map(|all| json!({ "and": all }))
}

fn order() -> impl Strategy<Value = Value> {
    let names = Just(vec!["a", "b", "c", "a.b"]).prop_shuffle();
    (names, 0..4_usize, any::<[bool; 4]>()).prop_map(|(names, count, descending)| {
        let direction = |is| if is { "desc" } else { "asc" };
        let part = |(name, is)| json!({"field": name, "direction": direction(is)});
        names[..count].iter().zip(descending).map(part).collect()
    })
}

fn is_within(place: &str, range: &Range) -> bool {
    place > range.start.as_str() && range.end.as_deref().is_none_or(|end| place < end)
}

/// Ids of those that have a place in a range, in the plan's direction.
fn found<'a>(plan: &Plan, range: &Range, places: &[(String, &'a str)]) -> Vec<&'a str> {
    let mut within: Vec<_> = places.iter().filter(|(place, _)| is_within(place, range)).collect();
    within.sort();
    if plan.reverse {
        within.reverse();
    }
    within.iter().map(|(_, id)| *id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn plans_miss_nothing_and_keep_the_order_that_they_say(
        fields in fields(),
        filter in served(),
        order in order(),
        all in proptest::collection::vec(data(), 1..12),
        at in any::<prop::sample::Index>(),
    ) {
        let index = Definition::new(&fields, false).unwrap();
        prop_assert_eq!(Definition::parse(index.text().as_bytes()), Some(index.clone()));
        let filter = Filter::parse(&filter.to_string()).unwrap();
        let order = Order::of(&order).unwrap();
        let texts: Vec<(String, String)> =
            all.iter().enumerate().map(|(i, data)| (format!("d{i}"), data.to_string())).collect();
        let documents: Vec<_> = texts.iter().map(|(id, text)| document(id, text)).collect();
        let places: Vec<(String, &str)> = documents
            .iter()
            .flat_map(|one| index.places(one).into_iter().map(|place| (place, one.id)))
            .collect();
        let wanted: Vec<_> = documents.iter().filter(|one| filter.matches(one)).collect();
        for plan in plans(Some(&filter), &order, &[&index]) {
            let ranges: Vec<Vec<&str>> =
                plan.ranges.iter().map(|range| found(&plan, range, &places)).collect();
            for one in &wanted {
                let times = ranges.iter().flatten().filter(|id| **id == one.id).count();
                prop_assert!(times > 0, "{:?} misses {}", plan, one.id);
                prop_assert!(plan.may_repeat || times == 1);
            }
            if !plan.is_ordered {
                continue;
            }
            let keys = |id: &str| order.keys(documents.iter().find(|one| one.id == id).unwrap());
            let of_id = |id: &&str| wanted.iter().any(|one| one.id == *id);
            for (range, ids) in plan.ranges.iter().zip(&ranges) {
                let ids: Vec<&str> = ids.iter().copied().filter(of_id).collect();
                for pair in ids.windows(2) {
                    prop_assert!(order.compare(&keys(pair[0]), &keys(pair[1])).is_lt());
                }
                // From any place on, there is what comes after it.
                let Some(middle) = ids.get(at.index(ids.len().max(1))) else { continue };
                let place = plan.place(range, &keys(middle));
                for (other, id) in &places {
                    if !ids.contains(id) || !is_within(other, range) {
                        continue;
                    }
                    let stands = if plan.reverse { place.cmp(other) } else { other.cmp(&place) };
                    prop_assert_eq!(stands, order.compare(&keys(id), &keys(middle)));
                }
            }
        }
    }

    #[test]
    fn what_is_suggested_serves(filter in served(), order in order()) {
        let filter = Filter::parse(&filter.to_string()).unwrap();
        let order = Order::of(&order).unwrap();
        if let Some(fields) = suggestion(Some(&filter), &order) {
            let index = Definition::new(&fields, false).unwrap();
            prop_assert_eq!(plans(Some(&filter), &order, &[&index]).len(), 1);
        }
    }
}

fn index(fields: Value) -> Definition {
    Definition::new(&serde_json::from_value::<Vec<IndexField>>(fields).unwrap(), false).unwrap()
}

#[test]
fn the_index_with_most_bounds_comes_first_and_of_those_the_one_in_order() {
    let status = index(json!([{"field": "status"}]));
    let ts = index(json!([{"field": "ts", "direction": "desc"}]));
    let both = index(json!([{"field": "status"}, {"field": "ts", "direction": "desc"}]));
    let filter = Filter::parse(r#"{"field":"status","op":"==","value":"open"}"#).unwrap();
    let order = Order::of(&json!([{"field": "ts", "direction": "desc"}])).unwrap();
    let found = plans(Some(&filter), &order, &[&status, &ts, &both]);
    let shown: Vec<_> = found.iter().map(|plan| (plan.index, plan.is_ordered)).collect();
    assert_eq!(shown, [(2, true), (0, false), (1, true)]);
    // The other way round, from the end on.
    let order = Order::of(&json!([{"field": "ts"}])).unwrap();
    let found = plans(Some(&filter), &order, &[&both]);
    assert!(found[0].is_ordered && found[0].reverse);
    // By id, what is equal is in order.
    let found = plans(Some(&filter), &Order::default(), &[&status]);
    assert!(found[0].is_ordered && !found[0].reverse);
    let suggested = suggestion(Some(&filter), &order).unwrap();
    let names: Vec<_> = suggested.iter().map(|field| field.field.as_str()).collect();
    assert_eq!(names, ["status", "ts"]);
}

#[test]
fn what_can_not_be_an_index_is_told_where() {
    let wrong = |fields: Value| {
        let fields: Vec<IndexField> = serde_json::from_value(fields).unwrap();
        Definition::new(&fields, false).unwrap_err().at
    };
    assert_eq!(wrong(json!([])), "");
    assert_eq!(wrong(json!([{"field": "a"}, {"field": "b..c"}])), "/1/field");
    assert_eq!(wrong(json!([{"field": "a"}, {"field": "/a"}])), "/1/field");
    assert_eq!(wrong(json!([{"field": "$updatedAt"}])), "/0/field");
    let elements = json!([{"field": "a", "elements": true}, {"field": "b", "elements": true}]);
    assert_eq!(wrong(elements), "/1/field");
    assert_eq!(wrong((0..9).map(|i| json!({"field": format!("f{i}")})).collect()), "");
}

#[test]
fn unique_values_are_told_apart_however_they_are_written() {
    let index = Definition::unique(&["a".to_owned(), "b".to_owned()]).unwrap();
    let place = |data: &str| index.unique_place(&document("x", data));
    assert_eq!(place(r#"{"a":1,"b":"x"}"#), place(r#"{"b":"x","a":1.0}"#));
    assert_ne!(place(r#"{"a":1,"b":"x"}"#), place(r#"{"a":1,"b":"y"}"#));
    assert_eq!(place(r#"{"a":1}"#), Ok(None));
    assert_eq!(place(r#"{"a":1,"b":null}"#), Ok(None));
    assert_eq!(place(r#"{"a":1,"b":[1]}"#).unwrap_err().0, "b");
    let long = format!(r#"{{"a":1,"b":"{}"}}"#, "x".repeat(1_497));
    assert_eq!(place(&long).unwrap_err().0, "b");
    let alike = |one: &str, other: &str| index.is_alike(&document("x", one), &document("y", other));
    assert!(alike(r#"{"a":1,"b":"x"}"#, r#"{"b":"x","a":1.0}"#));
    assert!(!alike(r#"{"a":1,"b":"x"}"#, r#"{"a":1}"#));
}

/// Texts are cut at a character: what is greater as a whole may then stand before what is less.
#[test]
fn bounds_of_long_texts_miss_nothing() {
    let index = index(json!([{"field": "t"}]));
    let texts: Vec<String> = [1_495, 1_496, 1_497, 1_498, 1_499, 1_500, 1_501]
        .into_iter()
        .flat_map(|count| ["", "x", "\u{e9}", "\u{20ac}", "\u{1F600}"].map(|end| (count, end)))
        .map(|(count, end)| format!("{}{end}", "x".repeat(count)))
        .collect();
    for (op, value) in ["<", "<=", ">", ">=", "==", "starts-with"]
        .into_iter()
        .flat_map(|op| texts.iter().map(move |text| (op, text)))
    {
        let filter = Filter::of(&json!({"field": "t", "op": op, "value": value})).unwrap();
        let plan = plans(Some(&filter), &Order::default(), &[&index]).remove(0);
        for text in &texts {
            let data = json!({"t": text}).to_string();
            let document = document("d", &data);
            let place = index.places(&document).remove(0);
            let is_found = plan.ranges.iter().any(|range| is_within(&place, range));
            assert!(is_found || !filter.matches(&document), "{op} {} {}", value.len(), text.len());
        }
    }
}
