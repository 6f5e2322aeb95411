//! The first documents of an ordering, from some place on, out of many in any order.

use std::cmp::Ordering;

use query::{Cursor, Keys, Order};

use super::From;
use crate::read::{Document, PAGE_BYTES_MAX};

/// See the module.
pub(super) struct Best<'a> {
    order: &'a Order,
    from: From<'a>,
    limit: usize,
    /// In the page's own direction.
    found: Vec<(Keys, Document)>,
    bytes: usize,
    /// The first one that had no room: neither have those behind it.
    bound: Option<Keys>,
    /// Whether there are documents on the other side of the place.
    pub(super) elsewhere: bool,
}

impl<'a> Best<'a> {
    pub(super) fn new(order: &'a Order, from: From<'a>, limit: usize) -> Self {
        let (found, bound) = (Vec::new(), None);
        Self { order, from, limit, found, bytes: 0, bound, elsewhere: false }
    }

    fn compare(&self, one: &Keys, other: &Keys) -> Ordering {
        let at = self.order.compare(one, other);
        if matches!(self.from, From::Before(_)) { at.reverse() } else { at }
    }

    /// Takes one more document.
    pub(super) fn offer(&mut self, document: Document) {
        let keys = self.order.keys(&document.as_queried());
        if let From::After(place) | From::Before(place) = self.from
            && self.compare(&keys, place.keys()).is_le()
        {
            self.elsewhere = true;
            return;
        }
        if self.bound.as_ref().is_some_and(|bound| self.compare(&keys, bound).is_ge()) {
            return;
        }
        let at = self.found.partition_point(|(own, _)| self.compare(own, &keys).is_lt());
        self.bytes += document.data.len();
        self.found.insert(at, (keys, document));
        // The page may be short, but never empty.
        while self.found.len() > self.limit || (self.bytes > PAGE_BYTES_MAX && self.found.len() > 1)
        {
            let Some((keys, last)) = self.found.pop() else { break };
            self.bytes -= last.data.len();
            self.bound = Some(keys);
        }
    }

    /// The page, where the next one begins and where the one before ends.
    pub(super) fn done(mut self) -> (Vec<Document>, Option<Cursor>, Option<Cursor>) {
        let is_more = self.bound.is_some();
        let backwards = matches!(self.from, From::Before(_));
        if backwards {
            self.found.reverse();
        }
        let cursor =
            |keys: Option<&(Keys, Document)>| keys.map(|(keys, _)| Cursor::of(keys.clone()));
        let (first, last) = (cursor(self.found.first()), cursor(self.found.last()));
        let (next, previous) = match backwards {
            false => (last.filter(|_| is_more), first.filter(|_| self.elsewhere)),
            true => (last.filter(|_| self.elsewhere), first.filter(|_| is_more)),
        };
        (self.found.into_iter().map(|(_, document)| document).collect(), next, previous)
    }
}
