//! People: their sessions outlive the server, their tokens open one project, and what is personal
//! is nowhere to be read.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use harness::{Person, Project, Server, Setup, Socket, nobody};

/// Long before the next heartbeat would find out, which comes every 25 s: a change must reach open
/// sockets by itself. It takes some milliseconds; a busy machine may need longer.
const AT_ONCE: Duration = Duration::from_secs(10);

async fn started() -> (Setup, Server, Project) {
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("p").await;
    (setup, server, project)
}

async fn configure(project: &Project, collection: &str, rules: Value) {
    let path = project.path(&format!("/collections/{collection}"));
    project.client.put(&path, &json!({"rules": rules})).expect(201).await;
}

#[tokio::test]
async fn a_session_outlives_a_killed_server() {
    let (setup, server, project) = started().await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    let bob = Person::sign_up(&project, "bob@example.com").await;
    let out = json!({"sessions": "all"});
    bob.project.client.post(&project.path("/auth/sign-out"), &out).expect(204).await;
    server.kill().await;

    let server = setup.start().await;
    let at = |person: &Person| Person { project: person.project.at(&server.url), ..person.clone() };
    let (ann, bob) = (at(&ann), at(&bob));
    // The server answers elsewhere now, and its tokens name it: the old one is another issuer's.
    let refreshed = ann.refresh(&ann.refresh_token).await.expect(200);
    let again = Person::of(&ann.project, &refreshed);
    let me = again.project.client.get(&project.path("/auth/me")).expect(200).await;
    assert_eq!((&me["id"], &me["email"]), (&json!(ann.id), &json!("ann@example.com")));
    bob.refresh(&bob.refresh_token).await.problem(401, "session-ended");
    let signed_in = Person::sign_in(&bob.project, "bob@example.com").await;
    assert_eq!(signed_in.id, bob.id);
}

#[tokio::test]
async fn a_refresh_token_that_comes_again_ends_the_session() {
    let (_setup, _server, project) = started().await;
    let config = json!({"sessions": {"refreshGraceSeconds": 0}});
    project.client.put(&project.path("/sign-in"), &config).expect(200).await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    let first = ann.refresh_token.clone();
    let next = Person::of(&project, &ann.refresh(&first).await.expect(200));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    ann.refresh(&first).await.problem(401, "session-ended");
    // Whoever has the newer one has lost it, too.
    ann.refresh(&next.refresh_token).await.problem(401, "session-ended");
    next.project.client.get(&project.path("/auth/me")).refused(401, "session-ended").await;
}

#[tokio::test]
async fn a_live_query_follows_what_its_user_may_see() {
    let (_setup, _server, project) = started().await;
    configure(&project, "notes", json!({"list": "resource.owner == auth.uid || hasRole('all')"}))
        .await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    project.write("notes", "mine", &json!({"owner": ann.id, "n": 1})).await;
    project.write("notes", "other", &json!({"owner": "bob", "n": 1})).await;
    let ids = |documents: &[Value]| -> Vec<String> {
        documents.iter().map(|one| one["id"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let mut socket = Socket::connect(&ann.project).await;
    socket.subscribe("s", &json!({"collection": "notes"}), None).await;
    assert_eq!(ids(&socket.snapshot().await.0), ["mine"]);

    // It comes into sight, changes, and leaves it: each as the set that is seen changes.
    let change = async |socket: &mut Socket, id: &str, data: Value| {
        project.write("notes", id, &data).await;
        let change = socket.changes(1).await.remove(0);
        (change["type"].clone(), change["document"]["data"]["n"].clone())
    };
    let now_mine = json!({"owner": ann.id, "n": 2});
    assert_eq!(change(&mut socket, "other", now_mine).await, (json!("added"), json!(2)));
    let changed = json!({"owner": ann.id, "n": 3});
    assert_eq!(change(&mut socket, "other", changed).await, (json!("modified"), json!(3)));
    // What is shown of one that left is what was seen of it last.
    let hidden = json!({"owner": "bob", "n": 4});
    assert_eq!(change(&mut socket, "other", hidden).await, (json!("removed"), json!(3)));

    // A role that is given, and taken away again, reaches the open socket at once.
    let path = project.path(&format!("/users/{}", ann.id));
    for (roles, seen) in [(json!(["all"]), vec!["mine", "other"]), (json!([]), vec!["mine"])] {
        let since = Instant::now();
        project.client.patch(&path, &json!({"roles": roles})).expect(200).await;
        let snapshot = socket.expect("snapshot").await;
        assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
        println!("reached after {:?}", since.elapsed());
        assert_eq!(snapshot["reset"], true, "{snapshot}");
        assert_eq!(ids(snapshot["documents"].as_array().expect("documents")), seen);
        socket.expect("live").await;
    }
    // So does a rule that is taken away.
    let rules = json!({"rules": {"list": "hasRole('all')"}});
    project.client.put(&project.path("/collections/notes"), &rules).expect(200).await;
    let snapshot = socket.expect("snapshot").await;
    assert_eq!((&snapshot["reset"], &snapshot["documents"]), (&json!(true), &json!([])));
    socket.expect("live").await;
    // And the end of the session.
    let since = Instant::now();
    let others = json!({"sessions": "this"});
    ann.project.client.post(&project.path("/auth/sign-out"), &others).expect(204).await;
    let closed = socket.closed().await.map(|(code, _)| code);
    assert_eq!(closed, Some(4401));
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    println!("reached after {:?}", since.elapsed());
}

#[tokio::test]
async fn who_comes_back_after_a_role_was_lost_begins_anew() {
    let (_setup, _server, project) = started().await;
    configure(&project, "notes", json!({"list": "hasRole('reader')"})).await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    let path = project.path(&format!("/users/{}", ann.id));
    project.client.patch(&path, &json!({"roles": ["reader"]})).expect(200).await;
    project.write("notes", "a", &json!({})).await;
    let mut socket = Socket::connect(&ann.project).await;
    socket.subscribe("s", &json!({"collection": "notes"}), None).await;
    let (documents, position) = socket.snapshot().await;
    assert_eq!(documents.len(), 1);
    drop(socket);
    project.client.patch(&path, &json!({"roles": []})).expect(200).await;
    let mut socket = Socket::connect(&ann.project).await;
    socket.subscribe("s", &json!({"collection": "notes"}), position.as_str()).await;
    let snapshot = socket.expect("snapshot").await;
    assert_eq!((&snapshot["reset"], &snapshot["documents"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn an_erased_person_is_nowhere_to_be_read() {
    let (setup, server, project) = started().await;
    let address = "unmistakable.person@example.org";
    let ann = Person::sign_up(&project, address).await;
    let me = project.path("/auth/me");
    ann.project.client.patch(&me, &json!({"name": "Unmistakable Name"})).expect(200).await;
    let factor = json!({"name": "Unmistakable phone"});
    ann.project.client.post(&project.path("/auth/factors"), &factor).expect(201).await;
    let bob = Person::sign_up(&project, "bob@example.com").await;
    let settings = json!({"fields": {"note": {"personal": true}}, "subject": "person"});
    let patients = project.path("/collections/patients");
    project.client.put(&patients, &settings).expect(201).await;
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &json!({"collection": "patients"}), None).await;
    let (_, empty) = socket.snapshot().await;
    for note in ["Unmistakable fever", "Unmistakable cough"] {
        project.write("patients", "a", &json!({"person": ann.id, "note": note, "ward": 7})).await;
        let change = socket.expect("change").await;
        assert_eq!(change["document"]["data"]["note"], note);
    }
    drop(socket);
    server.stop().await;
    // What is stored was never readable, neither before the erasure nor after it.
    assert_eq!(files_with(&setup.data(), &["unmistakable", "Unmistakable"]), Vec::<String>::new());
    let copy = setup.folder().join("backup");
    copy_all(&setup.data(), &copy);

    let server = setup.start().await;
    let project = project.at(&server.url);
    let path = project.path(&format!("/users/{}", ann.id));
    let before = project.client.get(&path).expect(200).await;
    assert_eq!(before["name"], "Unmistakable Name");
    assert_eq!(before["factors"][0]["name"], "Unmistakable phone");
    let note = project.get("patients", "a").expect(200).await["data"]["note"].clone();
    assert_eq!(note, "Unmistakable cough");
    project.client.delete(&path).expect(204).await;
    project.client.delete(&path).expect(204).await;
    project.client.get(&path).refused(404, "user-not-found").await;
    let body = json!({"email": address, "password": "correct horse battery staple"});
    let sign_in = project.path("/auth/sign-in");
    nobody(&project).post(&sign_in, &body).refused(401, "invalid-credentials").await;
    Person::sign_in(&project, "bob@example.com").await;
    server.stop().await;
    // The copy has all but the key, which is all it needs.
    std::fs::copy(setup.data().join("keys/persons.keys"), copy.join("keys/persons.keys"))
        .expect("the keys can be copied");
    std::fs::remove_dir_all(setup.data()).expect("the data can be removed");
    copy_all(&copy, &setup.data());
    let server = setup.start().await;
    let project = project.at(&server.url);
    let restored = project.client.get(&path).expect(200).await;
    assert_eq!((&restored["name"], &restored["email"]), (&Value::Null, &Value::Null));
    let left = json!({"person": ann.id, "note": null, "ward": 7});
    assert_eq!(project.get("patients", "a").expect(200).await["data"], left);
    let mut socket = Socket::connect(&project).await;
    socket.subscribe("s", &json!({"collection": "patients"}), empty.as_str()).await;
    for _ in 0..2 {
        let change = socket.expect("change").await;
        assert_eq!(change["document"]["data"], left);
    }
    let other = project.path(&format!("/users/{}", bob.id));
    assert_eq!(project.client.get(&other).expect(200).await["email"], "bob@example.com");
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy_all(&entry.path(), &to),
            false => {
                std::fs::copy(entry.path(), to).expect("a file can be copied");
            }
        }
    }
}

/// Files that have one of these texts in them.
fn files_with(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file can be read");
        let has = |text: &&str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        if texts.iter().any(has) {
            found.push(path.display().to_string());
        }
    }
    found
}
