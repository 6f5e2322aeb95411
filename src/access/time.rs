//! Timestamps and durations, as the language definition has them: nanoseconds, the years 1 to
//! 9999, durations of 10,000 years at most. Parts of a timestamp are those in UTC.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::evaluate::{Fault, Outcome};
use crate::node::{Binary, Part};
use crate::value::Value;

/// Seconds of the longest duration (`google.protobuf.Duration`).
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
/// Seconds of 0001-01-01T00:00:00Z since the epoch (`google.protobuf.Timestamp`).
const SECONDS_MIN: i64 = -62_135_596_800;
/// Bytes of a text that is read as a time at most.
const TEXT_BYTES_MAX: usize = 100;

/// `timestamp(…)`: of RFC 3339 text, or of seconds since the epoch.
pub(crate) fn timestamp<'v>(value: &Value<'v>) -> Outcome<'v> {
    let time = match value {
        Value::Timestamp(time) => *time,
        Value::Int(seconds) => Timestamp::from_second(*seconds).map_err(|_| Fault::Overflow)?,
        Value::Text(text) if text.as_str().len() <= TEXT_BYTES_MAX => {
            text.as_str().parse().map_err(|_| Fault::Conversion)?
        }
        Value::Text(_) => return Err(Fault::Conversion),
        _ => return Err(Fault::Type),
    };
    bounded_time(time)
}

/// `duration(…)`: of text such as `1h30m`, `-1.5s` or `10ms`.
pub(crate) fn duration<'v>(value: &Value<'v>) -> Outcome<'v> {
    match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::Text(text) => bounded(read_duration(text.as_str())?),
        _ => Err(Fault::Type),
    }
}

/// What may be added to and taken from times and durations.
pub(crate) fn arithmetic<'v>(operator: Binary, one: &Value<'v>, other: &Value<'v>) -> Outcome<'v> {
    match (operator, one, other) {
        (Binary::Add, Value::Timestamp(time), Value::Duration(duration))
        | (Binary::Add, Value::Duration(duration), Value::Timestamp(time)) => {
            bounded_time(time.checked_add(*duration).map_err(|_| Fault::Overflow)?)
        }
        (Binary::Subtract, Value::Timestamp(time), Value::Duration(duration)) => {
            bounded_time(time.checked_sub(*duration).map_err(|_| Fault::Overflow)?)
        }
        (Binary::Subtract, Value::Timestamp(one), Value::Timestamp(other)) => {
            bounded(one.duration_since(*other))
        }
        (Binary::Add, Value::Duration(one), Value::Duration(other)) => {
            bounded(one.checked_add(*other).ok_or(Fault::Overflow)?)
        }
        (Binary::Subtract, Value::Duration(one), Value::Duration(other)) => {
            bounded(one.checked_sub(*other).ok_or(Fault::Overflow)?)
        }
        _ => Err(Fault::Type),
    }
}

fn bounded<'v>(duration: SignedDuration) -> Outcome<'v> {
    if duration.as_secs().unsigned_abs() > DURATION_SECONDS_MAX.unsigned_abs() {
        return Err(Fault::Overflow);
    }
    Ok(Value::Duration(duration))
}

fn bounded_time<'v>(time: Timestamp) -> Outcome<'v> {
    if time.as_second() < SECONDS_MIN { Err(Fault::Overflow) } else { Ok(Value::Timestamp(time)) }
}

/// A part of a timestamp or of a duration. Months, and days of the week (from Sunday) and of the
/// year count from 0, as the language has it, and so do `getDayOfMonth`'s days.
pub(crate) fn part(part: Part, value: &Value<'_>) -> Result<i64, Fault> {
    let time = match value {
        Value::Timestamp(time) => time.to_zoned(TimeZone::UTC),
        Value::Duration(duration) => {
            return Ok(match part {
                Part::Hours => duration.as_secs() / 3_600,
                Part::Minutes => duration.as_secs() / 60,
                Part::Seconds => duration.as_secs(),
                Part::Milliseconds => i64::from(duration.subsec_millis()),
                _ => return Err(Fault::Type),
            });
        }
        _ => return Err(Fault::Type),
    };
    Ok(match part {
        Part::FullYear => i64::from(time.year()),
        Part::Month => i64::from(time.month()) - 1,
        Part::Date => i64::from(time.day()),
        Part::DayOfMonth => i64::from(time.day()) - 1,
        Part::DayOfWeek => i64::from(time.weekday().to_sunday_zero_offset()),
        Part::DayOfYear => i64::from(time.day_of_year()) - 1,
        Part::Hours => i64::from(time.hour()),
        Part::Minutes => i64::from(time.minute()),
        Part::Seconds => i64::from(time.second()),
        Part::Milliseconds => i64::from(time.millisecond()),
    })
}

/// Reads a duration: numbers, each with a unit of `h m s ms us ns`, and a sign before them all.
fn read_duration(text: &str) -> Result<SignedDuration, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Fault::Conversion);
    }
    let (is_negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(Fault::Conversion);
    }
    let mut nanos = 0_i128;
    while !rest.is_empty() {
        let is_unit = |char: char| !char.is_ascii_digit() && char != '.';
        let (number, after) = rest.split_at(rest.find(is_unit).ok_or(Fault::Conversion)?);
        let is_number = |char: char| char.is_ascii_digit() || char == '.';
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let unit = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return Err(Fault::Conversion),
        };
        nanos = nanos.checked_add(scaled(number, unit)?).ok_or(Fault::Overflow)?;
        rest = after;
    }
    let nanos = if is_negative { -nanos } else { nanos };
    let seconds = i64::try_from(nanos / 1_000_000_000).map_err(|_| Fault::Overflow)?;
    let below = i32::try_from(nanos % 1_000_000_000).map_err(|_| Fault::Overflow)?;
    Ok(SignedDuration::new(seconds, below))
}

/// A decimal number times a unit; what is below a nanosecond is cut.
fn scaled(number: &str, unit: i128) -> Result<i128, Fault> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(Fault::Conversion);
    }
    let mut sum = 0_i128;
    for digit in whole.bytes() {
        let digit = i128::from(digit - b'0');
        sum = sum.checked_mul(10).and_then(|sum| sum.checked_add(digit)).ok_or(Fault::Overflow)?;
    }
    sum = sum.checked_mul(unit).ok_or(Fault::Overflow)?;
    let mut below = 0_i128;
    // Enough digits for an hour's nanoseconds.
    for digit in fraction.bytes().take(13) {
        below = below * 10 + i128::from(digit - b'0');
    }
    let digits = u32::try_from(fraction.len().min(13)).unwrap_or(13);
    sum.checked_add(below * unit / 10_i128.pow(digits)).ok_or(Fault::Overflow)
}

/// `string(duration)`: seconds, with as many digits behind the point as there are.
pub(crate) fn print_duration(duration: SignedDuration) -> String {
    let nanos = duration.as_nanos();
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (seconds, below) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let below = format!("{below:09}");
    let below = below.trim_end_matches('0');
    let point = if below.is_empty() { "" } else { "." };
    format!("{sign}{seconds}{point}{below}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed() {
        for (text, printed) in [
            ("1h30m", "5400s"),
            ("-1.5s", "-1.5s"),
            ("10ms", "0.01s"),
            ("1us1ns", "0.000001001s"),
            ("0", "0s"),
            ("+.5h", "1800s"),
            ("0.0000000001s", "0s"),
            ("1m0.25s", "60.25s"),
        ] {
            assert_eq!(print_duration(read_duration(text).unwrap()), printed, "{text}");
        }
        for text in ["", "-", "1", "s", "1x", "1..5s", ".s", "1 s", "1h-3m", "é", "1é"] {
            assert_eq!(read_duration(text), Err(Fault::Conversion), "{text}");
        }
        let many = "9".repeat(60);
        assert_eq!(read_duration(&format!("{many}h")), Err(Fault::Overflow));
        assert_eq!(read_duration(&"1h".repeat(60)), Err(Fault::Conversion));
    }
}
