//! Order, round trips, and bytes from anywhere.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::conformance::{BARE, MIXED, mixed, text};

fn key_text() -> impl Strategy<Value = String> {
    "[\0\u{1}a-bä字]{0,4}"
}

fn any_key() -> impl Strategy<Value = (String, i64, String)> {
    (key_text(), prop_oneof![-2..3_i64, any::<i64>()], key_text())
}

fn values(key: &(String, i64, String)) -> Vec<Value> {
    vec![text(&key.0), Value::Int(key.1), text(&key.2)]
}

fn any_value(kind: Kind) -> BoxedStrategy<Value> {
    let some = match kind {
        Kind::Text => any::<String>().prop_map(|s| text(&s)).boxed(),
        Kind::Int | Kind::Time => any::<i64>().prop_map(Value::Int).boxed(),
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Json => any::<Vec<u8>>().prop_map(|b| Value::Json(Bytes::from(b))).boxed(),
    };
    prop_oneof![4 => some, 1 => Just(Value::Null)].boxed()
}

fn any_row() -> impl Strategy<Value = Row> {
    let columns: Vec<_> = MIXED.columns.iter().map(|column| any_value(column.kind)).collect();
    (any_key(), columns).prop_map(|(key, mut columns)| {
        let mut row = values(&key);
        row.append(&mut columns);
        row
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn encoded_keys_order_as_their_tuples(a in any_key(), b in any_key()) {
        let encoded = |key| encode_key(&MIXED, &values(key)).unwrap();
        prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
        prop_assert!(a == b || !encoded(&a).starts_with(&encoded(&b)));
    }

    #[test]
    fn a_prefix_covers_its_keys_and_no_others(a in any_key(), b in any_key(), len in 0..4_usize) {
        let prefix = encode_prefix(&MIXED, &values(&a)[..len]).unwrap();
        let key = encode_key(&MIXED, &values(&b)).unwrap();
        let end = prefix_end(&prefix).unwrap();
        let below = values(&a)[..len] == values(&b)[..len];
        prop_assert_eq!(key.starts_with(&prefix), below);
        prop_assert_eq!(prefix <= key && key < end, below);
    }

    #[test]
    fn rows_come_back(row in any_row()) {
        let key = encode_key(&MIXED, &row[..3]).unwrap();
        let stored = Bytes::from(encode_row(&MIXED, &row).unwrap());
        let mut decoded = decode_key(&MIXED, &key).unwrap();
        decode_row(&MIXED, &stored, &mut decoded).unwrap();
        prop_assert_eq!(decoded, row);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in any::<Vec<u8>>()) {
        let mut key = vec![MIXED.number];
        key.extend_from_slice(&bytes);
        if let Ok(row) = decode_key(&MIXED, &key) {
            prop_assert_eq!(encode_key(&MIXED, &row).unwrap(), key);
        }
        let _ = decode_row(&MIXED, &Bytes::from(bytes), &mut Row::new());
    }

    #[test]
    fn damaged_rows_decode_or_are_refused(
        row in any_row(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut stored = encode_row(&MIXED, &row).unwrap();
        let at = at.index(stored.len());
        stored[at] = byte;
        if cut {
            stored.truncate(at);
        }
        let _ = decode_row(&MIXED, &Bytes::from(stored), &mut Row::new());
    }
}

#[test]
fn json_shares_the_memory_of_what_was_stored() {
    let row = mixed("a", 0, "x", 1);
    let stored = Bytes::from(encode_row(&MIXED, &row).unwrap());
    let mut decoded = Row::new();
    decode_row(&MIXED, &stored, &mut decoded).unwrap();
    let Some(Value::Json(json)) = decoded.last() else { panic!("{decoded:?}") };
    assert!(stored.as_ptr_range().contains(&json.as_ptr()));
}

#[test]
fn a_row_of_nothing_but_a_key_takes_no_bytes() {
    assert!(encode_row(&BARE, &[text("a")]).unwrap().is_empty());
    let left_over = decode_row(&BARE, &Bytes::from_static(b"x"), &mut Row::new());
    assert!(matches!(left_over, Err(Error::Corrupt { .. })));
}

/// The bytes on disk: a change here makes every stored read model unreadable.
#[test]
fn the_stored_form_is_fixed() {
    let row = mixed("a\0", -1, "b", 300);
    let key = encode_key(&MIXED, &row[..3]).unwrap();
    assert_eq!(key, b"\x07a\0\xFF\0\0\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFFb\0\0");
    let stored = encode_row(&MIXED, &row).unwrap();
    assert_eq!(stored, b"\0\x06t\xC3\xAFtle\xD8\x04\x09\x01\x09{\"n\":300}");
    assert_eq!(prefix_end(&[1, 255, 255]), Some(vec![2]));
    assert_eq!(prefix_end(&[255]), None);
}
