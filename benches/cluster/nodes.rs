//! Nodes of the real binary, one or several, and the projects that clients write to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use benches::collection;
use benches::http::{ask, request};
use benches::process::{ADMIN_KEY, Process, free_address, guarded};
use domain::{PartitionId, ProjectId, partition_of};
use serde_json::Value;

use super::rig::Rig;

/// The longest that nodes may take to serve, or to agree on who owns what.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// How often they are asked.
const PACE: Duration = Duration::from_millis(20);
/// Lines of a node's output that are shown when it fails.
const SHOWN: usize = 5;

/// One project for each partition, in the order of the partitions.
pub(crate) fn project_ids(partitions: u32) -> Vec<ProjectId> {
    let of = |partition: PartitionId| {
        let names = (0..).filter_map(|number| ProjectId::new(&format!("bench-{number}")).ok());
        let mut its = names.filter(|id| partition_of(id, partitions) == partition);
        its.next().expect("names do not run out")
    };
    (0..partitions).map(PartitionId).map(of).collect()
}

/// A project and its secret key.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    id: ProjectId,
    pub(crate) key: String,
}

impl Project {
    /// Where its documents are.
    pub(crate) fn documents(&self) -> String {
        format!("/v1/projects/{}/collections/{}/documents", self.id, collection())
    }
}

/// How nodes are started.
pub(crate) struct Setup {
    binary: PathBuf,
    folder: PathBuf,
    env: Vec<(String, String)>,
    partitions: u32,
    /// Whether there is a cluster, of which nodes own parts.
    shared: bool,
}

impl Setup {
    /// For one node on the embedded engines.
    pub(crate) fn embedded(rig: &Rig, partitions: u32) -> Result<Self> {
        Self::new(rig, "embedded", Vec::new(), partitions)
    }

    /// For nodes that share a topic and a keyspace of this name. Makes the keyspace.
    pub(crate) async fn shared(rig: &mut Rig, name: &str, partitions: u32) -> Result<Self> {
        let env = rig.engines().await?.environment(name);
        let setup = Self { shared: true, ..Self::new(rig, name, env, partitions)? };
        setup.run(&["migrate"])?;
        Ok(setup)
    }

    fn new(rig: &Rig, name: &str, mut env: Vec<(String, String)>, partitions: u32) -> Result<Self> {
        let folder = rig.folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        env.push(("HEADWATER_ADMIN_KEY".to_owned(), ADMIN_KEY.to_owned()));
        env.push(("HEADWATER_SERVER_KEY".to_owned(), "0123456789abcdef".repeat(4)));
        env.push(("HEADWATER__LOG__PARTITIONS".to_owned(), partitions.to_string()));
        Ok(Self { binary: rig.binary.clone(), folder, env, partitions, shared: false })
    }

    /// Runs a command of the binary to its end; what it printed.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = guarded(&self.binary, args, &self.env);
        let output = command.current_dir(&self.folder).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "headwater {args:?}: {}: {text}{error}", output.status);
        Ok(text)
    }

    /// Starts nodes, and waits until they serve and share the partitions out among them.
    pub(crate) async fn start(self, count: usize) -> Result<Nodes> {
        let mut nodes = Nodes { setup: self, nodes: Vec::new() };
        for number in 0..count {
            let log = nodes.setup.folder.join(format!("node-{number}.log"));
            nodes.nodes.push(Node { address: free_address()?, log, process: None });
        }
        for number in 0..count {
            nodes.launch(number)?;
        }
        nodes.settled().await?;
        Ok(nodes)
    }
}

/// Nodes that run with one setup.
pub(crate) struct Nodes {
    pub(crate) setup: Setup,
    nodes: Vec<Node>,
}

struct Node {
    address: SocketAddr,
    log: PathBuf,
    process: Option<Process>,
}

impl Nodes {
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// Starts a node that does not run, without waiting for anything.
    pub(crate) fn launch(&mut self, number: usize) -> Result<()> {
        let Setup { binary, folder, env, shared, .. } = &self.setup;
        let node = &mut self.nodes[number];
        let (listen, data) = (node.address.to_string(), folder.join("data"));
        let mut args = vec!["serve", "--listen", &listen];
        if !shared {
            // It would win over the addresses of log and tables.
            args.extend(["--data", data.to_str().context("a temporary path is UTF-8")?]);
        }
        node.process = Some(Process::start(guarded(binary, &args, env), Some(&node.log))?);
        Ok(())
    }

    /// The process of a node that runs, to be ended by whoever takes it.
    pub(crate) fn take(&mut self, number: usize) -> Result<Process> {
        self.nodes[number].process.take().context("the node does not run")
    }

    /// Waits until every node is ready, all of them know the same owners, and each owns what is
    /// its share.
    pub(crate) async fn settled(&mut self) -> Result<()> {
        let until = Instant::now() + WAIT_MAX;
        while !self.is_settled().await {
            for node in &mut self.nodes {
                let Some(process) = &mut node.process else { bail!("a node does not run") };
                ensure!(!process.has_ended()?, "a node has ended:\n{}", last_lines(&node.log));
            }
            if Instant::now() > until {
                let logs: Vec<_> = self.nodes.iter().map(|node| last_lines(&node.log)).collect();
                bail!("the nodes do not settle:\n{}", logs.join("\n--\n"));
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    }

    async fn is_settled(&self) -> bool {
        let mut views = Vec::new();
        for node in &self.nodes {
            let ready = ask(node.address, &request("GET", "/readyz", "", "")).await;
            if !ready.is_ok_and(|(status, _)| status == 200) {
                return false;
            }
            let Ok(owners) = owners(node.address).await else { return false };
            views.push(owners);
        }
        let Some(first) = views.first() else { return false };
        if !self.setup.shared {
            return true;
        }
        let distinct: BTreeSet<_> = first.iter().flatten().collect();
        let shares = self.nodes.len().min(self.setup.partitions as usize);
        first.iter().all(Option::is_some)
            && distinct.len() == shares
            && views.iter().all(|view| view == first)
    }

    /// The node that owns a partition, as another one sees it.
    pub(crate) async fn owner(&self, partition: usize, asked: usize) -> Result<Option<usize>> {
        let owners = owners(self.nodes[asked].address).await?;
        let owner = owners.get(partition).cloned().flatten();
        let is_it = |node: &Node| Some(format!("http://{}", node.address)) == owner;
        Ok(self.nodes.iter().position(is_it))
    }

    /// Makes a project for each partition, and waits until every node knows their keys.
    pub(crate) async fn projects(&self) -> Result<Vec<Project>> {
        let address = self.nodes.first().context("no node")?.address;
        let mut projects = Vec::new();
        for id in project_ids(self.setup.partitions) {
            let body = format!("{{\"id\":\"{id}\",\"name\":\"{id}\"}}");
            post(address, "/v1/projects", &body).await?;
            let path = format!("/v1/projects/{id}/keys");
            let made = post(address, &path, "{\"kind\":\"secret\",\"name\":\"bench\"}").await?;
            let key = made["key"].as_str().context("a new key is shown once")?.to_owned();
            projects.push(Project { id, key });
        }
        let until = Instant::now() + WAIT_MAX;
        for node in &self.nodes {
            for project in &projects {
                let list = request("GET", &project.documents(), &project.key, "");
                while !ask(node.address, &list).await.is_ok_and(|(status, _)| status == 200) {
                    ensure!(Instant::now() < until, "{} does not know a key", node.address);
                    tokio::time::sleep(PACE).await;
                }
            }
        }
        Ok(projects)
    }

    /// SIGTERM to all of them; they must end well.
    pub(crate) fn stop(self) -> Result<Setup> {
        let running: Vec<_> = self.nodes.into_iter().filter_map(|node| node.process).collect();
        running.iter().try_for_each(Process::terminate)?;
        running.into_iter().try_for_each(Process::wait)?;
        Ok(self.setup)
    }
}

/// Who owns each partition, as a node sees it.
async fn owners(address: SocketAddr) -> Result<Vec<Option<String>>> {
    let (status, body) = ask(address, &request("GET", "/v1/admin/cluster", ADMIN_KEY, "")).await?;
    ensure!(status == 200, "GET /v1/admin/cluster: {status} {body}");
    let told: Value = serde_json::from_str(&body)?;
    let partitions = told["partitions"].as_array().context("no partitions")?;
    let owner = |one: &Value| Some(one["owner"].as_str()?.trim_end_matches('/').to_owned());
    Ok(partitions.iter().map(owner).collect())
}

async fn post(address: SocketAddr, path: &str, body: &str) -> Result<Value> {
    let (status, answer) = ask(address, &request("POST", path, ADMIN_KEY, body)).await?;
    ensure!(status == 201, "POST {path}: {status} {answer}");
    Ok(serde_json::from_str(&answer)?)
}

fn last_lines(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
