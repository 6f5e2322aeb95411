//! Windows and counts of the hub over a real engine: whatever their pace, at each position they are
//! what all that was written up to it comes to.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::Position;
use domain::documents::Op;
use engine::Engine;
use engine::hub::{Change, ChangeKind, Encoder, Options, Outgoing, Shape, Shard, Snapshot, Target};

use super::live_tests::{interest, line, local};
use crate::testing::{collection, commit, project, write};

/// What a client of a window or a count holds: documents by the offsets that made them what they
/// are, and their number.
#[derive(Debug, Clone, Default, PartialEq)]
struct Held {
    documents: BTreeMap<String, u64>,
    count: Option<usize>,
}

impl Held {
    /// Takes a line; the position of which this is the whole answer now, if it is of one.
    fn take(&mut self, line: &str) -> Option<u64> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "s" => self.documents.clear(),
            "n" => self.count = Some(number(2) as usize),
            "l" => {}
            "-" => assert!(self.documents.remove(words[2]).is_some(), "it never came: {line}"),
            "+" => {
                let known = self.documents.insert(words[2].to_owned(), number(3));
                assert_eq!(known, None, "it came twice: {line}");
            }
            "*" => {
                let known = self.documents.insert(words[2].to_owned(), number(3));
                assert!(known.is_some_and(|known| known < number(3)), "it is no other: {line}");
            }
            _ => panic!("{line}"),
        }
        // The end of a part of a snapshot is a line of its own.
        (words[0] != "s" && words.last() != Some(&"true")).then(|| number(1))
    }
}

/// Encodes so that the words can be kept in order: `+`, `-` and `*` with offsets.
struct Words;

impl Encoder for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn change(&self, change: &Change) -> Bytes {
        let (document, offset) = (&change.document, change.position.offset);
        let kind = match change.kind {
            ChangeKind::Added => '+',
            ChangeKind::Modified => '*',
            ChangeKind::Removed => '-',
        };
        let more = change.more;
        line(format!("{kind} {offset} {} {} {more}", document.id, document.position.offset))
    }

    fn count(&self, count: u64, position: Position) -> Bytes {
        line(format!("n {} {count}", position.offset))
    }

    fn snapshot(&self, snapshot: &Snapshot) -> Bytes {
        let start = format!("s {} {}\n", snapshot.position.offset, snapshot.reset);
        let (offset, mut frame) = (snapshot.position.offset, start);
        for one in &snapshot.documents {
            frame += &format!("+ {offset} {} {} true\n", one.id, one.position.offset);
        }
        Bytes::from(frame + &format!("l {offset}\n"))
    }

    fn live(&self, position: Position) -> Bytes {
        line(format!("l {}", position.offset))
    }

    fn failed(&self, error: &engine::Error) -> Bytes {
        line(format!("e {error}"))
    }
}

/// What each event made of which document: its offset, or nothing.
type Written = BTreeMap<u64, (String, bool)>;

/// Makes and deletes documents; some in a row, so that whole ranges go.
async fn make_and_delete(engine: Arc<Engine>, mut seed: u64, count: usize) -> Written {
    let (mut written, mut row) = (Written::new(), seed);
    for _ in 0..count {
        // Knuth's MMIX.
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let (is_row, random) = ((seed >> 60) < 7, (seed >> 33) % 60);
        row += u64::from(is_row);
        let name = format!("d{:02}", if is_row { row % 60 } else { random });
        let op = if is_row { Op::Delete } else { Op::Replace(Bytes::from_static(b"{}")) };
        if let Ok(committed) = commit(&engine, vec![write(&name, op)], None).await {
            written.insert(committed.events[0].position.offset, (name, !is_row));
        }
    }
    written
}

/// Windows and counts of every pace, with a queue of four frames, while four write: at each
/// position each holds the first documents as of that position, or how many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_are_exact_at_each_position_at_every_pace() {
    local(|engine| async move {
        let shard = Shard::start(Arc::clone(&engine));
        let (done, ended) = tokio::sync::watch::channel(None::<u64>);
        let mut readers = Vec::new();
        for (pace, shape) in [
            (0_u64, Shape::First(Arc::default(), 1)),
            (0, Shape::First(Arc::default(), 5)),
            (1, Shape::First(Arc::default(), 5)),
            (9, Shape::First(Arc::default(), 30)),
            (0, Shape::Count),
            (9, Shape::Count),
        ] {
            let (shard, engine, ended) = (Rc::clone(&shard), Arc::clone(&engine), ended.clone());
            let outgoing = Outgoing::new(&tiny());
            readers.push(tokio::task::spawn_local(async move {
                // Some begin late, wherever the fan-out is then.
                tokio::time::sleep(Duration::from_millis(pace * 5)).await;
                let target = Target::Collection(collection(), None, shape.clone());
                let queue = Rc::clone(&outgoing);
                let mut subscription =
                    shard.subscribe(interest(target.clone(), None), queue, Rc::new(Words));
                let (mut held, mut all) = (Held::default(), Vec::new());
                let mut outgoing = outgoing;
                loop {
                    let next = std::future::poll_fn(|context| outgoing.poll_take(context));
                    let Ok(chunk) = tokio::time::timeout(Duration::from_millis(2_500), next).await
                    else {
                        if ended.borrow().is_some() {
                            drop(subscription);
                            return (shape, all);
                        }
                        continue;
                    };
                    let chunk = String::from_utf8(chunk.unwrap().to_vec()).unwrap();
                    for line in chunk.lines() {
                        if let Some(offset) = held.take(line) {
                            all.push((offset, held.clone()));
                        }
                    }
                    if all.len() % 40 == 39 && pace < 9 {
                        // It is cut off between two positions, and comes back.
                        let (offset, whole) = all.last().cloned().unwrap();
                        held = whole;
                        let partition = engine.head(&project()).partition;
                        let at = Position { partition, offset };
                        outgoing = Outgoing::new(&tiny());
                        let queue = Rc::clone(&outgoing);
                        let interest = interest(target.clone(), Some(at));
                        subscription = shard.subscribe(interest, queue, Rc::new(Words));
                    }
                    tokio::time::sleep(Duration::from_millis(pace)).await;
                }
            }));
        }
        let writers =
            (1..5).map(|seed| tokio::spawn(make_and_delete(Arc::clone(&engine), seed * 7919, 700)));
        let mut written = Written::new();
        for writer in writers.collect::<Vec<_>>() {
            written.append(&mut writer.await.unwrap());
        }
        done.send_replace(written.keys().next_back().copied());
        for reader in readers {
            let (shape, all) = reader.await.unwrap();
            hold(&shape, &all, &written);
        }
    })
    .await;
}

fn tiny() -> Options {
    Options { queue_frames_max: 4, ..Options::default() }
}

/// Holds what a client held at each position against all that was written up to it.
fn hold(shape: &Shape, all: &[(u64, Held)], written: &Written) {
    let (mut documents, mut rest) = (BTreeMap::new(), written.iter().peekable());
    let mut last = 0;
    for (offset, held) in all {
        assert!(*offset >= last, "{shape:?} goes back from {last} to {offset}");
        last = *offset;
        while let Some((at, (name, is_there))) = rest.next_if(|(at, _)| *at <= offset) {
            match is_there {
                true => drop(documents.insert(name.clone(), *at)),
                false => drop(documents.remove(name)),
            }
        }
        match shape {
            Shape::First(_, limit) => {
                let first: BTreeMap<_, _> = documents.clone().into_iter().take(*limit).collect();
                assert_eq!(held.documents, first, "{shape:?} at {offset}");
            }
            _ => assert_eq!(held.count, Some(documents.len()), "{shape:?} at {offset}"),
        }
    }
    // And in the end, of all.
    for (at, (name, is_there)) in rest {
        match is_there {
            true => drop(documents.insert(name.clone(), *at)),
            false => drop(documents.remove(name)),
        }
    }
    let held = &all.last().unwrap().1;
    match shape {
        Shape::First(_, limit) => {
            assert!(held.documents.iter().eq(documents.iter().take(*limit)), "{shape:?}");
        }
        _ => assert_eq!(held.count, Some(documents.len()), "{shape:?}"),
    }
    println!("{shape:?}: {} positions", all.len());
    assert!(all.len() > 20, "{shape:?} was told too little");
}
