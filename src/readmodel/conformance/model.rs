//! Random batches against the simplest store there is: a sorted map of tuples.

use std::collections::BTreeMap;
use std::future::Future;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{MIXED, batch, below, delete, mixed, put, space_id, text};
use crate::{Reader, Row, Scan, Store, Value};

type Key = (String, i64, String);

/// One step: rows to put (with their count) or to delete (without).
type Step = Vec<(Key, Option<i64>)>;

fn owner() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("a\0".to_owned()), Just("aa".to_owned())]
}

fn step() -> impl Strategy<Value = Step> {
    let rank = prop_oneof![-2..3_i64, any::<i64>()];
    let key = (owner(), rank, "[\0a-b\u{ff}]{0,2}");
    proptest::collection::vec((key, proptest::option::of(any::<i64>())), 0..12)
}

fn row(key: &Key, count: i64) -> Row {
    mixed(&key.0, key.1, &key.2, count)
}

fn values(key: &Key) -> Vec<Value> {
    vec![text(&key.0), Value::Int(key.1), text(&key.2)]
}

/// Runs `cases` random histories. `open` gives a new, empty store each time.
pub(crate) fn random_batches<S, F>(cases: u32, open: impl Fn() -> F)
where
    S: Store,
    F: Future<Output = S>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    let steps = proptest::collection::vec(step(), 1..8);
    let result = runner.run(&(steps, owner(), 0..20_usize, any::<bool>()), |case| {
        runtime.block_on(async {
            let store = open().await;
            check(&store, case).await;
        });
        Ok(())
    });
    if let Err(failed) = result {
        panic!("{failed}");
    }
}

async fn check(
    store: &dyn Store,
    (steps, owner, limit, reverse): (Vec<Step>, String, usize, bool),
) {
    let space = store.open(&space_id(1)).await.unwrap();
    let mut model = BTreeMap::new();
    let mut seen = Vec::new();
    for (checkpoint, step) in (1..).zip(steps) {
        let mut writes = Vec::new();
        for (key, count) in step {
            if let Some(count) = count {
                writes.push(put(row(&key, count)));
                model.insert(key, count);
            } else {
                writes.push(delete(&row(&key, 0)));
                model.remove(&key);
            }
        }
        space.commit(batch(writes, checkpoint)).await.unwrap();
        seen.push((space.view().await.unwrap(), model.clone(), checkpoint));
    }
    for (view, model, checkpoint) in seen {
        assert_eq!(view.checkpoint().await.unwrap(), checkpoint);
        if view.is_exact() {
            agrees(&*view, &model, &owner, limit, reverse).await;
        }
    }
    agrees(&*space, &model, &owner, limit, reverse).await;
}

async fn agrees(
    reader: &dyn Reader,
    model: &BTreeMap<Key, i64>,
    owner: &str,
    limit: usize,
    reverse: bool,
) {
    let mut expected: Vec<_> = model
        .iter()
        .filter(|(key, _)| key.0 == owner)
        .map(|(key, n)| (key, row(key, *n)))
        .collect();
    if reverse {
        expected.reverse();
    }
    let mut found = Vec::new();
    loop {
        let after = found.last().map(|row: &Row| row[..MIXED.key_len()].to_vec());
        let scan = Scan { after, reverse, limit: limit.max(1), ..below(owner) };
        let page = reader.scan(&MIXED, scan).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, expected.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>());
    for (key, row) in expected {
        assert_eq!(reader.get(&MIXED, &values(key)).await.unwrap(), Some(row));
    }
}
