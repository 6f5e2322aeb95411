//! A client's JSON: what `compact_object` lets through is an object, means the same as before,
//! and stays as it is when compacted again. What it refuses had a reason: any object within the
//! limits, printed afresh, passes.
#![no_main]

use domain::json::{Limits, compact_object};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// Small, so that the fuzzer gets to the limits too.
const LIMITS: Limits = Limits { bytes_max: 512, depth_max: 8 };

fuzz_target!(|text: &[u8]| {
    let compact = compact_object(text, LIMITS);
    if let Ok(compact) = &compact {
        assert!(compact.len() <= text.len() && compact.len() <= LIMITS.bytes_max);
        assert_eq!((compact.first(), compact.last()), (Some(&b'{'), Some(&b'}')));
        assert_eq!(compact_object(compact, LIMITS).as_ref(), Ok(compact), "not idempotent");
    }

    // serde_json gives these names a meaning of its own when it parses into a `Value`, and an
    // escape may hide one.
    const SERDE_JSON_NAMES: &[u8] = b"$serde_json::private::";
    let named = text.windows(SERDE_JSON_NAMES.len()).any(|window| window == SERDE_JSON_NAMES);
    if named || text.windows(2).any(|window| window == b"\\u") {
        return;
    }
    let before = serde_json::from_slice::<Value>(text);
    match (compact, before) {
        (Ok(compact), before) => {
            let after: Value = serde_json::from_slice(&compact).expect("the output is JSON");
            assert_eq!(after, before.expect("the input is JSON"));
        }
        (Err(_), Ok(value)) if value.is_object() && depth(&value) <= LIMITS.depth_max => {
            let printed = value.to_string();
            if printed.len() <= LIMITS.bytes_max {
                let again = compact_object(printed.as_bytes(), LIMITS);
                assert_eq!(again.as_deref(), Ok(printed.as_bytes()));
            }
        }
        _ => {}
    }
});

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
