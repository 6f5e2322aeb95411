//! Several nodes on one Kafka and one Cassandra. Each cluster has a topic, a consumer group and a
//! keyspace of its own, so that clusters can follow each other on the same engines.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use harness::{ADMIN_KEY, Client, root};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::engines::Engine;
use super::network::Namespace;
use super::process::{Launch, Node, free_ports};

/// Wraps the keys of persons; the same on every node.
const SERVER_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// The longest wait for a partition's owner to be known.
const OWNER_MAX: Duration = Duration::from_secs(60);
/// The longest that a command of the binary may take.
const COMMAND_MAX: Duration = Duration::from_secs(240);

/// Nodes, and what they stand on.
pub(crate) struct Cluster {
    // Before the engines: fields are dropped in this order.
    pub(crate) nodes: Vec<Node>,
    pub(crate) log: Arc<Engine>,
    pub(crate) tables: Arc<Engine>,
    /// Of its own: settings, and what the nodes print.
    pub(crate) folder: PathBuf,
    env: Vec<(String, String)>,
}

impl Cluster {
    /// Makes the tables and starts the nodes, all of them at once. The last node lives in
    /// `namespace`, if there is one.
    pub(crate) async fn start(
        name: &str,
        count: usize,
        engines: (Arc<Engine>, Arc<Engine>),
        namespace: Option<&mut Namespace>,
    ) -> Self {
        let mut cluster = Self::prepare(name, count, engines, &[], namespace).await;
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.ready().await;
        cluster
    }

    /// Like `start`, with further settings for the nodes, which don't run yet.
    pub(crate) async fn prepare(
        name: &str,
        count: usize,
        (log, tables): (Arc<Engine>, Arc<Engine>),
        settings: &[(&str, String)],
        namespace: Option<&mut Namespace>,
    ) -> Self {
        // A scenario before this one may have failed half-way.
        tokio::task::block_in_place(|| {
            log.start();
            tables.start();
        });
        let folder = root().join(format!("target/cluster-nodes/{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        std::fs::write(config(&folder), "").expect("a file can be written");
        let ports = free_ports(count);
        let (brokers, tables_at) = (log.addresses(), tables.addresses());
        let mut env = environment(name, (&log, &brokers), (&tables, &tables_at));
        env.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let launch = |(number, port)| launch(number, port, &folder, &env);
        let mut launches: Vec<_> = ports.iter().copied().enumerate().map(launch).collect();
        if let (Some(namespace), Some((own, others))) = (namespace, ports.split_last()) {
            let others = others.iter().map(|port| format!("127.0.0.1:{port}"));
            let engines = brokers.split(',').chain(tables_at.split(',')).map(str::to_owned);
            namespace.connect(*own, &engines.chain(others).collect::<Vec<_>>()).await;
            let last = launches.last_mut().expect("there is a node");
            last.wrapper = namespace.wrapper();
        }
        let nodes = launches.into_iter().map(Node::new).collect();
        let cluster = Self { nodes, log, tables, folder, env };
        let output = cluster.run(&["migrate"], &[]).await;
        let told = harness::server::printed(&output);
        assert!(output.status.success(), "headwater migrate: {}\n{told}", output.status);
        cluster
    }

    /// Waits until every node serves.
    pub(crate) async fn ready(&mut self) {
        for node in &mut self.nodes {
            node.ready().await;
        }
    }

    /// Runs a command of the binary to its end, with the nodes' settings and `settings`.
    pub(crate) async fn run(&self, args: &[&str], settings: &[(&str, &str)]) -> Output {
        let mut command = Command::new(harness::binary::path());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("HEADWATER") || name == "RUST_LOG" {
                command.env_remove(&*name);
            }
        }
        command.args(args).arg("--config").arg(config(&self.folder)).kill_on_drop(true);
        command.envs(self.env.iter().cloned()).envs(settings.iter().copied());
        let output = timeout(COMMAND_MAX, command.stdin(Stdio::null()).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} takes over {COMMAND_MAX:?}"));
        output.expect("the binary can be started")
    }

    /// What a node has printed until now.
    pub(crate) fn printed(&self, node: usize) -> String {
        let text = std::fs::read(printed_to(&self.folder, node)).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The topic, keyspace and group, which have one name.
    pub(crate) fn name(&self) -> &str {
        let group = self.env.iter().find(|(name, _)| name == "HEADWATER__KAFKA__GROUP");
        group.map_or("", |(_, value)| value)
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url().to_owned()).collect()
    }

    /// The node that owns a partition, as the others see it.
    pub(crate) async fn owner(&self, partition: u32) -> usize {
        let deadline = Instant::now() + OWNER_MAX;
        loop {
            for node in &self.nodes {
                let owner = owner(node.url(), partition).await;
                let is_owner = |node: &Node| Some(node.url()) == owner.as_deref();
                if let Some(number) = self.nodes.iter().position(is_owner) {
                    return number;
                }
            }
            assert!(Instant::now() < deadline, "partition {partition} has no owner");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Whom a node takes for the owner of a partition.
async fn owner(url: &str, partition: u32) -> Option<String> {
    let client = Client::limited(url, ADMIN_KEY, Duration::from_secs(5));
    let answer = client.get("/v1/admin/cluster").try_send().await.ok()?;
    if !answer.is_ok() {
        return None;
    }
    let told = answer.json();
    let mut partitions = told["partitions"].as_array()?.iter();
    let its = partitions.find(|one| one["partition"] == partition)?;
    its["owner"].as_str().map(|owner| owner.trim_end_matches('/').to_owned())
}

fn config(folder: &Path) -> PathBuf {
    folder.join("headwater.toml")
}

fn printed_to(folder: &Path, node: usize) -> PathBuf {
    folder.join(format!("node-{node}.log"))
}

fn environment(
    name: &str,
    (log, brokers): (&Engine, &str),
    (tables, tables_at): (&Engine, &str),
) -> Vec<(String, String)> {
    let own = format!("{name}_{}", std::process::id());
    let copies = log.kind.node_count();
    let pairs = [
        ("HEADWATER_ADMIN_KEY", ADMIN_KEY.to_owned()),
        ("HEADWATER_SERVER_KEY", SERVER_KEY.to_owned()),
        ("HEADWATER__LOG__URL", format!("kafka://{brokers}/{own}")),
        ("HEADWATER__READMODEL__URL", format!("scylla://{tables_at}/{own}")),
        ("HEADWATER__KAFKA__GROUP", own),
        ("HEADWATER__KAFKA__REPLICATION", copies.to_string()),
        ("HEADWATER__KAFKA__MIN_INSYNC", (copies - copies / 2).to_string()),
        ("HEADWATER__CQL__REPLICATION", tables.kind.node_count().to_string()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn launch(number: usize, port: u16, folder: &Path, env: &[(String, String)]) -> Launch {
    let address = format!("127.0.0.1:{port}");
    let url = format!("http://{address}");
    let mut env = env.to_vec();
    env.push(("HEADWATER__CLUSTER__ADVERTISE".to_owned(), url.clone()));
    let config = config(folder).into();
    let args: [OsString; 5] =
        ["serve".into(), "--config".into(), config, "--listen".into(), address.into()];
    Launch {
        name: format!("node {number}"),
        wrapper: Vec::new(),
        args: args.to_vec(),
        env,
        url,
        log: printed_to(folder, number),
    }
}
