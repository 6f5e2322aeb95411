//! What is kept of a passkey.

use std::fmt;

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{CREDENTIAL_ID_BYTES_MAX, base64url};

/// A credential's id, given by its authenticator: 1 to [`CREDENTIAL_ID_BYTES_MAX`] bytes. Its text
/// is base64url without padding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CredentialId(#[serde(with = "base64url")] Bytes);

/// The text is not base64url, or not of 1 to [`CREDENTIAL_ID_BYTES_MAX`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a credential id: expected base64url of 1 to {CREDENTIAL_ID_BYTES_MAX} bytes")]
pub struct InvalidCredentialId;

/// 1 to [`CREDENTIAL_ID_BYTES_MAX`] bytes; apart from the id so that serde checks the length.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Bytes(Vec<u8>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Bytes {
    type Error = InvalidCredentialId;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidCredentialId> {
        let fits = (1..=CREDENTIAL_ID_BYTES_MAX).contains(&bytes.len());
        if fits { Ok(Self(bytes)) } else { Err(InvalidCredentialId) }
    }
}

impl CredentialId {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for CredentialId {
    type Error = InvalidCredentialId;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidCredentialId> {
        Bytes::try_from(bytes).map(Self)
    }
}

impl std::str::FromStr for CredentialId {
    type Err = InvalidCredentialId;

    fn from_str(text: &str) -> Result<Self, InvalidCredentialId> {
        base64url::decode(text).ok_or(InvalidCredentialId)?.try_into()
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

/// A credential's public key as its authenticator handed it over: COSE (RFC 9052), as text in
/// base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(#[serde(with = "base64url")] Vec<u8>);

impl PublicKey {
    pub(crate) fn new(cose: &[u8]) -> Self {
        Self(cose.to_vec())
    }

    /// The bytes of COSE.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What is kept of a passkey (Level 3 §4, "credential record").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// Its id, unique among all credentials of the relying party.
    pub id: CredentialId,
    /// Whose it is.
    #[serde(with = "base64url")]
    pub user_handle: Vec<u8>,
    /// What its signatures are checked with.
    pub public_key: PublicKey,
    /// How often it has signed, as its authenticator counts; 0 for ever if that does not count.
    /// To be replaced by [`crate::SignedIn::sign_count`] after each sign-in.
    pub sign_count: u32,
    /// Ways to reach its authenticator: `internal`, `hybrid`, `usb`, …; at most 8, sorted.
    pub transports: Vec<String>,
    /// The model of its authenticator; nil where it does not say. Nothing proves it.
    pub aaguid: Uuid,
    /// Whether it may be copied to other devices of its user. Never changes.
    pub backup_eligible: bool,
    /// Whether it has been copied; to be replaced by [`crate::SignedIn::backed_up`].
    pub backup_state: bool,
    /// Whether the authenticator verified its user at registration.
    pub user_verified: bool,
    /// When it was registered.
    pub created_at: Timestamp,
}
