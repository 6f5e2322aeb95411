//! Kafka and Cassandra, one node each, by the scripts in `deploy/engines`: in a folder of their
//! own, and gone with whoever holds them, or with this process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use domain::{PartitionId, ProjectId, partition_of};

/// Both engines.
pub(crate) struct Engines {
    kafka: Engine,
    cassandra: Engine,
}

impl Engines {
    /// Starts both as they come: without the options that make them start sooner and run slower.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let kafka = Engine::start("kafka", folder, &["--port", "auto"])?;
        let cassandra = Engine::start("cassandra", folder, &["--addresses", "auto"])?;
        Ok(Self { kafka, cassandra })
    }

    /// A topic of the log, by its settings.
    pub(crate) fn topic(&self, name: &str, partitions: u32) -> eventlog::kafka::Options {
        eventlog::kafka::Options::new(&self.kafka.address, name, partitions)
    }

    /// A keyspace with the tables of all consumers, by its settings.
    pub(crate) fn keyspace(&self, name: &str, partitions: u32) -> readmodel::cql::Options {
        let belongs = move |project: &str, partition: PartitionId| {
            ProjectId::new(project).is_ok_and(|id| partition_of(&id, partitions) == partition)
        };
        let nodes = vec![self.cassandra.address.clone()];
        let belongs = Arc::new(belongs);
        let options = readmodel::cql::Options::new(nodes, name, consumers::TABLES, belongs);
        readmodel::cql::Options { replication_factor: 1, ..options }
    }

    /// The settings of nodes whose topic, group and keyspace have this name.
    pub(crate) fn environment(&self, name: &str) -> Vec<(String, String)> {
        let (kafka, cassandra) = (&self.kafka.address, &self.cassandra.address);
        let pairs = [
            ("HEADWATER__LOG__URL", format!("kafka://{kafka}/{name}")),
            ("HEADWATER__KAFKA__GROUP", name.to_owned()),
            ("HEADWATER__READMODEL__URL", format!("scylla://{cassandra}/{name}")),
            ("HEADWATER__CQL__REPLICATION", "1".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

/// One of them.
struct Engine {
    script: PathBuf,
    folder: PathBuf,
    address: String,
}

impl Engine {
    fn start(name: &str, folder: &Path, options: &[&str]) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?;
        let script = root.join(format!("deploy/engines/{name}/{name}.sh"));
        let process = std::process::id().to_string();
        // Made first, so that one which starts only half-way is wiped too.
        let mut engine = Self { script, folder: folder.join(name), address: String::new() };
        engine.run(&[&["start", "--wait", "300", "--until", &process], options].concat())?;
        let told = engine.run(&["address"])?;
        engine.address = told.lines().next().unwrap_or_default().to_owned();
        Ok(engine)
    }

    /// Runs a command of the script; returns what it printed.
    fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.script);
        command.args(args).arg("--dir").arg(&self.folder).stdin(Stdio::null());
        let output = command.output().with_context(|| self.script.display().to_string())?;
        let (out, err) = (&output.stdout, &output.stderr);
        let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
        if !output.status.success() {
            bail!("{} {args:?}: {out}{err}", self.script.display());
        }
        Ok(out.into_owned())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["wipe"]) {
            eprintln!("an engine can't be wiped: {error:#}");
        }
    }
}
