//! Not a test: what the log costs, beside a bare producer in the same run. Shown by
//! `cargo test --release -p eventlog --features kafka -- --ignored --nocapture measure`.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::kafka::bench::BareProducer;

const RUN: Duration = Duration::from_secs(4);
const CLIENTS: usize = 64;
const DATA_BYTES: usize = 512;

/// A request to the writer: the event, and where to answer.
type Request = (Event, oneshot::Sender<()>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn measure() {
    for _ in 0..2 {
        bare("bare producer, no headers", false).await;
        bare("bare producer, our headers", true).await;
        let topic = appends().await;
        reads(&topic).await;
    }
    takeovers().await;
}

/// Runs clients that each wait for the answer before they go on.
async fn clients<F, Fut>(name: &str, call: F)
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|client| {
            let call = call.clone();
            tokio::spawn(async move {
                let (started, mut took) = (Instant::now(), Vec::new());
                while started.elapsed() < RUN {
                    let at = Instant::now();
                    call(client).await;
                    took.push(at.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await.unwrap());
    }
    report(name, took, RUN);
}

fn report(name: &str, mut took: Vec<Duration>, run: Duration) {
    took.sort();
    let at = |part: f64| took[(took.len() as f64 * part) as usize].as_secs_f64() * 1e3;
    let rate = took.len() as f64 / run.as_secs_f64();
    println!("{name}: {rate:.0}/s, p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99));
}

async fn bare(name: &str, with_headers: bool) {
    let options = options(&unique("bare"), 1);
    drop(open(options.clone()).await);
    let producer = BareProducer::connect(&options, with_headers).unwrap();
    let event = event("p", 1, DATA_BYTES);
    let send = move |_| {
        let (producer, event) = (producer.clone(), event.clone());
        async move {
            producer.append(P0, &event).await.unwrap();
        }
    };
    send(0).await;
    clients(name, send).await;
}

async fn appends() -> String {
    let topic = unique("appends");
    let log = open(options(&topic, 1)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    log.take_over(P0, NODE).await.unwrap();
    let (requests, mut waiting) = mpsc::channel::<Request>(1000);
    let writer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let (mut appends, mut batch) = (Vec::new(), Vec::new());
            while waiting.recv_many(&mut batch, 256).await > 0 {
                let (events, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                let at = Instant::now();
                log.append(P0, events).await.unwrap();
                appends.push(at.elapsed());
                answers.into_iter().for_each(|answer: oneshot::Sender<()>| {
                    let _ = answer.send(());
                });
            }
            appends
        })
    });
    let event = event("p", 1, DATA_BYTES);
    clients("Log::append", move |_| {
        let (requests, event) = (requests.clone(), event.clone());
        async move {
            let (answer, answered) = oneshot::channel();
            requests.send((event, answer)).await.unwrap();
            answered.await.unwrap();
        }
    })
    .await;
    report("  its batches", writer.join().unwrap(), RUN);
    topic
}

async fn reads(topic: &str) {
    let log = open(options(topic, 1)).await;
    let end = log.end(P0);
    let at = Instant::now();
    let read = read_on(&*log, P0, 0, ALL).await.unwrap().len();
    println!("cold scan: {:.0} events/s", read as f64 / at.elapsed().as_secs_f64());
    let one = ReadLimit { events_max: 1, bytes_max: 1 };
    let mut chance = fastrand::Rng::with_seed(1);
    let (mut took, started) = (Vec::new(), Instant::now());
    for _ in 0..200 {
        let at = Instant::now();
        let from = chance.u64(1..end - 5000);
        assert_eq!(log.read(P0, from, one).await.unwrap().events.len(), 1);
        took.push(at.elapsed());
    }
    report("point reads", took, started.elapsed());
}

async fn takeovers() {
    let topic = unique("takeovers");
    let (a, b) = (open(options(&topic, 1)).await, open(options(&topic, 1)).await);
    let at = Instant::now();
    a.take_over(P0, NODE).await.unwrap();
    println!("takeover right after opening: {:.1} ms", at.elapsed().as_secs_f64() * 1e3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut took, started) = (Vec::new(), Instant::now());
    for round in 0..100 {
        let log = if round % 2 == 0 { &b } else { &a };
        let at = Instant::now();
        log.take_over(P0, NODE).await.unwrap();
        took.push(at.elapsed());
    }
    report("takeovers", took, started.elapsed());
}
