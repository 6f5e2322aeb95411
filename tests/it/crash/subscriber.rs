//! A subscriber that comes back with its last position whenever its connection is gone, and now
//! and then hangs up by itself.

use std::sync::Arc;

use serde_json::{Value, json};

use super::ledger::offset_of;
use super::world::World;
use harness::{Socket, Sse, socket::Received};

/// One in so many frames, a subscriber hangs up.
const HANGS_UP_ONE_IN: usize = 60;

/// By which protocol.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    WebSocket,
    Sse,
}

/// What a subscriber follows, and how.
#[derive(Debug, Clone)]
pub(super) struct Target {
    protocol: Protocol,
    /// A collection `a` or a document `a/id`.
    pub(super) name: &'static str,
}

impl Target {
    pub(super) fn all() -> [Self; 5] {
        use Protocol::{Sse, WebSocket};
        [(WebSocket, "a"), (WebSocket, "b"), (WebSocket, "a/s0"), (Sse, "a"), (Sse, "a/s1")]
            .map(|(protocol, name)| Self { protocol, name })
    }

    fn parts(&self) -> (&str, Option<&str>) {
        match self.name.split_once('/') {
            Some((collection, id)) => (collection, Some(id)),
            None => (self.name, None),
        }
    }

    /// Whether an event with this subject is for it.
    pub(super) fn takes(&self, subject: &str) -> bool {
        let rest = subject.strip_prefix("document/").and_then(|rest| rest.strip_prefix(self.name));
        rest.is_some_and(|rest| match self.parts() {
            (_, Some(_)) => rest.is_empty(),
            (_, None) => rest.starts_with('/'),
        })
    }
}

/// A change as a subscriber saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) offset: u64,
    pub(super) event: String,
    pub(super) kind: String,
    pub(super) version: u64,
}

/// One subscriber.
pub(super) struct Subscriber {
    world: Arc<World>,
    pub(super) target: Target,
    rng: fastrand::Rng,
    /// The position to come back with.
    last: Option<String>,
    /// The offset of the snapshot that it began with.
    pub(super) start: u64,
    seen: Vec<Seen>,
    /// How often it came back.
    resumed: usize,
}

enum Connection {
    WebSocket(Box<Socket>),
    Sse(Sse),
}

impl Subscriber {
    /// Subscribes for the first time and waits for the snapshot.
    pub(super) async fn start(world: Arc<World>, target: Target, rng: fastrand::Rng) -> Self {
        let seen = Vec::new();
        let mut new = Self { world, target, rng, last: None, start: 0, seen, resumed: 0 };
        let mut connection = new.connect().await.expect("the server is up");
        while new.last.is_none() {
            let frame = connection.next().await.expect("the server is up");
            if frame["op"] == "live" {
                new.take(&frame);
            }
        }
        new.start = offset_of(new.last.as_deref().unwrap_or_default());
        new
    }

    /// Follows until it has seen the end.
    pub(super) async fn run(mut self) -> Self {
        let mut end = self.world.end();
        while !self.is_done() {
            tokio::select! {
                () = self.follow() => {}
                changed = end.changed() => changed.expect("the world goes on"),
            }
        }
        self
    }

    fn is_done(&self) -> bool {
        let end = self.world.end();
        let last = end.borrow().as_ref().map(|last| last.get(self.target.name).copied());
        last.is_some_and(|last| self.seen.last().map(|seen| seen.offset) >= last)
    }

    /// One connection, until it is gone, or it hangs up, or the end is seen.
    async fn follow(&mut self) {
        let base = self.world.project().await.client.base().to_owned();
        let Some(mut connection) = self.connect().await else {
            return self.world.gone(&base).await;
        };
        self.resumed += 1;
        loop {
            let Some(frame) = connection.next().await else { return self.world.gone(&base).await };
            assert_ne!(frame["op"], "snapshot", "{:?} was not resumed: {frame}", self.target);
            self.take(&frame);
            if self.rng.usize(..HANGS_UP_ONE_IN) == 0 || self.is_done() {
                return;
            }
        }
    }

    async fn connect(&self) -> Option<Connection> {
        let project = self.world.project().await;
        let (collection, id) = self.target.parts();
        match self.target.protocol {
            Protocol::WebSocket => {
                let mut target = json!({"collection": collection});
                if let Some(id) = id {
                    target["id"] = json!(id);
                }
                let mut socket = Socket::try_connect(&project).await.ok()?;
                socket.try_subscribe("s", &target, self.last.as_deref()).await.ok()?;
                Some(Connection::WebSocket(Box::new(socket)))
            }
            Protocol::Sse => {
                let id = id.map_or_else(String::new, |id| format!("&id={id}"));
                let query = format!("collection={collection}{id}");
                let last = self.last.as_deref();
                Sse::try_open(&project, &query, last).await.ok().map(Connection::Sse)
            }
        }
    }

    fn take(&mut self, frame: &Value) {
        let position = frame["position"].as_str().expect("every frame has a position");
        if frame["op"] == "change" {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            self.seen.push(Seen {
                offset: offset_of(position),
                event: text(&frame["event"]),
                kind: text(&frame["type"]),
                version: frame["document"]["version"].as_u64().unwrap_or_default(),
            });
        }
        self.last = Some(position.to_owned());
    }

    /// Compares what it saw with what it must have seen.
    pub(super) fn check(&self, wanted: &[Seen]) {
        let (target, count) = (&self.target, self.seen.len());
        println!("{target:?}: {count} changes, resumed {} times", self.resumed);
        let differs = self.seen.iter().zip(wanted).position(|(seen, wanted)| seen != wanted);
        let around = differs.unwrap_or(count.min(wanted.len()));
        let show = |list: &[Seen]| {
            let part = list.iter().skip(around.saturating_sub(1)).take(3).collect::<Vec<_>>();
            format!("{part:?}")
        };
        assert!(
            self.seen == wanted,
            "{target:?} saw {count} of {} changes; at {around}: {} instead of {}",
            wanted.len(),
            show(&self.seen),
            show(wanted)
        );
    }
}

impl Connection {
    /// The next frame of either protocol in the form of a WebSocket's; `None` when it is gone.
    async fn next(&mut self) -> Option<Value> {
        let frame = match self {
            Self::WebSocket(socket) => match socket.receive().await {
                Ok(Received::Frame(frame)) => frame,
                Ok(Received::Closed(_)) | Err(_) => return None,
            },
            Self::Sse(stream) => {
                let event = stream.try_next().await?;
                let mut frame = event.data;
                frame["op"] = json!(event.name);
                if let Some(position) = frame["position"].as_str() {
                    assert_eq!(position, event.id, "an event's id is its position");
                }
                frame
            }
        };
        assert!(frame["op"] != "error" && frame["op"] != "problem", "{frame}");
        Some(frame)
    }
}
