//! One channel on this node: its history, who is present, and the subscriptions that hear of both.
//! There only while one of them is; every call is made under the lock of its partition.

use std::collections::HashMap;
use std::sync::Arc;

use domain::Timestamp;
use domain::projects::ChannelHistory;
use uuid::Uuid;

use super::history::{Gone, History};
use super::mailbox::{Delivery, Mailbox, SubId, What};
use super::message::{Entry, Message, Place};
use super::presence::{Change, Present};

/// Messages that one who is behind is given at a time.
const CATCH_UP_MESSAGES: usize = 64;

/// A channel.
#[derive(Debug)]
pub(super) struct Room {
    history: History,
    keep: Option<ChannelHistory>,
    pub(super) present: Present,
    members: HashMap<SubId, Member>,
    watchers: HashMap<SubId, Watcher>,
}

/// A subscription to the messages.
#[derive(Debug)]
struct Member {
    mailbox: Arc<Mailbox>,
    /// The connection that it is of.
    connection: Uuid,
    /// It was given, or told to miss, everything up to here.
    last: u64,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It is given each message as it comes.
    Live,
    /// It has missed so many since, as far as that is known.
    Behind(Option<u64>),
}

/// A subscription to who is present.
#[derive(Debug)]
struct Watcher {
    mailbox: Arc<Mailbox>,
    is_behind: bool,
}

impl Room {
    /// A channel of which nothing is known up to `floor`.
    pub(super) fn new(floor: u64) -> Self {
        Self {
            history: History::new(floor),
            keep: None,
            present: Present::default(),
            members: HashMap::new(),
            watchers: HashMap::new(),
        }
    }

    /// Whether nobody needs it: then it must go.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty()
            && self.watchers.is_empty()
            && self.present.len() == 0
            && self.history.is_empty()
    }

    /// Hands a message to all who are in the channel; returns how many were given it.
    pub(super) fn tell(
        &mut self,
        message: &Arc<Message>,
        keep: Option<ChannelHistory>,
        gone: &mut Gone,
    ) -> u64 {
        self.keep = keep;
        self.history.push(Arc::clone(message), keep, gone);
        let mut deliveries = 0;
        for (sub, member) in &mut self.members {
            if message.offset <= member.last || message.is_of(member.connection) {
                continue;
            }
            match &mut member.state {
                State::Behind(missed) => *missed = missed.map(|missed| missed + 1),
                State::Live => {
                    let what = What::Message(Arc::clone(message));
                    if member.mailbox.offer(Delivery { sub: *sub, what }) {
                        member.last = message.offset;
                        deliveries += 1;
                    } else {
                        member.state = State::Behind(Some(1));
                    }
                }
            }
        }
        deliveries
    }

    /// Adds a subscription to the messages: from now on, or after a place. Returns what it must be
    /// told at once; more may follow by [`Room::catch_up`].
    pub(super) fn join(
        &mut self,
        (sub, connection): (SubId, Uuid),
        mailbox: &Arc<Mailbox>,
        seen: Place,
        from: Option<Place>,
        keep: Option<ChannelHistory>,
    ) -> Vec<What> {
        self.keep = keep;
        let mailbox = Arc::clone(mailbox);
        let mut member = Member { mailbox, connection, last: seen.offset, state: State::Live };
        let told = match from {
            None => vec![What::Live(seen)],
            // What nobody keeps can't be asked for, nor what another start has counted.
            Some(_) if keep.is_none() => vec![What::Missed(None), What::Live(seen)],
            Some(from) => {
                // Where nodes share the order, another one may be ahead: what comes up to there
                // is known to the client.
                member.last = if from.epoch == seen.epoch { from.offset } else { 0 };
                member.state = State::Behind(None);
                let is_known = from.epoch == seen.epoch && self.history.reaches(from.offset);
                member.mailbox.behind(sub);
                match is_known {
                    true => Vec::new(),
                    false => {
                        member.last = self.history.floor();
                        vec![What::Missed(None)]
                    }
                }
            }
        };
        self.members.insert(sub, member);
        told
    }

    /// Gives one who is behind what it has missed, as far as it is here; `seen` is how far the
    /// channel is.
    pub(super) fn catch_up(&mut self, sub: SubId, seen: Place) -> Vec<What> {
        if let Some(watcher) = self.watchers.get_mut(&sub) {
            let was_behind = std::mem::take(&mut watcher.is_behind);
            return if was_behind { vec![self.all_present()] } else { Vec::new() };
        }
        let Some(member) = self.members.get_mut(&sub) else { return Vec::new() };
        let State::Behind(missed) = member.state else { return Vec::new() };
        let mut told = Vec::new();
        if self.keep.is_none() {
            told.push(What::Missed(missed));
            member.last = member.last.max(seen.offset);
        } else if !self.history.reaches(member.last) {
            told.push(What::Missed(None));
            member.last = self.history.floor();
        }
        let mut left = self.history.after(member.last);
        for message in left.by_ref().take(CATCH_UP_MESSAGES) {
            member.last = message.offset;
            if !message.is_of(member.connection) {
                told.push(What::Message(Arc::clone(message)));
            }
        }
        // What was counted before is told by now, or is in the history.
        match left.next() {
            Some(_) => {
                member.state = State::Behind(None);
                member.mailbox.behind(sub);
            }
            None => {
                member.state = State::Live;
                let offset = member.last.max(seen.offset);
                member.last = offset;
                told.push(What::Live(Place { offset, ..seen }));
            }
        }
        told
    }

    /// Adds a subscription to who is present; returns who is.
    pub(super) fn watch(&mut self, sub: SubId, mailbox: &Arc<Mailbox>) -> What {
        let watcher = Watcher { mailbox: Arc::clone(mailbox), is_behind: false };
        self.watchers.insert(sub, watcher);
        self.all_present()
    }

    fn all_present(&self) -> What {
        What::Present(self.present.all().cloned().collect())
    }

    /// Ends a subscription.
    pub(super) fn leave(&mut self, sub: SubId) {
        self.members.remove(&sub);
        self.watchers.remove(&sub);
    }

    /// Somebody is present.
    pub(super) fn here(&mut self, entry: Entry) {
        let change = self.present.here(entry);
        self.tell_change(change);
    }

    /// Somebody is present no more.
    pub(super) fn gone(&mut self, node: Uuid, key: Uuid) {
        let change = self.present.gone(node, key);
        self.tell_change(change);
    }

    /// Nobody of whom a test holds is present any more.
    pub(super) fn gone_with(&mut self, is_lost: impl Fn(&Entry) -> bool) {
        let change = self.present.gone_with(is_lost);
        self.tell_change(change);
    }

    fn tell_change(&mut self, change: Change) {
        if change.is_empty() {
            return;
        }
        let change = Arc::new(change);
        for (sub, watcher) in self.watchers.iter_mut().filter(|(_, one)| !one.is_behind) {
            let what = What::Change(Arc::clone(&change));
            watcher.is_behind = !watcher.mailbox.offer(Delivery { sub: *sub, what });
        }
    }

    /// Records up to this offset were lost: whoever is in the channel has missed what they said.
    pub(super) fn lost_up_to(&mut self, offset: u64, gone: &mut Gone) {
        for (sub, member) in &mut self.members {
            if member.last > offset {
                // The order was begun anew.
                member.last = 0;
            }
            if member.state == State::Live {
                member.mailbox.behind(*sub);
            }
            member.state = State::Behind(None);
        }
        for (sub, watcher) in self.watchers.iter_mut().filter(|(_, one)| !one.is_behind) {
            watcher.is_behind = true;
            watcher.mailbox.behind(*sub);
        }
        self.history.lost_up_to(offset, gone);
    }

    /// Forgets messages that are older than the terms say.
    pub(super) fn forget_old(&mut self, now: Timestamp, gone: &mut Gone) {
        let seconds = self.keep.map_or(0, |keep| keep.seconds);
        let before = now.as_micros().saturating_sub(i64::from(seconds) * 1_000_000);
        self.history.forget_before(Timestamp::from_micros(before), gone);
    }

    /// Forgets the oldest message.
    pub(super) fn forget_first(&mut self, gone: &mut Gone) {
        self.history.forget_first(gone);
    }

    /// Whether its messages are kept.
    pub(super) fn has_history(&self) -> bool {
        self.keep.is_some()
    }

    /// Up to where messages may be gone.
    pub(super) fn floor(&self) -> u64 {
        self.history.floor()
    }
}

impl Message {
    fn is_of(&self, connection: Uuid) -> bool {
        self.origin == Some(connection)
    }
}
