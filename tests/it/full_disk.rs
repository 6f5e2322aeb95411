//! A full disk refuses writes and nothing else; with room again, writes go on. Nothing that was
//! acknowledged is lost on the way.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use harness::{Project, Server, Setup, eventually};

const DISK_BYTES: u64 = 192 << 20;

/// A server with a disk of its own, as small as we want; `None` where the system does not allow
/// it.
async fn on_small_disk(setup: &Setup) -> Option<(Server, PathBuf)> {
    let allowed = tokio::process::Command::new("unshare")
        .args(["--user", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output()
        .await;
    if !allowed.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let mut server = setup.spawn_on_small_disk(DISK_BYTES);
    server.listening().await;
    let disk = setup.folder().join("disk");
    let seen = server.root().join(disk.strip_prefix("/").expect("an absolute path"));
    Some((server, seen))
}

/// Takes all the room that is left but `bytes`.
fn fill(disk: &Path, leave: u64) -> PathBuf {
    let path = disk.join("filler");
    let stat = rustix::fs::statvfs(disk).expect("a disk tells its room");
    let size = (stat.f_bavail * stat.f_frsize).saturating_sub(leave);
    let chunk = vec![1; 1 << 20];
    let mut file = std::fs::File::create(&path).expect("a file can be made");
    for at in (0..size).step_by(chunk.len()) {
        let count = chunk.len().min((size - at) as usize);
        // Full before we thought: so much the better.
        if std::io::Write::write_all(&mut file, &chunk[..count]).is_err() {
            break;
        }
    }
    path
}

/// Writes until one is refused; returns those that were acknowledged.
async fn write_until_full(project: &Project, pad: usize) -> Vec<(String, Value)> {
    let mut acknowledged = Vec::new();
    for n in 0..2_000 {
        let (id, data) = (format!("w{n}"), json!({"n": n, "pad": "x".repeat(pad)}));
        let answer = project.put("c", &id, &data).send().await;
        if !answer.is_ok() {
            answer.problem(507, "storage-full");
            return acknowledged;
        }
        acknowledged.push((id, data));
    }
    panic!("the disk never was full");
}

async fn refuses_and_recovers(server: &Server, disk: &Path, leave: u64, pad: usize) {
    let project = server.project("demo").await;
    project.write("c", "before", &json!({"n": 1})).await;
    let filler = fill(disk, leave);
    let acknowledged = write_until_full(&project, pad).await;
    // Reads go on, and so does the rest.
    project.get("c", "before").expect(200).await;
    for (id, data) in &acknowledged {
        assert_eq!(project.get("c", id).expect(200).await["data"], *data);
    }
    server.admin().get("/healthz").expect(200).await;
    std::fs::remove_file(filler).expect("the filler can be removed");
    eventually("writes to go on", || async {
        project.put("c", "after", &json!({})).send().await.is_ok()
    })
    .await;
    assert_eq!(project.list("c", "").await.len(), acknowledged.len() + 2);
    server.admin().get("/readyz").expect(200).await;
}

#[tokio::test]
async fn a_disk_down_to_its_reserve_refuses_writes_until_there_is_room() {
    let setup = Setup::new();
    if let Some((server, disk)) = on_small_disk(&setup).await {
        return refuses_and_recovers(&server, &disk, 70 << 20, 20_000).await;
    }
    // The same refusal, from a reserve that no disk has.
    let server = setup.start().await;
    let project = server.project("demo").await;
    project.write("c", "before", &json!({"n": 1})).await;
    server.stop().await;
    let server = setup.clone().set("HEADWATER__LOG__DISK_RESERVE_BYTES", i64::MAX).start().await;
    let full = project.at(&server.url);
    full.put("c", "more", &json!({})).refused(507, "storage-full").await;
    full.get("c", "before").expect(200).await;
    server.stop().await;
    let server = setup.start().await;
    project.at(&server.url).write("c", "more", &json!({})).await;
}

#[tokio::test]
async fn a_disk_that_is_really_full_loses_nothing() {
    let setup = Setup::new().set("HEADWATER__LOG__DISK_RESERVE_BYTES", 0);
    let Some((server, disk)) = on_small_disk(&setup).await else {
        println!("not tried: this system lets nobody mount a small disk");
        return;
    };
    let project = server.project("demo").await;
    project.write("c", "before", &json!({"n": 1})).await;
    let filler = fill(&disk, 1 << 20);
    let mut acknowledged = Vec::new();
    for n in 0..200 {
        let (id, data) = (format!("w{n}"), json!({"n": n, "pad": "x".repeat(50_000)}));
        let answer = project.put("c", &id, &data).send().await;
        match answer.is_ok() {
            true => acknowledged.push((id, data)),
            // The log or the tables: whichever meets the end of the disk first.
            false => {
                let problem = answer.any_problem();
                assert!(answer.status == 507 || answer.status == 503, "{problem}");
                break;
            }
        }
    }
    assert!(acknowledged.len() < 200, "the disk never was full");
    project.get("c", "before").expect(200).await;
    std::fs::remove_file(filler).expect("the filler can be removed");
    eventually("writes to go on", || async {
        project.put("c", "after", &json!({})).send().await.is_ok()
    })
    .await;
    for (id, data) in &acknowledged {
        assert_eq!(project.get("c", id).expect(200).await["data"], *data);
    }
}
