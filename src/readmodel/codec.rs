//! How keys and rows become bytes, the same for every engine that keeps bytes, and for digests.
//! Encoded keys order as their tuples of columns do, and no key of a table is a prefix of another.
//! Decoding never panics, whatever it is given.

use bytes::Bytes;
use compact_str::CompactString;

use crate::table::{Column, Kind, Row, Table, Value};
use crate::{Error, Scan};

/// No table has this number: engines keep what is not a row there.
pub(crate) const NUMBER_RESERVED: u8 = u8::MAX;
/// Ends a text in a key. Sorts before every escaped or plain byte, so `a` comes before `ab`.
const TEXT_END: [u8; 2] = [0x00, 0x00];
/// Stands for a zero byte within a text in a key.
const TEXT_ZERO: [u8; 2] = [0x00, 0xFF];
/// The longest key, in bytes; what engines take at most.
const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// Turns two's complement into an order of unsigned bytes.
const SIGN: u64 = 1 << 63;

fn invalid(table: &'static Table, reason: impl Into<String>) -> Error {
    Error::Invalid { table: table.name, reason: reason.into() }
}

fn corrupt(table: &Table, reason: &str) -> Error {
    Error::Corrupt { what: format!("table {}: {reason}", table.name) }
}

/// The full key: table number, then every key column. Errors when `key` does not fit the table.
pub(crate) fn encode_key(table: &'static Table, key: &[Value]) -> Result<Vec<u8>, Error> {
    if key.len() != table.key_len() {
        return Err(invalid(table, format!("{} of {} key columns", key.len(), table.key_len())));
    }
    let encoded = encode_prefix(table, key)?;
    if encoded.len() > KEY_BYTES_MAX {
        return Err(invalid(table, format!("a key of {} bytes", encoded.len())));
    }
    Ok(encoded)
}

/// What the keys below `prefix` start with: table number, then the columns that are given.
pub(crate) fn encode_prefix(table: &'static Table, prefix: &[Value]) -> Result<Vec<u8>, Error> {
    if table.number == NUMBER_RESERVED {
        return Err(invalid(table, "the number 255 is reserved"));
    }
    if prefix.len() > table.key_len() {
        return Err(invalid(table, "more values than key columns"));
    }
    let mut out = Vec::with_capacity(64);
    out.push(table.number);
    for (column, value) in key_columns(table).zip(prefix) {
        match (column.kind, value) {
            (Kind::Text, Value::Text(text)) => push_text(&mut out, text),
            (Kind::Int | Kind::Time, Value::Int(int)) => {
                out.extend_from_slice(&(int.cast_unsigned() ^ SIGN).to_be_bytes());
            }
            _ => return Err(misfit(table, column, value)),
        }
    }
    Ok(out)
}

/// The first key past every key that starts with `prefix`; `None` when there is no such key.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

/// The keys that a scan may touch: at or above `start` (`start_excluded`: above), below `end`.
#[derive(Debug)]
pub(crate) struct Range {
    /// The lowest key.
    pub(crate) start: Vec<u8>,
    /// Whether `start` itself is left out.
    pub(crate) start_excluded: bool,
    /// Past the highest key; `None` for no end.
    pub(crate) end: Option<Vec<u8>>,
}

impl Range {
    /// Whether no key can lie in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// The keys of a scan. Errors when prefix or `after` do not fit the table.
pub(crate) fn range(table: &'static Table, scan: &Scan) -> Result<Range, Error> {
    if !scan.prefix.is_empty() && scan.prefix.len() < table.partition_key.len() {
        return Err(invalid(table, "a scan needs the whole partition key, or none of it"));
    }
    let start = encode_prefix(table, &scan.prefix)?;
    let end = prefix_end(&start);
    let mut range = Range { start, start_excluded: false, end };
    let Some(after) = &scan.after else { return Ok(range) };
    let after = encode_key(table, after)?;
    if scan.reverse {
        if range.end.as_ref().is_none_or(|end| after < *end) {
            range.end = Some(after);
        }
    } else if after >= range.start {
        range.start = after;
        range.start_excluded = true;
    }
    Ok(range)
}

/// Errors when `row` does not fit the table. Its key is `encode_key`'s to check.
#[cfg(feature = "cql")]
pub(crate) fn check_row(table: &'static Table, row: &[Value]) -> Result<(), Error> {
    check_len(table, row)?;
    for (column, value) in table.columns.iter().zip(&row[table.key_len()..]) {
        match (column.kind, value) {
            (_, Value::Null)
            | (Kind::Text, Value::Text(_))
            | (Kind::Json, Value::Json(_))
            | (Kind::Int | Kind::Time, Value::Int(_))
            | (Kind::Bool, Value::Bool(_)) => {}
            _ => return Err(misfit(table, column, value)),
        }
    }
    Ok(())
}

fn check_len(table: &'static Table, row: &[Value]) -> Result<(), Error> {
    if row.len() != table.row_len() {
        return Err(invalid(table, format!("{} of {} columns", row.len(), table.row_len())));
    }
    Ok(())
}

/// The columns that are not in the key. Errors when `row` does not fit the table.
pub(crate) fn encode_row(table: &'static Table, row: &[Value]) -> Result<Vec<u8>, Error> {
    check_len(table, row)?;
    let values = &row[table.key_len()..];
    let mut out = Vec::with_capacity(values.iter().map(size_hint).sum());
    out.resize(null_bytes(table), 0);
    for (i, (column, value)) in table.columns.iter().zip(values).enumerate() {
        match (column.kind, value) {
            (_, Value::Null) => out[i / 8] |= 1 << (i % 8),
            (Kind::Text, Value::Text(text)) => push_bytes(&mut out, text.as_bytes()),
            (Kind::Json, Value::Json(json)) => push_bytes(&mut out, json),
            (Kind::Int | Kind::Time, Value::Int(int)) => push_varint(&mut out, zigzag(*int)),
            (Kind::Bool, Value::Bool(bool)) => out.push(u8::from(*bool)),
            _ => return Err(misfit(table, column, value)),
        }
    }
    Ok(out)
}

/// Appends the columns that are not in the key to `row`. JSON shares the memory of `stored`.
pub(crate) fn decode_row(
    table: &'static Table,
    stored: &Bytes,
    row: &mut Row,
) -> Result<(), Error> {
    let short = || corrupt(table, "a row ends early");
    let (nulls, mut rest) = stored.split_at_checked(null_bytes(table)).ok_or_else(short)?;
    for (i, column) in table.columns.iter().enumerate() {
        if nulls[i / 8] & (1 << (i % 8)) != 0 {
            row.push(Value::Null);
            continue;
        }
        row.push(match column.kind {
            Kind::Int | Kind::Time => {
                Value::Int(unzigzag(take_varint(&mut rest).ok_or_else(short)?))
            }
            Kind::Bool => match take(&mut rest, 1).ok_or_else(short)? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return Err(corrupt(table, "a boolean is neither 0 nor 1")),
            },
            Kind::Text => {
                let text = take_bytes(&mut rest).ok_or_else(short)?;
                let text = CompactString::from_utf8(text);
                Value::Text(text.map_err(|_| corrupt(table, "a text is not UTF-8"))?)
            }
            Kind::Json => {
                let json = take_bytes(&mut rest).ok_or_else(short)?;
                Value::Json(stored.slice_ref(json))
            }
        });
    }
    if rest.is_empty() { Ok(()) } else { Err(corrupt(table, "a row has bytes left over")) }
}

/// The key columns of a full key, with room for a whole row.
pub(crate) fn decode_key(table: &'static Table, key: &[u8]) -> Result<Row, Error> {
    let bad = || corrupt(table, "a key does not fit");
    let mut row = Row::with_capacity(table.row_len());
    let mut rest = key.strip_prefix(&[table.number]).ok_or_else(bad)?;
    for column in key_columns(table) {
        row.push(match column.kind {
            Kind::Text => Value::Text(take_text(&mut rest).ok_or_else(bad)?),
            Kind::Int | Kind::Time => {
                let bytes = take(&mut rest, 8).and_then(|b| b.first_chunk()).ok_or_else(bad)?;
                Value::Int((u64::from_be_bytes(*bytes) ^ SIGN).cast_signed())
            }
            Kind::Bool | Kind::Json => return Err(invalid(table, "a key column of this kind")),
        });
    }
    if rest.is_empty() { Ok(row) } else { Err(bad()) }
}

fn key_columns(table: &'static Table) -> impl Iterator<Item = &'static Column> {
    table.partition_key.iter().chain(table.clustering_key)
}

fn misfit(table: &'static Table, column: &Column, value: &Value) -> Error {
    invalid(table, format!("column {} is {:?}, not {value:?}", column.name, column.kind))
}

fn null_bytes(table: &Table) -> usize {
    table.columns.len().div_ceil(8)
}

fn size_hint(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() + 5,
        Value::Json(json) => json.len() + 5,
        Value::Int(_) => 10,
        Value::Bool(_) | Value::Null => 1,
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    let mut parts = text.as_bytes().split(|byte| *byte == 0);
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        out.extend_from_slice(&TEXT_ZERO);
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&TEXT_END);
}

fn take_text(rest: &mut &[u8]) -> Option<CompactString> {
    let mut unescaped = Vec::new();
    loop {
        let zero = rest.iter().position(|byte| *byte == 0)?;
        let part = take(rest, zero)?;
        let mark = take(rest, 2)?;
        if mark == TEXT_END && unescaped.is_empty() {
            return CompactString::from_utf8(part).ok();
        }
        unescaped.extend_from_slice(part);
        if mark == TEXT_END {
            return CompactString::from_utf8(unescaped).ok();
        }
        if mark != TEXT_ZERO {
            return None;
        }
        unescaped.push(0);
    }
}

fn zigzag(int: i64) -> u64 {
    ((int << 1) ^ (int >> 63)).cast_unsigned()
}

fn unzigzag(coded: u64) -> i64 {
    (coded >> 1).cast_signed() ^ -((coded & 1).cast_signed())
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(rest)?).ok()?;
    take(rest, len)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests;
