//! The newest events of a partition in memory, bounded in bytes, so that whoever follows the tail
//! shares one copy and asks no broker. Offsets may have holes; what lies between the ring's start
//! and the partition's end and is not in the ring does not count.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::{Offset, Recorded};

use crate::{Read, ReadLimit};

/// Every event from `start` up to the partition's end.
pub(super) struct Ring {
    events: VecDeque<Arc<Recorded>>,
    start: Offset,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    /// An empty ring of at most `bytes_max` bytes, by [`domain::Event::weight`], from `start` on.
    pub(super) fn new(bytes_max: usize, start: Offset) -> Self {
        Self { events: VecDeque::new(), start, bytes: 0, bytes_max }
    }

    /// Forgets everything and goes on from `start`.
    pub(super) fn restart(&mut self, start: Offset) {
        *self = Self::new(self.bytes_max, start);
    }

    /// Adds the next event and drops the oldest ones above the bound.
    pub(super) fn push(&mut self, recorded: Arc<Recorded>) {
        self.bytes += recorded.event.weight();
        self.events.push_back(recorded);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.event.weight();
            self.start = oldest.position.offset + 1;
        }
    }

    /// The events from `from` on up to `end`, or `None` when the ring does not reach back that
    /// far.
    pub(super) fn read(&self, from: Offset, end: Offset, limit: ReadLimit) -> Option<Read> {
        if from < self.start {
            return None;
        }
        let skip = self.events.partition_point(|recorded| recorded.position.offset < from);
        let events = limit.take(self.events.range(skip..));
        let all = skip + events.len() == self.events.len();
        let next = match events.last() {
            Some(last) if !all => last.position.offset + 1,
            _ => end,
        };
        Some(Read { events, next })
    }
}

#[cfg(test)]
mod tests {
    use domain::{PartitionId, Position};

    use super::*;
    use crate::conformance::event;

    const ALL: ReadLimit = ReadLimit { events_max: 100, bytes_max: usize::MAX };

    fn recorded(offset: Offset) -> Arc<Recorded> {
        let position = Position { partition: PartitionId(0), offset };
        Arc::new(Recorded { position, event: event("p", offset, 10) })
    }

    #[test]
    fn holes_are_passed_over() {
        let weight = recorded(0).event.weight();
        let mut ring = Ring::new(3 * weight, 4);
        assert_eq!(ring.read(4, 6, ALL), Some(Read { events: vec![], next: 6 }));
        for offset in [6, 9, 10] {
            ring.push(recorded(offset));
        }
        assert_eq!(ring.read(3, 12, ALL), None);
        let read = ring.read(4, 12, ALL).unwrap();
        assert_eq!((read.events.len(), read.next), (3, 12));
        let read = ring.read(7, 12, ReadLimit { events_max: 1, ..ALL }).unwrap();
        assert_eq!((read.events[0].position.offset, read.next), (9, 10));
        assert_eq!(ring.read(11, 12, ALL), Some(Read { events: vec![], next: 12 }));
        ring.push(recorded(12));
        assert_eq!(ring.read(6, 13, ALL), None, "the oldest one went");
        let read = ring.read(7, 13, ALL).unwrap();
        assert_eq!((read.events.len(), read.next), (3, 13));
    }
}
