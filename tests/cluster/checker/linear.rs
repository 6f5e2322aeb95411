//! Whether calls that overlap can be put into an order that explains all their answers: Wing and
//! Gong's search with Lowe's memory of what was tried. A call without an end may take effect at
//! any time after its start, or never. Knows nothing of documents; see `register`.

use std::collections::HashSet;
use std::hash::Hash;

use crate::history::Micros;

/// What calls are made of, one at a time.
pub(crate) trait Model {
    type State: Clone + Eq + Hash;
    type Step;

    fn initial(&self) -> Self::State;
    /// The state after a step, if the step could have been answered so in this state.
    fn apply(&self, state: &Self::State, step: &Self::Step) -> Option<Self::State>;
}

/// A step and when it was under way.
#[derive(Debug, Clone)]
pub(crate) struct Call<S> {
    pub(crate) start: Micros,
    /// `None`: it may take effect much later, or never.
    pub(crate) end: Option<Micros>,
    pub(crate) step: S,
}

/// What the search came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict<State> {
    Explained,
    /// No order explains it. The longest that was found ends in `state`; then `stuck` had to come.
    Impossible {
        placed: Vec<usize>,
        state: State,
        stuck: usize,
    },
    /// More than `tries_max` steps were tried.
    GaveUp,
}

/// Searches for an order.
pub(crate) fn check<M: Model>(
    model: &M,
    calls: &[Call<M::Step>],
    tries_max: usize,
) -> Verdict<M::State> {
    let mut search = Search::new(model, calls);
    let mut next = Next::Listed(search.list.first());
    loop {
        if search.missing == 0 {
            return Verdict::Explained;
        }
        if search.tried.len() > tries_max {
            return Verdict::GaveUp;
        }
        next = match next {
            Next::Listed(at) => match search.list.kind(at) {
                Kind::Start(call) if search.place(call) => Next::Listed(search.list.first()),
                Kind::Start(_) => Next::Listed(search.list.next(at)),
                // This one had to come before. Perhaps something without an end did, too.
                Kind::End(_) => Next::Open(0),
            },
            Next::Open(index) => {
                let stuck = search.list.first_end();
                match search.open.get(index).copied() {
                    Some(call) if !search.may_start(call, stuck) => Next::Open(index + 1),
                    Some(call) if search.place(call) => Next::Listed(search.list.first()),
                    Some(_) => Next::Open(index + 1),
                    None => {
                        search.remember(stuck);
                        match search.take_back() {
                            Some(next) => next,
                            None => return search.impossible(),
                        }
                    }
                }
            }
        };
    }
}

/// What to try next: an entry of the list, or a call without an end.
#[derive(Debug, Clone, Copy)]
enum Next {
    Listed(usize),
    Open(usize),
}

struct Search<'a, M: Model> {
    model: &'a M,
    calls: &'a [Call<M::Step>],
    /// Calls that have an end.
    list: List,
    /// Those that have none, tried only when nothing else goes on: most of them never happened.
    open: Vec<usize>,
    state: M::State,
    placed: Vec<(usize, M::State)>,
    is_placed: Vec<u64>,
    tried: HashSet<(Vec<u64>, M::State)>,
    /// Calls with an end that are not placed.
    missing: usize,
    /// What was placed when fewest were missing, and the state and the stuck call then.
    longest: Option<(Vec<usize>, M::State, usize)>,
    missing_least: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, calls: &'a [Call<M::Step>]) -> Self {
        Self {
            model,
            calls,
            list: List::new(calls.iter().map(|call| (call.start, call.end))),
            open: (0..calls.len()).filter(|call| calls[*call].end.is_none()).collect(),
            state: model.initial(),
            placed: Vec::new(),
            is_placed: vec![0; calls.len().div_ceil(64)],
            tried: HashSet::new(),
            missing: calls.iter().filter(|call| call.end.is_some()).count(),
            longest: None,
            missing_least: usize::MAX,
        }
    }

    /// Lets a call take effect now, if it can and that was not tried before.
    fn place(&mut self, call: usize) -> bool {
        let after = self.model.apply(&self.state, &self.calls[call].step);
        let Some(after) = after else { return false };
        self.is_placed[call / 64] |= 1 << (call % 64);
        if !self.tried.insert((self.is_placed.clone(), after.clone())) {
            self.is_placed[call / 64] &= !(1 << (call % 64));
            return false;
        }
        let before = std::mem::replace(&mut self.state, after);
        self.placed.push((call, before));
        if self.calls[call].end.is_some() {
            self.list.lift(call);
            self.missing -= 1;
        }
        true
    }

    /// Undoes the last placing, and tells what to try in its place.
    fn take_back(&mut self) -> Option<Next> {
        let (call, before) = self.placed.pop()?;
        self.state = before;
        self.is_placed[call / 64] &= !(1 << (call % 64));
        if self.calls[call].end.is_some() {
            self.list.put_back(call);
            self.missing += 1;
            return Some(Next::Listed(self.list.next(List::start_of(call))));
        }
        let index = self.open.binary_search(&call).expect("it has no end");
        Some(Next::Open(index + 1))
    }

    /// Whether a call without an end is not placed, and was sent before `stuck` ended.
    fn may_start(&self, call: usize, stuck: usize) -> bool {
        let is_placed = self.is_placed[call / 64] & (1 << (call % 64)) != 0;
        !is_placed && Some(self.calls[call].start) <= self.calls[stuck].end
    }

    fn remember(&mut self, stuck: usize) {
        if self.missing < self.missing_least {
            self.missing_least = self.missing;
            let placed = self.placed.iter().map(|(call, _)| *call).collect();
            self.longest = Some((placed, self.state.clone(), stuck));
        }
    }

    fn impossible(self) -> Verdict<M::State> {
        let (placed, state, stuck) = self.longest.expect("something was stuck");
        Verdict::Impossible { placed, state, stuck }
    }
}

enum Kind {
    Start(usize),
    End(usize),
}

/// Starts and ends of the calls with an end that are not placed, in the order of time. The start of
/// call `n` is entry `2n`, its end `2n + 1`; one more entry is both ends of the list.
struct List {
    next: Vec<usize>,
    before: Vec<usize>,
}

impl List {
    fn new(spans: impl ExactSizeIterator<Item = (Micros, Option<Micros>)>) -> Self {
        let edge = 2 * spans.len();
        let mut entries = Vec::new();
        for (call, (start, end)) in spans.enumerate() {
            let Some(end) = end else { continue };
            // At the same moment starts come first: what touches overlaps.
            entries.push((start, false, 2 * call));
            entries.push((end.max(start), true, 2 * call + 1));
        }
        entries.sort_unstable();
        let mut list = Self { next: vec![edge; edge + 1], before: vec![edge; edge + 1] };
        let mut last = edge;
        for (_, _, entry) in entries {
            list.next[last] = entry;
            list.before[entry] = last;
            last = entry;
        }
        list.next[last] = edge;
        list.before[edge] = last;
        list
    }

    fn first(&self) -> usize {
        self.next[self.next.len() - 1]
    }

    fn next(&self, entry: usize) -> usize {
        self.next[entry]
    }

    fn start_of(call: usize) -> usize {
        2 * call
    }

    /// What an entry is. While there are calls in the list, an end comes before its edge.
    fn kind(&self, entry: usize) -> Kind {
        if entry.is_multiple_of(2) { Kind::Start(entry / 2) } else { Kind::End(entry / 2) }
    }

    /// The call that ends first.
    fn first_end(&self) -> usize {
        let mut at = self.first();
        loop {
            match self.kind(at) {
                Kind::Start(_) => at = self.next(at),
                Kind::End(call) => return call,
            }
        }
    }

    fn lift(&mut self, call: usize) {
        self.unlink(2 * call);
        self.unlink(2 * call + 1);
    }

    /// Undoes the last `lift` that is not undone yet.
    fn put_back(&mut self, call: usize) {
        self.link(2 * call + 1);
        self.link(2 * call);
    }

    fn unlink(&mut self, entry: usize) {
        let (before, next) = (self.before[entry], self.next[entry]);
        self.next[before] = next;
        self.before[next] = before;
    }

    fn link(&mut self, entry: usize) {
        let (before, next) = (self.before[entry], self.next[entry]);
        self.next[before] = entry;
        self.before[next] = entry;
    }
}
