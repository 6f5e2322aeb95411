//! A cluster beside one machine: the embedded engines, Kafka and the CQL database by themselves,
//! and nodes on both, all in one run on this machine. Run with `make bench-cluster`, or, after
//! `cargo build --release --bin headwater`, with `cargo bench -p benches --bench cluster --
//! [--secs N] [--parts embedded,kafka,cql,create,projection,failover,curve]`. Needs what
//! `deploy/engines` needs.

/// The parts and what they stand on, each in a file of its own.
mod cluster {
    pub(crate) mod arguments;
    pub(crate) mod bare;
    pub(crate) mod creates;
    pub(crate) mod engines;
    pub(crate) mod failover;
    pub(crate) mod nodes;
    pub(crate) mod projection;
    pub(crate) mod rig;
    pub(crate) mod table;
}

use anyhow::{Result, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

use cluster::arguments::{Arguments, Part};
use cluster::rig::Rig;
use cluster::table::Table;
use cluster::{bare, creates, failover, projection};

fn main() -> Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut table = Table::default();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        // Whoever is dropped here ends what it has started.
        let ended = tokio::select! {
            ended = measure(&arguments, &mut table) => ended,
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        };
        println!("\n{table}");
        ended
    })
}

/// Measures every part that is asked for. One that fails does not keep the others from it.
async fn measure(arguments: &Arguments, table: &mut Table) -> Result<()> {
    let mut rig = Rig::new(arguments)?;
    let mut failed = Vec::new();
    for part in Part::ALL.into_iter().filter(|part| arguments.parts.contains(part)) {
        eprintln!("== {}", part.name());
        let done = match part {
            Part::Embedded => creates::embedded(&mut rig, table).await,
            Part::Kafka => bare::kafka(&mut rig, table).await,
            Part::Cql => bare::cql(&mut rig, table).await,
            Part::Create => creates::one_node(&mut rig, table).await,
            Part::Projection => projection::rebuild(&mut rig, table).await,
            Part::Failover => failover::measure(&mut rig, table).await,
            Part::Curve => creates::curve(&mut rig, table).await,
        };
        if let Err(error) = done {
            eprintln!("{}: {error:#}", part.name());
            failed.push(part.name());
        }
    }
    ensure!(!arguments.parts.is_empty(), "no part was asked for");
    if !failed.is_empty() {
        bail!("not measured to the end: {}", failed.join(", "));
    }
    Ok(())
}
