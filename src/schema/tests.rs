use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn schema(schema: Value) -> Schema {
    let compiled = Schema::compile(schema.as_object().unwrap());
    compiled.unwrap_or_else(|error| panic!("{schema}: {error:?}"))
}

fn refusal(schema: Value) -> (String, String) {
    let error = Schema::compile(schema.as_object().unwrap()).expect_err(&schema.to_string());
    (error.at, error.detail)
}

fn check(schema: &Schema, data: &Value) -> Result<(), Mismatch> {
    schema.check(data.to_string().as_bytes())
}

#[test]
fn says_where_and_what_was_expected_and_never_what_was_found() {
    let schema = schema(json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 2},
            "age": {"type": ["integer", "null"], "minimum": 0},
            "mail": {"type": "string", "format": "email"},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": true},
            "a/b": {"pattern": "^x+$"},
            "kind": {"oneOf": [{"const": 1}, {"const": 2}]},
        },
        "additionalProperties": false,
    }));
    assert_eq!(check(&schema, &json!({"name": "Ann", "age": 3, "kind": 2})), Ok(()));
    for (data, field, detail) in [
        (json!({}), "/name", "expected this field: it is required"),
        (json!({"name": "x"}), "/name", "expected at least 2 characters"),
        (json!({"name": 17}), "/name", "expected the type string"),
        (json!({"name": "Ann", "age": "secret"}), "/age", "expected one of the types"),
        (json!({"name": "Ann", "age": -1}), "/age", "expected at least 0"),
        (json!({"name": "Ann", "mail": "secret"}), "/mail", "expected a text of the format email"),
        (
            json!({"name": "Ann", "tags": ["a", "secret"]}),
            "/tags/1",
            "expected one of [\"a\",\"b\"]",
        ),
        (json!({"name": "Ann", "tags": ["a", "a"]}), "/tags", "expected elements of which no two"),
        (json!({"name": "Ann", "a/b": "secret"}), "/a~1b", "expected a text with a match of ^x+$"),
        (json!({"name": "Ann", "kind": 3}), "/kind", "expected something that one of the alter"),
        (json!({"name": "Ann", "nme": 3}), "/nme", "expected nothing here"),
    ] {
        let mismatch = check(&schema, &data).expect_err(&data.to_string());
        assert_eq!(mismatch.field, field, "{data}");
        assert!(mismatch.detail.starts_with(detail), "{data}: {}", mismatch.detail);
        assert!(!mismatch.detail.contains("secret"), "{}", mismatch.detail);
    }
    let all = schema.mismatches(br#"{"age":"x","mail":1,"tags":2}"#, 3);
    assert_eq!(all.len(), 3);
}

#[test]
fn what_is_no_schema_is_refused_with_its_place() {
    for (bad, at) in [
        (json!({"type": "strin"}), "/type"),
        (json!({"properties": {"a": {"minLength": -1}}}), "/properties/a/minLength"),
        (json!({"properties": {"a": {"requred": ["b"]}}}), "/properties/a/requred"),
        (json!({"properties": {"a": 3}}), "/properties/a"),
        (json!({"properties": {"a": {"format": "regex"}}}), "/properties/a/format"),
        (json!({"properties": {"a": {"pattern": "("}}}), "/properties/a/pattern"),
        (json!({"properties": {"a": {"pattern": "(a)\\1"}}}), "/properties/a/pattern"),
        (json!({"properties": {"a": {"pattern": "(?=a)b"}}}), "/properties/a/pattern"),
        (json!({"properties": {"a": {"pattern": "(a{900}){900}"}}}), "/properties/a/pattern"),
        (json!({"patternProperties": {"(?!a)": {}}}), "/patternProperties/(?!a)"),
        (json!({"$ref": "https://example.com/x"}), "/$ref"),
        (json!({"$ref": "other.json#/x"}), "/$ref"),
        (json!({"allOf": [{"$ref": "#/$defs/none"}]}), "/allOf/0/$ref"),
        (json!({"properties": {"a": {"$dynamicRef": "#none"}}}), "/properties/a/$dynamicRef"),
        (json!({"$defs": {"a": {"$id": "https://example.com/x"}}}), "/$defs/a/$id"),
        (json!({"$schema": "http://json-schema.org/draft-07/schema#"}), "/$schema"),
        (json!({"$ref": "#"}), ""),
        (json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}), ""),
        (json!({"properties": {"a": {"default": {}, "$ref": "#"}}}), ""),
    ] {
        let (found, detail) = refusal(bad.clone());
        assert_eq!(found, at, "{bad}: {detail}");
        assert!(!detail.is_empty());
    }
    let long = json!({"description": "x".repeat(SCHEMA_BYTES_MAX)});
    assert!(refusal(long).1.contains("bytes"));
    let deep = (0..SCHEMA_DEPTH_MAX).fold(json!({}), |inner, _| json!({"not": inner}));
    assert!(refusal(deep).1.contains("nests deeper"));
    let patterns: Vec<Value> =
        (0..=PATTERNS_MAX).map(|n| json!({"pattern": n.to_string()})).collect();
    assert!(refusal(json!({"anyOf": patterns})).1.contains("regular expressions"));
}

/// A chain of definitions, each of which is made of the next one by `link`.
fn chain(length: usize, link: impl Fn(Value) -> Value) -> Value {
    let mut all = serde_json::Map::new();
    for n in 0..length {
        all.insert(n.to_string(), link(json!({"$ref": format!("#/$defs/{}", n + 1)})));
    }
    all.insert(length.to_string(), json!(true));
    json!({"$ref": "#/$defs/0", "$defs": all})
}

#[test]
fn what_would_take_for_ever_is_refused() {
    let doubled = chain(20, |next| json!({"allOf": [next.clone(), next]}));
    assert!(refusal(doubled).1.contains("more than"));
    let doubled = chain(20, |next| json!({"properties": {"a": next.clone(), "b": next}}));
    assert!(refusal(doubled).1.contains("too large once"));
    let long = chain(2_000, |next| next);
    assert!(refusal(long).1.contains("lead to each other"));
    // Everything leads to everything.
    let all: Vec<Value> = (0..30).map(|n| json!({"$ref": format!("#/$defs/{n}")})).collect();
    let definitions = (0..30).map(|n| (n.to_string(), json!({"allOf": all}))).collect();
    let definitions: serde_json::Map<String, Value> = definitions;
    assert!(refusal(json!({"$defs": definitions})).1.contains("leads back"));
    let wide = chain(30, |next| json!({"items": {"allOf": [next]}}));
    schema(wide);
}

#[test]
fn a_check_takes_a_bounded_time_whatever_schema_and_document_are() {
    // Twice as many ways at each level, and what would end it stands at the very bottom.
    let schema_of = |leaf: Value| {
        json!({
            "anyOf": [
                {"properties": {"a": {"$ref": "#"}, "b": leaf}},
                {"properties": {"a": {"$ref": "#"}, "c": leaf}},
                {"properties": {"a": {"$ref": "#"}, "d": leaf}},
            ],
        })
    };
    let tree = schema(schema_of(json!({"const": 1})));
    let deep = (0..60).fold(json!({"b": 2, "c": 2, "d": 2}), |inner, _| json!({"a": inner}));
    let began = std::time::Instant::now();
    assert!(check(&tree, &deep).is_err());
    let many: Vec<Value> = (0..100_000).map(|n| json!({"n": n})).collect();
    let mut kinds = vec![json!({"minProperties": 5}); 500];
    kinds.push(json!({"type": "object"}));
    let list = schema(json!({"properties": {"l": {"items": {"anyOf": kinds}}}}));
    let mismatch = check(&list, &json!({"l": many})).unwrap_err();
    assert_eq!(mismatch.field, "");
    let pattern = schema(json!({"properties": {"t": {"allOf":
        (0..50).map(|n| json!({"pattern": format!("(x+x+){{9}}y{n}")})).collect::<Vec<_>>()}}}));
    assert!(check(&pattern, &json!({"t": "x".repeat(1 << 20)})).is_err());
    // A debug build takes some ten times as long as one for use.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

fn is_too_much(schema: &Schema, data: &Value) -> bool {
    check(schema, data).is_err_and(|mismatch| mismatch.detail.contains("too many steps"))
}

#[test]
fn elements_of_one_hash_end_the_check_soon() {
    let unique = schema(json!({"uniqueItems": true}));
    let brackets = |n: usize| -> Value {
        let bits = (0..16).map(|bit| if n >> bit & 1 == 0 { json!([]) } else { json!([[]]) });
        Value::Array(bits.collect())
    };
    let lists: Value = (0..16_000).map(brackets).collect();
    assert!(lists.to_string().len() > 900 << 10);
    let integers: Value = (0..60_000_u64).map(|n| (1_u64 << 63) + n).collect();
    let began = std::time::Instant::now();
    assert!(is_too_much(&unique, &lists));
    assert!(is_too_much(&unique, &integers));
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    // What has hashes of its own costs as before.
    let plain: Value = (0..60_000).map(|n| json!(n)).collect();
    assert_eq!(check(&unique, &plain), Ok(()));
    let texts: Value = (0..60_000).map(|n| json!(n.to_string())).collect();
    assert_eq!(check(&unique, &texts), Ok(()));
    let few: Value = (0..100).map(brackets).collect();
    assert_eq!(check(&unique, &few), Ok(()));
}

#[test]
fn a_name_costs_as_often_as_there_are_patterns() {
    let patterns = |count: usize| {
        let all = (0..count).map(|n| (format!("(x+x+){{9}}y{n}"), json!(true)));
        schema(json!({
            "patternProperties": all.collect::<serde_json::Map<_, _>>(),
            "additionalProperties": true,
        }))
    };
    let data = json!({"x".repeat(64 << 10): 1});
    assert_eq!(check(&patterns(1), &data), Ok(()));
    assert!(is_too_much(&patterns(90), &data));
}

#[test]
fn unevaluated_is_refused_wherever_it_is_a_keyword() {
    for (keyword, instead) in
        [("unevaluatedProperties", "additionalProperties"), ("unevaluatedItems", "\"items\"")]
    {
        for (bad, at) in [
            (json!({keyword: false}), ""),
            (json!({"properties": {"a": {keyword: {}}}}), "/properties/a"),
            (json!({"$defs": {keyword: {keyword: true}}}), "/$defs/KEYWORD"),
            (json!({"allOf": [{"not": {keyword: false}}]}), "/allOf/0/not"),
            (json!({"contentSchema": {"items": {keyword: 1}}}), "/contentSchema/items"),
        ] {
            let (found, detail) = refusal(bad);
            assert_eq!(found, format!("{}/{keyword}", at.replace("KEYWORD", keyword)));
            assert!(detail.contains(instead), "{detail}");
        }
        schema(json!({
            "properties": {keyword: {"default": {keyword: 1}}},
            "$defs": {keyword: {"enum": [{keyword: 1}]}},
            "x-mine": {keyword: false},
        }));
    }
}

#[test]
fn what_would_fill_the_memory_is_refused() {
    // Pointers: many subschemas below a long name.
    let many: Vec<Value> = (0..1_000).map(|_| json!({})).collect();
    let long = json!({"properties": {"n".repeat(10_000): {"anyOf": many}}});
    assert!(refusal(long).1.contains("pointers"));
    // One default that many fields have.
    let large = json!({"default": "d".repeat(30_000)});
    let fields = |count: usize| -> serde_json::Map<String, Value> {
        (0..count).map(|n| (format!("f{n}"), json!({"$ref": "#/$defs/large"}))).collect()
    };
    schema(json!({"properties": fields(8), "$defs": {"large": large}}));
    let many = json!({"properties": fields(800), "$defs": {"large": large}});
    assert!(refusal(many).1.contains("the defaults"));
    // Defaults that become large once they are filled in.
    let inner: serde_json::Map<String, Value> =
        (0..50).map(|n| (format!("f{n}"), json!({"default": "d".repeat(200)}))).collect();
    let outer: serde_json::Map<String, Value> = (0..100)
        .map(|n| (format!("o{n}"), json!({"default": {}, "$ref": "#/$defs/inner"})))
        .collect();
    let filled = json!({"properties": outer, "$defs": {"inner": {"properties": inner}}});
    assert!(refusal(filled).1.contains("the defaults"));
}

#[test]
fn the_deepest_check_fits_the_stack() {
    let mut node = chain(12, |next| json!({"allOf": [next]}));
    node["$defs"]["12"] = json!({"properties": {"a": {"$ref": "#"}}});
    assert!(refusal(node).1.contains("deep document"));
    let within = json!({"properties": {"a": {"$ref": "#"}}, "required": ["b"]});
    let tree = json!({"allOf": [{"anyOf": [{"allOf": [{"oneOf": [within]}]}]}]});
    let compiled = schema(tree);
    let deep = (0..63).fold(json!({}), |inner, _| json!({"a": inner, "b": 1})).to_string();
    let run = move || compiled.check(deep.as_bytes()).is_err();
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
    assert!(small.join().unwrap());
}

#[test]
fn a_long_chain_of_definitions_fits_the_stack() {
    for keyword in ["properties", "allOf", "items"] {
        let long = chain(1_000, |next| match keyword {
            "properties" => json!({"properties": {"a": next}}),
            "items" => json!({"items": next}),
            _ => json!({"allOf": [next]}),
        });
        let run = move || Schema::compile(long.as_object().unwrap()).is_ok();
        let small = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
        assert_eq!(small.join().unwrap(), keyword != "allOf", "{keyword}");
    }
}

#[test]
fn many_mistakes_are_told_as_far_as_there_is_room() {
    let list = schema(json!({"properties": {"l": {"items": {"type": "string"}}}}));
    let few = list.mismatches(&json!({"l": vec![1; 50]}).to_string().into_bytes(), 10);
    assert_eq!((few.len(), few[9].field.as_str()), (10, "/l/9"));
    let many = list.mismatches(&json!({"l": vec![1; 400_000]}).to_string().into_bytes(), 10);
    assert_eq!((many.len(), many[0].field.as_str()), (1, "/l/0"));
}

#[test]
fn references_stay_within_and_may_go_round() {
    let tree = schema(json!({
        "$id": "https://example.com/tree",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "left": {"$ref": "#"},
            "right": {"$ref": "#node"},
            "n": {"$ref": "#/$defs/a%20number"},
        },
        "$anchor": "node",
        "required": ["n"],
        "$defs": {"a number": {"type": "number"}},
    }));
    assert_eq!(check(&tree, &json!({"n": 1, "left": {"n": 2, "right": {"n": 3}}})), Ok(()));
    let mismatch = check(&tree, &json!({"n": 1, "left": {"n": 2, "right": {"n": "3"}}}));
    assert_eq!(mismatch.unwrap_err().field, "/left/right/n");
}

#[test]
fn defaults_fill_what_is_missing_and_nothing_else() {
    let schema = schema(json!({
        "properties": {
            "status": {"default": "open"},
            "n": {"type": "integer"},
            "price": {"$ref": "#/$defs/price"},
            "address": {"properties": {"country": {"default": "CH"}, "street": {}}},
            "settings": {"default": {"a": 1},
                "properties": {"b": {"default": [2]}, "a": {"default": 9}}},
            "nothing": {"default": null},
        },
        "allOf": [{"properties": {"level": {"default": 1}, "status": {"default": "other"}}}],
        "anyOf": [{"properties": {"never": {"default": 1}}}],
        "$defs": {"price": {"default": 1.50, "properties": {"currency": {"default": "CHF"}}}},
    }));
    let filled = schema.filled(r#"{"x":1.00,"address":{}}"#).unwrap();
    assert_eq!(
        filled,
        concat!(
            r#"{"x":1.00,"address":{"country":"CH"},"status":"open","price":1.5,"#,
            r#""settings":{"a":1,"b":[2]},"nothing":null,"level":1}"#
        )
    );
    assert_eq!(schema.filled(&filled), None);
    let held =
        r#"{"status":null,"price":{"currency":3},"address":[],"settings":7,"nothing":0,"level":0}"#;
    assert_eq!(schema.filled(held), None);
}

/// Schemas with defaults here and there, and data that fits some of it.
fn with_defaults() -> impl Strategy<Value = Value> {
    let value =
        prop_oneof![Just(json!(1)), Just(json!({})), Just(json!({"a": {}})), Just(json!(null))];
    let leaf = proptest::option::of(value).prop_map(|default| match default {
        Some(default) => json!({"default": default}),
        None => json!({}),
    });
    leaf.prop_recursive(4, 20, 3, |inner| {
        let properties = proptest::collection::hash_map("[a-c]", inner, 0..3);
        let value = prop_oneof![Just(None), Just(Some(json!({}))), Just(Some(json!({"b": 1})))];
        (properties, value).prop_map(|(properties, default)| {
            let mut schema = json!({"properties": properties});
            if let Some(default) = default {
                schema["default"] = default;
            }
            schema
        })
    })
}

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(7)), Just(json!(null)), Just(json!([])), Just(json!("x"))];
    leaf.prop_recursive(4, 20, 3, |inner| {
        proptest::collection::hash_map("[a-c]", inner, 0..3).prop_map(|fields| json!(fields))
    })
}

/// Whether everything in `part` is in `whole` as it was.
fn is_kept(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|now| is_kept(value, now)))
        }
        (part, whole) => part == whole,
    }
}

proptest! {
    #[test]
    fn filling_is_the_same_every_time_and_changes_nothing_that_was_there(
        schema_text in with_defaults(),
        data in data().prop_filter("a document", Value::is_object),
    ) {
        let compiled = schema(schema_text);
        let text = data.to_string();
        let filled = compiled.filled(&text);
        prop_assert_eq!(&compiled.filled(&text), &filled, "the same input gives the same");
        if let Some(filled) = filled {
            let after: Value = serde_json::from_str(&filled).unwrap();
            prop_assert!(is_kept(&data, &after), "{} became {}", data, after);
            prop_assert_eq!(compiled.filled(&filled), None, "{} is not full", after);
        } else {
            prop_assert!(true);
        }
    }

    /// The validator behind the meter says the same as the one without.
    #[test]
    fn the_meter_changes_no_verdict(
        keywords in proptest::sample::subsequence(KEYWORDS.to_vec(), 0..4),
        data in data(),
    ) {
        let mut whole = serde_json::Map::new();
        for keyword in keywords {
            let keyword: Value = serde_json::from_str(keyword).unwrap();
            whole.extend(keyword.as_object().unwrap().clone());
        }
        let compiled = schema(Value::Object(whole.clone()));
        let plain = jsonschema::draft202012::new(&Value::Object(whole)).unwrap();
        prop_assert_eq!(check(&compiled, &data).is_ok(), plain.is_valid(&data));
    }
}

const KEYWORDS: [&str; 13] = [
    r#"{"type": "object"}"#,
    r#"{"required": ["a"]}"#,
    r#"{"properties": {"a": {"type": ["number", "object"]}, "b": {"const": 7}}}"#,
    r#"{"additionalProperties": {"type": "object"}}"#,
    r#"{"patternProperties": {"^[ab]$": {"not": {"type": "null"}}}}"#,
    r#"{"propertyNames": {"enum": ["a", "b"]}}"#,
    r#"{"minProperties": 1, "maxProperties": 2}"#,
    r#"{"anyOf": [{"required": ["a"]}, {"properties": {"c": {"const": "x"}}}]}"#,
    r#"{"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}"#,
    r#"{"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}"#,
    r#"{"dependentRequired": {"a": ["b"]}}"#,
    r##"{"allOf": [{"properties": {"c": {"$ref": "#"}}}]}"##,
    r#"{"not": {"enum": [7, null, {"a": {}}]}}"#,
];
