//! Keeps one partition written by this node for as long as the group wants that: takes it over,
//! brings the tables up to date, runs its writer, and gives it up again. A writer that has lost
//! its lease is replaced by a new one, which starts from the log and not from memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::PartitionId;
use eventlog::EventLog;
use tokio::sync::watch;

use crate::Options;
use crate::catalog::Catalog;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::follow::advance;
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::personal::Personal;
use crate::projection::Registration;
use crate::start::{Level, Spaces, level, newest_time, spawn};
use crate::writer::Writer;

/// Between two tries to take over, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Longer than any batch takes from the log to the tables while they are well.
const OVERTAKEN_WAIT: Duration = Duration::from_secs(2);
/// How far the newest event may be ahead of this node's clock and still be believed. More is a
/// clock that was wrong, or an import, and must not carry the log away with it.
const SKEW_MICROS_MAX: i64 = 300 * 1_000_000;

pub(crate) struct Keeper {
    pub(crate) partition: Arc<Partition>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) personal: Arc<Personal>,
    pub(crate) spaces: Spaces,
    pub(crate) documents: Registration,
    pub(crate) idempotency: Registration,
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) cluster: Cluster,
}

impl Keeper {
    /// Runs until the membership ends.
    pub(crate) async fn run(self) {
        let id = self.partition.id;
        let mut assigned = self.cluster.membership.assigned();
        while assigned.wait_for(|set| set.contains(&id)).await.is_ok() {
            // From here on this node's writer moves the partition on, not its tail.
            let advancing = self.partition.advancing.lock().await;
            self.own(&mut assigned).await;
            drop(advancing);
            self.cluster.membership.released(id);
        }
    }

    /// Writes the partition until it is assigned elsewhere.
    async fn own(&self, assigned: &mut watch::Receiver<BTreeSet<PartitionId>>) {
        let id = self.partition.id;
        let mut pause = PAUSE_MIN;
        while assigned.borrow().contains(&id) {
            let taken = tokio::select! {
                taken = self.take_over() => taken,
                _ = assigned.wait_for(|set| !set.contains(&id)) => break,
            };
            match taken {
                Ok(writer) => {
                    let queue_max = self.options.queue_commands_max;
                    match spawn(&self.partition, writer, queue_max) {
                        Ok(mut ended) => {
                            self.partition.refuse(None);
                            tracing::info!(partition = %id, "writing");
                            tokio::select! {
                                _ = assigned.wait_for(|set| !set.contains(&id)) => {}
                                _ = &mut ended => pause = PAUSE_MIN,
                                () = self.overtaken() => {
                                    tracing::info!(partition = %id, "something else was appended");
                                }
                            }
                            self.partition.stop().await;
                            tracing::info!(partition = %id, "no longer writing");
                        }
                        Err(error) => self.partition.refuse(Some(error)),
                    }
                }
                Err(error) => {
                    tracing::warn!(partition = %id, %error, "can't take the partition over");
                    self.partition.refuse(Some(error));
                }
            }
            self.log.resign(id);
            if !assigned.borrow().contains(&id) {
                break;
            }
            self.wait_until_ours(assigned, pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        self.partition.refuse(None);
    }

    /// Ready when the log has gone on without the writer: what lies there does not count, but the
    /// writer's next append would not land where it expects it.
    async fn overtaken(&self) {
        let partition = &self.partition;
        let mut end = self.log.watch_end(partition.id);
        while end.changed().await.is_ok() {
            let applied = partition.applied();
            tokio::time::sleep(OVERTAKEN_WAIT).await;
            let stands = partition.applied() == applied && partition.refusal().is_none();
            if stands && *end.borrow_and_update() > applied {
                return;
            }
        }
        std::future::pending().await
    }

    /// A node that was paused may still believe that a partition is its own: another's takeover
    /// must not be answered by one of ours before the group has been asked.
    async fn wait_until_ours(
        &self,
        assigned: &mut watch::Receiver<BTreeSet<PartitionId>>,
        pause: Duration,
    ) {
        let id = self.partition.id;
        loop {
            let gone = assigned.wait_for(|set| !set.contains(&id));
            if tokio::time::timeout(pause, gone).await.is_ok() {
                return;
            }
            match self.cluster.membership.owner(id, true).await {
                Ok(Some(owner)) if owner == self.cluster.node => return,
                // Another's, or nobody's until the group has settled.
                Ok(_) => {}
                Err(error) => self.partition.refuse(Some(error.into())),
            }
        }
    }

    /// Makes this node the partition's writer, with its tables level with the log.
    async fn take_over(&self) -> Result<Writer, Error> {
        let (id, log) = (self.partition.id, &*self.log);
        let next = log.take_over(id, &self.cluster.node).await?;
        advance(&self.partition, log, &self.catalog, next).await?;
        // A rebuild may have put other tables of documents in place.
        let spaces = Spaces { documents: self.partition.documents(), ..self.spaces.clone() };
        let registrations = (&self.documents, &self.idempotency);
        let Level { mut documents, mut idempotency } =
            level(log, (id, next), &spaces, registrations, &|_, _, _| ()).await?;
        documents.store_checkpoint().await?;
        idempotency.store_checkpoint().await?;
        self.partition.set_stored(next);
        Ok(Writer {
            partition: Arc::clone(&self.partition),
            log: Arc::clone(&self.log),
            catalog: Arc::clone(&self.catalog),
            personal: Arc::clone(&self.personal),
            documents,
            idempotency,
            metrics: Arc::clone(&self.metrics),
            limits: self.options.document,
            idempotency_seconds: self.options.idempotency_seconds,
            batch_commands_max: self.options.batch_commands_max,
            tables_are_remote: true,
            last_time: newest_time(log, id, next, SKEW_MICROS_MAX).await?,
        })
    }
}
