//! What a client may send, and what may happen to the tables, without harm to the partition.

use bytes::Bytes;
use domain::command::{Body, Command, Imported};
use domain::documents::{ExpectedVersion, Op, Write};
use domain::rejected::Reason;
use domain::{Event, Timestamp};
use engine::{Engine, Error};
use eventlog::EventLog as _;

use crate::testing::{Disk, collection, commit, context, create_project, id, project, write};

fn reason(outcome: Result<engine::Committed, Error>) -> Reason {
    match outcome.unwrap_err() {
        Error::Rejected(rejected) => rejected.reason,
        other => panic!("{other}"),
    }
}

async fn assert_serves(engine: &Engine) {
    let op = Op::Replace(Bytes::from_static(b"{}"));
    commit(engine, vec![write("after", op)], None).await.unwrap();
    assert!(engine.unready().is_empty(), "{:?}", engine.unready());
}

/// Every changed pointer repeats the names above it; the event must stay within bounds all the
/// same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_changes_below_a_long_name_are_written() {
    let engine = Disk::new().start().await;
    create_project(&engine).await;
    let document = |value: u32| {
        let fields: Vec<String> = (0..80_000).map(|n| format!("\"{n}\":{value}")).collect();
        Bytes::from(format!("{{\"{}\":{{{}}}}}", "x".repeat(200), fields.join(",")))
    };
    for value in 1..3 {
        let op = Op::Replace(document(value));
        let written = commit(&engine, vec![write("d", op)], None).await.unwrap();
        assert!(written.events[0].event.data.len() < 3 << 20);
    }
    assert_serves(&engine).await;
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_patches_of_a_large_document_can_not_flood_the_log() {
    let engine = Disk::new().start().await;
    create_project(&engine).await;
    let large = Bytes::from(format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 19)));
    commit(&engine, vec![write("d", Op::Create(large))], None).await.unwrap();
    let patch = |n: usize| write("d", Op::Patch(Bytes::from(format!("{{\"n\":{n}}}"))));
    let flood = commit(&engine, (0..200).map(patch).collect(), None).await;
    assert!(matches!(reason(flood), Reason::CommitTooLarge { .. }));
    // One at a time they are many batches, and all are written.
    let all = (0..60).map(|n| commit(&engine, vec![patch(n)], None));
    for written in futures_util::future::join_all(all).await {
        written.unwrap();
    }
    assert_serves(&engine).await;
    engine.stop().await.unwrap();
}

/// Once tables are behind the log for good, nothing may be decided against them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_stops_behind_the_log_decides_nothing_more() {
    let mut disk = Disk::hasty();
    let engine = disk.start().await;
    create_project(&engine).await;
    disk.fail_after(0);
    let create = || {
        let op = Op::Create(Bytes::from_static(b"{}"));
        commit(&engine, vec![write("x", op)], Some(("k", 1)))
    };
    let creates = futures_util::future::join_all((0..6).map(|_| create()));
    let stop = async {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let _ = engine.stop().await;
    };
    let (outcomes, ()) = tokio::join!(creates, stop);
    assert!(outcomes.iter().all(Result::is_err));

    disk.write_wait_max = Disk::new().write_wait_max;
    let engine = disk.start().await;
    let page = engine.events(&project(), None, 100, &[]).await.unwrap();
    let made = page.events.iter().filter(|one| one.event.kind == domain::documents::CREATED);
    assert!(made.count() <= 1, "a create-only write is in the log twice");
    engine.stop().await.unwrap();
}

/// Documents whose last change was trimmed live in the tables alone: no rebuild may lose them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trimmed_log_is_not_rebuilt_from() {
    let disk = Disk::retaining(eventlog::Retention { seconds_max: None, bytes_max: Some(1) });
    let engine = disk.start().await;
    create_project(&engine).await;
    for name in ["a", "b"] {
        let op = Op::Create(Bytes::from_static(b"{}"));
        commit(&engine, vec![write(name, op)], None).await.unwrap();
    }
    let partition = engine.partition_of(&project());
    assert!(disk.log.trim(partition, engine::now()).await.unwrap() > 0);
    let refused = engine.rebuild("documents", true, &|_| ()).await;
    assert!(matches!(refused, Err(Error::Trimmed { .. })), "{refused:?}");
    let kept = engine.document(&project(), &collection(), &id("a"), None).await.unwrap();
    assert!(kept.is_some());
    let gone = engine.history(&project(), &collection(), &id("a"), None, 10).await;
    assert!(matches!(gone, Err(Error::Trimmed { .. })), "{gone:?}");
    engine.stop().await.unwrap();

    let lost = Disk { store: Disk::new().store, ..disk };
    let refused = lost.try_start().await.err();
    assert!(matches!(refused, Some(Error::BehindTrimmed { .. })), "{refused:?}");
}

async fn import(engine: &Engine, events: Vec<Event>) -> Result<engine::Committed, Error> {
    let body = Body::Import(events.into_iter().map(|event| Imported { event }).collect());
    engine.submit(Command { context: context(None), body }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_have_happened_is_not_imported() {
    let engine = Disk::new().start().await;
    create_project(&engine).await;
    let made = commit(&engine, vec![write("a", Op::Create(Bytes::from_static(b"{}")))], None);
    let made = made.await.unwrap().events[0].event.clone();
    let other = |change: &dyn Fn(&mut Event)| {
        let mut event = made.clone();
        event.stream = domain::StreamId::document(&collection(), &id("b"));
        change(&mut event);
        vec![event]
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Event));
    let cases: [Case<'_>; 5] = [
        ("from the future", &|e| {
            e.time = Timestamp::from_micros(e.time.as_micros() + 1_000_000_000)
        }),
        ("no object", &|e| e.data = Bytes::from_static(b"{\"data\":5}")),
        ("a version too many", &|e| e.stream_version = 2),
        ("a version beyond counting", &|e| e.stream_version = u64::MAX),
        ("made twice", &|e| e.stream = domain::StreamId::document(&collection(), &id("a"))),
    ];
    for (what, change) in cases {
        let refused = reason(import(&engine, other(change)).await);
        assert!(matches!(refused, Reason::ImportInvalid(..)), "{what}: {refused}");
    }
    import(&engine, other(&|_| ())).await.unwrap();
    // The past of a document that is there can't be written anew.
    let update = Write { expected: ExpectedVersion::Any, ..write("b", Op::Delete) };
    commit(&engine, vec![update], None).await.unwrap();
    let early = other(&|event| {
        event.stream_version = 3;
        event.time = Timestamp::from_micros(1);
    });
    assert!(matches!(reason(import(&engine, early).await), Reason::ImportInvalid(..)));
    assert_serves(&engine).await;
    engine.stop().await.unwrap();
}
