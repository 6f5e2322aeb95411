//! The list of metrics for people is the list that the server shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use harness::{Server, Setup, Socket, root};

const HEAD: &str = "# Metrics

Every metric at `/metrics`, in Prometheus' text format. Histograms also have `_bucket`, `_sum` and
`_count`. Made by `UPDATE_DOCS=1 cargo test -p tests metrics`; a test fails when it is old.

| Metric | Kind | Meaning |
| --- | --- | --- |
";

/// Does a little of everything, so that metrics with labels show too.
async fn exercise(server: &Server) {
    let project = server.project("demo").await;
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &json!({"collection": "c"}), None).await;
    socket.snapshot().await;
    project.write("c", "d", &json!({})).await;
    socket.changes(1).await;
    project.get("c", "d").expect(200).await;
}

/// Kind and meaning by name, from the HELP and TYPE lines.
fn listed(text: &str) -> BTreeMap<String, (String, String)> {
    let mut all: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let (_, what) = (words.next(), words.next());
        let (name, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match what {
            Some("HELP") => all.entry(name.to_owned()).or_default().1 = rest.to_owned(),
            Some("TYPE") => all.entry(name.to_owned()).or_default().0 = rest.to_owned(),
            _ => {}
        }
    }
    all
}

#[tokio::test]
async fn every_metric_is_in_the_list_for_people() {
    let server = Setup::new().start().await;
    exercise(&server).await;
    let metrics = server.admin().get("/metrics").send().await.text();
    let mut wanted = HEAD.to_owned();
    for (name, (kind, help)) in listed(&metrics) {
        assert!(!help.is_empty(), "{name} has no meaning");
        let ours = name.starts_with("headwater_") || name.starts_with("process_");
        assert!(ours, "{name} has not our prefix");
        writeln!(wanted, "| `{name}` | {kind} | {help} |").expect("a string takes all");
    }
    let path = root().join("docs/METRICS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("the list can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "docs/METRICS.md is old: UPDATE_DOCS=1 cargo test -p tests metrics");
}
