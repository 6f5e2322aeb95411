//! Kafka that wants TLS and a password, as an operator sets it up: by a file of client settings.

use std::sync::Arc;

use harness::{ADMIN_KEY, Client, Project, Socket};
use serde_json::json;
use tokio::task::block_in_place;

use crate::nodes::cluster::Cluster;
use crate::nodes::engines::{Engine, Kind};
use crate::outages::told;
use crate::scenarios::{TURN, are_wanted};

/// A password that the brokers don't know, and that nobody may find in a log.
const WRONG: &str = "wrong-0123456789";

fn properties(password: &str, authority: &str) -> String {
    format!(
        "# As in docs/CLUSTER.md.\n\
         security.protocol=SASL_SSL\n\
         sasl.mechanisms = SCRAM-SHA-256\n\
         sasl.username=headwater\n\
         sasl.password={password}\n\
         ssl.ca.location={authority}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_by_tls_and_sasl() {
    if !are_wanted() {
        return;
    }
    let _turn = TURN.lock().await;
    let engines =
        block_in_place(|| (Engine::own(Kind::SecureBroker), Engine::shared(Kind::Cassandra)));
    let log = Arc::clone(&engines.0);
    let folder = tempfile::TempDir::with_prefix("headwater-secured-").expect("a folder");
    let file = folder.path().join("kafka.properties");
    let set = |password: &str| {
        let authority = log.file("tls/ca.pem").display().to_string();
        std::fs::write(&file, properties(password, &authority)).expect("a file can be written");
    };
    let password = std::fs::read_to_string(log.file("password")).expect("a password");
    let password = password.trim();
    set(password);
    let topic = format!("secured_{}", std::process::id());
    let settings = [
        ("HEADWATER__LOG__URL", format!("kafka://{}/{topic}", log.secure_addresses())),
        ("HEADWATER__KAFKA__PROPERTIES_FILE", file.display().to_string()),
    ];
    let mut cluster = Cluster::prepare("secured", 2, engines, &settings, None).await;
    let url = |cluster: &Cluster, node: usize| cluster.nodes[node].url().to_owned();
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.ready().await;
    let admin = Client::new(&url(&cluster, 0), ADMIN_KEY);
    let project = Project::create(&admin, "p").await;
    let elsewhere = project.at(&url(&cluster, 1));
    let mut socket = Socket::connect(&elsewhere).await;
    socket.subscribe("s", &json!({"collection": "c"}), None).await;
    socket.snapshot().await;
    for n in 0..20 {
        let on = if n % 2 == 0 { &project } else { &elsewhere };
        on.write("c", &format!("d{n:02}"), &json!({"n": n})).await;
    }
    let changes = socket.changes(20).await;
    for (n, change) in changes.iter().enumerate() {
        assert_eq!(change["document"]["data"], json!({"n": n}));
        let id = format!("d{n:02}");
        assert_eq!(elsewhere.get("c", &id).expect(200).await["data"], json!({"n": n}));
    }
    drop(socket);

    // The other node goes on while one is shut out.
    assert!(cluster.nodes[1].stop().await.success());
    set(WRONG);
    cluster.nodes[1].start();
    let shut_out = Client::new(&url(&cluster, 1), ADMIN_KEY);
    let says_why = |reasons: &str| reasons.contains("authentication failed");
    told(&shut_out, "the password is wrong", says_why).await;
    let printed = cluster.printed(1).to_lowercase();
    assert!(printed.contains("authentication failed"), "its log does not say why");
    shut_out.get("/v1/projects").refused(503, "unavailable").await;
    project.write("c", "more", &json!({})).await;
    set(password);
    assert!(cluster.nodes[1].stop().await.success());
    cluster.nodes[1].start();
    cluster.ready().await;
    elsewhere.get("c", "more").expect(200).await;
    for node in [0, 1] {
        let printed = cluster.printed(node);
        for secret in [WRONG, password] {
            assert!(!printed.contains(secret), "node {node} prints the password");
        }
    }
}
