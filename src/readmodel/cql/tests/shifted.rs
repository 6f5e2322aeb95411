//! Many empty stores in one keyspace: each has generations of its own, and so tables of its own.
//! Making a table takes milliseconds; dropping one, up to a second.

use super::*;

/// Generations that one store has.
pub(super) const GENERATIONS: u32 = 100;

/// A store whose generations lie `by` further up.
pub(super) struct Shifted {
    pub(super) store: Store,
    pub(super) by: u32,
}

impl Shifted {
    fn up(&self, id: &SpaceId) -> SpaceId {
        SpaceId { generation: id.generation + self.by, ..id.clone() }
    }

    fn down(&self, generation: u32) -> Option<u32> {
        generation.checked_sub(self.by).filter(|generation| *generation < GENERATIONS)
    }
}

#[async_trait]
impl crate::Store for Shifted {
    async fn open(&self, id: &SpaceId) -> Result<Arc<dyn crate::Space>, Error> {
        self.store.open(&self.up(id)).await
    }

    async fn list(&self, consumer: &'static str) -> Result<Vec<SpaceId>, Error> {
        let all = self.store.list(consumer).await?;
        let own = all.into_iter().filter_map(|id| {
            let generation = self.down(id.generation)?;
            Some(SpaceId { generation, ..id })
        });
        Ok(own.collect())
    }

    async fn remove(&self, id: &SpaceId) -> Result<(), Error> {
        self.store.remove(&self.up(id)).await
    }

    async fn active(
        &self,
        consumer: &'static str,
        partition: PartitionId,
    ) -> Result<Option<u32>, Error> {
        let active = self.store.active(consumer, partition).await?;
        Ok(active.and_then(|generation| self.down(generation)))
    }

    async fn activate(&self, id: &SpaceId) -> Result<(), Error> {
        self.store.activate(&self.up(id)).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.store.close().await
    }
}
