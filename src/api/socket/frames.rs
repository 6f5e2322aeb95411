//! What the hub says, as frames of the two wire protocols.

use bytes::Bytes;
use domain::Position;
use engine::hub::{Change, ChangeKind, Encoder, Snapshot};

use crate::document::write_document;
use crate::error::Problem;

/// Frames of a WebSocket subscription: JSON text messages that carry the client's name of the
/// subscription.
pub(super) struct WebSocketFrames {
    /// `{"op":…,"sub":"…"` needs the name as JSON.
    sub: String,
    name: String,
    correlation_id: String,
}

impl WebSocketFrames {
    pub(super) fn new(sub: &str, correlation_id: &str) -> Self {
        let correlation_id = correlation_id.to_owned();
        Self { sub: quoted(sub), name: format!("websocket {sub}"), correlation_id }
    }

    fn start(&self, op: &str) -> Vec<u8> {
        let mut json = message();
        json.extend_from_slice(b"{\"op\":\"");
        json.extend_from_slice(op.as_bytes());
        json.extend_from_slice(b"\",\"sub\":");
        json.extend_from_slice(self.sub.as_bytes());
        json
    }
}

impl Encoder for WebSocketFrames {
    fn name(&self) -> &str {
        &self.name
    }

    fn change(&self, change: &Change) -> Bytes {
        let mut json = self.start("change");
        json.push(b',');
        write_change(&mut json, change);
        json.push(b'}');
        text(json)
    }

    fn count(&self, count: u64, position: Position) -> Bytes {
        let mut json = self.start("count");
        let rest = format!(",\"count\":{count},\"position\":\"{position}\"}}");
        json.extend_from_slice(rest.as_bytes());
        text(json)
    }

    fn snapshot(&self, snapshot: &Snapshot) -> Bytes {
        let mut json = self.start("snapshot");
        json.push(b',');
        write_snapshot(&mut json, snapshot);
        json.push(b'}');
        text(json)
    }

    fn live(&self, position: Position) -> Bytes {
        let mut json = self.start("live");
        json.extend_from_slice(format!(",\"position\":\"{position}\"}}").as_bytes());
        text(json)
    }

    fn failed(&self, error: &engine::Error) -> Bytes {
        error_message(Some(&self.sub), &Problem::from(error.clone()), &self.correlation_id)
    }
}

/// An `error` message, about a subscription (its name as JSON) or the connection.
pub(super) fn error_message(sub: Option<&str>, problem: &Problem, correlation_id: &str) -> Bytes {
    error_about(sub.map(|sub| ("sub", sub)), problem, correlation_id)
}

/// The same about anything that has a name (as JSON).
pub(super) fn error_about(
    what: Option<(&str, &str)>,
    problem: &Problem,
    correlation_id: &str,
) -> Bytes {
    let mut json = message();
    json.extend_from_slice(b"{\"op\":\"error\",");
    if let Some((kind, name)) = what {
        json.extend_from_slice(format!("\"{kind}\":{name},").as_bytes());
    }
    // The problem is an object: its own brace is open already.
    json.extend_from_slice(&problem.to_json(correlation_id)[1..]);
    text(json)
}

/// A text message of JSON.
pub(super) fn json_message(json: &str) -> Bytes {
    let mut payload = message();
    payload.extend_from_slice(json.as_bytes());
    text(payload)
}

/// Text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Room for the longest header before the payload, so that the frame is built in one piece.
const HEADER_BYTES_MAX: usize = 10;
const OP_TEXT: u8 = 0x1;
const OP_CLOSE: u8 = 0x8;
const OP_PING: u8 = 0x9;
const OP_PONG: u8 = 0xA;

/// Room for a usual message, to begin with.
const MESSAGE_BYTES: usize = 512;

fn message() -> Vec<u8> {
    message_of(MESSAGE_BYTES)
}

fn message_of(bytes: usize) -> Vec<u8> {
    let mut room = Vec::with_capacity(HEADER_BYTES_MAX + bytes);
    room.resize(HEADER_BYTES_MAX, 0);
    room
}

fn text(message: Vec<u8>) -> Bytes {
    framed(OP_TEXT, message)
}

/// A `ping`.
pub(super) fn ping() -> Bytes {
    framed(OP_PING, message_of(0))
}

/// A `pong` that gives a ping's payload back (at most 125 bytes).
pub(super) fn pong(payload: &[u8]) -> Bytes {
    let payload = &payload[..payload.len().min(125)];
    let mut frame = message_of(payload.len());
    frame.extend_from_slice(payload);
    framed(OP_PONG, frame)
}

/// A `close` with a code and a reason of at most 123 bytes.
pub(super) fn close(code: u16, reason: &str) -> Bytes {
    let mut frame = message();
    frame.extend_from_slice(&code.to_be_bytes());
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    frame.extend_from_slice(&reason.as_bytes()[..end]);
    framed(OP_CLOSE, frame)
}

/// Writes the header just before the payload: one unmasked, final frame (RFC 6455 §5.2).
fn framed(op: u8, mut message: Vec<u8>) -> Bytes {
    let length = message.len() - HEADER_BYTES_MAX;
    let start = match length {
        0..=125 => {
            message[HEADER_BYTES_MAX - 1] = length as u8;
            HEADER_BYTES_MAX - 2
        }
        126..=0xffff => {
            message[HEADER_BYTES_MAX - 3] = 126;
            message[HEADER_BYTES_MAX - 2..HEADER_BYTES_MAX]
                .copy_from_slice(&(length as u16).to_be_bytes());
            HEADER_BYTES_MAX - 4
        }
        _ => {
            message[HEADER_BYTES_MAX - 9] = 127;
            message[HEADER_BYTES_MAX - 8..HEADER_BYTES_MAX]
                .copy_from_slice(&(length as u64).to_be_bytes());
            HEADER_BYTES_MAX - 10
        }
    };
    message[start] = 0x80 | op;
    Bytes::from(message).slice(start..)
}

/// Frames of an event stream (WHATWG HTML, "Server-sent events"). An event's id is its position,
/// so that a plain `EventSource` resumes exactly.
pub(super) struct SseFrames {
    pub(super) correlation_id: String,
}

impl Encoder for SseFrames {
    fn name(&self) -> &str {
        "sse"
    }

    fn is_alone(&self) -> bool {
        true
    }

    fn change(&self, change: &Change) -> Bytes {
        let mut frame = Vec::with_capacity(MESSAGE_BYTES);
        if !change.more {
            // As with the parts of a snapshot.
            frame.extend_from_slice(format!("id: {}\n", change.position).as_bytes());
        }
        frame.extend_from_slice(b"event: change\ndata: {");
        write_change(&mut frame, change);
        frame.extend_from_slice(b"}\n\n");
        Bytes::from(frame)
    }

    fn count(&self, count: u64, position: Position) -> Bytes {
        let data = format!("{{\"count\":{count},\"position\":\"{position}\"}}");
        Bytes::from(format!("id: {position}\nevent: count\ndata: {data}\n\n"))
    }

    fn snapshot(&self, snapshot: &Snapshot) -> Bytes {
        let mut frame = Vec::with_capacity(512);
        if !snapshot.more {
            // Only the last part may be resumed after: an id given before would skip the rest of
            // the snapshot.
            frame.extend_from_slice(format!("id: {}\n", snapshot.position).as_bytes());
        }
        frame.extend_from_slice(b"event: snapshot\ndata: {");
        write_snapshot(&mut frame, snapshot);
        frame.extend_from_slice(b"}\n\n");
        Bytes::from(frame)
    }

    fn live(&self, position: Position) -> Bytes {
        let frame =
            format!("id: {position}\nevent: live\ndata: {{\"position\":\"{position}\"}}\n\n");
        Bytes::from(frame)
    }

    fn failed(&self, error: &engine::Error) -> Bytes {
        sse_problem(&Problem::from(error.clone()), &self.correlation_id)
    }
}

/// A `problem` event.
pub(super) fn sse_problem(problem: &Problem, correlation_id: &str) -> Bytes {
    let mut frame = b"event: problem\ndata: ".to_vec();
    frame.extend_from_slice(&problem.to_json(correlation_id));
    frame.extend_from_slice(b"\n\n");
    Bytes::from(frame)
}

fn write_change(json: &mut Vec<u8>, change: &Change) {
    let kind = match change.kind {
        ChangeKind::Added => "added",
        ChangeKind::Modified => "modified",
        ChangeKind::Removed => "removed",
    };
    json.extend_from_slice(format!("\"type\":\"{kind}\",\"document\":").as_bytes());
    write_document(json, &change.document);
    json.extend_from_slice(format!(",\"position\":\"{}\"", change.position).as_bytes());
    if let Some(event) = change.event {
        json.extend_from_slice(format!(",\"event\":\"{event}\"").as_bytes());
    }
    if change.more {
        json.extend_from_slice(b",\"more\":true");
    }
}

fn write_snapshot(json: &mut Vec<u8>, snapshot: &Snapshot) {
    json.extend_from_slice(b"\"documents\":[");
    for (index, document) in snapshot.documents.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_document(json, document);
    }
    let Snapshot { position, reset, more, .. } = snapshot;
    let rest = format!("],\"position\":\"{position}\",\"reset\":{reset},\"more\":{more}");
    json.extend_from_slice(rest.as_bytes());
}
