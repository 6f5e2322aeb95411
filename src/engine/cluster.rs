//! Several nodes on one log and one set of tables: each partition is written by one of them, and a
//! command that comes to another is forwarded. A node knows who writes only by hearsay, so it asks
//! again until somebody takes the command or the time is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use domain::command::{Body, Command};
use eventlog::Membership;
use eventlog::ephemeral::Bus;

use crate::Engine;
use crate::error::Error;
use crate::forward;
use crate::partition::Partition;
use crate::writer::Committed;

/// What a node needs to work beside others.
#[derive(Clone)]
pub struct Cluster {
    /// Where other nodes reach this one.
    pub node: String,
    /// Shares the partitions out.
    pub membership: Arc<dyn Membership>,
    /// Carries commands to other nodes.
    pub peers: Arc<dyn Peers>,
    /// Carries what channels say to all nodes.
    pub ephemeral: Arc<dyn Bus>,
    /// Whether all other nodes are known to be stopped, so that tables may be replaced.
    pub is_alone: bool,
}

/// Carries commands to other nodes.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Hands `command` to the engine of the node at `address` by [`Engine::accept`], and returns
    /// what that returned.
    async fn forward(
        &self,
        address: &str,
        command: Bytes,
        wait_max: Duration,
    ) -> Result<Bytes, PeerError>;
}

/// Why another node gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// It never got the command.
    #[error("not reached: {0}")]
    Unreached(String),
    /// It may have got the command.
    #[error("no answer: {0}")]
    Lost(String),
}

/// Between two tries to find the writer of a partition, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// The group is asked for one partition's writer this often at most.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// One partition as the admin sees it.
#[derive(Debug, Clone)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u32,
    /// The node that writes it, as far as this node knows.
    pub owner: Option<String>,
    /// The next offset that reads here don't show yet.
    pub applied: u64,
    /// The log's end as far as this node has read.
    pub end: u64,
}

impl Engine {
    /// Hands a command to the writer of its project, wherever that is, and waits for the outcome.
    ///
    /// Errors: refused ([`Error::Rejected`]), [`Error::Busy`] when the queue is full,
    /// [`Error::Unavailable`] when the log can't take it or nobody writes the partition,
    /// [`Error::OutcomeUnknown`] when the wait is over before the answer came.
    pub async fn submit(&self, command: Command) -> Result<Committed, Error> {
        // Of an import, nobody asks for more than how much it was.
        if matches!(command.body, Body::Import(_)) {
            return self.commit(command).await;
        }
        let mut committed = self.commit(command).await?;
        for event in &mut committed.events {
            // It is written, whatever keeps it from being shown.
            let opened = self.personal.open_event(event).await;
            *event = opened.map_err(|error| {
                tracing::error!(%error, "a write can't be answered");
                Error::OutcomeUnknown
            })?;
        }
        Ok(committed)
    }

    async fn commit(&self, command: Command) -> Result<Committed, Error> {
        let partition = self.partition(&command.context.project);
        let wait_max = self.options.write_wait_max;
        let Some(cluster) = &self.cluster else {
            let outcome = partition.submit(command, wait_max).await;
            return outcome.map_err(|error| match error {
                // There is no other node.
                Error::NotOwner => Error::Unavailable("the server is stopping".to_owned()),
                error => error,
            });
        };
        let until = Instant::now() + wait_max;
        // A repeat under the same key does nothing twice.
        // Imports are not remembered by key.
        let repeatable =
            command.context.idempotency.is_some() && !matches!(command.body, Body::Import(_));
        // A command that waits for its writer counts against the queue wherever it waits.
        let mut held = None;
        let (mut unsure, mut fresh, mut pause) = (false, false, PAUSE_MIN);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let outcome = if partition.is_owned() {
                held = None;
                partition.submit(command.clone(), left).await
            } else {
                if held.is_none() {
                    held = Some(partition.hold(&command)?);
                }
                self.forward(cluster, partition, &command, left, fresh).await
            };
            match outcome {
                Err(Error::NotOwner) => {
                    if let Some(trouble) = self.log.trouble().filter(|_| !unsure) {
                        return Err(Error::Unavailable(trouble));
                    }
                }
                Err(Error::OutcomeUnknown) if repeatable => unsure = true,
                Err(error) if unsure && !matches!(error, Error::Rejected(_)) => {}
                Ok(committed) => {
                    self.known_here(partition, &command, &committed, until).await;
                    return Ok(committed);
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause.min(left)).await;
            (fresh, pause) = (true, (pause * 2).min(PAUSE_MAX));
        }
        if unsure {
            return Err(Error::OutcomeUnknown);
        }
        let reason = partition.refusal().map_or_else(String::new, |why| format!(": {why}"));
        let nobody = format!("no node writes partition {} now{reason}", partition.id);
        Err(Error::Unavailable(nobody))
    }

    /// Waits until this node knows of a change of configuration that it has forwarded: the next
    /// request here must see it.
    async fn known_here(
        &self,
        partition: &Partition,
        command: &Command,
        committed: &Committed,
        until: Instant,
    ) {
        if let (Body::Project(_) | Body::User(_), Some(last)) =
            (&command.body, committed.events.last())
        {
            let mut applied = partition.watch_applied();
            let reached = applied.wait_for(|applied| *applied > last.position.offset);
            let _ = tokio::time::timeout_at(until.into(), reached).await;
        }
    }

    async fn forward(
        &self,
        cluster: &Cluster,
        partition: &Partition,
        command: &Command,
        left: Duration,
        fresh: bool,
    ) -> Result<Committed, Error> {
        let fresh = fresh && partition.may_ask(ASK_INTERVAL);
        let asked = tokio::time::timeout(left, cluster.membership.owner(partition.id, fresh)).await;
        let owner = match asked {
            Ok(Ok(Some(owner))) if owner != cluster.node => owner,
            // Nobody, or this node, which is still on its way to it.
            Ok(Ok(_)) | Err(_) => return Err(Error::NotOwner),
            Ok(Err(error)) => {
                tracing::debug!(partition = %partition.id, %error, "who writes is not known");
                return Err(Error::NotOwner);
            }
        };
        let body = forward::encode_command(command, left)?;
        self.metrics.forwarded.inc();
        match cluster.peers.forward(&owner, body, left).await {
            Ok(outcome) => forward::decode_outcome(&outcome),
            Err(error @ PeerError::Unreached(_)) => {
                tracing::debug!(node = owner, %error, "command not forwarded");
                Err(Error::NotOwner)
            }
            Err(error @ PeerError::Lost(_)) => {
                tracing::debug!(node = owner, %error, "command forwarded, no answer");
                Err(Error::OutcomeUnknown)
            }
        }
    }

    /// Takes a command that another node forwarded; returns the outcome as that node decodes it.
    pub async fn accept(&self, body: &[u8]) -> Bytes {
        let outcome = match forward::decode_command(body) {
            Ok((command, wait_max)) => {
                let partition = self.partition(&command.context.project);
                match partition.is_owned() {
                    true => {
                        let wait_max = wait_max.min(self.options.write_wait_max);
                        partition.submit(command, wait_max).await
                    }
                    false => Err(Error::NotOwner),
                }
            }
            Err(error) => Err(error),
        };
        forward::encode_outcome(&outcome)
    }

    /// Whether other nodes work beside this one.
    pub fn is_shared(&self) -> bool {
        self.cluster.is_some()
    }

    /// Every partition, and who writes it as far as this node knows.
    pub async fn partitions(&self) -> Vec<PartitionStatus> {
        let mut all = Vec::with_capacity(self.partitions.len());
        for partition in &self.partitions {
            let owner = match &self.cluster {
                Some(cluster) if partition.is_owned() => Some(cluster.node.clone()),
                Some(cluster) => {
                    let fresh = partition.may_ask(ASK_INTERVAL);
                    let owner = cluster.membership.owner(partition.id, fresh).await;
                    // This node itself does not write it yet.
                    owner.ok().flatten().filter(|owner| *owner != cluster.node)
                }
                None => None,
            };
            all.push(PartitionStatus {
                partition: partition.id.0,
                owner,
                applied: partition.applied(),
                end: self.log.end(partition.id),
            });
        }
        all
    }

    /// Whether this node writes every partition.
    pub fn owns_all(&self) -> bool {
        self.partitions.iter().all(|partition| partition.is_owned())
    }

    /// This node's address, where there are others.
    pub fn node(&self) -> Option<&str> {
        self.cluster.as_ref().map(|cluster| cluster.node.as_str())
    }

    /// Gives every partition up, so that other nodes write them at once; commands that still come
    /// here are forwarded.
    pub async fn hand_over(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.membership.leave().await;
        }
    }
}
