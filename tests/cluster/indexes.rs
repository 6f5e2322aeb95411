//! Indexes on several nodes, whose tables do not stand still: whatever moves within an index while
//! it is read, no query misses a document or shows one twice, and what is unique stays so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{ADMIN_KEY, Client, Project};
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::nodes::cluster::Cluster;
use crate::nodes::engines::{Engine, Kind};
use crate::scenarios::{TURN, are_wanted};

const DOCUMENTS: usize = 120;
/// For how long documents move while they are looked for.
const MOVING: Duration = Duration::from_secs(10);
/// Until an index of so few documents must be built.
const BUILT_MAX: Duration = Duration::from_secs(60);
const RACES: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_within_an_index_is_found_once() {
    if !are_wanted() {
        return;
    }
    let engines = block_in_place(|| (Engine::shared(Kind::Kafka), Engine::shared(Kind::Cassandra)));
    let _turn = TURN.lock().await;
    let cluster = Cluster::start("indexes", 2, engines, None).await;
    let urls = cluster.urls();
    let admin = Client::new(&urls[0], ADMIN_KEY);
    // In different partitions, so that each node reads what the other writes.
    for id in ["i0", "i1", "i2"] {
        let project = Project::create(&admin, id).await;
        let there = project.at(&urls[1]);
        filled(&project).await;
        for project in [&project, &there] {
            built(project).await;
        }
        moved_and_found(&project, &there).await;
        found_as_by_id(&project, &there).await;
        unique(&project, &there).await;
    }
}

/// Half of the documents are there before the indexes are.
async fn filled(project: &Project) {
    let put = async |n: usize| {
        let data = json!({"state": "a", "n": n % 7});
        project.write("c", &format!("d{n}"), &data).await;
    };
    for n in 0..DOCUMENTS / 2 {
        put(n).await;
    }
    let by_state = json!({"fields": [{"field": "state"}, {"field": "n", "direction": "desc"}]});
    let settings = json!({"indexes": [by_state], "unique": ["slug"]});
    project.client.put(&project.path("/collections/c"), &settings).expect(201).await;
    for n in DOCUMENTS / 2..DOCUMENTS {
        put(n).await;
    }
}

async fn built(project: &Project) {
    let (path, since) = (project.path("/collections/c/indexes"), Instant::now());
    loop {
        let listed = project.client.get(&path).expect(200).await;
        let indexes = listed["indexes"].as_array().expect("indexes");
        if indexes.len() == 2 && indexes.iter().all(|one| one["state"] == "ready") {
            return;
        }
        assert!(since.elapsed() < BUILT_MAX, "{listed}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn query(project: &Project, body: &Value) -> Value {
    loop {
        let answer = project.client.post(&project.path("/collections/c/query"), body).send().await;
        // As for moves.
        if answer.status != 408 {
            return answer.expect(200);
        }
    }
}

/// Documents move from state to state by way of both nodes; whoever asks for all states gets all of
/// them, each once, in order.
async fn moved_and_found(here: &Project, there: &Project) {
    let is_over = Arc::new(AtomicBool::new(false));
    let moves = Arc::new(AtomicUsize::new(0));
    let movers = (0..4).map(|mover| {
        let (project, is_over, moves) =
            (if mover % 2 == 0 { here } else { there }, Arc::clone(&is_over), Arc::clone(&moves));
        async move {
            let mut n = mover;
            while !is_over.load(Ordering::Relaxed) {
                let state = ["a", "b", "c"][(n / DOCUMENTS + n) % 3];
                let path = project.path(&format!("/collections/c/documents/d{}", n % DOCUMENTS));
                let data = json!({"state": state, "n": n % 11});
                let answer = project.client.patch(&path, &data).send().await;
                // A connection that was opened and not used for a while ends by a 408, perhaps
                // just when it is used: then the same is sent again (RFC 9110, section 15.5.9).
                if answer.status != 408 {
                    answer.expect(200);
                    moves.fetch_add(1, Ordering::Relaxed);
                    n += 4;
                }
            }
        }
    });
    let readers = [here, there].map(|project| {
        let is_over = Arc::clone(&is_over);
        async move {
            let all = json!({"field": "state", "op": "in", "value": ["a", "b", "c"]});
            let page = json!({"where": all, "limit": 1000, "explain": true,
                "orderBy": [{"field": "n", "direction": "desc"}]});
            let sums = json!({"where": all, "aggregate": {"n": {"op": "count"}}});
            let mut asked = 0;
            while !is_over.load(Ordering::Relaxed) {
                let answer = query(project, &page).await;
                assert_eq!(answer["explanation"]["by"], "index");
                let documents = answer["documents"].as_array().expect("documents");
                let keys: Vec<_> = documents
                    .iter()
                    .map(|one| (one["data"]["n"].as_u64(), one["id"].as_str()))
                    .collect();
                assert_eq!(keys.len(), DOCUMENTS, "at {}", answer["position"]);
                assert!(keys.is_sorted_by(|one, other| one > other), "{keys:?}");
                let counted = query(project, &sums).await;
                assert_eq!(counted["groups"][0]["values"]["n"], DOCUMENTS, "{counted}");
                asked += 1;
            }
            asked
        }
    });
    let [one, other] = readers;
    let stop = async {
        sleep(MOVING).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (asked, other, ..) = tokio::join!(one, other, futures_util::future::join_all(movers), stop);
    println!("{} moves, {asked} and {other} questions", moves.load(Ordering::Relaxed));
    assert!(asked > 5 && other > 5 && moves.load(Ordering::Relaxed) > 50);
}

/// Once nothing moves any more, by index is found what is found without.
async fn found_as_by_id(here: &Project, there: &Project) {
    let listed = here.client.get(&here.path("/collections/c/documents?limit=1000"));
    let listed = listed.expect(200).await;
    for state in ["a", "b", "c"] {
        let documents = listed["documents"].as_array().expect("documents").iter();
        let wanted: Vec<&Value> =
            documents.filter(|one| one["data"]["state"] == state).map(|one| &one["id"]).collect();
        let filter = json!({"field": "state", "op": "==", "value": state});
        for project in [here, there] {
            let found = query(project, &json!({"where": filter, "limit": 1000})).await;
            let documents = found["documents"].as_array().expect("documents");
            let mut ids: Vec<&Value> = documents.iter().map(|one| &one["id"]).collect();
            ids.sort_by_key(|id| id.as_str());
            assert_eq!(ids, wanted, "{state}");
        }
    }
}

/// Both nodes are asked for the same at the same time.
async fn unique(here: &Project, there: &Project) {
    let path = here.path("/collections/c/documents");
    for race in 0..RACES {
        let data = json!({"slug": format!("s{race}")});
        let all = (0..6).map(|n| {
            let project = if n % 2 == 0 { here } else { there };
            project.client.post(&path, &data).send()
        });
        let answers = futures_util::future::join_all(all).await;
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        let taken = answers.iter().filter(|answer| answer.status == 409).count();
        assert_eq!((made, taken), (1, 5));
    }
}
