//! Queries by parameter and by body: filters, orderings, cursors both ways, totals, fields,
//! aggregates; and that none of them tells what is hidden.

use proptest::prelude::*;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::{Reply, Rig};

const DOCUMENTS: &str = "collections/c/documents";
const QUERY: &str = "collections/c/query";

fn encoded(value: &Value) -> String {
    byte_serialize(value.to_string().as_bytes()).collect()
}

fn ids(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let documents = reply.json()["documents"].as_array().unwrap().clone();
    documents.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

async fn query(rig: &Rig, body: Value) -> Reply {
    rig.ask("POST", QUERY, &[], &body.to_string()).await
}

/// A project with documents `a` to `f`.
async fn filled() -> Rig {
    let rig = Rig::new().await;
    for (id, data) in [
        ("a", json!({"n": 3, "s": "open", "tags": ["x"], "address": {"city": "Bern"}})),
        ("b", json!({"n": 1, "s": "done", "tags": []})),
        ("c", json!({"n": 2.5, "s": "open", "address": {"city": "Basel", "zip": 4000}})),
        ("d", json!({"n": null, "s": "open"})),
        ("e", json!({"s": "late"})),
        ("f", json!({"n": 3, "s": "done"})),
    ] {
        let put = rig.ask("PUT", &format!("{DOCUMENTS}/{id}"), &[], &data.to_string()).await;
        assert_eq!(put.status, 201, "{}", put.text);
    }
    rig
}

#[actix_web::test]
async fn filters_orderings_and_fields_choose() {
    let rig = filled().await;
    let get = async |parameters: String| {
        let path = format!("{DOCUMENTS}?{parameters}");
        rig.ask("GET", &path, &[], "").await
    };
    let open = json!({"field": "s", "op": "==", "value": "open"});
    let by_n = json!([{"field": "n", "direction": "desc"}, {"field": "s"}]);
    let filtered = get(format!("where={}", encoded(&open))).await;
    assert_eq!(ids(&filtered), ["a", "c", "d"]);
    let both = format!("where={}&orderBy={}", encoded(&open), encoded(&by_n));
    assert_eq!(ids(&get(both.clone()).await), ["a", "c", "d"]);
    assert_eq!(
        ids(&get(format!("orderBy={}", encoded(&by_n))).await),
        ["f", "a", "c", "b", "d", "e"]
    );
    let counted = get(format!("{both}&count=true&limit=1")).await;
    assert_eq!((ids(&counted), &counted.json()["total"]), (vec!["a".to_owned()], &json!(3)));
    let chosen = get("fields=address.city,n&limit=1".to_owned()).await.json();
    assert_eq!(chosen["documents"][0]["data"], json!({"n": 3, "address": {"city": "Bern"}}));
    let one = rig.ask("GET", &format!("{DOCUMENTS}/c?fields=address.zip"), &[], "").await.json();
    assert_eq!(one["data"], json!({"address": {"zip": 4000}}));

    let body = json!({"where": {"or": [open, {"field": "n", "op": ">=", "value": 3}]},
        "orderBy": by_n, "fields": ["s"], "count": true});
    let asked = query(&rig, body).await;
    assert_eq!(ids(&asked), ["f", "a", "c", "d"]);
    assert_eq!(asked.json()["total"], 4);
    assert_eq!(asked.json()["documents"][0]["data"], json!({"s": "done"}));
}

#[actix_web::test]
async fn pages_lead_on_and_back() {
    let rig = filled().await;
    for order in [json!([]), json!([{"field": "s"}]), json!([{"field": "n", "direction": "desc"}])]
    {
        let all = ids(&query(&rig, json!({"orderBy": order})).await);
        assert_eq!(all.len(), 6);
        let (mut cursor, mut forward, mut last) = (Value::Null, Vec::new(), Value::Null);
        loop {
            let body = json!({"orderBy": order, "limit": 2, "cursor": cursor});
            let page = query(&rig, body).await;
            forward.extend(ids(&page));
            let page = page.json();
            assert_eq!(page["previous"].is_null(), cursor.is_null(), "{page}");
            cursor = page["cursor"].clone();
            last = if cursor.is_null() { page["previous"].clone() } else { last };
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!(forward, all);
        let (mut before, mut back) = (last, all[4..].to_vec());
        while !before.is_null() {
            let body = json!({"orderBy": order, "limit": 2, "before": before});
            let page = query(&rig, body).await;
            let mut found = ids(&page);
            found.extend(back);
            back = found;
            let page = page.json();
            assert!(!page["cursor"].is_null(), "{page}");
            before = page["previous"].clone();
        }
        assert_eq!(back, all);
    }
}

#[actix_web::test]
async fn aggregates_are_of_all_or_by_groups() {
    let rig = filled().await;
    let asked = json!({"count": {"op": "count"}, "sum": {"op": "sum", "field": "n"},
        "max": {"op": "max", "field": "s"}});
    let all = query(&rig, json!({"aggregate": asked})).await.json();
    let values = json!({"count": 6, "sum": 9.5, "max": "open"});
    assert_eq!(all["groups"], json!([{"key": {}, "values": values}]));
    let filter = json!({"field": "n", "op": "exists"});
    let groups = query(&rig, json!({"where": filter, "aggregate": asked, "groupBy": ["s"]})).await;
    let expected = json!([
        {"key": {"s": "done"}, "values": {"count": 2, "sum": 4, "max": "done"}},
        {"key": {"s": "open"}, "values": {"count": 3, "sum": 5.5, "max": "open"}},
    ]);
    assert_eq!(groups.json()["groups"], expected);
}

#[actix_web::test]
async fn the_past_is_queried_as_the_present_is() {
    let rig = filled().await;
    let then = rig.ask("GET", DOCUMENTS, &[], "").await.json()["position"].clone();
    rig.table(&[
        ("PATCH", &format!("{DOCUMENTS}/a"), r#"{"n":0}"#, 200, ""),
        ("DELETE", &format!("{DOCUMENTS}/f"), "", 204, ""),
    ])
    .await;
    let filter = json!({"field": "n", "op": "==", "value": 3});
    let order = json!([{"field": "$id", "direction": "desc"}]);
    let body = json!({"where": filter, "orderBy": order, "asOf": then});
    assert_eq!(ids(&query(&rig, body).await), ["f", "a"]);
    let now = query(&rig, json!({"where": filter, "orderBy": order})).await;
    assert_eq!(ids(&now), Vec::<String>::new());
    let count = json!({"where": filter, "aggregate": {"n": {"op": "count"}}, "asOf": then});
    assert_eq!(query(&rig, count).await.json()["groups"][0]["values"]["n"], 2);
}

#[actix_web::test]
async fn what_is_hidden_can_not_be_asked_for() {
    let rig = Rig::new().await;
    let settings = json!({
        "rules": {"list": "resource.public == true", "read": "true"},
        "fields": {"salary": {"read": "hasRole('boss')"}, "deep.secret": {"read": "false"}},
    });
    rig.table(&[("PUT", "collections/c", &settings.to_string(), 201, "")]).await;
    for (id, public, salary) in [("a", true, 3), ("b", true, 1), ("c", true, 2), ("x", false, 9)] {
        let data = json!({"public": public, "salary": salary, "deep": {"secret": id, "open": 1}});
        rig.ask("PUT", &format!("{DOCUMENTS}/{id}"), &[], &data.to_string()).await;
    }
    let anybody = rig.key("publishable").await;
    let asked =
        async |body: Value| rig.ask_as(&anybody, "POST", QUERY, &[], &body.to_string()).await;
    let salary = |op: &str, value: Value| json!({"field": "salary", "op": op, "value": value});
    // Neither by a filter, turned around or not, nor within an `or` or as a part of what is open.
    for filter in [
        salary("==", json!(3)),
        salary(">", json!(0)),
        salary("in", json!([1, 2, 3])),
        json!({"or": [salary("<", json!(2)), salary(">", json!(2))]}),
        json!({"not": salary("exists", json!(false))}),
        json!({"and": [{"field": "public", "op": "==", "value": true}, salary("!=", json!(3))]}),
        json!({"field": "deep", "op": "==", "value": {"secret": "a", "open": 1}}),
        json!({"field": "deep.secret", "op": "starts-with", "value": ""}),
    ] {
        let found = asked(json!({"where": filter})).await;
        assert_eq!(ids(&found), Vec::<String>::new(), "{filter}");
    }
    let all = ["a", "b", "c"];
    assert_eq!(ids(&asked(json!({"where": {"not": salary("==", json!(3))}})).await), all);
    assert_eq!(ids(&asked(json!({"orderBy": [{"field": "salary"}]})).await), all);
    assert_eq!(ids(&asked(json!({"orderBy": [{"field": "deep.secret"}]})).await), all);
    let chosen = asked(json!({"fields": ["salary", "deep"], "limit": 1})).await.json();
    assert_eq!(chosen["documents"][0]["data"], json!({"deep": {"open": 1}}));
    // Nor by a total, an aggregate or a group.
    assert_eq!(asked(json!({"count": true, "limit": 1})).await.json()["total"], 3);
    let aggregate = json!({"sum": {"op": "sum", "field": "salary"}, "n": {"op": "count"},
        "max": {"op": "max", "field": "deep.secret"}});
    let groups = asked(json!({"aggregate": aggregate, "groupBy": ["salary"]})).await.json();
    let expected = json!({"key": {}, "values": {"sum": 0, "n": 3, "max": null}});
    assert_eq!(groups["groups"], json!([expected]));
    // Who is past the rules asks for all of it.
    assert_eq!(
        ids(&query(&rig, json!({"orderBy": [{"field": "salary"}]})).await),
        ["b", "c", "a", "x"]
    );
}

#[actix_web::test]
async fn what_makes_no_sense_is_refused_with_its_place() {
    let rig = filled().await;
    let deep = format!("{}1{}", "{\"not\":".repeat(5_000), "}".repeat(5_000));
    for (body, field) in [
        (r#"{"where":{"field":"n","op":"~","value":1}}"#, "/where/op"),
        (r#"{"where":{"and":[{"field":"n","op":"==","value":1},{}]}}"#, "/where/and/1/field"),
        (r#"{"where":7}"#, "/where"),
        (r#"{"orderBy":[{"field":"n","direction":"up"}]}"#, "/orderBy/0"),
        (r#"{"fields":["a..b"]}"#, "/fields/0"),
        (r#"{"fields":[]}"#, "/fields"),
        (r#"{"limit":0}"#, "/limit"),
        (r#"{"limit":100000}"#, "/limit"),
        (r#"{"cursor":"!"}"#, "/cursor"),
        (r#"{"orderBy":[{"field":"n"}],"cursor":"a"}"#, "/cursor"),
        (r#"{"cursor":"a","before":"b"}"#, "/before"),
        (r#"{"asOf":"yesterday"}"#, "/asOf"),
        (r#"{"groupBy":["n"]}"#, "/groupBy"),
        (r#"{"aggregate":{"a":{"op":"median"}}}"#, "/aggregate/a/op"),
        (r#"{"aggregate":{"a":{"op":"count"}},"limit":1}"#, "/limit"),
    ] {
        let refused = rig.ask("POST", QUERY, &[], body).await;
        let found = (refused.status, refused.code(), refused.json()["field"].clone());
        assert_eq!(found, (400, "invalid-body".to_owned(), json!(field)), "{body}");
    }
    // A text that would be read as JSON of its own.
    let hidden =
        r#"{"where":{"field":"a","op":"==","value":{"\u0024serde_json::private::RawValue":"1"}}}"#;
    rig.table(&[("POST", QUERY, hidden, 400, "invalid-json")]).await;
    let hostile = format!("{{\"where\":{deep}}}");
    let refused = rig.ask("POST", QUERY, &[], &hostile).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let path = |parameters: &str| format!("{DOCUMENTS}?{parameters}");
    rig.table(&[
        ("GET", &path("where=x"), "", 400, "invalid-parameter"),
        ("GET", &path("where=%7B%7D"), "", 400, "invalid-parameter"),
        ("GET", &path("orderBy=x"), "", 400, "invalid-parameter"),
        ("GET", &path("fields="), "", 400, "invalid-parameter"),
        ("GET", &path("count=maybe"), "", 400, "invalid-parameter"),
        ("GET", &path("cursor=a&before=b"), "", 400, "invalid-parameter"),
        ("POST", QUERY, r#"{"what":1}"#, 400, "invalid-body"),
    ])
    .await;
    let large = format!(
        "{{\"where\":{{\"field\":\"a\",\"op\":\"==\",\"value\":\"{}\"}}}}",
        "x".repeat(200_000)
    );
    rig.table(&[("POST", QUERY, &large, 413, "body-too-large")]).await;
}

#[actix_web::test]
async fn a_query_that_would_look_at_too_much_is_refused() {
    let rig = Rig::with(engine::Options { query_documents_max: 4, ..Default::default() }).await;
    for id in ["a", "b", "c", "d"] {
        rig.ask("PUT", &format!("{DOCUMENTS}/{id}"), &[], "{}").await;
    }
    let order = json!({"orderBy": [{"field": "n"}]});
    assert_eq!(query(&rig, order.clone()).await.status, 200);
    rig.ask("PUT", &format!("{DOCUMENTS}/e"), &[], "{}").await;
    for body in [order, json!({"count": true}), json!({"aggregate": {"n": {"op": "count"}}})] {
        let refused = query(&rig, body).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "query-too-large"));
    }
    // Page by page there is no end to it.
    let filter = json!({"where": {"field": "$id", "op": ">", "value": "c"}});
    assert_eq!(ids(&query(&rig, filter).await), ["d", "e"]);
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..3).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ]
}

/// Random documents, filters, orderings and page sizes: pages put together are what a sort of all
/// documents gives, whichever way one goes.
#[actix_web::test]
async fn pages_put_together_are_the_whole_in_order() {
    let rig = Rig::new().await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let data = proptest::collection::vec(("[ab]", value()), 0..3);
    let documents = proptest::collection::vec(data, 1..12);
    let case = (documents, value(), any::<bool>(), any::<bool>(), 1_usize..5);
    for number in 0..40 {
        let drawn = case.new_tree(&mut runner).unwrap();
        let (documents, compared, first, second, limit) =
            proptest::strategy::ValueTree::current(&drawn);
        let collection = format!("collections/r{number}");
        let mut known = Vec::new();
        for (i, fields) in documents.iter().enumerate() {
            let data = Value::Object(fields.iter().cloned().collect());
            let (id, text) = (format!("d{i}"), data.to_string());
            rig.ask("PUT", &format!("{collection}/documents/{id}"), &[], &text).await;
            known.push((id, text));
        }
        let direction = |down: bool| if down { "desc" } else { "asc" };
        let order = json!([{"field": "a", "direction": direction(first)},
            {"field": "b", "direction": direction(second)}]);
        let filter = json!({"not": {"field": "a", "op": "==", "value": compared}});
        let (own, by) = (query::Filter::of(&filter).unwrap(), query::Order::of(&order).unwrap());
        let mut expected: Vec<_> = known
            .iter()
            .map(|(id, text)| {
                let (created_at, updated_at) = Default::default();
                query::Document { id, created_at, updated_at, data: text.as_bytes() }
            })
            .filter(|document| own.matches(document))
            .collect();
        expected.sort_by(|one, other| by.compare(&by.keys(one), &by.keys(other)));
        let expected: Vec<&str> = expected.into_iter().map(|document| document.id).collect();
        let path = format!("{collection}/query");
        for (way, turned) in [("cursor", false), ("before", true)] {
            let (mut found, mut place) = (Vec::new(), Value::Null);
            if turned {
                // From behind the last one on.
                let all = json!({"where": filter, "orderBy": order, "limit": 100});
                let last = ids(&rig.ask("POST", &path, &[], &all.to_string()).await).pop();
                let Some(last) = last else { continue };
                found.push(last);
                let skip = expected.len() - 1;
                let body = json!({"where": filter, "orderBy": order, "limit": skip.max(1)});
                let page = rig.ask("POST", &path, &[], &body.to_string()).await.json();
                if skip == 0 {
                    continue;
                }
                let body = json!({"where": filter, "orderBy": order, "limit": 1,
                    "cursor": page["cursor"]});
                let page = rig.ask("POST", &path, &[], &body.to_string()).await.json();
                place = page["previous"].clone();
            }
            loop {
                let body = json!({"where": filter, "orderBy": order, "limit": limit, way: place});
                let page = rig.ask("POST", &path, &[], &body.to_string()).await;
                let mut part = ids(&page);
                if turned {
                    part.reverse();
                }
                found.extend(part);
                place = page.json()[if turned { "previous" } else { "cursor" }].clone();
                if place.is_null() {
                    break;
                }
            }
            if turned {
                found.reverse();
            }
            assert_eq!(found, expected, "{way} {filter} {order} {limit} {known:?}");
        }
    }
}
