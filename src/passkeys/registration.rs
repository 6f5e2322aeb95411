//! Making a passkey (Level 3 §7.1).

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::authenticator_data::AuthenticatorData;
use crate::cbor::{Invalid, Key, Reader};
use crate::cose::CoseKey;
use crate::response::{self, Created};
use crate::{
    CHALLENGE_SECONDS, CreationOptions, Credential, CredentialId, Error, PublicKey, RelyingParty,
    USER_HANDLE_BYTES_MAX, USER_NAME_BYTES_MAX, UserVerification, base64url, client_data, options,
};

/// The longest name of an attestation statement's format, in bytes (§8.1).
const FORMAT_BYTES_MAX: usize = 32;

/// Whom a passkey is made for.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    /// What sign-in will find the user by: 1 to 64 bytes. Authenticators show it to whoever
    /// holds them, so it should say nothing of the user (§14.6.1).
    pub handle: &'a [u8],
    /// What tells the user's accounts apart, for the user: an address, a phone number. 1 to 320
    /// bytes.
    pub name: &'a str,
    /// What the user is called; may be empty. 320 bytes at most.
    pub display_name: &'a str,
}

/// What the server remembers of a registration that has begun. For one answer only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationState {
    #[serde(with = "base64url")]
    challenge: [u8; 32],
    #[serde(with = "base64url")]
    user_handle: Vec<u8>,
    user_verification: UserVerification,
    expires_at: Timestamp,
}

impl RegistrationState {
    /// The handle of the user for whom it began.
    pub fn user_handle(&self) -> &[u8] {
        &self.user_handle
    }

    /// From when on no answer is taken.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// Begins to make a passkey that can be found without a name ("discoverable"). `exclude` names the
/// user's passkeys, so that no authenticator makes a second one.
///
/// Errors: [`Error::InvalidUser`], [`Error::TooManyCredentials`], [`Error::NoRandomness`].
pub fn begin_registration(
    rp: &RelyingParty<'_>,
    user: &User<'_>,
    exclude: &[CredentialId],
    user_verification: UserVerification,
    now: Timestamp,
) -> Result<(CreationOptions, RegistrationState), Error> {
    let fits = (1..=USER_HANDLE_BYTES_MAX).contains(&user.handle.len())
        && (1..=USER_NAME_BYTES_MAX).contains(&user.name.len())
        && user.display_name.len() <= USER_NAME_BYTES_MAX;
    if !fits {
        return Err(Error::InvalidUser);
    }
    let challenge = options::challenge(exclude.len())?;
    let state = RegistrationState {
        challenge,
        user_handle: user.handle.to_vec(),
        user_verification,
        expires_at: expiry(now),
    };
    Ok((CreationOptions::new(rp, user, exclude, user_verification, challenge), state))
}

/// When a challenge of `now` ends.
pub(crate) fn expiry(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_add(i64::from(CHALLENGE_SECONDS) * 1_000_000))
}

/// The passkey that an answer (`RegistrationResponseJSON`) brings. The caller drops `state` in
/// any case, and refuses an id that is registered already (§7.1, "credentialId is not yet
/// registered for any user").
pub fn finish_registration(
    rp: &RelyingParty<'_>,
    state: &RegistrationState,
    response: &[u8],
    now: Timestamp,
) -> Result<Credential, Error> {
    if now >= state.expires_at {
        return Err(Error::Expired);
    }
    let (id, answer) = response::read::<Created>(response)?;
    client_data::check(&answer.client_data, "webauthn.create", &state.challenge, rp)?;
    let data = attestation_object(&answer.attestation_object)
        .map_err(|Invalid| Error::Malformed("attestation object"))?;
    let data = AuthenticatorData::read(data)?;
    data.check(rp, state.user_verification)?;
    let new = data.attested.as_ref().ok_or(Error::Malformed("authenticator data"))?;
    if new.credential_id != id.as_bytes() {
        return Err(Error::WrongCredential);
    }
    // Only keys that were asked for can be read at all.
    CoseKey::read(new.public_key)?;
    Ok(Credential {
        id,
        user_handle: state.user_handle.clone(),
        public_key: PublicKey::new(new.public_key),
        sign_count: data.sign_count,
        transports: response::transports(answer.transports),
        aaguid: Uuid::from_bytes(new.aaguid),
        backup_eligible: data.backup_eligible(),
        backup_state: data.backed_up(),
        user_verified: data.user_verified(),
        created_at: now,
    })
}

/// The authenticator data of an attestation object (§6.5.4). Its statement is passed over: none
/// was asked for, and there are no roots to hold it against, so it would prove nothing.
fn attestation_object(input: &[u8]) -> Result<&[u8], Invalid> {
    let (mut format, mut data, mut statement) = (None, None, None);
    let mut reader = Reader::new(input);
    reader.map(|key, value| {
        match key {
            Key::Text("fmt") => format = Some(value.text()?),
            Key::Text("authData") => data = Some(value.bytes()?),
            Key::Text("attStmt") => {
                let before = value.rest();
                value.skip()?;
                statement = Some(&before[..before.len() - value.rest().len()]);
            }
            // Enterprise attestation's `epAtt` and what may come.
            _ => value.skip()?,
        }
        Ok(())
    })?;
    reader.end()?;
    let (Some(format), Some(data), Some(statement)) = (format, data, statement) else {
        return Err(Invalid);
    };
    // §8.1: printable ASCII without quote and backslash. §8.7: `none` has an empty statement.
    let is_plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_format = (1..=FORMAT_BYTES_MAX).contains(&format.len()) && format.bytes().all(is_plain);
    if !is_format || (format == "none" && statement != [0xa0]) {
        return Err(Invalid);
    }
    Ok(data)
}
