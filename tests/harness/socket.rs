//! A WebSocket client that follows the realtime protocol.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{Project, within};

/// What came out of a socket.
#[derive(Debug)]
pub enum Received {
    /// A frame of the protocol.
    Frame(Value),
    /// The server closed the socket, with this code and reason.
    Closed(Option<(u16, String)>),
}

/// A connection.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Frames that share a message with one that was asked for.
    waiting: VecDeque<Value>,
    /// The answer to `hello`.
    pub welcome: Value,
}

impl Socket {
    /// Connects without saying anything.
    pub async fn open(project: &Project) -> Result<Self, Error> {
        let base = project.client.base().replacen("http", "ws", 1);
        let url = format!("{base}{}", project.path("/realtime"));
        let connected = within("a socket", tokio_tungstenite::connect_async(url)).await;
        let (stream, _) = connected?;
        Ok(Self { stream, waiting: VecDeque::new(), welcome: Value::Null })
    }

    /// Connects and says hello with the project's key.
    pub async fn connect(project: &Project) -> Self {
        let tried = Self::try_connect(project).await;
        tried.unwrap_or_else(|error| panic!("no socket: {error}"))
    }

    /// Like `connect`, for a server that may be killed meanwhile.
    pub async fn try_connect(project: &Project) -> Result<Self, Error> {
        let mut socket = Self::open(project).await?;
        let hello = json!({"op": "hello", "token": project.client.token(), "protocol": 1});
        socket.try_send(&hello).await?;
        match socket.receive().await? {
            Received::Frame(welcome) if welcome["op"] == "welcome" => socket.welcome = welcome,
            Received::Frame(other) => panic!("expected a welcome, got {other}"),
            Received::Closed(_) => return Err(Error::ConnectionClosed),
        }
        Ok(socket)
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) {
        self.try_send(frame).await.unwrap_or_else(|error| panic!("{frame}: {error}"));
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends any message.
    pub async fn send_message(&mut self, message: Message) {
        within("room to send", self.stream.send(message)).await.expect("the socket is open");
    }

    /// Like `send`, for a server that may be killed meanwhile.
    pub async fn try_send(&mut self, frame: &Value) -> Result<(), Error> {
        within("room to send", self.stream.send(Message::text(frame.to_string()))).await
    }

    /// Asks for a target, from a position on if one is given.
    pub async fn subscribe(&mut self, sub: &str, target: &Value, from: Option<&str>) {
        let sent = self.try_subscribe(sub, target, from).await;
        sent.unwrap_or_else(|error| panic!("subscribe: {error}"));
    }

    /// Like `subscribe`, for a server that may be killed meanwhile.
    pub async fn try_subscribe(
        &mut self,
        sub: &str,
        target: &Value,
        from: Option<&str>,
    ) -> Result<(), Error> {
        let mut frame = json!({"op": "subscribe", "sub": sub, "target": target});
        if let Some(from) = from {
            frame["from"] = json!(from);
        }
        self.try_send(&frame).await
    }

    /// The next frame, heartbeats left out, or the end.
    pub async fn receive(&mut self) -> Result<Received, Error> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                if matches!(frame["op"].as_str(), Some("heartbeat" | "ping")) {
                    continue;
                }
                return Ok(Received::Frame(frame));
            }
            match self.message().await {
                Some(Ok(Message::Text(text))) => {
                    let frames = serde_json::Deserializer::from_str(&text).into_iter();
                    self.waiting.extend(frames.map(|frame| frame.expect("a frame is JSON")));
                }
                Some(Ok(Message::Close(close))) => {
                    let told = |close: CloseFrame| (close.code.into(), close.reason.to_string());
                    return Ok(Received::Closed(close.map(told)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(Received::Closed(None)),
            }
        }
    }

    /// The next message of any kind; answers to pings go out on the way.
    pub async fn message(&mut self) -> Option<Result<Message, Error>> {
        within("a message on a socket", self.stream.next()).await
    }

    /// The next frame, which must come.
    pub async fn frame(&mut self) -> Value {
        match self.receive().await {
            Ok(Received::Frame(frame)) => frame,
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    /// The next frame, which must have this `op`.
    pub async fn expect(&mut self, op: &str) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame["op"], op, "{frame}");
        frame
    }

    /// The documents of a snapshot, however many frames it takes, up to `live`; and the position.
    pub async fn snapshot(&mut self) -> (Vec<Value>, Value) {
        let mut documents = Vec::new();
        let mut parts = 0;
        loop {
            let mut frame = self.frame().await;
            match frame["op"].as_str() {
                Some("snapshot") => {
                    documents.append(frame["documents"].as_array_mut().expect("documents"));
                    parts += 1;
                }
                Some("live") => {
                    assert!(parts > 0, "live came without a snapshot");
                    return (documents, frame["position"].clone());
                }
                _ => panic!("expected a snapshot or live, got {frame}"),
            }
        }
    }

    /// The next `count` changes; `live` in between is passed over.
    pub async fn changes(&mut self, count: usize) -> Vec<Value> {
        let mut changes = Vec::with_capacity(count);
        while changes.len() < count {
            let frame = self.frame().await;
            match frame["op"].as_str() {
                Some("change") => changes.push(frame),
                Some("live") => {}
                _ => panic!("expected a change, got {frame}"),
            }
        }
        changes
    }

    /// Passes over frames until the server closes; returns code and reason.
    pub async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            match self.receive().await {
                Ok(Received::Frame(_)) => {}
                Ok(Received::Closed(close)) => return close,
                Err(error) => panic!("the connection broke instead of closing: {error}"),
            }
        }
    }
}
