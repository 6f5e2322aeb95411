//! Reads request bodies within their limit, and JSON out of them with a pointer to what is wrong.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use bytes::{Bytes, BytesMut};
use domain::json::{self, Limits};
use domain::path::push_name;
use futures_util::StreamExt;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::{Path, Segment};

use crate::error::{Code, Problem};

/// `application/json`.
pub(crate) const JSON: &[&str] = &["application/json"];
/// What a patch may be sent as.
pub(crate) const MERGE_PATCH: &[&str] = &["application/json", "application/merge-patch+json"];
/// One JSON text per line.
pub(crate) const NDJSON: &[&str] = &["application/x-ndjson"];

/// Room for a body of unknown length, to begin with.
const FIRST_ROOM_BYTES: usize = 64 << 10;

/// A body of at most this size is read before its handler runs: an answer that did without it
/// would close the connection.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// Longest silence within a body: a client that is slower than this is gone.
const STALL_WAIT_MAX: Duration = Duration::from_secs(20);

/// A request's body: a small one whole, a large one or one of unknown length yet to be read.
pub(crate) enum Body {
    /// Whole, and within its limit.
    Whole(Bytes),
    /// Unread.
    Unread(Payload),
}

impl Body {
    /// Takes a request's body in.
    pub(crate) async fn open(headers: &HeaderMap, mut payload: Payload) -> Self {
        // A length beside another framing is not the body's.
        let is_plain = !headers.contains_key(header::TRANSFER_ENCODING)
            && !headers.contains_key(header::UPGRADE);
        match content_length(headers).filter(|_| is_plain) {
            Some(length) if (1..=SMALL_BYTES_MAX as u64).contains(&length) => {
                match collect(&mut payload, SMALL_BYTES_MAX).await {
                    Ok(bytes) => Self::Whole(bytes),
                    // It broke off, which is told to whoever reads it.
                    Err(_) => Self::Unread(payload),
                }
            }
            _ => Self::Unread(payload),
        }
    }

    /// What is to be read as a stream.
    pub(crate) fn into_stream(self) -> Payload {
        match self {
            Self::Whole(_) => Payload::None,
            Self::Unread(payload) => payload,
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Checks what the headers say of the body.
///
/// Errors: `unsupported-media-type`, and `body-too-large` without reading any of it.
pub(crate) fn check_headers(
    headers: &HeaderMap,
    media_types: &[&str],
    bytes_max: usize,
) -> Result<(), Problem> {
    let length = content_length(headers);
    let unsupported = || {
        let detail = format!("expected Content-Type: {}", media_types.join(" or "));
        Problem::new(Code::UnsupportedMediaType, detail).field("Content-Type")
    };
    match headers.get(header::CONTENT_TYPE) {
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            let media_type = text.split(';').next().unwrap_or_default().trim();
            if !media_types.iter().any(|known| known.eq_ignore_ascii_case(media_type)) {
                return Err(unsupported());
            }
        }
        // Without a body there is nothing to have a type; that it is missing is said below.
        None if length.unwrap_or(0) == 0 && !headers.contains_key(header::TRANSFER_ENCODING) => {}
        None => return Err(unsupported()),
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        let detail = "bodies are taken without a content encoding";
        return Err(Problem::new(Code::UnsupportedMediaType, detail).field("Content-Encoding"));
    }
    match length {
        Some(length) if length > bytes_max as u64 => Err(too_large(bytes_max)),
        _ => Ok(()),
    }
}

/// Reads the whole body.
///
/// Errors: `body-too-large` as soon as it is, `invalid-body` when it is empty or breaks off.
pub(crate) async fn read(body: &mut Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let bytes = match body {
        Body::Whole(bytes) if bytes.len() > bytes_max => return Err(too_large(bytes_max)),
        Body::Whole(bytes) => std::mem::take(bytes),
        Body::Unread(payload) => collect(payload, bytes_max).await?,
    };
    if bytes.is_empty() { Err(Problem::body("", "the body is empty")) } else { Ok(bytes) }
}

async fn collect(payload: &mut Payload, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    let stalled = |_| Problem::body("", "the body stopped coming");
    while let Some(chunk) =
        tokio::time::timeout(STALL_WAIT_MAX, payload.next()).await.map_err(stalled)?
    {
        let chunk = chunk.map_err(|_| Problem::body("", "the body broke off"))?;
        if first.len() + more.len() + chunk.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if first.is_empty() && more.is_empty() {
            first = chunk;
            continue;
        }
        if more.is_empty() {
            more.reserve(FIRST_ROOM_BYTES.max(first.len() + chunk.len()));
            more.extend_from_slice(&std::mem::take(&mut first));
        }
        more.extend_from_slice(&chunk);
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("a body may have {bytes_max} bytes"))
}

/// Reads a JSON body of a known shape.
///
/// Errors: `invalid-json`, and `invalid-body` with a pointer to what is wrong.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    if let Err(invalid) = json::check_names(body) {
        return Err(Problem::new(Code::InvalidJson, format!("the body {invalid}")));
    }
    serde_json::from_slice(body).map(|Object(value)| value).or_else(|error| {
        if !error.is_data() {
            return Err(Problem::new(Code::InvalidJson, format!("not valid JSON: {error}")));
        }
        // Again, to find out where: only what fails pays for it.
        let mut parser = serde_json::Deserializer::from_slice(body);
        serde_path_to_error::deserialize(&mut parser)
            .map(|Object(value)| value)
            .map_err(|error| Problem::body(pointer(error.path()), error.inner().to_string()))
    })
}

/// A struct that is read from a JSON object only; by itself it could be read from an array of its
/// fields, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries)).map(Object)
    }
}

/// For a field that is a struct.
pub(crate) fn object<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// For a field that is a struct or `null`.
pub(crate) fn maybe_object<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let object: Option<Object<T>> = Option::deserialize(deserializer)?;
    Ok(object.map(|Object(value)| value))
}

/// For a field that is a list of structs.
pub(crate) fn objects<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let objects: Vec<Object<T>> = Vec::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

/// A document's data out of a body, as compact text.
///
/// Errors: `invalid-json`, `invalid-body`, `too-deep`, `document-too-large`.
pub(crate) fn document(text: &[u8], limits: Limits) -> Result<Bytes, Problem> {
    let compact = json::compact_object(text, limits);
    compact.map(Bytes::from).map_err(|invalid| Problem::of_json(&invalid, "the document"))
}

/// What is said in a channel, or of somebody who is present there, as compact text.
///
/// Errors: `invalid-json`, `too-deep`, `message-too-large`, at `pointer`.
pub(crate) fn message(
    text: &[u8],
    limits: Limits,
    pointer: &'static str,
) -> Result<Bytes, Problem> {
    json::compact_value(text, limits).map(Bytes::from).map_err(|invalid| {
        match invalid {
            json::Invalid::TooLarge { .. } => {
                Problem::new(Code::MessageTooLarge, format!("it {invalid}"))
            }
            invalid => Problem::of_json(&invalid, "it"),
        }
        .field(pointer)
    })
}

/// A JSON Pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push_name(&mut pointer, &index.to_string()),
            Segment::Map { key } => push_name(&mut pointer, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}
