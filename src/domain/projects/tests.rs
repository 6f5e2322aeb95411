//! A project's life, as given – when – then.

use super::*;
use crate::Timestamp;
use crate::event::testing::event;
use crate::ids::{CollectionName, KeyId};
use crate::rejected::Reason;

/// Decides and evolves; panics on a refusal.
fn given(commands: Vec<ProjectCommand>) -> ProjectState {
    commands.iter().fold(ProjectState::default(), step)
}

fn step(state: ProjectState, command: &ProjectCommand) -> ProjectState {
    let decided = decide(&state, command).unwrap();
    let time = i64::try_from(decided.stream_version).unwrap();
    let event = event(decided, time);
    let body = ProjectEvent::decode(&event).unwrap().unwrap();
    state.evolve(&event, body)
}

fn create() -> ProjectCommand {
    ProjectCommand::Create { name: "P".to_owned() }
}

fn key(id: &str) -> ProjectCommand {
    ProjectCommand::CreateKey {
        key_id: KeyId::new(id).unwrap(),
        kind: KeyKind::Secret,
        name: "ci".to_owned(),
        hash: "00".repeat(32),
        hint: "abcd".to_owned(),
        scopes: Vec::new(),
    }
}

fn refused(state: &ProjectState, command: &ProjectCommand) -> Reason {
    decide(state, command).unwrap_err().reason
}

#[test]
fn an_id_is_given_once() {
    let live = given(vec![create()]);
    assert_eq!(refused(&live, &create()), Reason::ProjectExists);
    let gone = step(live, &ProjectCommand::Delete);
    assert!(!gone.is_live());
    assert_eq!(refused(&gone, &create()), Reason::ProjectExists);
    assert_eq!(refused(&gone, &key("k")), Reason::ProjectNotFound);
}

#[test]
fn keys_come_and_go() {
    let state = given(vec![create(), key("k1"), key("k2")]);
    assert_eq!(state.keys.len(), 2);
    let revoke = ProjectCommand::RevokeKey { key_id: KeyId::new("k1").unwrap() };
    let state = step(state, &revoke);
    assert_eq!(state.keys.len(), 1);
    assert_eq!(refused(&state, &revoke), Reason::KeyNotFound(KeyId::new("k1").unwrap()));
    assert!(step(state, &ProjectCommand::Delete).keys.is_empty());
}

#[test]
fn a_project_has_so_many_keys_and_no_more() {
    let mut state = given(vec![create()]);
    for n in 0..100 {
        state = step(state, &key(&format!("k{n}")));
    }
    assert_eq!(refused(&state, &key("k100")), Reason::TooMany { what: "keys".into(), limit: 100 });
}

#[test]
fn configuring_anew_keeps_the_birthday() {
    let collection = CollectionName::new("posts").unwrap();
    let configure = ProjectCommand::ConfigureCollection {
        collection: collection.clone(),
        config: Box::default(),
    };
    let state = given(vec![create(), configure.clone(), configure]);
    let posts = &state.collections[&collection];
    assert_eq!(posts.created_at, Timestamp::from_micros(2));
    assert_eq!(posts.updated_at, Timestamp::from_micros(3));
    let delete = ProjectCommand::DeleteCollection { collection: collection.clone() };
    let state = step(state, &delete);
    assert_eq!(refused(&state, &delete), Reason::CollectionNotFound(collection));
}

fn channel(name: &str) -> ProjectCommand {
    let config = r#"{"rules":{"join":"true"},"history":{"messages":10,"seconds":5}}"#;
    ProjectCommand::ConfigureChannel {
        channel: ChannelPattern::new(name).unwrap(),
        config: serde_json::from_str(config).unwrap(),
    }
}

#[test]
fn channels_are_configured_and_taken_back() {
    let room = ChannelPattern::new("room.*").unwrap();
    let state = given(vec![create(), channel("room.*"), channel("room.*")]);
    assert_eq!(state.channels[&room].created_at, Timestamp::from_micros(2));
    assert_eq!(state.channels[&room].updated_at, Timestamp::from_micros(3));
    let delete = ProjectCommand::DeleteChannel { channel: room.clone() };
    let state = step(state, &delete);
    assert_eq!(refused(&state, &delete), Reason::ChannelNotFound(room));
    let state = (0..1_000).fold(state, |state, n| step(state, &channel(&format!("c{n}"))));
    let limit = Reason::TooMany { what: "channels".into(), limit: 1_000 };
    assert_eq!(refused(&state, &channel("one-more")), limit);
    let _ = step(state, &channel("c0"));
}

#[test]
fn the_state_survives_its_json() {
    let configure = ProjectCommand::ConfigureCollection {
        collection: CollectionName::new("posts").unwrap(),
        config: serde_json::from_str(
            r#"{"rules":{"read":"true"},"indexes":[{"fields":[{"field":"a"}]}]}"#,
        )
        .unwrap(),
    };
    let state = given(vec![create(), key("k1"), configure, channel("a.*")]);
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<ProjectState>(&json).unwrap(), state);
}
