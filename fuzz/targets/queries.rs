//! Queries: a filter, an ordering, a document, a cursor and names of fields, with lines of dashes
//! between them. Whatever they are, nothing panics; a filter holds or does not, and its denial the
//! other way round; a cursor keeps its place; and what is chosen of a document is an object.
#![no_main]

use domain::Timestamp;
use domain::json::{Limits, compact_object};
use libfuzzer_sys::fuzz_target;
use query::{Aggregate, Aggregates, Cursor, Document, Filter, Order, Selection, pick};
use serde_json::Value;

fuzz_target!(|text: &str| {
    let mut parts = text.split("\n---\n");
    let mut part = || parts.next().unwrap_or_default();
    let (filter, order, data, cursor, names) = (part(), part(), part(), part(), part());
    let compact = compact_object(data.as_bytes(), Limits::DOCUMENT);
    let texts = [compact.unwrap_or_else(|_| b"{}".to_vec()), data.as_bytes().to_vec()];
    let at = Timestamp::default();
    let documents =
        texts.each_ref().map(|data| Document { id: "d", created_at: at, updated_at: at, data });
    if let Ok(read) = Filter::parse(filter) {
        let denied = Filter::parse(&format!("{{\"not\":{filter}}}"));
        for document in &documents {
            let holds = read.matches(document);
            // One level more may be one too many.
            if let Ok(denied) = &denied {
                assert_ne!(denied.matches(document), holds, "{filter}");
            }
        }
    }
    let order = serde_json::from_str::<Value>(order).ok().and_then(|order| Order::of(&order).ok());
    let order = order.unwrap_or_default();
    for document in &documents {
        let keys = order.keys(document);
        assert!(order.compare(&keys, &keys).is_eq());
        let text = Cursor::of(keys.clone()).text(&order);
        assert_eq!(Cursor::parse(&text, &order).expect("its own cursor").keys(), &keys);
    }
    let _ = Cursor::parse(cursor, &order);
    if let Ok(selection) = Selection::of(names.split(',')) {
        let picked = pick(&texts[0], &selection);
        serde_json::from_slice::<serde_json::Map<String, Value>>(&picked).expect("an object");
        pick(&texts[1], &selection);
    }
    let asked =
        serde_json::json!({"n": {"op": "sum", "field": "a"}, "m": {"op": "max", "field": "b"}});
    let by: Vec<String> = names.split(',').map(str::to_owned).collect();
    if let Ok(aggregate) = Aggregate::of(&asked, &by) {
        let mut all = Aggregates::new(&aggregate);
        for document in &documents {
            all.add(document).expect("few groups");
        }
        all.done();
    }
});
