//! The answers of browsers as JSON: what `toJSON()` of a `PublicKeyCredential` gives (Level 3
//! §5.1, `RegistrationResponseJSON` and `AuthenticationResponseJSON`). Fields that nobody reads
//! here are passed over: browsers add to them.

use serde::Deserialize;

use crate::{CredentialId, Error, RESPONSE_BYTES_MAX, base64url};

/// The frame that both have in common.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<T> {
    id: CredentialId,
    raw_id: CredentialId,
    #[serde(rename = "type")]
    kind: String,
    response: T,
}

/// What comes of creating.
#[derive(Deserialize)]
pub(crate) struct Created {
    #[serde(rename = "clientDataJSON", with = "base64url")]
    pub(crate) client_data: Vec<u8>,
    #[serde(rename = "attestationObject", with = "base64url")]
    pub(crate) attestation_object: Vec<u8>,
    /// Missing where a browser or an app does not know.
    pub(crate) transports: Option<Vec<String>>,
}

/// What comes of signing in.
#[derive(Deserialize)]
pub(crate) struct Asserted {
    #[serde(rename = "clientDataJSON", with = "base64url")]
    pub(crate) client_data: Vec<u8>,
    #[serde(rename = "authenticatorData", with = "base64url")]
    pub(crate) authenticator_data: Vec<u8>,
    #[serde(with = "base64url")]
    pub(crate) signature: Vec<u8>,
    #[serde(rename = "userHandle")]
    pub(crate) user_handle: Option<UserHandle>,
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct UserHandle(#[serde(with = "base64url")] pub(crate) Vec<u8>);

/// Reads an answer: the credential's id, and what the authenticator said.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<(CredentialId, T), Error> {
    if json.len() > RESPONSE_BYTES_MAX {
        return Err(Error::TooLarge);
    }
    let answer: Envelope<T> =
        serde_json::from_slice(json).map_err(|_| Error::Malformed("response"))?;
    if answer.kind != "public-key" || answer.id != answer.raw_id {
        return Err(Error::Malformed("response"));
    }
    Ok((answer.id, answer.response))
}

/// The ways to reach an authenticator that a browser told of. A mere hint for later, so what is
/// odd about them is dropped and no error. New names appear, so no list is held against them.
pub(crate) fn transports(told: Option<Vec<String>>) -> Vec<String> {
    const COUNT_MAX: usize = 8;
    let is_name = |name: &String| {
        let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        (1..=32).contains(&name.len()) && name.bytes().all(known)
    };
    let mut names: Vec<_> = told.into_iter().flatten().filter(|name| is_name(name)).collect();
    names.sort();
    names.dedup();
    names.truncate(COUNT_MAX);
    names
}
