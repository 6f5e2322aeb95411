//! The rule that tells which records of a partition count: those that got the offset that their
//! writer expected, a transaction only as a whole. Pure; it needs nothing but the records
//! themselves, so a reader may start anywhere. What it has let through is never taken back.

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use domain::{Event, Offset, PartitionId, Position, Recorded, TransactionPart};
use uuid::Uuid;

use super::record::Entry;
use crate::Error;

/// Takes a partition's records one by one and lets through the events that count.
#[derive(Debug, Clone)]
pub(super) struct Sieve {
    partition: PartitionId,
    /// Everything below this is decided.
    next: Offset,
    /// Whether nothing was taken yet.
    fresh: bool,
    /// The first records of a transaction whose last one was not seen yet; they begin at `next`.
    open: Option<Open>,
    must_start_at: Option<Offset>,
    /// The record that counts and can't be decoded, and why. Nothing is let through behind it.
    corrupt: Option<(Offset, String)>,
}

#[derive(Debug, Clone)]
struct Open {
    id: Uuid,
    count: u32,
    events: Vec<Result<Event, String>>,
}

impl Open {
    /// Whether `part` is what follows in the same transaction.
    fn goes_on_with(&self, part: TransactionPart) -> bool {
        self.id == part.id && self.count == part.count && self.events.len() == part.index as usize
    }

    fn is_whole(&self) -> bool {
        self.events.len() == self.count as usize
    }
}

impl Sieve {
    /// Starts at `next`. If that turns out to be within a transaction, `must_start_at` tells.
    pub(super) fn new(partition: PartitionId, next: Offset) -> Self {
        Self { partition, next, fresh: true, open: None, must_start_at: None, corrupt: None }
    }

    /// Starts at the oldest offset that is kept. A transaction that retention has taken the first
    /// records of is void.
    pub(super) fn at_log_start(partition: PartitionId, next: Offset) -> Self {
        Self { fresh: false, ..Self::new(partition, next) }
    }

    /// Takes the record at `offset` and pushes onto `out` the events that are decided by it.
    /// Offsets ascend, with holes where the broker has no record; one that was taken before is
    /// ignored. Nothing is taken once `must_start_at` is set.
    ///
    /// Errors: [`Error::Corrupt`] for a record that counts and can't be decoded, from then on at
    /// every call.
    pub(super) fn push(
        &mut self,
        offset: Offset,
        entry: Entry,
        out: &mut Vec<Arc<Recorded>>,
    ) -> Result<(), Error> {
        let unseen = self.next + self.open.as_ref().map_or(0, |open| open.events.len() as u64);
        if self.must_start_at.is_some() || (offset < unseen && self.corrupt.is_none()) {
            return Ok(());
        }
        self.fail_if_corrupt()?;
        let fresh = std::mem::replace(&mut self.fresh, false);
        let Entry::Event { expected, event, transaction } = entry else {
            self.void(offset);
            return Ok(());
        };
        match transaction {
            _ if expected != offset => self.void(offset),
            None => {
                // Whatever transaction was open is cut by this.
                self.open = None;
                self.next = offset;
                self.count([event], out);
            }
            Some(part) => self.push_part(offset, event, part, fresh, out),
        }
        self.fail_if_corrupt()
    }

    /// Everything below this is decided: read and let through, or void for ever.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// Set when the first record taken is in the midst of a transaction whose first record is
    /// below the start: a sieve that is to see it whole must be made for this offset.
    pub(super) fn must_start_at(&self) -> Option<Offset> {
        self.must_start_at
    }

    fn push_part(
        &mut self,
        offset: Offset,
        event: Result<Event, String>,
        part: TransactionPart,
        fresh: bool,
        out: &mut Vec<Arc<Recorded>>,
    ) {
        let first = offset.checked_sub(u64::from(part.index));
        match &mut self.open {
            Some(open) if first == Some(self.next) && open.goes_on_with(part) => {
                open.events.push(event);
            }
            _ if part.index == 0 => {
                self.next = offset;
                self.open = Some(Open { id: part.id, count: part.count, events: vec![event] });
            }
            _ => match first {
                Some(first) if fresh && first < self.next => self.must_start_at = Some(first),
                _ => self.void(offset),
            },
        }
        if let Some(open) = self.open.take_if(|open| open.is_whole()) {
            self.count(open.events, out);
        }
    }

    /// The record at `offset` does not count, nor does a transaction that it cuts.
    fn void(&mut self, offset: Offset) {
        self.open = None;
        self.next = offset + 1;
    }

    /// These count, from `next` on: all of them, or none when one can't be decoded.
    fn count(
        &mut self,
        events: impl IntoIterator<Item = Result<Event, String>>,
        out: &mut Vec<Arc<Recorded>>,
    ) {
        let (whole, mut offset) = (out.len(), self.next);
        for event in events {
            match event {
                Ok(event) => {
                    let position = Position { partition: self.partition, offset };
                    out.push(Arc::new(Recorded { position, event }));
                }
                Err(why) => {
                    out.truncate(whole);
                    self.corrupt = Some((offset, why));
                    return;
                }
            }
            offset += 1;
        }
        self.next = offset;
    }

    fn fail_if_corrupt(&self) -> Result<(), Error> {
        let Some((offset, why)) = &self.corrupt else { return Ok(()) };
        let (partition, offset) = (self.partition, *offset);
        Err(Error::Corrupt { partition, offset, detail: why.clone() })
    }
}
