//! What a node does about channels by itself: it says that it lives, asks who is present where it
//! may not know, answers others who ask, takes silent nodes for dead, and forgets what is too old.

use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;

use super::message::Said;
use super::{Channels, here, is_heard};
use crate::clock;

/// How often what is too old is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A node that others may take for dead after some time says so many times in it that it lives.
const BEATS: u32 = 5;
/// Who asks often is answered at most so often.
const PAUSE: Duration = Duration::from_millis(100);
/// So much is said before it is waited for.
const CHUNK: usize = 256;

impl Channels {
    /// Cares for the channels for as long as the task runs. Whoever waits for others to be told
    /// delays nothing else.
    pub(crate) async fn care(self: Arc<Self>) {
        tokio::join!(self.look_around(), self.keep_beating(), self.keep_telling());
    }

    async fn look_around(&self) {
        let mut look = tokio::time::interval(LOOK_EVERY.min(self.beat_every()));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.forget_old();
            self.bury(Instant::now());
        }
    }

    async fn keep_beating(&self) {
        let mut beat = tokio::time::interval(self.beat_every());
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            self.beat().await;
        }
    }

    async fn keep_telling(&self) {
        loop {
            self.wanted.notified().await;
            self.say_what_is_wanted().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn beat_every(&self) -> Duration {
        self.options.node_silence_max / BEATS
    }

    fn forget_old(&self) {
        let now = clock::now();
        for lane in &self.lanes {
            lane.lock().forget_old(now);
        }
    }

    /// Takes silent nodes for dead.
    pub(super) fn bury(&self, now: Instant) {
        let dead = self.nodes.lock().dead(now);
        if !dead.is_empty() {
            tracing::info!(nodes = ?dead, "nodes are silent: nobody on them counts as present");
            self.lost_nodes(|node| dead.contains(&node));
        }
    }

    /// Says that the node lives, and what could not be said before.
    pub(super) async fn beat(&self) {
        if !self.bus.is_shared() {
            return;
        }
        let is_too_much = self.unsaid.lock().take_too_much();
        if is_too_much {
            // All forget who is here, and are told anew.
            match is_heard(self.say_of_node(&Said::Bye { node: self.node })).await {
                true => self.want(&self.wants_tell),
                false => self.unsaid.lock().overflow(),
            }
        }
        // After a Bye, whoever hears this asks who is here.
        if is_heard(self.say_of_node(&Said::Beat { node: self.node })).await {
            self.say_unsaid().await;
        }
    }

    /// Says who has left, as far as that could not be said before.
    async fn say_unsaid(&self) {
        let gone = self.unsaid.lock().take();
        let mut is_said = true;
        for chunk in gone.chunks(CHUNK) {
            let mut outcomes = vec![false; chunk.len()];
            if is_said {
                let said = chunk.iter().map(|(channel, key)| {
                    is_heard(self.say(channel, &Said::Gone { node: self.node, key: *key }))
                });
                outcomes = join_all(said).await;
            }
            for ((channel, key), _) in chunk.iter().zip(outcomes).filter(|(_, said)| !said) {
                is_said = false;
                self.unsaid.lock().add(Arc::clone(channel), *key);
            }
        }
    }

    /// Asks others, and answers them.
    pub(super) async fn say_what_is_wanted(&self) {
        if self.wants_own.swap(false, AcqRel) {
            self.put_own_back();
        }
        if !self.bus.is_shared() {
            return;
        }
        if self.wants_who.swap(false, AcqRel)
            && !is_heard(self.say_of_node(&Said::Who { node: self.node })).await
        {
            self.want(&self.wants_who);
        }
        if self.wants_tell.swap(false, AcqRel) && !self.tell_mine().await {
            self.want(&self.wants_tell);
        }
    }

    /// Says again who is present by a connection to this node, until something can't be said;
    /// returns whether all of it was.
    async fn tell_mine(&self) -> bool {
        let keys: Vec<_> = self.mine.lock().keys().copied().collect();
        for chunk in keys.chunks(CHUNK) {
            let said: Vec<_> = {
                let mine = self.mine.lock();
                let known = chunk.iter().filter_map(|key| mine.get(key));
                known
                    .map(|(channel, entry)| is_heard(self.say(&channel.key, &here(entry))))
                    .collect()
            };
            if join_all(said).await.contains(&false) {
                return false;
            }
        }
        true
    }

    /// Says that the node stops, and hears nothing any more.
    pub(crate) async fn stop(&self) {
        if self.bus.is_shared() {
            is_heard(self.say_of_node(&Said::Bye { node: self.node })).await;
        }
        self.close();
    }
}
