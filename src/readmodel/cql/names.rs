//! The names of tables and the text of statements. Every name is quoted, so that no column can be
//! taken for a keyword.

use std::fmt::Write as _;

use crate::table::{Column, Kind, Table};

/// The longest keyspace name that both databases take.
const KEYSPACE_BYTES_MAX: usize = 48;

/// Whether this can name a keyspace: lower-case letters, digits and underscores.
pub(super) fn is_keyspace(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.len() <= KEYSPACE_BYTES_MAX
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
}

/// The CQL table of one generation: `documents_v1`, or `documents_v1_r2` for the second rebuild.
pub(super) fn table_name(table: &Table, generation: u32) -> String {
    let (version, count) = (generation >> 16, generation & 0xffff);
    match count {
        0 => format!("{}_v{version}", table.name),
        count => format!("{}_v{version}_r{count}", table.name),
    }
}

/// A list of columns, for a statement.
fn list(columns: impl IntoIterator<Item = &'static Column>) -> String {
    join(columns, ", ", |column| format!("\"{}\"", column.name))
}

fn join(
    columns: impl IntoIterator<Item = &'static Column>,
    separator: &str,
    each: impl Fn(&Column) -> String,
) -> String {
    columns.into_iter().map(each).collect::<Vec<_>>().join(separator)
}

fn all(table: &'static Table) -> impl Iterator<Item = &'static Column> {
    keys(table).chain(table.columns)
}

fn keys(table: &'static Table) -> impl Iterator<Item = &'static Column> {
    table.partition_key.iter().chain(table.clustering_key)
}

fn equals(columns: impl IntoIterator<Item = &'static Column>) -> String {
    join(columns, " AND ", |column| format!("\"{}\" = ?", column.name))
}

fn cql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Json => "text",
        Kind::Int | Kind::Time => "bigint",
        Kind::Bool => "boolean",
    }
}

/// How long deletions of short-lived rows are kept: time enough to reach a copy that was away for a
/// moment.
const SHORT_LIVED_GRACE_SECONDS: u32 = 3600;

/// Makes a table. `name` is qualified and quoted, here and below.
pub(super) fn create(table: &'static Table, name: &str) -> String {
    let columns = join(all(table), ", ", |c| format!("\"{}\" {}", c.name, cql_type(c.kind)));
    let mut key = format!("({})", list(table.partition_key));
    for column in table.clustering_key {
        let _ = write!(key, ", \"{}\"", column.name);
    }
    let mut text = format!("CREATE TABLE IF NOT EXISTS {name} ({columns}, PRIMARY KEY ({key}))");
    if table.short_lived {
        let _ = write!(text, " WITH gc_grace_seconds = {SHORT_LIVED_GRACE_SECONDS}");
    }
    text
}

/// Binds every column, then the timestamp.
pub(super) fn put(table: &'static Table, name: &str) -> String {
    let marks = join(all(table), ", ", |_| "?".to_owned());
    format!("INSERT INTO {name} ({}) VALUES ({marks}) USING TIMESTAMP ?", list(all(table)))
}

/// Binds the timestamp, then every key column.
pub(super) fn delete(table: &'static Table, name: &str) -> String {
    format!("DELETE FROM {name} USING TIMESTAMP ? WHERE {}", equals(keys(table)))
}

/// Binds every key column.
pub(super) fn get(table: &'static Table, name: &str) -> String {
    format!("SELECT {} FROM {name} WHERE {}", list(all(table)), equals(keys(table)))
}

/// Which rows of one partition a statement selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// Key columns that are given.
    pub(super) prefix_len: usize,
    /// Whether only rows past some values of the others are wanted.
    pub(super) after: bool,
    /// From the largest key down.
    pub(super) reverse: bool,
}

/// Binds the given key columns, then those of `after`.
pub(super) fn select(table: &'static Table, name: &str, shape: Shape) -> String {
    let given = keys(table).take(shape.prefix_len);
    let mut text = format!("SELECT {} FROM {name} WHERE {}", list(all(table)), equals(given));
    if shape.after {
        let rest = || keys(table).skip(shape.prefix_len);
        let (sign, marks) =
            (if shape.reverse { '<' } else { '>' }, join(rest(), ", ", |_| "?".into()));
        let _ = write!(text, " AND ({}) {sign} ({marks})", list(rest()));
    }
    if shape.reverse && !table.clustering_key.is_empty() {
        let order = join(table.clustering_key, ", ", |c| format!("\"{}\" DESC", c.name));
        let _ = write!(text, " ORDER BY {order}");
    }
    text
}

/// Every partition key, in no order of ours.
pub(super) fn partitions(table: &'static Table, name: &str) -> String {
    format!("SELECT DISTINCT {} FROM {name}", list(table.partition_key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{DOCUMENTS, HISTORY, IDEMPOTENCY_BY_TIME};

    #[test]
    fn tables_are_named_by_version_and_rebuild() {
        assert_eq!(table_name(&DOCUMENTS, 1 << 16), "documents_v1");
        assert_eq!(table_name(&DOCUMENTS, (2 << 16) + 3), "documents_v2_r3");
    }

    #[test]
    fn statements_name_every_column() {
        assert_eq!(
            create(&HISTORY, "k.h"),
            "CREATE TABLE IF NOT EXISTS k.h (\"project\" text, \"collection\" text, \"id\" text, \
             \"version\" bigint, \"offset\" bigint, \"time\" bigint, \"kind\" text, \
             PRIMARY KEY ((\"project\", \"collection\"), \"id\", \"version\"))"
        );
        assert!(create(&IDEMPOTENCY_BY_TIME, "k.i").ends_with(") WITH gc_grace_seconds = 3600"));
        assert_eq!(
            delete(&HISTORY, "k.h"),
            "DELETE FROM k.h USING TIMESTAMP ? WHERE \"project\" = ? AND \"collection\" = ? AND \
             \"id\" = ? AND \"version\" = ?"
        );
        let shape = Shape { prefix_len: 3, after: true, reverse: true };
        assert!(
            select(&HISTORY, "k.h", shape)
                .ends_with("AND (\"version\") < (?) ORDER BY \"id\" DESC, \"version\" DESC")
        );
    }

    #[test]
    fn keyspaces_have_plain_names() {
        assert!(is_keyspace("headwater_2"));
        for name in ["", "2h", "Headwater", "a-b", "a\"b", &"k".repeat(49)] {
            assert!(!is_keyspace(name), "{name}");
        }
    }
}
