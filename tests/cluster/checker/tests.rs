//! The checker passes what is right and fails what is wrong: histories written by hand for the
//! search, and the evidence of a simulated run with one thing changed for everything else.

mod search;
mod simulated;

use serde_json::json;

use super::{Evidence, Reads, check};
use crate::history::{Outcome, Request};
use crate::workload::{ACCOUNTS, HOT};
use simulated::simulated;

const SEEDS: u64 = 24;

/// The rules that an evidence breaks, each once.
fn broken(evidence: &Evidence) -> Vec<&'static str> {
    let mut rules: Vec<_> = check(evidence).iter().map(|violation| violation.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// Changes one thing in the evidence of each of some runs, and wants the rule to be named in all.
/// `change` tells whether it found something to change.
fn caught(rule: &str, mut change: impl FnMut(&mut Evidence, &mut fastrand::Rng) -> bool) {
    let mut changed = 0;
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut evidence = simulated(seed);
        if !change(&mut evidence, &mut rng) {
            continue;
        }
        changed += 1;
        let broken = broken(&evidence);
        assert!(broken.contains(&rule), "seed {seed}: {rule} is not in {broken:?}");
    }
    assert!(changed > SEEDS / 4, "only {changed} runs had something to change");
}

#[test]
fn what_is_right_passes() {
    for seed in 0..SEEDS {
        let evidence = simulated(seed);
        let violations = check(&evidence);
        let told: Vec<_> = violations.iter().map(ToString::to_string).collect();
        assert!(told.is_empty(), "seed {seed}: {}", told.join("\n"));
    }
}

#[test]
fn a_lost_event_is_caught_by_every_rule_that_it_breaks() {
    for rule in ["writes", "versions", "streams", "final state"] {
        caught(rule, |evidence, rng| {
            // Not the last one of its document, which would leave no hole in the versions; and one
            // that the subscribers were told of.
            let start = evidence.streams[0].start;
            let log = &mut evidence.logs[0];
            let entries = 0..log.entries.len();
            let entries = entries.filter(|at| log.entries[*at].offset > start);
            let inner = entries.filter(|at| {
                let entry = &log.entries[*at];
                let last = log.of_doc(&entry.doc).next_back();
                entry.doc.collection == HOT && last != Some(entry) && entry.transaction.is_none()
            });
            let inner: Vec<_> = inner.collect();
            let Some(at) = rng.choice(inner) else { return false };
            let mut entries = log.entries.clone();
            entries.remove(at);
            *log = entries.into_iter().collect();
            true
        });
    }
}

#[test]
fn a_write_that_is_done_twice_is_caught() {
    caught("writes", |evidence, _| {
        let log = &mut evidence.logs[0];
        let Some(last) = log.entries.iter().rfind(|entry| entry.transaction.is_none()) else {
            return false;
        };
        let mut twice = last.clone();
        twice.offset = log.entries.last().map_or(0, |last| last.offset) + 1;
        twice.event += "-again";
        twice.correlation = twice.correlation.replace(".1", ".2");
        log.push(twice);
        true
    });
}

#[test]
fn half_a_transaction_is_caught() {
    for rule in ["transactions", "writes"] {
        caught(rule, |evidence, rng| {
            let log = &mut evidence.logs[0];
            let within = log.entries.iter().enumerate().filter(|(_, e)| e.transaction.is_some());
            let within: Vec<_> = within.map(|(at, _)| at).collect();
            let Some(at) = rng.choice(within) else { return false };
            let mut entries = log.entries.clone();
            entries.remove(at);
            *log = entries.into_iter().collect();
            true
        });
    }
}

#[test]
fn a_sum_that_changes_is_caught() {
    caught("sums", |evidence, _| {
        let entries = &mut evidence.logs[0].entries;
        let transfer = entries.iter_mut().rfind(|entry| {
            entry.doc.collection == ACCOUNTS && entry.version > 1 && entry.data.is_some()
        });
        let Some(entry) = transfer else { return false };
        entry.data.as_mut().expect("it has data")["balance"] = json!(1_000_000);
        true
    });
}

#[test]
fn an_acknowledged_answer_that_differs_is_caught() {
    caught("writes", |evidence, rng| {
        let written = evidence.operations.iter_mut().filter_map(|operation| {
            match &mut operation.attempts.last_mut()?.outcome {
                Outcome::Written { last, .. } => Some(last),
                _ => None,
            }
        });
        let last = rng.choice(written.collect::<Vec<_>>()).expect("something was written");
        *last += 1;
        true
    });
}

#[test]
fn a_refused_write_that_was_done_is_caught() {
    caught("writes", |evidence, rng| {
        let written = evidence.operations.iter_mut().filter_map(|operation| {
            let outcome = &mut operation.attempts.last_mut()?.outcome;
            matches!(outcome, Outcome::Written { .. }).then_some(outcome)
        });
        let outcome = rng.choice(written.collect::<Vec<_>>()).expect("something was written");
        *outcome = Outcome::Nothing { why: "503 busy".to_owned() };
        true
    });
}

#[test]
fn a_refusal_that_nothing_explains_is_caught() {
    caught("linearizability", |evidence, rng| {
        let refused = evidence.operations.iter_mut().filter_map(|operation| {
            match &mut operation.attempts.last_mut()?.outcome {
                Outcome::Refused { actual: Some(actual), .. } => Some(actual),
                _ => None,
            }
        });
        let Some(actual) = rng.choice(refused.collect::<Vec<_>>()) else { return false };
        *actual += 1_000;
        true
    });
}

/// A read that was right when it was asked for, told at the very end.
#[test]
fn a_stale_read_is_caught_unless_only_sessions_are_promised() {
    let stale = |evidence: &mut Evidence| {
        let end = evidence.operations.iter().map(|one| one.last().end).max().unwrap_or(0);
        let log = &evidence.logs[0];
        let stale = evidence.operations.iter_mut().find(|operation| {
            let Outcome::Found(shown) = operation.outcome() else { return false };
            let Request::Read { doc, after: None } = &operation.request else { return false };
            log.of_doc(doc).next_back().is_some_and(|last| last.version > shown.version + 1)
        });
        let Some(stale) = stale else { return false };
        (stale.attempts[0].start, stale.attempts[0].end) = (end + 1, end + 2);
        true
    };
    caught("linearizability", |evidence, _| stale(evidence));
    let mut evidence = simulated(0);
    assert!(stale(&mut evidence));
    evidence.reads = Reads::SessionOnly;
    assert_eq!(broken(&evidence), Vec::<&str>::new());
}

#[test]
fn a_read_older_than_was_asked_for_is_caught_in_any_case() {
    caught("reads", |evidence, _| {
        evidence.reads = Reads::SessionOnly;
        let log = &evidence.logs[0];
        let old = evidence.operations.iter_mut().find_map(|operation| {
            let Outcome::Found(shown) = operation.outcome() else { return None };
            let version = shown.version;
            let Request::Read { doc, after } = &mut operation.request else { return None };
            let last = log.of_doc(doc).next_back()?;
            (last.version > version).then_some((after, last.offset))
        });
        let Some((after, offset)) = old else { return false };
        *after = Some(offset);
        true
    });
}

#[test]
fn a_list_that_leaves_something_out_is_caught() {
    for rule in ["reads", "linearizability"] {
        caught(rule, |evidence, _| {
            let listed =
                evidence.operations.iter_mut().filter_map(|operation| {
                    match &mut operation.attempts.last_mut()?.outcome {
                        Outcome::Listed { documents, .. } if !documents.is_empty() => {
                            Some(documents)
                        }
                        _ => None,
                    }
                });
            let Some(documents) = listed.last() else { return false };
            // Accounts are never deleted, so nothing can explain it.
            let is_account = |at: &usize| documents[*at].data["balance"].is_i64();
            let Some(at) = (0..documents.len()).find(is_account) else { return false };
            documents.remove(at);
            true
        });
    }
}

#[test]
fn an_order_that_the_clocks_forbid_is_caught() {
    caught("real time", |evidence, _| {
        let end = evidence.operations.iter().map(|one| one.last().end).max().unwrap_or(0);
        let first = evidence.logs[0].entries.first().and_then(|entry| entry.origin());
        let name = first.expect("each event has an origin").0;
        let first = evidence.operations.iter_mut().find(|one| &*one.name == name);
        let attempt = &mut first.expect("its operation is there").attempts[0];
        (attempt.start, attempt.end) = (end + 1, end + 2);
        true
    });
}

#[test]
fn a_stream_with_a_gap_a_repeat_or_a_swap_is_caught() {
    for fault in 0..3 {
        caught("streams", |evidence, rng| {
            let streams = evidence.streams.iter_mut().filter(|stream| stream.told.len() > 2);
            let Some(stream) = rng.choice(streams.collect::<Vec<_>>()) else { return false };
            let at = rng.usize(..stream.told.len() - 1);
            match fault {
                0 => drop(stream.told.remove(at)),
                1 => stream.told.insert(at, stream.told[at].clone()),
                _ => stream.told.swap(at, at + 1),
            }
            true
        });
    }
}

#[test]
fn a_node_that_lists_something_else_is_caught() {
    caught("final state", |evidence, rng| {
        let told = rng.usize(..evidence.finals.len());
        let lists = evidence.finals[told].lists.iter_mut().map(|(_, list)| list);
        let lists: Vec<_> = lists.filter(|list| !list.is_empty()).collect();
        let Some(list) = rng.choice(lists) else { return false };
        list.remove(rng.usize(..list.len()));
        true
    });
}

#[test]
fn an_answer_that_nobody_may_get_is_caught() {
    caught("reads", |evidence, rng| {
        let operations = evidence.operations.len();
        let operation = &mut evidence.operations[rng.usize(..operations)];
        let code = "position-ahead".to_owned();
        operation.attempts[0].outcome =
            Outcome::Refused { status: 400, code, part: None, actual: None };
        true
    });
}
