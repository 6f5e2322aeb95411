//! `rebuild documents`: fills the tables anew from the log, offline, and compares when asked to.
//! The new tables serve from then on, whatever the comparison says: they are what the log says.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use engine::{Progress, Rebuilt};

use crate::cli::Rebuild;
use crate::config::Config;
use crate::start::{Node, Opening};

/// How long the group may take to give every partition to this process: more than the session of
/// a node that was killed.
const OWN_ALL_WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) fn run(command: &Rebuild) -> anyhow::Result<ExitCode> {
    let Rebuild::Documents { storage, verify } = command;
    let mut flags = super::data_flags(storage)?;
    flags.extend(super::text_flags("rebuild", Some("warn")));
    let loaded = super::configuration(&storage.config, flags)?;
    crate::logging::init(&loaded.config.logging)?;
    let bar = super::progress::open("open");
    let node = match loaded.config.is_shared() {
        true => join(&loaded.config)?,
        false => {
            super::log_folder(&loaded.config)?;
            Node::start(&loaded.config, &|_, next, _| bar.set_position(next))?
        }
    };
    bar.finish_and_clear();
    let outcome = rebuild(&node, *verify);
    let closed = close(node, &loaded.config);
    let equal = outcome?;
    closed?;
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A node that writes every partition of a cluster whose other nodes are stopped.
fn join(config: &Config) -> anyhow::Result<Node> {
    let opening = Opening::new(config)?;
    let opened = opening.runtime.block_on(async {
        let waits = |reason| eprintln!("waiting: {reason}");
        // It forwards nothing, so it needs neither a key nor an address.
        let address = "rebuild.invalid";
        let opened = Node::join(&opening.registry, config, "", address, true, &waits).await?;
        let engine = &opened.0;
        let until = Instant::now() + OWN_ALL_WAIT_MAX;
        while !engine.owns_all() {
            if Instant::now() > until {
                engine.stop().await?;
                bail!("other nodes write some of the partitions: stop them first");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(opened)
    })?;
    Ok(opening.with(opened))
}

fn close(node: Node, config: &Config) -> anyhow::Result<()> {
    node.stop(Duration::from_secs(config.server.shutdown_wait_s))
}

/// Whether the digests are equal; true when nobody asked.
fn rebuild(node: &Node, verify: bool) -> anyhow::Result<bool> {
    let log = node.engine.log();
    let partitions = (0..log.partition_count()).map(domain::PartitionId);
    let total = partitions.map(|id| log.end(id) - log.start(id)).sum();
    let bar = super::progress::count("rebuild", total);
    let started = Instant::now();
    let replayed = parking_lot::Mutex::new(Done::default());
    let report = |progress: Progress| {
        let start = log.start(progress.partition);
        bar.set_position(replayed.lock().at(progress.partition.0, progress.next - start));
    };
    let rebuilt = node.runtime.block_on(node.engine.rebuild("documents", verify, &report))?;
    bar.finish_and_clear();
    rebuilt.iter().for_each(print);
    let events: u64 = rebuilt.iter().map(|one| one.events).sum();
    let seconds = started.elapsed().as_secs_f64().max(0.001);
    println!("{events} events in {seconds:.1} s, {:.0} events/s", events as f64 / seconds);
    let equal = rebuilt.iter().all(Rebuilt::is_equal);
    if verify {
        println!("{}", if equal { "digests are equal" } else { "DIGESTS DIFFER" });
    }
    Ok(equal)
}

fn print(rebuilt: &Rebuilt) {
    println!("partition {}: {} events", rebuilt.partition, rebuilt.events);
    if let (Some(digest), Some(live)) = (rebuilt.digest, rebuilt.live_digest) {
        println!("  rebuilt {}\n  served  {}", hex(&digest), hex(&live));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Events replayed over all partitions, which come one after the other.
#[derive(Default)]
struct Done {
    partition: u32,
    before: u64,
    here: u64,
}

impl Done {
    fn at(&mut self, partition: u32, here: u64) -> u64 {
        if partition != self.partition {
            self.before += self.here;
            self.partition = partition;
        }
        self.here = here;
        self.before + here
    }
}
