//! A store in memory, for tests: the behaviour of a real engine without its files.
//! It outlives its spaces, so a test can drop everything else and start again as after a crash.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::{Offset, PartitionId};
use parking_lot::{Mutex, RwLock};

use crate::digest::Fingerprint;
use crate::{Batch, Error, Reader, Row, Scan, SpaceId, Table, Value, Write, codec};

/// A store in memory. Clones share what is stored.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    spaces: BTreeMap<SpaceId, Space>,
    active: BTreeMap<(&'static str, PartitionId), u32>,
}

#[async_trait]
impl crate::Store for Store {
    async fn open(&self, id: &SpaceId) -> Result<Arc<dyn crate::Space>, Error> {
        Ok(Arc::new(self.0.lock().spaces.entry(id.clone()).or_default().clone()))
    }

    async fn list(&self, consumer: &'static str) -> Result<Vec<SpaceId>, Error> {
        let state = self.0.lock();
        Ok(state.spaces.keys().filter(|id| id.consumer == consumer).cloned().collect())
    }

    async fn remove(&self, id: &SpaceId) -> Result<(), Error> {
        if let Some(space) = self.0.lock().spaces.remove(id) {
            space.0.dropped.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn active(
        &self,
        consumer: &'static str,
        partition: PartitionId,
    ) -> Result<Option<u32>, Error> {
        Ok(self.0.lock().active.get(&(consumer, partition)).copied())
    }

    async fn activate(&self, id: &SpaceId) -> Result<(), Error> {
        self.0.lock().active.insert((id.consumer, id.partition), id.generation);
        Ok(())
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Space(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Replaced or changed in place by a commit; a view holds on to the one that it saw.
    rows: RwLock<Arc<Rows>>,
    dropped: AtomicBool,
}

#[derive(Clone, Default)]
struct Rows {
    by_key: BTreeMap<Vec<u8>, (&'static Table, Row)>,
    checkpoint: Offset,
}

impl Rows {
    fn digest(&self) -> Result<[u8; 32], Error> {
        let mut fingerprint = Fingerprint::default();
        for (key, (table, row)) in &self.by_key {
            fingerprint.add(key, &codec::encode_row(table, row)?);
        }
        Ok(fingerprint.finish())
    }

    fn get(&self, table: &'static Table, key: &[Value]) -> Result<Option<Row>, Error> {
        let key = codec::encode_key(table, key)?;
        Ok(self.by_key.get(&key).map(|(_, row)| row.clone()))
    }

    fn scan(&self, table: &'static Table, scan: &Scan) -> Result<Vec<Row>, Error> {
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
        let rows = self.by_key.range((start, end)).map(|(_, (_, row))| row.clone());
        Ok(if scan.reverse {
            rows.rev().take(scan.limit).collect()
        } else {
            rows.take(scan.limit).collect()
        })
    }
}

/// A write that has been checked, so that applying it cannot fail half-way.
type Checked = (Vec<u8>, Option<(&'static Table, Row)>);

fn check(write: Write) -> Result<Checked, Error> {
    match write {
        Write::Put { table, row, .. } => {
            codec::encode_row(table, &row)?;
            Ok((codec::encode_key(table, &row[..table.key_len()])?, Some((table, row))))
        }
        Write::Delete { table, key, .. } => Ok((codec::encode_key(table, &key)?, None)),
    }
}

#[async_trait]
impl crate::Space for Space {
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        if self.0.dropped.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let writes = batch.writes.into_iter().map(check).collect::<Result<Vec<_>, _>>()?;
        let mut shared = self.0.rows.write();
        let rows = Arc::make_mut(&mut shared);
        for (key, row) in writes {
            match row {
                Some(row) => rows.by_key.insert(key, row),
                None => rows.by_key.remove(&key),
            };
        }
        rows.checkpoint = batch.checkpoint;
        Ok(())
    }

    async fn view(&self) -> Result<Arc<dyn Reader>, Error> {
        Ok(Arc::new(View(Arc::clone(&self.0.rows.read()))))
    }
}

#[async_trait]
impl Reader for Space {
    async fn checkpoint(&self) -> Result<Offset, Error> {
        Ok(self.0.rows.read().checkpoint)
    }

    async fn get(&self, table: &'static Table, key: &[Value]) -> Result<Option<Row>, Error> {
        self.0.rows.read().get(table, key)
    }

    async fn scan(&self, table: &'static Table, scan: Scan) -> Result<Vec<Row>, Error> {
        self.0.rows.read().scan(table, &scan)
    }

    async fn digest(&self) -> Result<[u8; 32], Error> {
        let rows = Arc::clone(&self.0.rows.read());
        rows.digest()
    }

    fn is_exact(&self) -> bool {
        true
    }
}

struct View(Arc<Rows>);

#[async_trait]
impl Reader for View {
    async fn checkpoint(&self) -> Result<Offset, Error> {
        Ok(self.0.checkpoint)
    }

    async fn get(&self, table: &'static Table, key: &[Value]) -> Result<Option<Row>, Error> {
        self.0.get(table, key)
    }

    async fn scan(&self, table: &'static Table, scan: Scan) -> Result<Vec<Row>, Error> {
        self.0.scan(table, &scan)
    }

    async fn digest(&self) -> Result<[u8; 32], Error> {
        self.0.digest()
    }

    fn is_exact(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
