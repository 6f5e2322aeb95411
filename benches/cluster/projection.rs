//! `headwater rebuild documents` on a cluster: the log read back and its rows written.

use anyhow::{Context, Result};
use benches::load::Span;

use super::creates::{CONNECTIONS, PARTITIONS, measure};
use super::nodes::Setup;
use super::rig::Rig;
use super::table::{Table, ratio};

/// How often the tables are rebuilt.
const RUNS: usize = 2;
/// Rows that the event of a new document makes: one of `documents`, one of `history`.
const ROWS_OF_EVENT: f64 = 2.0;

/// Fills a log through REST, stops the node, and rebuilds the tables.
pub(crate) async fn rebuild(rig: &mut Rig, table: &mut Table) -> Result<()> {
    let nodes = Setup::shared(rig, "bench_projection", PARTITIONS).await?.start(1).await?;
    let projects = nodes.projects().await?;
    let fill = Span { warm_up: rig.span.run, run: rig.span.run };
    measure(&nodes, &projects, CONNECTIONS, fill).await?;
    let setup = nodes.stop()?;
    for run in 1..=RUNS {
        let printed = setup.run(&["rebuild", "documents"])?;
        let (events, rate) = figures(&printed).with_context(|| printed.clone())?;
        let rows = rate * ROWS_OF_EVENT;
        let what = format!("rebuild of the documents projection, run {run}, {events} events");
        let figure = format!("{rate:.0} events/s, {rows:.0} rows/s");
        let bare = rig.inserts.map(|inserts| inserts.rate);
        table.add(what, figure, ratio(rows, bare, "bare inserts"), "≥ 0.5");
        if let Some(batched) = rig.inserts_batched {
            let beside = ratio(rows, Some(batched.rate), "those with history in batches");
            table.add("  the same", "", beside, "");
        }
    }
    Ok(())
}

/// How many events there were, and how many a second, by what `rebuild` says:
/// `1000 events in 2.0 s, 500 events/s`.
fn figures(printed: &str) -> Option<(u64, f64)> {
    let line = printed.lines().find(|line| line.ends_with(" events/s"))?;
    let events = line.split_whitespace().next()?.parse().ok()?;
    let rate = line.split_whitespace().rev().nth(1)?.parse().ok()?;
    Some((events, rate))
}
