//! SIGTERM and SIGINT: the first asks for a clean stop, the second ends the process at once.
//! systemd is told when it may send clients and when the stop begins.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// How a shell reports a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// Resolves at the first signal. Must be called within a runtime that outlives the stop.
pub(crate) fn watch() -> anyhow::Result<oneshot::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "stopping; another signal ends it at once");
        notify("STOPPING=1");
        // Nobody waits any more when the start failed meanwhile.
        let _ = stop.send(());
        next().await;
        tracing::warn!("ended by a second signal");
        std::process::exit(INTERRUPTED);
    });
    Ok(stopped)
}

/// Tells the service manager, if there is one, as sd_notify(3) does. Failing to is no failure.
pub(crate) fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = || -> std::io::Result<()> {
        let name = path.as_encoded_bytes();
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
        Ok(())
    };
    if let Err(error) = sent() {
        tracing::debug!(%error, "service manager not told");
    }
}
