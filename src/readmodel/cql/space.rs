//! One space: a partition's rows in the tables that all partitions share, and how far it has read.
//! Every write carries the offset of its event as its timestamp, so it may come twice, late, or
//! from a node that has been replaced: the newest event wins, whatever comes last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::Offset;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryStreamExt as _};
use scylla::statement::batch::{Batch as CqlBatch, BatchStatement, BatchType};

use super::Shared;
use super::read;
use super::tables::{Generation, Prepared};
use super::values::{Bound, Extra};
use crate::{Batch, Error, Reader, Row, Scan, SpaceId, Table, Value, Write, codec};

/// Rows in one batch at most.
const BATCH_ROWS_MAX: usize = 64;
/// Bytes of values in one batch at most, but for a row that is larger by itself. Databases warn
/// of larger batches, and refuse much larger ones.
const BATCH_BYTES_MAX: usize = 48 << 10;

pub(super) struct Space {
    shared: Arc<Shared>,
    id: SpaceId,
    generation: Arc<Generation>,
    removed: AtomicBool,
}

impl Space {
    pub(super) fn new(shared: Arc<Shared>, id: SpaceId, generation: Arc<Generation>) -> Self {
        Self { shared, id, generation, removed: AtomicBool::new(false) }
    }

    /// Refuses commits from now on.
    pub(super) fn mark_removed(&self) {
        self.removed.store(true, Ordering::Release);
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.shared.is_closed() || self.removed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    async fn store(&self, writes: &[Checked<'_>]) -> Result<(), Error> {
        let mut under_way = FuturesUnordered::new();
        for rows in pieces(writes) {
            if under_way.len() >= self.shared.in_flight_max {
                under_way.next().await.transpose()?;
            }
            under_way.push(self.send(rows));
        }
        under_way.try_collect().await
    }

    /// Stores rows of one partition, all of them or none.
    async fn send(&self, rows: &[Checked<'_>]) -> Result<(), Error> {
        const WHAT: &str = "storing rows";
        let client = &self.shared.client;
        if let [row] = rows {
            return client.execute(WHAT, row.statement(), row.bound()).await.map(drop);
        }
        let statements = rows.iter().map(|row| BatchStatement::from(row.statement().clone()));
        let mut batch = CqlBatch::new_with_statements(BatchType::Unlogged, statements.collect());
        batch.set_is_idempotent(true);
        let values: Vec<_> = rows.iter().map(Checked::bound).collect();
        let (batch, values) = (&batch, &values);
        client.repeat(WHAT, move || client.session.batch(batch, values)).await.map(drop)
    }
}

/// A write that fits its table, with its place among the others.
struct Checked<'a> {
    key: Vec<u8>,
    table: &'a Prepared,
    write: &'a Write,
    timestamp: i64,
}

impl<'a> Checked<'a> {
    fn new(generation: &'a Generation, write: &'a Write) -> Result<Self, Error> {
        let (table, key, offset) = match write {
            Write::Put { table, row, offset } => {
                codec::check_row(table, row)?;
                (*table, &row[..table.key_len()], *offset)
            }
            Write::Delete { table, key, offset } => (*table, &key[..], *offset),
        };
        let encoded = codec::encode_key(table, key)?;
        if read::has_no_partition(table, key) {
            let reason = "an empty text as the whole partition key".to_owned();
            return Err(Error::Invalid { table: table.name, reason });
        }
        let timestamp = timestamp(offset).ok_or_else(|| Error::Invalid {
            table: table.name,
            reason: format!("offset {offset}"),
        })?;
        Ok(Self { key: encoded, table: generation.of(table)?, write, timestamp })
    }

    fn values(&self) -> &'a [Value] {
        match self.write {
            Write::Put { row: values, .. } | Write::Delete { key: values, .. } => values,
        }
    }

    fn statement(&self) -> &'a scylla::statement::prepared::PreparedStatement {
        match self.write {
            Write::Put { .. } => &self.table.put,
            Write::Delete { .. } => &self.table.delete,
        }
    }

    fn bound(&self) -> Bound<'a> {
        let extra = match self.write {
            Write::Put { .. } => Extra::Last(self.timestamp),
            Write::Delete { .. } => Extra::First(self.timestamp),
        };
        Bound { values: self.values(), extra }
    }

    fn bytes(&self) -> usize {
        let bytes = |value: &Value| match value {
            Value::Text(text) => text.len() + 4,
            Value::Json(json) => json.len() + 4,
            Value::Int(_) => 12,
            Value::Bool(_) | Value::Null => 5,
        };
        self.values().iter().map(bytes).sum()
    }

    fn shares_partition(&self, other: &Self) -> bool {
        let len = self.table.table.partition_key.len();
        std::ptr::eq(self.table, other.table) && self.values()[..len] == other.values()[..len]
    }
}

/// Rows in pieces that fit a batch, each of one partition only. Rows of one partition lie next to
/// each other.
fn pieces<'w>(rows: &'w [Checked<'_>]) -> Vec<&'w [Checked<'w>]> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, row) in rows.iter().enumerate() {
        let more = row.bytes();
        let begins = at > start
            && (at - start == BATCH_ROWS_MAX
                || bytes + more > BATCH_BYTES_MAX
                || !row.shares_partition(&rows[at - 1]));
        if begins {
            pieces.push(&rows[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    if start < rows.len() {
        pieces.push(&rows[start..]);
    }
    pieces
}

/// The timestamp of what an event has caused; `None` for an offset beyond all logs.
fn timestamp(offset: Offset) -> Option<i64> {
    i64::try_from(offset).ok()?.checked_add(1)
}

#[async_trait]
impl crate::Space for Space {
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.check_open()?;
        let next = timestamp(batch.checkpoint).map(|timestamp| (batch.checkpoint, timestamp));
        let next = next.ok_or_else(|| Error::Invalid {
            table: "checkpoints",
            reason: format!("checkpoint {}", batch.checkpoint),
        })?;
        let writes = batch.writes.iter().map(|write| Checked::new(&self.generation, write));
        let mut writes = writes.collect::<Result<Vec<_>, _>>()?;
        // The sort is stable: of several writes to one row the last one stays.
        writes.sort_by(|a, b| a.key.cmp(&b.key));
        writes.dedup_by(|later, kept| {
            let same = later.key == kept.key;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        self.store(&writes).await?;
        self.check_open()?;
        let registry = &self.shared.registry;
        let client = &self.shared.client;
        registry.put_checkpoint(client, &self.id, self.generation.tables_id, next).await
    }

    async fn view(&self) -> Result<Arc<dyn Reader>, Error> {
        let checkpoint = self.checkpoint().await?;
        Ok(Arc::new(View { rows: self.rows(), checkpoint }))
    }
}

impl Space {
    fn rows(&self) -> read::Rows {
        read::Rows {
            shared: Arc::clone(&self.shared),
            generation: Arc::clone(&self.generation),
            partition: self.id.partition,
        }
    }
}

#[async_trait]
impl Reader for Space {
    async fn checkpoint(&self) -> Result<Offset, Error> {
        let Shared { registry, client, .. } = &*self.shared;
        registry.checkpoint(client, &self.id, self.generation.tables_id).await
    }

    async fn get(&self, table: &'static Table, key: &[Value]) -> Result<Option<Row>, Error> {
        read::get(&self.shared, &self.generation, table, key).await
    }

    async fn scan(&self, table: &'static Table, scan: Scan) -> Result<Vec<Row>, Error> {
        self.rows().scan(table, &scan).await
    }

    async fn digest(&self) -> Result<[u8; 32], Error> {
        self.rows().digest().await
    }

    fn is_exact(&self) -> bool {
        false
    }
}

/// The rows as they are, and the checkpoint as it was.
struct View {
    rows: read::Rows,
    checkpoint: Offset,
}

#[async_trait]
impl Reader for View {
    async fn checkpoint(&self) -> Result<Offset, Error> {
        Ok(self.checkpoint)
    }

    async fn get(&self, table: &'static Table, key: &[Value]) -> Result<Option<Row>, Error> {
        read::get(&self.rows.shared, &self.rows.generation, table, key).await
    }

    async fn scan(&self, table: &'static Table, scan: Scan) -> Result<Vec<Row>, Error> {
        self.rows.scan(table, &scan).await
    }

    async fn digest(&self) -> Result<[u8; 32], Error> {
        self.rows.digest().await
    }

    fn is_exact(&self) -> bool {
        false
    }
}
