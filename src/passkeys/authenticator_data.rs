//! Authenticator data: what an authenticator says, byte by byte (Level 3 §6.1).

use sha2::{Digest, Sha256};

use crate::cbor::{Invalid, Reader};
use crate::{CREDENTIAL_ID_BYTES_MAX, Error, RelyingParty, UserVerification};

const USER_PRESENT: u8 = 1 << 0;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENDED: u8 = 1 << 7;

/// What an authenticator says. Bits without a meaning yet are passed over, as §6.1 wants it.
#[derive(Debug, Clone)]
pub(crate) struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8; 32],
    flags: u8,
    pub(crate) sign_count: u32,
    pub(crate) attested: Option<Attested<'a>>,
}

/// A new credential (§6.5.1).
#[derive(Debug, Clone)]
pub(crate) struct Attested<'a> {
    /// The model of the authenticator; zeros where it does not say.
    pub(crate) aaguid: [u8; 16],
    pub(crate) credential_id: &'a [u8],
    /// COSE, not read yet.
    pub(crate) public_key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    pub(crate) fn read(input: &'a [u8]) -> Result<Self, Error> {
        let malformed = Error::Malformed("authenticator data");
        Self::split(input).ok_or(malformed)
    }

    fn split(input: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, rest) = input.split_first_chunk()?;
        let (&[flags], rest) = rest.split_first_chunk()?;
        let (sign_count, mut rest) = rest.split_first_chunk()?;
        let attested = if flags & ATTESTED != 0 {
            let (attested, behind) = Attested::split(rest)?;
            rest = behind;
            Some(attested)
        } else {
            None
        };
        let mut reader = Reader::new(rest);
        if flags & EXTENDED != 0 {
            // None was asked for. What an authenticator adds unasked is ignored (§7.1, §7.2), but
            // it must be a map.
            reader.clone().map(|_, value| value.skip()).ok()?;
            reader.skip().ok()?;
        }
        reader.end().ok()?;
        let sign_count = u32::from_be_bytes(*sign_count);
        Some(Self { rp_id_hash, flags, sign_count, attested })
    }

    /// The steps that §7.1 and §7.2 share: whose answer it is, and whether a user was there.
    pub(crate) fn check(
        &self,
        rp: &RelyingParty<'_>,
        verification: UserVerification,
    ) -> Result<(), Error> {
        if Sha256::digest(rp.id()).as_slice() != self.rp_id_hash {
            return Err(Error::WrongRelyingParty);
        }
        if self.flags & USER_PRESENT == 0 {
            return Err(Error::UserNotPresent);
        }
        if verification == UserVerification::Required && !self.user_verified() {
            return Err(Error::UserNotVerified);
        }
        if self.backed_up() && !self.backup_eligible() {
            return Err(Error::BackupFlags);
        }
        Ok(())
    }

    pub(crate) fn user_verified(&self) -> bool {
        self.flags & USER_VERIFIED != 0
    }

    pub(crate) fn backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    pub(crate) fn backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}

impl<'a> Attested<'a> {
    /// The credential, and what stands behind it.
    fn split(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (aaguid, rest) = input.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        if !(1..=CREDENTIAL_ID_BYTES_MAX).contains(&length) {
            return None;
        }
        let (credential_id, rest) = rest.split_at_checked(length)?;
        let behind = behind_item(rest).ok()?;
        let public_key = &rest[..rest.len() - behind.len()];
        Some((Self { aaguid: *aaguid, credential_id, public_key }, behind))
    }
}

fn behind_item(input: &[u8]) -> Result<&[u8], Invalid> {
    let mut reader = Reader::new(input);
    reader.skip()?;
    Ok(reader.rest())
}
