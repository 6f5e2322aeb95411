//! JSON Merge Patch, RFC 7396, on JSON text: what a patch does not touch stays as it was, digit
//! for digit.

use super::fields::{Fields, is_object};

/// Merges `patch` into `target`: objects are merged name by name, `null` removes a name, all else
/// replaces. Both must be valid compact JSON. Recursion is as deep as the patch, whose depth was
/// limited when it was checked.
pub fn merge_patch(target: &str, patch: &str) -> String {
    if !is_object(patch) {
        return patch.to_owned();
    }
    let mut fields = Fields::of(target);
    for (name, value) in Fields::of(patch).iter() {
        if value == "null" {
            fields.remove(name);
        } else {
            let merged = merge_patch(fields.get(name).unwrap_or("null"), value);
            fields.set(name, merged);
        }
    }
    fields.to_json()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The test cases of RFC 7396, appendix A.
    #[test]
    fn rfc_7396_appendix_a() {
        for (original, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let merged = merge_patch(&original.to_string(), &patch.to_string());
            let merged: Value = serde_json::from_str(&merged).unwrap();
            assert_eq!(merged, result, "{original} merged with {patch}");
        }
    }

    #[test]
    fn digits_stay() {
        let merged =
            merge_patch(r#"{"big":12345678901234567890123,"a":{"f":1.10}}"#, r#"{"a":{"x":1e2}}"#);
        assert_eq!(merged, r#"{"big":12345678901234567890123,"a":{"f":1.10,"x":1e2}}"#);
    }
}
