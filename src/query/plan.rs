//! Which indexes serve a query, and where in them its documents are. A plan may find too many
//! documents and never too few: the filter is held against each of them all the same.

use domain::projects::{self, IndexField};
use serde_json::Value;

use crate::ORDERED_BYTES_MAX;
use crate::field::Field;
use crate::filter::{Bounds, Filter, Node, Test};
use crate::index::{Definition, Part, beginning, key_of};
use crate::key::Encoder;
use crate::order::{Direction, Key, Keys, Order};

/// Ranges of one plan at most; an `in` with more values is looked for among all.
const RANGES_MAX: usize = 100;

/// Bytes of a text that is a bound: a character has up to four.
const BOUND_BYTES_MAX: usize = ORDERED_BYTES_MAX - 4;

/// How an index serves a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which of the indexes.
    pub index: usize,
    /// Where its documents are; they do not overlap.
    pub ranges: Vec<Range>,
    /// Whether each range has its documents in the query's order, so that the first ones will do.
    pub is_ordered: bool,
    /// Whether that order is the index's from its end on.
    pub reverse: bool,
    /// Whether a document may be in several ranges.
    pub may_repeat: bool,
    /// Fields of the index that the filter gives a value, or some.
    pub equal: usize,
    /// Whether the field after those has bounds.
    pub bounded: bool,
    /// For each field of the index after the equal ones, its place in the ordering.
    resume: Vec<usize>,
    directions: Vec<Direction>,
}

/// Places of an index from `start` on, up to `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// All of them are after this.
    pub start: String,
    /// All of them are before this; `None` when there is no bound.
    pub end: Option<String>,
    /// What the equal fields come to.
    prefix: Encoder,
}

impl Plan {
    /// Where in a range the documents after some place of the ordering begin, in the ordering's
    /// direction. Only for plans in order.
    pub fn place(&self, range: &Range, keys: &Keys) -> String {
        let mut encoder = range.prefix.clone();
        for (at, direction) in self.resume.iter().zip(&self.directions) {
            if let Some(key) = keys.fields.get(*at) {
                encoder.push(key, *direction);
            }
        }
        let last = self.directions.last().copied().unwrap_or_default();
        encoder.push_id(&keys.id, last);
        encoder.text()
    }
}

/// Plans for a query by these indexes, the best first.
pub fn plans(filter: Option<&Filter>, order: &Order, indexes: &[&Definition]) -> Vec<Plan> {
    let parts = filter.map(|filter| conjuncts(&filter.node)).unwrap_or_default();
    let plan = |(at, index): (usize, &&Definition)| plan(at, index, &parts, order);
    let mut plans: Vec<Plan> = indexes.iter().enumerate().filter_map(plan).collect();
    // With as many bounds, an order that needs no sorting; else the bounds find fewer documents.
    plans.sort_by_key(|plan| {
        std::cmp::Reverse((plan.equal * 2 + usize::from(plan.bounded), plan.is_ordered))
    });
    plans
}

/// The index that would serve a query best, if any would.
pub fn suggestion(filter: Option<&Filter>, order: &Order) -> Option<Vec<IndexField>> {
    let parts = filter.map(|filter| conjuncts(&filter.node)).unwrap_or_default();
    let given = parts.iter().filter_map(|(field, test)| match test {
        Test::Is(_) | Test::In(_) => Some((*field, Direction::Asc, false)),
        Test::Contains(_) => Some((*field, Direction::Asc, true)),
        _ => None,
    });
    let bounded = parts.iter().find(|(_, test)| order.fields.is_empty() && is_bound(test));
    let bounded = bounded.map(|(field, _)| (*field, Direction::Asc, false));
    let ordered = order.fields.iter().map(|(field, direction)| (field, *direction, false));
    let mut found: Vec<(&Field, Direction, bool)> = Vec::new();
    for (field, direction, elements) in given.chain(ordered).chain(bounded) {
        let is_known = found.iter().any(|(known, ..)| *known == field);
        // The elements of one list only.
        let is_second = elements && found.iter().any(|(.., elements)| *elements);
        let has_room = found.len() < crate::INDEX_FIELDS_MAX;
        if !is_known && !is_second && has_room && *field != Field::UpdatedAt {
            found.push((field, direction, elements));
        }
    }
    let field = |(field, direction, elements): (&Field, Direction, bool)| IndexField {
        field: field.name(),
        direction: match direction {
            Direction::Asc => projects::Direction::Asc,
            Direction::Desc => projects::Direction::Desc,
        },
        elements,
    };
    (!found.is_empty()).then(|| found.into_iter().map(field).collect())
}

/// What must hold of every document: the parts of the outermost `and`.
fn conjuncts(node: &Node) -> Vec<(&Field, &Test)> {
    match node {
        Node::And(parts) => parts.iter().flat_map(conjuncts).collect(),
        Node::Field(field, test) => vec![(field, test)],
        Node::Or(_) | Node::Not(_) => Vec::new(),
    }
}

fn is_bound(test: &Test) -> bool {
    matches!(test, Test::Compare(..) | Test::StartsWith(_))
}

/// The values of a field, if the filter gives them.
fn values(parts: &[(&Field, &Test)], part: &Part) -> Option<Vec<Key>> {
    let of = |values: &[Value]| {
        let mut keys: Vec<Key> = values.iter().map(key_of).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    let own = parts.iter().filter(|(field, _)| **field == part.field);
    let found = own.filter_map(|(_, test)| match test {
        Test::Is(value) if !part.elements => Some(of(std::slice::from_ref(value))),
        Test::In(values) if !part.elements => Some(of(values)),
        Test::Contains(values) if part.elements => Some(of(values)),
        _ => None,
    });
    found.min_by_key(Vec::len)
}

fn plan(at: usize, index: &Definition, parts: &[(&Field, &Test)], order: &Order) -> Option<Plan> {
    let mut prefixes = vec![Encoder::default()];
    let (mut equal, mut single) = (0, Vec::new());
    let mut may_repeat = false;
    for part in &index.parts {
        let Some(keys) = values(parts, part) else { break };
        if prefixes.len() * keys.len() > RANGES_MAX {
            break;
        }
        // Of a list, one element finds the document as well as the next.
        may_repeat |= part.elements && keys.len() > 1;
        if keys.len() == 1 && !part.elements {
            single.push(&part.field);
        }
        let with = |prefix: &Encoder, key: &Key| {
            let mut prefix = prefix.clone();
            prefix.push(key, part.direction);
            prefix
        };
        prefixes =
            prefixes.iter().flat_map(|prefix| keys.iter().map(|key| with(prefix, key))).collect();
        equal += 1;
    }
    // Without its element a document is not in the index.
    if index.parts[equal..].iter().any(|part| part.elements) {
        return None;
    }
    let rest = &index.parts[equal..];
    let bounds = rest.first().and_then(|part| bounds(parts, part));
    let (sorted, resume) = match direction(index, rest, &single, order) {
        Some((reverse, resume)) => (Some(reverse), resume),
        None => (None, Vec::new()),
    };
    if equal == 0 && bounds.is_none() && sorted.is_none() {
        return None;
    }
    let range = |prefix: Encoder| {
        let (low, high) = match (&bounds, rest.first()) {
            (Some(bounds), Some(part)) => bounds.below(&prefix, part.direction),
            _ => (prefix.clone(), prefix.clone()),
        };
        Range { start: low.text(), end: high.after_all().map(|end| end.text()), prefix }
    };
    let directions = match rest {
        [] => vec![index.last_direction()],
        rest => rest.iter().map(|part| part.direction).collect(),
    };
    Some(Plan {
        index: at,
        ranges: prefixes.into_iter().map(range).collect(),
        is_ordered: sorted.is_some(),
        reverse: sorted.unwrap_or(false),
        may_repeat,
        equal,
        bounded: bounds.is_some(),
        resume,
        directions,
    })
}

/// Whether the fields of the index that are left are the ordering's, from one end or the other,
/// and where in the ordering each of them stands. Those that all documents have alike decide
/// nothing.
fn direction(
    index: &Definition,
    rest: &[Part],
    single: &[&Field],
    order: &Order,
) -> Option<(bool, Vec<usize>)> {
    let wanted: Vec<(usize, &(Field, Direction))> = order
        .fields
        .iter()
        .enumerate()
        .filter(|(at, (field, _))| {
            // Named twice, the second time decides nothing either.
            !single.contains(&field) && !order.fields[..*at].iter().any(|(one, _)| one == field)
        })
        .collect();
    if wanted.len() != rest.len() {
        return None;
    }
    let last = order.fields.last().map_or(Direction::Asc, |(_, direction)| *direction);
    let reverse = last != index.last_direction();
    let fits = wanted.iter().zip(rest).all(|((_, (field, direction)), part)| {
        *field == part.field && (*direction != part.direction) == reverse
    });
    fits.then(|| (reverse, wanted.iter().map(|(at, _)| *at).collect()))
}

/// A bound. Of a long text only so much as no cut of another takes away: what is cut at a
/// character may stand before what is cut within the same bytes.
fn push_bound(encoder: &mut Encoder, key: &Key, direction: Direction) {
    match key {
        Key::Text(text) if text.len() > BOUND_BYTES_MAX => {
            let cut = &text[..text.floor_char_boundary(BOUND_BYTES_MAX)];
            encoder.push_beginning(cut, direction);
        }
        key => encoder.push(key, direction),
    }
}

/// Bounds of one field, both included: what is on them is looked at.
struct Bounded<'a> {
    of: Key,
    low: Option<Key>,
    high: Option<Key>,
    start: Option<&'a str>,
}

fn bounds<'a>(parts: &[(&'a Field, &'a Test)], part: &Part) -> Option<Bounded<'a>> {
    let mut found: Option<Bounded<'a>> = None;
    for (field, test) in parts {
        if **field != part.field {
            continue;
        }
        match test {
            Test::StartsWith(start) => {
                // It says more than any other bound can.
                let of = Key::Text(String::new());
                return Some(Bounded { of, low: None, high: None, start: Some(beginning(start)) });
            }
            Test::Compare(bounds, value) => {
                let key = key_of(value);
                let mut own = Bounded { of: key.clone(), low: None, high: None, start: None };
                match bounds {
                    Bounds::Less | Bounds::LessOrEqual => own.high = Some(key),
                    Bounds::Greater | Bounds::GreaterOrEqual => own.low = Some(key),
                }
                match &mut found {
                    None => found = Some(own),
                    // Of two types there is nothing, which the filter finds out.
                    Some(found) if !found.is_of_type(&own.of) => {}
                    Some(found) => {
                        found.low = found.low.take().max(own.low);
                        found.high = match (found.high.take(), own.high) {
                            (Some(one), Some(other)) => Some(one.min(other)),
                            (one, other) => one.or(other),
                        };
                    }
                }
            }
            _ => {}
        }
    }
    found
}

impl Bounded<'_> {
    fn is_of_type(&self, key: &Key) -> bool {
        std::mem::discriminant(&self.of) == std::mem::discriminant(key)
    }

    /// What the lowest and the highest places within the bounds begin with.
    fn below(&self, prefix: &Encoder, direction: Direction) -> (Encoder, Encoder) {
        let (mut low, mut high) = (prefix.clone(), prefix.clone());
        if let Some(start) = self.start {
            low.push_beginning(start, direction);
            return (low.clone(), low);
        }
        match &self.low {
            Some(key) => push_bound(&mut low, key, direction),
            None => low.push_type(&self.of, direction),
        }
        match (&self.high, &self.of) {
            (Some(key), _) => push_bound(&mut high, key, direction),
            (None, Key::Bool(_)) => high.push(&Key::Bool(true), direction),
            (None, of) => high.push_type(of, direction),
        }
        match direction {
            Direction::Asc => (low, high),
            Direction::Desc => (high, low),
        }
    }
}
