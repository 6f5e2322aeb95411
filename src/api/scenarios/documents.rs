//! Documents from creation to deletion, their conditions, pages, and repeats by idempotency key.

use serde_json::json;

use super::Rig;

#[actix_web::test]
async fn a_document_lives_and_dies() {
    let rig = Rig::new().await;
    let made = rig.ask("POST", "collections/c/documents", &[], r#"{ "n" : 1.00 }"#).await;
    assert_eq!(made.status, 201);
    assert!(made.text.ends_with(r#""data":{"n":1.00}}"#), "{}", made.text);
    assert_eq!(made.header("etag"), "\"1\"");
    assert_eq!(made.header("headwater-position"), made.json()["position"].as_str().unwrap());
    let path = made.header("location").to_owned();

    let got = rig.ask("GET", &path, &[], "").await;
    assert_eq!((got.status, got.text.as_str()), (200, made.text.as_str()));
    assert_eq!(got.header("etag"), "\"1\"");
    assert_eq!(rig.ask("HEAD", &path, &[], "").await.status, 200);

    let patched = rig.ask("PATCH", &path, &[], r#"{"a":{"b":null,"c":[1]},"n":null}"#).await;
    assert_eq!((patched.status, patched.json()["version"].as_u64()), (200, Some(2)));
    assert_eq!(patched.json()["data"], json!({"a": {"c": [1]}}));
    let merge = [("Content-Type", "application/merge-patch+json; charset=utf-8")];
    assert_eq!(rig.ask("PATCH", &path, &merge, r#"{"x":1}"#).await.status, 200);

    let put = rig.ask("PUT", &path, &[], r#"{"all":"new"}"#).await;
    assert_eq!((put.status, put.json()["version"].as_u64()), (200, Some(4)));
    assert_eq!(put.json()["createdAt"], made.json()["createdAt"]);

    let deleted = rig.ask("DELETE", &path, &[], "").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    assert!(!deleted.header("headwater-position").is_empty());
    for method in ["GET", "DELETE"] {
        let gone = rig.ask(method, &path, &[], "").await;
        assert_eq!((gone.status, gone.code().as_str()), (404, "document-not-found"));
    }
    let again = rig.ask("PUT", &path, &[], "{}").await;
    assert_eq!((again.status, again.json()["version"].as_u64()), (201, Some(6)));
}

#[actix_web::test]
async fn bad_requests_are_told_apart() {
    let rig = Rig::new().await;
    let long = "x".repeat(129);
    let at = |id: &str| format!("collections/c/documents/{id}");
    let documents = "collections/c/documents";
    rig.table(&[
        ("POST", documents, "{", 400, "invalid-json"),
        ("POST", documents, "[1]", 400, "invalid-body"),
        ("POST", documents, "", 400, "invalid-body"),
        ("POST", documents, r#"{"a":1,"a":2}"#, 400, "invalid-json"),
        ("POST", "collections/c/documents?id=a", "{}", 201, ""),
        ("POST", "collections/c/documents?id=a", "{}", 409, "document-exists"),
        ("POST", "collections/c/documents?id=_a", "{}", 400, "invalid-parameter"),
        ("POST", "collections/c/documents?name=a", "{}", 400, "invalid-parameter"),
        ("POST", "collections/.c/documents", "{}", 400, "invalid-id"),
        ("GET", &at("a%20b"), "", 400, "invalid-id"),
        ("GET", &at("%61"), "", 200, ""),
        ("GET", &at(&long), "", 400, "invalid-id"),
        ("GET", &at("none"), "", 404, "document-not-found"),
        ("GET", &at("a?asOf=yesterday"), "", 400, "invalid-parameter"),
        ("GET", &at("a?field=x"), "", 400, "invalid-parameter"),
        ("GET", &at("a?x=1"), "", 400, "invalid-parameter"),
        ("PATCH", &at("none"), "{}", 404, "document-not-found"),
        ("PATCH", &at("a"), "{", 400, "invalid-json"),
        ("PUT", &at("a"), "1", 400, "invalid-body"),
        ("GET", "collections/c/documents?limit=0", "", 400, "invalid-parameter"),
        ("GET", "collections/c/documents?limit=1001", "", 400, "invalid-parameter"),
        ("GET", "collections/c/documents?limit=1&limit=2", "", 400, "invalid-parameter"),
        ("GET", "collections/c/documents?cursor=_", "", 400, "invalid-parameter"),
        ("GET", "collections/c/documents?where=x", "", 400, "invalid-parameter"),
        ("GET", "collections/c/documents?orderby=x", "", 400, "invalid-parameter"),
        ("GET", "/nowhere", "", 404, "not-found"),
        ("TRACE", documents, "", 405, "method-not-allowed"),
        ("BREW", documents, "", 405, "method-not-allowed"),
    ])
    .await;
    for (name, value, status, code) in [
        ("Content-Type", "text/plain", 415, "unsupported-media-type"),
        ("Content-Encoding", "gzip", 415, "unsupported-media-type"),
        ("Idempotency-Key", "", 400, "invalid-parameter"),
        ("Idempotency-Key", "ä", 400, "invalid-parameter"),
        ("Idempotency-Key", &"x".repeat(256), 400, "invalid-parameter"),
    ] {
        let reply = rig.ask("POST", documents, &[(name, value)], "{}").await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{name}: {value}");
        assert_eq!(reply.json()["field"], name);
    }
    let allow = rig.ask("TRACE", documents, &[], "").await;
    assert_eq!(allow.header("allow"), "GET, HEAD, POST");
}

#[actix_web::test]
async fn conditions_hold_or_are_412() {
    let rig = Rig::new().await;
    let path = "collections/c/documents/a";
    let rows: &[(&str, &str, &str, u16)] = &[
        ("PUT", "If-Match", "*", 412),
        ("PATCH", "If-Match", "\"1\"", 412),
        ("DELETE", "If-Match", "*", 412),
        ("PUT", "If-None-Match", "*", 201),
        ("PUT", "If-None-Match", "*", 412),
        ("PUT", "If-Match", "\"2\"", 412),
        ("PUT", "If-Match", "\"1\"", 200),
        ("PATCH", "If-Match", "\"1\"", 412),
        ("PATCH", "If-Match", "\"2\"", 200),
        ("PATCH", "If-Match", "3", 400),
        ("GET", "If-None-Match", "\"3\"", 304),
        ("GET", "If-None-Match", "W/\"3\", \"9\"", 304),
        ("GET", "If-None-Match", "\"2\"", 200),
        ("GET", "If-None-Match", "2", 400),
        ("DELETE", "If-Match", "\"2\"", 412),
        ("DELETE", "If-Match", "\"3\"", 204),
        ("DELETE", "If-Match", "\"3\"", 412),
    ];
    for (method, name, value, status) in rows {
        let body = if ["PUT", "PATCH"].contains(method) { "{}" } else { "" };
        let reply = rig.ask(method, path, &[(name, value)], body).await;
        assert_eq!(reply.status, *status, "{method} {name}: {value}: {}", reply.text);
        if reply.status == 412 {
            assert_eq!(reply.code(), "version-mismatch");
            assert!(reply.json().get("actualVersion").is_some());
            assert!(reply.json().get("field").is_none());
        }
    }
}

#[actix_web::test]
async fn pages_follow_each_other() {
    let rig = Rig::new().await;
    for id in ["b", "d", "a", "c"] {
        let path = format!("collections/c/documents/{id}");
        assert_eq!(rig.ask("PUT", &path, &[], "{}").await.status, 201);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("collections/c/documents?limit=3{cursor}");
        let page = rig.ask("GET", &path, &[], "").await.json();
        assert_eq!(page["position"], "0-4");
        for document in page["documents"].as_array().unwrap() {
            seen.push(document["id"].as_str().unwrap().to_owned());
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d"]);
    let before = rig.ask("GET", "collections/c/documents?asOf=0-2", &[], "").await.json();
    assert_eq!(before["documents"].as_array().unwrap().len(), 2);
    let none = rig.ask("GET", "collections/none/documents", &[], "").await.json();
    assert_eq!(none["documents"], json!([]));
}

#[actix_web::test]
async fn a_repeat_gets_the_first_answer() {
    let rig = Rig::new().await;
    let key = [("Idempotency-Key", "k 1")];
    let documents = "collections/c/documents";
    let first = rig.ask("POST", documents, &key, r#"{"n":1}"#).await;
    let repeat = rig.ask("POST", documents, &key, r#"{"n":1}"#).await;
    assert_eq!((repeat.status, &repeat.text), (201, &first.text));
    assert_eq!(repeat.header("headwater-position"), first.header("headwater-position"));
    assert_eq!(repeat.header("location"), first.header("location"));
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(repeat.header("idempotency-replayed"), "true");
    for (method, path, headers, body) in [
        ("POST", documents, &key[..], r#"{"n":2}"#),
        ("POST", "collections/d/documents", &key, r#"{"n":1}"#),
        ("POST", "collections/c/documents?id=x", &key, r#"{"n":1}"#),
        ("PUT", "collections/c/documents/x", &key, r#"{"n":1}"#),
        ("PUT", "collections/c/documents/x", &[key[0], ("If-Match", "*")], r#"{"n":1}"#),
    ] {
        let reply = rig.ask(method, path, headers, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (422, "idempotency-key-reused"));
    }
    let page = rig.ask("GET", documents, &[], "").await.json();
    assert_eq!(page["documents"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_read_waits_for_what_the_client_has_seen() {
    let rig = Rig::new().await;
    let path = "collections/c/documents/a";
    let position = rig.ask("PUT", path, &[], "{}").await.header("headwater-position").to_owned();
    for (after, status, code) in [
        (position.as_str(), 200, ""),
        ("0-99", 503, "stale-read"),
        ("7-0", 400, "position-elsewhere"),
        ("x", 400, "invalid-position"),
    ] {
        let reply = rig.ask("GET", path, &[("Headwater-After", after)], "").await;
        assert_eq!(reply.status, status, "{after}");
        if status != 200 {
            assert_eq!(reply.code(), code);
        }
    }
}

#[actix_web::test]
async fn correlation_and_trace_reach_the_event() {
    let rig = Rig::new().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("X-Correlation-Id", "mine"), ("traceparent", trace)];
    let made = rig.ask("PUT", "collections/c/documents/a", &headers, "{}").await;
    assert_eq!(made.header("x-correlation-id"), "mine");
    let events = rig.ask("GET", "events?types=document.created", &[], "").await.json();
    assert_eq!(events["events"][0]["correlationid"], "mine");
    assert_eq!(events["events"][0]["traceparent"], trace);
    assert_eq!(events["events"][0]["actor"], "admin");
}
