//! One server process: started with any command and environment, killed, paused, stopped, started
//! again at the same address. Its output goes to a file, which is shown when a test fails.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use harness::client::Client;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// The longest that a node may take to serve, or to stop.
const WAIT_MAX: Duration = Duration::from_secs(240);
/// How often it is asked.
const PACE: Duration = Duration::from_millis(25);
/// Lines of its output that are shown when a test fails.
const SHOWN_MAX: usize = 40;
/// Ports below those that outgoing connections take, so that a node finds its own free again.
const PORTS: std::ops::Range<u16> = 12_000..19_000;

/// How a node is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) name: String,
    /// What comes before the server's binary: a command that ends by becoming it.
    pub(crate) wrapper: Vec<OsString>,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(String, String)>,
    /// Where it will be reached.
    pub(crate) url: String,
    /// Where its output goes.
    pub(crate) log: PathBuf,
}

/// A node, running or not.
pub(crate) struct Node {
    launch: Launch,
    child: Option<Child>,
}

impl Node {
    /// A node that does not run yet.
    pub(crate) fn new(launch: Launch) -> Self {
        Self { launch, child: None }
    }

    pub(crate) fn url(&self) -> &str {
        &self.launch.url
    }

    /// Starts it, without waiting for anything.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.launch.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.launch.log);
        let log = log.unwrap_or_else(|e| panic!("{}: {e}", self.launch.log.display()));
        let mut words = guard().into_iter().chain(self.launch.wrapper.iter().cloned());
        let binary = harness::binary::path().as_os_str().to_owned();
        let mut command = match words.next() {
            None => Command::new(binary),
            Some(wrapper) => {
                let mut command = Command::new(wrapper);
                command.args(words).arg(binary);
                command
            }
        };
        // A developer's own settings must not change what is tested.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("HEADWATER") || name == "RUST_LOG" {
                command.env_remove(&*name);
            }
        }
        command.args(&self.launch.args).envs(self.launch.env.iter().cloned());
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file can be opened twice")).stderr(log);
        self.child = Some(command.spawn().expect("the binary can be started"));
    }

    /// Waits until it serves.
    pub(crate) async fn ready(&mut self) {
        let deadline = Instant::now() + WAIT_MAX;
        let client = Client::limited(&self.launch.url, "", Duration::from_secs(2));
        loop {
            let told = match client.get("/readyz").try_send().await {
                Ok(answer) if answer.is_ok() => return,
                Ok(answer) => answer.text(),
                Err(error) => error.to_string(),
            };
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            let name = &self.launch.name;
            assert!(ended.is_none(), "{name} ended with {ended:?}");
            assert!(Instant::now() < deadline, "{name} is not ready: {told}");
            sleep(PACE).await;
        }
    }

    /// SIGKILL: no time to write anything.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP: it goes on later, and does not know that time has passed.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits until it has ended.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let child = self.child.as_mut().expect("it runs");
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not stop", self.launch.name);
            sleep(PACE).await;
        }
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it runs").id();
        let pid = Pid::from_raw(id.cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("a child can be signalled");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let Launch { name, log, .. } = &self.launch;
            eprintln!("--- {name}'s last lines, of {}\n{}\n---", log.display(), tail(log));
        }
    }
}

/// What a command line must begin with to be killed when its parent ends, even when that is killed
/// itself; nothing where there is no such command.
fn guard() -> Vec<OsString> {
    let guard = ["setpriv", "--pdeathsig", "KILL"];
    let mut command = Command::new(guard[0]);
    let tried = command.args(&guard[1..]).arg("true").stderr(Stdio::null()).status();
    match tried {
        Ok(status) if status.success() => guard.map(Into::into).to_vec(),
        _ => Vec::new(),
    }
}

/// The last lines of a file.
pub(crate) fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_MAX)..].join("\n")
}

/// Ports of 127.0.0.1 that nobody uses now.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let port = fastrand::u16(PORTS);
        taken.extend(TcpListener::bind(("127.0.0.1", port)).ok());
    }
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    taken.iter().map(port).collect()
}
