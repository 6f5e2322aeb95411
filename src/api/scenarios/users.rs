//! Users as the developer's server makes, changes and erases them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use domain::{PartitionId, ProjectId, UserId};
use readmodel::{Scan, SpaceId, Store as _, documents as tables, memory::Store};
use serde_json::{Value, json};
use tokio::sync::watch;
use vault::{Key, SubjectKeys};

use super::{ADMIN, Reply, Rig, engine_over, options, people};
use crate::server::share;

const PASSWORD: &str = "long enough 1";

async fn user(rig: &Rig, body: &Value) -> Value {
    let made = rig.ask("POST", "users", &[], &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

async fn sign_in(rig: &Rig, email: &str, password: &str) -> Reply {
    let body = json!({"email": email, "password": password}).to_string();
    rig.ask_as("", "POST", "auth/sign-in", &[], &body).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// Keys in memory that can't be destroyed for a while.
struct Stubborn(vault::memory::Keys, Arc<AtomicU32>);

#[async_trait]
impl SubjectKeys for Stubborn {
    async fn get(&self, project: &ProjectId, subject: &str) -> Result<Option<Key>, vault::Error> {
        self.0.get(project, subject).await
    }

    async fn get_or_create(&self, project: &ProjectId, subject: &str) -> Result<Key, vault::Error> {
        self.0.get_or_create(project, subject).await
    }

    async fn destroy(&self, project: &ProjectId, subject: &str) -> Result<bool, vault::Error> {
        let down = |left: u32| left.checked_sub(1);
        match self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, down) {
            Ok(_) => Err(vault::Error::Closed),
            Err(_) => self.0.destroy(project, subject).await,
        }
    }

    async fn wipe_project(&self, project: &ProjectId) -> Result<u64, vault::Error> {
        self.0.wipe_project(project).await
    }
}

/// The project `p` over tables that can be looked into; the first `failing` keys are not destroyed.
async fn open_rig(failing: u32) -> (Rig, Arc<Store>, Arc<AtomicU32>) {
    let store = Arc::new(Store::default());
    let left = Arc::new(AtomicU32::new(failing));
    let keys = Stubborn(vault::memory::Keys::new(), Arc::clone(&left));
    let (engine, log, registry) = engine_over(Arc::clone(&store), Arc::new(keys));
    let (_, stopping) = watch::channel(false);
    let shared = share(engine, registry, options(), people(), stopping).unwrap();
    let rig = Rig { shared, log, token: ADMIN.to_owned() };
    let made = rig.ask("POST", "/v1/projects", &[], r#"{"id":"p","name":"P"}"#).await;
    assert_eq!(made.status, 201, "{}", made.text);
    (rig, store, left)
}

/// Every row of the tables that have to do with people.
async fn rows(store: &Store) -> String {
    let mut found = String::new();
    for (consumer, tables) in [
        (consumers::DOCUMENTS.name, &[&tables::PROJECTS, &tables::USERS, &tables::IDENTITIES][..]),
        (consumers::IDEMPOTENCY.name, &[&tables::RECENT][..]),
    ] {
        let generation = store.active(consumer, PartitionId(0)).await.unwrap().unwrap();
        let id = SpaceId { consumer, partition: PartitionId(0), generation };
        let space = store.open(&id).await.unwrap();
        for table in tables {
            let scan = Scan { limit: 1000, ..Scan::default() };
            let rows = space.scan(table, scan).await.unwrap();
            found.push_str(&format!("{}: {rows:?}\n", table.name));
        }
    }
    found
}

#[actix_web::test]
async fn users_are_made_found_and_listed() {
    let rig = Rig::new().await;
    let ann = user(
        &rig,
        &json!({
            "id": "ann", "email": "Ann@App.example", "emailVerified": true,
            "phone": "+1 500 5550006", "password": PASSWORD, "name": "Ann", "locale": "de",
            "roles": ["editor"],
            "groups": ["staff"], "claims": {"plan": "pro"}, "data": {"n": 1},
        }),
    )
    .await;
    for (name, expected) in [
        ("id", json!("ann")),
        ("email", json!("Ann@app.example")),
        ("emailVerified", json!(true)),
        ("phone", json!("+15005550006")),
        ("phoneVerified", json!(false)),
        ("name", json!("Ann")),
        ("roles", json!(["editor"])),
        ("claims", json!({"plan": "pro"})),
        ("data", json!({"n": 1})),
        ("hasPassword", json!(true)),
        ("isAnonymous", json!(false)),
    ] {
        assert_eq!(ann[name], expected, "{name}");
    }
    assert_eq!(sign_in(&rig, "ann@app.example", PASSWORD).await.status, 200);
    let bob = user(&rig, &json!({"name": "Bob"})).await;
    user(&rig, &json!({"id": "cleo", "disabled": true, "email": "c@app.example"})).await;
    let found = async |query: &str| {
        let page = rig.ask("GET", &format!("users?{query}"), &[], "").await;
        assert_eq!(page.status, 200, "{}", page.text);
        let ids = page.json()["users"].as_array().unwrap().clone();
        let ids = ids.iter().map(|one| text(&one["id"])).collect::<Vec<_>>();
        (ids, page.json()["cursor"].clone())
    };
    assert_eq!(found("email=ANN%40app.example").await.0, ["ann"]);
    assert_eq!(found("phone=%2B15005550006").await.0, ["ann"]);
    assert!(found("email=nobody%40app.example").await.0.is_empty());
    let (first, cursor) = found("limit=2").await;
    let rest = found(&format!("limit=2&cursor={}", text(&cursor))).await;
    let mut all = [first, rest.0].concat();
    assert!(all.is_sorted());
    let mut expected = vec!["ann".to_owned(), "cleo".to_owned(), text(&bob["id"])];
    expected.sort();
    all.sort();
    assert_eq!((all, rest.1), (expected, json!(null)));
    let long = "x".repeat(1025);
    let row = |body: Value| body.to_string();
    rig.table(&[
        ("POST", "users", r#"{"id":"ann"}"#, 409, "user-exists"),
        ("POST", "users", r#"{"email":"ann@app.example"}"#, 409, "identity-taken"),
        ("POST", "users", r#"{"phone":"+15005550006"}"#, 409, "identity-taken"),
        ("POST", "users", r#"{"email":"ann"}"#, 400, "invalid-body"),
        ("POST", "users", r#"{"phone":"12"}"#, 400, "invalid-body"),
        ("POST", "users", r#"{"emailVerified":true}"#, 400, "invalid-body"),
        ("POST", "users", r#"{"password":"short"}"#, 400, "weak-password"),
        ("POST", "users", r#"{"roles":["a b"]}"#, 400, "invalid-body"),
        ("POST", "users", r#"{"claims":{"sub":"x"}}"#, 400, "invalid-body"),
        ("POST", "users", r#"{"id":"_x"}"#, 400, "invalid-body"),
        ("POST", "users", &row(json!({"name": long})), 400, "invalid-body"),
        ("POST", "users", &row(json!({"roles": vec!["r"; 101]})), 400, "invalid-body"),
        ("GET", "users/none", "", 404, "user-not-found"),
        ("GET", "users/_", "", 400, "invalid-id"),
        ("GET", "users?email=x", "", 400, "invalid-parameter"),
        ("GET", "users?email=a%40b.c&phone=%2B15005550006", "", 400, "invalid-parameter"),
        ("GET", "users?limit=0", "", 400, "invalid-parameter"),
    ])
    .await;
    // A repeat makes nobody else, and the first one's key is there yet.
    let key = [("Idempotency-Key", "k")];
    let body = r#"{"name":"Dora"}"#;
    let first = rig.ask("POST", "users", &key, body).await;
    let again = rig.ask("POST", "users", &key, body).await;
    assert_eq!((again.status, again.json()), (201, first.json()));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json()["name"], "Dora");
}

#[actix_web::test]
async fn a_change_takes_effect_at_once() {
    let rig = Rig::new().await;
    let made = json!({"id": "ann", "email": "a@app.example", "password": PASSWORD, "name": "Ann"});
    user(&rig, &made).await;
    let patch = async |body: Value| {
        let reply = rig.ask("PATCH", "users/ann", &[], &body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    };
    let token = async |password: &str| {
        text(&sign_in(&rig, "a@app.example", password).await.json()["accessToken"])
    };
    let me = async |token: &str| rig.ask_as(token, "GET", "auth/me", &[], "").await.status;

    // Nothing to change is no event.
    let before = rig.ask("GET", "users/ann", &[], "").await.json();
    assert_eq!(patch(json!({"name": "Ann"})).await["version"], before["version"]);

    // Roles change, and the session goes on.
    let first = token(PASSWORD).await;
    assert_eq!(patch(json!({"roles": ["x"], "name": null})).await["name"], json!(null));
    assert_eq!(me(&first).await, 200);
    // Another password ends it.
    patch(json!({"password": "another one 2"})).await;
    assert_eq!(me(&first).await, 401);
    assert_eq!(sign_in(&rig, "a@app.example", PASSWORD).await.status, 401);
    // Tokens count whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let second = token("another one 2").await;
    assert_eq!(me(&second).await, 200);
    // So does being disabled.
    assert_eq!(patch(json!({"disabled": true})).await["disabled"], true);
    assert_eq!(me(&second).await, 401);
    let refused = sign_in(&rig, "a@app.example", "another one 2").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "user-disabled"));
    patch(json!({"disabled": false})).await;

    // Another address takes the place of the first, which is free again.
    let moved = patch(json!({"email": "b@app.example"})).await;
    assert_eq!(
        (&moved["email"], &moved["emailVerified"]),
        (&json!("b@app.example"), &json!(false))
    );
    assert_eq!(sign_in(&rig, "b@app.example", "another one 2").await.status, 200);
    assert_eq!(sign_in(&rig, "a@app.example", "another one 2").await.status, 401);
    user(&rig, &json!({"email": "a@app.example"})).await;
    assert_eq!(patch(json!({"emailVerified": true})).await["emailVerified"], true);
    let gone = patch(json!({"email": null, "password": null})).await;
    assert_eq!((&gone["email"], &gone["hasPassword"]), (&json!(null), &json!(false)));
    assert_eq!(gone["identities"], json!([]));
    rig.table(&[
        ("PATCH", "users/ann", r#"{"email":"a@app.example"}"#, 409, "identity-taken"),
        ("PATCH", "users/ann", r#"{"emailVerified":true}"#, 400, "invalid-body"),
        ("PATCH", "users/ann", r#"{"password":"short"}"#, 400, "weak-password"),
        ("PATCH", "users/ann", r#"{"id":"b"}"#, 400, "invalid-body"),
        ("PATCH", "users/none", "{}", 404, "user-not-found"),
    ])
    .await;
}

#[actix_web::test]
async fn a_change_leaves_a_providers_address_alone() {
    let rig = Rig::new().await;
    let project = ProjectId::new("p").unwrap();
    let body = json!({"email": "a@app.example", "password": PASSWORD}).to_string();
    let session = rig.ask_as("", "POST", "auth/sign-up", &[], &body).await.json();
    let id = text(&session["user"]["id"]);
    let path = format!("users/{id}");
    // Whoever came by another issuer has an address in its profile that is no way in.
    let id = UserId::new(&id).unwrap();
    let state = rig.shared.engine.user(&project, &id).await.unwrap().unwrap();
    let mut user = state.user.clone();
    user.identities.clear();
    let steps = vec![domain::users::Step::Update { expected: None, user: Box::new(user) }];
    let command = domain::command::Command {
        context: domain::command::Context {
            project: project.clone(),
            actor: domain::Actor::System,
            access: domain::access::Access::PastRules,
            correlation_id: "c".into(),
            causation_id: None,
            depth: 0,
            traceparent: None,
            idempotency: None,
        },
        body: domain::command::Body::User(domain::users::UserCommand { user: id, steps }),
    };
    rig.shared.engine.submit(command).await.unwrap();
    let changed = rig.ask("PATCH", &path, &[], r#"{"name":"A"}"#).await.json();
    assert_eq!((&changed["name"], &changed["identities"]), (&json!("A"), &json!([])));
}

#[actix_web::test]
async fn sessions_are_listed_and_ended() {
    let rig = Rig::new().await;
    user(&rig, &json!({"id": "ann", "email": "a@app.example", "password": PASSWORD})).await;
    let first = sign_in(&rig, "a@app.example", PASSWORD).await.json();
    let second = sign_in(&rig, "a@app.example", PASSWORD).await.json();
    let sessions = async || {
        let list = rig.ask("GET", "users/ann/sessions", &[], "").await.json();
        list["sessions"].as_array().unwrap().len()
    };
    assert_eq!(sessions().await, 2);
    let only = json!({"session": first["sessionId"]}).to_string();
    rig.table(&[("POST", "users/ann/sign-out", &only, 204, "")]).await;
    assert_eq!(sessions().await, 1);
    let me = async |session: &Value| {
        let token = text(&session["accessToken"]);
        rig.ask_as(&token, "GET", "auth/me", &[], "").await.status
    };
    assert_eq!((me(&first).await, me(&second).await), (401, 200));
    rig.table(&[
        ("POST", "users/ann/sign-out", "{}", 204, ""),
        ("POST", "users/ann/sign-out", "{}", 204, ""),
        ("POST", "users/none/sign-out", "{}", 404, "user-not-found"),
        ("GET", "users/none/sessions", "", 404, "user-not-found"),
    ])
    .await;
    assert_eq!((sessions().await, me(&second).await), (0, 401));
}

#[actix_web::test]
async fn who_acts_in_a_users_name_is_named_beside_it() {
    let mut rig = Rig::new().await;
    user(&rig, &json!({"id": "ann", "email": "a@app.example", "password": PASSWORD})).await;
    let config = r#"{"sessions":{"accessTokenSeconds":7200}}"#;
    rig.table(&[("PUT", "sign-in", config, 200, "")]).await;
    let made = rig.ask("POST", "keys", &[], r#"{"kind":"secret","name":"k"}"#).await.json();
    let by = format!("key:{}", text(&made["id"]));
    rig.token = text(&made["key"]);
    let body = r#"{"reason":"Ticket 4711"}"#;
    let done = rig.ask("POST", "users/ann/impersonate", &[("Idempotency-Key", "k")], body).await;
    assert_eq!(done.status, 201, "{}", done.text);
    assert_eq!(done.json()["expiresIn"], 3600);
    assert!(!done.text.contains("refresh"), "{}", done.text);
    let token = text(&done.json()["accessToken"]);
    let patched = rig.ask_as(&token, "PATCH", "auth/me", &[], r#"{"name":"A"}"#).await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    let gone = rig.ask_as(&token, "DELETE", "auth/me", &[], "").await;
    assert_eq!((gone.status, gone.code().as_str()), (403, "forbidden"));

    let events = rig.ask("GET", "events?types=session.started,user.updated", &[], "").await;
    let events = events.json()["events"].as_array().unwrap().clone();
    assert_eq!(events.len(), 2);
    for event in &events {
        assert_eq!(event["actor"], format!("user:ann/by:{by}"), "{event}");
    }
    assert_eq!(events[0]["data"]["session"]["impersonator"], by.as_str());
    assert!(!rig.log_text().await.contains("Ticket 4711"));
    let export = rig.ask("GET", "users/ann/export", &[], "").await.json();
    assert_eq!(export["sessions"][0]["client"]["reason"], "Ticket 4711");
    assert_eq!(export["user"]["lastSignInAt"], json!(null));
    // Asking again gives another token, not the first one.
    let again = rig.ask("POST", "users/ann/impersonate", &[("Idempotency-Key", "k")], body).await;
    assert_ne!(again.json()["sessionId"], done.json()["sessionId"]);
    rig.table(&[
        ("POST", "users/ann/impersonate", r#"{"reason":""}"#, 400, "invalid-body"),
        ("POST", "users/ann/impersonate", "{}", 400, "invalid-body"),
        ("POST", "users/none/impersonate", body, 404, "user-not-found"),
        ("PATCH", "users/ann", r#"{"disabled":true}"#, 200, ""),
        ("POST", "users/ann/impersonate", body, 403, "user-disabled"),
    ])
    .await;
}

#[actix_web::test]
async fn a_link_is_given_and_void_once_the_address_is_another() {
    let rig = Rig::new().await;
    user(&rig, &json!({"id": "ann", "email": "a@app.example", "password": PASSWORD})).await;
    user(&rig, &json!({"id": "bob"})).await;
    let open = async || {
        let (project, id) = (ProjectId::new("p").unwrap(), UserId::new("ann").unwrap());
        let state = rig.shared.engine.user(&project, &id).await.unwrap().unwrap();
        let now = crate::people::now();
        let open = state.challenges.iter().filter(|(_, open)| open.expires_at > now);
        open.map(|(purpose, _)| purpose.to_string()).collect::<Vec<_>>()
    };
    for kind in ["magic-link", "reset-password", "verify-email"] {
        let body = json!({"kind": kind}).to_string();
        let made = rig.ask("POST", "users/ann/link", &[], &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let link = text(&made.json()["link"]);
        assert!(link.starts_with("http://127.0.0.1/v1/projects/p/auth/"), "{link}");
        let secret = link.rsplit('~').next().unwrap().to_owned();
        assert!(!rig.log_text().await.contains(&secret));
    }
    assert_eq!(open().await, ["magic-link", "reset-password", "verify-email"]);
    let made = rig.ask("POST", "users/ann/link", &[], r#"{"kind":"magic-link"}"#).await.json();
    let token = text(&made["link"]).split_once("token=").unwrap().1.to_owned();
    let body = json!({"token": token}).to_string();
    let session = rig.ask_as("", "POST", "auth/confirm", &[], &body).await;
    assert_eq!((session.status, &session.json()["user"]["id"]), (200, &json!("ann")));
    assert_eq!(rig.ask_as("", "POST", "auth/confirm", &[], &body).await.status, 401);
    rig.table(&[("POST", "users/ann/link", r#"{"kind":"magic-link"}"#, 201, "")]).await;
    rig.table(&[
        ("PATCH", "users/ann", r#"{"name":"A"}"#, 200, ""),
        ("POST", "users/ann/link", r#"{"kind":"invite"}"#, 400, "invalid-body"),
        ("POST", "users/bob/link", r#"{"kind":"magic-link"}"#, 400, "invalid-body"),
        ("POST", "users/none/link", r#"{"kind":"magic-link"}"#, 404, "user-not-found"),
    ])
    .await;
    assert_eq!(open().await.len(), 3);
    rig.table(&[("PATCH", "users/ann", r#"{"email":"b@app.example"}"#, 200, "")]).await;
    assert!(open().await.is_empty());
}

#[actix_web::test]
async fn an_export_has_everything() {
    let rig = Rig::new().await;
    user(&rig, &json!({"id": "ann", "email": "a@app.example", "password": PASSWORD})).await;
    user(&rig, &json!({"id": "bob", "email": "b@app.example"})).await;
    sign_in(&rig, "a@app.example", PASSWORD).await;
    rig.ask("PATCH", "users/ann", &[], r#"{"name":"Ann"}"#).await;
    let export = rig.ask("GET", "users/ann/export", &[], "").await.json();
    assert_eq!(export["user"]["name"], "Ann");
    assert_eq!(export["identities"][0]["kind"], "email");
    assert_eq!(export["sessions"].as_array().unwrap().len(), 1);
    let events = export["events"].as_array().unwrap();
    let kinds: Vec<String> = events.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(kinds, ["user.created", "session.started", "user.updated"]);
    assert_eq!(export["next"], export["end"]);
    let rest = format!("users/ann/export?from={}", text(&events[2]["position"]));
    let rest = rig.ask("GET", &rest, &[], "").await.json();
    assert_eq!(rest["events"].as_array().unwrap().len(), 1);
    rig.table(&[
        ("GET", "users/none/export", "", 404, "user-not-found"),
        ("GET", "users/ann/export?from=x", "", 400, "invalid-position"),
    ])
    .await;
}

#[actix_web::test]
async fn nothing_of_an_erased_user_can_be_read() {
    let (rig, store, _) = open_rig(0).await;
    let personal = ["erase.me", "app.example", "Unforgettable", "5550006", "argon2", "Browser/9"];
    user(
        &rig,
        &json!({
            "id": "ann", "email": "erase.me@app.example", "phone": "+15005550006",
            "password": PASSWORD, "name": "Unforgettable", "data": {"note": "Unforgettable"},
        }),
    )
    .await;
    let body = json!({"email": "erase.me@app.example", "password": PASSWORD}).to_string();
    let agent = [("User-Agent", "Browser/9")];
    let session = rig.ask_as("", "POST", "auth/sign-in", &agent, &body).await.json();
    let token = text(&session["accessToken"]);
    let refresh = text(&session["refreshToken"]);
    rig.ask("PATCH", "users/ann", &[], r#"{"locale":"de"}"#).await;
    let (project, id) = (ProjectId::new("p").unwrap(), UserId::new("ann").unwrap());
    let state = rig.shared.engine.user(&project, &id).await.unwrap().unwrap();
    let people = &rig.shared.people;
    let profile = people.profile(&project, &id, &state.user).await.unwrap();
    assert_eq!(profile.name.as_deref(), Some("Unforgettable"));

    rig.table(&[("DELETE", "users/ann", "", 204, "")]).await;
    // What was read before the erasure opens no more.
    let profile = people.profile(&project, &id, &state.user).await.unwrap();
    assert_eq!(profile, crate::people::Profile::default());
    let (log, rows) = (rig.log_text().await, rows(&store).await);
    // What is there in plain text shows that both were read.
    assert!(log.contains("tokenHash") && rows.contains("signedInAt"), "{rows}");
    for personal in personal {
        assert!(!log.contains(personal), "{personal} in the log");
        assert!(!rows.contains(personal), "{personal} in the tables");
    }
    let identities = rows.lines().find(|line| line.starts_with("identities")).unwrap();
    assert_eq!(identities, "identities: []");
    let me = rig.ask_as(&token, "GET", "auth/me", &[], "").await;
    assert_eq!((me.status, me.code().as_str()), (401, "session-ended"));
    let refresh = json!({"refreshToken": refresh}).to_string();
    rig.table(&[
        ("POST", "auth/refresh", &refresh, 401, "session-ended"),
        ("GET", "users/ann", "", 404, "user-not-found"),
        ("GET", "users/ann/export", "", 404, "user-not-found"),
        ("PATCH", "users/ann", r#"{"name":"A"}"#, 404, "user-not-found"),
        ("DELETE", "users/ann", "", 204, ""),
        ("DELETE", "users/ann", "", 204, ""),
        ("POST", "users", r#"{"id":"ann","name":"A"}"#, 409, "user-exists"),
        ("POST", "users", r#"{"id":"bea","email":"erase.me@app.example"}"#, 201, ""),
        // A name that nobody had is not spoilt by erasing it.
        ("DELETE", "users/cleo", "", 404, "user-not-found"),
        ("POST", "users", r#"{"id":"cleo","name":"Cleo"}"#, 201, ""),
    ])
    .await;
    let page = rig.ask("GET", "users", &[], "").await.json();
    assert_eq!(page["users"].as_array().unwrap().len(), 2);
    assert_eq!(page["users"][1]["name"], "Cleo");
}

#[actix_web::test]
async fn an_erasure_that_was_cut_short_is_finished_by_its_repeat() {
    let (rig, _, left) = open_rig(0).await;
    user(&rig, &json!({"id": "ann", "name": "Ann"})).await;
    let (project, id) = (ProjectId::new("p").unwrap(), UserId::new("ann").unwrap());
    let state = rig.shared.engine.user(&project, &id).await.unwrap().unwrap();
    let name = async || rig.shared.people.profile(&project, &id, &state.user).await.unwrap().name;
    left.store(u32::MAX, Ordering::Relaxed);
    rig.table(&[
        ("DELETE", "users/ann", "", 503, "unavailable"),
        ("GET", "users/ann", "", 404, "user-not-found"),
        ("DELETE", "users/ann", "", 503, "unavailable"),
    ])
    .await;
    assert_eq!(name().await.as_deref(), Some("Ann"));
    left.store(1, Ordering::Relaxed);
    rig.table(&[("DELETE", "users/ann", "", 204, "")]).await;
    assert_eq!((name().await, left.load(Ordering::Relaxed)), (None, 0));
}

#[actix_web::test]
async fn a_user_erases_itself() {
    let rig = Rig::new().await;
    let body = json!({"email": "a@app.example", "password": PASSWORD}).to_string();
    let session = rig.ask_as("", "POST", "auth/sign-up", &[], &body).await.json();
    let (token, id) = (text(&session["accessToken"]), text(&session["user"]["id"]));
    let gone = rig.ask_as(&token, "DELETE", "auth/me", &[], "").await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    assert_eq!(rig.ask_as(&token, "DELETE", "auth/me", &[], "").await.status, 401);
    let user = format!("users/{id}");
    rig.table(&[("GET", &user, "", 404, "user-not-found"), ("DELETE", &user, "", 204, "")]).await;
    let deleted = rig.ask("GET", "events?types=user.deleted", &[], "").await.json();
    assert_eq!(deleted["events"][0]["actor"], format!("user:{id}"));
    assert_eq!(sign_in(&rig, "a@app.example", PASSWORD).await.status, 401);
}
