//! What browsers are asked, as `parseCreationOptionsFromJSON` and `parseRequestOptionsFromJSON`
//! take it (Level 3 §5.1.8 and §5.1.9).

use serde::{Deserialize, Serialize};

use crate::cose::ALGORITHMS;
use crate::{
    CHALLENGE_SECONDS, CREDENTIALS_MAX, CredentialId, Error, RelyingParty, User, base64url,
};

/// How long a browser may try, in milliseconds: as long as the challenge is good.
const TIMEOUT_MS: u32 = CHALLENGE_SECONDS * 1000;

/// Whether the authenticator must verify its user, by PIN or body (Level 3 §5.8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserVerification {
    /// It must.
    Required,
    /// It should if it can.
    #[default]
    Preferred,
    /// It should not.
    Discouraged,
}

/// `PublicKeyCredentialCreationOptionsJSON`, to be serialised for the browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreationOptions {
    rp: Party,
    user: Entity,
    #[serde(with = "base64url")]
    challenge: [u8; 32],
    pub_key_cred_params: [Parameters; ALGORITHMS.len()],
    timeout: u32,
    exclude_credentials: Vec<Descriptor>,
    authenticator_selection: Selection,
    attestation: &'static str,
}

/// `PublicKeyCredentialRequestOptionsJSON`, to be serialised for the browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestOptions {
    #[serde(with = "base64url")]
    challenge: [u8; 32],
    timeout: u32,
    rp_id: String,
    allow_credentials: Vec<Descriptor>,
    user_verification: UserVerification,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Party {
    id: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entity {
    #[serde(with = "base64url")]
    id: Vec<u8>,
    name: String,
    display_name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Parameters {
    #[serde(rename = "type")]
    kind: &'static str,
    alg: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Descriptor {
    #[serde(rename = "type")]
    kind: &'static str,
    id: CredentialId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    resident_key: &'static str,
    require_resident_key: bool,
    user_verification: UserVerification,
}

const PUBLIC_KEY: &str = "public-key";

impl CreationOptions {
    pub(crate) fn new(
        rp: &RelyingParty<'_>,
        user: &User<'_>,
        exclude: &[CredentialId],
        user_verification: UserVerification,
        challenge: [u8; 32],
    ) -> Self {
        let User { handle, name, display_name } = *user;
        Self {
            rp: Party { id: rp.id().into(), name: rp.name().into() },
            user: Entity {
                id: handle.into(),
                name: name.into(),
                display_name: display_name.into(),
            },
            challenge,
            pub_key_cred_params: ALGORITHMS.map(|alg| Parameters { kind: PUBLIC_KEY, alg }),
            timeout: TIMEOUT_MS,
            exclude_credentials: descriptors(exclude),
            authenticator_selection: Selection {
                resident_key: "required",
                // For browsers that know Level 1 only.
                require_resident_key: true,
                user_verification,
            },
            attestation: "none",
        }
    }
}

impl RequestOptions {
    pub(crate) fn new(
        rp: &RelyingParty<'_>,
        allow: &[CredentialId],
        user_verification: UserVerification,
        challenge: [u8; 32],
    ) -> Self {
        Self {
            challenge,
            timeout: TIMEOUT_MS,
            rp_id: rp.id().into(),
            allow_credentials: descriptors(allow),
            user_verification,
        }
    }
}

fn descriptors(ids: &[CredentialId]) -> Vec<Descriptor> {
    ids.iter().map(|id| Descriptor { kind: PUBLIC_KEY, id: id.clone() }).collect()
}

/// A new challenge, for options that name this many credentials.
pub(crate) fn challenge(named: usize) -> Result<[u8; 32], Error> {
    if named > CREDENTIALS_MAX {
        return Err(Error::TooManyCredentials);
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(bytes)
}
