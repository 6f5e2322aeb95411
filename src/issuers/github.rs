//! GitHub: OAuth 2.0 without id tokens. Who signed in is asked for with the access token. An
//! issuer of one's own (GitHub Enterprise Server) has its interface under `/api/v3`.

use domain::sign_in::{Preset, Provider};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::claims::text;
use crate::http::not_understood;
use crate::person::{Person, email, name, picture};
use crate::token_endpoint::{Code, Proof};
use crate::{Client, Error};

const GITHUB: &str = "https://github.com";
const GITHUB_API: &str = "https://api.github.com";
/// How many addresses of somebody are looked at.
const EMAILS_MAX: usize = 100;
/// What of an account says who it is; the rest is about what it owns.
const KEPT: [&str; 11] = [
    "id",
    "node_id",
    "login",
    "name",
    "avatar_url",
    "html_url",
    "type",
    "company",
    "blog",
    "location",
    "created_at",
];

#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

fn trimmed(base: &str) -> &str {
    base.strip_suffix('/').unwrap_or(base)
}

/// Where people are sent.
pub(crate) fn authorization_endpoint(base: &str) -> String {
    format!("{}/login/oauth/authorize", trimmed(base))
}

impl Client {
    /// Exchanges a code and asks who it is.
    pub(crate) async fn github_person(
        &self,
        provider: &Provider,
        base: &str,
        code: &Code<'_>,
    ) -> Result<Person, Error> {
        let base = trimmed(base);
        let http = &self.inner.http;
        let proof = match &provider.client_secret {
            Some(secret) => Proof::Post(&secret.0),
            None => return Err(Error::Configuration("GitHub needs the client secret".to_owned())),
        };
        let url = format!("{base}/login/oauth/access_token");
        let grant = code.exchange(http, &url, &proof).await?;
        let token = grant.access_token.ok_or(Error::InvalidToken("there is no access token"))?;

        let api = if base == GITHUB { GITHUB_API.to_owned() } else { format!("{base}/api/v3") };
        let url = format!("{api}/user");
        let answer = http.get(&url, Some(&token)).await?;
        if !answer.is_success() {
            return Err(not_understood(&url, &format!("it answered {}", answer.status)));
        }
        let user: Map<String, Value> = serde_json::from_slice(&answer.body)
            .map_err(|_| not_understood(&url, "this is no account"))?;
        // Logins can be given to somebody else; numbers never are.
        let subject = user.get("id").and_then(Value::as_u64).map(|id| id.to_string());
        let subject = subject.ok_or_else(|| not_understood(&url, "the account has no id"))?;

        let url = format!("{api}/user/emails");
        let answer = http.get(&url, Some(&token)).await?;
        let address = match answer.status {
            200 => primary(&answer.body).map_err(|why| not_understood(&url, why))?,
            // People may keep addresses back, and an app may not be allowed to ask.
            401 | 403 | 404 => None,
            status => return Err(not_understood(&url, &format!("it answered {status}"))),
        };
        Ok(person(base, subject, user, address))
    }
}

fn primary(body: &[u8]) -> Result<Option<Address>, &'static str> {
    let all: Vec<Address> = serde_json::from_slice(body).map_err(|_| "these are no addresses")?;
    Ok(all.into_iter().take(EMAILS_MAX).find(|address| address.primary))
}

fn person(
    base: &str,
    subject: String,
    mut user: Map<String, Value>,
    address: Option<Address>,
) -> Person {
    // The public address of the account is whatever its owner wrote.
    let public = text(&user, "email").map(str::to_owned);
    user.retain(|name, _| KEPT.contains(&name.as_str()));
    let named = name(text(&user, "name")).or_else(|| name(text(&user, "login")));
    let shown = picture(text(&user, "avatar_url"));
    let mut person = Person::new(Preset::Github, base.to_owned(), subject, user);
    person.email = match &address {
        Some(address) => email(Some(&address.email)),
        None => email(public.as_deref()),
    };
    let verified = address.is_some_and(|address| address.verified);
    person.email_verified = verified && person.email.is_some();
    person.name = named;
    person.picture = shown;
    person
}
