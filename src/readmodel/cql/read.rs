//! Reads: one row, a range of a partition in pages, a whole table, a digest. Pages are bounded by
//! rows at first, and by bytes once it is known how large rows are.

use std::sync::Arc;

use domain::PartitionId;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::prepared::PreparedStatement;

use super::Shared;
use super::names::Shape;
use super::tables::{Generation, Prepared};
use super::values::{self, Bound, Extra};
use crate::digest::Fingerprint;
use crate::{Error, Row, Scan, Table, Value, codec};

/// Rows in the first page; later ones are as long as their bytes allow.
const PAGE_ROWS_FIRST: usize = 64;
/// Rows in one page at most.
const PAGE_ROWS_MAX: usize = 5_000;
/// Bytes in one page, about.
const PAGE_BYTES: usize = 1 << 20;
/// Partitions that a whole-table read asks for at once.
const PARTITIONS_AT_ONCE: usize = 32;

/// Whether the partition key is one empty text. CQL has no such partition.
pub(super) fn has_no_partition(table: &Table, key: &[Value]) -> bool {
    matches!((table.partition_key, key.first()), ([_], Some(Value::Text(text))) if text.is_empty())
}

/// One row by its full key.
pub(super) async fn get(
    shared: &Shared,
    generation: &Generation,
    table: &'static Table,
    key: &[Value],
) -> Result<Option<Row>, Error> {
    codec::encode_key(table, key)?;
    let prepared = generation.of(table)?;
    if has_no_partition(table, key) {
        return Ok(None);
    }
    let bound = Bound { values: key, extra: Extra::None };
    let answer = shared.client.execute("reading a row", &prepared.get, bound).await?;
    let columns = table.partition_key.iter().chain(table.clustering_key).chain(table.columns);
    Ok(values::rows(table, columns, answer)?.0.pop())
}

/// A partition of the log's rows among those of all.
pub(super) struct Rows {
    pub(super) shared: Arc<Shared>,
    pub(super) generation: Arc<Generation>,
    pub(super) partition: PartitionId,
}

impl Rows {
    /// Rows below a prefix, in key order.
    pub(super) async fn scan(&self, table: &'static Table, scan: &Scan) -> Result<Vec<Row>, Error> {
        let range = codec::range(table, scan)?;
        let prepared = self.generation.of(table)?;
        if scan.limit == 0 || range.is_empty() {
            return Ok(Vec::new());
        }
        if scan.prefix.is_empty() {
            return self.whole(prepared, scan).await;
        }
        let Some(mut pages) = self.pages(prepared, scan).await? else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        while let Some(page) = pages.next(&self.shared).await? {
            rows.extend(page);
        }
        Ok(rows)
    }

    /// The pages of a scan below a whole partition key; `None` where there can be no row.
    async fn pages(&self, prepared: &Prepared, scan: &Scan) -> Result<Option<Pages>, Error> {
        let table = prepared.table;
        if has_no_partition(table, &scan.prefix) {
            return Ok(None);
        }
        // Where it lies outside the prefix it leaves all rows or none, and none was seen to.
        let after = scan.after.as_ref().filter(|after| after.starts_with(&scan.prefix));
        let prefix_len = scan.prefix.len();
        if after.is_some() && prefix_len == table.key_len() {
            return Ok(None);
        }
        let shape = Shape { prefix_len, after: after.is_some(), reverse: scan.reverse };
        let statement = prepared.select(&self.shared.client, shape).await?;
        let mut values = scan.prefix.clone();
        values.extend(after.iter().flat_map(|after| &after[prefix_len..]).cloned());
        Ok(Some(Pages {
            table,
            statement,
            values,
            left: scan.limit,
            state: Some(PagingState::start()),
            page_rows: PAGE_ROWS_FIRST,
        }))
    }

    /// Rows of the whole table in key order: the partition keys first, sorted, and then the rows of
    /// each.
    async fn whole(&self, prepared: &Prepared, scan: &Scan) -> Result<Vec<Row>, Error> {
        let table = prepared.table;
        let mut partitions = self.partitions(prepared).await?;
        if scan.reverse {
            partitions.reverse();
        }
        if let Some(after) = &scan.after {
            let last = codec::encode_prefix(table, &after[..table.partition_key.len()])?;
            let done = |key: &Vec<u8>| if scan.reverse { *key > last } else { *key < last };
            partitions.retain(|(key, _)| !done(key));
        }
        let scans = partitions.into_iter().map(|(_, prefix)| {
            let after = scan.after.clone().filter(|after| after.starts_with(&prefix));
            Scan { prefix, after, ..scan.clone() }
        });
        let mut firsts = stream::iter(scans)
            .map(|below| async move { self.first_page(prepared, below).await })
            .buffered(PARTITIONS_AT_ONCE);
        let mut rows = Vec::new();
        while let Some((page, mut pages)) = firsts.try_next().await? {
            rows.extend(page);
            while rows.len() < scan.limit
                && let Some(page) = pages.next(&self.shared).await?
            {
                rows.extend(page);
            }
            if rows.len() >= scan.limit {
                rows.truncate(scan.limit);
                break;
            }
        }
        Ok(rows)
    }

    /// The first page of a partition, and how to go on.
    async fn first_page(
        &self,
        prepared: &Prepared,
        below: Scan,
    ) -> Result<(Vec<Row>, Pages), Error> {
        match self.pages(prepared, &below).await? {
            Some(mut pages) => {
                let page = pages.next(&self.shared).await?.unwrap_or_default();
                Ok((page, pages))
            }
            None => Ok((Vec::new(), Pages::none(prepared))),
        }
    }

    /// The keys of all CQL partitions that belong here, in key order, encoded and as they are.
    async fn partitions(&self, prepared: &Prepared) -> Result<Vec<(Vec<u8>, Vec<Value>)>, Error> {
        let table = prepared.table;
        let mut pages = Pages {
            statement: prepared.partitions.clone(),
            left: usize::MAX,
            state: Some(PagingState::start()),
            page_rows: PAGE_ROWS_MAX,
            ..Pages::none(prepared)
        };
        let mut keys = Vec::new();
        while let Some(page) = pages.keys(&self.shared).await? {
            for key in page {
                let Some(Value::Text(first)) = key.first() else {
                    let reason = "its first key column must be a text".to_owned();
                    return Err(Error::Invalid { table: table.name, reason });
                };
                if (self.shared.belongs)(first, self.partition) {
                    keys.push((codec::encode_prefix(table, &key)?, key));
                }
            }
        }
        keys.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(keys)
    }

    /// The digest of every row, table by table and partition by partition, which is key order.
    pub(super) async fn digest(&self) -> Result<[u8; 32], Error> {
        let mut fingerprint = Fingerprint::default();
        for prepared in self.generation.by_number() {
            let table = prepared.table;
            let partitions = self.partitions(prepared).await?;
            let mut firsts = stream::iter(partitions)
                .map(|(_, prefix)| async move {
                    let below = Scan { prefix, limit: usize::MAX, ..Scan::default() };
                    self.first_page(prepared, below).await
                })
                .buffered(PARTITIONS_AT_ONCE);
            while let Some((page, mut pages)) = firsts.try_next().await? {
                let mut page = Some(page);
                while let Some(rows) = page {
                    for row in rows {
                        let key = codec::encode_key(table, &row[..table.key_len()])?;
                        fingerprint.add(&key, &codec::encode_row(table, &row)?);
                    }
                    page = pages.next(&self.shared).await?;
                }
            }
        }
        Ok(fingerprint.finish())
    }
}

/// A select that goes on, page by page.
struct Pages {
    table: &'static Table,
    statement: PreparedStatement,
    values: Vec<Value>,
    /// Rows that are still wanted. Not a `LIMIT`, which databases count anew when the size of
    /// pages changes.
    left: usize,
    /// Where the next page begins; `None` after the last.
    state: Option<PagingState>,
    /// Rows in the next page at most.
    page_rows: usize,
}

impl Pages {
    /// One that has ended.
    fn none(prepared: &Prepared) -> Self {
        Self {
            table: prepared.table,
            statement: prepared.get.clone(),
            values: Vec::new(),
            left: 0,
            state: None,
            page_rows: 0,
        }
    }

    /// The next rows; `None` after the last.
    async fn next(&mut self, shared: &Shared) -> Result<Option<Vec<Row>>, Error> {
        let table = self.table;
        let columns = table.partition_key.iter().chain(table.clustering_key).chain(table.columns);
        self.page(shared, columns).await
    }

    /// The next partition keys; `None` after the last.
    async fn keys(&mut self, shared: &Shared) -> Result<Option<Vec<Row>>, Error> {
        self.page(shared, self.table.partition_key.iter()).await
    }

    async fn page(
        &mut self,
        shared: &Shared,
        columns: impl Iterator<Item = &'static crate::Column> + Clone,
    ) -> Result<Option<Vec<Row>>, Error> {
        let Some(state) = self.state.take() else { return Ok(None) };
        let wanted = self.page_rows.min(self.left);
        self.statement.set_page_size(i32::try_from(wanted).unwrap_or(i32::MAX));
        let bound = Bound { values: &self.values, extra: Extra::None };
        let (statement, session) = (&self.statement, &shared.client.session);
        let page = shared.client.repeat("reading rows", || {
            session.execute_single_page(statement, bound, state.clone())
        });
        let (answer, next) = page.await?;
        let (mut rows, bytes) = values::rows(self.table, columns, answer)?;
        rows.truncate(self.left);
        self.left -= rows.len();
        if let PagingStateResponse::HasMorePages { state } = next
            && self.left > 0
        {
            self.state = Some(state);
        }
        let each = (bytes / rows.len().max(1)).max(1);
        self.page_rows = (PAGE_BYTES / each).clamp(1, PAGE_ROWS_MAX);
        Ok(Some(rows))
    }
}
