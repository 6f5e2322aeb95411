//! Reads a client's WebSocket messages from the request's body: bounded in size, continuations put
//! together.

use actix_http::ws::{Codec, Frame, Item, ProtocolError};
use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio_util::codec::Decoder;

/// The longest message that a client may send, in bytes; a token is the longest part of one.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// What a client sent.
pub(super) enum Incoming {
    /// A whole text message.
    Text(Bytes),
    /// A ping, to be answered with its payload.
    Ping(Bytes),
    /// An answer to our ping.
    Pong,
    /// The client is done, or gone.
    Closed,
    /// Something that the protocol does not allow: the code and reason to close with.
    Broken(u16, &'static str),
}

/// The stream of a client's messages.
pub(super) struct Messages {
    payload: Payload,
    codec: Codec,
    buffer: BytesMut,
    /// Parts of a message that is not whole yet.
    parts: Option<BytesMut>,
}

impl Messages {
    pub(super) fn new(payload: Payload) -> Self {
        let codec = Codec::new().max_size(MESSAGE_BYTES_MAX);
        Self { payload, codec, buffer: BytesMut::new(), parts: None }
    }

    /// The next message. Cancel-safe: nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Incoming {
        loop {
            match self.codec.decode(&mut self.buffer) {
                Ok(Some(frame)) => match self.take(frame) {
                    Some(incoming) => return incoming,
                    None => continue,
                },
                Ok(None) => {}
                Err(ProtocolError::Overflow) => {
                    return Incoming::Broken(1009, "a message may have at most 64 KiB");
                }
                Err(_) => return Incoming::Broken(1002, "not a WebSocket frame"),
            }
            match self.payload.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(_)) | None => return Incoming::Closed,
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Option<Incoming> {
        match frame {
            Frame::Text(text) => Some(Incoming::Text(text)),
            Frame::Binary(_) => Some(Incoming::Broken(1003, "only text messages are understood")),
            Frame::Ping(payload) => Some(Incoming::Ping(payload)),
            Frame::Pong(_) => Some(Incoming::Pong),
            Frame::Close(_) => Some(Incoming::Closed),
            Frame::Continuation(item) => self.take_part(item),
        }
    }

    fn take_part(&mut self, item: Item) -> Option<Incoming> {
        match item {
            Item::FirstText(part) => {
                self.parts = Some(BytesMut::from(&part[..]));
                None
            }
            Item::FirstBinary(_) => {
                Some(Incoming::Broken(1003, "only text messages are understood"))
            }
            Item::Continue(part) => self.join(&part),
            Item::Last(part) => match self.join(&part) {
                Some(broken) => Some(broken),
                None => self.parts.take().map(|parts| Incoming::Text(parts.freeze())),
            },
        }
    }

    fn join(&mut self, part: &[u8]) -> Option<Incoming> {
        let Some(parts) = &mut self.parts else {
            return Some(Incoming::Broken(1002, "a continuation of nothing"));
        };
        if parts.len() + part.len() > MESSAGE_BYTES_MAX {
            return Some(Incoming::Broken(1009, "a message may have at most 64 KiB"));
        }
        parts.extend_from_slice(part);
        None
    }
}
