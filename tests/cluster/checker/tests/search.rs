//! Histories of one document, right and wrong, for the search alone. Columns of time: `at(2, 5)`
//! was sent at 2 and answered at 5.

use crate::checker::linear::{Call, Verdict, check};
use crate::checker::register::{Kind, Register, State, Step, Why};
use crate::history::{Expected, Micros};

const TRIES_MAX: usize = 100_000;

fn at(start: Micros, end: Micros, step: Step) -> Call<Step> {
    Call { start, end: Some(end), step }
}

fn open(start: Micros, step: Step) -> Call<Step> {
    Call { start, end: None, step }
}

fn write(kind: Kind, expected: Expected, writer: &str, version: u64) -> Step {
    Step::Write { kind, expected, writer: writer.into(), version: Some(version) }
}

fn create(writer: &str, version: u64) -> Step {
    write(Kind::Create, Expected::Any, writer, version)
}

fn replace(writer: &str, version: u64) -> Step {
    write(Kind::Replace, Expected::Any, writer, version)
}

/// A patch of exactly the version before.
fn patch(writer: &str, version: u64) -> Step {
    write(Kind::Patch, Expected::Version(version - 1), writer, version)
}

fn unknown(kind: Kind, expected: Expected, writer: &str) -> Step {
    Step::Write { kind, expected, writer: writer.into(), version: None }
}

fn delete() -> Step {
    unknown(Kind::Delete, Expected::Any, "")
}

fn found(version: u64, writer: &str) -> Step {
    Step::Found { version, writer: writer.into() }
}

fn mismatch(expected: u64, actual: Option<u64>) -> Step {
    Step::Refused(Why::Mismatch { expected: Expected::Version(expected), actual })
}

fn verdict(calls: &[Call<Step>]) -> Verdict<State> {
    check(&Register::of(calls), calls, TRIES_MAX)
}

#[track_caller]
fn right(calls: &[Call<Step>]) {
    assert_eq!(verdict(calls), Verdict::Explained);
}

#[track_caller]
fn wrong(stuck: usize, calls: &[Call<Step>]) {
    match verdict(calls) {
        Verdict::Impossible { stuck: found, .. } => assert_eq!(found, stuck),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_and_one_thing_are_explained() {
    right(&[]);
    right(&[at(0, 1, create("a", 1)), at(2, 3, found(1, "a"))]);
    right(&[at(0, 1, Step::Absent), at(2, 3, Step::Had(0))]);
}

#[test]
fn calls_that_overlap_may_have_any_order() {
    right(&[
        at(0, 1, create("a", 1)),
        at(2, 9, replace("b", 3)),
        at(3, 8, replace("c", 2)),
        at(4, 5, found(2, "c")),
        at(6, 7, found(3, "b")),
    ]);
    right(&[at(0, 5, create("a", 1)), at(1, 2, found(1, "a"))]);
    right(&[at(0, 5, create("a", 1)), at(1, 2, Step::Absent)]);
    right(&[at(0, 5, create("a", 1)), at(5, 6, Step::Absent)]);
}

#[test]
fn a_stale_read_is_not_explained() {
    wrong(2, &[at(0, 1, create("a", 1)), at(2, 3, patch("b", 2)), at(4, 5, found(1, "a"))]);
    wrong(1, &[at(0, 1, create("a", 1)), at(2, 3, Step::Absent)]);
}

#[test]
fn reads_do_not_go_back_while_a_write_is_under_way() {
    let write = at(2, 9, patch("b", 2));
    let reads = |first, second| {
        [at(0, 1, create("a", 1)), write.clone(), at(3, 4, first), at(5, 6, second)]
    };
    right(&reads(found(1, "a"), found(2, "b")));
    wrong(3, &reads(found(2, "b"), found(1, "a")));
}

#[test]
fn a_lost_update_is_not_explained() {
    // Both saw version 1, and both were told that they made version 2.
    let both = [at(0, 1, create("a", 1)), at(2, 5, patch("b", 2)), at(2, 6, patch("c", 2))];
    assert!(matches!(verdict(&both), Verdict::Impossible { .. }));
    // One of them was told so, and nothing is left of it.
    wrong(2, &[at(0, 1, create("a", 1)), at(2, 3, patch("b", 2)), at(4, 5, patch("c", 2))]);
}

#[test]
fn a_refusal_must_have_its_reason() {
    let before = [at(0, 1, create("a", 1)), at(2, 3, patch("b", 2))];
    let after = |step| [&before[..], &[at(4, 5, step)]].concat();
    right(&after(mismatch(1, Some(2))));
    wrong(2, &after(mismatch(2, Some(2))));
    wrong(2, &after(mismatch(1, Some(1))));
    wrong(2, &after(mismatch(1, None)));
    right(&after(Step::Refused(Why::Exists { actual: Some(2) })));
    wrong(2, &after(Step::Refused(Why::Missing)));
    wrong(2, &after(Step::Had(1)));
    // Of a version that was not there yet.
    wrong(0, &[at(0, 1, mismatch(1, Some(2))), at(2, 3, create("a", 1)), at(4, 5, patch("b", 2))]);
}

#[test]
fn a_deletion_counts_as_a_version() {
    let before = [at(0, 1, create("a", 1)), at(2, 3, delete()), at(4, 5, Step::Absent)];
    right(&[&before[..], &[at(6, 7, create("b", 3)), at(8, 9, found(3, "b"))]].concat());
    wrong(1, &[&before[..], &[at(6, 7, create("b", 2))]].concat());
    wrong(3, &[&before[..], &[at(6, 7, found(1, "a"))]].concat());
}

#[test]
fn what_is_unknown_may_happen_late_or_never() {
    let lost = open(2, unknown(Kind::Replace, Expected::Any, "b"));
    let then = |reads: &[Call<Step>]| [&[at(0, 1, create("a", 1)), lost.clone()], reads].concat();
    right(&then(&[at(10, 11, found(1, "a"))]));
    right(&then(&[at(10, 11, found(2, "b"))]));
    right(&then(&[at(10, 11, found(1, "a")), at(12, 13, found(2, "b"))]));
    // But not twice, not undone, and not before it was sent.
    wrong(3, &then(&[at(10, 11, found(2, "b")), at(12, 13, found(1, "a"))]));
    wrong(2, &then(&[at(10, 11, found(3, "b"))]));
    wrong(0, &[at(0, 1, found(1, "b")), open(2, unknown(Kind::Create, Expected::Any, "b"))]);
}

#[test]
fn what_is_unknown_obeys_its_own_condition() {
    let lost = open(2, unknown(Kind::Patch, Expected::Version(1), "b"));
    let before = [at(0, 1, create("a", 1)), lost, at(3, 4, replace("c", 2))];
    right(&[&before[..], &[at(5, 6, found(2, "c"))]].concat());
    wrong(3, &[&before[..], &[at(5, 6, found(3, "b"))]].concat());
}

#[test]
fn many_unknown_writes_are_searched_within_the_limit() {
    let mut calls = vec![at(0, 1, create("a", 1))];
    for number in 0..40 {
        let name = format!("u{number}");
        calls.push(open(2 + number, unknown(Kind::Replace, Expected::Any, &name)));
    }
    for version in 2..200 {
        let time = 100 + version * 10;
        calls.push(at(time, time + 5, patch(&format!("p{version}"), version)));
        calls.push(at(time + 2, time + 8, found(version, &format!("p{version}"))));
    }
    right(&calls);
}

#[test]
fn a_search_without_an_end_is_given_up() {
    // All at once, with reads that leave everything open until the last one can't be explained.
    let mut calls: Vec<_> = (0..24)
        .map(|number| at(0, 100, unknown(Kind::Replace, Expected::Any, &format!("w{number}"))))
        .collect();
    calls.push(at(101, 102, found(25, "nobody")));
    assert_eq!(check(&Register::of(&calls), &calls, 1_000), Verdict::GaveUp);
}
