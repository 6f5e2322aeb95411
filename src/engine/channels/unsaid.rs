//! Who has left while that could not be said: so many, and beyond that only that it was too much.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

/// As many are remembered one by one.
const UNSAID_MAX: usize = 10_000;

/// Those who have left, by channel.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    gone: HashSet<(Arc<str>, Uuid)>,
    is_too_much: bool,
}

impl Unsaid {
    /// Remembers one who has left a channel.
    pub(super) fn add(&mut self, channel: Arc<str>, key: Uuid) {
        if self.is_too_much {
            return;
        }
        self.gone.insert((channel, key));
        if self.gone.len() > UNSAID_MAX {
            self.overflow();
        }
    }

    /// Forgets all of them: others must be told anew who is here.
    pub(super) fn overflow(&mut self) {
        *self = Self { is_too_much: true, ..Self::default() };
    }

    /// Whether it was too much, asked once.
    pub(super) fn take_too_much(&mut self) -> bool {
        std::mem::take(&mut self.is_too_much)
    }

    /// Those that are remembered, who are no more.
    pub(super) fn take(&mut self) -> Vec<(Arc<str>, Uuid)> {
        std::mem::take(&mut self.gone).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_so_many_it_is_only_known_that_it_was_too_much() {
        let (mut unsaid, channel) = (Unsaid::default(), Arc::from("p/a"));
        for key in 0..UNSAID_MAX {
            unsaid.add(Arc::clone(&channel), Uuid::from_u128(key as u128));
        }
        assert!(!unsaid.take_too_much());
        unsaid.add(Arc::clone(&channel), Uuid::from_u128(0));
        assert_eq!(unsaid.take().len(), UNSAID_MAX);
        for key in 0..=UNSAID_MAX + 1 {
            unsaid.add(Arc::clone(&channel), Uuid::from_u128(key as u128));
        }
        assert!(unsaid.take().is_empty());
        assert!(unsaid.take_too_much() && !unsaid.take_too_much());
    }
}
