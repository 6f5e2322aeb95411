//! What clients and subscribers share: where the nodes are, the projects, the history, and when it
//! is time to end.

use std::collections::HashMap;
use std::time::Duration;

use harness::{Client, Project};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Plan;
use crate::history::History;

/// The longest that the nodes may take to know a new project.
const PROJECT_KNOWN_MAX: Duration = Duration::from_secs(60);
/// Writes that must pass in a row before the work begins, and tries until they do.
const SETTLED: usize = 8;
const SETTLE_TRIES: usize = 150;
/// Names tried until every partition has a project.
const NAMES_MAX: usize = 256;

/// The last offset of each project's collections, once nobody writes any more.
pub(super) type Ends = HashMap<(usize, &'static str), u64>;

/// A project and where it lies.
pub(super) struct Tenant {
    pub(super) project: Project,
    pub(super) partition: u32,
}

impl Tenant {
    /// The text of a position.
    pub(super) fn position(&self, offset: u64) -> String {
        format!("{}-{offset}", self.partition)
    }
}

/// Shared by everybody.
pub(super) struct World {
    /// Base URLs.
    pub(super) nodes: Vec<String>,
    pub(super) tenants: Vec<Tenant>,
    pub(super) history: History,
    pub(super) is_working: watch::Sender<bool>,
    pub(super) ends: watch::Sender<Option<Ends>>,
}

/// Waits until writes go through one after the other: tables of several nodes that have just
/// started may refuse some.
async fn settled(admin: &Client) {
    let mut in_a_row = 0;
    for number in 0..SETTLE_TRIES {
        let id = format!("settle-{number}");
        let body = json!({"id": id, "name": id});
        match admin.post("/v1/projects", &body).send().await.status {
            201 => in_a_row += 1,
            503 => {
                in_a_row = 0;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => panic!("a new project was answered with {other}"),
        }
        if in_a_row == SETTLED {
            return;
        }
    }
    panic!("the nodes do not settle");
}

impl World {
    /// Makes one project in each partition, and waits until every node knows it.
    pub(super) async fn new(plan: &Plan, nodes: &[String], admin_key: &str) -> Self {
        let admin = Client::limited(&nodes[0], admin_key, plan.request_max);
        let mut tenants: Vec<Tenant> = Vec::new();
        settled(&admin).await;
        for number in 0..NAMES_MAX {
            let id = format!("p{number}");
            let body = json!({"id": id, "name": id});
            let made = admin.post("/v1/projects", &body).send().await;
            made.expect(201);
            let (partition, _) = offset_of(&made.position()).expect("a position");
            if tenants.iter().any(|tenant| tenant.partition == partition) {
                continue;
            }
            let key = Project::key_of(&admin, &id, "secret").await;
            let client = admin.with_token(&key);
            tenants.push(Tenant { project: Project { id, client }, partition });
            if tenants.len() == plan.partitions as usize {
                break;
            }
        }
        assert_eq!(tenants.len(), plan.partitions as usize, "some partition has no project");
        let nodes = nodes.to_vec();
        let (history, ends) = (History::new(), watch::Sender::default());
        let world = Self { nodes, tenants, history, is_working: watch::Sender::new(true), ends };
        world.everybody_knows().await;
        world
    }

    async fn everybody_knows(&self) {
        let deadline = Instant::now() + PROJECT_KNOWN_MAX;
        for tenant in &self.tenants {
            for node in &self.nodes {
                let project = tenant.project.at(node);
                let path = project.path("/events?limit=1");
                loop {
                    let told = match project.client.get(&path).try_send().await {
                        Ok(answer) if answer.is_ok() => break,
                        Ok(answer) => answer.text(),
                        Err(error) => error.to_string(),
                    };
                    assert!(Instant::now() < deadline, "{node} does not know {path}: {told}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    pub(super) fn is_working(&self) -> bool {
        *self.is_working.borrow()
    }
}

/// Partition and offset of a position.
pub(super) fn offset_of(position: &str) -> Option<(u32, u64)> {
    let (partition, offset) = position.split_once('-')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}
