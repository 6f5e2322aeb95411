//! A subscriber that follows one collection and comes back with its last position whenever its
//! connection is gone, to any node; and now and then hangs up by itself. Puts down everything that
//! it is told.

use std::sync::Arc;
use std::time::Duration;

use harness::socket::Received;
use harness::{Project, Socket, Sse};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::requests::shown;
use super::world::{Ends, World, offset_of};
use crate::checker::streams::{Stream, Told};

/// One in so many frames, a subscriber hangs up.
const HANGS_UP_ONE_IN: usize = 150;
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// A connection that says nothing for so long is given up: its node may be gone without a word.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// The longest pause before the next connection.
const AGAIN_MS_MAX: u64 = 300;
/// The longest wait for the first snapshot.
const BEGIN_MAX: Duration = Duration::from_secs(60);
/// How long the end may take to arrive, once nobody writes.
const END_MAX: Duration = Duration::from_secs(90);

/// By which protocol.
#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    WebSocket,
    Sse,
}

/// One subscriber.
pub(super) struct Subscriber {
    world: Arc<World>,
    protocol: Protocol,
    rng: fastrand::Rng,
    node: usize,
    /// The offset to come back with; `None` before the first snapshot is whole.
    last: Option<u64>,
    stream: Stream,
}

enum Connection {
    WebSocket(Box<Socket>),
    Sse(Sse),
}

impl Subscriber {
    pub(super) fn new(
        world: &Arc<World>,
        protocol: Protocol,
        tenant: usize,
        collection: &'static str,
        mut rng: fastrand::Rng,
    ) -> Self {
        let name = format!("{protocol:?} of #{tenant} {collection}");
        let node = rng.usize(..world.nodes.len());
        let stream = Stream::new(name, tenant, collection);
        Self { world: Arc::clone(world), protocol, rng, node, last: None, stream }
    }

    /// Follows until the first snapshot is there.
    pub(super) async fn begin(&mut self) {
        let began = Instant::now();
        while self.last.is_none() {
            assert!(began.elapsed() < BEGIN_MAX, "no snapshot: {:?}", self.stream);
            self.stream.snapshot.clear();
            self.follow(false).await;
        }
    }

    /// Follows until it has seen the end, or has waited for it long enough.
    pub(super) async fn run(mut self) -> Stream {
        let mut ends = self.world.ends.subscribe();
        loop {
            if self.is_done() {
                return self.stream;
            }
            tokio::select! {
                () = self.follow(true) => {}
                () = given_up(&mut ends) => {
                    self.stream.connections.push("the end did not come".to_owned());
                    return self.stream;
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        let ends = self.world.ends.borrow();
        let place = (self.stream.tenant, self.stream.collection);
        ends.as_ref().is_some_and(|ends| self.last >= ends.get(&place).copied())
    }

    /// One connection, until it is gone, or it hangs up, or all is seen.
    async fn follow(&mut self, may_hang_up: bool) {
        let number = self.stream.connections.len();
        let from = self.last;
        self.stream.connections.push(String::new());
        let ended = self.connected(number, may_hang_up).await;
        self.stream.connections[number] =
            format!("at {} from {from:?} to {:?}: {ended}", self.world.nodes[self.node], self.last);
        if !self.is_done() {
            tokio::time::sleep(Duration::from_millis(self.rng.u64(..AGAIN_MS_MAX))).await;
            self.node = self.rng.usize(..self.world.nodes.len());
        }
    }

    async fn connected(&mut self, number: usize, may_hang_up: bool) -> String {
        let mut connection = match timeout(CONNECT_MAX, self.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(why)) => return why,
            Err(_) => return "no connection in time".to_owned(),
        };
        let mut ends = self.world.ends.subscribe();
        ends.mark_unchanged();
        loop {
            let frame = tokio::select! {
                frame = timeout(SILENCE_MAX, connection.next()) => frame,
                _ = ends.changed() => {
                    if self.is_done() {
                        return "the end".to_owned();
                    }
                    continue;
                }
            };
            let frame = match frame {
                Ok(Ok(frame)) => frame,
                Ok(Err(why)) => return why,
                Err(_) => return "silence".to_owned(),
            };
            match frame["op"].as_str().unwrap_or_default() {
                "error" | "problem" => {
                    self.refused(&frame);
                    return frame.to_string();
                }
                "snapshot" => self.take_snapshot(&frame),
                "change" => self.take_change(&frame, number),
                "live" => self.seen(&frame),
                _ => self.stream.problems.push(format!("what is {frame}?")),
            }
            if self.is_done() {
                return "the end".to_owned();
            }
            let is_begun = self.last.is_some();
            if is_begun && (!may_hang_up || self.rng.usize(..HANGS_UP_ONE_IN) == 0) {
                return "hung up".to_owned();
            }
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let tenant = &self.world.tenants[self.stream.tenant];
        let project = tenant.project.at(&self.world.nodes[self.node]);
        let from = self.last.map(|last| tenant.position(last));
        let collection = self.stream.collection;
        match self.protocol {
            Protocol::WebSocket => {
                let socket = socket(&project, collection, from.as_deref()).await;
                socket.map(|socket| Connection::WebSocket(Box::new(socket)))
            }
            Protocol::Sse => {
                let query = format!("collection={collection}");
                Sse::try_open(&project, &query, from.as_deref()).await.map(Connection::Sse)
            }
        }
    }

    /// A node that can't feed it now is no fault; a position that is not taken is one.
    fn refused(&mut self, frame: &Value) {
        let may_be = ["unavailable", "busy", "outcome-unknown", "stale-read"];
        if !frame["code"].as_str().is_some_and(|code| may_be.contains(&code)) {
            self.stream.problems.push(format!("from {:?}: {frame}", self.last));
        }
    }

    fn take_snapshot(&mut self, frame: &Value) {
        if self.last.is_some() || frame["reset"] != false {
            self.stream.problems.push(format!("not resumed from {:?}: {frame}", self.last));
        }
        let documents = frame["documents"].as_array().into_iter().flatten();
        let documents: Option<Vec<_>> = documents.map(shown).collect();
        match documents {
            Some(documents) => self.stream.snapshot.extend(documents),
            None => self.stream.problems.push(format!("not a snapshot: {frame}")),
        }
        if frame["more"] == false {
            self.seen(frame);
            self.stream.start = self.last.unwrap_or(0);
        }
    }

    fn take_change(&mut self, frame: &Value, connection: usize) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let offset = self.offset(frame);
        self.stream.told.push(Told {
            offset: offset.unwrap_or(0),
            id: text(&frame["document"]["id"]),
            version: frame["document"]["version"].as_u64().unwrap_or(0),
            kind: text(&frame["type"]),
            event: text(&frame["event"]),
            connection,
        });
        self.seen(frame);
    }

    fn offset(&self, frame: &Value) -> Option<u64> {
        frame["position"].as_str().and_then(offset_of).map(|(_, offset)| offset)
    }

    /// Remembers where to go on.
    fn seen(&mut self, frame: &Value) {
        let offset = self.offset(frame);
        if offset.is_none() || offset < self.last {
            self.stream.problems.push(format!("goes back from {:?}: {frame}", self.last));
            return;
        }
        self.last = offset;
    }
}

/// Returns when the end is known and was waited for long enough.
async fn given_up(ends: &mut watch::Receiver<Option<Ends>>) {
    if ends.wait_for(Option::is_some).await.is_ok() {
        tokio::time::sleep(END_MAX).await;
    }
}

async fn socket(project: &Project, collection: &str, from: Option<&str>) -> Result<Socket, String> {
    let failed = |error: tokio_tungstenite::tungstenite::Error| error.to_string();
    let mut socket = Socket::open(project).await.map_err(failed)?;
    let hello = json!({"op": "hello", "token": project.client.token(), "protocol": 1});
    socket.try_send(&hello).await.map_err(failed)?;
    match socket.receive().await.map_err(failed)? {
        Received::Frame(frame) if frame["op"] == "welcome" => {}
        other => return Err(format!("no welcome: {other:?}")),
    }
    let target = json!({"collection": collection});
    socket.try_subscribe("s", &target, from).await.map_err(failed)?;
    Ok(socket)
}

impl Connection {
    /// The next frame of either protocol in the form of a WebSocket's.
    async fn next(&mut self) -> Result<Value, String> {
        match self {
            Self::WebSocket(socket) => match socket.receive().await {
                Ok(Received::Frame(frame)) => Ok(frame),
                Ok(Received::Closed(close)) => Err(format!("closed: {close:?}")),
                Err(error) => Err(error.to_string()),
            },
            Self::Sse(stream) => {
                let event = stream.try_next().await.ok_or("the stream ended")?;
                let mut frame = event.data;
                frame["op"] = json!(event.name);
                Ok(frame)
            }
        }
    }
}
