//! Takes a row apart, column by column, into the types of the domain.
//! A column that is not what its table says is corrupt, never a panic.

use bytes::Bytes;
use compact_str::CompactString;
use domain::Timestamp;

use crate::Error;
use crate::table::{Row, Table, Value};

/// The columns of one row, from the left.
pub(super) struct Fields {
    table: &'static Table,
    values: std::vec::IntoIter<Value>,
}

impl Fields {
    /// Starts at the column with this index.
    pub(super) fn from(table: &'static Table, row: Row, first: usize) -> Self {
        let mut values = row.into_iter();
        if let Some(last_skipped) = first.checked_sub(1) {
            values.nth(last_skipped);
        }
        Self { table, values }
    }

    /// What cannot be read as `what`.
    pub(super) fn corrupt(&self, what: &str) -> Error {
        Error::Corrupt { what: format!("table {}: not {what}", self.table.name) }
    }

    /// A text.
    pub(super) fn text(&mut self) -> Result<CompactString, Error> {
        match self.values.next() {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(self.corrupt("a text")),
        }
    }

    /// A text that says something of type `T`.
    pub(super) fn parsed<T, E>(&mut self, parse: fn(&str) -> Result<T, E>) -> Result<T, Error> {
        let text = self.text()?;
        parse(&text).map_err(|_| self.corrupt(std::any::type_name::<T>()))
    }

    /// A whole number; all 64 bits come back as they were stored.
    pub(super) fn number(&mut self) -> Result<u64, Error> {
        match self.values.next() {
            Some(Value::Int(int)) => Ok(int.cast_unsigned()),
            _ => Err(self.corrupt("a number")),
        }
    }

    /// A text, or nothing.
    pub(super) fn optional_text(&mut self) -> Result<Option<CompactString>, Error> {
        match self.values.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt("a text or nothing")),
        }
    }

    /// A whole number, or nothing.
    pub(super) fn optional_number(&mut self) -> Result<Option<u64>, Error> {
        match self.values.next() {
            Some(Value::Int(int)) => Ok(Some(int.cast_unsigned())),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt("a number or nothing")),
        }
    }

    /// A time.
    pub(super) fn time(&mut self) -> Result<Timestamp, Error> {
        self.number().map(|micros| Timestamp::from_micros(micros.cast_signed()))
    }

    /// A boolean.
    pub(super) fn boolean(&mut self) -> Result<bool, Error> {
        match self.values.next() {
            Some(Value::Bool(bool)) => Ok(bool),
            _ => Err(self.corrupt("a boolean")),
        }
    }

    /// JSON, or nothing.
    pub(super) fn json(&mut self) -> Result<Option<Bytes>, Error> {
        match self.values.next() {
            Some(Value::Json(json)) => Ok(Some(json)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt("JSON")),
        }
    }
}

/// A text as a value.
pub(super) fn text(text: &str) -> Value {
    Value::Text(CompactString::new(text))
}

/// A whole number as a value. What exceeds `i64` wraps, and [`Fields::number`] wraps it back.
pub(super) fn number(number: u64) -> Value {
    Value::Int(number.cast_signed())
}

/// A time as a value.
pub(super) fn time(time: Timestamp) -> Value {
    Value::Int(time.as_micros())
}
