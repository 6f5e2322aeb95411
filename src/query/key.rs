//! Where a document stands in an index, as text: texts compare (by bytes) as documents do in the
//! index's order, whatever the types of the values and the directions of the fields.

use domain::number::Number;

use crate::order::{Direction, Key};

/// Marks of the types. None is 0x00 or 0xFF, so that a mark is never taken for an end.
const MISSING: u8 = 1;
const NULL: u8 = 2;
const FALSE: u8 = 3;
const TRUE: u8 = 4;
const NUMBER: u8 = 5;
const TEXT: u8 = 6;
const LIST: u8 = 7;
const OBJECT: u8 = 8;

/// Ends a text: sorts before all that a longer one goes on with.
const END: [u8; 2] = [0x00, 0x00];
/// A zero within a text.
const ZERO: [u8; 2] = [0x00, 0xFF];

/// A key that is being written, value by value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    /// Adds a field's value.
    pub(crate) fn push(&mut self, key: &Key, direction: Direction) {
        let from = self.0.len();
        match key {
            Key::Missing => self.0.push(MISSING),
            Key::Null => self.0.push(NULL),
            Key::Bool(false) => self.0.push(FALSE),
            Key::Bool(true) => self.0.push(TRUE),
            Key::Number(number) => {
                self.0.push(NUMBER);
                self.push_number(*number);
            }
            Key::Text(text) => {
                self.0.push(TEXT);
                self.push_start(text);
                self.0.extend_from_slice(&END);
            }
            Key::List => self.0.push(LIST),
            Key::Object => self.0.push(OBJECT),
        }
        self.turn(from, direction);
    }

    /// Adds what all texts begin with that begin with `start`.
    pub(crate) fn push_beginning(&mut self, start: &str, direction: Direction) {
        let from = self.0.len();
        self.0.push(TEXT);
        self.push_start(start);
        self.turn(from, direction);
    }

    /// Adds what all values of the same type begin with.
    pub(crate) fn push_type(&mut self, key: &Key, direction: Direction) {
        let from = self.0.len();
        match key {
            // Two marks with one type.
            Key::Bool(_) => self.0.push(FALSE),
            Key::Number(_) => self.0.push(NUMBER),
            Key::Text(_) => self.0.push(TEXT),
            key => return self.push(key, direction),
        }
        self.turn(from, direction);
    }

    /// Adds the document's id, which ends the key.
    pub(crate) fn push_id(&mut self, id: &str, direction: Direction) {
        let from = self.0.len();
        self.push_start(id);
        self.0.extend_from_slice(&END);
        self.turn(from, direction);
    }

    fn push_start(&mut self, text: &str) {
        let mut parts = text.as_bytes().split(|byte| *byte == 0);
        self.0.extend_from_slice(parts.next().unwrap_or_default());
        for part in parts {
            self.0.extend_from_slice(&ZERO);
            self.0.extend_from_slice(part);
        }
    }

    /// The greatest double that is not above it, and what is left: whole numbers of 64 bits are
    /// told apart, and stand among doubles where they belong.
    fn push_number(&mut self, number: Number) {
        let (double, rest) = match number {
            // Both zeros are one.
            Number::Float(float) => (float + 0.0, 0),
            Number::Int(int) => {
                let nearest = int as f64;
                let below = if nearest as i128 > int { nearest.next_down() } else { nearest };
                (below, u16::try_from(int - below as i128).unwrap_or(u16::MAX))
            }
        };
        // IEEE 754: negative numbers are turned round, positive ones stand after them.
        let bits = double.to_bits();
        let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
        self.0.extend_from_slice(&ordered.to_be_bytes());
        self.0.extend_from_slice(&rest.to_be_bytes());
    }

    fn turn(&mut self, from: usize, direction: Direction) {
        if direction == Direction::Desc {
            self.0[from..].iter_mut().for_each(|byte| *byte = !*byte);
        }
    }

    /// What stands right after everything that begins with this; `None` when nothing does.
    pub(crate) fn after_all(mut self) -> Option<Self> {
        while let Some(last) = self.0.pop() {
            if let Some(next) = last.checked_add(1) {
                self.0.push(next);
                return Some(self);
            }
        }
        None
    }

    /// The text: each byte is a character, so that both are in the same order.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|byte| char::from(*byte)).collect()
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Document, Order};

    fn value() -> impl Strategy<Value = Option<Value>> {
        let edge = prop::sample::select(vec![
            json!(0),
            json!(-0.0),
            json!(i64::MIN),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(9_007_199_254_740_993_u64),
            json!(9_007_199_254_740_992.0),
            json!(9_223_372_036_854_775_807.0),
            json!(0.5),
            json!(-1.5),
            json!(1e300),
            json!(f64::MIN),
            json!(5e-324),
        ]);
        let text =
            prop::sample::select(vec!["", "a", "ab", "a\0", "a\0b", "b", "é", "ÿ", "\u{1F600}"]);
        prop_oneof![
            1 => Just(None),
            1 => Just(Some(Value::Null)),
            2 => any::<bool>().prop_map(|one| Some(one.into())),
            4 => edge.prop_map(Some),
            2 => any::<i64>().prop_map(|one| Some(one.into())),
            2 => any::<f64>().prop_filter("finite", |one| one.is_finite())
                .prop_map(|one| Some(one.into())),
            4 => text.prop_map(|one| Some(one.into())),
            1 => Just(Some(json!([1]))),
            1 => Just(Some(json!({"a": 1}))),
        ]
    }

    fn id() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "a-", "a0", "aa", "b", "ab"])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn texts_of_keys_are_in_the_order_of_documents(
            one in (value(), value(), id()),
            other in (value(), value(), id()),
            descending in (any::<bool>(), any::<bool>()),
        ) {
            let direction = |is| if is { Direction::Desc } else { Direction::Asc };
            let directions = [direction(descending.0), direction(descending.1)];
            let named = |is| if is { "desc" } else { "asc" };
            let order = Order::of(&json!([
                {"field": "x", "direction": named(descending.0)},
                {"field": "y", "direction": named(descending.1)},
            ])).unwrap();
            let keys = |(x, y, id): &(Option<Value>, Option<Value>, &str)| {
                let mut data = serde_json::Map::new();
                for (name, value) in [("x", x), ("y", y)] {
                    if let Some(value) = value {
                        data.insert(name.to_owned(), value.clone());
                    }
                }
                let data = serde_json::to_vec(&data).unwrap();
                let (created_at, updated_at) = (Timestamp::default(), Timestamp::default());
                order.keys(&Document { id, created_at, updated_at, data: &data })
            };
            let text = |keys: &crate::Keys| {
                let mut encoder = Encoder::default();
                for (key, direction) in keys.fields.iter().zip(directions) {
                    encoder.push(key, direction);
                }
                encoder.push_id(&keys.id, directions[1]);
                encoder.text()
            };
            let (one, other) = (keys(&one), keys(&other));
            prop_assert_eq!(text(&one).cmp(&text(&other)), order.compare(&one, &other));
        }
    }
}
