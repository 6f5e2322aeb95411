//! Values to CQL and back, without copies in between: what is bound goes straight into the
//! request, and JSON that comes back shares the memory of the answer.

use compact_str::CompactString;
use scylla::deserialize::FrameSlice;
use scylla::deserialize::row::ColumnIterator;
use scylla::response::query_result::QueryResult;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;

use super::failure::corrupt;
use crate::Error;
use crate::table::{Column, Kind, Row, Table, Value};

/// What a statement binds beside values.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extra {
    /// Nothing.
    None,
    /// A timestamp before the values.
    First(i64),
    /// A timestamp after the values.
    Last(i64),
}

/// What a statement binds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'a> {
    pub(super) values: &'a [Value],
    pub(super) extra: Extra,
}

impl SerializeRow for Bound<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        if let Extra::First(timestamp) = self.extra {
            write(writer, &timestamp.to_be_bytes())?;
        }
        for value in self.values {
            match value {
                Value::Text(text) => write(writer, text.as_bytes())?,
                Value::Int(int) => write(writer, &int.to_be_bytes())?,
                Value::Bool(bool) => write(writer, &[u8::from(*bool)])?,
                Value::Json(json) => write(writer, json)?,
                Value::Null => {
                    writer.make_cell_writer().set_null();
                }
            }
        }
        match self.extra {
            Extra::Last(timestamp) => write(writer, &timestamp.to_be_bytes()),
            Extra::None | Extra::First(_) => Ok(()),
        }
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty() && matches!(self.extra, Extra::None)
    }
}

fn write(writer: &mut RowWriter<'_>, bytes: &[u8]) -> Result<(), SerializationError> {
    let written = writer.make_cell_writer().set_value(bytes);
    written.map(drop).map_err(SerializationError::new)
}

/// The rows of an answer that has these columns, and how many bytes they take.
pub(super) fn rows(
    table: &'static Table,
    columns: impl Iterator<Item = &'static Column> + Clone,
    answer: QueryResult,
) -> Result<(Vec<Row>, usize), Error> {
    let bad = |reason: &dyn std::fmt::Display| corrupt(table.name, reason);
    let answer = answer.into_rows_result().map_err(|e| bad(&e))?;
    let mut rows = Vec::with_capacity(answer.rows_num());
    for found in answer.rows::<ColumnIterator<'_, '_>>().map_err(|e| bad(&e))? {
        let mut found = found.map_err(|e| bad(&e))?;
        let mut row = Row::with_capacity(table.row_len());
        for column in columns.clone() {
            let raw = found.next().ok_or_else(|| bad(&"a column is missing"))?;
            let raw = raw.map_err(|e| bad(&e))?.slice;
            row.push(value(column, raw).ok_or_else(|| bad(&format!("not a {}", column.name)))?);
        }
        rows.push(row);
    }
    Ok((rows, answer.rows_bytes_size()))
}

fn value(column: &Column, raw: Option<FrameSlice<'_>>) -> Option<Value> {
    let Some(raw) = raw else { return Some(Value::Null) };
    Some(match column.kind {
        Kind::Text => Value::Text(CompactString::from_utf8(raw.as_slice()).ok()?),
        Kind::Json => Value::Json(raw.to_bytes()),
        Kind::Int | Kind::Time => Value::Int(i64::from_be_bytes(raw.as_slice().try_into().ok()?)),
        Kind::Bool => match raw.as_slice() {
            [0] => Value::Bool(false),
            [_] => Value::Bool(true),
            _ => return None,
        },
    })
}
