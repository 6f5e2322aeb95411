//! Sign-in against a certified issuer that other people wrote. Skipped unless `FOREIGN_ISSUER` is
//! the folder that it is installed in, as `tests/foreign/issuer` describes it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use domain::Timestamp;
use domain::sign_in::{Issuer, Preset, Provider, Secret};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};

use crate::oauth::{Attempt, Callback};
use crate::{Client, Error, testing, third_party};

const REDIRECT: &str = "https://app.example/callback";
const SECRET: &str = "a secret: with % and +";
const ATTEMPT: Attempt<'static> = Attempt {
    redirect_uri: REDIRECT,
    state: "state-of-this-attempt",
    nonce: "nonce-of-this-attempt",
    verifier: "a-verifier-that-is-long-enough-for-everybody",
};
const STEPS_MAX: usize = 20;

/// The issuer's process. It ends when its input closes, whatever becomes of this one.
struct Foreign {
    name: String,
    process: Child,
    input: ChildStdin,
}

impl Foreign {
    fn start(folder: &str) -> Self {
        let mut process = Command::new("node")
            .arg(Path::new(folder).join("issuer.js"))
            .args(["0", "the-app", SECRET, REDIRECT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap();
        Self { name: format!("http://127.0.0.1:{port}"), process, input }
    }

    fn stop(mut self) {
        drop(self.input);
        assert!(self.process.wait().unwrap().success());
    }

    fn provider(&self) -> Provider {
        Provider {
            kind: Preset::Oidc,
            issuer: Some(self.name.clone()),
            client_id: "the-app".to_owned(),
            client_secret: Some(Secret(SECRET.to_owned())),
            ..Provider::default()
        }
    }
}

/// Somebody's browser: keeps cookies, and follows redirects until one leads to the app.
struct Browser {
    client: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self { client: client.build().unwrap(), cookies: BTreeMap::new() }
    }

    /// One request; where it leads, or else the page.
    async fn step(&mut self, url: &Url, form: Option<&str>) -> Result<Url, String> {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let request = match form {
            None => self.client.get(url.clone()),
            Some(form) => self
                .client
                .post(url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.to_owned()),
        };
        let response = request.header(COOKIE, cookies).send().await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        match response.headers().get(LOCATION) {
            Some(location) => Ok(url.join(location.to_str().unwrap()).unwrap()),
            None => Err(response.text().await.unwrap()),
        }
    }

    /// Signs in as `login`, or declines where there is none; returns the callback's query.
    async fn sign_in(&mut self, url: &str, login: Option<&str>) -> String {
        let mut url = Url::parse(url).unwrap();
        for _ in 0..STEPS_MAX {
            if url.as_str().starts_with(REDIRECT) {
                return url.query().unwrap().to_owned();
            }
            url = match self.step(&url, None).await {
                Ok(next) => next,
                Err(page) => {
                    let form = match login {
                        _ if page.contains("value=\"consent\"") => "prompt=consent".to_owned(),
                        Some(login) => format!("prompt=login&login={login}&password=any"),
                        None => {
                            url = url.join(&format!("{}/abort", url.path())).unwrap();
                            continue;
                        }
                    };
                    self.step(&url, Some(&form)).await.expect("the form leads on")
                }
            };
        }
        panic!("it leads nowhere: {url}");
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

async fn sign_in(client: &Client, foreign: &Foreign, login: Option<&str>) -> Callback {
    let url = client.begin(&foreign.provider(), &ATTEMPT, &[]).await.unwrap();
    Callback::read(&Browser::new().sign_in(&url, login).await).unwrap()
}

#[tokio::test]
async fn somebody_signs_in_through_a_certified_issuer() {
    let Ok(folder) = std::env::var("FOREIGN_ISSUER") else { return };
    let client = testing::client();
    let foreign = Foreign::start(&folder);
    let provider = foreign.provider();

    let callback = sign_in(&client, &foreign, Some("ada")).await;
    assert_eq!(callback.state(), Some(ATTEMPT.state));
    let person = client.exchange(&provider, &ATTEMPT, &callback, now()).await.unwrap();
    assert_eq!((person.issuer.as_str(), person.subject.as_str()), (&*foreign.name, "ada"));
    assert_eq!(person.email.as_deref(), Some("ada@people.example"));
    assert!(person.email_verified);
    assert_eq!(person.name.as_deref(), Some("ada of the people"));
    assert_eq!(person.locale.as_deref(), Some("en-GB"));
    assert_eq!(person.picture.as_deref(), Some("https://people.example/ada.png"));

    let again = client.exchange(&provider, &ATTEMPT, &callback, now()).await;
    assert!(matches!(again, Err(Error::Refused(text)) if text.starts_with("invalid_grant")));
    foreign.stop();
}

#[tokio::test]
async fn a_certified_issuer_refuses_what_it_must() {
    let Ok(folder) = std::env::var("FOREIGN_ISSUER") else { return };
    let client = testing::client();
    let foreign = Foreign::start(&folder);
    let provider = foreign.provider();
    let refused = |found: Result<_, Error>, code: &str| match found {
        Err(Error::Refused(text)) => assert!(text.starts_with(code), "{text}"),
        found => panic!("{code} was expected: {:?}", found.map(|person: crate::Person| person)),
    };

    // Somebody else's verifier.
    let callback = sign_in(&client, &foreign, Some("ada")).await;
    let other = "another-verifier-that-is-as-long-as-the-first";
    let stolen = Attempt { verifier: other, ..ATTEMPT };
    refused(client.exchange(&provider, &stolen, &callback, now()).await, "invalid_grant");
    // A wrong secret, by either way of proving it; the code is good thereafter.
    let callback = sign_in(&client, &foreign, Some("ada")).await;
    let wrong = Provider { client_secret: Some(Secret("wrong!".to_owned())), ..provider.clone() };
    refused(client.exchange(&wrong, &ATTEMPT, &callback, now()).await, "invalid_client");
    client.exchange(&provider, &ATTEMPT, &callback, now()).await.unwrap();
    // Another nonce than the one that it was begun with.
    let callback = sign_in(&client, &foreign, Some("ada")).await;
    let mixed = Attempt { nonce: "another", ..ATTEMPT };
    let found = client.exchange(&provider, &mixed, &callback, now()).await;
    assert_eq!(found, Err(crate::id_token::NONCE));
    // Another state, and an issuer that is not named although it promised to be.
    let mixed = Attempt { state: "another", ..ATTEMPT };
    let found = client.exchange(&provider, &mixed, &callback, now()).await;
    assert!(matches!(found, Err(Error::InvalidToken(_))));
    let unnamed = Callback::read(&format!("code=a&state={}", ATTEMPT.state)).unwrap();
    let found = client.exchange(&provider, &ATTEMPT, &unnamed, now()).await;
    assert_eq!(found, Err(Error::InvalidToken("the callback is another issuer's")));
    // Somebody thinks better of it.
    let callback = sign_in(&client, &foreign, None).await;
    refused(client.exchange(&provider, &ATTEMPT, &callback, now()).await, "access_denied");
    foreign.stop();
}

#[tokio::test]
async fn a_certified_issuers_id_token_is_taken_by_itself() {
    let Ok(folder) = std::env::var("FOREIGN_ISSUER") else { return };
    let client = testing::client();
    let foreign = Foreign::start(&folder);
    let provider = foreign.provider();
    let query = {
        let url = client.begin(&provider, &ATTEMPT, &[]).await.unwrap();
        Browser::new().sign_in(&url, Some("ada")).await
    };
    let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code").unwrap().1;
    let code = crate::token_endpoint::Code {
        client_id: "the-app",
        code: &code,
        redirect_uri: REDIRECT,
        verifier: ATTEMPT.verifier,
    };
    let url = format!("{}/token", foreign.name);
    let proof = crate::token_endpoint::Proof::Basic(SECRET);
    let grant = code.exchange(&client.inner.http, &url, &proof).await.unwrap();
    let token = grant.id_token.unwrap();

    let verify = |nonce| client.verify_id_token(&provider, &token, nonce, now());
    assert_eq!(verify(Some(ATTEMPT.nonce)).await.unwrap().subject, "ada");
    assert!(verify(None).await.is_err());
    let forged = testing::tamper(&token);
    let found = client.verify_id_token(&provider, &forged, Some(ATTEMPT.nonce), now()).await;
    assert!(matches!(found, Err(Error::InvalidToken(_))));

    assert_eq!(third_party::peek_issuer(&token), Some(foreign.name.clone()));
    let issuer = Issuer {
        issuer: foreign.name.clone(),
        jwks_url: None,
        audiences: vec!["the-app".to_owned()],
        roles_claim: None,
    };
    let taken = client.verify_foreign(&[issuer], &token, now()).await.unwrap();
    assert_eq!(taken.subject, "ada");
    foreign.stop();
}
