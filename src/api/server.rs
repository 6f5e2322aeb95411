//! Brings the API up on a socket and down again: no request that was taken is left without its
//! answer.

use std::any::Any;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_http::KeepAlive;
use actix_web::dev::fn_service;
use actix_web::http::header::HeaderName;
use actix_web::rt::net::TcpStream;
use actix_web::{App as ActixApp, HttpServer};
use bytes::Bytes;
use engine::Engine;
use tokio::sync::watch;

use crate::app::{App, Shared};
use crate::caller::AdminKey;
use crate::dispatch::dispatch;
use crate::key_uses::KeyUses;
use crate::metrics::Metrics;
use crate::openapi::openapi;
use crate::people::{self, People};
use crate::recording::Recorder;
use crate::router::Router;
use crate::routes::ROUTES;

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send a request's head.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(10);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// How often a stopping server looks whether it is done, and how long its last answers get to
/// leave.
const STOP_STEP: Duration = Duration::from_millis(20);

/// Limits and choices of the API.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads that parse and answer.
    pub workers: usize,
    /// The administrator's token.
    pub admin_key: String,
    /// The largest body of a request.
    pub body_bytes_max: usize,
    /// The most items in a page.
    pub page_max: usize,
    /// The most writes, and the most reads, in a commit.
    pub commit_writes_max: usize,
    /// The most open WebSockets and event streams.
    pub sockets_max: usize,
    /// The most subscriptions of one socket.
    pub socket_subscriptions_max: usize,
    /// How often a silent socket is written to.
    pub heartbeat: Duration,
    /// How long requests and sockets get to end when the server stops.
    pub shutdown_wait: Duration,
    /// The header in which a proxy before the server says where a request comes from; `None` where
    /// there is no proxy.
    pub client_address_header: Option<HeaderName>,
    /// What this node answers.
    pub roles: Roles,
    /// What an answered write can survive, as `/readyz` tells it in one word.
    pub durability: String,
    /// Requests that rules decided which are kept to try other rules on; 0 for none.
    pub record_requests: usize,
    /// One in so many of them is.
    pub record_one_in: u32,
    /// For how long.
    pub record_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            // One core is left to the writers and to those who ask: on two cores one worker
            // answered a fifth more reads than two, with a third of their p99.
            workers: std::thread::available_parallelism()
                .map_or(1, |cores| cores.get().saturating_sub(1).max(1)),
            admin_key: String::new(),
            body_bytes_max: 8 << 20,
            page_max: 1000,
            commit_writes_max: 500,
            sockets_max: 20_000,
            socket_subscriptions_max: 100,
            heartbeat: Duration::from_secs(25),
            shutdown_wait: Duration::from_secs(10),
            client_address_header: None,
            roles: Roles { api: true, realtime: true },
            durability: "fsync".to_owned(),
            record_requests: 1_000,
            record_one_in: 10,
            record_for: Duration::from_secs(24 * 3600),
        }
    }
}

/// What a node of a cluster answers to clients; its health and its metrics always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Requests.
    pub api: bool,
    /// WebSockets and event streams.
    pub realtime: bool,
}

/// An API that is bound to its address and not yet answering.
pub struct Server {
    server: actix_web::dev::Server,
    addr: SocketAddr,
    shared: Arc<Shared>,
    stopping: watch::Sender<bool>,
}

impl Server {
    /// Binds the address and registers the API's metrics with `registry`, all of which `/metrics`
    /// shows.
    ///
    /// Errors when the admin key is empty, the address is taken or a metric's name is.
    pub fn bind(
        engine: Arc<Engine>,
        registry: prometheus::Registry,
        options: Options,
        people: people::Options,
    ) -> io::Result<Self> {
        let (listen, workers) = (options.listen, options.workers.max(1));
        let (sockets_max, unread_max) = (options.sockets_max, options.heartbeat * 2);
        let (stopping, watched) = watch::channel(false);
        let shared = share(engine, registry, options, people, watched)?;
        let for_workers = Arc::clone(&shared);
        let server = HttpServer::new(move || {
            let app = Rc::new(App::new(Arc::clone(&for_workers)));
            ActixApp::new()
                .default_service(fn_service(move |request| dispatch(Rc::clone(&app), request)))
        })
        .workers(workers)
        .backlog(BACKLOG)
        .max_connections(sockets_max.max(25_000))
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(HEAD_WAIT_MAX)
        .tcp_nodelay(true)
        .on_connect(move |connection, _| end_when_unread(connection, unread_max))
        .disable_signals()
        .bind(listen)?;
        let addr = server.addrs().first().copied();
        let addr = addr.ok_or_else(|| io::Error::other("no address was bound"))?;
        shared.people.bound(addr);
        Ok(Self { server: server.run(), addr, shared, stopping })
    }

    /// The address that it answers on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `stop` is ready; then tells clients to go elsewhere, and once `handed_over` is
    /// ready, too, takes no more connections, lets what is open end, and returns.
    ///
    /// Errors when the server ends by itself.
    pub async fn run(
        self,
        stop: impl Future<Output = ()>,
        handed_over: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let Self { mut server, addr: _, shared, stopping } = self;
        let handle = server.handle();
        let stopped = async {
            stop.await;
            stopping.send_replace(true);
            handed_over.await;
            handle.pause().await;
            drain(&shared).await;
            // Connections without a request keep nobody waiting.
            handle.stop(false).await;
        };
        tokio::select! {
            served = &mut server => return served,
            () = stopped => {}
        }
        server.await
    }
}

/// What the workers of one server share.
/// Lets the kernel end a connection whose peer takes nothing for so long: what waits for it would
/// wait for ever.
fn end_when_unread(connection: &dyn Any, unread_max: Duration) {
    if let Some(stream) = connection.downcast_ref::<TcpStream>() {
        let unread_ms_max = u32::try_from(unread_max.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, unread_ms_max) {
            tracing::debug!(%error, "no TCP user timeout");
        }
    }
}

pub(crate) fn share(
    engine: Arc<Engine>,
    registry: prometheus::Registry,
    options: Options,
    people: people::Options,
    stopping: watch::Receiver<bool>,
) -> io::Result<Arc<Shared>> {
    if options.admin_key.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the admin key is empty"));
    }
    let people = People::new(people, engine.sealer().clone()).map_err(io::Error::other)?;
    let openapi = openapi().to_json().map_err(io::Error::other)?;
    Ok(Arc::new(Shared {
        engine,
        admin_key: AdminKey::new(&options.admin_key),
        peer_key: AdminKey::new(&crate::peer::token(&options.admin_key)),
        people,
        key_uses: KeyUses::default(),
        recorder: Recorder::new(&options),
        metrics: Metrics::register(&registry).map_err(io::Error::other)?,
        registry,
        router: Router::new(ROUTES),
        openapi: Bytes::from(openapi),
        in_flight: AtomicUsize::new(0),
        stopping,
        options,
    }))
}

/// Waits until requests are answered and sockets closed, or the time is over.
async fn drain(shared: &Shared) {
    let until = Instant::now() + shared.options.shutdown_wait;
    let is_busy = || {
        shared.in_flight.load(Ordering::Relaxed) > 0 || shared.metrics.socket_connections.get() > 0
    };
    while is_busy() && Instant::now() < until {
        tokio::time::sleep(STOP_STEP).await;
    }
    // The last answers are made, but may still be on their way into the socket.
    tokio::time::sleep(STOP_STEP).await;
}
