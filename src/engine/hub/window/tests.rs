use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{PartitionId, Position, Timestamp};
use proptest::prelude::*;
use query::Order;
use serde_json::json;

use super::*;

fn document(id: u8, n: u8, offset: u64) -> Document {
    let data = format!("{{\"n\":{n}}}");
    padded(&format!("d{id:02}"), data, offset)
}

fn padded(id: &str, data: String, offset: u64) -> Document {
    Document {
        id: DocumentId::new(id).expect("an id"),
        version: offset,
        created_at: Timestamp::from_micros(0),
        updated_at: Timestamp::from_micros(offset as i64),
        position: Position { partition: PartitionId(0), offset },
        data: Bytes::from(data),
    }
}

fn by_n(direction: &str) -> Arc<Order> {
    let order = json!([{"field": "n", "direction": direction}]);
    Arc::new(Order::of(&order).expect("an order"))
}

/// All there is, and the first of them by sorting everything.
#[derive(Default)]
struct Naive(BTreeMap<DocumentId, Document>);

impl Naive {
    fn first(&self, order: &Order, count: usize) -> Vec<Document> {
        let mut all: Vec<_> = self.0.values().cloned().collect();
        let keys = |one: &Document| order.keys(&one.as_queried());
        all.sort_by(|one, other| order.compare(&keys(one), &keys(other)));
        all.truncate(count);
        all
    }

    /// A window as a query gives it, which knows this many documents behind those shown.
    fn window(&self, order: &Arc<Order>, limit: usize, spare: usize) -> Window {
        let found = self.first(order, limit + spare);
        let is_all = found.len() == self.0.len();
        Window::new(Arc::clone(order), limit, found, is_all).expect("a small window")
    }
}

/// What a client holds; panics when something is told twice or goes that never came.
fn apply(held: &mut BTreeMap<DocumentId, Document>, changes: Changes) {
    let mut has_come = false;
    for (kind, document) in changes {
        let known = match kind {
            ChangeKind::Removed => {
                assert!(!has_come, "what goes is told first");
                held.remove(&document.id)
            }
            _ => {
                has_come = true;
                held.insert(document.id.clone(), document)
            }
        };
        assert_eq!(known.is_none(), kind == ChangeKind::Added);
    }
}

fn by_id(documents: impl IntoIterator<Item = Document>) -> BTreeMap<DocumentId, Document> {
    documents.into_iter().map(|one| (one.id.clone(), one)).collect()
}

proptest! {
    #[test]
    fn a_window_with_its_refills_shows_what_sorting_everything_does(
        limit in 1_usize..6,
        spare in 0_usize..4,
        order in prop_oneof![
            Just(by_n("asc")),
            Just(by_n("desc")),
            Just(Arc::new(Order::default())),
            Just(Arc::new(Order::of(&json!([{"field": "$updatedAt", "direction": "desc"}]))
                .expect("an order"))),
        ],
        before in proptest::collection::vec((0_u8..16, 0_u8..5), 0..16),
        // A document is gone, or not among those asked for, when it has no number.
        steps in proptest::collection::vec((0_u8..16, proptest::option::of(0_u8..5)), 0..60),
    ) {
        let mut naive = Naive::default();
        for (at, (id, n)) in before.into_iter().enumerate() {
            let one = document(id, n, at as u64);
            naive.0.insert(one.id.clone(), one);
        }
        let mut window = naive.window(&order, limit, spare);
        let mut held = by_id(window.shown().cloned());
        for (at, (id, n)) in steps.into_iter().enumerate() {
            let one = document(id, n.unwrap_or_default(), 100 + at as u64);
            match n {
                Some(_) => naive.0.insert(one.id.clone(), one.clone()),
                None => naive.0.remove(&one.id),
            };
            let changes = match window.put(&one.id, n.map(|_| one.clone())) {
                Step::Changed(changes) => changes,
                Step::Short => {
                    let filled = naive.window(&order, limit, spare);
                    let changes = difference(window.shown(), filled.shown());
                    window = filled;
                    changes
                }
                Step::TooLarge => panic!("nothing is large here"),
            };
            apply(&mut held, changes);
            let wanted = naive.first(&order, limit);
            prop_assert_eq!(window.shown().cloned().collect::<Vec<_>>(), wanted.clone());
            prop_assert_eq!(&held, &by_id(wanted));
        }
    }

    #[test]
    fn a_difference_makes_the_one_set_the_other(
        held in proptest::collection::btree_map(0_u8..8, 0_u64..3, 0..8),
        shown in proptest::collection::btree_map(0_u8..8, 0_u64..3, 0..8),
    ) {
        let documents = |of: BTreeMap<u8, u64>| -> Vec<Document> {
            of.into_iter().map(|(id, offset)| document(id, 0, offset)).collect()
        };
        let (held, shown) = (documents(held), documents(shown));
        let changes = difference(held.iter(), shown.iter());
        let mut held = by_id(held);
        apply(&mut held, changes);
        prop_assert_eq!(held, by_id(shown));
    }
}

#[test]
fn most_that_go_make_room_for_one_that_is_known() {
    let mut naive = Naive::default();
    for id in 0..90 {
        let one = document(id, id, u64::from(id));
        naive.0.insert(one.id.clone(), one);
    }
    let limit = 10;
    let spare = Window::wanted(limit) - limit;
    let mut window = naive.window(&by_n("asc"), limit, spare);
    for gone in 0..spare {
        let gone = document(gone as u8, 0, 0).id;
        let Step::Changed(changes) = window.put(&gone, None) else {
            panic!("one more is known");
        };
        let kinds: Vec<_> = changes.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [ChangeKind::Removed, ChangeKind::Added]);
        assert_eq!(changes[0].1.id, gone);
    }
    let next = document(spare as u8, 0, 0).id;
    assert!(matches!(window.put(&next, None), Step::Short));
    assert_eq!(window.shown().next().map(|one| &one.id), Some(&next), "nothing was done");
}

#[test]
fn what_comes_in_pushes_the_last_one_out() {
    let mut naive = Naive::default();
    for id in [1, 2, 3] {
        naive.0.insert(document(id, id, 1).id, document(id, id, 1));
    }
    let mut window = naive.window(&by_n("desc"), 2, 1);
    let Step::Changed(changes) = window.put(&document(9, 9, 7).id, Some(document(9, 9, 7))) else {
        panic!("it is the first one");
    };
    assert_eq!(
        changes,
        [(ChangeKind::Removed, document(2, 2, 1)), (ChangeKind::Added, document(9, 9, 7))]
    );
    let Step::Changed(changes) = window.put(&document(9, 4, 8).id, Some(document(9, 4, 8))) else {
        panic!("it stays the first one");
    };
    assert_eq!(changes, [(ChangeKind::Modified, document(9, 4, 8))]);
}

#[test]
fn documents_that_are_too_large_together_are_no_window() {
    let large = |n: u8| padded(&format!("d{n}"), "x".repeat(PAGE_BYTES_MAX / 3), u64::from(n));
    let order = Arc::new(Order::default());
    let made = Window::new(Arc::clone(&order), 3, vec![large(0)], false);
    assert!(made.is_err(), "a page was cut short");
    // What is behind goes first.
    let found = vec![large(1), large(2)];
    let mut window = Window::new(order, 2, found, true).expect("two thirds");
    let Step::Changed(changes) = window.put(&large(3).id, Some(large(3))) else {
        panic!("it is behind the others");
    };
    assert_eq!(changes, []);
    let larger = padded("d0", "x".repeat(PAGE_BYTES_MAX - 9), 0);
    assert!(matches!(window.put(&larger.id.clone(), Some(larger)), Step::TooLarge));
}
