//! The real server as a child process: started on a data folder, killed, stopped, started again.

use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::log::Log;
use super::{Client, Project, binary, within};

/// The admin key of every server here.
pub const ADMIN_KEY: &str = "hw_admin_of_the_tests_0123456789abcdef";

/// What a server is started with: a data folder, which outlives it, and its settings.
#[derive(Clone)]
pub struct Setup {
    folder: Arc<TempDir>,
    env: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// An empty data folder and the default settings.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("headwater-it-").expect("a folder can be made");
        let env = vec![("HEADWATER_ADMIN_KEY".to_owned(), ADMIN_KEY.to_owned())];
        Self { folder: Arc::new(folder), env }
    }

    /// Sets an environment variable of the server.
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// The folder that holds the data folder and whatever else a test wants to keep.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data(&self) -> std::path::PathBuf {
        self.folder().join("data")
    }

    /// The binary with these arguments and the settings, ready to be started.
    pub fn command(&self, args: &[&str]) -> Command {
        self.dress(Command::new(binary::path()), args)
    }

    fn dress(&self, mut command: Command, args: &[&str]) -> Command {
        command.args(args).current_dir(self.folder());
        // A developer's own settings must not change what is tested.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("HEADWATER") || name == "RUST_LOG" {
                command.env_remove(&*name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command of the binary to its end.
    pub async fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output();
        within(&format!("headwater {args:?}"), output).await.expect("the binary can be started")
    }

    /// Runs a command of the binary that must succeed; returns all that it printed.
    pub async fn run_ok(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let text = printed(&output);
        assert!(output.status.success(), "headwater {args:?}: {}\n{text}", output.status);
        text
    }

    /// Starts a server and waits until it serves.
    pub async fn start(&self) -> Server {
        let mut server = self.spawn();
        server.listening().await;
        server
    }

    /// Starts a server without waiting for anything.
    pub fn spawn(&self) -> Server {
        let data = self.data();
        let data = data.to_str().expect("a temporary path is UTF-8");
        Server::spawn(self, self.command(&["serve", "--data", data, "--listen", "127.0.0.1:0"]))
    }

    /// Starts another command that stays.
    pub fn spawn_with(&self, args: &[&str]) -> Server {
        Server::spawn(self, self.command(args))
    }

    /// Starts a server on a file system of its own, of `bytes`, which only it sees. Its data
    /// folder is then gone with it; see [`Server::root`].
    pub fn spawn_on_small_disk(&self, bytes: u64) -> Server {
        let mount = self.folder().join("disk");
        std::fs::create_dir_all(&mount).expect("a folder can be made");
        let script = format!(
            "mount -t tmpfs -o size={bytes} tmpfs \"$1\" && \
             exec \"$2\" serve --data \"$1/data\" --listen 127.0.0.1:0"
        );
        let mut command = Command::new("unshare");
        let mount = mount.to_str().expect("a temporary path is UTF-8");
        let binary = binary::path().to_str().expect("the path of the binary is UTF-8");
        command.args(["--user", "--mount", "--map-root-user", "sh", "-c", &script, "sh"]);
        Server::spawn(self, self.dress(command, &[mount, binary]))
    }
}

/// What a command printed, on both streams.
pub fn printed(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// A running server. It is killed when dropped, and then shows its last lines if the test failed.
pub struct Server {
    child: Child,
    /// Where it serves, for example `http://127.0.0.1:4711`; empty until it does.
    pub url: String,
    /// What it printed.
    pub log: Log,
    /// Who reads what it prints.
    streams: Vec<JoinHandle<()>>,
    /// Its data stays as long as it runs.
    _folder: Arc<TempDir>,
}

impl Server {
    fn spawn(setup: &Setup, mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let log = Log::default();
        let streams = vec![
            log.follow(child.stdout.take().expect("its output is piped")),
            log.follow(child.stderr.take().expect("its output is piped")),
        ];
        let folder = Arc::clone(&setup.folder);
        Self { child, url: String::new(), log, streams, _folder: folder }
    }

    /// Waits until it serves.
    pub async fn listening(&mut self) {
        let log = self.log.clone();
        let address = async {
            tokio::select! {
                address = log.find(address) => address,
                status = self.ended() => panic!("the server ended at its start: {status}"),
            }
        };
        let address = within("the server to listen", address).await;
        self.url = format!("http://{address}");
    }

    /// Waits until it has ended and all that it printed is here.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = async {
            let status = self.child.wait().await.expect("a child can be waited for");
            for stream in self.streams.drain(..) {
                stream.await.expect("a reader does not fail");
            }
            status
        };
        within("the server to end", ended).await
    }

    /// SIGKILL: no time to write anything.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).expect("a child can be signalled");
        }
    }

    /// SIGTERM, and waits; it must end well.
    pub async fn stop(mut self) {
        self.terminate();
        let status = self.ended().await;
        assert!(status.success(), "the server ended with {status}");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the server is running")
    }

    /// The file system as the server sees it.
    pub fn root(&self) -> std::path::PathBuf {
        format!("/proc/{}/root", self.pid()).into()
    }

    /// A client with the admin key.
    pub fn admin(&self) -> Client {
        Client::new(&self.url, ADMIN_KEY)
    }

    /// Makes a project with a secret key.
    pub async fn project(&self, id: &str) -> Project {
        Project::create(&self.admin(), id).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's last lines\n{}\n---", self.log.tail());
        }
    }
}

/// The address in the line that says that the server listens.
fn address(line: &str) -> Option<String> {
    let record: Value = serde_json::from_str(line).ok()?;
    let fields = record.get("fields").unwrap_or(&record);
    let is_up = matches!(fields["message"].as_str()?, "serving" | "listening");
    is_up.then(|| fields["address"].as_str().map(str::to_owned))?
}
