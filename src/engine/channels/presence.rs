//! Who is present in one channel, as the records of its partition tell: the same on every node
//! that has heard the same. Pure; says what changed.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::message::Entry;

/// Those who are present, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Present {
    entries: BTreeMap<Uuid, Entry>,
}

/// What changed about who is present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Came.
    pub joined: Vec<Entry>,
    /// Went.
    pub left: Vec<Entry>,
    /// Have another state.
    pub updated: Vec<Entry>,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty() && self.updated.is_empty()
    }

    /// What it counts for in a queue.
    pub(super) fn bytes(&self) -> usize {
        let all = self.joined.iter().chain(&self.left).chain(&self.updated);
        all.map(|entry| entry.state.len() + 128).sum()
    }
}

impl Present {
    /// Somebody is there; said again, it changes nothing.
    pub(super) fn here(&mut self, entry: Entry) -> Change {
        match self.entries.insert(entry.key, entry.clone()) {
            None => Change { joined: vec![entry], ..Change::default() },
            Some(before) if before == entry => Change::default(),
            Some(_) => Change { updated: vec![entry], ..Change::default() },
        }
    }

    /// Somebody is there no more. Only the node that it is on says so.
    pub(super) fn gone(&mut self, node: Uuid, key: Uuid) -> Change {
        let is_there = self.entries.get(&key).is_some_and(|entry| entry.node == node);
        let left = is_there.then(|| self.entries.remove(&key)).flatten();
        Change { left: left.into_iter().collect(), ..Change::default() }
    }

    /// All of whom a test holds are there no more.
    pub(super) fn gone_with(&mut self, is_lost: impl Fn(&Entry) -> bool) -> Change {
        let left = self.entries.extract_if(.., |_, entry| is_lost(entry));
        Change { left: left.map(|(_, entry)| entry).collect(), ..Change::default() }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use domain::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn entry(key: u128, node: u128, state: &'static str) -> Entry {
        Entry {
            key: Uuid::from_u128(key),
            user: None,
            state: Bytes::from(state),
            since: Timestamp::from_micros(1),
            node: Uuid::from_u128(node),
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let mut present = Present::default();
        assert_eq!(present.here(entry(1, 9, "a")).joined, [entry(1, 9, "a")]);
        assert!(present.here(entry(1, 9, "a")).is_empty(), "said again");
        assert_eq!(present.here(entry(1, 9, "b")).updated, [entry(1, 9, "b")]);
        assert!(present.gone(Uuid::from_u128(8), Uuid::from_u128(1)).is_empty(), "not its node");
        assert_eq!(present.gone(Uuid::from_u128(9), Uuid::from_u128(1)).left, [entry(1, 9, "b")]);
        assert!(present.gone(Uuid::from_u128(9), Uuid::from_u128(1)).is_empty());
    }

    proptest! {
        /// Whoever has the set of some moment and takes in every change after it has the set.
        #[test]
        fn changes_lead_from_one_set_to_the_next(
            steps in proptest::collection::vec((0_u8..5, 1_u128..6, 1_u128..4), 0..60),
            seen_from in 0_usize..60,
        ) {
            let mut present = Present::default();
            let mut watcher: Option<BTreeMap<Uuid, Entry>> = None;
            for (index, (step, key, node)) in steps.into_iter().enumerate() {
                if index == seen_from {
                    watcher = Some(present.all().map(|one| (one.key, one.clone())).collect());
                }
                let change = match step {
                    0 => present.here(entry(key, node, "a")),
                    1 => present.here(entry(key, node, "b")),
                    2 | 3 => present.gone(Uuid::from_u128(node), Uuid::from_u128(key)),
                    _ => present.gone_with(|one| one.node == Uuid::from_u128(node)),
                };
                let Some(watcher) = &mut watcher else { continue };
                for one in change.joined {
                    prop_assert!(watcher.insert(one.key, one).is_none());
                }
                for one in change.updated {
                    prop_assert!(watcher.insert(one.key, one).is_some());
                }
                for one in change.left {
                    prop_assert_eq!(watcher.remove(&one.key), Some(one));
                }
            }
            if let Some(watcher) = watcher {
                let left: BTreeSet<_> = watcher.keys().copied().collect();
                prop_assert_eq!(left, present.all().map(|one| one.key).collect::<BTreeSet<_>>());
            }
        }
    }
}
