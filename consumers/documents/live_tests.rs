//! Subscribers of the hub over a real engine: whatever their pace, their streams are exactly the
//! log's.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use domain::Position;
use domain::documents::Op;
use engine::Engine;
use engine::access::Viewer;
use engine::hub::{
    Change, Encoder, Interest, Options, Outgoing, Shape, Shard, Snapshot, Start, Target,
};

use crate::testing::{Disk, collection, commit, create_project, id, project, write};

/// One line a frame: `c <offset> <id> <version>`, `s <offset> <reset> <ids>`, `l <offset>`.
struct Lines;

impl Encoder for Lines {
    fn name(&self) -> &str {
        "lines"
    }

    fn change(&self, change: &Change) -> Bytes {
        let document = &change.document;
        line(format!("c {} {} {}", change.position.offset, document.id, document.version))
    }

    fn snapshot(&self, snapshot: &Snapshot) -> Bytes {
        let ids: Vec<String> =
            snapshot.documents.iter().map(|d| format!("{}@{}", d.id, d.version)).collect();
        line(format!("s {} {} {}", snapshot.position.offset, snapshot.reset, ids.join(",")))
    }

    fn count(&self, count: u64, position: Position) -> Bytes {
        line(format!("n {} {count}", position.offset))
    }

    fn live(&self, position: Position) -> Bytes {
        line(format!("l {}", position.offset))
    }

    fn failed(&self, error: &engine::Error) -> Bytes {
        line(format!("e {error}"))
    }
}

pub(super) fn interest(target: Target, from: Option<Position>) -> Interest {
    let start = from.map_or(Start::Snapshot, Start::After);
    Interest { project: project(), target, viewer: Viewer::default(), start }
}

pub(super) fn line(text: String) -> Bytes {
    Bytes::from(format!("{text}\n"))
}

/// Takes frames until one line satisfies `last`.
async fn take_until(outgoing: &Outgoing, last: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    let taken = async {
        while !lines.last().is_some_and(|line: &String| last(line)) {
            let chunk = std::future::poll_fn(|context| outgoing.poll_take(context)).await;
            let chunk = String::from_utf8(chunk.expect("the queue has ended").to_vec()).unwrap();
            lines.extend(chunk.lines().map(str::to_owned));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken).await.expect("no such line in time");
    lines
}

async fn put(engine: &Engine, name: &str) -> u64 {
    let op = Op::Replace(Bytes::from(format!("{{\"x\":\"{}\"}}", "x".repeat(200))));
    commit(engine, vec![write(name, op)], None).await.unwrap().events[0].position.offset
}

/// Only the changes of `lines`, as offsets.
fn offsets(lines: &[String]) -> Vec<u64> {
    let changes = lines.iter().filter(|line| line.starts_with("c "));
    changes.map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

pub(super) async fn local<F: Future>(test: impl FnOnce(Arc<Engine>) -> F) {
    let engine = Disk::new().start().await;
    create_project(&engine).await;
    tokio::task::LocalSet::new().run_until(test(Arc::clone(&engine))).await;
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_then_deltas_without_a_gap() {
    local(|engine| async move {
        put(&engine, "a").await;
        let snapshot_at = put(&engine, "b").await;
        let shard = Shard::start(Arc::clone(&engine));
        let outgoing = Outgoing::new(&Options::default());
        let target = Target::Collection(collection(), None, Shape::All);
        let _subscription =
            shard.subscribe(interest(target, None), Rc::clone(&outgoing), Rc::new(Lines));
        let lines = take_until(&outgoing, |line| line.starts_with('l')).await;
        assert_eq!(lines, [format!("s {snapshot_at} false a@1,b@1"), format!("l {snapshot_at}")]);
        let next = put(&engine, "a").await;
        let lines = take_until(&outgoing, |line| line.starts_with('c')).await;
        assert_eq!(lines, [format!("c {next} a 2")]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_document_and_resume_and_reset() {
    local(|engine| async move {
        let first = put(&engine, "a").await;
        put(&engine, "b").await;
        let third = put(&engine, "a").await;
        let shard = Shard::start(Arc::clone(&engine));
        let at = |offset| Some(Position { partition: engine.head(&project()).partition, offset });
        let target = || Target::Document(collection(), id("a"));

        let outgoing = Outgoing::new(&Options::default());
        let encoder = || Rc::new(Lines) as Rc<dyn Encoder>;
        let resumed =
            shard.subscribe(interest(target(), at(first)), Rc::clone(&outgoing), encoder());
        let lines = take_until(&outgoing, |line| line.starts_with('l')).await;
        assert_eq!(lines, [format!("c {third} a 2"), format!("l {third}")]);
        drop(resumed);
        put(&engine, "a").await;
        let nothing = std::future::poll_fn(|context| match outgoing.poll_take(context) {
            Poll::Pending => Poll::Ready(true),
            Poll::Ready(_) => Poll::Ready(false),
        });
        assert!(nothing.await, "a dropped subscription goes on");

        let outgoing = Outgoing::new(&Options::default());
        let _ahead = shard.subscribe(interest(target(), at(999)), Rc::clone(&outgoing), encoder());
        let lines = take_until(&outgoing, |line| line.starts_with('l')).await;
        assert!(lines[0].ends_with("true a@3"), "{lines:?}");
    })
    .await;
}

/// Subscribers of every pace, with a queue of four frames, while writes go on: each gets every
/// change once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_subscribers_fall_back_to_the_log_and_miss_nothing() {
    local(|engine| async move {
        let shard = Shard::start(Arc::clone(&engine));
        let tiny = Options { queue_frames_max: 4, ..Options::default() };
        let writes = 400_u64;
        let mut readers = Vec::new();
        for pace in [0_u64, 1, 3, 9] {
            let outgoing = Outgoing::new(&tiny);
            let target = Target::Collection(collection(), None, Shape::All);
            let queue = Rc::clone(&outgoing);
            let subscription = shard.subscribe(interest(target, None), queue, Rc::new(Lines));
            readers.push(tokio::task::spawn_local(async move {
                let mut seen = Vec::new();
                while seen.len() < writes as usize {
                    let chunk = std::future::poll_fn(|context| outgoing.poll_take(context)).await;
                    let chunk = String::from_utf8(chunk.unwrap().to_vec()).unwrap();
                    let lines: Vec<String> = chunk.lines().map(str::to_owned).collect();
                    seen.extend(offsets(&lines));
                    tokio::time::sleep(Duration::from_millis(pace)).await;
                }
                drop(subscription);
                seen
            }));
        }
        // Everybody is in before the first write, so everybody must see all of them.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut expected = Vec::new();
        for n in 0..writes {
            expected.push(put(&engine, &format!("d{}", n % 5)).await);
        }
        for reader in readers {
            let seen = tokio::time::timeout(Duration::from_secs(30), reader).await;
            assert_eq!(seen.expect("a subscriber misses changes").unwrap(), expected);
        }
    })
    .await;
}
