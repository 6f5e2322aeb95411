//! Numbers of JSON by their value, however they were written.

use std::cmp::Ordering;

use domain::raw;

/// A number: whole ones up to 64 bits are exact, all others are rounded to the nearest double.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Int(i128),
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
    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    /// As JSON: whole numbers of up to 64 bits as such, others as doubles; `null` for what JSON
    /// has no text for.
    pub(crate) fn to_json(self) -> serde_json::Value {
        let whole = |int: i128| {
            let signed = i64::try_from(int).map(serde_json::Value::from).ok();
            signed.or_else(|| u64::try_from(int).map(serde_json::Value::from).ok())
        };
        match self {
            Self::Int(int) => whole(int).unwrap_or_else(|| (int as f64).into()),
            Self::Float(float) => float.into(),
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
    }
}
