//! How long the writes of a partition stand still when its owner dies or is stopped, as a client
//! of another node sees it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::http::ask;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use super::creates::{PARTITIONS, create};
use super::nodes::{Nodes, Project, Setup};
use super::rig::Rig;
use super::table::Table;

/// How often each way to end an owner is tried.
const RUNS: usize = 3;
const NODES: usize = 3;
/// A write starts this often, whatever became of those before.
const PACE: Duration = Duration::from_millis(20);
/// The longest that one write may take.
const WRITE_MAX: Duration = Duration::from_secs(15);
/// The longest that a partition may be without a new owner.
const MOVE_MAX: Duration = Duration::from_secs(60);
/// How long to look on before the owner ends and after there is another one.
const AROUND: Duration = Duration::from_secs(1);

/// How an owner ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// SIGKILL.
    Killed,
    /// SIGTERM.
    Stopped,
}

/// What a client has seen.
struct Outage {
    /// From the signal to the answer of the first write that was sent after it and accepted.
    accepted: Duration,
    /// The longest time without such an answer.
    pause: Duration,
    /// Writes that were not accepted, out of all that were sent.
    failed: usize,
    sent: usize,
}

/// One write.
struct Tried {
    sent: Instant,
    answered: Instant,
    accepted: bool,
}

/// Ends owners in both ways.
pub(crate) async fn measure(rig: &mut Rig, table: &mut Table) -> Result<()> {
    let setup = Setup::shared(rig, "bench_failover", PARTITIONS).await?;
    let mut nodes = setup.start(NODES).await?;
    let projects = nodes.projects().await?;
    let project = projects.first().context("there is a project")?;
    for end in [End::Killed, End::Stopped] {
        let mut outages = Vec::new();
        for _ in 0..RUNS {
            outages.push(outage(&mut nodes, project, end).await?);
        }
        report(end, &outages, table);
    }
    nodes.stop().map(drop)
}

fn report(end: End, outages: &[Outage], table: &mut Table) {
    let list = |figure: fn(&Outage) -> Duration| {
        let figures = outages.iter().map(|one| format!("{:.2}", figure(one).as_secs_f64()));
        format!("{} s", figures.collect::<Vec<_>>().join(", "))
    };
    let failed: Vec<_> =
        outages.iter().map(|one| format!("{} of {}", one.failed, one.sent)).collect();
    let (name, first, pause) = match end {
        End::Killed => ("SIGKILL", "< 10 s", ""),
        End::Stopped => ("SIGTERM", "< 1 s", "< 1 s"),
    };
    table.add(format!("{name} to the first accepted write"), list(|one| one.accepted), "", first);
    table.add("  longest time without one", list(|one| one.pause), "", pause);
    table.add("  writes not accepted meanwhile", failed.join(", "), "", "");
}

/// Ends the owner of partition 0 while another node is written to, and brings it back after.
async fn outage(nodes: &mut Nodes, project: &Project, end: End) -> Result<Outage> {
    let owner = nodes.owner(0, 0).await?.context("partition 0 has no owner")?;
    let other = (owner + 1) % NODES;
    let address = nodes.addresses()[other];
    let (stop, stopped) = oneshot::channel();
    // Dropped, `stop` ends it too.
    let writer = tokio::spawn(write(address, project.clone(), stopped));
    sleep(AROUND).await;
    let process = nodes.take(owner)?;
    let signalled = Instant::now();
    let ended = match end {
        End::Killed => {
            process.kill()?;
            None
        }
        End::Stopped => {
            process.terminate()?;
            Some(tokio::task::spawn_blocking(|| process.wait()))
        }
    };
    let sent_from = Instant::now();
    moved(nodes, owner, other).await?;
    let until = Instant::now() + MOVE_MAX;
    while !is_accepted(address, &create(project, 0)).await {
        ensure!(Instant::now() < until, "the new owner accepts nothing");
    }
    sleep(AROUND).await;
    let _ = stop.send(());
    let tried = writer.await?;
    if let Some(ended) = ended {
        ended.await??;
    }
    nodes.launch(owner)?;
    nodes.settled().await?;
    seen(&tried, signalled, sent_from)
}

/// Writes again and again, each time on a connection of its own, until it is told to stop.
async fn write(
    address: SocketAddr,
    project: Project,
    mut stopped: oneshot::Receiver<()>,
) -> Vec<Tried> {
    let mut pace = interval(PACE);
    let mut under_way = JoinSet::new();
    for number in 0.. {
        tokio::select! {
            _ = &mut stopped => break,
            _ = pace.tick() => {}
        }
        let request = create(&project, number);
        under_way.spawn(async move {
            let sent = Instant::now();
            let accepted = is_accepted(address, &request).await;
            Tried { sent, answered: Instant::now(), accepted }
        });
    }
    under_way.join_all().await
}

async fn is_accepted(address: SocketAddr, request: &str) -> bool {
    matches!(timeout(WRITE_MAX, ask(address, request)).await, Ok(Ok((201, _))))
}

/// Waits until `other` knows a new owner of partition 0.
async fn moved(nodes: &Nodes, from: usize, other: usize) -> Result<()> {
    let until = Instant::now() + MOVE_MAX;
    while nodes.owner(0, other).await?.is_none_or(|owner| owner == from) {
        ensure!(Instant::now() < until, "partition 0 has no new owner");
        sleep(PACE).await;
    }
    Ok(())
}

/// What the writes say of a signal. Those count for the first figure that were sent from
/// `sent_from` on, when the signal had its effect.
fn seen(tried: &[Tried], signalled: Instant, sent_from: Instant) -> Result<Outage> {
    let accepted = || tried.iter().filter(|one| one.accepted && one.answered > signalled);
    let first = accepted().filter(|one| one.sent >= sent_from).map(|one| one.answered).min();
    let first = first.context("no write was accepted after the signal")?;
    let mut answers: Vec<_> = accepted().map(|one| one.answered).collect();
    answers.sort_unstable();
    let mut last = signalled;
    let mut pause = Duration::ZERO;
    for answer in answers {
        pause = pause.max(answer - last);
        last = answer;
    }
    let failed = tried.iter().filter(|one| !one.accepted).count();
    Ok(Outage { accepted: first - signalled, pause, failed, sent: tried.len() })
}
