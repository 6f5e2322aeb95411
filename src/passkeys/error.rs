//! Why a ceremony did not come to its end.

use crate::{CREDENTIALS_MAX, RESPONSE_BYTES_MAX};

/// Why a ceremony did not come to its end. Nothing in it repeats what a client sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The answer is longer than [`RESPONSE_BYTES_MAX`].
    #[error("the answer is longer than {RESPONSE_BYTES_MAX} bytes")]
    TooLarge,
    /// A part of the answer is not what WebAuthn says it is; names the part.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
    /// The challenge is older than [`crate::CHALLENGE_SECONDS`].
    #[error("the challenge has expired")]
    Expired,
    /// The answer is for the other ceremony: creating, not signing in, or the other way round.
    #[error("the answer is of another kind of ceremony")]
    WrongType,
    /// The answer is for another challenge.
    #[error("the answer is for another challenge")]
    WrongChallenge,
    /// The answer comes from an origin that is not in the project's list.
    #[error("the answer comes from an origin that is not allowed")]
    WrongOrigin,
    /// The page stood in a frame of another origin.
    #[error("the answer comes from a frame of another origin")]
    CrossOrigin,
    /// The authenticator answered to another relying party.
    #[error("the answer is for another relying party")]
    WrongRelyingParty,
    /// Nobody touched the authenticator.
    #[error("the authenticator saw no user")]
    UserNotPresent,
    /// Verification was required, and the authenticator did not verify the user.
    #[error("the authenticator did not verify the user")]
    UserNotVerified,
    /// The backup flags contradict each other, or what the credential was at registration.
    #[error("the backup flags contradict each other or the credential")]
    BackupFlags,
    /// The key is none of ES256, EdDSA with Ed25519, and RS256 with 2048 to 4096 bits.
    #[error("the key is of no algorithm that was asked for")]
    UnsupportedKey,
    /// The credential is not the one that was handed in, or none that was asked for.
    #[error("the answer is of another credential")]
    WrongCredential,
    /// The credential belongs to another user than the answer says, or the answer names no user
    /// although it had to.
    #[error("the answer is of another user")]
    WrongUser,
    /// The signature does not fit.
    #[error("the signature does not fit")]
    BadSignature,
    /// The authenticator's count did not grow: there may be two of it (Level 3 §6.1.1).
    #[error("the signature count went from {stored} to {seen}: the authenticator may be copied")]
    Cloned {
        /// The count that is known.
        stored: u32,
        /// The count that came.
        seen: u32,
    },
    /// The user's handle is empty or longer than [`crate::USER_HANDLE_BYTES_MAX`], its name is
    /// empty, or one of its names is longer than [`crate::USER_NAME_BYTES_MAX`].
    #[error("the user's handle or name is empty or too long")]
    InvalidUser,
    /// More than [`CREDENTIALS_MAX`] credentials were named.
    #[error("a ceremony can name {CREDENTIALS_MAX} credentials at most")]
    TooManyCredentials,
    /// The operating system gave no random bytes.
    #[error("no random bytes can be had")]
    NoRandomness,
}
