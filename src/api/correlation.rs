//! Names the conversation that a request belongs to: the client's `X-Correlation-Id`, or a fresh
//! UUIDv7. It is in every answer, in every event that the request leads to, and in the log.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use compact_str::CompactString;
use uuid::Uuid;

/// The header.
pub(crate) const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// The longest correlation id that is taken over, in bytes.
const BYTES_MAX: usize = 128;
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A correlation id; always printable ASCII.
#[derive(Debug, Clone)]
pub(crate) struct CorrelationId(HeaderValue);

impl CorrelationId {
    /// The client's, if it is 1–128 printable ASCII characters; else a fresh one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers.get(X_CORRELATION_ID) {
            Some(value) if is_usable(value.as_bytes()) => Self(value.clone()),
            _ => Self::fresh(),
        }
    }

    fn fresh() -> Self {
        let mut buffer = Uuid::encode_buffer();
        let text = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
        let value = HeaderValue::from_str(text);
        Self(value.unwrap_or_else(|_| HeaderValue::from_static("none")))
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// As the answer's header.
    pub(crate) fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_usable(bytes: &[u8]) -> bool {
    (1..=BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// The request's W3C Trace Context, if it is well formed (version 00: `00-<32 hex>-<16 hex>-<2
/// hex>`).
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<CompactString> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        parts.next().is_some_and(|part| part.len() == length && part.bytes().all(is_hex))
    };
    let well_formed = text.starts_with("00-") && hex(2) && hex(32) && hex(16) && hex(2);
    (well_formed && parts.next().is_none()).then(|| CompactString::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        headers
    }

    #[test]
    fn a_usable_id_is_kept_and_any_other_is_replaced() {
        for (given, kept) in [
            ("abc-1", true),
            (&"x".repeat(128), true),
            ("", false),
            ("a b", false),
            (&"x".repeat(129), false),
            ("ä", false),
        ] {
            let id = CorrelationId::of(&headers(X_CORRELATION_ID, given.as_bytes()));
            assert_eq!(id.as_str() == given, kept, "{given}");
            assert!(kept || Uuid::parse_str(id.as_str()).is_ok());
        }
    }

    #[test]
    fn only_a_well_formed_trace_is_passed_on() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traceparent(&headers(TRACEPARENT, good.as_bytes())).unwrap(), good);
        for bad in ["", "00-", &good[..54], &good.replace('f', "G"), &format!("{good}-x")] {
            assert!(traceparent(&headers(TRACEPARENT, bad.as_bytes())).is_none(), "{bad}");
        }
    }
}
