//! What issuers publish of themselves: the discovery document (OpenID Connect Discovery 1.0) and
//! their keys (JWK Set, RFC 7517). Fetched when first needed and kept as long as they say, between
//! five minutes and a day.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::http::{Answer, Http, not_understood};
use crate::jwk::KeySet;
use crate::provider::Known;
use crate::{Client, Error};

/// What matters of a discovery document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Document {
    /// What the issuer calls itself; exactly what it was asked as.
    pub issuer: String,
    /// Where people are sent to sign in.
    #[serde(default)]
    pub authorization_endpoint: Option<String>,
    /// Where codes are exchanged.
    #[serde(default)]
    pub token_endpoint: Option<String>,
    /// Where more is said of a person.
    #[serde(default)]
    pub userinfo_endpoint: Option<String>,
    /// Where its keys are.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// How the app may prove itself; `client_secret_basic` when absent.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether callbacks name the issuer (RFC 9207 section 3).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl Client {
    /// The discovery document of an issuer.
    ///
    /// Errors: [`Error::Configuration`] when the issuer may not be asked or names another issuer
    /// than itself, [`Error::Unreachable`].
    pub async fn discover(&self, issuer: &str) -> Result<Arc<Document>, Error> {
        self.discover_as(issuer, issuer).await
    }

    /// The same for a provider.
    pub(crate) async fn document(&self, known: &Known) -> Result<Arc<Document>, Error> {
        self.discover_as(known.issuer(), &known.document_issuer()).await
    }

    async fn discover_as(&self, asked: &str, named: &str) -> Result<Arc<Document>, Error> {
        // An address has no space, so nobody's key can be another's.
        let key = format!("{asked} {named}");
        let fetch = || fetch_document(&self.inner.http, asked, named);
        self.inner.documents.get(&key, fetch).await
    }
}

async fn fetch_document(
    http: &Http,
    asked: &str,
    named: &str,
) -> Result<(Document, Option<Duration>), Error> {
    if asked.contains(['?', '#']) {
        let text = "an issuer has neither a query nor a fragment".to_owned();
        return Err(Error::Configuration(text));
    }
    let base = asked.strip_suffix('/').unwrap_or(asked);
    let url = format!("{base}/.well-known/openid-configuration");
    let answer = good(http.get(&url, None).await?, &url)?;
    let document = serde_json::from_slice(&answer.body).map(Value::Object);
    let document: Document = document
        .and_then(serde_json::from_value)
        .map_err(|_| not_understood(&url, "this is no discovery document"))?;
    if document.issuer != named {
        let found = crate::error::clean(&document.issuer, 200);
        return Err(Error::Configuration(format!("{asked} calls itself {found}")));
    }
    Ok((document, answer.fresh))
}

/// Fetches keys.
pub(crate) async fn fetch_keys(
    http: &Http,
    url: &str,
) -> Result<(KeySet, Option<Duration>), Error> {
    let answer = good(http.get(url, None).await?, url)?;
    let keys =
        KeySet::read(&answer.body).ok_or_else(|| not_understood(url, "these are no keys"))?;
    Ok((keys, answer.fresh))
}

fn good(answer: Answer, url: &str) -> Result<Answer, Error> {
    match answer.status {
        200 => Ok(answer),
        status => Err(not_understood(url, &format!("it answered {status}"))),
    }
}

/// An address that an issuer's document must name.
///
/// Errors: [`Error::Configuration`].
pub(crate) fn endpoint<'a>(address: Option<&'a String>, name: &str) -> Result<&'a str, Error> {
    let missing = || Error::Configuration(format!("the issuer names no {name}"));
    address.map(String::as_str).ok_or_else(missing)
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
