//! What the browser says of the page that asked (Level 3 §5.8.1).

use std::borrow::Cow;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{Error, RelyingParty, base64url};

/// Browsers may add fields, so that others are no error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    challenge: Cow<'a, str>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    cross_origin: Option<bool>,
    #[serde(borrow)]
    top_origin: Option<Cow<'a, str>>,
}

/// The hash of the client data, which is part of what is signed, once it says what it must: §7.1
/// and §7.2 from "Let C" to "Let hash".
pub(crate) fn check(
    json: &[u8],
    kind: &str,
    challenge: &[u8; 32],
    rp: &RelyingParty<'_>,
) -> Result<[u8; 32], Error> {
    let data: ClientData<'_> =
        serde_json::from_slice(json).map_err(|_| Error::Malformed("client data"))?;
    if data.kind != kind {
        return Err(Error::WrongType);
    }
    if base64url::decode(&data.challenge).as_deref() != Some(challenge) {
        return Err(Error::WrongChallenge);
    }
    if !rp.allows(&data.origin) {
        return Err(Error::WrongOrigin);
    }
    // `topOrigin` is only there in a frame of another origin.
    if data.cross_origin == Some(true) || data.top_origin.is_some() {
        return Err(Error::CrossOrigin);
    }
    Ok(Sha256::digest(json).into())
}
