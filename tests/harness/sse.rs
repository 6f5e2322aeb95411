//! A reader of server-sent events, as a browser's `EventSource` reads them.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::Value;

use super::client::plain_http;
use super::{Answer, Project, within};

/// One event of the stream. Its `id` is the last one that was sent, as in a browser.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its kind.
    pub name: String,
    /// Its position.
    pub id: String,
    /// What it says.
    pub data: Value,
}

/// An open stream.
pub struct Sse {
    stream: BoxStream<'static, Result<Vec<u8>, reqwest::Error>>,
    buffer: Vec<u8>,
    /// The position to come back with.
    pub last_id: String,
    /// Comments seen so far: heartbeats.
    pub comments: usize,
}

impl Sse {
    /// Asks for a target, from a position on if one is given.
    pub async fn open(project: &Project, query: &str, last_id: Option<&str>) -> Self {
        let opened = Self::try_open(project, query, last_id).await;
        opened.unwrap_or_else(|error| panic!("no event stream: {error}"))
    }

    /// Like `open`, for a server that may be killed meanwhile.
    pub async fn try_open(
        project: &Project,
        query: &str,
        last_id: Option<&str>,
    ) -> Result<Self, String> {
        // A stream has no end, so this request has no time limit: each event has one.
        let http = plain_http().build().map_err(|e| e.to_string())?;
        let path = project.path(&format!("/realtime/events?{query}"));
        let url = format!("{}{path}", project.client.base());
        let mut request = http.get(url).bearer_auth(project.client.token());
        if let Some(last_id) = last_id {
            request = request.header("last-event-id", last_id);
        }
        let sent = within("an event stream", request.send()).await;
        let response = sent.map_err(|error| error.to_string())?;
        if response.status().is_server_error() || response.status() == 408 {
            return Err(format!("{path}: {}", response.status()));
        }
        assert_eq!(response.status(), 200, "{path}");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        assert!(kind.is_some_and(|kind| kind.starts_with("text/event-stream")), "{kind:?}");
        let stream = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec()));
        Ok(Self {
            stream: stream.boxed(),
            buffer: Vec::new(),
            last_id: last_id.unwrap_or_default().to_owned(),
            comments: 0,
        })
    }

    /// The next event; `None` when the stream has ended or broken.
    pub async fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.parse() {
                return Some(event);
            }
            match within("an event on a stream", self.stream.next()).await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next event, which must come.
    pub async fn next(&mut self) -> Event {
        self.try_next().await.expect("the event stream goes on")
    }

    /// Waits for one more comment.
    pub async fn heartbeat(&mut self) {
        let before = self.comments;
        while self.comments == before {
            let chunk = within("a heartbeat", self.stream.next()).await;
            let chunk = chunk.and_then(Result::ok).expect("the event stream goes on");
            self.buffer.extend_from_slice(&chunk);
            assert!(self.parse().is_none(), "expected a heartbeat, got an event");
        }
    }

    /// Takes the next whole event out of the buffer; comments on the way are counted.
    fn parse(&mut self) -> Option<Event> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let block = String::from_utf8(block).expect("an event stream is UTF-8");
            let (mut name, mut data) = ("message".to_owned(), Vec::new());
            for line in block.lines() {
                let (field, value) = line.split_once(':').unwrap_or((line, ""));
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => name = value.to_owned(),
                    "data" => data.push(value.to_owned()),
                    "id" => self.last_id = value.to_owned(),
                    "" if !line.is_empty() => self.comments += 1,
                    _ => {}
                }
            }
            if data.is_empty() {
                continue;
            }
            let data = serde_json::from_str(&data.join("\n")).expect("an event's data is JSON");
            return Some(Event { name, id: self.last_id.clone(), data });
        }
    }
}

/// Asks for a stream that must be refused.
pub async fn refused(project: &Project, query: &str, status: u16, code: &str) {
    let path = project.path(&format!("/realtime/events?{query}"));
    let answer: Answer = project.client.get(&path).send().await;
    answer.problem(status, code);
}
