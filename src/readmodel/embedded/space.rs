//! One space as one keyspace, and views of it as snapshots.
//! Reads come from memory or the page cache, so they run on the caller's thread.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use domain::Offset;
use fjall::{Database, Iter, Keyspace, Readable, Snapshot, UserValue};
use parking_lot::RwLock;

use super::failure::while_;
use super::room;
use crate::digest::Fingerprint;
use crate::{Batch, Error, Reader, Row, Scan, Table, Value, Write, codec};

/// Where the checkpoint lies: after every row, for no table has this number.
const CHECKPOINT: [u8; 1] = [codec::NUMBER_RESERVED];
/// Rows that a digest reads before it lets others run.
const DIGEST_ROWS_AT_ONCE: usize = 1024;

pub(super) struct Space {
    db: Database,
    keyspace: Keyspace,
    memtable_bytes: u64,
    closed: Arc<RwLock<bool>>,
    dropped: AtomicBool,
}

impl Space {
    pub(super) fn new(
        db: Database,
        keyspace: Keyspace,
        memtable_bytes: u64,
        closed: Arc<RwLock<bool>>,
    ) -> Self {
        Self { db, keyspace, memtable_bytes, closed, dropped: AtomicBool::new(false) }
    }

    /// Refuses commits from now on.
    pub(super) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::Release);
    }

    fn snapshot(&self) -> View {
        View { snapshot: self.db.snapshot(), keyspace: self.keyspace.clone() }
    }
}

#[async_trait]
impl crate::Space for Space {
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        room::wait(&self.db, &self.keyspace).await?;
        let closed = self.closed.read();
        if *closed || self.dropped.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        room::flush_if_full(&self.keyspace, self.memtable_bytes)?;
        let mut rows = self.db.batch();
        for write in batch.writes {
            match write {
                Write::Put { table, row, .. } => {
                    let value = codec::encode_row(table, &row)?;
                    let key = codec::encode_key(table, &row[..table.key_len()])?;
                    rows.insert(&self.keyspace, key, value);
                }
                Write::Delete { table, key, .. } => {
                    rows.remove(&self.keyspace, codec::encode_key(table, &key)?);
                }
            }
        }
        rows.insert(&self.keyspace, CHECKPOINT, batch.checkpoint.to_be_bytes());
        rows.commit().map_err(while_("committing a batch"))
    }

    async fn view(&self) -> Result<Arc<dyn Reader>, Error> {
        Ok(Arc::new(self.snapshot()))
    }
}

#[async_trait]
impl Reader for Space {
    async fn checkpoint(&self) -> Result<Offset, Error> {
        checkpoint(self.keyspace.get(CHECKPOINT))
    }

    async fn get(&self, table: &'static Table, key: &[Value]) -> Result<Option<Row>, Error> {
        let stored = self.keyspace.get(codec::encode_key(table, key)?);
        row_below(table, key, stored)
    }

    async fn scan(&self, table: &'static Table, scan: Scan) -> Result<Vec<Row>, Error> {
        // A snapshot, or else the scan could see one half of a batch that is being committed.
        self.snapshot().rows(table, &scan)
    }

    async fn digest(&self) -> Result<[u8; 32], Error> {
        self.snapshot().digest().await
    }

    fn is_exact(&self) -> bool {
        true
    }
}

struct View {
    snapshot: Snapshot,
    keyspace: Keyspace,
}

impl View {
    fn rows(&self, table: &'static Table, scan: &Scan) -> Result<Vec<Row>, Error> {
        let range = codec::range(table, scan)?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let start = if range.start_excluded {
            Bound::Excluded(range.start)
        } else {
            Bound::Included(range.start)
        };
        let end = range.end.map_or(Bound::Unbounded, Bound::Excluded);
        let entries: Iter = self.snapshot.range(&self.keyspace, (start, end));
        if scan.reverse {
            rows_of(table, entries.rev().take(scan.limit))
        } else {
            rows_of(table, entries.take(scan.limit))
        }
    }
}

#[async_trait]
impl Reader for View {
    async fn checkpoint(&self) -> Result<Offset, Error> {
        checkpoint(self.snapshot.get(&self.keyspace, CHECKPOINT))
    }

    async fn get(&self, table: &'static Table, key: &[Value]) -> Result<Option<Row>, Error> {
        let stored = self.snapshot.get(&self.keyspace, codec::encode_key(table, key)?);
        row_below(table, key, stored)
    }

    async fn scan(&self, table: &'static Table, scan: Scan) -> Result<Vec<Row>, Error> {
        self.rows(table, &scan)
    }

    async fn digest(&self) -> Result<[u8; 32], Error> {
        let mut fingerprint = Fingerprint::default();
        let rows = self.snapshot.range(&self.keyspace, ..CHECKPOINT);
        for (i, entry) in rows.enumerate() {
            let (key, row) = entry.into_inner().map_err(while_("reading rows"))?;
            fingerprint.add(&key, &row);
            if i % DIGEST_ROWS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(fingerprint.finish())
    }

    fn is_exact(&self) -> bool {
        true
    }
}

fn checkpoint(stored: Result<Option<UserValue>, fjall::Error>) -> Result<Offset, Error> {
    let Some(stored) = stored.map_err(while_("reading the checkpoint"))? else { return Ok(0) };
    match stored.first_chunk() {
        Some(bytes) if stored.len() == bytes.len() => Ok(Offset::from_be_bytes(*bytes)),
        _ => Err(Error::Corrupt { what: "the checkpoint".to_owned() }),
    }
}

fn row_below(
    table: &'static Table,
    key: &[Value],
    stored: Result<Option<UserValue>, fjall::Error>,
) -> Result<Option<Row>, Error> {
    let Some(stored) = stored.map_err(while_("reading a row"))? else { return Ok(None) };
    let mut row = Row::with_capacity(table.row_len());
    row.extend_from_slice(key);
    codec::decode_row(table, &Bytes::from(stored), &mut row)?;
    Ok(Some(row))
}

fn rows_of(
    table: &'static Table,
    entries: impl Iterator<Item = fjall::Guard>,
) -> Result<Vec<Row>, Error> {
    entries
        .map(|entry| {
            let (key, stored) = entry.into_inner().map_err(while_("reading rows"))?;
            let mut row = codec::decode_key(table, &key)?;
            codec::decode_row(table, &Bytes::from(stored), &mut row)?;
            Ok(row)
        })
        .collect()
}
