//! Runs the API on the calling thread until it is told to stop.
//! An address that can't be had is found out before anything is opened.

use std::future::Future;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use anyhow::{Context as _, anyhow};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Node, Opened, Opening};
use crate::config::Config;

/// The description of the API as JSON, for people and tools.
pub(crate) fn openapi() -> anyhow::Result<String> {
    Ok(api::openapi().to_pretty_json()?)
}

/// Where to listen; errors when that is impossible, before anything is opened.
pub(crate) fn address(config: &Config) -> anyhow::Result<SocketAddr> {
    let listen = &config.server.listen;
    let mut addresses = listen.to_socket_addrs().with_context(|| format!("--listen {listen}"))?;
    let address = addresses.next().ok_or_else(|| anyhow!("{listen} is no address"))?;
    TcpListener::bind(address).map_err(|error| taken(address, error))?;
    Ok(address)
}

/// Serves until `stop`, and on until `handed_over`; calls `announce` with the address once it is
/// bound.
pub(crate) fn serve(
    node: &Node,
    mut options: api::Options,
    people: api::PeopleOptions,
    announce: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
    handed_over: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (engine, registry) = (node.engine.clone(), node.registry.clone());
    let listen = options.listen;
    if let Some(durability) = engine.log().durability() {
        durability.clone_into(&mut options.durability);
    }
    System::new().block_on(async {
        let server = api::Server::bind(engine, registry, options, people);
        let server = server.map_err(|error| taken(listen, error))?;
        announce(server.addr());
        server.run(stop, handed_over).await.context("serving")
    })
}

/// Opens what other nodes share while a server on `listen` tells everybody to wait. The engine and
/// where to serve it; `None` when the signal came first.
pub(crate) fn wait(
    config: &Config,
    opening: &Opening,
    listen: SocketAddr,
    admin_key: &str,
    signal: &mut oneshot::Receiver<()>,
) -> anyhow::Result<Option<(Opened, SocketAddr)>> {
    let reason = Arc::new(Mutex::new("opening log and tables".to_owned()));
    System::new().block_on(async {
        let waiting = api::Waiting::bind(listen, durability(config), Arc::clone(&reason));
        let waiting = waiting.map_err(|error| taken(listen, error))?;
        let address = waiting.addr();
        tracing::info!(%address, "waiting for log and tables");
        let (config, admin_key) = (config.clone(), admin_key.to_owned());
        let registry = opening.registry.clone();
        let mut joining = opening.runtime.spawn(async move {
            let waits = move |why| *reason.lock() = why;
            Node::join(&registry, &config, &admin_key, &address.to_string(), false, &waits).await
        });
        let joined = async {
            tokio::select! {
                joined = &mut joining => Some(joined),
                _ = signal => None,
            }
        };
        match waiting.run(joined).await {
            Some(joined) => Ok(Some((joined.context("starting")??, address))),
            None => {
                joining.abort();
                Ok(None)
            }
        }
    })
}

/// The API's options that the configuration makes.
pub(crate) fn options(config: &Config, listen: SocketAddr, admin_key: String) -> api::Options {
    let (server, realtime) = (&config.server, &config.realtime);
    let defaults = api::Options::default();
    api::Options {
        listen,
        workers: if server.workers == 0 { defaults.workers } else { server.workers },
        admin_key,
        body_bytes_max: server.body_bytes_max,
        page_max: server.page_max,
        commit_writes_max: server.commit_writes_max,
        sockets_max: server.sockets_max,
        socket_subscriptions_max: realtime.socket_subscriptions_max,
        heartbeat: Duration::from_secs(realtime.heartbeat_s),
        shutdown_wait: Duration::from_secs(server.shutdown_wait_s),
        client_address_header: server.client_address_header.parse().ok(),
        roles: config.cluster.roles().map_or(defaults.roles, |roles| api::Roles {
            api: roles.api,
            realtime: roles.realtime,
        }),
        durability: durability(config).to_owned(),
        record_requests: config.auth.record_requests,
        record_one_in: config.auth.record_one_in,
        record_for: Duration::from_secs(3600 * u64::from(config.auth.record_hours)),
    }
}

/// What an answered write survives, in one word, as far as the configuration says.
fn durability(config: &Config) -> &'static str {
    match (config.is_shared(), config.log.fsync) {
        // Only the topic knows.
        (true, _) => "unknown",
        (false, true) => "fsync",
        (false, false) => "relaxed",
    }
}

fn taken(address: SocketAddr, error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => {
            let other = address.port().checked_add(1).unwrap_or(0);
            let ip = address.ip();
            anyhow!(
                "{address} is taken by another program; choose another address, \
                 for example --listen {}",
                SocketAddr::new(ip, other)
            )
        }
        _ => anyhow!("can't listen on {address}: {error}"),
    }
}
