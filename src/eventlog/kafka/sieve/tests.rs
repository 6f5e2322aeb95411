use std::sync::Arc;

use domain::{Event, Offset, PartitionId, Recorded, TransactionPart};
use proptest::prelude::*;
use uuid::Uuid;

use super::Sieve;
use crate::Error;
use crate::kafka::record::Entry;
use crate::kafka::record::tests::plain;

const PARTITION: PartitionId = PartitionId(3);

/// A record as short as the rule allows.
#[derive(Debug, Clone, Copy)]
enum Rec {
    /// Expected to be at this offset.
    One(Offset),
    /// The same, a part of the transaction `id`: index, count.
    Part(Offset, u8, u32, u32),
    /// At its offset, but not to be decoded.
    Spoilt(Offset),
    Takeover,
    Foreign,
    /// The broker has no such record.
    Hole,
}

impl Rec {
    fn entry(self) -> Option<Entry> {
        let transaction = match self {
            Self::Part(_, id, index, count) => {
                Some(TransactionPart { id: Uuid::from_u128(id.into()), index, count })
            }
            _ => None,
        };
        Some(match self {
            Self::One(expected) | Self::Part(expected, ..) => {
                Entry::Event { expected, event: Ok(Event { transaction, ..plain() }), transaction }
            }
            Self::Spoilt(expected) => {
                Entry::Event { expected, event: Err("spoilt".to_owned()), transaction }
            }
            Self::Takeover => Entry::TookOver { node: "n".to_owned() },
            Self::Foreign => Entry::Foreign,
            Self::Hole => return None,
        })
    }
}

/// What a sieve lets through of a log, read from `from`, and how far that is decided.
fn sift(log: &[Rec], from: Offset) -> Result<(Vec<Arc<Recorded>>, Offset), Error> {
    let mut sieve = Sieve::new(PARTITION, from);
    let mut out = Vec::new();
    for (rec, offset) in log.iter().zip(0..).skip(from as usize) {
        if let Some(entry) = rec.entry() {
            sieve.push(offset, entry, &mut out)?;
        }
        if let Some(earlier) = sieve.must_start_at() {
            assert!(out.is_empty() && earlier < from);
            let (mut all, next) = sift(log, earlier)?;
            all.retain(|recorded| recorded.position.offset >= from);
            return Ok((all, next.max(from)));
        }
    }
    Ok((out, sieve.next()))
}

fn offsets(log: &[Rec], from: Offset) -> (Vec<Offset>, Offset) {
    let (events, next) = sift(log, from).unwrap();
    (events.iter().map(|recorded| recorded.position.offset).collect(), next)
}

#[test]
fn a_record_counts_where_it_was_expected() {
    use Rec::{Foreign, One, Takeover};
    let log = [Takeover, One(1), One(2), Takeover, One(3), One(5), Foreign, One(6), One(8)];
    assert_eq!(offsets(&log, 0), (vec![1, 2, 5, 8], 9));
    let (events, _) = sift(&log, 2).unwrap();
    assert_eq!(events[0].position.to_string(), "3-2");
}

#[test]
fn a_transaction_counts_whole_or_not_at_all() {
    use Rec::{Hole, One, Part, Takeover};
    let whole = [Takeover, Part(1, 1, 0, 2), Part(2, 1, 1, 2), Part(3, 2, 0, 1), One(4)];
    assert_eq!(offsets(&whole, 0), (vec![1, 2, 3, 4], 5));
    // Started within: the first record is sought, and what is before the start is not returned.
    assert_eq!(offsets(&whole, 2), (vec![2, 3, 4], 5));

    let begun = &whole[..2];
    assert_eq!(offsets(begun, 0), (vec![], 1));
    let cut = [Takeover, Part(1, 1, 0, 2), Takeover, Part(2, 1, 1, 2), One(4)];
    assert_eq!(offsets(&cut, 0), (vec![4], 5));
    assert_eq!(offsets(&cut[..3], 0), (vec![], 3));
    let own = [Takeover, Part(1, 1, 0, 2), One(2), Part(3, 1, 1, 2)];
    assert_eq!(offsets(&own, 0), (vec![2], 4));
    let other = [Takeover, Part(1, 1, 0, 2), Part(2, 9, 1, 2)];
    assert_eq!(offsets(&other, 0), (vec![], 3));
    let restarted = [Part(0, 1, 0, 2), Part(1, 1, 0, 2), Part(2, 1, 1, 2)];
    assert_eq!(offsets(&restarted, 0), (vec![1, 2], 3));
    let holed = [Takeover, Part(1, 1, 0, 3), Hole, Part(3, 1, 2, 3), One(4)];
    for from in 0..4 {
        assert_eq!(offsets(&holed, from), (vec![4], 5), "from {from}");
    }
}

#[test]
fn holes_are_skipped() {
    use Rec::{Hole, One, Part};
    let log = [One(0), Hole, Hole, One(3), Hole, Part(5, 1, 0, 2), Part(6, 1, 1, 2)];
    assert_eq!(offsets(&log, 0), (vec![0, 3, 5, 6], 7));
    assert_eq!(offsets(&log, 1), (vec![3, 5, 6], 7));
}

#[test]
fn what_was_taken_is_ignored_when_it_comes_again() {
    let log = [Rec::One(0), Rec::Part(1, 1, 0, 2), Rec::Part(2, 1, 1, 2)];
    let (mut sieve, mut out) = (Sieve::new(PARTITION, 0), Vec::new());
    for last in 0..3 {
        for (rec, offset) in log.iter().zip(0..=last) {
            sieve.push(offset, rec.entry().unwrap(), &mut out).unwrap();
        }
    }
    assert_eq!((out.len(), sieve.next()), (3, 3));
}

#[test]
fn what_retention_has_cut_is_void() {
    let (mut sieve, mut out) = (Sieve::at_log_start(PARTITION, 6), Vec::new());
    for (rec, offset) in [Rec::Part(6, 1, 1, 3), Rec::Part(7, 1, 2, 3), Rec::One(8)].iter().zip(6..)
    {
        sieve.push(offset, rec.entry().unwrap(), &mut out).unwrap();
    }
    assert_eq!(sieve.must_start_at(), None);
    assert_eq!((out.len(), sieve.next()), (1, 9));
}

#[test]
fn a_spoilt_record_stops_the_reader_if_it_counts() {
    let log = [Rec::One(0), Rec::Spoilt(0), Rec::One(2)];
    assert_eq!(offsets(&log, 0), (vec![0, 2], 3));

    let (mut sieve, mut out) = (Sieve::new(PARTITION, 0), Vec::new());
    for (rec, offset) in [Rec::One(0), Rec::Spoilt(1), Rec::One(2), Rec::Takeover].iter().zip(0..) {
        let result = sieve.push(offset, rec.entry().unwrap(), &mut out);
        match (offset, result) {
            (0, Ok(())) => {}
            (_, Err(Error::Corrupt { offset: 1, .. })) if offset > 0 => {}
            (_, other) => panic!("{other:?} at {offset}"),
        }
    }
    assert_eq!((out.len(), sieve.next()), (1, 1));
}

#[test]
fn a_spoilt_transaction_is_not_let_through_in_part() {
    let (mut sieve, mut out) = (Sieve::new(PARTITION, 0), Vec::new());
    let part = |index| TransactionPart { id: Uuid::nil(), index, count: 2 };
    let event = Ok(Event { transaction: Some(part(0)), ..plain() });
    let first = Entry::Event { expected: 0, event, transaction: Some(part(0)) };
    sieve.push(0, first, &mut out).unwrap();
    let spoilt = Err("spoilt".to_owned());
    let last = Entry::Event { expected: 1, event: spoilt, transaction: Some(part(1)) };
    let result = sieve.push(1, last, &mut out);
    assert!(matches!(result, Err(Error::Corrupt { offset: 1, .. })));
    assert_eq!((out.len(), sieve.next()), (0, 0));
}

/// Logs that no sound writer makes, too: mostly at their offsets, with transactions that go on,
/// break off, overlap and lie.
fn logs() -> impl Strategy<Value = Vec<Rec>> {
    let rec = (0..14u8, 0..4u64, 1..3u8, 1..4u32);
    proptest::collection::vec(rec, 0..16).prop_map(|all| {
        let mut next = None;
        all.into_iter()
            .zip(0..)
            .map(|((kind, back, id, count), offset)| {
                let (id, index, count) = match next.take() {
                    Some(part) if kind < 9 => part,
                    _ => (id, if kind == 13 { back as u32 % count } else { 0 }, count),
                };
                if kind < 7 || kind == 13 {
                    next = (index + 1 < count).then_some((id, index + 1, count));
                }
                match kind {
                    0..7 | 13 => Rec::Part(offset, id, index, count),
                    7 => Rec::Part(offset.saturating_sub(back), id, index, count),
                    8 | 9 => Rec::One(offset),
                    10 => Rec::One(offset.saturating_sub(back)),
                    11 if back == 0 => Rec::Hole,
                    11 => Rec::Foreign,
                    _ => Rec::Takeover,
                }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn from_anywhere_the_same_is_read(log in logs()) {
        let (all, end) = sift(&log, 0).unwrap();
        for from in 0..=log.len() as Offset {
            let mut suffix = all.clone();
            suffix.retain(|recorded| recorded.position.offset >= from);
            let (read, next) = sift(&log, from).unwrap();
            prop_assert_eq!(read, suffix, "from {}", from);
            // A hole at the end is nobody's knowledge.
            if !matches!(log.last(), Some(Rec::Hole)) {
                prop_assert_eq!(next, end.max(from), "from {}", from);
            }
        }
    }

    #[test]
    fn what_was_decided_stays(log in logs()) {
        let (all, end) = sift(&log, 0).unwrap();
        for length in 0..log.len() {
            let (early, next) = sift(&log[..length], 0).unwrap();
            prop_assert!(next <= end);
            prop_assert_eq!(&all[..early.len()], &early[..]);
            // Nothing comes later below what was said to be decided.
            prop_assert!(all[early.len()..].iter().all(|later| later.position.offset >= next));
        }
    }

    #[test]
    fn transactions_are_never_split(log in logs()) {
        let (all, _) = sift(&log, 0).unwrap();
        let mut rest = &all[..];
        while let Some(first) = rest.first() {
            let count = first.event.transaction.map_or(1, |part| part.count) as usize;
            prop_assert!(rest.len() >= count);
            for (recorded, index) in rest[..count].iter().zip(0..) {
                prop_assert_eq!(recorded.position.offset, first.position.offset + index);
                let at = recorded.event.transaction.map_or(0, |part| u64::from(part.index));
                prop_assert_eq!(at, index);
            }
            rest = &rest[count..];
        }
    }
}
