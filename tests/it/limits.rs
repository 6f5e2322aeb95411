//! What is at a limit passes, what is over it is refused by a stable code, and nothing that a
//! client sends makes a 500.

use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};

use harness::{Answer, Project, Server, Setup};

const DOCUMENT_BYTES_MAX: usize = 1 << 20;
const BODY_BYTES_MAX: usize = 8 << 20;
const COMMIT_WRITES_MAX: usize = 500;
const DEPTH_MAX: usize = 64;

async fn started() -> (Server, Project) {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    (server, project)
}

async fn put_text(project: &Project, id: &str, text: impl Into<reqwest::Body>) -> Answer {
    let put = project.client.request(Method::PUT, &project.document("c", id));
    put.header("content-type", "application/json").raw(text).send().await
}

/// A document of so many bytes.
fn document_of(bytes: usize) -> String {
    format!("{{\"pad\":\"{}\"}}", "x".repeat(bytes - "{\"pad\":\"\"}".len()))
}

/// A document nested so deep, itself counted.
fn nested(depth: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

#[tokio::test]
async fn a_document_has_at_most_one_mebibyte() {
    let (_server, project) = started().await;
    let largest = document_of(DOCUMENT_BYTES_MAX);
    assert_eq!(put_text(&project, "d", largest.clone()).await.status, 201);
    let read = project.get("c", "d").expect(200).await;
    assert_eq!(read["data"].to_string().len(), DOCUMENT_BYTES_MAX);
    // White space between tokens doesn't count.
    assert_eq!(put_text(&project, "d", largest.replace(':', " : \n")).await.status, 200);
    let over = put_text(&project, "e", document_of(DOCUMENT_BYTES_MAX + 1)).await;
    over.problem(413, "document-too-large");
    let post = project.client.request(Method::POST, &project.documents("c"));
    let post = post.header("content-type", "application/json");
    post.raw(document_of(DOCUMENT_BYTES_MAX + 1)).refused(413, "document-too-large").await;
    let patch = project.patch("c", "d", &json!({"more": 1}));
    patch.refused(413, "document-too-large").await;
    let pad = "x".repeat(DOCUMENT_BYTES_MAX);
    let writes = json!([{"op": "create", "collection": "c", "id": "e", "data": {"pad": pad}}]);
    let commit = project.commit(&writes, &json!([]));
    commit.refused(413, "document-too-large").await;
    assert_eq!(project.get("c", "d").expect(200).await["version"], 2);
    project.get("c", "e").refused(404, "document-not-found").await;
    assert_eq!(project.history("c", "d").await.len(), 2);
}

#[tokio::test]
async fn a_document_nests_at_most_64_deep() {
    let (_server, project) = started().await;
    assert_eq!(put_text(&project, "d", nested(DEPTH_MAX)).await.status, 201);
    project.get("c", "d").expect(200).await;
    put_text(&project, "e", nested(DEPTH_MAX + 1)).await.problem(400, "too-deep");
    put_text(&project, "e", nested(100_000)).await.problem(400, "too-deep");
    let deep: Value = serde_json::from_str(&nested(DEPTH_MAX)).expect("JSON");
    let patch = project.patch("c", "d", &json!({"b": deep}));
    patch.refused(400, "too-deep").await;
    let deeper: Value = serde_json::from_str(&nested(DEPTH_MAX + 1)).expect("JSON");
    for (data, status) in [(deep, 200), (deeper, 400)] {
        let id = format!("in-commit-{status}");
        let writes = json!([{"op": "create", "collection": "c", "id": id, "data": data}]);
        let answer = project.commit(&writes, &json!([])).send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let in_brackets = "[".repeat(1_000_000);
    let commit = project.client.request(Method::POST, &project.path("/commit"));
    let commit = commit.header("content-type", "application/json").raw(in_brackets);
    assert_eq!(commit.send().await.any_problem()["status"], 400);
}

#[tokio::test]
async fn a_body_has_at_most_eight_mebibytes() {
    let (_server, project) = started().await;
    let pad = "x".repeat(DOCUMENT_BYTES_MAX - 100);
    let write = |n: usize| {
        let (id, data) = (format!("d{n}"), json!({"pad": pad}));
        json!({"op": "replace", "collection": "c", "id": id, "data": data})
    };
    let writes: Vec<Value> = (0..7).map(write).collect();
    let mut body = json!({"writes": writes}).to_string();
    body.push_str(&" ".repeat(BODY_BYTES_MAX - body.len()));
    let over = format!("{body} ");
    let commit = |body: reqwest::Body| {
        let commit = project.client.request(Method::POST, &project.path("/commit"));
        commit.header("content-type", "application/json").raw(body).send()
    };
    commit(body.clone().into()).await.expect(200);
    commit(over.clone().into()).await.problem(413, "body-too-large");
    // Of a length that is not told in advance.
    let chunked = |body: String| {
        let chunks: Vec<_> = body.as_bytes().chunks(1 << 16).map(<[u8]>::to_vec).collect();
        reqwest::Body::wrap_stream(stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>)))
    };
    commit(chunked(body)).await.expect(200);
    commit(chunked(over)).await.problem(413, "body-too-large");
    assert_eq!(project.get("c", "d0").expect(200).await["version"], 2);
}

#[tokio::test]
async fn a_commit_has_1_to_500_writes() {
    let (_server, project) = started().await;
    let writes = |count: usize| -> Value {
        let write =
            |n| json!({"op": "replace", "collection": "c", "id": format!("d{n}"), "data": {}});
        (0..count).map(write).collect()
    };
    project.commit(&writes(COMMIT_WRITES_MAX), &json!([])).expect(200).await;
    assert_eq!(project.list("c", "").await.len(), COMMIT_WRITES_MAX);
    for count in [0, COMMIT_WRITES_MAX + 1] {
        let problem = project.commit(&writes(count), &json!([])).send().await.any_problem();
        assert!(problem["status"] == 400 || problem["status"] == 413, "{problem}");
        assert_eq!(problem["field"], "/writes", "{problem}");
    }
    let reads: Value = (0..=COMMIT_WRITES_MAX)
        .map(|n| json!({"collection": "c", "id": format!("d{n}"), "version": 1}))
        .collect();
    let problem = project.commit(&writes(1), &reads).send().await.any_problem();
    assert_eq!(problem["field"], "/reads", "{problem}");
    assert_eq!(project.get("c", "d0").expect(200).await["version"], 1);
}

#[tokio::test]
async fn a_page_has_1_to_1000_items() {
    let (_server, project) = started().await;
    project.write("c", "d", &json!({})).await;
    let paths = [
        project.documents("c"),
        project.path("/events"),
        format!("{}/history", project.document("c", "d")),
    ];
    for path in paths {
        for limit in ["1", "1000"] {
            project.client.get(&format!("{path}?limit={limit}")).expect(200).await;
        }
        for limit in ["0", "1001", "-1", "x", "", "99999999999999999999999"] {
            let over = project.client.get(&format!("{path}?limit={limit}"));
            let problem = over.refused(400, "invalid-parameter").await;
            assert_eq!(problem["field"], "limit", "{problem}");
        }
        let twice = project.client.get(&format!("{path}?limit=1&limit=2"));
        twice.refused(400, "invalid-parameter").await;
        let unknown = project.client.get(&format!("{path}?lmit=1"));
        let problem = unknown.refused(400, "invalid-parameter").await;
        assert_eq!(problem["field"], "lmit", "{problem}");
    }
}

#[tokio::test]
async fn what_is_no_json_object_is_no_document() {
    let (_server, project) = started().await;
    for text in
        ["{", "{\"a\":}", "{a:1}", "{\"a\":1}x", "{\"a\":01}", "\u{feff}{}", "{\"a\":\"\\x\"}"]
    {
        put_text(&project, "d", text).await.problem(400, "invalid-json");
    }
    put_text(&project, "d", b"{\"a\":\"\xff\"}".to_vec()).await.problem(400, "invalid-json");
    // Which of two values a name has would depend on the reader.
    let twice = put_text(&project, "d", "{\"a\":1,\"b\":{\"c\":1,\"c\":2}}").await;
    assert_eq!(twice.any_problem()["status"], 400);
    for text in ["[]", "1", "null", "\"x\"", "true"] {
        let problem = put_text(&project, "d", text).await.any_problem();
        assert_eq!(problem["status"], 400, "{problem}");
    }
    put_text(&project, "d", "").await.problem(400, "invalid-body");
    for kind in ["text/plain", "application/xml", "", "json", "multipart/form-data; boundary=x"] {
        let put = project.client.request(Method::PUT, &project.document("c", "d"));
        let put = put.header("content-type", kind).raw("{}");
        put.refused(415, "unsupported-media-type").await;
    }
    let put = project.client.request(Method::PUT, &project.document("c", "d"));
    put.raw("{}").refused(415, "unsupported-media-type").await;
    let put = project.put("c", "d", &json!({})).header("content-encoding", "gzip");
    put.refused(415, "unsupported-media-type").await;
    project.get("c", "d").refused(404, "document-not-found").await;
    let charset = project.client.request(Method::PUT, &project.document("c", "d"));
    let charset = charset.header("content-type", "Application/JSON; charset=utf-8").raw("{}");
    charset.expect(201).await;
}

#[tokio::test]
async fn a_body_of_another_shape_is_refused_with_its_place() {
    let (server, project) = started().await;
    let commit = |body: &Value| project.client.post(&project.path("/commit"), body).send();
    let good = json!({"op": "replace", "collection": "c", "id": "d", "data": {}});
    let changed = |name: &str, value: Value| {
        let mut write = good.clone();
        write[name] = value;
        json!({"writes": [write]})
    };
    for (body, field) in [
        (json!({}), ""),
        (json!([]), ""),
        (json!({"writes": {}}), "/writes"),
        (json!({"writes": [good], "wrtes": []}), "/wrtes"),
        (changed("op", json!("upsert")), "/writes/0"),
        (changed("collection", json!("_c")), "/writes/0"),
        (changed("id", json!("a/b")), "/writes/0"),
        (changed("id", json!(7)), "/writes/0"),
        (changed("data", json!([])), "/writes/0"),
        (changed("ifVersion", json!(-1)), "/writes/0"),
        (changed("ifVersion", json!("1")), "/writes/0"),
        (changed("more", json!(1)), "/writes/0"),
        (json!({"writes": [good], "reads": [{"collection": "c"}]}), "/reads/0"),
    ] {
        let problem = commit(&body).await.any_problem();
        assert_eq!(problem["status"], 400, "{body}: {problem}");
        let found = problem["field"].as_str().unwrap_or_default();
        assert!(found.starts_with(field), "{body}: {problem}");
    }
    let admin = server.admin();
    for body in [
        json!({"id": "x"}),
        json!({"name": "x"}),
        json!({"id": "_x", "name": "x"}),
        json!({"id": "x", "name": "x", "more": 1}),
        json!({"id": "x", "name": 1}),
        json!("x"),
    ] {
        let answer = admin.post("/v1/projects", &body).send().await;
        let fits = answer.status == 400 || body == json!({"name": "x"}) && answer.is_ok();
        assert!(fits, "{body}: {}", answer.text());
    }
    for body in [json!({"kind": "golden", "name": "x"}), json!({"name": "x"}), json!({"kind": 1})] {
        let problem = admin.post("/v1/projects/demo/keys", &body).send().await.any_problem();
        assert_eq!(problem["status"], 400, "{body}: {problem}");
    }
    assert_eq!(project.list("c", "").await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_no_route_is_told_so() {
    let (_server, project) = started().await;
    let client = &project.client;
    for path in ["/nothing", "/v1", "/v1/projects/demo/x", "/v1/projects/demo/collections/c/docs"] {
        client.get(path).refused(404, "not-found").await;
    }
    let wrong = client.request(Method::PATCH, &project.documents("c")).send().await;
    wrong.problem(405, "method-not-allowed");
    let allow = wrong.header("allow").expect("405 tells what is allowed");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    let misspelt = client.get(&format!("{}?were=%7B%7D", project.documents("c")));
    misspelt.refused(400, "invalid-parameter").await;
    let answer = client.get("/nothing").header("x-correlation-id", "mine-1").send().await;
    assert_eq!(answer.problem(404, "not-found")["correlationId"], "mine-1");
    assert_eq!(answer.header("x-correlation-id"), Some("mine-1"));
}
