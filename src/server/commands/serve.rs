//! `serve`: the server, from the first opened file to the last closed one.
//! `dev` runs the same, with a key of its own making.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use messages::Inbox;
use toml::Value;

use crate::cli::Serve;
use crate::config::{Config, Flag};
use crate::signals;
use crate::start::{self, Node, Opening, people, web};

/// Names the variable that holds the administrator's key.
pub(super) const KEY_VARIABLE: &str = "HEADWATER_ADMIN_KEY";
/// A shorter key could be guessed.
const KEY_CHARS_MIN: usize = 16;

pub(super) fn run(command: &Serve) -> anyhow::Result<ExitCode> {
    let Some(key) = key_from_environment()? else {
        bail!(
            "{KEY_VARIABLE} is not set: give the server an admin key of at least {KEY_CHARS_MIN} \
             characters, for example hw_admin_ and the output of `openssl rand -hex 24`"
        );
    };
    let loaded = super::configuration(&command.storage.config, flags(command)?)?;
    crate::logging::init(&loaded.config.logging)?;
    serve(&loaded.config, key, None, |_| {})
}

/// The administrator's key, when the environment has one.
pub(super) fn key_from_environment() -> anyhow::Result<Option<String>> {
    let Some(key) = std::env::var_os(KEY_VARIABLE).filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    let key = key.to_str().unwrap_or_default();
    check_key(key).map(|()| Some(key.to_owned()))
}

fn check_key(key: &str) -> anyhow::Result<()> {
    ensure!(
        key.len() >= KEY_CHARS_MIN && key.bytes().all(|byte| byte.is_ascii_graphic()),
        "{KEY_VARIABLE} must have at least {KEY_CHARS_MIN} characters, all of them letters, \
         digits or signs"
    );
    Ok(())
}

/// What the command line says about the configuration.
pub(super) fn flags(command: &Serve) -> anyhow::Result<Vec<Flag>> {
    let mut flags = super::data_flags(&command.storage)?;
    if let Some(listen) = &command.listen {
        let value = Value::String(listen.clone());
        flags.push(Flag { name: "--listen", section: "server", key: "listen", value });
    }
    if let Some(roles) = &command.roles {
        let value = Value::String(roles.clone());
        flags.push(Flag { name: "--roles", section: "cluster", key: "roles", value });
    }
    Ok(flags)
}

/// Starts, serves until a signal, and stops.
pub(super) fn serve(
    config: &Config,
    admin_key: String,
    inbox: Option<Arc<Inbox>>,
    announce: impl FnOnce(SocketAddr),
) -> anyhow::Result<ExitCode> {
    // Whoever speaks TLS as a client takes this one; another was installed by nobody.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let started = Instant::now();
    let listen = web::address(config)?;
    start::files::allow(config.server.sockets_max);
    if config.is_shared() {
        return serve_shared(config, admin_key, listen, inbox, announce);
    }
    let node = Node::start(config, &start::progress_in_log())?;
    node.keep_trimming(config);
    let signal = node.runtime.block_on(async { signals::watch() })?;
    let stop = async {
        // The sender only goes away with the runtime, and then it is time to stop too.
        let _ = signal.await;
    };
    let ready = |address: SocketAddr| {
        let duration_ms = started.elapsed().as_millis() as u64;
        tracing::info!(%address, duration_ms, version = env!("CARGO_PKG_VERSION"), "serving");
        signals::notify("READY=1");
        announce(address);
    };
    let options = web::options(config, listen, admin_key);
    let people = people::options(config, node.server_keys.clone(), inbox)?;
    let served = web::serve(&node, options, people, ready, stop, async {});
    let stopped = node.stop(Duration::from_secs(config.server.shutdown_wait_s));
    served.and(stopped)?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// As [`serve`], beside other nodes: answers from the start, and says what it waits for.
fn serve_shared(
    config: &Config,
    admin_key: String,
    listen: SocketAddr,
    inbox: Option<Arc<Inbox>>,
    announce: impl FnOnce(SocketAddr),
) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    if config.cluster.advertise.is_empty() && listen.ip().is_loopback() {
        tracing::warn!(
            %listen,
            "nodes on other machines can't reach this one, and take its address for their own: set \
             cluster.advertise, unless all nodes are on this machine"
        );
    }
    let opening = Opening::new(config)?;
    let mut signal = opening.runtime.block_on(async { signals::watch() })?;
    let joined = web::wait(config, &opening, listen, &admin_key, &mut signal)?;
    let Some((engine, listen)) = joined else { return Ok(ExitCode::SUCCESS) };
    let node = opening.with(engine);
    node.keep_trimming(config);
    let (begun, handed_over) = node.hand_over_when(signal);
    let ready = |address: SocketAddr| {
        let duration_ms = started.elapsed().as_millis() as u64;
        tracing::info!(%address, duration_ms, version = env!("CARGO_PKG_VERSION"), "serving");
        signals::notify("READY=1");
        announce(address);
    };
    let stop = async {
        let _ = begun.await;
    };
    let handed_over = async {
        let _ = handed_over.await;
    };
    let options = web::options(config, listen, admin_key);
    let people = people::options(config, node.server_keys.clone(), inbox)?;
    let served = web::serve(&node, options, people, ready, stop, handed_over);
    let stopped = node.stop(Duration::from_secs(config.server.shutdown_wait_s));
    served.and(stopped)?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::check_key;

    #[test]
    fn short_or_strange_keys_are_refused() {
        assert!(check_key("hw_admin_0123456789").is_ok());
        for bad in
            ["", "short", "fifteen-letters", "sixteen letters and a space", "schlüssel-lang-genug"]
        {
            assert!(check_key(bad).is_err(), "{bad}");
        }
    }
}
