//! Signing in through another issuer: where to send people, and what to make of their coming back.
//! Always the code flow with PKCE (RFC 7636, S256), `state` and, with OpenID Connect, `nonce`; the
//! callback's issuer is checked where it is named (RFC 9207), so that no issuer can pass off its
//! code as another's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use domain::sign_in::{Preset, Provider};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::discovery::{self, Document};
use crate::http::not_understood;
use crate::id_token::{IdToken, NONCE};
use crate::person::Person;
use crate::provider::{Known, scopes};
use crate::token_endpoint::{Code, Grant, Proof};
use crate::{Client, Error, apple, claims, github};

/// How large a callback may be, in bytes.
pub const CALLBACK_BYTES_MAX: usize = 16 * 1024;
const SCOPES_MAX: usize = 50;
const SECRET_CHARS_MAX: usize = 255;

/// One attempt to sign in. The three secrets are random, used once, and kept where only the
/// browser that began can bring them back together.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// Where the issuer sends people back to: registered there.
    pub redirect_uri: &'a str,
    /// Comes back in the callback; at most 255 characters.
    pub state: &'a str,
    /// Comes back in the id token; at most 255 characters.
    pub nonce: &'a str,
    /// PKCE's verifier: 43 to 128 letters, digits and `-._~` (RFC 7636 section 4.1).
    pub verifier: &'a str,
}

impl Attempt<'_> {
    fn check(&self) -> Result<(), Error> {
        let wrong = |text: &str| Err(Error::Configuration(text.to_owned()));
        let plain = |one: u8| one.is_ascii_alphanumeric() || b"-._~".contains(&one);
        if !(43..=128).contains(&self.verifier.len()) || !self.verifier.bytes().all(plain) {
            return wrong("the verifier must be 43 to 128 letters, digits and -._~");
        }
        let lengths = [self.state, self.nonce].map(|text| text.chars().count());
        if lengths.iter().any(|length| !(1..=SECRET_CHARS_MAX).contains(length)) {
            return wrong("state and nonce must have 1 to 255 characters");
        }
        if reqwest::Url::parse(self.redirect_uri).is_err() {
            return wrong("the redirect URI must be absolute");
        }
        Ok(())
    }
}

/// What an issuer sent back with the browser: a query, or the form that Apple posts.
#[derive(Clone, Default)]
pub struct Callback {
    code: Option<String>,
    state: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    user: Option<String>,
}

impl Callback {
    /// Reads a query or a form.
    ///
    /// Errors: [`Error::InvalidToken`] when it is too long, or says something twice (RFC 6749
    /// section 3.1).
    pub fn read(form: &str) -> Result<Self, Error> {
        if form.len() > CALLBACK_BYTES_MAX {
            return Err(Error::InvalidToken("the callback is too long"));
        }
        let mut callback = Self::default();
        for (name, value) in form_urlencoded::parse(form.as_bytes()) {
            let field = match name.as_ref() {
                "code" => &mut callback.code,
                "state" => &mut callback.state,
                "iss" => &mut callback.issuer,
                "error" => &mut callback.error,
                "error_description" => &mut callback.error_description,
                "user" => &mut callback.user,
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return Err(Error::InvalidToken("the callback says something twice"));
            }
        }
        Ok(callback)
    }

    /// What came back as `state`: by it the attempt is found.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The code, if the callback belongs to this attempt with this issuer.
    fn code(&self, attempt: &Attempt<'_>, known: &Known, promised: bool) -> Result<&str, Error> {
        if self.state.as_deref() != Some(attempt.state) {
            return Err(Error::InvalidToken("the callback belongs to another attempt to sign in"));
        }
        let wrong = Error::InvalidToken("the callback is another issuer's");
        match &self.issuer {
            Some(issuer) if !known.is_callback_issuer(issuer) => return Err(wrong),
            None if promised => return Err(wrong),
            _ => {}
        }
        if let Some(error) = &self.error {
            let secrets = [attempt.state, attempt.nonce, attempt.verifier];
            return Err(Error::refused(error, self.error_description.as_deref(), &secrets));
        }
        let code = self.code.as_deref().filter(|code| !code.is_empty());
        code.ok_or(Error::InvalidToken("the callback has no code"))
    }
}

impl Client {
    /// Where to send somebody who wants to sign in through `provider`. `asked` are scopes; with
    /// none, the provider's or else the preset's. Apple answers by a form that the browser posts.
    ///
    /// Errors: [`Error::Configuration`], [`Error::Unreachable`].
    pub async fn begin(
        &self,
        provider: &Provider,
        attempt: &Attempt<'_>,
        asked: &[String],
    ) -> Result<String, Error> {
        attempt.check()?;
        let known = Known::of(provider)?;
        let scopes = scopes(provider, asked);
        if scopes.len() > SCOPES_MAX {
            return Err(Error::Configuration("too many scopes are asked for".to_owned()));
        }
        let endpoint = if provider.kind == Preset::Github {
            github::authorization_endpoint(known.issuer())
        } else {
            let document = self.document(&known).await?;
            let endpoint = document.authorization_endpoint.as_ref();
            discovery::endpoint(endpoint, "authorization_endpoint")?.to_owned()
        };
        let mut url = self.inner.http.address(&endpoint)?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(attempt.verifier));
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", attempt.redirect_uri)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", attempt.state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if provider.kind != Preset::Github {
            query.append_pair("nonce", attempt.nonce);
        }
        let personal = scopes.iter().any(|scope| scope == "name" || scope == "email");
        if provider.kind == Preset::Apple && personal {
            query.append_pair("response_mode", "form_post");
        }
        drop(query);
        Ok(url.into())
    }

    /// Who came back, given the attempt that was begun for them. Each attempt must be given once
    /// only.
    ///
    /// Errors: all of [`Error`]. [`Error::Refused`] also when the person declined.
    pub async fn exchange(
        &self,
        provider: &Provider,
        attempt: &Attempt<'_>,
        callback: &Callback,
        now: Timestamp,
    ) -> Result<Person, Error> {
        attempt.check()?;
        let known = Known::of(provider)?;
        let code = |code| Code {
            client_id: &provider.client_id,
            code,
            redirect_uri: attempt.redirect_uri,
            verifier: attempt.verifier,
        };
        if provider.kind == Preset::Github {
            let code = code(callback.code(attempt, &known, false)?);
            return self.github_person(provider, known.issuer(), &code).await;
        }
        let document = self.document(&known).await?;
        let promised = document.authorization_response_iss_parameter_supported;
        let code = code(callback.code(attempt, &known, promised)?);
        let grant = self.redeem(provider, &document, &code, now).await?;
        let Grant { id_token, access_token } = grant;
        let id_token = id_token.ok_or(Error::InvalidToken("there is no id token"))?;
        let id_token = self.check_id_token(&known, &id_token, now).await?;
        claims::audience(&id_token.claims, &[&provider.client_id], true)?;
        if claims::text(&id_token.claims, "nonce") != Some(attempt.nonce) {
            return Err(NONCE);
        }
        check_hash(&id_token, access_token.as_deref())?;
        let IdToken { issuer, mut claims, .. } = id_token;
        let subject = claims::subject(&claims)?.to_owned();
        if !claims.contains_key("email")
            && let (Some(url), Some(token)) = (&document.userinfo_endpoint, &access_token)
        {
            let more = self.userinfo(url, token, &subject).await?;
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        let mut person = Person::new(provider.kind, issuer, subject, claims);
        if provider.kind == Preset::Apple && person.name.is_none() {
            person.name = callback.user.as_deref().and_then(apple::name);
        }
        Ok(person)
    }

    async fn redeem(
        &self,
        provider: &Provider,
        document: &Document,
        code: &Code<'_>,
        now: Timestamp,
    ) -> Result<Grant, Error> {
        let url = discovery::endpoint(document.token_endpoint.as_ref(), "token_endpoint")?;
        let made;
        let proofs = match (provider.kind, &provider.client_secret) {
            (Preset::Apple, _) => {
                made = apple::client_secret(provider, now)?;
                vec![Proof::Post(&made)]
            }
            (kind, secret) => {
                let secret = secret.as_ref().map(|secret| secret.0.as_str());
                Proof::choose(kind, document, secret)?
            }
        };
        code.exchange_by(&self.inner.http, url, &proofs).await
    }

    /// What more the issuer says of somebody (OpenID Connect Core 1.0 section 5.3); nothing where
    /// it answers with a token.
    async fn userinfo(
        &self,
        url: &str,
        token: &str,
        subject: &str,
    ) -> Result<Map<String, Value>, Error> {
        let answer = self.inner.http.get(url, Some(token)).await?;
        if !answer.is_success() {
            return Err(not_understood(url, &format!("it answered {}", answer.status)));
        }
        if answer.media_type == "application/jwt" {
            return Ok(Map::new());
        }
        let claims: Map<String, Value> = serde_json::from_slice(&answer.body)
            .map_err(|_| not_understood(url, "this is not about a person"))?;
        if claims::text(&claims, "sub") != Some(subject) {
            return Err(Error::InvalidToken("userinfo is about somebody else"));
        }
        Ok(claims)
    }
}

/// Whether the access token is the one that the id token was made with, where it says so (OpenID
/// Connect Core 1.0 section 3.1.3.8).
fn check_hash(id_token: &IdToken, access_token: Option<&str>) -> Result<(), Error> {
    let (Some(expected), Some(token)) = (id_token.claims.get("at_hash"), access_token) else {
        return Ok(());
    };
    let hash = match id_token.algorithm.as_str() {
        "RS384" | "PS384" | "ES384" => Sha384::digest(token).to_vec(),
        "RS512" | "PS512" | "EdDSA" | "Ed25519" => Sha512::digest(token).to_vec(),
        _ => Sha256::digest(token).to_vec(),
    };
    let half = URL_SAFE_NO_PAD.encode(&hash[..hash.len() / 2]);
    match expected.as_str() == Some(&half) {
        true => Ok(()),
        false => Err(Error::InvalidToken("the access token is not the id token's")),
    }
}

#[cfg(test)]
#[path = "oauth_tests.rs"]
mod tests;
