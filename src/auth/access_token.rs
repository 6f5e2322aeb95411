//! Access tokens: JWTs (RFC 7519) in the profile of RFC 9068, signed by a key of the project's.
//! A key has one algorithm, and a token is held to its key's: what a token says of itself decides
//! nothing but which key is looked at. Never takes a key from a token.

mod claims;
mod issuer;
mod keys;
mod publish;
mod verifier;

pub use claims::{Acting, Claims, Level};
pub use issuer::{Issuer, Unsigned};
pub use keys::{Algorithm, InvalidKey, PublicKey, SigningKey};
pub use publish::{Endpoints, jwks, openid_configuration};
pub use verifier::{Cache, Refused, Verifier};

/// The longest token, in bytes: what proxies let through as a header.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// How far the clocks of two nodes may be apart when times in a token are looked at, in seconds.
pub const LEEWAY_SECONDS: i64 = 30;

/// `typ` of an access token (RFC 9068, section 2.1).
const TYPE: &str = "at+jwt";

#[cfg(test)]
mod tests;
