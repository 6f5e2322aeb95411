//! Bytes as text: base64url without padding (RFC 4648 §5), as all of WebAuthn's JSON has them.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serializer, de};

/// Writes bytes as text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads text as bytes. `None` unless it is the one spelling of what it says: no padding, no
/// stray bits at the end.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// For serde's `with`.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

/// For serde's `with`.
pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<Vec<u8>>,
{
    let text = Cow::<str>::deserialize(deserializer)?;
    let bytes = decode(&text).ok_or_else(|| de::Error::custom("not base64url"))?;
    T::try_from(bytes).map_err(|_| de::Error::custom("not of the right length"))
}
