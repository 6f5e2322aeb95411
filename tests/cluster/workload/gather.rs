//! What the nodes say when all is quiet: their logs and their lists, read as a stranger would.

use std::time::Duration;

use harness::Project;
use tokio::time::Instant;

use super::COLLECTIONS;
use super::requests::shown;
use super::world::{Tenant, World};
use crate::checker::finals::Final;
use crate::checker::log::Log;
use crate::history::Shown;

/// A log that stays the same for so long has come to rest: nothing sent earlier is still under way.
const REST: Duration = Duration::from_secs(2);
/// The longest wait for that.
const REST_MAX: Duration = Duration::from_secs(60);

/// Waits until nothing is written any more.
pub(super) async fn rest(world: &World) {
    let deadline = Instant::now() + REST_MAX;
    loop {
        let before = ends(world).await;
        tokio::time::sleep(REST).await;
        if before == ends(world).await {
            return;
        }
        assert!(Instant::now() < deadline, "something is still written: {before:?}");
    }
}

/// The end of each project's log as each node sees it.
async fn ends(world: &World) -> Vec<String> {
    let mut ends = Vec::new();
    for tenant in &world.tenants {
        for node in &world.nodes {
            let project = tenant.project.at(node);
            let path = project.path("/events?limit=1");
            let page = project.client.get(&path).expect(200).await;
            ends.push(page["end"].as_str().unwrap_or_default().to_owned());
        }
    }
    ends
}

/// Everything that every node says of every project.
pub(super) async fn finals(world: &World) -> Result<Vec<Final>, String> {
    let mut finals = Vec::new();
    for (tenant, Tenant { project, .. }) in world.tenants.iter().enumerate() {
        for node in &world.nodes {
            let project = project.at(node);
            let (events, _) = project.events("").await;
            let log = Log::of(tenant, &events)?;
            let mut lists = Vec::new();
            for collection in COLLECTIONS {
                lists.push((collection, list(&project, collection).await?));
            }
            finals.push(Final { node: node.clone(), tenant, log, lists });
        }
    }
    Ok(finals)
}

async fn list(project: &Project, collection: &str) -> Result<Vec<Shown>, String> {
    let documents = project.list(collection, "limit=500").await;
    let shown = documents.iter().map(|document| {
        shown(document).ok_or_else(|| format!("not a document as promised: {document}"))
    });
    shown.collect()
}
