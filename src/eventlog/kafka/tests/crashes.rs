//! Brokers that stop, hang and come back: nothing acknowledged is lost, nothing counts twice, and
//! everything goes on by itself. Starts brokers of its own, by the project's script.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::*;

/// Brokers for one test.
struct Brokers {
    folder: TempDir,
    addresses: String,
}

impl Brokers {
    fn start(nodes: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let mut brokers = Self { folder, addresses: String::new() };
        let (nodes, us) = (nodes.to_string(), std::process::id().to_string());
        brokers.run(&["start", "--nodes", &nodes, "--port", "auto", "--quick", "--until", &us]);
        brokers.addresses = brokers.run(&["address"]).trim().to_owned();
        brokers
    }

    fn run(&self, arguments: &[&str]) -> String {
        let script =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/engines/kafka/kafka.sh");
        let folder = self.folder.path().join("kafka");
        let output =
            Command::new(script).args(arguments).arg("--dir").arg(folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn options(&self) -> Options {
        let mut options = Options::new(&self.addresses, "events", 1);
        options.append_wait = Duration::from_secs(2);
        options
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        self.run(&["wipe"]);
    }
}

/// What a writer that never rests has got through.
#[derive(Default)]
struct Tally {
    acknowledged: Vec<Arc<Recorded>>,
    /// Batches of which it is not known whether they are there, by their events' ids.
    unsure: Vec<Vec<Uuid>>,
}

/// Appends until told to stop; takes over again whenever it must.
async fn append_on(log: Arc<Log>, stop: Arc<std::sync::atomic::AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    let mut leads = false;
    while !stop.load(SeqCst) {
        if !leads {
            match log.take_over(P0, NODE).await {
                Ok(_) => leads = true,
                Err(Error::Unreachable { .. }) => continue,
                Err(error) => panic!("{error}"),
            }
        }
        let mut batch = events(0..5);
        batch.iter_mut().for_each(|event| event.id = Uuid::now_v7());
        let ids = batch.iter().map(|event| event.id).collect();
        match log.append(P0, batch).await {
            Ok(recorded) => tally.acknowledged.extend(recorded),
            Err(Error::Unsure { .. } | Error::Fenced { .. }) => {
                tally.unsure.push(ids);
                leads = false;
            }
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tally
}

/// Every reader sees the same: all that was acknowledged, where it was said to be, and of the rest
/// nothing twice.
async fn check(options: &Options, log: &Log, tally: Tally) {
    log.refresh_end(P0).await.unwrap();
    let cold = read_cold(options, 0).await;
    assert_eq!(read_on(log, P0, 0, ALL).await.unwrap(), cold);
    let unsure: HashSet<_> = tally.unsure.concat().into_iter().collect();
    let (rest, acknowledged): (Vec<_>, Vec<_>) =
        cold.into_iter().partition(|recorded| unsure.contains(&recorded.event.id));
    assert_eq!(acknowledged, tally.acknowledged);
    let ids: HashSet<_> = rest.iter().map(|recorded| recorded.event.id).collect();
    assert_eq!(ids.len(), rest.len(), "an event was read twice");
}

async fn within(seconds: u64, what: &str, happens: impl Fn() -> bool) {
    let started = Instant::now();
    while !happens() {
        assert!(started.elapsed() < Duration::from_secs(seconds), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_broker_is_killed_and_comes_back() {
    let brokers = Brokers::start(1);
    let options = brokers.options();
    let log = open(options.clone()).await;
    let stop = Arc::default();
    let writer = tokio::spawn(append_on(Arc::clone(&log), Arc::clone(&stop)));
    for _ in 0..2 {
        let before = log.end(P0);
        within(10, "events come in", || log.end(P0) > before + 200).await;
        brokers.run(&["kill-node", "1"]);
        within(10, "the trouble is told", || log.trouble().is_some()).await;
        let trouble = log.trouble().unwrap();
        assert!(trouble.contains(&brokers.addresses), "{trouble}");
        let unreachable = log.refresh_end(P0);
        let unreachable = tokio::time::timeout(Duration::from_secs(20), unreachable).await;
        assert!(matches!(unreachable, Ok(Err(Error::Unreachable { .. }))), "{unreachable:?}");
        let down = log.end(P0);
        assert!(!log.read(P0, down - 5, ALL).await.unwrap().events.is_empty(), "from memory");
        brokers.run(&["start-node", "1"]);
        within(20, "the trouble is over", || log.trouble().is_none()).await;
        within(30, "events come in again", || log.end(P0) > down + 200).await;
    }
    stop.store(true, SeqCst);
    check(&options, &log, writer.await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_makes_it_unsure() {
    let brokers = Brokers::start(1);
    let options = brokers.options();
    let log = open(options.clone()).await;
    log.take_over(P0, NODE).await.unwrap();
    let mut acknowledged = log.append(P0, events(0..5)).await.unwrap();
    brokers.run(&["pause-node", "1"]);
    let mut batch = events(5..10);
    batch.iter_mut().for_each(|event| event.id = Uuid::now_v7());
    let ids = batch.iter().map(|event| event.id).collect();
    let started = Instant::now();
    let unsure = log.append(P0, batch).await;
    assert!(matches!(unsure, Err(Error::Unsure { .. })), "{unsure:?}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    let fenced = log.append(P0, events(10..11)).await;
    assert!(matches!(fenced, Err(Error::Fenced { .. })), "{fenced:?}");
    brokers.run(&["resume-node", "1"]);
    // What was under way may still arrive, before the takeover or behind it.
    loop {
        log.take_over(P0, NODE).await.unwrap();
        match log.append(P0, events(10..15)).await {
            Ok(recorded) => break acknowledged.extend(recorded),
            Err(Error::Fenced { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    check(&options, &log, Tally { acknowledged, unsure: vec![ids] }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_brokers_may_be_gone() {
    let brokers = Brokers::start(3);
    let options = brokers.options();
    let log = open(options.clone()).await;
    let stop = Arc::default();
    let writer = tokio::spawn(append_on(Arc::clone(&log), Arc::clone(&stop)));
    for node in ["1", "2", "3"] {
        let before = log.end(P0);
        within(20, "events come in", || log.end(P0) > before + 200).await;
        brokers.run(&["kill-node", node]);
        let before = log.end(P0);
        within(30, "events come in without it", || log.end(P0) > before + 200).await;
        assert_eq!(log.trouble(), None);
        brokers.run(&["start-node", node]);
        // Until it is in step again, the next one must not go.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    stop.store(true, SeqCst);
    check(&options, &log, writer.await.unwrap()).await;
}
