//! What waits for one connection of all the channels that it is in. Bounded: whoever does not
//! read is left behind, and looks after what it missed once it does.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::message::{Entry, Message, Place};
use super::presence::Change;

/// Names a subscription on this node.
pub type SubId = u64;

/// Something for a subscription.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Which.
    pub sub: SubId,
    /// What.
    pub what: What,
}

/// What a subscriber is told.
#[derive(Debug, Clone)]
pub enum What {
    /// A message.
    Message(Arc<Message>),
    /// Messages are missing here; how many, where that is known.
    Missed(Option<u64>),
    /// Everything up to here has been told; from here on as it comes.
    Live(Place),
    /// Who is present, all of them: what was known before does not count.
    Present(Vec<Entry>),
    /// Who came, went, or is in another state.
    Change(Arc<Change>),
}

impl What {
    /// What it counts for in a queue.
    fn bytes(&self) -> usize {
        64 + match self {
            Self::Message(message) => message.data.len(),
            Self::Change(change) => change.bytes(),
            Self::Missed(_) | Self::Live(_) | Self::Present(_) => 0,
        }
    }
}

/// The queue of one connection.
#[derive(Debug)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    filled: Notify,
    deliveries_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Delivery>,
    bytes: usize,
    /// Subscriptions that must look after what they missed.
    behind: VecDeque<SubId>,
}

/// What there is to do for a connection.
#[derive(Debug)]
pub(super) enum Next {
    Delivery(Delivery),
    Behind(SubId),
}

impl Mailbox {
    pub(super) fn new(deliveries_max: usize, bytes_max: usize) -> Arc<Self> {
        let (state, filled) = Default::default();
        Arc::new(Self { state, filled, deliveries_max, bytes_max })
    }

    /// Adds something, unless there is no room: then the subscription is noted to be behind.
    pub(super) fn offer(&self, delivery: Delivery) -> bool {
        let mut state = self.state.lock();
        let bytes = delivery.what.bytes();
        let fits = state.queue.len() < self.deliveries_max
            && (state.bytes + bytes <= self.bytes_max || state.queue.is_empty());
        if fits {
            state.bytes += bytes;
            state.queue.push_back(delivery);
        } else {
            state.behind.push_back(delivery.sub);
        }
        drop(state);
        self.filled.notify_one();
        fits
    }

    /// Notes that a subscription has something to look after, behind what waits.
    pub(super) fn behind(&self, sub: SubId) {
        self.state.lock().behind.push_back(sub);
        self.filled.notify_one();
    }

    fn try_next(&self) -> Option<Next> {
        let mut state = self.state.lock();
        if let Some(delivery) = state.queue.pop_front() {
            state.bytes -= delivery.what.bytes();
            if state.queue.is_empty() {
                // A burst must not leave every idle connection with a large empty queue.
                state.queue.shrink_to(8);
            }
            return Some(Next::Delivery(delivery));
        }
        state.behind.pop_front().map(Next::Behind)
    }

    /// Waits for something to do. Cancel-safe.
    pub(super) async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::message::testing::message;

    fn delivery(offset: u64) -> Delivery {
        Delivery { sub: 1, what: What::Message(message(offset, "\"0123456789\"")) }
    }

    #[test]
    fn what_does_not_fit_is_noted_and_comes_after_what_waits() {
        for mailbox in [Mailbox::new(2, 1 << 20), Mailbox::new(100, 2 * (64 + 12))] {
            assert!(mailbox.offer(delivery(1)) && mailbox.offer(delivery(2)));
            assert!(!mailbox.offer(delivery(3)));
            for wanted in [1, 2] {
                let next = mailbox.try_next();
                let is_wanted = matches!(&next, Some(Next::Delivery(Delivery {
                    what: What::Message(message), ..
                })) if message.offset == wanted);
                assert!(is_wanted, "{next:?}");
            }
            assert!(matches!(mailbox.try_next(), Some(Next::Behind(1))));
            assert!(mailbox.try_next().is_none() && mailbox.offer(delivery(4)));
        }
    }

    #[test]
    fn one_that_is_larger_than_all_room_still_gets_through() {
        let mailbox = Mailbox::new(10, 1);
        assert!(mailbox.offer(delivery(1)) && !mailbox.offer(delivery(2)));
    }
}
