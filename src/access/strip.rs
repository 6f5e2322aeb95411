//! Takes fields out of a document's text that somebody may not see.

use domain::path::{Path, through};
use domain::raw::{Kind, Malformed, Raw};

/// How deep fields are looked for. Documents nest less deep.
const DEPTH_MAX: usize = 100;

/// The JSON text `data` without `fields`; where a list is on the way, without them in each of its
/// elements. All else stays as it was, digit for digit and in its order. `data` must be compact
/// and an object; of text that is not, nothing is left but `{}`.
pub fn strip<P: AsRef<Path>>(data: &[u8], fields: &[P]) -> Vec<u8> {
    let paths: Vec<&[Box<str>]> = fields.iter().map(|path| path.as_ref().as_slice()).collect();
    let mut out = Vec::with_capacity(data.len());
    match object(Raw::new(data), &paths, &mut out, 0) {
        Ok(()) => out,
        Err(Malformed) => b"{}".to_vec(),
    }
}

fn value(
    raw: Raw<'_>,
    paths: &[&[Box<str>]],
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed);
    }
    match raw.kind()? {
        _ if paths.is_empty() => out.extend_from_slice(raw.bytes()),
        Kind::Object => object(raw, paths, out, depth)?,
        Kind::Array => {
            let mut elements = raw.elements();
            out.push(b'[');
            let mut is_first = true;
            while let Some(element) = elements.try_next()? {
                if !std::mem::take(&mut is_first) {
                    out.push(b',');
                }
                value(element, paths, out, depth + 1)?;
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(raw.bytes()),
    }
    Ok(())
}

fn object(
    raw: Raw<'_>,
    paths: &[&[Box<str>]],
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Malformed> {
    let mut entries = raw.entries();
    out.push(b'{');
    let mut is_first = true;
    while let Some((name, inner)) = entries.try_next()? {
        let (below, goes) = through(paths, name);
        if goes {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.bytes());
        out.extend_from_slice(b"\":");
        value(inner, &below, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn stripped(data: &str, fields: &[&str]) -> String {
        let paths: Vec<Path> = fields.iter().map(|field| Path::parse(field).unwrap()).collect();
        String::from_utf8(strip(data.as_bytes(), &paths)).unwrap()
    }

    #[test]
    fn fields_go_and_digits_stay() {
        let data = concat!(
            r#"{"z":1.00,"a":{"b":12345678901234567890123,"c":{"d":1e2}},"s":"a\u0062","#,
            r#""l":[{"p":1,"q":2},3,[{"p":4}]],"x.y":0,"\u0065":5}"#
        );
        assert_eq!(stripped(data, &[]), data);
        assert_eq!(stripped(data, &["none", "a.none", "s.t", "z.z"]), data);
        assert_eq!(
            stripped(data, &["z", "a.b", "a.c.d", "l.p", "/x.y", "e"]),
            r#"{"a":{"c":{}},"s":"a\u0062","l":[{"q":2},3,[{}]]}"#
        );
        assert_eq!(stripped(data, &["a.b", "a", "l", "s", "e"]), r#"{"z":1.00,"x.y":0}"#);
        assert_eq!(stripped("{\"a\":1}", &["a"]), "{}");
    }

    #[test]
    fn of_broken_text_nothing_is_left() {
        for data in ["", "[1]", "{\"a\":1", "{\"b\":{\"a\":1}"] {
            assert_eq!(stripped(data, &["b.a"]), "{}", "{data}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(stripped(&deep, &["a.b"]), "{}");
        assert_eq!(stripped(&deep, &["b"]), deep);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\é]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[a-c\"é]", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn remove(value: &mut Value, path: &[Box<str>]) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| remove(item, path)),
            Value::Object(fields) => match path {
                [] => {}
                [last] => {
                    fields.shift_remove(&**last);
                }
                [name, rest @ ..] => {
                    if let Some(inner) = fields.get_mut(&**name) {
                        remove(inner, rest);
                    }
                }
            },
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn it_is_as_if_taken_out_of_the_tree(
            inner in json(),
            paths in proptest::collection::vec("(/[a-c\"é]){1,3}", 0..4),
        ) {
            let mut tree = serde_json::json!({ "a": inner });
            let text = tree.to_string();
            let paths: Vec<Path> = paths.iter().map(|path| Path::parse(path).unwrap()).collect();
            let out = String::from_utf8(strip(text.as_bytes(), &paths)).unwrap();
            for path in &paths {
                remove(&mut tree, path.as_slice());
            }
            prop_assert_eq!(out, tree.to_string());
        }
    }
}
