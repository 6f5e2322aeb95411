//! Kafka and Cassandra beneath the nodes, by the scripts in `deploy/engines`. An instance has a
//! folder of its own below `target/`; it is shared by all scenarios that run at the same time, and
//! gone with the last of them, or with the process.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use harness::root;

/// Below `target/`; a folder's name ends in the process that made it.
const FOLDER: &str = "target/cluster-engines";

/// Which engine, and how many nodes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Three brokers, two of which must have an event.
    Kafka,
    /// One broker.
    Broker,
    /// One broker that listens with TLS and SASL, too.
    SecureBroker,
    Cassandra,
    /// Three nodes, two of which must have a row.
    Cassandras,
}

impl Kind {
    fn script(self) -> &'static str {
        match self {
            Self::Kafka | Self::Broker | Self::SecureBroker => "kafka/kafka.sh",
            Self::Cassandra | Self::Cassandras => "cassandra/cassandra.sh",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Kafka => &["--nodes", "3", "--port", "auto", "--heap", "256m"],
            Self::Broker => &["--nodes", "1", "--port", "auto", "--heap", "256m"],
            Self::SecureBroker => &["--nodes", "1", "--port", "auto", "--heap", "256m", "--tls"],
            Self::Cassandra => &["--nodes", "1", "--addresses", "auto", "--heap", "512m"],
            Self::Cassandras => &["--nodes", "3", "--addresses", "auto", "--heap", "512m"],
        }
    }

    pub(crate) fn node_count(self) -> usize {
        if matches!(self, Self::Kafka | Self::Cassandras) { 3 } else { 1 }
    }
}

/// A running instance.
pub(crate) struct Engine {
    pub(crate) kind: Kind,
    folder: PathBuf,
}

/// What is running now.
static SHARED: Mutex<Vec<(Kind, Weak<Engine>)>> = Mutex::new(Vec::new());

impl Engine {
    /// The instance of this kind, started when it does not run. Takes a minute then.
    pub(crate) fn shared(kind: Kind) -> Arc<Self> {
        // A start that failed must fail for the next one too, not poison it.
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let running = shared.iter().filter(|(known, _)| *known == kind);
        if let Some(engine) = running.filter_map(|(_, engine)| engine.upgrade()).next() {
            return engine;
        }
        let engine = Arc::new(Self::new(kind, ""));
        shared.retain(|(_, engine)| engine.strong_count() > 0);
        shared.push((kind, Arc::downgrade(&engine)));
        engine
    }

    /// An instance for one scenario alone, which may stop it.
    pub(crate) fn own(kind: Kind) -> Arc<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self::new(kind, &format!("-{count}")))
    }

    fn new(kind: Kind, suffix: &str) -> Self {
        sweep();
        let process = std::process::id().to_string();
        let name = format!("{kind:?}-{process}{suffix}").to_lowercase();
        let engine = Self { kind, folder: root().join(FOLDER).join(name) };
        let until = ["--quick", "--wait", "300", "--until", &process];
        engine.run(&[&["start"], kind.options(), &until].concat());
        engine
    }

    /// Starts what does not run, as it was started first.
    pub(crate) fn start(&self) {
        self.run(&["start", "--wait", "300"]);
    }

    /// Stops it in order; what it has stays.
    pub(crate) fn stop(&self) {
        self.run(&["stop"]);
    }

    /// `HOST:PORT`, with commas between.
    pub(crate) fn addresses(&self) -> String {
        let told = self.run(&["address"]);
        told.lines().next().unwrap_or_default().to_owned()
    }

    /// The same for TLS and SASL.
    pub(crate) fn secure_addresses(&self) -> String {
        let told = self.run(&["address"]);
        let secure = told.lines().find_map(|line| line.strip_prefix("SASL_SSL "));
        secure.expect("an instance with TLS").to_owned()
    }

    /// A file of the instance's folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// kill -9 of one node, counted from 1.
    pub(crate) fn kill_node(&self, node: usize) {
        self.run(&["kill-node", &node.to_string()]);
    }

    /// Starts one node, and waits until it serves.
    pub(crate) fn start_node(&self, node: usize) {
        self.run(&["start-node", &node.to_string(), "--wait", "300"]);
    }

    /// Runs a command of the script that must succeed; returns what it printed.
    fn run(&self, args: &[&str]) -> String {
        let told = self.try_run(args);
        told.unwrap_or_else(|why| panic!("{:?} {args:?}: {why}", self.kind))
    }

    fn try_run(&self, args: &[&str]) -> Result<String, String> {
        let script = root().join("deploy/engines").join(self.kind.script());
        let mut command = Command::new(script);
        command.args(args).arg("--dir").arg(&self.folder).stdin(Stdio::null());
        let output = command.output().map_err(|e| e.to_string())?;
        let (out, err) = (&output.stdout, &output.stderr);
        let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
        if output.status.success() { Ok(out.into_owned()) } else { Err(format!("{out}{err}")) }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It must not panic here; the script itself ends the nodes when this process ends.
        if let Err(why) = self.try_run(&["wipe"]) {
            eprintln!("{:?} can't be wiped: {why}", self.kind);
        }
    }
}

/// Removes what earlier processes left behind when they were killed.
fn sweep() {
    let Ok(entries) = root().join(FOLDER).read_dir() else { return };
    for folder in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut parts = name.split('-');
        let (Some(kind), Some(process)) = (parts.next(), parts.next()) else { continue };
        if PathBuf::from(format!("/proc/{process}")).exists() {
            continue;
        }
        let kind = match kind {
            "kafka" => Kind::Kafka,
            "broker" => Kind::Broker,
            "securebroker" => Kind::SecureBroker,
            "cassandra" => Kind::Cassandra,
            _ => Kind::Cassandras,
        };
        drop(Engine { kind, folder });
    }
}
