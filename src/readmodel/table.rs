//! What a table is: declared once in code, served by every engine.

use bytes::Bytes;
use compact_str::CompactString;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text; CQL `text`.
    Text,
    /// Signed 64-bit; CQL `bigint`.
    Int,
    /// Microseconds since the epoch; CQL `bigint`.
    Time,
    /// CQL `boolean`.
    Bool,
    /// JSON text, kept as it is; CQL `text`.
    Json,
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name, in snake case.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
}

/// One table. Rows are found by partition key, and ordered by clustering key within it.
#[derive(Debug)]
pub struct Table {
    /// Stable number below 255, part of the embedded key; never used again for another table of
    /// the same consumer.
    pub number: u8,
    /// Its name, in snake case.
    pub name: &'static str,
    /// Columns that a read must name.
    pub partition_key: &'static [Column],
    /// Columns that order the rows below it.
    pub clustering_key: &'static [Column],
    /// The rest.
    pub columns: &'static [Column],
    /// Whether its rows are deleted by the million, and one that comes back does no harm: engines
    /// that keep deletions, lest a copy that missed one brings the row back, keep them shortly.
    pub short_lived: bool,
}

impl Table {
    /// How many columns the full key has.
    pub fn key_len(&self) -> usize {
        self.partition_key.len() + self.clustering_key.len()
    }

    /// How many columns a row has.
    pub fn row_len(&self) -> usize {
        self.key_len() + self.columns.len()
    }
}

/// The tables of one consumer, for engines that must make them before the first row comes.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// The consumer's name.
    pub consumer: &'static str,
    /// The version of its tables: the upper half of the generations that it builds.
    pub version: u16,
    /// Its tables.
    pub tables: &'static [&'static Table],
}

/// One value; its kind must be its column's. Key columns are Text, Int or Time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// For [`Kind::Text`].
    Text(CompactString),
    /// For [`Kind::Int`] and [`Kind::Time`].
    Int(i64),
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Json`].
    Json(Bytes),
    /// No value; not in a key.
    Null,
}

/// All values of a row: key columns first, in the table's order.
pub type Row = Vec<Value>;
