//! The channels of one partition of the bus, on this node. All of a partition is under one lock,
//! so that what one subscriber is told is in the order of the partition's records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::Timestamp;
use domain::projects::ChannelHistory;
use prometheus::IntGauge;

use super::history::{Gone, bytes_of};
use super::message::Message;
use super::room::Room;

/// The channels of a partition.
#[derive(Debug)]
pub(super) struct Lane {
    /// By project and name.
    rooms: HashMap<Arc<str>, Room>,
    /// The last record.
    pub(super) seen: u64,
    /// Of channels that are not here, messages up to this one may have been forgotten.
    floor: u64,
    /// Which channel each message is of that is kept.
    kept: BTreeMap<u64, Arc<str>>,
    kept_bytes: usize,
    kept_bytes_max: usize,
    count: IntGauge,
    bytes: IntGauge,
}

/// A message on its way to a channel, and what is kept there.
pub(super) struct Arriving {
    pub(super) message: Message,
    pub(super) keep: Option<ChannelHistory>,
    /// What its terms say of channels of which nothing else is known.
    pub(super) floor: u64,
}

impl Lane {
    /// Keeps so many bytes of messages at most; counts its channels and bytes there.
    pub(super) fn new(kept_bytes_max: usize, count: IntGauge, bytes: IntGauge) -> Self {
        Self {
            rooms: HashMap::new(),
            seen: 0,
            floor: 0,
            kept: BTreeMap::new(),
            kept_bytes: 0,
            kept_bytes_max,
            count,
            bytes,
        }
    }

    /// Hands a message on and keeps it; returns to how many it was handed.
    pub(super) fn arrive(&mut self, key: &Arc<str>, arriving: Arriving) -> u64 {
        let Arriving { message, keep, floor } = arriving;
        let offset = message.offset;
        if offset <= self.seen {
            return 0;
        }
        self.seen = offset;
        if keep.is_none() && !self.rooms.contains_key(key) {
            return 0;
        }
        let (message, mut gone) = (Arc::new(message), Gone::default());
        self.kept.insert(offset, Arc::clone(key));
        self.kept_bytes += bytes_of(&message);
        self.bytes.add(bytes_of(&message) as i64);
        let deliveries = self.room(key, floor).tell(&message, keep, &mut gone);
        self.forgotten(gone);
        while self.kept_bytes > self.kept_bytes_max
            && let Some((_, oldest)) = self.kept.first_key_value()
        {
            let (oldest, mut gone) = (Arc::clone(oldest), Gone::default());
            // Each message that is kept stands at the beginning of its channel's history once it is
            // the oldest of all.
            if let Some(room) = self.rooms.get_mut(&oldest) {
                room.forget_first(&mut gone);
            }
            if gone.offsets.is_empty() {
                self.kept.pop_first();
            }
            self.forgotten(gone);
            self.tidy(&oldest);
        }
        self.tidy(key);
        deliveries
    }

    fn forgotten(&mut self, gone: Gone) {
        for offset in gone.offsets {
            self.kept.remove(&offset);
        }
        self.kept_bytes -= gone.bytes;
        self.bytes.sub(gone.bytes as i64);
    }

    /// A channel, there from now on; `floor` is what its terms say of one that was not.
    pub(super) fn room(&mut self, key: &Arc<str>, floor: u64) -> &mut Room {
        let (count, floor) = (&self.count, self.floor.max(floor));
        self.rooms.entry(Arc::clone(key)).or_insert_with(|| {
            count.inc();
            Room::new(floor)
        })
    }

    /// A channel, if it is there.
    pub(super) fn known(&mut self, key: &str) -> Option<&mut Room> {
        self.rooms.get_mut(key)
    }

    /// Lets a channel go that nobody needs.
    pub(super) fn tidy(&mut self, key: &str) {
        if self.rooms.get(key).is_some_and(Room::is_idle)
            && let Some(room) = self.rooms.remove(key)
        {
            self.let_go(&room);
        }
    }

    fn let_go(&mut self, room: &Room) {
        self.count.dec();
        if room.has_history() {
            self.floor = self.floor.max(room.floor());
        }
    }

    /// Does something to every channel, and lets those go that nobody needs after it.
    pub(super) fn each(&mut self, mut act: impl FnMut(&mut Room, &mut Gone)) {
        let mut gone = Gone::default();
        for room in self.rooms.values_mut() {
            act(room, &mut gone);
        }
        self.forgotten(gone);
        let idle: Vec<_> =
            self.rooms.extract_if(|_, room| room.is_idle()).map(|(_, room)| room).collect();
        for room in idle {
            self.let_go(&room);
        }
        if self.rooms.capacity() > 4 * self.rooms.len() + 64 {
            self.rooms.shrink_to_fit();
        }
    }

    /// Forgets what is too old.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        self.each(|room, gone| room.forget_old(now, gone));
    }

    /// The next record has this offset: what there was before and was not heard is lost. Returns
    /// whether there was something to lose.
    pub(super) fn go_on_at(&mut self, offset: u64) -> bool {
        let last = offset.saturating_sub(1);
        let is_first = self.seen == 0 && self.rooms.is_empty();
        let has_lost = !is_first && last != self.seen;
        self.seen = last;
        self.floor = last;
        if has_lost {
            self.each(|room, gone| room.lost_up_to(last, gone));
        }
        has_lost
    }
}
