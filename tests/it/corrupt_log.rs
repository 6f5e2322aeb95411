//! A damaged log is not served as if nothing were wrong: the partition says where, and the others
//! go on. What a crash left unfinished at the end was never acknowledged, and goes.

use std::path::PathBuf;

use serde_json::json;

use harness::{Project, Server, Setup, files_below};

/// Writes enough for a middle; two projects in different partitions.
async fn two_partitions(server: &Server) -> (Project, Project) {
    let first = server.project("p0").await;
    let partition = |position: &str| position.split_once('-').expect("one").0.to_owned();
    let own = partition(&first.write("c", "d", &json!({})).await.position());
    for n in 1..50 {
        let other = server.project(&format!("p{n}")).await;
        if partition(&other.write("c", "d", &json!({})).await.position()) == own {
            continue;
        }
        for n in 0..50 {
            for project in [&first, &other] {
                project.write("c", &format!("d{n}"), &json!({"n": n, "pad": "xxxxxxxxxx"})).await;
            }
        }
        return (first, other);
    }
    panic!("fifty projects in one partition");
}

/// The newest segment of a project's partition.
async fn segment(setup: &Setup, project: &Project) -> PathBuf {
    let position = project.events("").await.1;
    let partition = position.split_once('-').expect("a position").0.to_owned();
    let files = files_below(&setup.data().join("log"));
    let of_partition = |path: &&PathBuf| {
        let folder = path.parent().and_then(|folder| folder.file_name());
        folder.is_some_and(|name| name == &*partition)
            && path.extension().is_some_and(|e| e == "log")
    };
    files.iter().rfind(of_partition).expect("a segment").clone()
}

fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("a segment can be read");
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).expect("a segment can be written");
}

#[tokio::test]
async fn a_record_damaged_in_the_middle_stops_its_partition_only() {
    let setup = Setup::new();
    let server = setup.start().await;
    let (hurt, well) = two_partitions(&server).await;
    let path = segment(&setup, &hurt).await;
    server.kill().await;
    let middle = std::fs::metadata(&path).expect("a segment").len() as usize / 2;
    flip(&path, middle);
    let verified = setup.run(&["verify", "--data", setup.data().to_str().expect("UTF-8")]).await;
    assert_eq!(verified.status.code(), Some(1));
    let told = harness::server::printed(&verified);
    for _ in 0..2 {
        let server = setup.start().await;
        let (hurt, well) = (hurt.at(&server.url), well.at(&server.url));
        let ready = server.admin().get("/readyz").send().await;
        assert_eq!(ready.status, 503);
        let reasons = ready.json()["reasons"].to_string();
        let offset = reasons.split("offset ").nth(1).expect("the offset is named");
        let offset: String = offset.chars().take_while(char::is_ascii_digit).collect();
        assert!(told.contains(&format!("offset {offset}")), "{reasons} and {told}");
        // It never looks as if the documents were gone, nor do writes go past the damage.
        hurt.get("c", "d1").refused(503, "unavailable").await;
        hurt.put("c", "new", &json!({})).refused(503, "unavailable").await;
        assert_eq!(well.get("c", "d1").expect(200).await["data"]["n"], 1);
        well.put("c", "new", &json!({})).send().await.position();
        server.stop().await;
    }
}

#[tokio::test]
async fn a_torn_end_is_cut_and_nothing_acknowledged_goes_with_it() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("demo").await;
    for n in 0..20 {
        project.write("c", &format!("d{n}"), &json!({"n": n})).await;
    }
    let mut path = segment(&setup, &project).await;
    let mut server = server;
    let mut project = project;
    for round in 0..4_u8 {
        let whole = project.events("").await;
        let documents = project.list("c", "").await;
        // The beginning of one more record, as a crash in the middle of a write leaves it.
        let end = std::fs::metadata(&path).expect("a segment").len();
        project.write("c", &format!("torn{round}"), &json!({"n": round})).await;
        server.kill().await;
        let bytes = std::fs::read(&path).expect("a segment can be read");
        let torn = end as usize + (bytes.len() - end as usize) * usize::from(round) / 4;
        let mut kept = bytes[..torn.max(end as usize + 1)].to_vec();
        if round == 3 {
            kept.resize(bytes.len(), 0);
        }
        std::fs::write(&path, kept).expect("a segment can be written");
        // The tables have seen the event that the log has lost: they go with it.
        std::fs::remove_dir_all(setup.data().join("tables")).expect("there are tables");
        server = setup.start().await;
        project = project.at(&server.url);
        assert_eq!(project.events("").await, whole, "round {round}");
        assert_eq!(project.list("c", "").await, documents);
        server.admin().get("/readyz").expect(200).await;
        project.write("c", "after", &json!({"n": round})).await;
        path = segment(&setup, &project).await;
    }
}

#[tokio::test]
async fn a_log_whose_every_byte_may_be_wrong_is_never_served_wrong() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("demo").await;
    for n in 0..10 {
        project.write("c", &format!("d{n}"), &json!({"n": n})).await;
    }
    let events = project.events("").await.0;
    let path = segment(&setup, &project).await;
    server.kill().await;
    let good = std::fs::read(&path).expect("a segment can be read");
    let mark = path.with_file_name("damaged");
    for at in (0..good.len()).step_by(good.len() / 12) {
        std::fs::write(&path, &good).expect("a segment can be written");
        flip(&path, at);
        let server = setup.start().await;
        let answer = project.at(&server.url).client.get(&project.path("/events")).send().await;
        match answer.status {
            // A last batch that is not whole looks like a torn one: it may go, but never change.
            200 => {
                let served = answer.json()["events"].as_array().expect("events").clone();
                assert_eq!(served, events[..served.len()], "byte {at}");
            }
            401 | 503 => drop(answer.any_problem()),
            status => panic!("byte {at}: {status}: {}", answer.text()),
        }
        server.kill().await;
        std::fs::remove_file(&mark).unwrap_or_default();
        std::fs::remove_dir_all(setup.data().join("tables")).expect("there are tables");
    }
    std::fs::write(&path, &good).expect("a segment can be written");
    let server = setup.start().await;
    assert_eq!(project.at(&server.url).events("").await.0, events);
}
