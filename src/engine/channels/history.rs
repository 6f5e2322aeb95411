//! The newest messages of one channel. Knows exactly from where on it has all of them: whoever
//! comes back is either given everything that it missed, or told that something is missing.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::Timestamp;
use domain::projects::ChannelHistory;

use super::message::Message;

/// What an entry costs beside its data, about.
const ENTRY_BYTES: usize = 256;

/// Messages that are kept no more.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Their places.
    pub(super) offsets: Vec<u64>,
    /// What they counted for.
    pub(super) bytes: usize,
}

/// Messages in order, all there were after `floor`.
#[derive(Debug, Default)]
pub(super) struct History {
    messages: VecDeque<Arc<Message>>,
    /// Messages up to this offset may be gone.
    floor: u64,
}

impl History {
    /// Of a channel of which nothing is known up to `floor`.
    pub(super) fn new(floor: u64) -> Self {
        Self { messages: VecDeque::new(), floor }
    }

    /// Takes the newest message in; keeps as many as the terms say.
    pub(super) fn push(
        &mut self,
        message: Arc<Message>,
        keep: Option<ChannelHistory>,
        gone: &mut Gone,
    ) {
        let most = keep.map_or(0, |keep| keep.messages as usize);
        self.messages.push_back(message);
        while self.messages.len() > most {
            self.forget_first(gone);
        }
    }

    /// Forgets the oldest message.
    pub(super) fn forget_first(&mut self, gone: &mut Gone) {
        let Some(first) = self.messages.pop_front() else { return };
        self.floor = self.floor.max(first.offset);
        gone.offsets.push(first.offset);
        gone.bytes += bytes_of(&first);
    }

    /// Forgets the messages of before `time`.
    pub(super) fn forget_before(&mut self, time: Timestamp, gone: &mut Gone) {
        while self.messages.front().is_some_and(|first| first.time < time) {
            self.forget_first(gone);
        }
    }

    /// Something up to this offset was not heard, and nothing before it is counted alike.
    pub(super) fn lost_up_to(&mut self, offset: u64, gone: &mut Gone) {
        while !self.messages.is_empty() {
            self.forget_first(gone);
        }
        self.floor = offset;
    }

    /// Whether everything after this offset is here.
    pub(super) fn reaches(&self, offset: u64) -> bool {
        offset >= self.floor
    }

    /// The messages after an offset.
    pub(super) fn after(&self, offset: u64) -> impl Iterator<Item = &Arc<Message>> {
        let first = self.messages.partition_point(|message| message.offset <= offset);
        self.messages.iter().skip(first)
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// What a message counts for while it is kept.
pub(super) fn bytes_of(message: &Message) -> usize {
    message.data.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channels::message::testing::message;

    const KEEP: ChannelHistory = ChannelHistory { messages: 3, seconds: 60 };

    fn offsets(history: &History, after: u64) -> Vec<u64> {
        history.after(after).map(|message| message.offset).collect()
    }

    #[test]
    fn the_newest_are_kept_and_it_is_known_from_where_on() {
        let mut history = History::new(10);
        assert!(!history.reaches(9) && history.reaches(10));
        for offset in [12, 15, 16] {
            history.push(message(offset, "1"), Some(KEEP), &mut Gone::default());
        }
        assert!(history.reaches(10) && !history.reaches(9));
        history.push(message(20, "1"), Some(KEEP), &mut Gone::default());
        assert_eq!((history.floor(), offsets(&history, 0)), (12, vec![15, 16, 20]));
        assert!(!history.reaches(11) && history.reaches(12));
        assert_eq!(offsets(&history, 15), [16, 20]);
        history.lost_up_to(30, &mut Gone::default());
        assert!(!history.reaches(29) && history.reaches(30) && history.is_empty());
    }

    #[test]
    fn without_history_nothing_is_kept_and_nothing_promised() {
        let mut history = History::new(0);
        history.push(message(1, "1"), None, &mut Gone::default());
        assert!(history.is_empty() && !history.reaches(0) && history.reaches(1));
    }

    proptest! {
        /// Whatever is pushed and forgotten: who is told that nothing is missing gets all of it.
        #[test]
        fn who_is_told_that_all_is_here_gets_all(
            steps in proptest::collection::vec((0_u8..6, 1_u64..4), 1..60),
            from in 0_u64..100,
        ) {
            let (mut history, mut all, mut offset) = (History::new(0), Vec::new(), 0);
            let (mut gone, mut bytes) = (Gone::default(), 0);
            for (step, by) in steps {
                match step {
                    0 => history.forget_first(&mut gone),
                    1 => {
                        let time = Timestamp::from_micros(offset as i64 - 3);
                        history.forget_before(time, &mut gone);
                    }
                    _ => {
                        offset += by;
                        all.push(offset);
                        let message = message(offset, "\"x\"");
                        bytes += bytes_of(&message);
                        history.push(message, Some(KEEP), &mut gone);
                    }
                }
            }
            let kept: usize = history.after(0).map(|message| bytes_of(message)).sum();
            prop_assert_eq!(gone.bytes, bytes - kept);
            prop_assert_eq!(gone.offsets.len(), all.len() - history.after(0).count());
            if history.reaches(from) {
                let wanted: Vec<u64> = all.into_iter().filter(|one| *one > from).collect();
                prop_assert_eq!(offsets(&history, from), wanted);
            }
        }
    }
}
