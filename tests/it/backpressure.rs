//! More work than the server takes is refused at once and said so; what it took is done.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use harness::Setup;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_answers_busy_and_loses_nothing() {
    let setup = Setup::new()
        .set("HEADWATER__ENGINE__QUEUE_COMMANDS_MAX", 1)
        .set("HEADWATER__ENGINE__BATCH_COMMANDS_MAX", 1);
    let server = setup.start().await;
    let project = server.project("demo").await;
    let write = |n: usize| {
        let project = project.clone();
        async move {
            let mut refused = 0;
            loop {
                let put = project.put("c", &format!("d{n:03}"), &json!({"n": n})).if_none();
                let answer = put.key(&format!("k{n}")).send().await;
                if answer.is_ok() {
                    return refused;
                }
                answer.problem(503, "busy");
                assert_eq!(answer.header("retry-after"), Some("1"));
                refused += 1;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(1..20))).await;
            }
        }
    };
    let refused: usize = join_all((0..200).map(write)).await.into_iter().sum();
    assert!(refused > 0, "a queue of one was never full");
    let documents = project.list("c", "limit=50").await;
    assert_eq!(documents.len(), 200);
    assert!(documents.iter().all(|document| document["version"] == 1));
    let metrics = server.admin().get("/metrics").send().await.text();
    let line = format!("headwater_commands_busy_total {refused}");
    assert!(metrics.lines().any(|found| found == line), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_allowed_are_refused_as_busy() {
    let setup = Setup::new()
        .set("HEADWATER__SERVER__SOCKETS_MAX", 2)
        // An event stream that nobody reads any more is noticed at its next heartbeats.
        .set("HEADWATER__REALTIME__HEARTBEAT_S", 1);
    let server = setup.start().await;
    let project = server.project("demo").await;
    let first = harness::Sse::open(&project, "collection=c", None).await;
    let _second = harness::Socket::connect(&project).await;
    let path = project.path("/realtime/events?collection=c");
    project.client.get(&path).refused(503, "busy").await;
    assert!(harness::Socket::open(&project).await.is_err());
    project.write("c", "d", &json!({})).await;
    drop(first);
    harness::eventually("a seat", || async {
        harness::Socket::try_connect(&project).await.is_ok()
    })
    .await;
}
