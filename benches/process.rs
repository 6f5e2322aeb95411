//! The real binary as a process that ends with whoever has started it.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, ensure};

/// The admin key of every server here.
pub const ADMIN_KEY: &str = "hw_admin_for_the_bench";

/// The first of the ports that are tried, and how many there are: below those that outgoing
/// connections take, so that a node that was stopped finds its own free again.
const PORT_FIRST: u16 = 12_000;
const PORTS: u16 = 7_000;

/// `target/release/headwater`, beside this program's own folder.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let release = own.parent().and_then(Path::parent).context("this program has no folder")?;
    let binary = release.join("headwater");
    ensure!(binary.exists(), "run `cargo build --release --bin headwater` first");
    Ok(binary)
}

/// Where nobody listens now.
pub fn free_address() -> Result<SocketAddr> {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % u32::from(PORTS)) as u16;
    for _ in 0..PORTS {
        let next = TRIED.fetch_add(1, Ordering::Relaxed) % PORTS;
        let address = SocketAddr::from(([127, 0, 0, 1], PORT_FIRST + (first + next) % PORTS));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("every port is taken")
}

/// The binary with these arguments and settings, and no others that the environment may hold.
pub fn command<S: AsRef<OsStr>>(binary: &Path, args: &[&str], env: &[(S, S)]) -> Command {
    dressed(Command::new(binary), args, env)
}

/// The same for a process that is killed when the thread that has started it ends, even by a kill.
/// That costs its start a moment.
pub fn guarded<S: AsRef<OsStr>>(binary: &Path, args: &[&str], env: &[(S, S)]) -> Command {
    let mut words = guard().iter().map(OsStr::new).chain([binary.as_os_str()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    dressed(command, args, env)
}

fn dressed<S: AsRef<OsStr>>(mut command: Command, args: &[&str], env: &[(S, S)]) -> Command {
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HEADWATER") || name == "RUST_LOG" {
            command.env_remove(&*name);
        }
    }
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command
}

/// What a guarded command line begins with; nothing where there is no such command.
fn guard() -> &'static [&'static str] {
    const GUARD: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];
    static WORKS: OnceLock<bool> = OnceLock::new();
    let works = WORKS.get_or_init(|| {
        let mut tried = Command::new(GUARD[0]);
        let tried = tried.args(&GUARD[1..]).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    if *works { &GUARD } else { &[] }
}

/// A running process. It is killed when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a command. What it prints is added to the file `log`, if there is one.
    pub fn start(mut command: Command, log: Option<&Path>) -> Result<Self> {
        match log {
            Some(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                command.stdout(file.try_clone()?).stderr(file);
            }
            None => drop(command.stdout(Stdio::null()).stderr(Stdio::null())),
        }
        let child = command.spawn().context("starting the server")?;
        Ok(Self { child })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) -> Result<()> {
        let pid = self.child.id().to_string();
        ensure!(Command::new("kill").arg(pid).status()?.success(), "no such process");
        Ok(())
    }

    /// SIGTERM, and waits; it must end well.
    pub fn stop(self) -> Result<()> {
        self.terminate()?;
        self.wait()
    }

    /// Waits until it has ended; it must end well.
    pub fn wait(mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "the server did not stop cleanly: {status}");
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
