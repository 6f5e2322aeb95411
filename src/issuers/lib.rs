//! Other issuers: signing in through them (OAuth 2.0 with PKCE, OpenID Connect), and taking tokens
//! that they signed. Speaks HTTP as a client; keeps nothing but what issuers publish and tokens
//! that it has just verified. Never reads a clock for a token's times: `now` is passed in.

mod address;
mod algorithm;
mod apple;
mod cache;
mod claims;
pub mod custom_token;
pub mod discovery;
mod error;
#[cfg(test)]
mod foreign_tests;
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

use domain::Timestamp;
use domain::sign_in::{Issuer, Preset, Provider};

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
        match (provider.kind, &provider.client_secret) {
            (Preset::Apple, _) => apple::client_secret(provider, Timestamp::default()).map(|_| ()),
            (Preset::Github, None) => {
                Err(Error::Configuration("GitHub needs the client secret".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// The same for an issuer whose tokens are taken as they are.
    ///
    /// Errors: [`Error::Configuration`].
    pub fn check_issuer(&self, issuer: &Issuer) -> Result<(), Error> {
        if issuer.issuer.is_empty()
            || issuer.audiences.is_empty()
            || issuer.audiences.iter().any(String::is_empty)
        {
            let text = "an issuer needs a name and an audience".to_owned();
            return Err(Error::Configuration(text));
        }
        // What discovery does not begin at need not be an address.
        self.inner.http.address(issuer.jwks_url.as_ref().unwrap_or(&issuer.issuer)).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use domain::sign_in::Secret;

    use super::*;

    #[test]
    fn what_a_configuration_lacks_is_said_without_asking() {
        testing::install_tls();
        let client = Client::new(Options::default()).unwrap();
        let secret = Some(Secret("secret".to_owned()));
        let good = Provider {
            kind: Preset::Github,
            client_id: "app".to_owned(),
            client_secret: secret,
            ..Provider::default()
        };
        client.check(&good).unwrap();
        client.check(&Provider { kind: Preset::Google, ..good.clone() }).unwrap();
        let inner = Some("https://10.0.0.1".to_owned());
        for bad in [
            Provider { client_secret: None, ..good.clone() },
            Provider { client_id: String::new(), ..good.clone() },
            Provider { kind: Preset::Oidc, ..good.clone() },
            Provider { kind: Preset::Oidc, issuer: inner, ..good.clone() },
            Provider { kind: Preset::Apple, ..good.clone() },
        ] {
            assert!(matches!(client.check(&bad), Err(Error::Configuration(_))), "{bad:?}");
        }
    }

    #[test]
    fn an_issuer_needs_an_audience_and_an_address() {
        testing::install_tls();
        let client = Client::new(Options::default()).unwrap();
        let good = Issuer {
            issuer: "https://issuer.example".to_owned(),
            jwks_url: None,
            audiences: vec!["api".to_owned()],
            roles_claim: None,
        };
        client.check_issuer(&good).unwrap();
        let keys = Some("https://issuer.example/keys".to_owned());
        let named = Issuer { issuer: "urn:issuer".to_owned(), ..good.clone() };
        client.check_issuer(&Issuer { jwks_url: keys, ..named.clone() }).unwrap();
        for bad in [
            named,
            Issuer { audiences: Vec::new(), ..good.clone() },
            Issuer { audiences: vec![String::new()], ..good.clone() },
            Issuer { jwks_url: Some("http://issuer.example/keys".to_owned()), ..good },
        ] {
            assert!(client.check_issuer(&bad).is_err(), "{bad:?}");
        }
    }
}
