//! What a node does about channels by itself: it says that it lives, asks who is present where it
//! may not know, answers others who ask, takes silent nodes for dead, and forgets what is too old.

use std::sync::Arc;
use std::sync::atomic::Ordering::AcqRel;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::message::Said;
use super::{Channels, here, unsaid};
use crate::clock;

/// How often what is too old is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A node that others may take for dead after some time says so many times in it that it lives.
const BEATS: u32 = 5;
/// Who asks often is answered at most so often.
const PAUSE: Duration = Duration::from_millis(100);

impl Channels {
    /// Cares for the channels for as long as the task runs.
    pub(crate) async fn care(self: Arc<Self>) {
        let beat_every = self.options.node_silence_max / BEATS;
        let mut look = tokio::time::interval(LOOK_EVERY.min(beat_every));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beaten: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = look.tick() => {
                    self.forget_old();
                    self.bury(Instant::now());
                    if beaten.is_none_or(|beaten| beaten.elapsed() >= beat_every) {
                        beaten = Some(Instant::now());
                        self.beat().await;
                    }
                }
                () = self.wanted.notified() => {
                    self.say_what_is_wanted().await;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
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
    async fn beat(self: &Arc<Self>) {
        if !self.bus.is_shared() {
            return;
        }
        let unsaid: Vec<_> = self.unsaid.lock().drain().collect();
        for (channel, key) in unsaid {
            self.say_gone(channel, key);
        }
        self.say_or_log(&Said::Beat { node: self.node }).await;
    }

    async fn say_or_log(&self, said: &Said) -> bool {
        let outcome = match self.say_of_node(said) {
            Ok(accepted) => accepted.await.map_err(unsaid),
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            tracing::debug!(%error, "other nodes can't be told");
        }
        outcome.is_ok()
    }

    /// Asks others, and answers them.
    pub(super) async fn say_what_is_wanted(&self) {
        if !self.bus.is_shared() {
            return;
        }
        if self.wants_who.swap(false, AcqRel)
            && !self.say_or_log(&Said::Who { node: self.node }).await
        {
            self.want(&self.wants_who);
        }
        if self.wants_tell.swap(false, AcqRel) && !self.tell_mine().await {
            self.want(&self.wants_tell);
        }
    }

    /// Says again who is present by a connection to this node; returns whether all of it was.
    async fn tell_mine(&self) -> bool {
        let keys: Vec<_> = self.mine.lock().keys().copied().collect();
        let mut is_told = true;
        for key in keys {
            let said = {
                let mine = self.mine.lock();
                let Some((channel, entry)) = mine.get(&key) else { continue };
                self.say(&channel.key, &here(entry))
            };
            is_told &= match said {
                Ok(accepted) => accepted.await.is_ok(),
                Err(_) => false,
            };
        }
        is_told
    }

    /// Says that the node stops, and hears nothing any more.
    pub(crate) async fn stop(&self) {
        if self.bus.is_shared() {
            self.say_or_log(&Said::Bye { node: self.node }).await;
        }
        self.close();
    }
}
