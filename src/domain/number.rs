//! Numbers of JSON by their value, however they were written, and whether two values are the same.

use std::cmp::Ordering;

use crate::raw::{self, Kind, Raw};
use serde_json::Value;

/// A number: whole ones up to 64 bits are exact, all others are rounded to the nearest double.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// Whole.
    Int(i128),
    /// Any other.
    Float(f64),
}

impl From<raw::Number> for Number {
    fn from(number: raw::Number) -> Self {
        match number {
            raw::Number::Int(int) => Self::Int(int.into()),
            raw::Number::UInt(int) => Self::Int(int.into()),
            raw::Number::Double(double) => Self::Float(double),
        }
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        let int = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        int.map_or_else(|| Self::Float(number.as_f64().unwrap_or_default()), Self::Int)
    }
}

impl Number {
    /// Rounded to the nearest.
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    /// A text that equal numbers share, and others do not.
    pub(crate) fn canonical(self) -> String {
        match self {
            Self::Int(int) => int.to_string(),
            // The whole ones that an `i128` holds.
            Self::Float(float) if float.trunc() == float && float.abs() < 1e38 => {
                (float as i128).to_string()
            }
            Self::Float(float) => format!("{float:e}"),
        }
    }

    /// As JSON: whole numbers of up to 64 bits as such, others as doubles; `null` for what JSON
    /// has no text for.
    pub fn to_json(self) -> Value {
        let whole = |int: i128| {
            let signed = i64::try_from(int).map(Value::from).ok();
            signed.or_else(|| u64::try_from(int).map(Value::from).ok())
        };
        match self {
            Self::Int(int) => whole(int).unwrap_or_else(|| (int as f64).into()),
            Self::Float(float) => float.into(),
        }
    }
}

/// The sum: of whole numbers, a whole one.
impl std::ops::Add for Number {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => Self::Int(one.saturating_add(other)),
            // JSON has no text for what lies beyond.
            (one, other) => Self::Float((one.to_f64() + other.to_f64()).clamp(f64::MIN, f64::MAX)),
        }
    }
}

/// No number of JSON is NaN, so this is a total order.
impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Self::Int(one), Self::Int(other)) => one.cmp(&other),
            (Self::Float(one), Self::Float(other)) => {
                one.partial_cmp(&other).unwrap_or(Ordering::Equal)
            }
            (Self::Int(int), Self::Float(float)) => int_and_float(int, float),
            (Self::Float(float), Self::Int(int)) => int_and_float(int, float).reverse(),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

/// Exact: a double's whole part is an integer that an `i128` holds, unless it is farther out than
/// any whole number here.
fn int_and_float(int: i128, float: f64) -> Ordering {
    let whole = float.trunc();
    // Casts saturate.
    int.cmp(&(whole as i128)).then_with(|| {
        let rest = float - whole;
        0.0_f64.partial_cmp(&rest).unwrap_or(Ordering::Equal)
    })
}

/// Whether two values are the same: numbers by their value, objects whatever the order of their
/// fields.
pub fn is_same(raw: Raw<'_>, value: &Value) -> bool {
    let Ok(kind) = raw.kind() else { return false };
    match (kind, value) {
        (Kind::Null, Value::Null)
        | (Kind::True, Value::Bool(true))
        | (Kind::False, Value::Bool(false)) => true,
        (Kind::Number, Value::Number(number)) => {
            let own = raw.number().map(Number::from);
            own.is_ok_and(|own| own == number.into())
        }
        (Kind::String, Value::String(text)) => raw.is_string(text),
        (Kind::Array, Value::Array(values)) => {
            let (mut elements, mut values) = (raw.elements(), values.iter());
            loop {
                match (elements.try_next(), values.next()) {
                    (Ok(Some(element)), Some(value)) if is_same(element, value) => {}
                    (Ok(None), None) => return true,
                    _ => return false,
                }
            }
        }
        (Kind::Object, Value::Object(fields)) => {
            let (mut entries, mut count) = (raw.entries(), 0);
            loop {
                match entries.try_next() {
                    Ok(Some((name, inner))) => {
                        let Ok(name) = name.text() else { return false };
                        let is_there = fields.get(&*name).is_some_and(|own| is_same(inner, own));
                        if !is_there {
                            return false;
                        }
                        count += 1;
                    }
                    Ok(None) => return count == fields.len(),
                    Err(_) => return false,
                }
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_doubles_compare_by_value() {
        let (int, float) = (Number::Int, Number::Float);
        assert_eq!(int(1), float(1.0));
        assert_eq!(int(0), float(-0.0));
        assert!(int(1) < float(1.5) && float(0.5) < int(1) && int(-1) > float(-1.5));
        // The double is 9007199254740992.
        assert!(int(9_007_199_254_740_993) > float(9_007_199_254_740_993.0));
        assert!(
            int(i128::from(u64::MAX)) < float(1e300) && int(i128::from(i64::MIN)) > float(-1e300)
        );
        assert_eq!(int(i128::from(u64::MAX)).to_json(), serde_json::json!(u64::MAX));
        assert_eq!(float(2.0).to_json(), serde_json::json!(2.0));
        assert_eq!(float(-0.0).canonical(), int(0).canonical());
        assert_eq!(float(1e20).canonical(), int(100_000_000_000_000_000_000).canonical());
        assert_ne!(float(0.5).canonical(), float(0.25).canonical());
    }
}
