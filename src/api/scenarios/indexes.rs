//! Indexes: queries find by them what they find without, what is unique stays so, and none of it
//! tells what is hidden.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use super::{Reply, Rig};

fn ids(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let documents = reply.json()["documents"].as_array().unwrap().clone();
    documents.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

async fn query(rig: &Rig, collection: &str, body: &Value) -> Reply {
    rig.ask("POST", &format!("collections/{collection}/query"), &[], &body.to_string()).await
}

async fn configure(rig: &Rig, collection: &str, settings: Value) {
    let path = format!("collections/{collection}");
    let put = rig.ask("PUT", &path, &[], &settings.to_string()).await;
    assert!(put.status < 300, "{}", put.text);
    built(rig, collection).await;
}

/// Waits until all indexes are built, and what was dropped is gone.
async fn built(rig: &Rig, collection: &str) {
    for _ in 0..500 {
        let listed = rig.ask("GET", &format!("collections/{collection}/indexes"), &[], "").await;
        let listed = listed.json();
        if listed["indexes"].as_array().unwrap().iter().all(|one| one["state"] == "ready") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{collection} has indexes that are not built");
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        4 => (-2_i64..3).prop_map(Value::from),
        1 => Just(json!(0.5)),
        4 => "[ab]{0,2}".prop_map(Value::from),
        2 => proptest::collection::vec(-1_i64..2, 0..3).prop_map(Value::from),
    ]
}

fn data() -> impl Strategy<Value = Value> {
    proptest::collection::vec(("[abc]", value()), 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

fn directed(names: Vec<(&'static str, bool)>) -> Vec<Value> {
    let direction = |down: bool| if down { "desc" } else { "asc" };
    names
        .into_iter()
        .map(|(name, down)| json!({"field": name, "direction": direction(down)}))
        .collect()
}

fn fields(most: usize) -> impl Strategy<Value = Vec<Value>> {
    let names = Just(vec!["a", "b", "c"]).prop_shuffle();
    (names, 1..=most, any::<[bool; 3]>()).prop_map(|(names, count, down)| {
        directed(names.into_iter().zip(down).take(count).collect())
    })
}

fn filter() -> impl Strategy<Value = Value> {
    let values = || proptest::collection::vec(value(), 1..3).prop_map(Value::from);
    let bound = prop_oneof![(-2_i64..3).prop_map(Value::from), "[ab]{0,2}".prop_map(Value::from)];
    let test = prop_oneof![
        4 => (Just("=="), value()),
        1 => (Just("!="), value()),
        1 => (Just("in"), values()),
        3 => (prop_oneof![Just("<"), Just("<="), Just(">"), Just(">=")], bound),
        1 => (Just("array-contains"), (-1_i64..2).prop_map(Value::from)),
        1 => (Just("array-contains-any"), values()),
        1 => (Just("starts-with"), "[ab]{0,1}".prop_map(Value::from)),
    ];
    let leaf = ("[abc]", test)
        .prop_map(|(field, (op, value))| json!({"field": field, "op": op, "value": value}));
    let either = (leaf.clone(), leaf.clone()).prop_map(|(one, other)| json!({"or": [one, other]}));
    let part = prop_oneof![5 => leaf, 1 => either];
    proptest::collection::vec(part, 1..3).prop_map(|all| json!({ "and": all }))
}

/// All pages of a query, one after the other, to the end and back again.
async fn all_pages(rig: &Rig, collection: &str, body: &Value) -> (Vec<String>, Vec<String>) {
    let (mut forward, mut last) = (Vec::new(), Value::Null);
    let mut body = body.clone();
    loop {
        let page = query(rig, collection, &body).await;
        forward.extend(ids(&page));
        let page = page.json();
        last = if page["previous"].is_null() { last } else { page["previous"].clone() };
        body["cursor"] = page["cursor"].clone();
        if body["cursor"].is_null() {
            break;
        }
    }
    let mut back = Vec::new();
    body["before"] = last;
    while !body["before"].is_null() {
        let page = query(rig, collection, &body).await;
        let mut found = ids(&page);
        found.extend(back);
        back = found;
        body["before"] = page.json()["previous"].clone();
    }
    (forward, back)
}

/// Two collections get the same writes, and only one has indexes, which come and go meanwhile:
/// whatever is asked, both answer the same.
#[actix_web::test]
async fn with_indexes_and_without_the_answers_are_the_same() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let index = prop_oneof![
        4 => fields(3),
        1 => "[abc]".prop_map(|name| vec![json!({"field": name, "elements": true})]),
    ];
    let indexes = proptest::collection::vec(index, 1..4);
    let write =
        ((0..14_u32), prop_oneof![4 => data().prop_map(Some), 1 => Just(None)], any::<bool>());
    let case = (
        proptest::collection::vec(indexes, 2..3),
        proptest::collection::vec(write, 10..40),
        proptest::collection::vec((filter(), fields(2), 0..3_usize, 1..4_usize), 12),
    );
    let mut by_index = 0;
    for number in 0..12 {
        let rig = Rig::new().await;
        let (configs, writes, asked) = case.new_tree(&mut runner).unwrap().current();
        let half = writes.len() / 2;
        for (i, (id, data, patches)) in writes.iter().enumerate() {
            if i % half.max(1) == half / 2
                && let Some(indexes) = configs.get(i / half.max(1))
            {
                let indexes: Vec<Value> =
                    indexes.iter().map(|fields| json!({ "fields": fields })).collect();
                let settings = json!({ "indexes": indexes }).to_string();
                let put = rig.ask("PUT", "collections/indexed", &[], &settings).await;
                // The same field twice over, say.
                assert!(put.status < 300 || put.status == 400, "{}", put.text);
            }
            for collection in ["indexed", "plain"] {
                let path = format!("collections/{collection}/documents/d{id}");
                let (method, body) = match data {
                    None => ("DELETE", String::new()),
                    Some(data) if *patches => ("PATCH", data.to_string()),
                    Some(data) => ("PUT", data.to_string()),
                };
                rig.ask(method, &path, &[], &body).await;
            }
        }
        built(&rig, "indexed").await;
        for (filter, order, ordered, limit) in &asked {
            let order = &order[..*ordered.min(&order.len())];
            let body = json!({"where": filter, "orderBy": order, "limit": limit});
            let (one, one_back) = all_pages(&rig, "indexed", &body).await;
            let (other, _) = all_pages(&rig, "plain", &body).await;
            assert_eq!(one, other, "{number} {body}");
            // The last page is where it begins.
            assert!(one.starts_with(&one_back), "{number} {body} {one:?} {one_back:?}");
            let totals = json!({"where": filter, "orderBy": order, "limit": 1, "count": true});
            let total = query(&rig, "indexed", &totals).await.json()["total"].clone();
            assert_eq!(total, one.len(), "{number} {body}");
            let sums = json!({"where": filter, "aggregate": {"n": {"op": "count"},
                "s": {"op": "sum", "field": "a"}}, "groupBy": ["b"]});
            let groups = query(&rig, "indexed", &sums).await.json()["groups"].clone();
            assert_eq!(groups, query(&rig, "plain", &sums).await.json()["groups"]);
            let explained = json!({"where": filter, "orderBy": order, "explain": true});
            let explained = query(&rig, "indexed", &explained).await.json();
            by_index += usize::from(explained["explanation"]["by"] == "index");
        }
        let verified = rig.shared.engine.rebuild("documents", true, &|_| ()).await.unwrap();
        assert!(verified.iter().all(engine::Rebuilt::is_equal), "{number}");
    }
    assert!(by_index > 50, "{by_index}");
}

#[actix_web::test]
async fn a_plan_says_what_it_does_and_a_refusal_what_would_serve() {
    let rig = Rig::with(engine::Options { query_documents_max: 4, ..Default::default() }).await;
    for n in 0..9 {
        let data = json!({"s": if n % 3 == 0 { "open" } else { "done" }, "n": n, "t": [n, 0]});
        rig.ask("PUT", &format!("collections/c/documents/d{n}"), &[], &data.to_string()).await;
    }
    let open = json!({"field": "s", "op": "==", "value": "open"});
    let newest = json!([{"field": "n", "direction": "desc"}]);
    let body = json!({"where": open, "orderBy": newest, "limit": 2, "explain": true});
    let refused = query(&rig, "c", &body).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "query-too-large"));
    let index = r#"{"fields":[{"field":"s","direction":"asc"},{"field":"n","direction":"desc"}]}"#;
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(index), "{detail}");
    let indexes: Vec<Value> = vec![
        serde_json::from_str(index).unwrap(),
        json!({"fields": [{"field": "t", "elements": true}]}),
    ];
    configure(&rig, "c", json!({ "indexes": indexes })).await;

    let found = query(&rig, "c", &body).await;
    assert_eq!(ids(&found), ["d6", "d3"]);
    let explained = found.json()["explanation"].clone();
    assert_eq!(explained["by"], "index");
    assert_eq!(explained["index"], indexes[0]);
    let numbers = (&explained["ranges"], &explained["ordered"], &explained["lookedAt"]);
    assert_eq!(numbers, (&json!(1), &json!(true), &json!(3)));
    assert_eq!(explained["suggestion"], Value::Null);
    let counted = json!({"where": open, "count": true, "limit": 1});
    assert_eq!(query(&rig, "c", &counted).await.json()["total"], 3);
    let contains = json!({"field": "t", "op": "array-contains", "value": 4});
    let listed = query(&rig, "c", &json!({"where": contains, "explain": true})).await;
    assert_eq!(ids(&listed), ["d4"]);
    assert_eq!(listed.json()["explanation"]["lookedAt"], 1);
    // By id one gets on without, and hears what would be better.
    let by_id = json!({"where": {"field": "n", "op": ">", "value": 1}, "explain": true});
    let by_id = query(&rig, "c", &by_id).await.json()["explanation"].clone();
    assert_eq!((&by_id["by"], &by_id["lookedAt"]), (&json!("ids"), &json!(9)));
    assert_eq!(by_id["suggestion"]["fields"][0]["field"], "n");
    // All have the element, which is more than one may look at, and there is nothing better.
    let all = json!({"field": "t", "op": "array-contains", "value": 0});
    let refused = query(&rig, "c", &json!({"where": all, "count": true})).await;
    assert_eq!(refused.code(), "query-too-large");
    assert!(!refused.text.contains("fields"), "{}", refused.text);
    // The past has no indexes.
    let position = found.json()["position"].clone();
    let past = json!({"where": contains, "asOf": position, "explain": true});
    assert_eq!(query(&rig, "c", &past).await.json()["explanation"]["by"], "ids");
    let anybody = rig.key("publishable").await;
    let rules = json!({"rules": {"list": "true"}, "indexes": indexes});
    configure(&rig, "c", rules).await;
    let path = "collections/c/query";
    let refused = rig.ask_as(&anybody, "POST", path, &[], r#"{"explain":true}"#).await;
    assert_eq!(refused.status, 403);
}

#[actix_web::test]
async fn an_index_tells_nothing_of_fields_that_are_hidden() {
    let rig = Rig::new().await;
    let settings = json!({
        "rules": {"list": "resource.open == true"},
        "fields": {"deep.secret": {"read": "false"}},
        "indexes": [
            {"fields": [{"field": "deep.secret"}]},
            {"fields": [{"field": "deep"}]},
            {"fields": [{"field": "deep.secret.more"}]},
            {"fields": [{"field": "n"}]},
        ],
    });
    configure(&rig, "c", settings).await;
    for (id, open, n) in [("a", true, 1), ("b", true, 2), ("x", false, 1)] {
        let data = json!({"open": open, "n": n, "deep": {"secret": {"more": n}}});
        rig.ask("PUT", &format!("collections/c/documents/{id}"), &[], &data.to_string()).await;
    }
    let anybody = rig.key("publishable").await;
    let asked = async |body: Value| {
        rig.ask_as(&anybody, "POST", "collections/c/query", &[], &body.to_string()).await
    };
    for field in ["deep.secret.more", "deep.secret"] {
        let order = json!([{"field": field, "direction": "desc"}]);
        // As for fields that are not there: by id, backwards.
        assert_eq!(ids(&asked(json!({ "orderBy": order })).await), ["b", "a"]);
        let filter = json!({"field": field, "op": "in", "value": [1, 2, {"more": 1}]});
        assert_eq!(ids(&asked(json!({ "where": filter })).await), Vec::<String>::new());
    }
    // What it may see it finds by an index, and no more than that.
    let first = json!({"field": "n", "op": "==", "value": 1});
    assert_eq!(ids(&asked(json!({"where": first})).await), ["a"]);
    assert_eq!(asked(json!({"where": first, "count": true})).await.json()["total"], 1);
}

/// A rule says whose documents somebody sees: an index finds just those.
#[actix_web::test]
async fn what_a_rule_requires_is_looked_for() {
    let rig = Rig::with(engine::Options { query_documents_max: 3, ..Default::default() }).await;
    let settings = json!({
        "rules": {"list": "resource.open && resource.team == 'red' && 1.0 < 2.0"},
        "indexes": [{"fields": [{"field": "team"}, {"field": "n", "direction": "desc"}]}],
    });
    configure(&rig, "c", settings).await;
    for n in 0..12 {
        let team = ["red", "blue", "green", "grey"][n % 4];
        let data = json!({"team": team, "n": n, "open": n != 4});
        rig.ask("PUT", &format!("collections/c/documents/d{n}"), &[], &data.to_string()).await;
    }
    let anybody = rig.key("publishable").await;
    let asked = async |body: Value| {
        rig.ask_as(&anybody, "POST", "collections/c/query", &[], &body.to_string()).await
    };
    let newest = json!([{"field": "n", "direction": "desc"}]);
    assert_eq!(ids(&asked(json!({"orderBy": newest})).await), ["d8", "d0"]);
    assert_eq!(ids(&asked(json!({})).await), ["d0", "d8"]);
    assert_eq!(asked(json!({"count": true, "limit": 1})).await.json()["total"], 2);
    let blue = json!({"where": {"field": "team", "op": "==", "value": "blue"}, "orderBy": newest});
    assert_eq!(ids(&asked(blue).await), Vec::<String>::new());
    // Whoever is past the rules has nothing to look for, and all to look at.
    let refused = query(&rig, "c", &json!({"count": true})).await;
    assert_eq!(refused.code(), "query-too-large");
}

#[actix_web::test]
async fn what_is_unique_stays_so() {
    let rig = Rig::new().await;
    let path = |id: &str| format!("collections/c/documents/{id}");
    // These were alike before.
    rig.table(&[
        ("PUT", &path("old1"), r#"{"mail":"same"}"#, 201, ""),
        ("PUT", &path("old2"), r#"{"mail":"same"}"#, 201, ""),
    ])
    .await;
    configure(&rig, "c", json!({"unique": ["mail", ["org", "slug"]]})).await;
    let collection = rig.ask("GET", "collections/c", &[], "").await.json();
    assert_eq!(collection["unique"], json!([["mail"], ["org", "slug"]]));
    let long = format!(r#"{{"mail":"{}"}}"#, "x".repeat(1_497));
    rig.table(&[
        ("PUT", &path("a"), r#"{"mail":"a@b.c","org":1,"slug":"x"}"#, 201, ""),
        ("PUT", &path("b"), r#"{"mail":"a@b.c"}"#, 409, "not-unique"),
        ("POST", "collections/c/documents", r#"{"mail":"a@b.c"}"#, 409, "not-unique"),
        ("PUT", &path("b"), r#"{"mail":"b@b.c","org":1.0,"slug":"x"}"#, 409, "not-unique"),
        ("PUT", &path("b"), r#"{"mail":"b@b.c","org":1,"slug":"y"}"#, 201, ""),
        ("PATCH", &path("b"), r#"{"slug":"x"}"#, 409, "not-unique"),
        // Itself is nobody else, and what is not there is not alike.
        ("PATCH", &path("a"), r#"{"mail":"a@b.c"}"#, 200, ""),
        ("PUT", &path("n1"), r#"{"org":1}"#, 201, ""),
        ("PUT", &path("n2"), r#"{"org":1,"mail":null}"#, 201, ""),
        ("PUT", &path("n3"), r#"{"mail":["a"]}"#, 422, "not-indexable"),
        // What has gone can be had again.
        ("DELETE", &path("a"), "", 204, ""),
        ("PUT", &path("c"), r#"{"mail":"a@b.c"}"#, 201, ""),
        ("PUT", &path("l"), &long, 422, "not-indexable"),
        // Those that were alike may stay so, and no third comes to them.
        ("PATCH", &path("old1"), r#"{"n":1}"#, 200, ""),
        ("PUT", &path("old3"), r#"{"mail":"same"}"#, 409, "not-unique"),
    ])
    .await;
    let refused = rig.ask("PUT", &path("z"), &[], r#"{"mail":"a@b.c"}"#).await.json();
    assert_eq!(refused["field"], "/mail");
    // Within a commit, too; and a swap is none.
    let commit = |writes: Value| json!({ "writes": writes }).to_string();
    let write = |op: &str, id: &str, mail: &str| {
        let data = json!({ "mail": mail });
        json!({"op": op, "collection": "c", "id": id, "data": data})
    };
    rig.table(&[
        (
            "POST",
            "commit",
            &commit(json!([write("create", "t1", "t"), write("create", "t2", "t")])),
            409,
            "not-unique",
        ),
        (
            "POST",
            "commit",
            &commit(json!([write("create", "t1", "t1"), write("create", "t2", "t2")])),
            200,
            "",
        ),
        (
            "POST",
            "commit",
            &commit(json!([write("replace", "t1", "t2"), write("replace", "t2", "t1")])),
            200,
            "",
        ),
    ])
    .await;
}

/// Many want the same at once: one of them gets it.
#[actix_web::test]
async fn of_many_who_want_the_same_one_gets_it() {
    let rig = Rig::new().await;
    configure(&rig, "c", json!({"unique": ["name"]})).await;
    for round in 0..20 {
        let body = format!(r#"{{"name":"n{round}"}}"#);
        let all = (0..16).map(|_| rig.ask("POST", "collections/c/documents", &[], &body));
        let replies = futures_util::future::join_all(all).await;
        let made = replies.iter().filter(|reply| reply.status == 201).count();
        let refused = replies
            .iter()
            .filter(|reply| reply.status == 409 && reply.code() == "not-unique")
            .count();
        assert_eq!((made, refused), (1, 15));
    }
}

#[actix_web::test]
async fn what_can_not_be_an_index_is_refused_with_its_place() {
    let rig = Rig::new().await;
    let many: Vec<Value> = (0..9).map(|i| json!({"field": format!("f{i}")})).collect();
    for (settings, field) in [
        (json!({"indexes": [{"fields": []}]}), "/indexes/0/fields"),
        (json!({"indexes": [{"fields": many}]}), "/indexes/0/fields"),
        (json!({"indexes": [{"fields": [{"field": "a..b"}]}]}), "/indexes/0/fields/0/field"),
        (json!({"indexes": [{"fields": [{"field": "$updatedAt"}]}]}), "/indexes/0/fields/0/field"),
        (json!({"unique": [[]]}), "/unique/0"),
        (json!({"unique": ["a", "b..c"]}), "/unique/1"),
    ] {
        let refused = rig.ask("PUT", "collections/c", &[], &settings.to_string()).await;
        let found = (refused.status, refused.json()["field"].clone());
        assert_eq!(found, (400, json!(field)), "{settings}");
    }
    let personal = json!({"fields": {"mail": {"personal": true}}, "subject": "$id"});
    configure(&rig, "c", personal.clone()).await;
    // Nor what is or was personal.
    for settings in [
        json!({"indexes": [{"fields": [{"field": "mail"}]}]}),
        json!({"unique": ["mail"]}),
        json!({"unique": [["org", "mail.host"]]}),
    ] {
        let refused = rig.ask("PUT", "collections/c", &[], &settings.to_string()).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid-body"), "{settings}");
    }
    let list = json!({"indexes": [{"fields": [{"field": "t", "elements": true}]}]});
    configure(&rig, "d", list).await;
    let data = |count: usize| json!({"t": (0..count).collect::<Vec<_>>()}).to_string();
    rig.table(&[
        ("PUT", "collections/d/documents/a", &data(1_000), 201, ""),
        ("PUT", "collections/d/documents/b", &data(1_001), 422, "not-indexable"),
    ])
    .await;
}
