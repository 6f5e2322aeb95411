//! Shares the partitions out among the nodes, by Kafka's consumer group protocol. Owns this node's
//! membership and what is known of the others'; a partition passes on only when this node has
//! released it, or did not answer for too long. Never reads the topic, and fences nothing: that a
//! partition has one writer is the log's own business.

mod member;
mod owners;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::PartitionId;
use tokio::sync::watch;

use self::member::{Member, Shared};
use self::owners::Owners;
use super::options::Options;
use crate::{Error, Membership};

/// How long things may take within the group.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A member that is not heard of for so long is out, and others take over. The brokers may
    /// set bounds, 6 s to 30 min by default.
    pub session: Duration,
    /// How often a member is heard of; also how soon it hears of others that come or leave.
    pub heartbeat: Duration,
    /// How long a partition that is to pass on is waited for until it is released.
    pub release_wait: Duration,
    /// How long it is relied on who owns what.
    pub owners_age_max: Duration,
    /// How long the brokers are waited for when they are asked who owns what.
    pub reach_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(6),
            heartbeat: Duration::from_millis(200),
            release_wait: Duration::from_secs(5),
            owners_age_max: Duration::from_secs(1),
            reach_wait: Duration::from_secs(4),
        }
    }
}

/// This node as a member of the group.
pub struct Group {
    shared: Arc<Shared>,
    owners: Owners,
    node: String,
}

impl Group {
    /// Joins the group of `options`, as the node that it advertises. Returns at once: joining goes
    /// on for as long as it takes, and again whenever this node has fallen out.
    ///
    /// Errors: [`Error::Open`] for settings that the Kafka client refuses.
    pub fn join(options: &Options, timing: Timing) -> Result<Arc<Self>, Error> {
        Self::start(options, timing, true)
    }

    /// Learns who owns what without ever owning anything.
    ///
    /// Errors: as [`Group::join`].
    pub fn observe(options: &Options, timing: Timing) -> Result<Arc<Self>, Error> {
        Self::start(options, timing, false)
    }

    fn start(options: &Options, timing: Timing, joins: bool) -> Result<Arc<Self>, Error> {
        let shared = Arc::new(Shared::new(timing));
        let owners = Owners::new(options, timing)?;
        Member::start(options, timing, joins, Arc::clone(&shared), owners.asker())?;
        Ok(Arc::new(Self { shared, owners, node: options.advertise.clone() }))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Without the wait of `leave`; the thread ends by itself.
        self.shared.start_leaving();
    }
}

#[async_trait]
impl Membership for Group {
    fn assigned(&self) -> watch::Receiver<BTreeSet<PartitionId>> {
        self.shared.assigned()
    }

    fn released(&self, partition: PartitionId) {
        self.shared.released(partition);
    }

    async fn owner(&self, partition: PartitionId, fresh: bool) -> Result<Option<String>, Error> {
        // What this node believes of itself may be out of date, after a long pause.
        if !fresh && self.shared.assigned().borrow().contains(&partition) {
            return Ok(Some(self.node.clone()));
        }
        self.owners.owner(partition, fresh).await
    }

    async fn leave(&self) {
        self.shared.start_leaving();
        self.shared.left().await;
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble()
    }
}
