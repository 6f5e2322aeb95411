//! Live windows and counts: the first documents of an ordering, and how many there are, are at each
//! position what asking as of that gives; after any writes, any gap, and for whoever sees less.

use std::collections::BTreeMap;

use harness::{Person, Project, Setup, Socket, Sse, sse};
use serde_json::{Value, json};

use super::mirror::{self, Mirror, Writes};
use super::started;

/// More than a window knows, so that it must ask again now and then.
const WRITES: Writes = Writes { seed: 11, count: 800, documents: 60 };

fn largest(limit: usize) -> Value {
    let order = json!([{"field": "n", "direction": "desc"}]);
    json!({"collection": "c", "orderBy": order, "limit": limit})
}

fn ids(documents: &[Value]) -> Vec<&str> {
    documents.iter().map(|document| document["id"].as_str().expect("an id")).collect()
}

/// What one change said: its kind, of which document, and whether more belongs to it.
fn told(change: &Value) -> (&str, &str, bool) {
    let kind = change["type"].as_str().expect("a type");
    let id = change["document"]["id"].as_str().expect("an id");
    (kind, id, change["more"] == true)
}

#[tokio::test]
async fn a_document_falls_out_and_the_next_comes_in() {
    let (_server, project) = started().await;
    for (id, n) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        project.write("c", id, &json!({"n": n})).await;
    }
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &largest(2), None).await;
    let (documents, from) = socket.snapshot().await;
    assert_eq!(ids(&documents), ["d", "c"], "in order");

    // It falls behind, goes, comes in front, and moves within.
    let fallen = project.patch("c", "d", &json!({"n": 0})).send().await.position();
    let gone = project.delete("c", "c").send().await.position();
    let come = project.write("c", "e", &json!({"n": 9})).await.position();
    let moved = project.patch("c", "b", &json!({"n": 10})).send().await.position();
    project.patch("c", "a", &json!({"m": 1})).send().await;
    let changes = socket.changes(7).await;
    let all: Vec<_> = changes.iter().map(told).collect();
    let wanted = [
        ("removed", "d", true),
        ("added", "b", false),
        ("removed", "c", true),
        ("added", "a", false),
        ("removed", "a", true),
        ("added", "e", false),
        ("modified", "b", false),
    ];
    assert_eq!(all, wanted);
    let positions: Vec<_> = changes.iter().map(|change| change["position"].clone()).collect();
    let [d, c, e, b] = [&fallen, &gone, &come, &moved].map(|position| json!(position));
    assert_eq!(positions, [d.clone(), d, c.clone(), c, e.clone(), e, b]);
    assert_eq!(changes[0]["document"]["data"]["n"], 4, "as it was last");

    // As an event stream, all at once, from where the socket began: its ids are those of what is
    // whole.
    let order: String =
        form_urlencoded::byte_serialize(br#"[{"field":"n","direction":"desc"}]"#).collect();
    let query = format!("collection=c&limit=2&orderBy={order}");
    let mut stream = Sse::open(&project, &query, from.as_str()).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        let event = stream.next().await;
        let more = event.data["more"] == true;
        assert_eq!(event.id == from, more, "{event:?}");
        let (kind, id, _) = told(&event.data);
        all.push(format!("{kind} {id}"));
    }
    assert_eq!(all, ["removed d", "removed c", "added b", "added e"]);
    assert_eq!(stream.next().await.name, "live");
}

/// Windows and counts that are cut off, or are not, now and then.
async fn mirrors(project: &Project) -> Vec<Mirror> {
    let by = |field: &str, direction: &str| json!([{"field": field, "direction": direction}]);
    let where_x = json!({"field": "x", "op": "!=", "value": null});
    let rare = json!({"field": "x", "op": "==", "value": true});
    let mut mirrors = Vec::new();
    for (number, mut target) in [
        json!({"limit": 3}),
        json!({"orderBy": by("x", "asc"), "limit": 2, "where": where_x}),
        json!({"orderBy": by("y.z", "desc"), "limit": 5}),
        json!({"orderBy": by("$updatedAt", "desc"), "limit": 4}),
        json!({"orderBy": by("$updatedAt", "asc"), "limit": 1, "where": where_x}),
        json!({"orderBy": [{"field": "x"}, {"field": "y.z", "direction": "desc"}], "limit": 20}),
        json!({"orderBy": by("x", "desc"), "limit": 4, "where": rare}),
        json!({"count": true}),
        json!({"count": true, "where": where_x}),
    ]
    .into_iter()
    .enumerate()
    {
        target["collection"] = json!("c");
        // Of some there is one of each kind, so that the window goes on when one is cut off.
        let kinds: [&[bool]; 3] = [&[false, true], &[true], &[false]];
        for breaks in kinds[number % 3] {
            mirrors.push(Mirror::open(project, target.clone(), *breaks).await);
        }
    }
    mirrors
}

async fn hold(setup: Setup) {
    let server = setup.start().await;
    let project = server.project("demo").await;
    let mut mirrors = mirrors(&project).await;
    let held = mirror::hold(&project, &mut mirrors, WRITES).await;
    let metrics = server.admin().get("/metrics").send().await.text();
    let refills =
        metrics.lines().find_map(|line| line.strip_prefix("headwater_hub_refills_total "));
    let refills: Option<f64> = refills.and_then(|count| count.parse().ok());
    println!("{refills:?} refills");
    assert!(refills >= Some(1.0), "the windows knew enough all the time: {refills:?}");
    assert!(held.iter().all(|count| *count > 0), "one holds of nothing: {held:?}");
}

#[tokio::test]
async fn windows_and_counts_are_at_each_position_those_of_asking_as_of_it() {
    hold(Setup::new()).await;
}

/// Then the tables are ahead of it when a window asks them.
#[tokio::test]
async fn windows_and_counts_are_so_while_the_fan_out_is_behind() {
    let setup = Setup::new().set("HEADWATER__REALTIME__PACE_EACH_US", 200_000);
    hold(setup.set("HEADWATER__REALTIME__PACE_MAX_MS", 400)).await;
}

#[tokio::test]
async fn who_sees_less_has_a_window_of_what_it_sees() {
    let (_server, project) = started().await;
    let path = project.path("/collections/c");
    let rules = json!({"rules": {"list": "resource.open == true"}});
    project.client.put(&path, &rules).expect(201).await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    for (id, n) in [("a", 1), ("b", 2), ("c", 3)] {
        project.write("c", id, &json!({"n": n, "open": true})).await;
    }
    project.write("c", "hidden", &json!({"n": 9, "open": false})).await;
    let mut socket = Socket::connect(&ann.project).await;
    socket.subscribe("s", &largest(2), None).await;
    let (documents, from) = socket.snapshot().await;
    assert_eq!(ids(&documents), ["c", "b"]);
    socket.subscribe("n", &json!({"collection": "c", "count": true}), None).await;
    assert_eq!(socket.expect("count").await["count"], 3);
    socket.expect("live").await;

    // One becomes hidden: the next comes in.
    project.patch("c", "c", &json!({"open": false, "secret": 1})).send().await;
    let changes = [socket.frame().await, socket.frame().await, socket.frame().await];
    let count = changes.iter().find(|frame| frame["op"] == "count").expect("a count");
    assert_eq!(count["count"], 2);
    let changes: Vec<_> = changes.iter().filter(|frame| frame["op"] == "change").collect();
    assert_eq!(told(changes[0]), ("removed", "c", true));
    assert_eq!(told(changes[1]), ("added", "a", false));
    assert_eq!(changes[0]["document"]["data"], json!({"n": 3, "open": true}), "as it was seen");

    // Who comes back hears the same.
    let mut again = Socket::connect(&ann.project).await;
    again.subscribe("s", &largest(2), from.as_str()).await;
    let changes = again.changes(2).await;
    assert_eq!(told(&changes[0]), ("removed", "c", true));
    assert_eq!(told(&changes[1]), ("added", "a", false));
    assert_eq!(changes[0]["document"]["data"], json!({"n": 3, "open": true}));
    drop(again);

    // Another rule is another window.
    let rules = json!({"rules": {"list": "resource.n < 3"}});
    project.client.put(&path, &rules).expect(200).await;
    let mut window = Vec::new();
    let mut count = Value::Null;
    let mut lives = 0;
    while lives < 2 {
        let frame = socket.frame().await;
        match frame["op"].as_str() {
            Some("snapshot") => {
                assert_eq!(frame["reset"], true);
                window = frame["documents"].as_array().expect("documents").clone();
            }
            Some("count") => count = frame["count"].clone(),
            Some("live") => lives += 1,
            _ => panic!("expected news, got {frame}"),
        }
    }
    assert_eq!((ids(&window), count), (vec!["b", "a"], json!(2)));
}

#[tokio::test]
async fn where_other_documents_decide_the_window_looks_at_them() {
    let (_server, project) = started().await;
    let rules = json!({"rules": {"list": "get('rooms', resource.room).open"}});
    project.client.put(&project.path("/collections/c"), &rules).expect(201).await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    project.write("rooms", "open", &json!({"open": true})).await;
    project.write("rooms", "shut", &json!({"open": false})).await;
    for (id, n, room) in [("a", 1, "open"), ("b", 2, "open"), ("c", 3, "shut")] {
        project.write("c", id, &json!({"n": n, "room": room})).await;
    }
    let mut socket = Socket::connect(&ann.project).await;
    socket.subscribe("s", &largest(1), None).await;
    assert_eq!(ids(&socket.snapshot().await.0), ["b"]);
    project.patch("c", "c", &json!({"room": "open"})).send().await;
    let changes = socket.changes(2).await;
    assert_eq!(
        (told(&changes[0]), told(&changes[1])),
        (("removed", "b", true), ("added", "c", false))
    );
    project.patch("c", "c", &json!({"room": "shut"})).send().await;
    let changes = socket.changes(2).await;
    assert_eq!(
        (told(&changes[0]), told(&changes[1])),
        (("removed", "c", true), ("added", "b", false))
    );
}

#[tokio::test]
async fn an_order_without_a_limit_is_that_of_the_snapshot() {
    let (_server, project) = started().await;
    for n in 0..120 {
        project.write("c", &format!("d{n:03}"), &json!({"n": (n * 7) % 120})).await;
    }
    let mut target = largest(1);
    target.as_object_mut().expect("a target").remove("limit");
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &target, None).await;
    let (documents, _) = socket.snapshot().await;
    let numbers: Vec<_> = documents.iter().map(|one| one["data"]["n"].as_i64()).collect();
    assert_eq!(numbers, (0..120).rev().map(Some).collect::<Vec<_>>());
    project.write("c", "e", &json!({"n": -1})).await;
    assert_eq!(told(&socket.changes(1).await[0]), ("added", "e", false));
}

#[tokio::test]
async fn a_count_comes_first_and_whenever_it_changes() {
    let (_server, project) = started().await;
    project.write("c", "a", &json!({})).await;
    let target = json!({"collection": "c", "count": true});
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &target, None).await;
    let count = socket.expect("count").await;
    assert_eq!((&count["sub"], &count["count"]), (&json!("s"), &json!(1)));
    assert_eq!(socket.expect("live").await["position"], count["position"]);
    let mut stream = Sse::open(&project, "collection=c&count=true", None).await;
    let first = stream.next().await;
    assert_eq!((first.name.as_str(), &first.data["count"]), ("count", &json!(1)));
    assert_eq!(stream.next().await.name, "live");
    project.patch("c", "a", &json!({"n": 1})).send().await;
    let position = project.write("c", "b", &json!({})).await.position();
    for count in [socket.expect("count").await, stream.next().await.data] {
        assert_eq!((&count["count"], &count["position"]), (&json!(2), &json!(position)));
    }
    assert_eq!(stream.last_id, position);
    project.delete("c", "b").expect(204).await;
    assert_eq!(socket.expect("count").await["count"], 1);
}

#[tokio::test]
async fn what_can_not_be_followed_is_refused_with_its_place() {
    let setup = Setup::new().set("HEADWATER__ENGINE__QUERY_DOCUMENTS_MAX", 3);
    let server = setup.start().await;
    let project = server.project("demo").await;
    for n in 0..3 {
        project.write("c", &format!("d{n}"), &json!({})).await;
    }
    let mut socket = Socket::connect(&project).await;
    let order = json!([{"field": "n"}]);
    for (target, field) in [
        (json!({"id": "a", "orderBy": order}), "/target/orderBy"),
        (json!({"id": "a", "limit": 1}), "/target/limit"),
        (json!({"id": "a", "count": true}), "/target/count"),
        (json!({"limit": 0}), "/target/limit"),
        (json!({"limit": 1_001}), "/target/limit"),
        (json!({"count": true, "limit": 1}), "/target/limit"),
        (json!({"count": true, "orderBy": order}), "/target/orderBy"),
        (json!({"orderBy": [{"field": ""}]}), "/target/orderBy/0/field"),
        (
            json!({"limit": 1, "where": {"field": "$updatedAt", "op": ">", "value": ""}}),
            "/target/where",
        ),
    ] {
        let mut target = target;
        target["collection"] = json!("c");
        socket.subscribe("w", &target, None).await;
        let error = socket.expect("error").await;
        let told = (&error["sub"], &error["code"], &error["field"]);
        assert_eq!(told, (&json!("w"), &json!("invalid-body"), &json!(field)), "{error}");
    }
    for query in [
        "collection=c&id=a&limit=1",
        "collection=c&limit=x",
        "collection=c&limit=1001",
        "collection=c&count=1",
        "collection=c&count=true&limit=1",
        "collection=c&orderBy=x",
    ] {
        sse::refused(&project, query, 400, "invalid-parameter").await;
    }

    // What grows too large ends, and so does what is too large from the start.
    let target = json!({"collection": "c", "count": true});
    socket.subscribe("n", &target, None).await;
    assert_eq!(socket.expect("count").await["count"], 3);
    socket.expect("live").await;
    project.write("c", "more", &json!({})).await;
    let error = socket.expect("error").await;
    assert_eq!((&error["sub"], &error["code"]), (&json!("n"), &json!("query-too-large")));
    socket.subscribe("n", &target, None).await;
    assert_eq!(socket.expect("error").await["code"], "query-too-large");
    socket.subscribe("n", &largest(1), None).await;
    assert_eq!(socket.expect("error").await["code"], "query-too-large");
    // By id, no more is looked at than is shown.
    socket.subscribe("n", &json!({"collection": "c", "limit": 1}), None).await;
    let (documents, position) = socket.snapshot().await;
    assert_eq!(ids(&documents), ["d0"]);
    // But what it was can't be found out.
    socket.send(&json!({"op": "unsubscribe", "sub": "n"})).await;
    let target = json!({"collection": "c", "limit": 1});
    socket.subscribe("n", &target, position.as_str()).await;
    let snapshot = socket.expect("snapshot").await;
    assert_eq!(
        (ids(snapshot["documents"].as_array().expect("documents")), &snapshot["reset"]),
        (vec!["d0"], &json!(true))
    );
}

#[tokio::test]
async fn windows_take_no_more_memory_than_they_may() {
    let server = Setup::new().set("HEADWATER__REALTIME__LIVE_BYTES_MAX", 10_000).start().await;
    let project = server.project("demo").await;
    let pad = "x".repeat(3_000);
    for id in ["a", "b"] {
        project.write("c", id, &json!({"pad": pad})).await;
    }
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("one", &largest(2), None).await;
    let error = socket.expect("error").await;
    assert_eq!((&error["sub"], &error["code"]), (&json!("one"), &json!("busy")));
    // What is refused takes nothing, and what has ended gives it back.
    project.delete("c", "b").expect(204).await;
    for _ in 0..4 {
        socket.subscribe("one", &largest(2), None).await;
        socket.snapshot().await;
        socket.subscribe("two", &largest(2), None).await;
        socket.snapshot().await;
        socket.send(&json!({"op": "unsubscribe", "sub": "one"})).await;
        socket.send(&json!({"op": "unsubscribe", "sub": "two"})).await;
    }
}

/// More than all buffers between server and subscriber can hold.
async fn write_a_lot(project: &Project) {
    let pad = "x".repeat(500_000);
    for n in 0..60 {
        project.write("c", &format!("d{}", n % 5), &json!({"n": n, "pad": pad})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_socket_gets_what_it_lacks_of_the_window() {
    let (_server, project) = started().await;
    let mut slow = Socket::connect(&project).await;
    slow.subscribe("s", &largest(2), None).await;
    slow.snapshot().await;
    write_a_lot(&project).await;
    let (mut held, mut frames, mut last) = (BTreeMap::new(), 0, Value::Null);
    let wanted = BTreeMap::from([("d3".to_owned(), Some(58)), ("d4".to_owned(), Some(59))]);
    while held != wanted || last["more"] == true {
        last = slow.frame().await;
        if last["op"] != "change" {
            assert_eq!(last["op"], "live", "{}", last["op"]);
            continue;
        }
        frames += 1;
        let document = &last["document"];
        let id = document["id"].as_str().expect("an id").to_owned();
        let n = document["data"]["n"].as_i64();
        let known = match last["type"].as_str() {
            Some("removed") => held.remove(&id),
            _ => held.insert(id, n),
        };
        assert_eq!(known.is_none(), last["type"] == "added");
    }
    assert!(frames < 118, "it was never behind: {frames}");
    // Level again, it is fed as before.
    project.write("c", "last", &json!({"n": 99})).await;
    let changes = slow.changes(2).await;
    assert_eq!((told(&changes[0]).0, told(&changes[1])), ("removed", ("added", "last", false)));
}

#[tokio::test]
async fn who_is_erased_is_gone_from_open_windows_and_counts() {
    let (_server, project) = started().await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    let settings = json!({"fields": {"note": {"personal": true}}, "subject": "person"});
    project.client.put(&project.path("/collections/c"), &settings).expect(201).await;
    project.write("c", "a", &json!({"person": ann.id, "note": "fever", "n": 1})).await;
    let mut window = Socket::connect(&project).await;
    window.subscribe("w", &largest(2), None).await;
    let (documents, _) = window.snapshot().await;
    assert_eq!(documents[0]["data"]["note"], "fever");
    let mut count = Socket::connect(&project).await;
    let filter = json!({"field": "note", "op": "==", "value": "fever"});
    count.subscribe("n", &json!({"collection": "c", "where": filter, "count": true}), None).await;
    assert_eq!(count.expect("count").await["count"], 1);
    count.expect("live").await;

    let user = project.path(&format!("/users/{}", ann.id));
    project.client.delete(&user).expect(204).await;
    let change = window.expect("change").await;
    assert_eq!(
        (&change["type"], &change["document"]["data"]["note"]),
        (&json!("modified"), &json!(null))
    );
    assert_eq!(count.expect("count").await["count"], 0);
    // What a filter no longer knows of the document does not keep it from going.
    project.delete("c", "a").expect(204).await;
    let gone = window.expect("change").await;
    assert_eq!(gone["type"], "removed");
}
