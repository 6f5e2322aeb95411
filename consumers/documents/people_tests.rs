//! Users under a real engine on memory backends: ways in that belong to one, what is known of them
//! after a restart and after a rebuild.

use std::collections::BTreeMap;

use domain::command::{Body, Command};
use domain::rejected::Reason;
use domain::users::{
    Challenge, Ended, Identity, Issue, Refresh, Session, Step, Subject, User, UserCommand,
};
use domain::{SessionId, Timestamp, UserId};
use engine::{Committed, Engine, Error, Notice};

use crate::testing::{Disk, context, create_project, project};

fn user_id(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn user(key: &str) -> Box<User> {
    let added_at = Timestamp::default();
    let identity = Identity { verified: true, added_at, provider: None, detail: None };
    Box::new(User { identities: BTreeMap::from([(key.to_owned(), identity)]), ..User::default() })
}

fn session(id: &str) -> Step {
    let now = Timestamp::default();
    let session = Session {
        created_at: now,
        refreshed_at: now,
        authenticated_at: now,
        generation: 0,
        token_hash: "t1".to_owned(),
        sibling_hashes: Vec::new(),
        previous_hash: None,
        previous_at: None,
        level: 1,
        methods: vec!["pwd".to_owned()],
        client: None,
        impersonator: None,
    };
    let id = SessionId::new(id).unwrap();
    Step::StartSession { id, session: Box::new(session), is_single: false }
}

async fn ask(engine: &Engine, name: &str, steps: Vec<Step>) -> Result<Committed, Error> {
    let body = Body::User(UserCommand { user: user_id(name), steps });
    engine.submit(Command { context: context(None), body }).await
}

async fn owner(engine: &Engine, key: &str) -> Option<UserId> {
    engine.user_by_identity(&project(), key).await.unwrap()
}

fn is_taken(outcome: &Result<Committed, Error>) -> bool {
    matches!(outcome, Err(Error::Rejected(why)) if why.reason == Reason::IdentityTaken)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_in_is_given_once_even_within_a_batch() {
    let disk = Disk::new();
    let engine = disk.start().await;
    create_project(&engine).await;
    let names: Vec<String> = (0..20).map(|n| format!("u{n}")).collect();
    let all = names.iter().map(|name| ask(&engine, name, vec![Step::Create(user("email:a"))]));
    let outcomes = futures_util::future::join_all(all).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| is_taken(outcome)).count(), 19);

    let first = owner(&engine, "email:a").await.unwrap();
    let update = Step::Update { expected: None, user: user("email:b") };
    ask(&engine, first.as_str(), vec![update]).await.unwrap();
    assert_eq!(owner(&engine, "email:a").await, None);
    assert_eq!(owner(&engine, "email:b").await, Some(first.clone()));
    ask(&engine, "late", vec![Step::Create(user("email:a"))]).await.unwrap();
    ask(&engine, first.as_str(), vec![Step::Delete]).await.unwrap();
    assert_eq!(owner(&engine, "email:b").await, None);
    assert!(engine.user(&project(), &first).await.unwrap().is_none());
    let (users, next) = engine.users(&project(), None, 10).await.unwrap();
    assert_eq!((users.len(), next), (1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_lately_is_known_at_once_and_after_a_restart() {
    let disk = Disk::new();
    let engine = disk.start().await;
    create_project(&engine).await;
    let steps = vec![Step::Create(user("email:a")), session("s1"), session("s2")];
    ask(&engine, "u", steps).await.unwrap();
    let mut notices = engine.catalog().watch();
    let only = Some(SessionId::new("s1").unwrap());
    let end = Step::EndSessions { only, except: None, reason: Ended::SignedOut };
    ask(&engine, "u", vec![end]).await.unwrap();
    let ended = |id: &str| Subject::Session(SessionId::new(id).unwrap());
    assert_eq!(notices.recv().await.unwrap(), Notice::People(project(), ended("s1")));
    let mut promoted = user("email:a");
    promoted.roles.insert("admin".to_owned());
    ask(&engine, "u", vec![Step::Update { expected: None, user: promoted }]).await.unwrap();
    let check = |engine: &Engine| {
        let known = |subject| engine.catalog().recent(&project(), subject);
        assert!(known(ended("s1")).is_some() && known(ended("s2")).is_none());
        let access = known(Subject::User(user_id("u"))).unwrap().access.clone().unwrap();
        assert_eq!(access.roles, ["admin"]);
    };
    check(&engine);
    engine.stop().await.unwrap();
    let engine = disk.start().await;
    check(&engine);
    let state = engine.user(&project(), &user_id("u")).await.unwrap().unwrap();
    assert_eq!((state.version, state.sessions.len()), (5, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_is_no_error_and_no_event() {
    let disk = Disk::new();
    let engine = disk.start().await;
    create_project(&engine).await;
    ask(&engine, "u", vec![Step::Create(user("email:a"))]).await.unwrap();
    let end = Step::EndSessions { only: None, except: None, reason: Ended::Revoked };
    assert!(ask(&engine, "u", vec![end]).await.unwrap().events.is_empty());
}

/// Every event that there is of users, in one life.
pub(super) async fn everything_happens_to(engine: &Engine) {
    let now = Timestamp::default();
    let challenge = Challenge {
        hash: "right".to_owned(),
        issued_at: now,
        expires_at: now,
        tries_left: 3,
        detail: None,
    };
    let answer = |hash: &str| Step::Answer { purpose: "p".into(), hash: hash.to_owned() };
    let refresh = Step::Refresh(Refresh {
        id: SessionId::new("s1").unwrap(),
        token_hash: "t1".to_owned(),
        next_hash: "t2".to_owned(),
        grace_seconds: 10,
        idle_seconds_max: 100,
        age_seconds_max: 0,
    });
    let issue = Step::Issue(Issue { purpose: "p".into(), challenge, seconds: 60 });
    let end = Step::EndSessions { only: None, except: None, reason: Ended::Revoked };
    for steps in [
        vec![Step::Create(user("email:life")), session("s1")],
        vec![Step::Update { expected: None, user: user("email:other") }],
        vec![refresh, issue],
        vec![answer("wrong")],
        vec![answer("right")],
        vec![end],
        vec![Step::Delete],
    ] {
        ask(engine, "life", steps).await.unwrap();
    }
}
