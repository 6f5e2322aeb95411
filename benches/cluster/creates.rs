//! Durable creates through REST: on the embedded engines, on a cluster of one node, and on more.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use benches::document;
use benches::http::{Connection, request};
use benches::load::{Caller, Figures, Span, closed_loop, millis};

use super::nodes::{Nodes, Project, Setup};
use super::rig::Rig;
use super::table::{Table, ratio};

/// Connections of a measurement.
pub(crate) const CONNECTIONS: usize = 64;
/// How many requests are under way at once where that is varied. On few cores most of the time of
/// many is waiting for each other.
pub(crate) const IN_FLIGHT: [usize; 4] = [1, 8, 16, CONNECTIONS];
/// Partitions of the log, as by default.
pub(crate) const PARTITIONS: u32 = 4;
/// Partitions where one to three nodes are to have equal shares.
const PARTITIONS_OF_MANY: u32 = 6;
/// The largest number of nodes.
const NODES_MAX: usize = 3;

/// On the embedded engines.
pub(crate) async fn embedded(rig: &mut Rig, table: &mut Table) -> Result<()> {
    let nodes = Setup::embedded(rig, PARTITIONS)?.start(1).await?;
    let projects = nodes.projects().await?;
    let figures = measure(&nodes, &projects, CONNECTIONS, rig.span).await?;
    table.add(format!("creates, embedded, {CONNECTIONS} connections"), figures, "", "");
    rig.embedded = Some(figures);
    nodes.stop().map(drop)
}

/// On a cluster of one node.
pub(crate) async fn one_node(rig: &mut Rig, table: &mut Table) -> Result<()> {
    let nodes = Setup::shared(rig, "bench_create", PARTITIONS).await?.start(1).await?;
    let projects = nodes.projects().await?;
    // The engines have not seen these requests yet.
    measure(&nodes, &projects, CONNECTIONS, rig.first_span()).await?;
    for connections in IN_FLIGHT {
        let figures = measure(&nodes, &projects, connections, rig.span).await?;
        let what = format!("creates, cluster of one node, connections: {connections}");
        if connections == CONNECTIONS {
            let embedded = rig.embedded.map(|embedded| embedded.rate);
            table.add(what, figures, ratio(figures.rate, embedded, "embedded"), "≥ 0.40");
        } else {
            table.add(what, figures, "", "");
        }
        let bare = rig.appends.get(&connections);
        let over = bare.map_or("no figure of bare appends".to_owned(), |bare| {
            format!("{:.2} ms", millis(figures.p50) - millis(bare.p50))
        });
        table.add("  its p50 over that of a bare append", over, "", "≤ 2 ms");
    }
    nodes.stop().map(drop)
}

/// On clusters of one node and more.
pub(crate) async fn curve(rig: &mut Rig, table: &mut Table) -> Result<()> {
    let mut alone = None;
    for count in 1..=NODES_MAX {
        let name = format!("bench_curve_{count}");
        let setup = Setup::shared(rig, &name, PARTITIONS_OF_MANY).await?;
        let nodes = setup.start(count).await?;
        let projects = nodes.projects().await?;
        let figures = measure(&nodes, &projects, CONNECTIONS, rig.first_span()).await?;
        let one = *alone.get_or_insert(figures.rate);
        let what = format!("creates, cluster, {PARTITIONS_OF_MANY} partitions, nodes: {count}");
        table.add(what, figures, ratio(figures.rate, Some(one), "one node"), "");
        nodes.stop()?;
    }
    Ok(())
}

/// Creates documents on connections that are spread over all nodes and all projects.
pub(crate) async fn measure(
    nodes: &Nodes,
    projects: &[Project],
    connections: usize,
    span: Span,
) -> Result<Figures> {
    let addresses = nodes.addresses();
    let mut callers = Vec::with_capacity(connections);
    for number in 0..connections {
        let address = addresses[number % addresses.len()];
        let project = projects[number / addresses.len() % projects.len()].clone();
        callers.push(Creates::open(address, project, number).await?);
    }
    closed_loop(callers, span).await
}

/// One connection that creates documents of one project.
struct Creates {
    connection: Connection,
    project: Project,
    next: usize,
}

impl Creates {
    async fn open(address: SocketAddr, project: Project, number: usize) -> Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection, project, next: number })
    }
}

impl Caller for Creates {
    async fn call(&mut self) -> Result<usize> {
        self.next += CONNECTIONS;
        let request = create(&self.project, self.next);
        let status = self.connection.call(&request).await?;
        let told = || String::from_utf8_lossy(self.connection.body()).into_owned();
        ensure!(status == 201, "a create was answered {status}: {}", told());
        Ok(1)
    }
}

/// The request that creates a document under an id that the server makes.
pub(crate) fn create(project: &Project, number: usize) -> String {
    request("POST", &project.documents(), &project.key, &document(number))
}
