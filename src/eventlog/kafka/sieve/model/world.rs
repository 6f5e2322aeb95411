//! What may happen: writers take over, decide, send and give up; the network delays and repeats;
//! the broker takes an idempotent producer's requests in their order. Knows nothing of the rule.

use super::Seen;

/// Which of the rule's conditions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    /// All of them.
    Sound,
    /// A request may be lost and a later one of the same producer be taken.
    Gaps,
    /// A writer reads to the end and appends from there on.
    NoTakeover,
    /// The takeover is sent by another producer than the events behind it, so that the broker,
    /// which takes a producer's first request whatever its number, may miss the first events.
    OtherProducer,
    /// A client is answered wherever its record came to be.
    UncheckedAnswers,
}

/// How far the exploration goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Leases in all.
    pub(super) leases: usize,
    /// Leases at once that have not ended.
    pub(super) active: usize,
    /// Requests of one lease, its takeover among them.
    pub(super) requests: usize,
    /// Requests of one lease that were not answered yet.
    pub(super) in_flight: usize,
    /// Records in the log and under way.
    pub(super) records: usize,
}

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rec {
    Takeover,
    Event {
        lease: u8,
        expected: u8,
        /// Index and count in a transaction.
        part: Option<(u8, u8)>,
        /// Fingerprint of the counting records that its writer decided it on.
        knew: u64,
    },
}

impl Rec {
    /// Names the transaction, and says how many records it has.
    pub(super) fn transaction(self) -> Option<((u8, u8), usize)> {
        match self {
            Self::Event { lease, expected, part: Some((index, count)), .. } => {
                Some(((lease, expected - index), usize::from(count)))
            }
            _ => None,
        }
    }
}

/// The fingerprint of no records.
pub(super) const NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

/// The fingerprint of what `known` stands for, with `rec` behind it.
pub(super) fn knowing(known: u64, rec: Rec) -> u64 {
    let Rec::Event { lease, expected, .. } = rec else { return known };
    let mixed =
        (known ^ u64::from(lease) << 8 ^ u64::from(expected)).wrapping_mul(0x0100_0000_01b3);
    mixed ^ mixed >> 29
}

/// What goes to the broker at once, and is taken as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Request {
    records: Vec<Rec>,
    /// The offset of the batch's first record, if its last one is in this request: with this one
    /// the client is answered.
    ends_batch: Option<u8>,
    /// Where the broker has put it.
    offset: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    TakingOver,
    /// Expects the next record at `next`, and knows what counts before it.
    Owner {
        next: u8,
        known: u64,
    },
    /// Gave up, was fenced or died. Its requests may still be under way.
    Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Lease {
    phase: Phase,
    sent: Vec<Request>,
    /// The number of the request that the broker takes next from this producer.
    taken: u8,
    /// Requests that the writer knows the outcome of.
    learned: u8,
}

impl Lease {
    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.forget();
    }

    /// Forgets what makes no difference any more, so that fewer states differ.
    fn forget(&mut self) {
        if self.phase != Phase::Ended {
            return;
        }
        self.learned = 0;
        if usize::from(self.taken) == self.sent.len() {
            (self.taken, self.sent) = (0, Vec::new());
        }
        for request in &mut self.sent[..usize::from(self.taken)] {
            *request = Request { records: Vec::new(), ends_batch: None, offset: Some(0) };
        }
    }
}

/// A state of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct State {
    pub(super) log: Vec<Rec>,
    /// Offsets of the records that a client got a 2xx for.
    pub(super) acknowledged: Vec<usize>,
    leases: Vec<Lease>,
}

impl State {
    /// Every state that may follow. `read` is a reader of a log.
    pub(super) fn steps(
        &self,
        variant: Variant,
        limits: Limits,
        read: &mut dyn FnMut(&[Rec]) -> Seen,
    ) -> Vec<Self> {
        let mut all = Vec::new();
        let active = self.leases.iter().filter(|lease| lease.phase != Phase::Ended).count();
        let records = self.log.len() + self.under_way();
        if self.leases.len() < limits.leases && active < limits.active && records < limits.records {
            all.push(self.begin(variant, read));
        }
        for at in 0..self.leases.len() {
            let lease = &self.leases[at];
            // The network brings what was sent, in any order and more than once.
            for number in 0..lease.sent.len() {
                all.extend(self.arrive(at, number, variant));
            }
            if lease.phase == Phase::Ended {
                continue;
            }
            all.push(self.with(at, Lease::end));
            all.extend(self.learn(at, variant, read));
            let unanswered = lease.sent.len() - usize::from(lease.learned);
            let Phase::Owner { next, known } = lease.phase else { continue };
            for (count, split) in SHAPES {
                let requests = split.map_or(1, |_| 2);
                if unanswered + requests <= limits.in_flight
                    && lease.sent.len() + requests <= limits.requests
                    && records + usize::from(count.unsigned_abs()) <= limits.records
                {
                    all.push(self.append(at, next, known, count, split));
                }
            }
        }
        all
    }

    fn with(&self, at: usize, change: impl FnOnce(&mut Lease)) -> Self {
        let mut next = self.clone();
        change(&mut next.leases[at]);
        next
    }

    fn under_way(&self) -> usize {
        let requests = self.leases.iter().flat_map(|lease| &lease.sent);
        requests.filter(|request| request.offset.is_none()).map(|r| r.records.len()).sum()
    }

    /// A writer begins to take over.
    fn begin(&self, variant: Variant, read: &mut dyn FnMut(&[Rec]) -> Seen) -> Self {
        let mut next = self.clone();
        let mut lease = Lease { phase: Phase::TakingOver, sent: Vec::new(), taken: 0, learned: 0 };
        if variant == Variant::NoTakeover {
            lease.phase = self.owner(self.log.len(), read);
        } else {
            let records = vec![Rec::Takeover];
            lease.sent.push(Request { records, ends_batch: None, offset: None });
        }
        next.leases.push(lease);
        next
    }

    /// An owner that has read everything below `next`.
    fn owner(&self, next: usize, read: &mut dyn FnMut(&[Rec]) -> Seen) -> Phase {
        let seen = read(&self.log[..next]);
        let known = seen.counting.iter().fold(NOTHING, |known, &at| knowing(known, self.log[at]));
        Phase::Owner { next: next as u8, known }
    }

    /// A writer decides a batch of records and sends it. A negative count is a transaction;
    /// `split` puts so many of its records into a request of their own.
    fn append(&self, at: usize, first: u8, known: u64, count: i8, split: Option<usize>) -> Self {
        let (mut expected, mut known) = (first, known);
        let mut records = Vec::new();
        for index in 0..count.unsigned_abs() {
            let part = (count < 0).then_some((index, count.unsigned_abs()));
            let rec = Rec::Event { lease: at as u8, expected, part, knew: known };
            (expected, known) = (expected + 1, knowing(known, rec));
            records.push(rec);
        }
        let rest = split.map(|length| records.split_off(length));
        self.with(at, |lease| {
            lease.phase = Phase::Owner { next: expected, known };
            let ends_batch = rest.is_none().then_some(first);
            lease.sent.push(Request { records, ends_batch, offset: None });
            if let Some(records) = rest {
                lease.sent.push(Request { records, ends_batch: Some(first), offset: None });
            }
        })
    }

    /// A request reaches the broker. One that it has taken before, or that is out of order, it
    /// leaves alone: that is no step.
    fn arrive(&self, at: usize, number: usize, variant: Variant) -> Option<Self> {
        let lease = &self.leases[at];
        // Nothing known of a producer: its first request is taken whatever its number.
        let unknown = match variant {
            Variant::OtherProducer => lease.taken <= 1 && number >= 1,
            _ => lease.taken == 0,
        };
        let taken = usize::from(lease.taken);
        if number != taken && !(number > taken && (unknown || variant == Variant::Gaps)) {
            return None;
        }
        let offset = self.log.len() as u8;
        let mut next = self.with(at, |lease| {
            lease.taken = number as u8 + 1;
            lease.sent[number].offset = Some(offset);
            lease.forget();
        });
        next.log.extend(&lease.sent[number].records);
        Some(next)
    }

    /// The broker's next answer reaches the writer.
    fn learn(
        &self,
        at: usize,
        variant: Variant,
        read: &mut dyn FnMut(&[Rec]) -> Seen,
    ) -> Option<Self> {
        let lease = &self.leases[at];
        let request = lease.sent.get(usize::from(lease.learned))?;
        let offset = request.offset?;
        let Rec::Event { expected, .. } = request.records[0] else {
            let owner = self.owner(usize::from(offset) + 1, read);
            return Some(self.with(at, |lease| (lease.phase, lease.learned) = (owner, 1)));
        };
        if offset != expected && variant != Variant::UncheckedAnswers {
            return Some(self.with(at, Lease::end));
        }
        let mut next = self.with(at, |lease| lease.learned += 1);
        if let Some(first) = request.ends_batch {
            let before = usize::from(expected - first);
            let first = usize::from(offset) - before;
            next.acknowledged.extend(first..usize::from(offset) + request.records.len());
            next.acknowledged.sort_unstable();
        }
        Some(next)
    }
}

/// Batches: how many records, less than nothing for a transaction, and how many of them go into a
/// request of their own.
const SHAPES: [(i8, Option<usize>); 7] =
    [(1, None), (2, None), (2, Some(1)), (-2, None), (-2, Some(1)), (-3, Some(1)), (3, None)];
