//! Signing in by a passkey (Level 3 §7.2).

use domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::authenticator_data::AuthenticatorData;
use crate::cose::CoseKey;
use crate::response::{self, Asserted};
use crate::{
    Credential, CredentialId, Error, RelyingParty, RequestOptions, USER_HANDLE_BYTES_MAX,
    UserVerification, base64url, client_data, options, registration,
};

/// What the server remembers of a sign-in that has begun. For one answer only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignInState {
    #[serde(with = "base64url")]
    challenge: [u8; 32],
    allow: Vec<CredentialId>,
    user_verification: UserVerification,
    expires_at: Timestamp,
}

impl SignInState {
    /// From when on no answer is taken.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// Who an answer says it is from. Nothing is proved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedUser {
    /// The user's handle, 1 to 64 bytes. Authenticators may leave it out when credentials were
    /// named to them.
    pub user_handle: Option<Vec<u8>>,
    /// The credential.
    pub credential_id: CredentialId,
}

/// What a sign-in shows, and what to keep of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedIn {
    /// The credential's new [`Credential::sign_count`].
    pub sign_count: u32,
    /// Whether the authenticator verified the user, by PIN or body: a second factor.
    pub user_verified: bool,
    /// The credential's new [`Credential::backup_state`].
    pub backed_up: bool,
}

/// Begins a sign-in by one of the passkeys in `allow`, or by any of the relying party's when that
/// is empty.
///
/// Errors: [`Error::TooManyCredentials`], [`Error::NoRandomness`].
pub fn begin_sign_in(
    rp: &RelyingParty<'_>,
    allow: &[CredentialId],
    user_verification: UserVerification,
    now: Timestamp,
) -> Result<(RequestOptions, SignInState), Error> {
    let challenge = options::challenge(allow.len())?;
    let state = SignInState {
        challenge,
        allow: allow.to_vec(),
        user_verification,
        expires_at: registration::expiry(now),
    };
    Ok((RequestOptions::new(rp, allow, user_verification, challenge), state))
}

/// Who an answer says it is from, to find the credential for [`finish_sign_in`].
///
/// Errors: [`Error::TooLarge`], [`Error::Malformed`].
pub fn user_handle(response: &[u8]) -> Result<ClaimedUser, Error> {
    let (credential_id, answer) = response::read::<Asserted>(response)?;
    Ok(ClaimedUser { user_handle: handle(answer.user_handle)?, credential_id })
}

fn handle(told: Option<response::UserHandle>) -> Result<Option<Vec<u8>>, Error> {
    match told {
        Some(response::UserHandle(handle))
            if !(1..=USER_HANDLE_BYTES_MAX).contains(&handle.len()) =>
        {
            Err(Error::Malformed("user handle"))
        }
        told => Ok(told.map(|response::UserHandle(handle)| handle)),
    }
}

/// Whether an answer (`AuthenticationResponseJSON`) is from the user of `credential`. The caller
/// drops `state` in any case, and keeps what [`SignedIn`] says of the credential.
pub fn finish_sign_in(
    rp: &RelyingParty<'_>,
    state: &SignInState,
    credential: &Credential,
    response: &[u8],
    now: Timestamp,
) -> Result<SignedIn, Error> {
    if now >= state.expires_at {
        return Err(Error::Expired);
    }
    let (id, answer) = response::read::<Asserted>(response)?;
    if id != credential.id || !(state.allow.is_empty() || state.allow.contains(&id)) {
        return Err(Error::WrongCredential);
    }
    match handle(answer.user_handle)? {
        Some(handle) if handle != credential.user_handle => return Err(Error::WrongUser),
        // Whoever was not named must say who it is.
        None if state.allow.is_empty() => return Err(Error::WrongUser),
        _ => {}
    }
    let hash = client_data::check(&answer.client_data, "webauthn.get", &state.challenge, rp)?;
    let data = AuthenticatorData::read(&answer.authenticator_data)?;
    data.check(rp, state.user_verification)?;
    if data.attested.is_some() {
        return Err(Error::Malformed("authenticator data"));
    }
    if data.backup_eligible() != credential.backup_eligible {
        return Err(Error::BackupFlags);
    }
    let signed = [&answer.authenticator_data[..], &hash].concat();
    CoseKey::read(credential.public_key.as_bytes())?.verify(&signed, &answer.signature)?;
    let (stored, seen) = (credential.sign_count, data.sign_count);
    if (stored, seen) != (0, 0) && seen <= stored {
        return Err(Error::Cloned { stored, seen });
    }
    Ok(SignedIn {
        sign_count: seen,
        user_verified: data.user_verified(),
        backed_up: data.backed_up(),
    })
}
