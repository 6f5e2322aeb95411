//! Transactions: all or none, what each write came to, and where a bad one is.

use serde_json::json;

use super::Rig;

#[actix_web::test]
async fn a_commit_is_all_or_none() {
    let rig = Rig::new().await;
    let commit = json!({"writes": [
        {"op": "create", "collection": "c", "data": {"n": 1}},
        {"op": "replace", "collection": "c", "id": "a", "data": {"n": 2}, "ifVersion": 0},
        {"op": "patch", "collection": "c", "id": "a", "data": {"m": 3}},
        {"op": "delete", "collection": "c", "id": "a", "ifVersion": 2},
    ], "reads": [{"collection": "c", "id": "b", "version": 0}]});
    let done = rig.ask("POST", "commit", &[], &commit.to_string()).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(done.json()["position"], "0-4");
    assert_eq!(done.header("headwater-position"), "0-4");
    let results = &done.json()["results"];
    assert_eq!(results[0]["document"]["data"], json!({"n": 1}));
    assert_eq!(results[2]["document"]["data"], json!({"n": 2, "m": 3}));
    assert_eq!(results[3], json!({"collection": "c", "id": "a", "version": 3, "op": "delete"}));

    let failing = json!({"writes": [
        {"op": "create", "collection": "c", "id": "x", "data": {}},
        {"op": "patch", "collection": "c", "id": "none", "data": {}},
    ]});
    let failed = rig.ask("POST", "commit", &[], &failing.to_string()).await;
    assert_eq!((failed.status, failed.code().as_str()), (404, "document-not-found"));
    assert_eq!(failed.json()["field"], "/writes/1");
    assert_eq!(rig.ask("GET", "collections/c/documents/x", &[], "").await.status, 404);

    let stale = json!({"writes": [{"op": "create", "collection": "c", "data": {}}],
        "reads": [{"collection": "c", "id": "a", "version": 2}]});
    let stale = rig.ask("POST", "commit", &[], &stale.to_string()).await;
    assert_eq!((stale.status, stale.code().as_str()), (409, "version-mismatch"));
    assert_eq!(stale.json()["field"], "/reads/0");
    assert_eq!(stale.json()["actualVersion"], json!(null));
}

#[actix_web::test]
async fn a_repeated_commit_keeps_its_ids() {
    let rig = Rig::new().await;
    let body = r#"{"writes":[{"op":"create","collection":"c","data":{"big":1234567890123456789.10}},
        {"op":"create","collection":"c","data":{}}]}"#;
    let key = [("Idempotency-Key", "k")];
    let first = rig.ask("POST", "commit", &key, body).await;
    let repeat = rig.ask("POST", "commit", &key, body).await;
    assert_eq!((repeat.status, &repeat.text), (200, &first.text));
    assert!(first.text.contains("1234567890123456789.10"));
    assert_eq!(repeat.header("idempotency-replayed"), "true");
}

#[actix_web::test]
async fn bad_commits_say_where() {
    let rig = Rig::new().await;
    let one = |write: &str| format!(r#"{{"writes":[{write}]}}"#);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    let rows = [
        ("{}".to_owned(), "invalid-body", ""),
        (r#"{"writes":[]}"#.to_owned(), "invalid-body", "/writes"),
        (r#"{"writes":7}"#.to_owned(), "invalid-body", "/writes"),
        (r#"[[],[]]"#.to_owned(), "invalid-body", ""),
        (one(r#"["create","c","a",{},0]"#), "invalid-body", "/writes/0"),
        (r#"{"writes":[],"more":1}"#.to_owned(), "invalid-body", ""),
        (one(r#"{"op":"make","collection":"c"}"#), "invalid-body", "/writes/0/op"),
        (one(r#"{"op":"create","collection":"_c"}"#), "invalid-body", "/writes/0/collection"),
        (one(r#"{"op":"create","collection":"c"}"#), "invalid-body", "/writes/0/data"),
        (one(r#"{"op":"create","collection":"c","data":[]}"#), "invalid-body", "/writes/0/data"),
        (one(r#"{"op":"patch","collection":"c","data":{}}"#), "invalid-body", "/writes/0/id"),
        (
            one(r#"{"op":"patch","collection":"c","id":"a","transforms":{"n":{"increment":"1"}}}"#),
            "invalid-body",
            "/writes/0/transforms/n",
        ),
        (
            one(r#"{"op":"patch","collection":"c","id":"a","transforms":{"n":{"min":1,"max":2}}}"#),
            "invalid-body",
            "/writes/0/transforms/n",
        ),
        (
            one(
                r#"{"op":"patch","collection":"c","id":"a","transforms":{"a..b":{"delete":true}}}"#,
            ),
            "invalid-body",
            "/writes/0/transforms/a..b",
        ),
        (
            one(r#"{"op":"patch","collection":"c","id":"a","transforms":{}}"#),
            "invalid-body",
            "/writes/0/transforms",
        ),
        (
            one(r#"{"op":"delete","collection":"c","id":"a","transforms":{"n":{"max":1}}}"#),
            "invalid-body",
            "/writes/0/transforms",
        ),
        (
            one(r#"{"op":"delete","collection":"c","id":"a","data":{}}"#),
            "invalid-body",
            "/writes/0/data",
        ),
        (
            one(r#"{"op":"create","collection":"c","data":{},"ifVersion":1}"#),
            "invalid-body",
            "/writes/0/ifVersion",
        ),
        (
            one(r#"{"op":"create","collection":"c","data":{},"ifVersion":-1}"#),
            "invalid-body",
            "/writes/0/ifVersion",
        ),
        (
            one(&format!(r#"{{"op":"create","collection":"c","data":{deep}}}"#)),
            "too-deep",
            "/writes/0/data",
        ),
        ("{\"writes\":".to_owned(), "invalid-json", ""),
    ];
    for (body, code, field) in rows {
        let reply = rig.ask("POST", "commit", &[], &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{body}: {}", reply.text);
        if code != "invalid-json" {
            let found = reply.json()["field"].as_str().unwrap_or_default().to_owned();
            assert!(found.starts_with(field), "{body}: {found}");
        }
    }
}

#[actix_web::test]
async fn transforms_change_what_is_there_when_they_are_written() {
    let rig = Rig::new().await;
    let commit = async |writes: serde_json::Value| {
        let body = json!({"writes": writes}).to_string();
        let done = rig.ask("POST", "commit", &[], &body).await;
        assert_eq!(done.status, 200, "{}", done.text);
        done.json()["results"].as_array().unwrap().last().unwrap()["document"].clone()
    };
    let at = |op: &str| json!({"op": op, "collection": "c", "id": "a"});
    let with = |op: &str, data: serde_json::Value, transforms: serde_json::Value| {
        let mut write = at(op);
        if !data.is_null() {
            write["data"] = data;
        }
        write["transforms"] = transforms;
        write
    };
    let made = commit(json!([with(
        "create",
        json!({"n": 1, "tags": ["x"], "old": 1}),
        json!({"at": {"serverTime": true}, "stats.best": {"max": 5}}),
    )]))
    .await;
    assert_eq!(made["data"]["at"], made["createdAt"]);
    assert_eq!(made["data"]["stats"], json!({"best": 5}));
    let changed = commit(json!([
        with("patch", json!({"m": 7}), json!({"n": {"increment": 2}, "old": {"delete": true}})),
        with(
            "patch",
            json!(null),
            json!({
                "n": {"increment": 0.5},
                "tags": {"arrayUnion": ["x", "y"]},
                "stats.best": {"max": 4},
                "stats.worst": {"min": 4},
            })
        ),
    ]))
    .await;
    let data = &changed["data"];
    assert_eq!(
        (&data["n"], &data["m"], &data["tags"]),
        (&json!(3.5), &json!(7), &json!(["x", "y"]))
    );
    assert_eq!((&data["stats"], data.get("old")), (&json!({"best": 5, "worst": 4}), None));
    let event = rig.ask("GET", "events?types=document.updated", &[], "").await.json();
    assert_eq!(event["events"][0]["data"]["changed"], json!(["/n", "/old", "/m"]));
    let removed = json!({"tags": {"arrayRemove": ["x"]}, "n": {"min": 1}});
    let replaced =
        commit(json!([with("replace", json!({"tags": ["x", "z"], "n": 2}), removed)])).await;
    assert_eq!(replaced["data"], json!({"tags": ["z"], "n": 1}));

    // Rules see the document as it will be.
    let settings = json!({"rules": {"update": "request.resource.n <= 2"}});
    rig.table(&[("PUT", "collections/c", &settings.to_string(), 201, "")]).await;
    let anybody = rig.key("publishable").await;
    let add = json!({"writes": [with("patch", json!(null), json!({"n": {"increment": 1}}))]});
    for status in [200, 403] {
        let done = rig.ask_as(&anybody, "POST", "commit", &[], &add.to_string()).await;
        assert_eq!(done.status, status, "{}", done.text);
    }
    let large = "x".repeat(600_000);
    let twice = json!({"writes": [
        with("patch", json!({"a": large}), json!({"l": {"arrayUnion": [large]}})),
    ]});
    rig.table(&[("POST", "commit", &twice.to_string(), 413, "document-too-large")]).await;
}

/// Who may not see a field can't find out by a transform what it holds.
#[actix_web::test]
async fn transforms_tell_nothing_of_hidden_fields() {
    let rig = Rig::new().await;
    let settings = json!({
        "rules": {"update": "true", "read": "true"},
        "fields": {"salary": {"read": "false", "write": "false"}},
    });
    rig.table(&[
        ("PUT", "collections/c", &settings.to_string(), 201, ""),
        ("PUT", "collections/c/documents/a", r#"{"salary":5,"n":1}"#, 201, ""),
    ])
    .await;
    let anybody = rig.key("publishable").await;
    for (change, status) in [
        (json!({"salary": {"max": 1}}), 403),
        (json!({"salary": {"max": 9}}), 403),
        (json!({"salary": {"arrayUnion": []}}), 403),
        (json!({"salary.x": {"delete": true}}), 403),
        (json!({"n": {"max": 0}}), 200),
    ] {
        let write = json!({"op": "patch", "collection": "c", "id": "a", "transforms": change});
        let body = json!({"writes": [write]}).to_string();
        let done = rig.ask_as(&anybody, "POST", "commit", &[], &body).await;
        assert_eq!(done.status, status, "{change}: {}", done.text);
    }
    // Where nothing may be created, nobody is asked whether this may be.
    let write = json!({"op": "create", "collection": "c", "data": {}});
    let body = json!({"writes": [write]}).to_string();
    let done = rig.ask_as(&anybody, "POST", "commit", &[], &body).await;
    assert_eq!((done.status, done.code().as_str()), (403, "forbidden"));
    // Digits stay, and a field named twice is a mistake.
    let write = r#"{"op":"patch","collection":"c","id":"a","transforms":"#;
    let raw = |transforms: &str| format!(r#"{{"writes":[{write}{transforms}}}]}}"#);
    let digits = raw(r#"{"l":{"arrayUnion":[12345678901234567890123,1.10]}}"#);
    let done = rig.ask("POST", "commit", &[], &digits).await;
    assert!(done.text.contains("[12345678901234567890123,1.10]"), "{}", done.text);
    // A name may be written with escapes.
    let done = rig.ask("POST", "commit", &[], &raw(r#"{"\u0071\"":{"m\u0061x":3}}"#)).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(done.json()["results"][0]["document"]["data"]["q\""], 3);
    let twice = raw(r#"{"n":{"max":1},"n":{"max":2}}"#);
    rig.table(&[("POST", "commit", &twice, 400, "invalid-json")]).await;
}
