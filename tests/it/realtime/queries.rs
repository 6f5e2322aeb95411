//! Live queries: what a filter holds of, as it comes and goes; the same as asking again, after
//! any writes and any gap.

use harness::{Socket, Sse};
use serde_json::{Value, json};

use super::mirror::{self, Mirror, Writes};
use super::started;

const WRITES: Writes = Writes { seed: 7, count: 300, documents: 12 };

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

#[tokio::test]
async fn live_results_are_those_of_asking_again() {
    let (_server, project) = started().await;
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
        // The last document is for everybody.
        let filter = json!({"or": [filter, compared("$id", "==", json!("last"))]});
        let target = json!({"collection": "c", "where": filter});
        mirrors.push(Mirror::open(&project, target, number % 2 == 0).await);
    }
    let held = mirror::hold(&project, &mut mirrors, WRITES).await;
    assert!(held.iter().all(|count| *count > 1), "one holds of nothing: {held:?}");
}
