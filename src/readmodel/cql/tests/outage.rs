//! A database that goes away while it is in use, and comes back: everything says so meanwhile, and
//! goes on by itself after.

use std::time::Instant;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::*;
use crate::conformance::{MIXED, batch, key, mixed, put, space_id};

/// Stands between store and database, and can be cut.
struct Wire {
    address: String,
    open: watch::Sender<bool>,
}

impl Wire {
    async fn new() -> Self {
        // Clients go to the address that the database gives as its own, by the port they came to.
        let node = node();
        let (host, _) = node.rsplit_once(':').unwrap();
        let listener = TcpListener::bind((host, 0)).await;
        let listener = listener.expect("the database must run on this machine");
        let address = listener.local_addr().unwrap().to_string();
        let (open, mut state) = watch::channel(true);
        tokio::spawn(async move {
            let mut pairs = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((mut near, _)) = accepted else { return };
                        if *state.borrow() {
                            pairs.spawn(async move {
                                let mut far = TcpStream::connect(self::node()).await.unwrap();
                                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                            });
                        }
                    }
                    changed = state.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        pairs.abort_all();
                    }
                }
            }
        });
        Self { address, open }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_is_unavailable_until_it_is_back() {
    let keyspace = Keyspace::new("outage");
    keyspace.connect().await;
    let wire = Wire::new().await;
    let options = Options {
        nodes: vec![wire.address.clone()],
        request_timeout: Duration::from_secs(1),
        retries_max: 2,
        ..keyspace.options.clone()
    };
    let store = Store::connect(options).await.unwrap();
    let nodes = store.shared.client.session.get_cluster_state().get_nodes_info().len();
    assert_eq!(nodes, 1, "one wire cuts off one node: run this against a database of one");
    let space = store.open(&space_id(1)).await.unwrap();
    let row = |n| mixed("a", n, "x", n);
    space.commit(batch(vec![put(row(0))], 1)).await.unwrap();

    for round in 1..3_u8 {
        let n = i64::from(round);
        wire.open.send(false).unwrap();
        let begun = Instant::now();
        let lost = space.commit(batch(vec![put(row(n))], u64::from(round) + 1)).await;
        assert!(matches!(lost, Err(Error::Unavailable { .. })), "{lost:?}");
        let lost = space.get(&MIXED, &key(&row(0))).await;
        assert!(matches!(lost, Err(Error::Unavailable { .. })), "{lost:?}");
        let lost = space.view().await.err();
        assert!(matches!(lost, Some(Error::Unavailable { .. })), "{lost:?}");
        let lost = store.list("things").await;
        assert!(matches!(lost, Err(Error::Unavailable { .. })), "{lost:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());

        wire.open.send(true).unwrap();
        eventually("a commit", async || {
            space.commit(batch(vec![put(row(n))], u64::from(round) + 1)).await.is_ok()
        })
        .await;
        assert_eq!(space.checkpoint().await.unwrap(), u64::from(round) + 1);
        assert_eq!(space.get(&MIXED, &key(&row(n))).await.unwrap(), Some(row(n)));
    }
}
