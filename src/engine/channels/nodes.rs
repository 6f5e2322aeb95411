//! Which other nodes live, by what was heard of them. Pure: times are handed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// When each node was heard last.
#[derive(Debug)]
pub(super) struct Nodes {
    heard: HashMap<Uuid, Instant>,
    silence_max: Duration,
}

impl Nodes {
    /// A node that says nothing for so long is dead.
    pub(super) fn new(silence_max: Duration) -> Self {
        Self { heard: HashMap::new(), silence_max }
    }

    /// Something was heard of a node; returns whether it was not known.
    pub(super) fn heard(&mut self, node: Uuid, now: Instant) -> bool {
        self.heard.insert(node, now).is_none()
    }

    /// A node has said that it stops.
    pub(super) fn left(&mut self, node: Uuid) {
        self.heard.remove(&node);
    }

    /// Those that were silent for too long, each told once.
    pub(super) fn dead(&mut self, now: Instant) -> Vec<Uuid> {
        let silence_max = self.silence_max;
        let is_dead = |heard: &Instant| now.saturating_duration_since(*heard) > silence_max;
        self.heard.extract_if(|_, heard| is_dead(heard)).map(|(node, _)| node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_node_is_dead_once_and_new_when_it_speaks_again() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut nodes = Nodes::new(10 * second);
        assert!(nodes.heard(one, start) && nodes.heard(other, start));
        assert!(!nodes.heard(other, start + 5 * second));
        assert!(nodes.dead(start + 10 * second).is_empty());
        assert_eq!(nodes.dead(start + 11 * second), [one]);
        assert!(nodes.dead(start + 11 * second).is_empty());
        assert!(nodes.heard(one, start + 12 * second));
        nodes.left(other);
        assert_eq!(nodes.dead(start + 60 * second), [one]);
    }
}
