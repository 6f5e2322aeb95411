//! Documents over REST: what was written is what is read, and only on the condition that was
//! named.

use serde_json::{Value, json};

use harness::{Project, Server, Setup};

async fn started() -> (Server, Project) {
    let server = Setup::new().start().await;
    let project = server.project("demo").await;
    (server, project)
}

fn ids(documents: &[Value]) -> Vec<&str> {
    documents.iter().map(|document| document["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn a_new_document_gets_an_id_a_version_and_a_position() {
    let (_server, project) = started().await;
    let answer = project.client.post(&project.documents("c"), &json!({"a": 1})).send().await;
    let made = answer.expect(201);
    let id = made["id"].as_str().expect("an id");
    assert_eq!((id.len(), &id[14..15]), (36, "7"), "not a UUIDv7: {id}");
    assert_eq!(made["version"], 1);
    assert_eq!(made["data"], json!({"a": 1}));
    assert_eq!(made["createdAt"], made["updatedAt"]);
    let time = made["createdAt"].as_str().expect("a time");
    assert_eq!((time.len(), &time[19..20], &time[26..]), (27, ".", "Z"), "{time}");
    assert_eq!(made["position"], answer.position());
    assert_eq!(project.get("c", id).expect(200).await, made);
}

#[tokio::test]
async fn every_digit_and_the_order_of_names_come_back() {
    let (_server, project) = started().await;
    let sent = "{ \"b\" : 1.0,\n \"a\": 12345678901234567890123, \"u\":\"\\u00e4 ä\" }";
    let stored = "{\"b\":1.0,\"a\":12345678901234567890123,\"u\":\"\\u00e4 ä\"}";
    let path = project.document("c", "exact");
    let put = project.client.request(reqwest::Method::PUT, &path);
    let answer = put.header("content-type", "application/json").raw(sent).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    for text in [answer.text(), project.client.get(&path).send().await.text()] {
        assert!(text.contains(&format!("\"data\":{stored}}}")), "{text}");
    }
}

#[tokio::test]
async fn a_document_is_made_replaced_merged_deleted_and_made_again() {
    let (_server, project) = started().await;
    let made = project.put("c", "d", &json!({"a": 1, "b": {"x": 1, "y": 2}})).expect(201).await;
    let replaced = project.put("c", "d", &json!({"b": {"x": 1, "y": 2}})).expect(200).await;
    assert_eq!((&replaced["version"], &replaced["createdAt"]), (&json!(2), &made["createdAt"]));
    let patch = json!({"b": {"x": null, "z": 3}, "c": [1]});
    let patched = project.patch("c", "d", &patch).expect(200).await;
    assert_eq!(patched["data"], json!({"b": {"y": 2, "z": 3}, "c": [1]}));
    assert_eq!(patched["version"], 3);
    let deleted = project.delete("c", "d").send().await;
    assert!(deleted.is_ok(), "{}", deleted.text());
    deleted.position();
    project.get("c", "d").refused(404, "document-not-found").await;
    project.patch("c", "d", &json!({})).refused(404, "document-not-found").await;
    project.delete("c", "d").refused(404, "document-not-found").await;
    // Versions go on: the number of a deleted document is not given twice.
    let again = project.put("c", "d", &json!({})).expect(201).await;
    assert_eq!(again["version"], 5);
    assert!(again["createdAt"].as_str() > made["createdAt"].as_str());
}

#[tokio::test]
async fn a_patch_may_come_as_plain_json() {
    let (_server, project) = started().await;
    project.write("c", "d", &json!({"a": 1})).await;
    let path = project.document("c", "d");
    let patch = project.client.request(reqwest::Method::PATCH, &path).json(&json!({"b": 2}));
    assert_eq!(patch.expect(200).await["data"], json!({"a": 1, "b": 2}));
}

#[tokio::test]
async fn a_failed_precondition_tells_the_actual_version() {
    let (_server, project) = started().await;
    project.put("c", "d", &json!({"n": 1})).if_none().expect(201).await;
    project.put("c", "d", &json!({"n": 2})).if_match(1).expect(200).await;
    let stale = [
        project.put("c", "d", &json!({})).if_match(1),
        project.put("c", "d", &json!({})).if_none(),
        project.patch("c", "d", &json!({})).if_match(3),
        project.delete("c", "d").if_match(1),
    ];
    for request in stale {
        let problem = request.refused(412, "version-mismatch").await;
        assert_eq!(problem["actualVersion"], 2, "{problem}");
    }
    let missing = project.put("c", "none", &json!({})).if_match(1);
    let problem = missing.refused(412, "version-mismatch").await;
    assert!(problem.as_object().expect("an object").contains_key("actualVersion"), "{problem}");
    assert_eq!(problem["actualVersion"], Value::Null, "{problem}");
    for tag in ["1", "W/\"1\"", "\"01\"", "\"1\", \"2\"", "\"x\""] {
        let odd = project.put("c", "d", &json!({})).header("if-match", tag);
        odd.refused(400, "invalid-parameter").await;
    }
    assert_eq!(project.get("c", "d").expect(200).await["version"], 2);
    project.delete("c", "d").if_match(2).send().await.position();
}

#[tokio::test]
async fn a_reader_that_has_the_version_gets_no_body() {
    let (_server, project) = started().await;
    project.write("c", "d", &json!({"n": 1})).await;
    let answer = project.get("c", "d").send().await;
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let again = project.get("c", "d").header("if-none-match", "\"1\"").send().await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    project.write("c", "d", &json!({"n": 2})).await;
    project.get("c", "d").header("if-none-match", "\"1\"").expect(200).await;
}

#[tokio::test]
async fn clients_may_choose_ids_within_the_rule() {
    let (_server, project) = started().await;
    let longest = "x".repeat(128);
    for id in ["a", "A-1_b.c", "-", "0", &longest] {
        project.put("c", id, &json!({})).if_none().expect(201).await;
        assert_eq!(project.get("c", id).expect(200).await["id"], id);
    }
    let too_long = "x".repeat(129);
    for id in ["_a", ".a", "a%20b", "%C3%A4", "a%2Fb", "a%00", "%FF", "~a", &too_long] {
        project.put("c", id, &json!({})).refused(400, "invalid-id").await;
        project.get("c", id).refused(400, "invalid-id").await;
        project.put(id, "d", &json!({})).refused(400, "invalid-id").await;
    }
}

#[tokio::test]
async fn pages_follow_the_order_of_ids_and_skip_nothing() {
    let (_server, project) = started().await;
    for n in 0..25 {
        project.write("c", &format!("d{n:02}"), &json!({"n": n})).await;
    }
    project.delete("c", "d07").send().await.position();
    project.write("other", "d99", &json!({})).await;
    let all = project.list("c", "limit=10").await;
    let wanted: Vec<String> = (0..25).filter(|n| *n != 7).map(|n| format!("d{n:02}")).collect();
    assert_eq!(ids(&all), wanted);
    let path = project.documents("c");
    let first = project.client.get(&format!("{path}?limit=3")).expect(200).await;
    assert!(first["position"].is_string(), "{first}");
    // A page goes on after its last document, whatever came and went meanwhile.
    project.delete("c", "d02").send().await.position();
    project.write("c", "d02a", &json!({})).await;
    let cursor = first["cursor"].as_str().expect("there is more");
    let next = project.client.get(&format!("{path}?limit=3&cursor={cursor}")).expect(200).await;
    assert_eq!(ids(next["documents"].as_array().expect("a page")), ["d02a", "d03", "d04"]);
    let exact = project.client.get(&format!("{path}?limit=24")).expect(200).await;
    assert_eq!(exact["cursor"], Value::Null);
    let empty = project.client.get(&project.documents("empty")).expect(200).await;
    assert_eq!((&empty["documents"], &empty["cursor"]), (&json!([]), &Value::Null));
    for cursor in ["%20", "_x", "%FF"] {
        let odd = project.client.get(&format!("{path}?cursor={cursor}"));
        odd.refused(400, "invalid-parameter").await;
    }
}

#[tokio::test]
async fn a_read_shows_the_position_that_it_names() {
    let (server, project) = started().await;
    let position = project.write("c", "d", &json!({})).await.position();
    project.get("c", "d").header("headwater-after", &position).expect(200).await;
    let (partition, offset) = position.split_once('-').expect("a position");
    let offset: u64 = offset.parse().expect("an offset");
    // What was not written yet is waited for, so long and no longer.
    let ahead = format!("{partition}-{}", offset + 1);
    let since = std::time::Instant::now();
    let request = project.get("c", "d").header("headwater-after", &ahead);
    request.refused(503, "stale-read").await;
    assert!(since.elapsed() >= std::time::Duration::from_secs(2));
    let request = project.get("c", "d").header("headwater-after", &ahead);
    let changed = json!({"n": 1});
    let (_, next) = tokio::join!(request.expect(200), project.write("c", "d", &changed));
    assert_eq!(next.position(), ahead);
    let partition: u32 = partition.parse().expect("a partition");
    let elsewhere = format!("{}-0", (partition + 1) % 4);
    let request = project.get("c", "d").header("headwater-after", elsewhere);
    request.refused(400, "position-elsewhere").await;
    let request = project.get("c", "d").header("headwater-after", "yesterday");
    request.refused(400, "invalid-position").await;
    server.stop().await;
}

#[tokio::test]
async fn everything_is_there_after_a_clean_stop() {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("demo").await;
    for n in 0..10 {
        project.write("c", &format!("d{n}"), &json!({"n": n})).await;
    }
    let before = project.list("c", "").await;
    server.stop().await;
    let server = setup.start().await;
    let project = project.at(&server.url);
    assert_eq!(project.list("c", "").await, before);
    assert_eq!(project.put("c", "d0", &json!({})).expect(200).await["version"], 2);
}
