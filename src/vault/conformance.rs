//! What every store of keys must do, as one suite that each engine runs against itself.
//! Knows the trait only. Panics where a promise is broken: this is test code, kept in the library
//! so that every engine can reach it.

use std::sync::Arc;

use domain::ProjectId;

use crate::{Error, Key, SUBJECT_BYTES_MAX, SubjectKeys};

/// What an engine does by its nature. What it promises is the same for all.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// A store that was dropped and opened again has its keys.
    pub durable: bool,
    /// Several may have one store open at once.
    pub shared: bool,
}

/// Runs every check. `open` opens the store of a name, and makes it where the name is new.
pub async fn run(engine: Engine, open: impl AsyncFn(&'static str) -> Arc<dyn SubjectKeys>) {
    keys(&*open("keys").await).await;
    destroyed(&*open("destroyed").await).await;
    never_there(&*open("never-there").await).await;
    apart(&*open("apart").await).await;
    bounds(&*open("bounds").await).await;
    wiped(&*open("wiped").await).await;
    let mut nodes = vec![open("at-once").await];
    if engine.shared {
        nodes.push(open("at-once").await);
    }
    at_once(&nodes).await;
    races(&nodes).await;
    drop(nodes);
    if engine.durable {
        reopened(&open).await;
    }
}

fn acme() -> ProjectId {
    project("acme")
}

fn project(name: &str) -> ProjectId {
    ProjectId::new(name).expect("a name of ours")
}

async fn get(keys: &dyn SubjectKeys, subject: &str) -> Option<Key> {
    keys.get(&acme(), subject).await.expect("get")
}

async fn create(keys: &dyn SubjectKeys, subject: &str) -> Key {
    keys.get_or_create(&acme(), subject).await.expect("get_or_create")
}

async fn destroy(keys: &dyn SubjectKeys, subject: &str) -> bool {
    keys.destroy(&acme(), subject).await.expect("destroy")
}

async fn assert_destroyed(keys: &dyn SubjectKeys, project: &ProjectId, subject: &str) {
    assert_eq!(keys.get(project, subject).await.expect("get"), None, "{subject} is back");
    let refused = keys.get_or_create(project, subject).await;
    assert!(matches!(refused, Err(Error::Destroyed)), "{subject}: {refused:?}");
}

async fn keys(keys: &dyn SubjectKeys) {
    assert_eq!(get(keys, "ann").await, None);
    let ann = create(keys, "ann").await;
    assert_eq!(get(keys, "ann").await, Some(ann.clone()));
    assert_eq!(create(keys, "ann").await, ann);
    assert_eq!(get(keys, "bob").await, None);
    assert_ne!(create(keys, "bob").await, ann);
    assert_eq!(get(keys, "ann").await, Some(ann));
}

async fn destroyed(keys: &dyn SubjectKeys) {
    create(keys, "ann").await;
    let bob = create(keys, "bob").await;
    assert!(destroy(keys, "ann").await);
    assert_destroyed(keys, &acme(), "ann").await;
    assert!(!destroy(keys, "ann").await, "destroyed twice");
    assert_destroyed(keys, &acme(), "ann").await;
    assert_eq!(get(keys, "bob").await, Some(bob));
}

async fn never_there(keys: &dyn SubjectKeys) {
    assert!(!destroy(keys, "ann").await);
    assert_destroyed(keys, &acme(), "ann").await;
}

/// Names that look alike are different subjects.
async fn apart(keys: &dyn SubjectKeys) {
    let names = [("ab", "c"), ("a", "bc"), ("abc", "x"), ("ab", "C"), ("ab", "c "), ("ab", "ç/\0")];
    let mut made: Vec<Key> = Vec::new();
    for (name, subject) in names {
        let key = keys.get_or_create(&project(name), subject).await.expect("get_or_create");
        assert!(!made.contains(&key), "{name}, {subject}");
        made.push(key);
    }
    assert!(keys.destroy(&project("ab"), "c").await.expect("destroy"));
    for ((name, subject), key) in names.iter().zip(made).skip(1) {
        let found = keys.get(&project(name), subject).await.expect("get");
        assert_eq!(found, Some(key), "{name}, {subject}");
    }
}

async fn bounds(keys: &dyn SubjectKeys) {
    let longest = "x".repeat(SUBJECT_BYTES_MAX);
    let key = create(keys, &longest).await;
    assert_eq!(get(keys, &longest).await, Some(key));
    for bad in [String::new(), format!("{longest}x")] {
        let refused = [
            keys.get(&acme(), &bad).await.err(),
            keys.get_or_create(&acme(), &bad).await.err(),
            keys.destroy(&acme(), &bad).await.err(),
        ];
        for refused in refused {
            let fits = matches!(refused, Some(Error::NoSubject | Error::TooLarge { .. }));
            assert!(fits, "{refused:?}");
        }
    }
}

async fn wiped(keys: &dyn SubjectKeys) {
    let other = keys.get_or_create(&project("other"), "s0").await.expect("get_or_create");
    for number in 0..20 {
        create(keys, &format!("s{number}")).await;
    }
    assert!(destroy(keys, "s3").await);
    assert_eq!(keys.wipe_project(&acme()).await.expect("wipe"), 19);
    for number in 0..20 {
        assert_destroyed(keys, &acme(), &format!("s{number}")).await;
    }
    assert_eq!(keys.wipe_project(&acme()).await.expect("wipe"), 0);
    assert_eq!(keys.wipe_project(&project("nobody")).await.expect("wipe"), 0);
    assert_eq!(keys.get(&project("other"), "s0").await.expect("get"), Some(other));
    create(keys, "new").await;
}

/// All who ask at once get the same key.
async fn at_once(nodes: &[Arc<dyn SubjectKeys>]) {
    let mut tasks = Vec::new();
    for number in 0..96 {
        let keys = Arc::clone(&nodes[number % nodes.len()]);
        let subject = format!("once-{}", number / 12);
        tasks.push(tokio::spawn(async move {
            let key = create(&*keys, &subject).await;
            // What was given is what everybody finds from here on.
            assert_eq!(get(&*keys, &subject).await, Some(key.clone()));
            key
        }));
    }
    let mut distinct: Vec<Key> = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        let key = task.await.expect("a task");
        match distinct.get(number / 12) {
            Some(first) => assert_eq!(*first, key, "two keys for one subject"),
            None => distinct.push(key),
        }
    }
    for node in nodes {
        for (number, key) in distinct.iter().enumerate() {
            assert_eq!(get(&**node, &format!("once-{number}")).await.as_ref(), Some(key));
        }
    }
}

/// Whatever comes first, a subject that was destroyed stays so.
async fn races(nodes: &[Arc<dyn SubjectKeys>]) {
    for round in 0..12 {
        let subject = format!("race-{round}");
        let mut creating = Vec::new();
        for number in 0..6 {
            let (keys, subject) = (Arc::clone(&nodes[number % nodes.len()]), subject.clone());
            creating.push(tokio::spawn(async move {
                match keys.get_or_create(&acme(), &subject).await {
                    Ok(key) => Some(key),
                    Err(Error::Destroyed) => None,
                    Err(error) => panic!("{error}"),
                }
            }));
        }
        let mut destroying = Vec::new();
        for number in 0..2 {
            let (keys, subject) = (Arc::clone(&nodes[number % nodes.len()]), subject.clone());
            destroying.push(tokio::spawn(async move {
                let was_there = destroy(&*keys, &subject).await;
                assert_destroyed(&*keys, &acme(), &subject).await;
                was_there
            }));
        }
        let mut made: Vec<Key> = Vec::new();
        for task in creating {
            made.extend(task.await.expect("a task"));
        }
        assert!(made.windows(2).all(|pair| pair[0] == pair[1]), "two keys for one subject");
        let mut destroyers = 0;
        for task in destroying {
            destroyers += usize::from(task.await.expect("a task"));
        }
        assert!(destroyers <= 1, "one key was destroyed twice");
        assert_eq!(destroyers == 1, !made.is_empty(), "a key that was made was not destroyed");
        for node in nodes {
            assert_destroyed(&**node, &acme(), &subject).await;
        }
    }
}

async fn reopened(open: &impl AsyncFn(&'static str) -> Arc<dyn SubjectKeys>) {
    let store = open("reopened").await;
    let mut made = Vec::new();
    for number in 0..40 {
        made.push(create(&*store, &number.to_string()).await);
    }
    for number in (0..40).step_by(3) {
        assert!(destroy(&*store, &number.to_string()).await);
    }
    assert!(!destroy(&*store, "never").await);
    drop(store);
    for _ in 0..2 {
        let store = open("reopened").await;
        for (number, key) in made.iter().enumerate() {
            match number % 3 {
                0 => assert_destroyed(&*store, &acme(), &number.to_string()).await,
                _ => assert_eq!(get(&*store, &number.to_string()).await.as_ref(), Some(key)),
            }
        }
        assert_destroyed(&*store, &acme(), "never").await;
        let more = create(&*store, "more").await;
        assert_eq!(create(&*store, "more").await, more);
    }
}
