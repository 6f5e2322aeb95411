//! Keyspaces that are not ready, made ready twice, or too new.

use std::time::Instant;

use super::*;

fn reason(outcome: Result<impl Sized, Error>) -> String {
    match outcome.err() {
        Some(Error::Setup { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_keyspace_is_migrated_once() {
    let keyspace = Keyspace::new("migrated");
    let options = &keyspace.options;
    let refused = reason(Store::connect(options.clone()).await);
    assert!(refused.contains("run `headwater migrate`"), "{refused}");

    let first = migrate(options).await.unwrap();
    assert_eq!((first.from, first.to), (0, schema::VERSION));
    assert_eq!(first.applied.len(), schema::MIGRATIONS.len());
    assert_eq!(first.tables, ["mixed_v0", "bare_v0", "alike_v0"]);
    let again = migrate(options).await.unwrap();
    assert_eq!((again.from, again.to), (schema::VERSION, schema::VERSION));
    assert!(again.applied.is_empty() && again.tables.is_empty(), "{again:?}");
    Store::connect(options.clone()).await.unwrap();

    let session = keyspace.session().await;
    let set_version = async |version: i32| {
        let text = format!(
            "INSERT INTO {}.schema_migrations (scope, version, name) VALUES (?, ?, 'later')",
            options.keyspace
        );
        session.query_unpaged(text, (schema::SCOPE, version)).await.unwrap();
    };
    set_version(schema::VERSION + 98).await;
    let versions = [schema::VERSION + 98, schema::VERSION].map(|version| version.to_string());
    for refused in [reason(migrate(options).await), reason(Store::connect(options.clone()).await)] {
        assert!(versions.iter().all(|version| refused.contains(version)), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_at_once_wait_for_each_other() {
    let keyspace = Keyspace::new("at_once");
    let options = &keyspace.options;
    let all = futures_util::future::join_all((0..3).map(|_| migrate(options))).await;
    let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    for table in ["mixed_v0", "bare_v0", "alike_v0"] {
        let makers = all.iter().filter(|one| one.tables.iter().any(|made| made == table));
        assert_eq!(makers.count(), 1, "{all:?}");
    }
    assert_eq!(all.iter().filter(|one| !one.applied.is_empty()).count(), 1, "{all:?}");
    Store::connect(options.clone()).await.unwrap();
}

#[tokio::test]
async fn what_can_not_work_is_refused_with_a_reason() {
    let keyspace = Keyspace::new("refused");
    let bad = Options { replication_factor: 99, ..keyspace.options.clone() };
    let refused = reason(migrate(&bad).await);
    assert!(refused.contains("99 copies"), "{refused}");
    let bad = Options { data_center: Some("nowhere".to_owned()), ..keyspace.options.clone() };
    for refused in [reason(migrate(&bad).await), reason(Store::connect(bad.clone()).await)] {
        assert!(refused.contains("no data centre nowhere"), "{refused}");
    }
    let tls = Some(Tls { ca_file: "/nowhere/ca.pem".into() });
    let bad = Options { tls, ..keyspace.options.clone() };
    let refused = reason(migrate(&bad).await);
    assert!(refused.contains("/nowhere/ca.pem"), "{refused}");
    let bad = Options { keyspace: "No Name".to_owned(), ..keyspace.options.clone() };
    let refused = reason(migrate(&bad).await);
    assert!(refused.contains("No Name"), "{refused}");
    let twice = [TABLES[0], Declared { consumer: "twice", ..TABLES[0] }];
    let bad = Options { tables: twice.to_vec(), ..keyspace.options.clone() };
    assert!(matches!(Store::connect(bad).await.err(), Some(Error::Invalid { .. })));
}

#[tokio::test]
async fn a_database_out_of_reach_is_unavailable_at_once() {
    // Nothing listens there.
    let nodes = vec!["127.0.0.1:1".to_owned()];
    let options = Options { nodes, ..Keyspace::new("nowhere").options };
    let begun = Instant::now();
    let refused = Store::connect(options).await.err();
    assert!(matches!(refused, Some(Error::Unavailable { .. })), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}
