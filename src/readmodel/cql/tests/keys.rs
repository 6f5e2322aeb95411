//! The keys of subjects: the vault's suite, with two nodes; what lies in the table; a new key of
//! the server.

use std::collections::HashMap;

use domain::ProjectId;
use vault::conformance::{self, Engine};
use vault::{Error, ServerKey, ServerKeys, SubjectKeys};

use super::*;

fn acme() -> ProjectId {
    ProjectId::new("acme").unwrap()
}

fn server_keys() -> ServerKeys {
    ServerKeys::new(ServerKey::generate().unwrap())
}

/// A keyspace without consumers.
fn keyspace(test: &str) -> Keyspace {
    let mut keyspace = Keyspace::new(test);
    keyspace.options.tables = Vec::new();
    keyspace
}

/// Every row: project, subject, wrapped key.
async fn rows(keyspace: &Keyspace) -> Vec<(String, String, String)> {
    let name = &keyspace.options.keyspace;
    let text = format!("SELECT project, subject, wrapped FROM {name}.subject_keys");
    let answer = keyspace.session().await.query_unpaged(text, ()).await.unwrap();
    let answer = answer.into_rows_result().unwrap();
    answer.rows().unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_conform() {
    let server_keys = server_keys();
    let keyspaces = tokio::sync::Mutex::new(HashMap::new());
    conformance::run(Engine { durable: true, shared: true }, async |name| {
        let mut keyspaces = keyspaces.lock().await;
        let count = keyspaces.len();
        let keyspace = keyspaces.entry(name).or_insert_with(|| keyspace(&format!("keys{count}")));
        let store = keyspace.connect().await;
        Arc::new(store.subject_keys(server_keys.clone()).await.unwrap()) as Arc<dyn SubjectKeys>
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_names_nobody_and_forgets_who_was_destroyed() {
    let keyspace = keyspace("keys_table");
    let (store, server_keys) = (keyspace.connect().await, server_keys());
    // Several that start at once on an empty table end with the same names.
    let opened = (0..4).map(|_| store.subject_keys(server_keys.clone()));
    let opened = futures_util::future::join_all(opened).await;
    let nodes: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    for node in &nodes {
        node.get_or_create(&acme(), "ann").await.unwrap();
    }
    let before = rows(&keyspace).await;
    assert_eq!(before.len(), 2, "a row for the names and one for ann: {before:?}");
    assert!(!format!("{before:?}").contains("ann"));
    let (_, subject, wrapped) = before.iter().find(|row| row.0 == "acme").unwrap();
    assert_eq!((subject.len(), wrapped.len()), (27, 86));

    assert!(nodes[1].destroy(&acme(), "ann").await.unwrap());
    let after = rows(&keyspace).await;
    let expected = ("acme".to_owned(), subject.clone(), "destroyed".to_owned());
    assert!(after.contains(&expected) && after.len() == 2, "{after:?}");

    crate::Store::close(&store).await.unwrap();
    assert!(matches!(nodes[0].get(&acme(), "ann").await, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_outlive_the_server_key_they_were_made_under() {
    let keyspace = keyspace("keys_rewrap");
    let (store, old) = (keyspace.connect().await, server_keys());
    let keys = store.subject_keys(old.clone()).await.unwrap();
    let ann = keys.get_or_create(&acme(), "ann").await.unwrap();
    keys.get_or_create(&acme(), "bob").await.unwrap();
    keys.destroy(&acme(), "bob").await.unwrap();
    let new = ServerKey::generate().unwrap();
    let only_new = || store.subject_keys(ServerKeys::new(new.clone()));
    assert!(matches!(only_new().await.err(), Some(Error::UnknownServerKey { .. })));

    let both = ServerKeys { current: new.clone(), earlier: vec![old.current.clone()] };
    let keys = store.subject_keys(both).await.unwrap();
    let eve = keys.get_or_create(&acme(), "eve").await.unwrap();
    assert_eq!(keys.rewrap().await.unwrap(), 1);
    assert_eq!(keys.rewrap().await.unwrap(), 0);
    let keys = only_new().await.unwrap();
    assert_eq!(keys.get(&acme(), "ann").await.unwrap(), Some(ann));
    assert_eq!(keys.get(&acme(), "eve").await.unwrap(), Some(eve));
    let refused = keys.get_or_create(&acme(), "bob").await;
    assert!(matches!(refused, Err(Error::Destroyed)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoilt_row_is_nobodys_fault_and_can_be_destroyed() {
    let keyspace = keyspace("keys_spoilt");
    let keys = keyspace.connect().await.subject_keys(server_keys()).await.unwrap();
    keys.get_or_create(&acme(), "ann").await.unwrap();
    let subject = rows(&keyspace).await.into_iter().find(|row| row.0 == "acme").unwrap().1;
    let text = format!(
        "UPDATE {}.subject_keys SET wrapped = 'AAAA' WHERE project = 'acme' AND subject = ?",
        keyspace.options.keyspace
    );
    keyspace.session().await.query_unpaged(text, (subject,)).await.unwrap();
    for refused in
        [keys.get(&acme(), "ann").await.err(), keys.get_or_create(&acme(), "ann").await.err()]
    {
        assert!(matches!(refused, Some(Error::Corrupt { .. })), "{refused:?}");
    }
    assert!(keys.destroy(&acme(), "ann").await.unwrap());
    assert_eq!(keys.get(&acme(), "ann").await.unwrap(), None);
}
