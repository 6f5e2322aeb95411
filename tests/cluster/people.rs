//! People on several nodes: whoever signs in on one is known on the others, what changes there
//! reaches open sockets here, and an erasure holds everywhere.

use std::time::{Duration, Instant};

use harness::{ADMIN_KEY, Client, Person, Project, Socket};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::nodes::cluster::Cluster;
use crate::nodes::engines::{Engine, Kind};
use crate::scenarios::{TURN, are_wanted};

/// Long before the next heartbeat would find out, which comes every 25 s.
const AT_ONCE: Duration = Duration::from_secs(10);
/// A destroyed key may open something on another node for five seconds more; and a busy machine.
const KEYS_HELD_MAX: Duration = Duration::from_secs(30);
/// Changes that two nodes make of one user at the same time.
const RACES: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_in_on_one_node_is_known_on_all() {
    if !are_wanted() {
        return;
    }
    let engines = block_in_place(|| (Engine::shared(Kind::Kafka), Engine::shared(Kind::Cassandra)));
    let _turn = TURN.lock().await;
    let cluster = Cluster::start("people", 2, engines, None).await;
    let urls = cluster.urls();
    let admin = Client::new(&urls[0], ADMIN_KEY);
    // In different partitions, so that each node forwards for one of them at least.
    for id in ["p0", "p1", "p2"] {
        let project = Project::create(&admin, id).await;
        let there = project.at(&urls[1]);
        signed_in_on_both(&project, &there).await;
        reached_from_the_other(&project, &there).await;
        erased_on_both(&project, &there).await;
    }
}

async fn signed_in_on_both(here: &Project, there: &Project) {
    let ann = Person::sign_up(here, "ann@example.com").await;
    let me = here.path("/auth/me");
    let elsewhere = ann.project.at(there.client.base());
    assert_eq!(elsewhere.client.get(&me).expect(200).await["id"], ann.id);
    let again = Person::sign_in(there, "ann@example.com").await;
    assert_eq!(again.id, ann.id);
    // Each node tries again where the other was first.
    let patches = async |project: &Project, name: &str| {
        for number in 0..RACES {
            let data = json!({"name": format!("{name} {number}")});
            project.client.patch(&me, &data).expect(200).await;
        }
    };
    tokio::join!(patches(&ann.project, "here"), patches(&elsewhere, "there"));
    let path = here.path(&format!("/users/{}", ann.id));
    let names = [here, there].map(|project| project.client.get(&path));
    let [one, other] = names;
    assert_eq!(one.expect(200).await["name"], other.expect(200).await["name"]);

    // A session that ended there is over here, and its socket with it.
    let mut socket = Socket::connect(&ann.project).await;
    let since = Instant::now();
    let all = json!({"sessions": "all"});
    again.project.client.post(&here.path("/auth/sign-out"), &all).expect(204).await;
    let closed = socket.closed().await.map(|(code, _)| code);
    assert_eq!(closed, Some(4401));
    println!("a sign-out reached the other node's socket after {:?}", since.elapsed());
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    ann.project.client.get(&me).refused(401, "session-ended").await;
}

async fn reached_from_the_other(here: &Project, there: &Project) {
    let rules = json!({"rules": {"list": "hasRole('reader')"}});
    here.client.put(&here.path("/collections/notes"), &rules).expect(201).await;
    here.write("notes", "a", &json!({"n": 1})).await;
    let bob = Person::sign_up(there, "bob@example.com").await;
    let user = here.path(&format!("/users/{}", bob.id));
    there.client.patch(&user, &json!({"roles": ["reader"]})).expect(200).await;
    let mut socket = Socket::connect(&bob.project.at(here.client.base())).await;
    socket.subscribe("s", &json!({"collection": "notes"}), None).await;
    assert_eq!(socket.snapshot().await.0.len(), 1);
    let since = Instant::now();
    there.client.patch(&user, &json!({"roles": []})).expect(200).await;
    let snapshot = socket.expect("snapshot").await;
    println!("a lost role reached the other node's socket after {:?}", since.elapsed());
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    assert_eq!((&snapshot["reset"], &snapshot["documents"]), (&json!(true), &json!([])));
}

async fn erased_on_both(here: &Project, there: &Project) {
    let cleo = Person::sign_up(here, "cleo@example.com").await;
    let settings = json!({"fields": {"note": {"personal": true}}, "subject": "person"});
    here.client.put(&here.path("/collections/patients"), &settings).expect(201).await;
    for (project, id) in [(here, "a"), (there, "b")] {
        project.write("patients", id, &json!({"person": cleo.id, "note": id})).await;
    }
    let notes = async |project: &Project| {
        let documents = project.list("patients", "").await;
        documents.iter().map(|one| one["data"]["note"].clone()).collect::<Vec<_>>()
    };
    for project in [here, there] {
        assert_eq!(notes(project).await, ["a", "b"]);
    }
    there.client.delete(&here.path(&format!("/users/{}", cleo.id))).expect(204).await;
    let gone = vec![Value::Null, Value::Null];
    assert_eq!(notes(there).await, gone);
    let since = Instant::now();
    while notes(here).await != gone {
        assert!(since.elapsed() < KEYS_HELD_MAX, "the other node reads it yet");
        sleep(Duration::from_millis(100)).await;
    }
    println!("unreadable on the other node after {:?}", since.elapsed());
    let data = json!({"person": cleo.id, "note": "again"});
    for project in [here, there] {
        project.put("patients", "c", &data).refused(422, "subject-erased").await;
    }
}
