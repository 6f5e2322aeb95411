//! The newest events of a partition in memory, bounded in bytes, so that whoever follows the tail
//! shares one copy and never touches the disk. Holds only what is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::{Offset, Recorded};

use crate::ReadLimit;

/// The newest events, without holes.
pub(super) struct Ring {
    events: VecDeque<Arc<Recorded>>,
    bytes: usize,
    bytes_max: usize,
}

impl Ring {
    /// An empty ring of at most `bytes_max` bytes, by [`domain::Event::weight`].
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the next event and drops the oldest ones above the bound.
    pub(super) fn push(&mut self, recorded: Arc<Recorded>) {
        self.bytes += recorded.event.weight();
        self.events.push_back(recorded);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.event.weight();
        }
    }

    /// The events from `from` on, or `None` when the ring does not reach back that far.
    pub(super) fn read(&self, from: Offset, limit: ReadLimit) -> Option<Vec<Arc<Recorded>>> {
        let first = self.events.front()?.position.offset;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        (skip < self.events.len()).then(|| limit.take(self.events.range(skip..)))
    }
}
