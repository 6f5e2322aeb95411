//! One connection's part in channels: its subscriptions, what waits for it, and where it is
//! present. Dropped, it leaves all of them at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use domain::UserId;
use eventlog::ephemeral::Accepted;
use futures_util::FutureExt as _;
use uuid::Uuid;

use super::mailbox::{Delivery, Mailbox, Next, SubId, What};
use super::message::{Entry, Place};
use super::{AHEAD_MAX, Channel, Channels, unsaid};
use crate::clock;
use crate::error::Error;

/// A connection.
pub struct Inbox {
    channels: Arc<Channels>,
    mailbox: Arc<Mailbox>,
    id: Uuid,
    /// What one who was behind is being given.
    ready: VecDeque<Delivery>,
    subs: HashMap<SubId, Sub>,
}

struct Sub {
    channel: Channel,
    /// Names what is said of this connection, where it is present itself.
    present: Option<Uuid>,
}

impl Inbox {
    /// In no channel yet.
    pub fn new(channels: &Arc<Channels>) -> Self {
        let options = channels.options();
        Self {
            mailbox: Mailbox::new(options.queue_messages_max, options.queue_bytes_max),
            channels: Arc::clone(channels),
            id: Uuid::now_v7(),
            ready: VecDeque::new(),
            subs: HashMap::new(),
        }
    }

    /// Names the connection among those of all nodes.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Hears a channel's messages from now on, or from after a place. What to tell at once; the
    /// rest comes by [`Inbox::next`].
    pub fn join(&mut self, channel: &Channel, from: Option<Place>) -> (SubId, Vec<What>) {
        let sub = self.add(channel);
        let partition = self.channels.partition(&channel.key);
        let epoch = self.channels.bus.epoch();
        let mut lane = self.channels.lanes[partition].lock();
        let seen = Place { epoch, offset: lane.seen };
        let of = (&channel.project, &channel.name);
        let (keep, floor) = self.channels.terms_of(of, partition, seen.offset);
        let room = lane.room(&channel.key, floor);
        // One far ahead is of an order that is gone.
        let is_far = |from: &Place| from.offset > seen.offset.saturating_add(AHEAD_MAX);
        let from = from.map(|from| match is_far(&from) {
            true => Place { epoch: !epoch, ..from },
            false => from,
        });
        let told = room.join((sub, self.id), &self.mailbox, seen, from, keep);
        (sub, told)
    }

    /// Hears who is present in a channel; who is now.
    pub fn watch(&mut self, channel: &Channel) -> (SubId, What) {
        let sub = self.add(channel);
        let partition = self.channels.partition(&channel.key);
        let mut lane = self.channels.lanes[partition].lock();
        let of = (&channel.project, &channel.name);
        let (_, floor) = self.channels.terms_of(of, partition, lane.seen);
        (sub, lane.room(&channel.key, floor).watch(sub, &self.mailbox))
    }

    fn add(&mut self, channel: &Channel) -> SubId {
        let sub = self.channels.next_sub.fetch_add(1, Relaxed);
        self.subs.insert(sub, Sub { channel: channel.clone(), present: None });
        self.channels.metrics.subscriptions.inc();
        sub
    }

    /// Is present itself in the channel of a subscription, in this state; said again, in another
    /// one. The answer comes once it is sure that all nodes hear of it.
    ///
    /// Errors: [`domain::rejected::Reason::TooMany`], [`Error::Busy`].
    pub fn be_present(
        &mut self,
        sub: SubId,
        user: Option<UserId>,
        state: Bytes,
    ) -> Result<impl Future<Output = Result<(), Error>> + use<>, Error> {
        let gone = || Error::NotFound("the subscription".to_owned());
        let known = self.subs.get_mut(&sub).ok_or_else(gone)?;
        let key = known.present.unwrap_or_else(Uuid::now_v7);
        let (node, since) = (self.channels.node, clock::now());
        let entry = Entry { key, user, state, since, node };
        let accepted: Accepted = self.channels.announce(&known.channel, entry)?;
        known.present = Some(key);
        Ok(async move { accepted.await.map(drop).map_err(unsaid) })
    }

    /// Whether it is present itself by this subscription.
    pub fn is_present(&self, sub: SubId) -> bool {
        self.subs.get(&sub).is_some_and(|sub| sub.present.is_some())
    }

    /// Ends a subscription.
    pub fn leave(&mut self, sub: SubId) {
        let Some(Sub { channel, present }) = self.subs.remove(&sub) else { return };
        self.channels.metrics.subscriptions.dec();
        let mut lane = self.channels.lane_of(&channel.key).lock();
        if let Some(room) = lane.known(&channel.key) {
            room.leave(sub);
        }
        lane.tidy(&channel.key);
        drop(lane);
        if let Some(key) = present {
            self.channels.renounce(key);
        }
    }

    /// What comes next, of subscriptions that have not ended. Cancel-safe.
    pub async fn next(&mut self) -> Delivery {
        loop {
            let delivery = match self.ready.pop_front() {
                Some(ready) => ready,
                None => match self.mailbox.next().await {
                    Next::Delivery(delivery) => delivery,
                    Next::Behind(sub) => {
                        self.catch_up(sub);
                        continue;
                    }
                },
            };
            if self.subs.contains_key(&delivery.sub) {
                return delivery;
            }
        }
    }

    /// What comes next, if it is there already.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.next().now_or_never()
    }

    fn catch_up(&mut self, sub: SubId) {
        let Some(Sub { channel, .. }) = self.subs.get(&sub) else { return };
        let epoch = self.channels.bus.epoch();
        let mut lane = self.channels.lane_of(&channel.key).lock();
        let seen = Place { epoch, offset: lane.seen };
        let Some(room) = lane.known(&channel.key) else { return };
        for what in room.catch_up(sub, seen) {
            if let What::Missed(missed) = &what {
                self.channels.metrics.channel_missed.inc_by(missed.unwrap_or(1));
            }
            self.ready.push_back(Delivery { sub, what });
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let subs: Vec<_> = self.subs.keys().copied().collect();
        for sub in subs {
            self.leave(sub);
        }
    }
}
