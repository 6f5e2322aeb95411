//! What every request of one worker thread can reach.

use std::cell::OnceCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use engine::Engine;
use engine::hub::Shard;
use tokio::sync::watch;

use crate::caller::AdminKey;
use crate::key_uses::KeyUses;
use crate::metrics::Metrics;
use crate::people::People;
use crate::recording::Recorder;
use crate::router::Router;
use crate::server::Options;

/// What all workers share.
pub(crate) struct Shared {
    /// The whole below.
    pub(crate) engine: Arc<Engine>,
    /// Limits and choices.
    pub(crate) options: Options,
    /// The server's own key.
    pub(crate) admin_key: AdminKey,
    /// What other nodes know this one by.
    pub(crate) peer_key: AdminKey,
    /// What signs people in.
    pub(crate) people: People,
    /// Keys whose use is being noted.
    pub(crate) key_uses: KeyUses,
    /// Requests that rules decided.
    pub(crate) recorder: Arc<Recorder>,
    /// What the API counts.
    pub(crate) metrics: Metrics,
    /// Everything that is counted, for `/metrics`.
    pub(crate) registry: prometheus::Registry,
    /// Paths to routes.
    pub(crate) router: Router,
    /// The OpenAPI document.
    pub(crate) openapi: Bytes,
    /// Requests that have no answer yet.
    pub(crate) in_flight: AtomicUsize,
    /// Turns true once, when the server begins to stop: sockets close themselves then.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// One worker's view; never leaves its thread.
pub(crate) struct App {
    shared: Arc<Shared>,
    shard: OnceCell<Rc<Shard>>,
}

impl App {
    /// For the worker that calls it.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, shard: OnceCell::new() }
    }

    /// The hub's part of this thread; started with the first subscription.
    pub(crate) fn shard(&self) -> &Rc<Shard> {
        self.shard.get_or_init(|| Shard::start(Arc::clone(&self.shared.engine)))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}
