//! Live queries: what a filter holds of, as it comes and goes; the same as asking again, after
//! any writes and any gap.

use std::collections::BTreeMap;

use harness::{Project, Socket, Sse};
use serde_json::{Value, json};

use super::started;

/// Writes of random documents.
const WRITES: usize = 300;
/// Documents that they are spread over.
const DOCUMENTS: usize = 12;

#[tokio::test]
async fn a_document_comes_and_goes_as_the_filter_holds() {
    let (_server, project) = started().await;
    project.write("c", "a", &json!({"n": 1})).await;
    project.write("c", "b", &json!({"n": 9})).await;
    let filter = json!({"field": "n", "op": ">", "value": 5});
    let target = json!({"collection": "c", "where": filter});
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &target, None).await;
    let (documents, position) = socket.snapshot().await;
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0]["id"], "b");
    let told = async |socket: &mut Socket| {
        let change = socket.changes(1).await.remove(0);
        let document = &change["document"];
        (change["type"].clone(), document["id"].clone(), document["data"]["n"].clone())
    };
    project.write("c", "a", &json!({"n": 2})).await;
    project.write("c", "a", &json!({"n": 6})).await;
    assert_eq!(told(&mut socket).await, (json!("added"), json!("a"), json!(6)));
    project.write("c", "a", &json!({"n": 7})).await;
    assert_eq!(told(&mut socket).await, (json!("modified"), json!("a"), json!(7)));
    project.write("c", "a", &json!({"n": 5})).await;
    assert_eq!(told(&mut socket).await, (json!("removed"), json!("a"), json!(7)));
    project.delete("c", "a").expect(204).await;
    project.delete("c", "b").expect(204).await;
    assert_eq!(told(&mut socket).await, (json!("removed"), json!("b"), json!(9)));

    // As an event stream, from where the socket began.
    let encoded: String = form_urlencoded::byte_serialize(filter.to_string().as_bytes()).collect();
    let query = format!("collection=c&where={encoded}");
    let mut stream = Sse::open(&project, &query, position.as_str()).await;
    let mut types = Vec::new();
    for _ in 0..4 {
        types.push(stream.next().await.data["type"].clone());
    }
    assert_eq!(types, ["added", "modified", "removed", "removed"]);

    let wrong =
        json!({"collection": "c", "where": {"and": [{"field": "n", "op": "~", "value": 1}]}});
    socket.subscribe("w", &wrong, None).await;
    let error = socket.expect("error").await;
    assert_eq!((&error["sub"], &error["code"]), (&json!("w"), &json!("invalid-body")));
    assert_eq!(error["field"], "/target/where/and/0/op");
    let both = json!({"collection": "c", "id": "a", "where": filter});
    socket.subscribe("w", &both, None).await;
    assert_eq!(socket.expect("error").await["code"], "invalid-body");
    let path = project.path("/realtime/events?collection=c&where=%7B%7D");
    project.client.get(&path).refused(400, "invalid-parameter").await;
}

/// A client that keeps what it was told.
struct Mirror {
    filter: Value,
    socket: Socket,
    /// By id.
    documents: BTreeMap<String, Value>,
    position: Option<String>,
    /// Whether the connection is cut and made anew now and then.
    breaks: bool,
}

impl Mirror {
    async fn open(project: &Project, filter: Value, breaks: bool) -> Self {
        let socket = Socket::connect(project).await;
        let mut mirror =
            Self { filter, socket, documents: BTreeMap::new(), position: None, breaks };
        mirror.subscribe().await;
        mirror
    }

    async fn subscribe(&mut self) {
        let target = json!({"collection": "c", "where": self.filter});
        self.socket.subscribe("s", &target, self.position.as_deref()).await;
    }

    /// Takes what comes until the last document does.
    async fn follow(&mut self, project: &Project) {
        let mut changes = 0;
        loop {
            let frame = self.socket.frame().await;
            self.position = frame["position"].as_str().map(str::to_owned);
            match frame["op"].as_str() {
                Some("snapshot") => {
                    for document in frame["documents"].as_array().expect("documents") {
                        let id = document["id"].as_str().expect("an id").to_owned();
                        assert!(self.documents.insert(id, document.clone()).is_none());
                    }
                }
                Some("change") => {
                    let id = frame["document"]["id"].as_str().expect("an id").to_owned();
                    let known = match frame["type"].as_str() {
                        Some("removed") => self.documents.remove(&id),
                        _ => self.documents.insert(id.clone(), frame["document"].clone()),
                    };
                    // Nothing is told twice, and nothing goes that has not come.
                    assert_eq!(known.is_none(), frame["type"] == "added", "{frame}");
                    if id == "last" {
                        return;
                    }
                    changes += 1;
                }
                Some("live") => {}
                _ => panic!("expected a snapshot or a change, got {frame}"),
            }
            if self.breaks && changes % 10 == 9 {
                self.socket = Socket::connect(project).await;
                self.subscribe().await;
                changes += 1;
            }
        }
    }
}

#[tokio::test]
async fn live_results_are_those_of_asking_again() {
    let (_server, project) = started().await;
    let mut random = fastrand::Rng::with_seed(7);
    let value = |random: &mut fastrand::Rng| match random.u8(0..5) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => json!(["a", "b", "ab"][random.usize(0..3)]),
        _ => json!(random.i64(-2..3)),
    };
    let mut mirrors = Vec::new();
    let compared =
        |field: &str, op: &str, value: Value| json!({"field": field, "op": op, "value": value});
    for (number, filter) in [
        compared("x", "==", json!(1)),
        compared("x", "!=", json!(1)),
        compared("x", "<", json!(1)),
        compared("y.z", ">=", json!("a")),
        compared("y.z", "in", json!([null, true, "b"])),
        json!({"not": compared("x", "exists", json!(true))}),
        json!({"and": [compared("x", ">", json!(-2)), compared("y.z", "!=", json!(0))]}),
        json!({"or": [compared("x", "==", ().into()), compared("y.z", "starts-with", "a".into())]}),
    ]
    .into_iter()
    .enumerate()
    {
        // The last document ends it for everybody.
        let filter = json!({"or": [filter, compared("$id", "==", json!("last"))]});
        mirrors.push(Mirror::open(&project, filter, number % 2 == 0).await);
    }
    let writing = async {
        for _ in 0..WRITES {
            let id = format!("d{}", random.usize(0..DOCUMENTS));
            let data = match random.u8(0..6) {
                0 => {
                    project.delete("c", &id).send().await;
                    continue;
                }
                1 => json!({}),
                2 => json!({"x": value(&mut random)}),
                _ => json!({"x": value(&mut random), "y": {"z": value(&mut random)}}),
            };
            project.write("c", &id, &data).await;
        }
        project.write("c", "last", &json!({})).await;
    };
    let following =
        futures_util::future::join_all(mirrors.iter_mut().map(|one| one.follow(&project)));
    tokio::join!(writing, following);
    let path = project.path("/collections/c/query");
    for mirror in mirrors {
        let asked = json!({"where": mirror.filter});
        let page = project.client.post(&path, &asked).expect(200).await;
        let documents = page["documents"].as_array().expect("documents").iter();
        let asked: BTreeMap<String, Value> = documents
            .map(|document| (document["id"].as_str().expect("an id").to_owned(), document.clone()))
            .collect();
        assert_eq!(mirror.documents, asked, "{}", mirror.filter);
        assert!(asked.len() > 1, "{} holds of nothing", mirror.filter);
    }
}
