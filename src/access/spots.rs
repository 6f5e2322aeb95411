//! Finds fields in a document's text and puts other values in their places.

use std::ops::Range;

use domain::path::Path;
use domain::raw::{Kind, Malformed, Raw};

/// How deep fields are looked for. Documents nest less deep.
const DEPTH_MAX: usize = 100;

/// Where a field stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Which of the fields looked for.
    pub field: usize,
    /// The bytes of its value.
    pub at: Range<usize>,
}

/// Where `fields` stand in the JSON text `data`, in the order of the text. Where a list is on the
/// way, each of its elements is looked into. A field within another one that was found is not
/// looked for. `above` names what is around the text, so that of a part of a document its own
/// fields are found: with `["address"]` around it, the field `address.city` is `city`, and the
/// field `address` is the whole of it.
///
/// `data` must be compact; of text that is not, what was found so far is told.
pub fn find(data: &[u8], above: &[&str], fields: &[Path]) -> Vec<Spot> {
    let mut spots = Vec::new();
    let wanted = fields.iter().enumerate();
    let wanted: Vec<Wanted<'_>> = wanted.filter_map(|of| below(of, above)).collect();
    // Malformed text is not what was stored; nothing in it is a field.
    let _ = value(Raw::new(data), data, &wanted, &mut spots, 0);
    spots
}

/// The names in the JSON object `data`, and where their values stand. Of text that is no compact
/// object, what was found so far.
pub fn entries(data: &[u8]) -> Vec<(String, Range<usize>)> {
    let mut found = Vec::new();
    let mut entries = Raw::new(data).entries();
    while let Ok(Some((name, inner))) = entries.try_next() {
        let Ok(name) = name.text() else { break };
        found.push((name.into_owned(), range(inner, data)));
    }
    found
}

/// `data` with other texts in some places, which must be in order. One that reaches into the one
/// before is passed over.
pub fn splice(data: &[u8], replaced: &[(Range<usize>, Vec<u8>)]) -> Vec<u8> {
    let more: usize = replaced.iter().map(|(_, text)| text.len()).sum();
    let mut out = Vec::with_capacity(data.len() + more);
    let mut from = 0;
    for (at, text) in replaced {
        if at.start < from {
            continue;
        }
        out.extend_from_slice(&data[from..at.start]);
        out.extend_from_slice(text);
        from = at.end;
    }
    out.extend_from_slice(&data[from..]);
    out
}

/// The number of a field, and what is left of the way to it.
type Wanted<'a> = (usize, &'a [Box<str>]);

fn below<'a>((field, path): (usize, &'a Path), above: &[&str]) -> Option<Wanted<'a>> {
    let names = path.as_slice();
    // What is around may reach into the field: then all of the text belongs to it.
    let shared = names.len().min(above.len());
    let is_on_the_way = names.iter().zip(above).all(|(name, above)| **name == **above);
    is_on_the_way.then(|| (field, &names[shared..]))
}

fn range(part: Raw<'_>, whole: &[u8]) -> Range<usize> {
    let start = part.bytes().as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.bytes().len()
}

fn value(
    raw: Raw<'_>,
    data: &[u8],
    wanted: &[Wanted<'_>],
    spots: &mut Vec<Spot>,
    depth: usize,
) -> Result<(), Malformed> {
    if let Some((field, _)) = wanted.iter().find(|(_, rest)| rest.is_empty()) {
        spots.push(Spot { field: *field, at: range(raw, data) });
        return Ok(());
    }
    if wanted.is_empty() || depth > DEPTH_MAX {
        return Ok(());
    }
    match raw.kind()? {
        Kind::Object => {
            let mut entries = raw.entries();
            while let Some((name, inner)) = entries.try_next()? {
                let below = wanted.iter().filter_map(|(field, rest)| {
                    let (first, rest) = rest.split_first()?;
                    name.is(first).then_some((*field, rest))
                });
                let below: Vec<Wanted<'_>> = below.collect();
                value(inner, data, &below, spots, depth + 1)?;
            }
        }
        Kind::Array => {
            let mut elements = raw.elements();
            while let Some(element) = elements.try_next()? {
                value(element, data, wanted, spots, depth + 1)?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn paths(fields: &[&str]) -> Vec<Path> {
        fields.iter().map(|field| Path::parse(field).unwrap()).collect()
    }

    fn found(data: &str, above: &[&str], fields: &[&str]) -> Vec<(usize, String)> {
        let spots = find(data.as_bytes(), above, &paths(fields));
        spots.into_iter().map(|spot| (spot.field, data[spot.at].to_owned())).collect()
    }

    fn texts(found: &[(usize, &str)]) -> Vec<(usize, String)> {
        found.iter().map(|(field, text)| (*field, (*text).to_owned())).collect()
    }

    #[test]
    fn fields_are_found_where_they_stand() {
        let data =
            r#"{"z":1.00,"a":{"b":[1,{"c":"x"}],"d":null},"l":[{"p":1},2,[{"p":3}]],"\u0065":5}"#;
        let some = found(data, &[], &["l.p", "a.d", "z", "e", "none", "z.z"]);
        assert_eq!(some, texts(&[(2, "1.00"), (1, "null"), (0, "1"), (0, "3"), (3, "5")]));
        let outer = found(data, &[], &["a.b.c", "a.b", "a"]);
        assert_eq!(outer, texts(&[(2, r#"{"b":[1,{"c":"x"}],"d":null}"#)]));
        assert_eq!(found("[1", &[], &["a"]), []);
    }

    #[test]
    fn of_a_part_its_own_fields_are_found() {
        assert_eq!(
            found(r#"{"city":"x"}"#, &["address"], &["address.city"]),
            texts(&[(0, "\"x\"")])
        );
        assert_eq!(found("\"x\"", &["address", "city"], &["address"]), texts(&[(0, "\"x\"")]));
        assert_eq!(found("\"x\"", &["address", "city"], &["address.city"]), texts(&[(0, "\"x\"")]));
        assert_eq!(found("\"x\"", &["address", "zip"], &["address.city"]), []);
    }

    #[test]
    fn other_values_take_their_places() {
        let data = r#"{"a":1,"b":{"c":[2]},"d":3}"#;
        let spots = find(data.as_bytes(), &[], &paths(&["a", "b.c"]));
        let replaced: Vec<_> = spots.into_iter().map(|s| (s.at, b"\"new\"".to_vec())).collect();
        let out = splice(data.as_bytes(), &replaced);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":"new","b":{"c":"new"},"d":3}"#);
        assert_eq!(splice(b"{}", &[]), b"{}");
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_found_again(
            names in proptest::collection::vec("[a-d]{1,2}", 1..4),
            inner in -5i64..5,
        ) {
            let mut data = json!(inner);
            for name in names.iter().rev() {
                data = json!({"x": [0], name.clone(): data});
            }
            let text = data.to_string();
            let spots = find(text.as_bytes(), &[], &paths(&[&names.join(".")]));
            prop_assert_eq!(spots.len(), 1);
            let out = splice(text.as_bytes(), &[(spots[0].at.clone(), b"true".to_vec())]);
            let out: Value = serde_json::from_slice(&out).unwrap();
            let pointer = format!("/{}", names.join("/"));
            prop_assert_eq!(out.pointer(&pointer), Some(&json!(true)));
        }
    }
}
