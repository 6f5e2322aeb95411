//! Passkeys: WebAuthn registration and sign-in, from the relying party's side. Pure: challenges and
//! credentials are handed in and out, and nothing here reads a clock or keeps anything. Follows
//! Web Authentication Level 3, §7.1 and §7.2. Attestation is never asked for and never judged.
//! A challenge is good for one answer: whoever keeps it must drop it when an answer comes, and must
//! see to it that no credential id is registered twice.

mod authenticator_data;
mod base64url;
mod cbor;
mod client_data;
mod cose;
mod credential;
mod error;
mod options;
mod registration;
mod relying_party;
mod response;
mod sign_in;

#[cfg(test)]
mod authenticator;
#[cfg(test)]
mod browser_tests;
#[cfg(test)]
mod mutated_tests;
#[cfg(test)]
mod tests;

pub use credential::{Credential, CredentialId, InvalidCredentialId, PublicKey};
pub use error::Error;
pub use options::{CreationOptions, RequestOptions, UserVerification};
pub use registration::{RegistrationState, User, begin_registration, finish_registration};
pub use relying_party::{Misconfigured, RelyingParty, check};
pub use sign_in::{ClaimedUser, SignInState, SignedIn, begin_sign_in, finish_sign_in, user_handle};

/// How long a challenge is good, in seconds. Level 3 §15.1 advises 5 to 10 minutes.
pub const CHALLENGE_SECONDS: u32 = 300;
/// The longest answer of a browser, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024;
/// The longest credential id, in bytes (Level 3 §4, "Credential ID").
pub const CREDENTIAL_ID_BYTES_MAX: usize = 1023;
/// The most credentials that a ceremony can name; a user should have no more.
pub const CREDENTIALS_MAX: usize = 64;
/// The longest user handle, in bytes (Level 3 §5.4.3).
pub const USER_HANDLE_BYTES_MAX: usize = 64;
/// The longest name and the longest display name of a user, in bytes.
pub const USER_NAME_BYTES_MAX: usize = 320;
