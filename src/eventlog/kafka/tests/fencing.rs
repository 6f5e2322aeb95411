//! Several writers of one partition: whatever they do to each other, what was acknowledged is
//! read exactly once by everybody, and nothing else is read twice.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_counts_for_nothing() {
    let options = options(&unique("zombie"), 1);
    let (a, b) = (open(options.clone()).await, open(options.clone()).await);
    let fenced = a.append(P0, events(0..1)).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "before any takeover: {fenced:?}");
    assert_eq!(a.take_over(P0, NODE).await.unwrap(), 1);
    let mut written = a.append(P0, events(0..3)).await.unwrap();
    assert_eq!(b.refresh_end(P0).await.unwrap(), 4);
    assert_eq!(b.take_over(P0, NODE).await.unwrap(), 5);
    assert_eq!(read_on(&*b, P0, 0, ALL).await.unwrap(), written);
    let fenced = a.append(P0, transaction(events(3..6))).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    let fenced = a.append(P0, events(6..7)).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "until it takes over: {fenced:?}");
    // The zombie's records stand where the new owner expected its own: once more, then it serves.
    let fenced = b.append(P0, events(7..8)).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    let end = b.take_over(P0, NODE).await.unwrap();
    written.extend(b.append(P0, events(8..9)).await.unwrap());
    assert_eq!(written[3].position.offset, end);
    assert_eq!(written[3].event.epoch, end);
    assert_eq!(a.refresh_end(P0).await.unwrap(), end + 1);
    for log in [&a, &b] {
        assert_eq!(read_on(&**log, P0, 0, ALL).await.unwrap(), written);
    }
    assert_eq!(read_cold(&options, 0).await, written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_resigning_nothing_is_appended() {
    let options = options(&unique("resign"), 1);
    let log = open(options.clone()).await;
    log.take_over(P0, NODE).await.unwrap();
    let written = log.append(P0, events(0..2)).await.unwrap();
    log.resign(P0);
    let fenced = log.append(P0, events(2..3)).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    assert_eq!(read_cold(&options, 0).await, written);
    log.take_over(P0, NODE).await.unwrap();
    log.append(P0, events(2..3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_nobody_waits_for_ends_the_lease() {
    let options = options(&unique("dropped"), 1);
    let log = open(options.clone()).await;
    for _ in 0..5 {
        log.take_over(P0, NODE).await.unwrap();
        tokio::select! {
            biased;
            _ = log.append(P0, events(0..50)) => panic!("that was too quick"),
            () = std::future::ready(()) => {}
        }
        let fenced = log.append(P0, events(50..51)).await;
        assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    }
    // What was given up may still arrive behind the takeover, where it displaces ours.
    let last = loop {
        log.take_over(P0, NODE).await.unwrap();
        match log.append(P0, events(50..51)).await {
            Ok(last) => break last,
            Err(Error::Fenced { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let read = read_cold(&options, 0).await;
    assert_eq!(read.last(), last.last());
    assert_eq!(read_on(&*log, P0, 0, ALL).await.unwrap(), read);
}

/// Three logs take over and append as they like; each batch has an id of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_order() {
    let options = options(&unique("order"), 1);
    let acknowledged = Arc::new(Mutex::new(Vec::<Arc<Recorded>>::new()));
    let follower = tokio::spawn(follow(open(options.clone()).await));
    let mut logs = Vec::new();
    for _ in 0..3 {
        logs.push(open(options.clone()).await);
    }
    let nodes: Vec<_> = (0..)
        .zip(&logs)
        .map(|(seed, log)| {
            let (log, acknowledged) = (Arc::clone(log), Arc::clone(&acknowledged));
            tokio::spawn(async move { act(seed, &log, &acknowledged).await })
        })
        .collect();
    let mut fenced = 0;
    for node in nodes {
        fenced += node.await.unwrap();
    }
    assert!(fenced > 5, "they never met: {fenced}");
    let mut acknowledged = std::mem::take(&mut *acknowledged.lock());
    acknowledged.sort_by_key(|recorded| recorded.position);
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());

    // The end that all readers are to reach.
    logs[0].take_over(P0, NODE).await.unwrap();
    let last = logs[0].append(P0, vec![last_event()]).await.unwrap();
    let cold = read_cold(&options, 0).await;
    assert_eq!(cold.last(), last.last());
    for log in &logs {
        log.refresh_end(P0).await.unwrap();
        assert_eq!(read_on(&**log, P0, 0, ALL).await.unwrap(), cold);
    }
    assert_eq!(follower.await.unwrap(), cold);

    let ids: HashSet<_> = cold.iter().map(|recorded| recorded.event.id).collect();
    assert_eq!(ids.len(), cold.len(), "an event was read twice");
    let read: HashSet<_> = cold.iter().map(|recorded| recorded.position).collect();
    for recorded in &acknowledged {
        assert!(read.contains(&recorded.position), "lost: {recorded:?}");
    }
    let by_position: std::collections::HashMap<_, _> =
        cold.iter().map(|recorded| (recorded.position, recorded)).collect();
    assert!(acknowledged.iter().all(|recorded| by_position[&recorded.position] == recorded));
    assert_transactions_are_whole(&cold);
    from_everywhere(&options, &cold).await;
}

/// A reader that starts at any offset sees the same rest.
async fn from_everywhere(options: &Options, all: &[Arc<Recorded>]) {
    let log = open(Options { ring_bytes: 0, ..options.clone() }).await;
    let few = ReadLimit { events_max: 9, bytes_max: 1 << 20 };
    for from in 0..log.end(P0) {
        let read = log.read(P0, from, if from % 2 == 0 { ALL } else { few }).await.unwrap();
        let rest = all.partition_point(|recorded| recorded.position.offset < from);
        assert!(read.next > from);
        assert_eq!(read.events, all[rest..rest + read.events.len()], "from {from}");
        let next = all.partition_point(|recorded| recorded.position.offset < read.next);
        assert_eq!(next, rest + read.events.len(), "from {from}");
    }
}

fn assert_transactions_are_whole(events: &[Arc<Recorded>]) {
    let mut rest = events;
    while let Some(first) = rest.first() {
        let Some(part) = first.event.transaction else {
            rest = &rest[1..];
            continue;
        };
        assert_eq!(part.index, 0, "{first:?}");
        let (whole, after) = rest.split_at(part.count as usize);
        for (index, recorded) in (0..).zip(whole) {
            let expected = TransactionPart { index, ..part };
            assert_eq!(recorded.event.transaction, Some(expected));
            assert_eq!(recorded.position.offset, first.position.offset + u64::from(index));
        }
        rest = after;
    }
}

/// Takes over, appends, and goes on as chance has it; returns how often it was fenced.
async fn act(seed: u64, log: &Log, acknowledged: &Mutex<Vec<Arc<Recorded>>>) -> usize {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut fenced = 0;
    for _ in 0..40 {
        log.take_over(P0, NODE).await.unwrap();
        for _ in 0..chance.usize(0..12) {
            let count = chance.u64(1..8);
            let mut batch = events(0..count);
            batch.iter_mut().for_each(|event| event.id = Uuid::now_v7());
            if chance.bool() {
                batch = transaction(batch);
            }
            match log.append(P0, batch).await {
                Ok(recorded) => acknowledged.lock().extend(recorded),
                Err(Error::Fenced { .. }) => {
                    fenced += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        tokio::time::sleep(Duration::from_micros(chance.u64(0..20_000))).await;
    }
    fenced
}

fn last_event() -> Event {
    let mut last = event("p", 999, 10);
    last.id = Uuid::max();
    last
}

/// Reads what the tail shows, as it comes, up to the last event.
async fn follow(log: Arc<Log>) -> Vec<Arc<Recorded>> {
    let (mut seen, mut next) = (Vec::new(), 0);
    let mut end = log.watch_end(P0);
    loop {
        end.wait_for(|end| *end > next).await.unwrap();
        let read = log.read(P0, next, ALL).await.unwrap();
        seen.extend(read.events);
        next = read.next;
        if seen.last().is_some_and(|recorded: &Arc<Recorded>| recorded.event.id == Uuid::max()) {
            return seen;
        }
    }
}
