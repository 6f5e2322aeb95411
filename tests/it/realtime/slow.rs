//! A subscriber that does not read for a while: it gets everything all the same, and nobody waits
//! for it.

use serde_json::json;

use super::{collection, started};
use harness::{Project, Socket, Sse};

/// More than all buffers between server and subscriber can hold.
const WRITES: u64 = 60;
const PAD_BYTES: usize = 500_000;

async fn write_a_lot(project: &Project) {
    for n in 0..WRITES {
        let pad = "x".repeat(PAD_BYTES);
        project.write("c", &format!("d{}", n % 5), &json!({"n": n, "pad": pad})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_socket_gets_everything_and_holds_nobody_up() {
    let (server, project) = started().await;
    let mut slow = Socket::connect(&project).await;
    slow.subscribe("s", &collection(), None).await;
    slow.snapshot().await;
    let mut quick = Socket::connect(&project).await;
    quick.subscribe("s", &collection(), None).await;
    quick.snapshot().await;
    let quick_reads = async {
        let changes = quick.changes(WRITES as usize).await;
        changes.iter().map(|c| c["document"]["data"]["n"].as_u64()).collect::<Vec<_>>()
    };
    let ((), numbers) = tokio::join!(write_a_lot(&project), quick_reads);
    let all: Vec<_> = (0..WRITES).map(Some).collect();
    assert_eq!(numbers, all);
    let metrics = server.admin().get("/metrics").send().await.text();
    let resyncs =
        metrics.lines().find_map(|line| line.strip_prefix("headwater_socket_resync_total "));
    let resyncs: Option<f64> = resyncs.and_then(|count| count.parse().ok());
    assert!(resyncs >= Some(1.0), "the slow socket was never behind: {resyncs:?}");
    let changes = slow.changes(WRITES as usize).await;
    let numbers: Vec<_> =
        changes.iter().map(|change| change["document"]["data"]["n"].as_u64()).collect();
    assert_eq!(numbers, all);
    // Level again, it is fed as before.
    let position = project.write("c", "last", &json!({})).await.position();
    assert_eq!(slow.changes(1).await[0]["position"], position);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_event_stream_gets_everything() {
    let (_server, project) = started().await;
    let mut slow = Sse::open(&project, "collection=c", None).await;
    assert_eq!(slow.next().await.name, "snapshot");
    assert_eq!(slow.next().await.name, "live");
    write_a_lot(&project).await;
    let mut numbers = Vec::new();
    while numbers.len() < WRITES as usize {
        let event = slow.next().await;
        match event.name.as_str() {
            "change" => numbers.push(event.data["document"]["data"]["n"].as_u64()),
            name => assert_eq!(name, "live"),
        }
    }
    assert_eq!(numbers, (0..WRITES).map(Some).collect::<Vec<_>>());
}
