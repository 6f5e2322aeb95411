//! A model of writers, network and broker, explored state by state, with the real sieve as every
//! reader. Owns the proof that the rule keeps a single writer single; `world` says what may
//! happen, this file what must hold, and that the explorer finds it out when it doesn't.
//!
//! A lease is one writer's time as owner, with a producer of its own. Pauses, delays and lost
//! answers are not steps: whatever may happen next may also never happen.

mod world;

use std::collections::hash_map::Entry as Slot;
use std::collections::{HashMap, HashSet, VecDeque};

use domain::{Event, Offset, PartitionId, TransactionPart};
use uuid::Uuid;

use self::world::{Limits, Rec, State, Variant};
use super::Sieve;
use crate::kafka::record::Entry;
use crate::kafka::record::tests::plain;

/// What was seen on the way through all states.
#[derive(Debug)]
struct Explored {
    states: usize,
    steps: usize,
    logs: usize,
    /// What is wrong in the first bad state, if there is one: shortest way first.
    flaw: Option<String>,
}

/// Visits every state that can be reached, the nearest ones first, until one is bad.
fn explore(variant: Variant, limits: Limits) -> Explored {
    let mut seen = HashSet::from([State::default()]);
    let mut waiting = VecDeque::from([State::default()]);
    let mut readers = Readers::default();
    let mut explored = Explored { states: 1, steps: 0, logs: 0, flaw: None };
    while let Some(state) = waiting.pop_front() {
        for next in state.steps(variant, limits, &mut |log| readers.read(log).clone()) {
            explored.steps += 1;
            if !seen.insert(next.clone()) {
                continue;
            }
            if let Err(why) = check(&next, readers.read(&next.log)) {
                explored.flaw = Some(format!("{why}: {next:?}"));
                break;
            }
            waiting.push_back(next);
        }
        if explored.flaw.is_some() {
            break;
        }
    }
    (explored.states, explored.logs) = (seen.len(), readers.known.len());
    explored
}

/// What the readers of one log see.
#[derive(Debug, Clone)]
struct Seen {
    /// Offsets of the records that count.
    counting: Vec<usize>,
    /// What is wrong with it.
    flaw: Option<String>,
}

/// Reads each log once.
#[derive(Default)]
struct Readers {
    known: HashMap<Vec<Rec>, Seen>,
}

impl Readers {
    fn read(&mut self, log: &[Rec]) -> &Seen {
        if !self.known.contains_key(log) {
            let seen = examine(log);
            if let Slot::Vacant(slot) = self.known.entry(log.to_vec()) {
                slot.insert(seen);
            }
        }
        &self.known[log]
    }
}

/// What must hold in every state, beyond what must hold of its log.
fn check(state: &State, seen: &Seen) -> Result<(), String> {
    if let Some(flaw) = &seen.flaw {
        return Err(flaw.clone());
    }
    match state.acknowledged.iter().find(|offset| !seen.counting.contains(offset)) {
        Some(lost) => Err(format!("the record at {lost} was acknowledged and does not count")),
        None => Ok(()),
    }
}

/// Reads a log from everywhere and checks what must hold of it.
fn examine(log: &[Rec]) -> Seen {
    let (counting, next) = sift(log, 0);
    let flaw = find_flaw(log, &counting, next).err();
    Seen { counting, flaw }
}

fn find_flaw(log: &[Rec], counting: &[usize], next: usize) -> Result<(), String> {
    for from in 1..=log.len() {
        let suffix: Vec<usize> = counting.iter().copied().filter(|&at| at >= from).collect();
        if sift(log, from) != (suffix, next.max(from)) {
            return Err(format!("a reader from {from} sees something else"));
        }
    }
    // That a later record changes nothing, for one step; the states before have shown the rest.
    if let Some((_, earlier)) = log.split_last() {
        let (before, decided) = sift(earlier, 0);
        let (kept, new) = counting.split_at(before.len().min(counting.len()));
        if kept != before || new.iter().any(|&at| at < decided) || next < decided {
            return Err("what was decided at the tail was undone".to_owned());
        }
    }
    let mut known = world::NOTHING;
    for &at in counting {
        let Rec::Event { knew, .. } = log[at] else { return Err("no event counts".to_owned()) };
        if knew != known {
            return Err(format!("the record at {at} was decided on something else"));
        }
        known = world::knowing(knew, log[at]);
    }
    for &at in counting {
        let Some((first, count)) = log[at].transaction() else { continue };
        let same = |other: &&usize| log[**other].transaction() == Some((first, count));
        if counting.iter().filter(same).count() != count {
            return Err(format!("the transaction at {at} counts in part"));
        }
    }
    Ok(())
}

/// Offsets of the records that count from `from` on, and how far that is decided.
fn sift(log: &[Rec], from: usize) -> (Vec<usize>, usize) {
    let mut sieve = Sieve::new(PartitionId(0), from as Offset);
    let mut out = Vec::new();
    for (rec, offset) in log.iter().zip(0..).skip(from) {
        sieve.push(offset, entry(rec), &mut out).expect("every record can be decoded");
        if let Some(earlier) = sieve.must_start_at() {
            let (mut all, next) = sift(log, earlier as usize);
            all.retain(|&at| at >= from);
            return (all, next.max(from));
        }
    }
    let offsets = out.iter().map(|recorded| recorded.position.offset as usize).collect();
    (offsets, sieve.next() as usize)
}

fn entry(rec: &Rec) -> Entry {
    let Rec::Event { lease, expected, part, .. } = *rec else {
        return Entry::TookOver { node: String::new() };
    };
    let transaction = part.map(|(index, count)| {
        let id = u128::from(lease) << 8 | u128::from(expected - index);
        TransactionPart { id: Uuid::from_u128(id), index: index.into(), count: count.into() }
    });
    let event = Ok(Event { transaction, ..plain() });
    Entry::Event { expected: expected.into(), event, transaction }
}

/// Three leases, so that a zombie's records, an owner's and a next owner's meet.
const WIDE: Limits = Limits { leases: 3, active: 2, requests: 3, in_flight: 2, records: 6 };
/// Two leases that do more.
const DEEP: Limits = Limits { leases: 2, active: 2, requests: 4, in_flight: 2, records: 8 };

fn assert_sound(limits: Limits, states_min: usize) {
    let explored = explore(Variant::Sound, limits);
    println!("{limits:?}: {explored:?}");
    assert_eq!(explored.flaw, None);
    // Fewer would mean that the world has come to a halt somewhere.
    assert!(explored.states >= states_min, "{explored:?}");
}

#[test]
fn the_rule_holds_in_every_state() {
    assert_sound(WIDE, 70_000);
    assert_sound(DEEP, 200_000);
}

/// The same further out; minutes.
#[test]
#[ignore = "explores millions of states"]
fn the_rule_holds_further_out() {
    assert_sound(Limits { active: 3, records: 7, ..WIDE }, 500_000);
    assert_sound(Limits { requests: 5, records: 9, ..DEEP }, 500_000);
    assert_sound(Limits { leases: 4, ..WIDE }, 150_000);
}

/// The model can fail: each of the things that the rule relies on is needed.
#[test]
fn without_its_conditions_the_rule_breaks() {
    for variant in
        [Variant::Gaps, Variant::NoTakeover, Variant::OtherProducer, Variant::UncheckedAnswers]
    {
        let explored = explore(variant, WIDE);
        println!("{variant:?}: {explored:?}");
        assert!(explored.flaw.is_some(), "{variant:?} is as good: {explored:?}");
    }
}
