//! Channels: who is in one hears what is published there, and sees who else is present. Nothing of
//! it is ever in the log: it goes by a bus that keeps nothing, on which all nodes hear the same in
//! the same order. A channel is in memory only while somebody is in it, or has history.

mod care;
mod history;
mod inbox;
mod lane;
mod mailbox;
mod message;
mod nodes;
mod presence;
mod room;
mod terms;
#[cfg(test)]
mod tests;
mod unsaid;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use domain::projects::ChannelHistory;
use domain::rejected::Reason;
use domain::{ChannelName, ProjectId, Rejected, Timestamp, UserId};
use eventlog::ephemeral::{self, Accepted, Bus, Listener, Record};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::catalog::Catalog;
use crate::clock;
use crate::error::Error;
use crate::metrics::Metrics;

use self::lane::{Arriving, Lane};
use self::message::Said;
use self::nodes::Nodes;
use self::unsaid::Unsaid;

pub use inbox::Inbox;
pub use mailbox::{Delivery, SubId, What};
pub use message::{Entry, InvalidPlace, Message, Place};
pub use presence::Change;
pub(crate) use terms::AllTerms;
pub use terms::{Act, HISTORY_MESSAGES_MAX, HISTORY_SECONDS_MAX, Terms, rule_name, source};

/// Partitions of the bus of a node that is alone: as many channels can be told of something at the
/// same time.
pub const PARTITIONS_ALONE: usize = 16;

/// A place so far ahead of what was heard is not of this order.
const AHEAD_MAX: u64 = 1_000_000;

/// Limits of channels.
#[derive(Debug, Clone)]
pub struct Options {
    /// The largest message, in bytes of its data.
    pub message_bytes_max: usize,
    /// Messages that one connection may publish in a second, on the average.
    pub publishes_per_second: u32,
    /// What may wait for one connection of all its channels.
    pub queue_messages_max: usize,
    /// The same, in bytes.
    pub queue_bytes_max: usize,
    /// Memory for the history of all channels.
    pub history_bytes_max: usize,
    /// Connections that may be present in one channel.
    pub present_max: usize,
    /// The largest state of somebody who is present.
    pub state_bytes_max: usize,
    /// After this silence a node is taken for dead, and nobody on it for present.
    pub node_silence_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_bytes_max: 32 << 10,
            publishes_per_second: 50,
            queue_messages_max: 1024,
            queue_bytes_max: 1 << 20,
            history_bytes_max: 64 << 20,
            present_max: 1000,
            state_bytes_max: 2 << 10,
            node_silence_max: Duration::from_secs(10),
        }
    }
}

/// Names a channel of a project.
#[derive(Debug, Clone)]
pub struct Channel {
    project: ProjectId,
    name: ChannelName,
    key: Arc<str>,
}

impl Channel {
    /// The channel of this name.
    pub fn new(project: &ProjectId, name: &ChannelName) -> Self {
        let key = format!("{project}/{name}").into();
        Self { project: project.clone(), name: name.clone(), key }
    }

    /// Its name.
    pub fn name(&self) -> &ChannelName {
        &self.name
    }
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Compact JSON.
    pub data: Bytes,
    /// The user who says it, if it is one.
    pub user: Option<UserId>,
    /// The connection that does not want to hear it.
    pub not_to: Option<Uuid>,
}

/// The channels of a node.
pub struct Channels {
    options: Options,
    bus: Arc<dyn Bus>,
    catalog: Arc<Catalog>,
    metrics: Arc<Metrics>,
    /// This start of this node.
    node: Uuid,
    started_at: Timestamp,
    runtime: Handle,
    lanes: Vec<Mutex<Lane>>,
    nodes: Mutex<Nodes>,
    /// Who is present by a connection to this node. Held while it is said, so that what is said of
    /// one is in order; never taken while a record is heard.
    mine: Mutex<HashMap<Uuid, (Channel, Entry)>>,
    /// Those who have left, as far as that could not be said.
    unsaid: Mutex<Unsaid>,
    next_sub: AtomicU64,
    /// What was heard asks for something to be said, which the care taker does.
    wants_who: AtomicBool,
    wants_tell: AtomicBool,
    /// Who is present by this node may not be what was heard of it.
    wants_own: AtomicBool,
    wanted: Notify,
}

impl Channels {
    /// For the current runtime; hears nothing yet.
    pub(crate) fn new(
        options: Options,
        bus: Arc<dyn Bus>,
        catalog: Arc<Catalog>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let lane_bytes = options.history_bytes_max / bus.partitions().max(1);
        let lane = || {
            let (count, bytes) = (metrics.channels.clone(), metrics.channel_history_bytes.clone());
            Mutex::new(Lane::new(lane_bytes, count, bytes))
        };
        Arc::new(Self {
            lanes: (0..bus.partitions()).map(|_| lane()).collect(),
            nodes: Mutex::new(Nodes::new(options.node_silence_max)),
            options,
            bus,
            catalog,
            metrics,
            node: Uuid::now_v7(),
            started_at: clock::now(),
            runtime: Handle::current(),
            mine: Mutex::default(),
            unsaid: Mutex::default(),
            next_sub: AtomicU64::new(1),
            wants_who: AtomicBool::new(false),
            wants_tell: AtomicBool::new(false),
            wants_own: AtomicBool::new(false),
            wanted: Notify::new(),
        })
    }

    /// Listens to the bus from now on. The catalog must be filled: it says what is kept.
    ///
    /// Errors as [`Bus::listen`].
    pub(crate) fn listen(self: &Arc<Self>) -> Result<(), Error> {
        Ok(self.bus.listen(Arc::clone(self) as _)?)
    }

    /// Hears nothing any more.
    pub(crate) fn close(&self) {
        self.bus.close();
    }

    /// Offsets can be compared where this is the same.
    pub fn epoch(&self) -> u64 {
        self.bus.epoch()
    }

    /// The limits in force.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sends a message to all who are in the channel; the answer comes once it is sure that they
    /// will get it. Messages that one caller publishes in a channel keep their order.
    ///
    /// Errors: [`Error::Busy`]; the answer with [`Error::OutcomeUnknown`] or
    /// [`Error::Unavailable`].
    pub fn publish(
        &self,
        channel: &Channel,
        draft: Draft,
    ) -> Result<(Uuid, impl Future<Output = Result<Place, Error>> + Send + 'static), Error> {
        let id = Uuid::now_v7();
        let Draft { data, user, not_to } = draft;
        let said = Said::Message { id, data, user, time: clock::now(), origin: not_to };
        let accepted = self.say(&channel.key, &said)?;
        self.metrics.channel_messages.inc();
        let epoch = self.bus.epoch();
        let place = async move {
            let offset = accepted.await.map_err(unsaid)?;
            Ok(Place { epoch, offset })
        };
        Ok((id, place))
    }

    /// Who is present in a channel.
    pub fn present(&self, channel: &Channel) -> Vec<Entry> {
        let mut lane = self.lane_of(&channel.key).lock();
        let room = lane.known(&channel.key);
        room.map(|room| room.present.all().cloned().collect()).unwrap_or_default()
    }

    fn say(&self, key: &Arc<str>, said: &Said) -> Result<Accepted, Error> {
        let published = self.bus.publish(self.partition(key), Arc::clone(key), said.encode());
        published.map_err(unsaid)
    }

    /// What is about a node and no channel.
    fn say_of_node(&self, said: &Said) -> Result<Accepted, Error> {
        self.bus.publish(0, Arc::from(""), said.encode()).map_err(unsaid)
    }

    fn partition(&self, key: &str) -> usize {
        ephemeral::partition_of(key, self.lanes.len())
    }

    fn lane_of(&self, key: &str) -> &Mutex<Lane> {
        &self.lanes[self.partition(key)]
    }

    /// What is kept of a channel's messages, and up to where nothing was by these terms.
    fn terms_of(
        &self,
        (project, name): (&ProjectId, &ChannelName),
        partition: usize,
        seen: u64,
    ) -> (Option<ChannelHistory>, u64) {
        let live = self.catalog.project(project);
        let terms = live.as_ref().and_then(|live| live.channel(name));
        match terms {
            Some(terms) if terms.history().is_some() => {
                (terms.history(), terms.floor(partition, seen, self.started_at))
            }
            _ => (None, seen),
        }
    }

    /// Says that somebody on this node is present, or in another state.
    ///
    /// Errors: [`Reason::TooMany`], and as for [`Channels::publish`].
    fn announce(&self, channel: &Channel, mut entry: Entry) -> Result<Accepted, Error> {
        let mut mine = self.mine.lock();
        if let Some((_, before)) = mine.get(&entry.key) {
            entry.since = before.since;
        } else {
            let limit = self.options.present_max;
            let mut lane = self.lane_of(&channel.key).lock();
            if lane.known(&channel.key).is_some_and(|room| room.present.len() >= limit) {
                let what = "connections present in this channel".into();
                let reason = Reason::TooMany { what, limit };
                return Err(Error::Rejected(Rejected::from(reason)));
            }
        }
        let accepted = self.say(&channel.key, &here(&entry))?;
        mine.insert(entry.key, (channel.clone(), entry));
        Ok(accepted)
    }

    /// Says that somebody on this node is present no more.
    fn renounce(self: &Arc<Self>, key: Uuid) {
        let mut mine = self.mine.lock();
        let Some((channel, _)) = mine.remove(&key) else { return };
        self.say_gone(channel.key, key);
    }

    fn say_gone(self: &Arc<Self>, channel: Arc<str>, key: Uuid) {
        let said = self.say(&channel, &Said::Gone { node: self.node, key });
        if !self.bus.is_shared() {
            return;
        }
        let channels = Arc::clone(self);
        self.runtime.spawn(async move {
            if !is_heard(said).await {
                channels.unsaid.lock().add(channel, key);
            }
        });
    }

    fn arrived(&self, record: &Record, message: Message) {
        let Some((project, name)) = names(&record.key) else { return };
        let mut lane = self.lanes[record.partition].lock();
        let (keep, floor) = self.terms_of((&project, &name), record.partition, lane.seen);
        let deliveries = lane.arrive(&record.key, Arriving { message, keep, floor });
        self.metrics.channel_deliveries.inc_by(deliveries);
    }

    /// Nobody on nodes that a test holds of is present any more.
    fn lost_nodes(&self, is_lost: impl Fn(Uuid) -> bool) {
        for lane in &self.lanes {
            lane.lock().each(|room, _| room.gone_with(|one| is_lost(one.node)));
        }
    }

    /// Somebody is present, as a record says.
    fn came(&self, record: &Record, entry: Entry) {
        let Some((project, name)) = names(&record.key) else { return };
        let mut lane = self.lanes[record.partition].lock();
        let (_, floor) = self.terms_of((&project, &name), record.partition, lane.seen);
        lane.room(&record.key, floor).here(entry);
    }

    /// Has exactly those present of this node who are, whatever was heard of them.
    fn put_own_back(&self) {
        let mine = self.mine.lock();
        let is_ghost = |one: &Entry| one.node == self.node && !mine.contains_key(&one.key);
        for lane in &self.lanes {
            lane.lock().each(|room, _| room.gone_with(is_ghost));
        }
        for (channel, entry) in mine.values() {
            let partition = self.partition(&channel.key);
            let mut lane = self.lanes[partition].lock();
            let of = (&channel.project, &channel.name);
            let (_, floor) = self.terms_of(of, partition, lane.seen);
            lane.room(&channel.key, floor).here(entry.clone());
        }
    }

    /// Something was heard of another node.
    fn heard_of(&self, node: Uuid) {
        if node != self.node && self.nodes.lock().heard(node, std::time::Instant::now()) {
            self.want(&self.wants_who);
        }
    }

    fn want(&self, what: &AtomicBool) {
        what.store(true, std::sync::atomic::Ordering::Release);
        self.wanted.notify_one();
    }
}

impl Listener for Channels {
    fn hear(&self, record: Record) {
        let Some(said) = Said::decode(&record.payload) else { return };
        if record.partition >= self.lanes.len() {
            return;
        }
        match said {
            Said::Message { id, data, user, time, origin } => {
                let message = Message { id, offset: record.offset, data, user, time, origin };
                self.arrived(&record, message);
            }
            // Who was present before this node listened is asked for.
            _ if record.is_old => {}
            Said::Here { node, key, user, state, since } => {
                self.heard_of(node);
                self.came(&record, Entry { key, user, state, since, node });
            }
            Said::Gone { node, key } => {
                let mut lane = self.lanes[record.partition].lock();
                if let Some(room) = lane.known(&record.key) {
                    room.gone(node, key);
                }
                lane.tidy(&record.key);
            }
            Said::Beat { node } => self.heard_of(node),
            // It could not tell who has left.
            Said::Bye { node } if node == self.node => self.want(&self.wants_own),
            Said::Bye { node } => {
                self.nodes.lock().left(node);
                self.lost_nodes(|one| one == node);
            }
            Said::Who { node } => {
                self.heard_of(node);
                if node != self.node {
                    self.want(&self.wants_tell);
                }
            }
        }
    }

    fn go_on_at(&self, partition: usize, offset: u64) {
        let Some(lane) = self.lanes.get(partition) else { return };
        let mut lane = lane.lock();
        if lane.go_on_at(offset) {
            tracing::warn!(partition, offset, "messages of channels were lost on their way here");
            let node = self.node;
            lane.each(|room, _| room.gone_with(|one| one.node != node));
            self.want(&self.wants_own);
        }
        self.want(&self.wants_who);
    }
}

/// The project and the name of a channel.
fn names(key: &str) -> Option<(ProjectId, ChannelName)> {
    let (project, name) = key.split_once('/')?;
    Some((ProjectId::new(project).ok()?, ChannelName::new(name).ok()?))
}

/// Whether it is sure that something said will be heard.
async fn is_heard(said: Result<Accepted, Error>) -> bool {
    let outcome = match said {
        Ok(accepted) => accepted.await.map_err(unsaid),
        Err(error) => Err(error),
    };
    if let Err(error) = &outcome {
        tracing::debug!(%error, "other nodes can't be told");
    }
    outcome.is_ok()
}

/// As the others are told.
fn here(entry: &Entry) -> Said {
    let Entry { key, user, state, since, node } = entry.clone();
    Said::Here { node, key, user, state, since }
}

/// A bus keeps nothing, so its failures are other than a log's.
fn unsaid(error: eventlog::Error) -> Error {
    match error {
        eventlog::Error::Full { .. } => Error::Busy,
        eventlog::Error::Unsure { .. } => Error::OutcomeUnknown,
        other => Error::Unavailable(other.to_string()),
    }
}
