//! A user's life, as given – when – then; and what no order of refreshes may do.

use proptest::prelude::*;

use super::*;
use crate::event::testing::event;
use crate::ids::{SessionId, UserId};
use crate::rejected::Reason;
use crate::time::Timestamp;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn id() -> UserId {
    UserId::new("u1").unwrap()
}

fn session_id(name: &str) -> SessionId {
    SessionId::new(name).unwrap()
}

fn user(keys: &[&str]) -> Box<User> {
    let identity = Identity { verified: false, added_at: at(0), provider: None, detail: None };
    let identities = keys.iter().map(|key| ((*key).to_owned(), identity.clone())).collect();
    Box::new(User { identities, ..User::default() })
}

fn start(name: &str, token: &str) -> Step {
    let session = Session {
        created_at: at(0),
        refreshed_at: at(0),
        authenticated_at: at(0),
        generation: 0,
        token_hash: token.to_owned(),
        sibling_hashes: Vec::new(),
        previous_hash: None,
        previous_at: None,
        level: 1,
        methods: vec!["pwd".to_owned()],
        client: None,
        impersonator: None,
    };
    Step::StartSession { id: session_id(name), session: Box::new(session), is_single: false }
}

fn refresh(name: &str, token: &str, next: &str) -> Step {
    Step::Refresh(Refresh {
        id: session_id(name),
        token_hash: token.to_owned(),
        next_hash: next.to_owned(),
        grace_seconds: 10,
        idle_seconds_max: 1000,
        age_seconds_max: 0,
    })
}

fn issue(answer: &str) -> Step {
    let challenge = Challenge {
        hash: answer.to_owned(),
        issued_at: at(0),
        expires_at: at(0),
        tries_left: 2,
        detail: None,
    };
    Step::Issue(Issue { purpose: "p".into(), challenge, seconds: 60 })
}

fn answer(hash: &str) -> Step {
    Step::Answer { purpose: "p".into(), hash: hash.to_owned() }
}

/// What was decided, and what the events as stored lead to.
fn run(
    state: UserState,
    seconds: i64,
    steps: Vec<Step>,
) -> Result<(Vec<String>, UserState), Reason> {
    let command = UserCommand { user: id(), steps };
    let decided = decide(&state, &command, &Claimed::new(), at(seconds));
    let decided = decided.map_err(|rejected| rejected.reason)?;
    let mut state = state;
    let mut kinds = Vec::new();
    for new in decided {
        let recorded = event(new, seconds * 1_000_000);
        assert_eq!(recorded.stream_version, state.version + 1);
        kinds.push(recorded.kind.to_string());
        let body = UserEvent::decode(&recorded).unwrap().unwrap();
        state = state.evolve(&recorded, body);
    }
    Ok((kinds, state))
}

fn signed_up() -> UserState {
    let steps = vec![Step::Create(user(&["email:a"])), start("s1", "t1")];
    run(UserState::default(), 100, steps).unwrap().1
}

#[test]
fn signs_up_refreshes_and_is_erased() {
    let state = signed_up();
    assert_eq!((state.version, state.sessions.len()), (2, 1));
    assert_eq!(state.signed_in_at, Some(at(100)));
    let (kinds, state) = run(state, 200, vec![refresh("s1", "t1", "t2")]).unwrap();
    assert_eq!(kinds, ["session.refreshed"]);
    assert_eq!(state.sessions[&session_id("s1")].generation, 2);
    let (_, state) = run(state, 300, vec![Step::Delete]).unwrap();
    assert!(!state.is_live() && state.sessions.is_empty() && state.user == User::default());
    let again = run(state.clone(), 400, vec![Step::Create(user(&[]))]);
    assert_eq!(again.unwrap_err(), Reason::UserExists);
    assert_eq!(run(state, 400, vec![answer("x")]).unwrap_err(), Reason::UserNotFound(id()));
}

#[test]
fn a_way_in_belongs_to_one() {
    let claimed = Claimed::from([("email:a".to_owned(), UserId::new("u2").unwrap())]);
    let command = UserCommand { user: id(), steps: vec![Step::Create(user(&["email:a"]))] };
    let refused = decide(&UserState::default(), &command, &claimed, at(1)).unwrap_err();
    assert_eq!(refused.reason, Reason::IdentityTaken);
    let own = Claimed::from([("email:a".to_owned(), id())]);
    assert!(decide(&UserState::default(), &command, &own, at(1)).is_ok());
}

#[test]
fn a_used_refresh_token_ends_the_session_but_two_tabs_may_race() {
    let (_, state) = run(signed_up(), 200, vec![refresh("s1", "t1", "t2")]).unwrap();
    // The other tab, within the grace: from then on each has a token of its own, for good.
    let (kinds, raced) = run(state.clone(), 210, vec![refresh("s1", "t1", "t3")]).unwrap();
    assert_eq!(kinds, ["session.refreshed"]);
    for token in ["t2", "t3"] {
        let (kinds, _) = run(raced.clone(), 900, vec![refresh("s1", token, "t4")]).unwrap();
        assert_eq!(kinds, ["session.refreshed"], "{token}");
    }
    let (_, one) = run(raced.clone(), 900, vec![refresh("s1", "t2", "t4")]).unwrap();
    let (kinds, _) = run(one, 901, vec![refresh("s1", "t3", "t5")]).unwrap();
    assert_eq!(kinds, ["session.refreshed"]);
    // The first token again, once its grace is over, and anybody's guess.
    for token in ["t1", "guess"] {
        let (kinds, ended) = run(raced.clone(), 215, vec![refresh("s1", token, "x")]).unwrap();
        assert_eq!((kinds, ended.sessions.len()), (vec!["session.ended".to_owned()], 0));
    }
    // After the grace.
    let (kinds, ended) = run(state, 211, vec![refresh("s1", "t1", "t3")]).unwrap();
    assert_eq!((kinds, ended.sessions.len()), (vec!["session.ended".to_owned()], 0));
    let gone = run(ended, 212, vec![refresh("s1", "t2", "t5")]);
    assert_eq!(gone.unwrap_err(), Reason::SessionNotFound);
}

#[test]
fn an_idle_session_has_ended() {
    let (kinds, state) = run(signed_up(), 1101, vec![refresh("s1", "t1", "t2")]).unwrap();
    assert_eq!((kinds, state.sessions.len()), (vec!["session.ended".to_owned()], 0));
}

#[test]
fn a_wrong_answer_counts_and_undoes_nothing_else() {
    let (_, state) = run(signed_up(), 200, vec![issue("right")]).unwrap();
    let steps = || vec![answer("wrong"), start("s2", "t")];
    let (kinds, state) = run(state, 210, steps()).unwrap();
    assert_eq!((kinds, state.sessions.len()), (vec!["challenge.failed".to_owned()], 1));
    let right = vec![answer("right"), start("s2", "t")];
    let (kinds, _) = run(state.clone(), 220, right).unwrap();
    assert_eq!(kinds, ["challenge.used", "session.started"]);
    let (_, gone) = run(state.clone(), 220, steps()).unwrap();
    assert_eq!(run(gone, 221, vec![answer("right")]).unwrap_err(), Reason::ChallengeNotFound);
    assert_eq!(run(state, 261, vec![answer("right")]).unwrap_err(), Reason::ChallengeNotFound);
}

#[test]
fn disabling_ends_every_session_and_lets_none_begin() {
    let state = signed_up();
    let disabled = Box::new(User { disabled: true, ..state.user.clone() });
    let stale = Step::Update { expected: Some(1), user: disabled.clone() };
    assert_eq!(
        run(state.clone(), 200, vec![stale]).unwrap_err(),
        Reason::UserChanged { actual: 2 }
    );
    let step = Step::Update { expected: Some(2), user: disabled };
    let (kinds, state) = run(state, 200, vec![step]).unwrap();
    assert_eq!(kinds, ["user.updated", "session.ended"]);
    assert_eq!(state.access_changed_at, at(200));
    assert_eq!(run(state, 201, vec![start("s2", "t")]).unwrap_err(), Reason::UserDisabled);
}

#[test]
fn the_oldest_session_gives_way() {
    let mut state = signed_up();
    for index in 0..SESSIONS_MAX {
        let step = start(&format!("x{index}"), "t");
        state = run(state, 200 + index as i64, vec![step]).unwrap().1;
    }
    assert_eq!(state.sessions.len(), SESSIONS_MAX);
    assert!(!state.sessions.contains_key(&session_id("s1")));
}

proptest! {
    /// Whoever holds tokens, in whatever order they come: one that was used and is out of grace
    /// never yields another, and never leaves the session standing.
    #[test]
    fn no_token_is_good_twice(uses in proptest::collection::vec((0_usize..6, 0_i64..30), 1..12)) {
        let mut state = signed_up();
        let mut tokens = vec!["t1".to_owned()];
        let mut now = 100;
        for (which, wait) in uses {
            now += wait;
            let Some(session) = state.sessions.get(&session_id("s1")).cloned() else { break };
            let token = tokens[which % tokens.len()].clone();
            let since = |at: Timestamp| now - at.as_micros() / 1_000_000;
            let is_good = session.token_hash == token
                || session.sibling_hashes.contains(&token)
                || session.previous_hash.as_ref() == Some(&token)
                    && session.previous_at.is_some_and(|at| since(at) <= 10);
            let next = format!("t{}", tokens.len() + 1);
            let step = refresh("s1", &token, &next);
            let (_, after) = run(state, now, vec![step]).unwrap();
            prop_assert_eq!(after.sessions.contains_key(&session_id("s1")), is_good);
            state = after;
            tokens.push(next);
        }
    }
}
