//! Exchanges a code for tokens (RFC 6749 section 4.1.3, with PKCE, RFC 7636). The app proves
//! itself the way that the issuer supports.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::sign_in::Preset;
use form_urlencoded::{Serializer, byte_serialize};
use serde_json::{Map, Value};

use crate::Error;
use crate::claims::text;
use crate::discovery::Document;
use crate::http::{Http, not_understood};

/// How large an access token may be, in bytes: it goes into a header.
const ACCESS_TOKEN_BYTES_MAX: usize = 16 * 1024;
/// What an issuer says to a client that did not prove itself (RFC 6749 section 5.2).
const NOT_PROVEN: &str = "invalid_client";

/// How the app proves itself (OpenID Connect Core 1.0 section 9).
pub(crate) enum Proof<'a> {
    /// `client_secret_basic`.
    Basic(&'a str),
    /// `client_secret_post`.
    Post(&'a str),
    /// Not at all but by the verifier.
    None,
}

impl<'a> Proof<'a> {
    /// The ways that the issuer's document lists, in the order to try them: an issuer may list
    /// both and take from this client only one. Any issuer takes the header unless a client was
    /// registered otherwise (OpenID Connect Dynamic Client Registration 1.0 section 2); those
    /// with a preset take either, and in the body no encoding can be misunderstood.
    ///
    /// Errors: [`Error::Configuration`] when it lists neither.
    pub(crate) fn choose(
        kind: Preset,
        document: &Document,
        secret: Option<&'a str>,
    ) -> Result<Vec<Self>, Error> {
        let Some(secret) = secret else { return Ok(vec![Self::None]) };
        let Some(methods) = &document.token_endpoint_auth_methods_supported else {
            return Ok(vec![Self::Basic(secret)]);
        };
        let mut ways = [
            ("client_secret_basic", Self::Basic(secret)),
            ("client_secret_post", Self::Post(secret)),
        ];
        if kind != Preset::Oidc {
            ways.reverse();
        }
        let listed = |name: &str| methods.iter().any(|method| method == name);
        let ways: Vec<Self> =
            ways.into_iter().filter(|(name, _)| listed(name)).map(|(_, way)| way).collect();
        if ways.is_empty() {
            return Err(Error::Configuration("the issuer takes no client secret".to_owned()));
        }
        Ok(ways)
    }

    fn secret(&self) -> Option<&'a str> {
        match self {
            Self::Basic(secret) | Self::Post(secret) => Some(secret),
            Self::None => None,
        }
    }
}

/// A code, and what belongs to it.
pub(crate) struct Code<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) code: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) verifier: &'a str,
}

/// What a code was exchanged for.
pub(crate) struct Grant {
    pub(crate) id_token: Option<String>,
    pub(crate) access_token: Option<String>,
}

impl Code<'_> {
    /// Exchanges the code at `url` by the first of `proofs` that the issuer accepts. One that it
    /// does not accept leaves the code as it is.
    ///
    /// Errors: those of [`Code::exchange`].
    pub(crate) async fn exchange_by(
        &self,
        http: &Http,
        url: &str,
        proofs: &[Proof<'_>],
    ) -> Result<Grant, Error> {
        let mut refusal = Error::Configuration("the app can't prove itself".to_owned());
        for proof in proofs {
            refusal = match self.exchange(http, url, proof).await {
                Err(Error::Refused(text)) if text.starts_with(NOT_PROVEN) => Error::Refused(text),
                other => return other,
            };
        }
        Err(refusal)
    }

    /// Exchanges the code at `url`.
    ///
    /// Errors: [`Error::Refused`] with the issuer's own words, [`Error::Unreachable`],
    /// [`Error::Configuration`].
    pub(crate) async fn exchange(
        &self,
        http: &Http,
        url: &str,
        proof: &Proof<'_>,
    ) -> Result<Grant, Error> {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", self.code)
            .append_pair("redirect_uri", self.redirect_uri)
            .append_pair("code_verifier", self.verifier);
        let mut authorization = None;
        match proof {
            Proof::Basic(secret) => authorization = Some(basic(self.client_id, secret)),
            Proof::Post(secret) => {
                form.append_pair("client_id", self.client_id).append_pair("client_secret", secret);
            }
            Proof::None => {
                form.append_pair("client_id", self.client_id);
            }
        }
        let answer = http.post(url, authorization.as_deref(), form.finish()).await?;
        let secrets = [self.code, self.verifier, proof.secret().unwrap_or_default()];
        let body: Option<Map<String, Value>> = serde_json::from_slice(&answer.body).ok();
        // GitHub says no with a 200.
        if let Some(body) = &body
            && let Some(code) = text(body, "error")
        {
            return Err(Error::refused(code, text(body, "error_description"), &secrets));
        }
        match body {
            Some(body) if answer.is_success() => Ok(grant(&body)),
            None if answer.is_success() => Err(not_understood(url, "this is no answer to a code")),
            _ if answer.status >= 500 => {
                Err(not_understood(url, &format!("it answered {}", answer.status)))
            }
            _ => Err(Error::refused(&format!("status {}", answer.status), None, &[])),
        }
    }
}

fn grant(body: &Map<String, Value>) -> Grant {
    let token = text(body, "access_token").filter(|token| {
        !token.is_empty()
            && token.len() <= ACCESS_TOKEN_BYTES_MAX
            && token.bytes().all(|byte| byte.is_ascii_graphic())
    });
    Grant {
        id_token: text(body, "id_token").map(str::to_owned),
        access_token: token.map(str::to_owned),
    }
}

/// RFC 6749 section 2.3.1: both parts are encoded as in a form first.
fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let both = format!("{}:{}", encoded(client_id), encoded(secret));
    format!("Basic {}", STANDARD.encode(both))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_proof_is_the_issuers() {
        let chosen = |kind, methods: Option<&[&str]>, secret: Option<&'static str>| {
            let mut document = serde_json::json!({"issuer": "https://a.example"});
            if let Some(methods) = methods {
                document["token_endpoint_auth_methods_supported"] = methods.into();
            }
            let document = serde_json::from_value(document).unwrap();
            let proofs = Proof::choose(kind, &document, secret)?;
            let name = |proof: &Proof<'_>| match proof {
                Proof::Basic(_) => "basic",
                Proof::Post(_) => "post",
                Proof::None => "none",
            };
            Ok::<_, Error>(proofs.iter().map(name).collect::<Vec<_>>())
        };
        let any = Preset::Oidc;
        assert_eq!(chosen(any, None, Some("s")).unwrap(), ["basic"]);
        let basic = ["client_secret_basic"];
        assert_eq!(chosen(any, Some(&basic), Some("s")).unwrap(), ["basic"]);
        let both = ["client_secret_post", "client_secret_basic"];
        assert_eq!(chosen(any, Some(&both), Some("s")).unwrap(), ["basic", "post"]);
        assert_eq!(chosen(Preset::Google, Some(&both), Some("s")).unwrap(), ["post", "basic"]);
        assert_eq!(chosen(any, Some(&both), None).unwrap(), ["none"]);
        assert!(chosen(any, Some(&["private_key_jwt"]), Some("s")).is_err());
    }

    #[test]
    fn a_secret_in_the_header_is_encoded_twice() {
        let header = basic("a b", "s:%");
        assert_eq!(header, format!("Basic {}", STANDARD.encode("a+b:s%3A%25")));
    }
}
