//! What an operator relies on: health, metrics, clear refusals at the start, a stop that loses
//! nothing, and one id from a request to everything that it led to.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use harness::{Setup, within};

#[tokio::test]
async fn health_and_readiness_are_told_to_anybody() {
    let server = Setup::new().start().await;
    let anybody = server.admin().with_token("");
    assert_eq!(anybody.get("/healthz").expect(200).await, json!({"status": "ok"}));
    let ready = anybody.get("/readyz").expect(200).await;
    assert_eq!(ready, json!({"status": "ready", "durability": "fsync", "reasons": []}));
    let setup = Setup::new().set("HEADWATER__LOG__FSYNC", false);
    let relaxed = setup.start().await;
    let ready = relaxed.admin().get("/readyz").expect(200).await;
    assert_eq!(ready["durability"], "relaxed", "an explicit setting, and said aloud");
    setup.run_ok(&["health", "--server", &relaxed.url]).await;
    let url = relaxed.url.clone();
    relaxed.stop().await;
    assert!(!setup.run(&["health", "--server", &url]).await.status.success());
}

#[tokio::test]
async fn metrics_count_what_happens() {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    for _ in 0..3 {
        project.write("c", "d", &json!({})).await;
    }
    project.put("c", "d", &json!({})).if_match(1).refused(412, "version-mismatch").await;
    let answer = server.admin().with_token("").get("/metrics").send().await;
    let kind = answer.header("content-type").expect("a content type");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = answer.text();
    let value = |start: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(start));
        let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {start} in\n{text}"))
    };
    // The project, its key and three versions.
    assert_eq!(value("headwater_log_append_events_total"), 5.0);
    assert_eq!(value("headwater_append_conflicts_total"), 1.0);
    assert!(value("headwater_log_append_seconds_count") >= 1.0);
    assert!(value("headwater_consumer_batch_seconds_count{consumer=\"documents\"}") >= 1.0);
    assert_eq!(value("headwater_socket_connections"), 0.0);
    value("headwater_writer_queue_commands{");
    value("headwater_consumer_lag_events{");
    value("process_resident_memory_bytes");
    let put = "headwater_http_request_seconds_count{method=\"PUT\",route=\"/v1/projects/{project}";
    assert!(value(put) >= 1.0);
    assert!(!text.contains("demo"), "no label tells of a project");
}

#[tokio::test]
async fn a_wrong_setting_is_refused_by_name_and_place() {
    let setup = Setup::new();
    let config = setup.folder().join("headwater.toml");
    for (text, names) in [
        ("[log]\nfsynk = true\n", &["log.fsynk", "headwater.toml"][..]),
        ("[lgo]\nfsync = true\n", &["lgo", "headwater.toml"]),
        ("[log]\nfsync = \"yes\"\n", &["log.fsync", "headwater.toml"]),
        ("[log]\npartitions = -1\n", &["log.partitions"]),
        ("[engine]\nqueue_commands_max = 0\n", &["engine.queue_commands_max"]),
        ("[log\n", &["headwater.toml"]),
    ] {
        std::fs::write(&config, text).expect("a file can be written");
        let path = config.to_str().expect("UTF-8");
        for command in
            [&["serve", "--data", "d", "--listen", "127.0.0.1:0"][..], &["config", "check"]]
        {
            let output = setup.run(&[command, &["--config", path]].concat()).await;
            let told = harness::server::printed(&output);
            assert!(!output.status.success(), "{text}: {told}");
            assert!(names.iter().all(|name| told.contains(name)), "{text}: {told}");
            // What is no TOML is shown with its place; all else takes one line.
            let lines = told.trim().lines().count();
            assert!(lines == 1 || text == "[log\n", "{text}: {told}");
        }
    }
    let odd = setup.clone().set("HEADWATER__LOG__FSYNK", "true");
    let mut server = odd.spawn();
    assert!(!server.ended().await.success());
    assert!(server.log.text().contains("log.fsynk"), "{}", server.log.text());
    std::fs::write(&config, "[realtime]\nheartbeat_s = 7\n").expect("a file can be written");
    let path = config.to_str().expect("UTF-8");
    setup.run_ok(&["config", "check", "--config", path]).await;
    let shown = setup.run_ok(&["config", "show", "--config", path]).await;
    let line = shown.lines().find(|line| line.starts_with("heartbeat_s = 7"));
    assert!(line.is_some_and(|line| line.contains("headwater.toml")), "{shown}");
}

#[tokio::test]
async fn without_a_proper_admin_key_it_does_not_start() {
    for key in ["", "short"] {
        let setup = Setup::new().set("HEADWATER_ADMIN_KEY", key);
        let mut server = setup.spawn();
        assert!(!server.ended().await.success());
        assert!(server.log.text().contains("HEADWATER_ADMIN_KEY"), "{}", server.log.text());
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("demo").await;
    let mut second = setup.spawn();
    assert!(!second.ended().await.success());
    let told = second.log.text();
    assert!(told.contains("another"), "{told}");
    project.write("c", "d", &json!({})).await;
    assert_eq!(project.get("c", "d").expect(200).await["version"], 1);
    server.stop().await;
    let server = setup.start().await;
    assert_eq!(project.at(&server.url).get("c", "d").expect(200).await["version"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_ends_in_time_and_loses_nothing_acknowledged() {
    let setup = Setup::new();
    let mut server = setup.start().await;
    let project = server.project("demo").await;
    let mut writers = JoinSet::new();
    let (counted, mut count) = tokio::sync::watch::channel(0_usize);
    for writer in 0..8 {
        let (project, counted) = (project.clone(), counted.clone());
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            let mut n = 0;
            loop {
                n += 1;
                let id = format!("w{writer}-{n}");
                match project.put("c", &id, &json!({"n": n})).try_send().await {
                    Ok(answer) if answer.is_ok() => acknowledged.push(id),
                    // Told that the server stops, or no longer let in.
                    Ok(answer) => {
                        answer.problem(503, "unavailable");
                        return acknowledged;
                    }
                    Err(_) => return acknowledged,
                }
                counted.send_modify(|count| *count += 1);
            }
        });
    }
    within("some writes", count.wait_for(|count| *count >= 200)).await.expect("writers");
    let since = Instant::now();
    server.terminate();
    assert!(server.ended().await.success(), "{}", server.log.tail());
    assert!(since.elapsed() < Duration::from_secs(10), "it took {:?}", since.elapsed());
    let mut acknowledged = Vec::new();
    while let Some(ids) = writers.join_next().await {
        acknowledged.extend(ids.expect("a writer ends"));
    }
    let server = setup.start().await;
    let there = project.at(&server.url).list("c", "limit=1000").await;
    let there: std::collections::HashSet<_> =
        there.iter().filter_map(|document| document["id"].as_str()).collect();
    assert!(acknowledged.len() >= 200);
    assert!(acknowledged.iter().all(|id| there.contains(id.as_str())));
    // No write was in flight without being answered: whoever was let in got an answer.
    assert_eq!(there.len(), acknowledged.len());
}

#[tokio::test]
async fn an_idle_server_stops_at_once_whatever_connections_are_open() {
    let mut server = Setup::new().start().await;
    let project = server.project("demo").await;
    project.get("c", "d").refused(404, "document-not-found").await;
    let _idle = tokio::net::TcpStream::connect(&server.url[7..]).await.expect("it listens");
    let since = Instant::now();
    server.terminate();
    assert!(server.ended().await.success());
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
}

fn field<'a>(record: &'a Value, name: &str) -> &'a Value {
    let fields = record.get("fields").unwrap_or(record);
    if fields[name].is_null() { &record[name] } else { &fields[name] }
}

#[tokio::test]
async fn a_correlation_id_goes_from_the_request_to_the_event_and_the_log() {
    let setup = Setup::new().set("RUST_LOG", "debug");
    let server = setup.start().await;
    let project = server.project("demo").await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let put = project.put("c", "d", &json!({"secret": "never-logged"}));
    let put = put.header("x-correlation-id", "order-4711").header("traceparent", trace);
    let answer = put.key("key-never-logged").send().await;
    assert_eq!(answer.header("x-correlation-id"), Some("order-4711"));
    let event = project.events(&answer.position()).await.0.remove(0);
    assert_eq!(event["correlationid"], "order-4711");
    assert_eq!(event["traceparent"], trace);
    let with = |name: &'static str| {
        move |line: &str| {
            let record: Value = serde_json::from_str(line).ok()?;
            let is_ours = field(&record, "correlation.id") == "order-4711";
            (is_ours && !field(&record, name).is_null()).then_some(record)
        }
    };
    let applied = within("the writer's line", server.log.find(with("position"))).await;
    assert_eq!(field(&applied, "position"), answer.position().as_str());
    let record = within("the request's line", server.log.find(with("http.route"))).await;
    assert!(field(&record, "http.route").as_str().is_some_and(|route| route.contains("{id}")));
    assert_eq!(field(&record, "http.status").to_string().trim_matches('"'), "201");
    let made = project.put("c", "e", &json!({})).send().await;
    let fresh = made.header("x-correlation-id").expect("one is made").to_owned();
    let event = project.events(&made.position()).await.0.remove(0);
    assert_eq!(event["correlationid"], fresh.as_str());
    let problem = project.get("c", "x").refused(404, "document-not-found").await;
    assert!(problem["correlationId"].is_string());
    let token = project.client.token().to_owned();
    server.terminate();
    within("the last line", server.log.find(|line| line.contains("stopped").then_some(()))).await;
    let text = server.log.text();
    for secret in ["never-logged", token.as_str(), harness::ADMIN_KEY] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
    assert!(server.log.records().len() == text.lines().count(), "every line is JSON");
}

#[tokio::test]
async fn what_dev_prints_can_be_copied_and_works() {
    let setup = Setup::new().set("HEADWATER_ADMIN_KEY", "");
    let data = setup.data();
    let args = ["dev", "--data", data.to_str().expect("UTF-8"), "--listen", "127.0.0.1:0"];
    let server = setup.spawn_with(&args);
    let stops = |line: &str| line.contains("Ctrl-C").then_some(());
    within("the welcome", server.log.find(stops)).await;
    let printed = server.log.text();
    let start = printed.find("URL=").expect("lines to copy");
    let end = printed.find("Ctrl-C").expect("the end of the welcome");
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-e", "-c", &printed[start..end]]).kill_on_drop(true);
    let output = within("the next step", shell.output()).await.expect("a shell");
    let told = harness::server::printed(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("\"version\":1") && told.contains("\"data\":{\"text\""), "{told}");
    server.stop().await;
}
