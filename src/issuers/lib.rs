//! Other issuers: signing in through them (OAuth 2.0 with PKCE, OpenID Connect), and taking tokens
//! that they signed. Speaks HTTP as a client; keeps nothing but what issuers publish and tokens
//! that it has just verified. Never reads a clock for a token's times: `now` is passed in.

mod address;
mod apple;
mod cache;
mod claims;
pub mod custom_token;
pub mod discovery;
mod error;
mod github;
mod http;
mod id_token;
mod jwk;
mod jwt;
pub mod oauth;
mod person;
mod provider;
#[cfg(test)]
mod testing;
pub mod third_party;
mod token_endpoint;

use std::sync::Arc;
use std::time::Duration;

use domain::sign_in::Provider;

pub use address::is_public;
pub use error::{Error, REASON_CHARS_MAX};
pub use person::Person;

use cache::Cache;
use discovery::Document;
use http::Http;
use jwk::KeySet;
use third_party::Verified;

/// How a client treats issuers.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether issuers may be at private and loopback addresses, and on loopback without TLS: for
    /// tests, and for issuers beside the server. Link-local addresses stay refused: cloud
    /// machines answer there with credentials.
    pub allow_private: bool,
    /// How long a request to an issuer may take, its body included.
    pub wait_max: Duration,
    /// How long after keys were fetched anew for a token that none of them fits the next such
    /// token may have them fetched again.
    pub keys_again_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allow_private: false,
            wait_max: Duration::from_secs(5),
            keys_again_after: Duration::from_secs(60),
        }
    }
}

/// Speaks to issuers. Cheap to clone; clones share what was fetched.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    http: Http,
    documents: Cache<Document>,
    key_sets: Cache<KeySet>,
    verified: Verified,
}

impl Client {
    /// A client that has fetched nothing yet. The process must have a default TLS provider.
    ///
    /// Errors: [`Error::Configuration`] when TLS can't be set up.
    pub fn new(options: Options) -> Result<Self, Error> {
        let inner = Inner {
            options,
            http: Http::new(options)?,
            documents: Cache::default(),
            key_sets: Cache::default(),
            verified: Verified::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether a provider's configuration is complete and its addresses may be asked, as far as
    /// can be told without asking.
    ///
    /// Errors: [`Error::Configuration`].
    pub fn check(&self, provider: &Provider) -> Result<(), Error> {
        let known = provider::Known::of(provider)?;
        self.inner.http.address(known.issuer())?;
        if provider.kind == domain::sign_in::Preset::Apple {
            apple::client_secret(provider, domain::Timestamp::default())?;
        }
        Ok(())
    }
}
