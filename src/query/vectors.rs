//! The published cases, which every client's own evaluator is held to as well.

use domain::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Document, Filter, Order};

#[derive(Deserialize)]
struct Filters {
    filters: Vec<Case>,
    invalid: Vec<InvalidFilter>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    filter: Value,
    // As they are written: numbers keep their spelling.
    holds: Vec<Box<RawValue>>,
    fails: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct InvalidFilter {
    filter: Value,
    at: String,
}

#[derive(Deserialize)]
struct Orders {
    orders: Vec<Ordered>,
    invalid: Vec<InvalidOrder>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ordered {
    name: String,
    order_by: Value,
    documents: Vec<(String, Value)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvalidOrder {
    order_by: Value,
    at: String,
}

fn published<T: for<'de> Deserialize<'de>>(file: &str) -> T {
    let path = format!("{}/../../schemas/query/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn document<'a>(id: &'a str, data: &'a str) -> Document<'a> {
    let created_at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let updated_at = Timestamp::from_micros(created_at.as_micros() + 1_000_000);
    Document { id, created_at, updated_at, data: data.as_bytes() }
}

/// The text without white space, numbers and escapes as they were.
fn compact(raw: &RawValue) -> String {
    let limits = domain::json::Limits::DOCUMENT;
    String::from_utf8(domain::json::compact_object(raw.get().as_bytes(), limits).unwrap()).unwrap()
}

#[test]
fn filters_hold_as_published() {
    let published: Filters = published("filters.json");
    assert!(published.filters.len() > 20);
    for Case { name, filter, holds, fails } in published.filters {
        let filter = Filter::parse(&filter.to_string()).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (data, expected) in
            holds.iter().map(|d| (d, true)).chain(fails.iter().map(|d| (d, false)))
        {
            let data = compact(data);
            assert_eq!(filter.matches(&document("ann", &data)), expected, "{name}: {data}");
        }
    }
}

#[test]
fn invalid_filters_are_refused_where_published() {
    let published: Filters = published("filters.json");
    for InvalidFilter { filter, at } in published.invalid {
        let refused = Filter::parse(&filter.to_string()).expect_err(&filter.to_string());
        assert_eq!(refused.at, at, "{filter}: {refused}");
    }
}

#[test]
fn orders_are_as_published() {
    let published: Orders = published("orders.json");
    for Ordered { name, order_by, documents } in published.orders {
        let order = Order::of(&order_by).unwrap_or_else(|e| panic!("{name}: {e}"));
        let keys = documents.iter().map(|(id, data)| order.keys(&document(id, &data.to_string())));
        let keys: Vec<_> = keys.collect();
        for (i, one) in keys.iter().enumerate() {
            for (j, other) in keys.iter().enumerate() {
                assert_eq!(order.compare(one, other), i.cmp(&j), "{name}: {one:?} {other:?}");
            }
        }
    }
    for InvalidOrder { order_by, at } in published.invalid {
        assert_eq!(Order::of(&order_by).expect_err(&order_by.to_string()).at, at);
    }
}
