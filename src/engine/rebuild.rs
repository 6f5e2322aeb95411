//! Builds a projection anew from the log, side by side with the one that serves, compares, and
//! lets it take over.

use std::sync::Arc;

use domain::{PartitionId, Position};
use readmodel::{Space, SpaceId};
use tokio::sync::oneshot;

use crate::Engine;
use crate::consumer::Consumer;
use crate::error::Error;
use crate::partition::Partition;
use crate::projection::Registration;
use crate::writer::{Compared, Control};

/// How far a rebuild is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The partition being rebuilt.
    pub partition: PartitionId,
    /// The next offset to apply.
    pub next: u64,
    /// The log's end when it began.
    pub end: u64,
}

/// What a rebuild of one partition came to.
#[derive(Debug, Clone)]
pub struct Rebuilt {
    /// The partition.
    pub partition: PartitionId,
    /// Events that were replayed.
    pub events: u64,
    /// SHA-256 of the rebuilt tables, where asked to verify.
    pub digest: Option<[u8; 32]>,
    /// SHA-256 of the tables that served until now, where asked to verify.
    pub live_digest: Option<[u8; 32]>,
}

impl Rebuilt {
    /// Whether the rebuilt tables equal those that served; true when nobody asked.
    pub fn is_equal(&self) -> bool {
        self.digest == self.live_digest
    }
}

impl Engine {
    /// Rebuilds the documents projection, partition by partition, while it serves. With `verify`,
    /// both are compared at the same position. The rebuilt tables take over either way: they
    /// are what the log says.
    ///
    /// Errors: [`Error::NotFound`] for another projection, and whatever the log or the read model
    /// have to say.
    pub async fn rebuild(
        &self,
        consumer: &str,
        verify: bool,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Vec<Rebuilt>, Error> {
        let documents = self.projections.first().filter(|one| one.name == consumer);
        let Some(registration) = documents else {
            return Err(Error::NotFound(format!("a projection {consumer:?} that can be rebuilt")));
        };
        let mut all = Vec::new();
        for partition in &self.partitions {
            all.push(self.rebuild_partition(registration, partition, verify, progress).await?);
        }
        Ok(all)
    }

    async fn rebuild_partition(
        &self,
        registration: &Registration,
        partition: &Arc<Partition>,
        verify: bool,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Rebuilt, Error> {
        let oldest = Position { partition: partition.id, offset: self.log.start(partition.id) };
        if oldest.offset > 0 {
            // Documents whose last change was trimmed live in the tables alone.
            return Err(Error::Trimmed { oldest });
        }
        let (id, space) = self.next_space(registration, partition.id).await?;
        let filled = self.fill(space, registration, partition, verify, progress).await;
        let (built, rebuilt) = match filled {
            Ok(filled) => filled,
            Err(error) => {
                self.store.remove(&id).await?;
                return Err(error);
            }
        };
        // First what the next start serves, then what is served now: both are right, and an error
        // in between leaves neither without its tables.
        self.store.activate(&id).await?;
        let (reply, answer) = oneshot::channel();
        partition.control(Control::Replace { built, reply })?;
        drop(answer.await.map_err(|_| stopped())??);
        self.drop_others(registration, &id).await?;
        Ok(rebuilt)
    }

    async fn fill(
        &self,
        space: Arc<dyn Space>,
        registration: &Registration,
        partition: &Arc<Partition>,
        verify: bool,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(Consumer, Rebuilt), Error> {
        let mut built = Consumer::open(registration, space).await?;
        let end = partition.applied();
        let report = |next| progress(Progress { partition: partition.id, next, end });
        built.catch_up(&*self.log, partition.id, end, &report).await?;
        while built.has_work() {
            built.work().await?;
        }
        let mut rebuilt =
            Rebuilt { partition: partition.id, events: end, digest: None, live_digest: None };
        if verify {
            let (reply, answer) = oneshot::channel();
            partition.control(Control::Compare { built, reply })?;
            let compared: Compared = answer.await.map_err(|_| stopped())??;
            let (digest, live_digest) = match compared.digests {
                Some(digests) => digests,
                None => (compared.built_view.digest().await?, compared.live_view.digest().await?),
            };
            (rebuilt.digest, rebuilt.live_digest) = (Some(digest), Some(live_digest));
            built = compared.built;
        }
        Ok((built, rebuilt))
    }

    async fn next_space(
        &self,
        registration: &Registration,
        partition: PartitionId,
    ) -> Result<(SpaceId, Arc<dyn Space>), Error> {
        let spaces = self.store.list(registration.name).await?;
        let newest = spaces.iter().filter(|space| space.partition == partition);
        let newest = newest.map(|space| space.generation).max().unwrap_or_default();
        let mut count = u16::try_from(newest & 0xffff).unwrap_or_default();
        loop {
            count = count.wrapping_add(1);
            let generation = registration.generation(count);
            let id = SpaceId { consumer: registration.name, partition, generation };
            match self.store.open(&id).await {
                // What a rebuild that failed has left behind can't be cleared away yet.
                Err(readmodel::Error::Removed { .. }) => {}
                opened => return Ok((id, opened?)),
            }
        }
    }

    async fn drop_others(&self, registration: &Registration, kept: &SpaceId) -> Result<(), Error> {
        for other in self.store.list(registration.name).await? {
            if other.partition == kept.partition && other != *kept {
                self.store.remove(&other).await?;
            }
        }
        Ok(())
    }
}

fn stopped() -> Error {
    Error::Unavailable("the writer stopped during the rebuild".to_owned())
}
