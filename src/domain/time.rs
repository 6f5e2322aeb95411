//! Times as the API shows them: RFC 3339 in UTC with microseconds. Made outside and passed in;
//! nothing here reads a clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds since 1970-01-01T00:00:00Z, between the years 0000 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time, or lies outside the years 0000–9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time: expected RFC 3339, for example 2026-01-31T12:00:00.000000Z")]
pub struct InvalidTime;

const MICROS_MIN: i64 = -62_167_219_200_000_000;
// The last second that jiff knows is not whole to it.
const MICROS_MAX: i64 = 253_402_207_199_999_999;

impl Timestamp {
    /// From microseconds since the epoch; clamped to the years 0000–9999, which RFC 3339 can
    /// print.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(MICROS_MIN, MICROS_MAX))
    }

    /// Microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = jiff::Timestamp::from_microsecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{stamp:.6}")
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let stamp: jiff::Timestamp = text.parse().map_err(|_| InvalidTime)?;
        let micros = stamp.as_microsecond();
        if !(MICROS_MIN..=MICROS_MAX).contains(&micros) {
            return Err(InvalidTime);
        }
        Ok(Self(micros))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_six_digits_and_reads_offsets() {
        let time: Timestamp = "2026-01-31T13:00:00+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-01-31T12:00:00.000000Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert!("2026-01-31".parse::<Timestamp>().is_err());
    }

    #[test]
    fn the_oldest_and_the_newest_can_be_printed() {
        for micros in [i64::MIN, i64::MAX] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
    }

    proptest! {
        #[test]
        fn text_and_micros_agree(micros in MICROS_MIN..=MICROS_MAX) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
    }
}
