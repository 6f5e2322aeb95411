//! Signing in through another issuer, by what it says and by the app's own server's word: an issuer
//! on loopback, a browser with one cookie, and what either may try.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use domain::access::Access;
use domain::command::{Body, Command, Context};
use domain::projects::ProjectCommand;
use domain::sign_in::{Config, Preset, Provider, Secret};
use domain::users::{Step, UserCommand};
use domain::{Actor, ProjectId, UserId};
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Reply, Rig};

const APP: &str = "https://app.example/back";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A private key, and the tokens that it signs.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap())
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        let text = |bytes| BASE64URL_NOPAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": "k1", "x": text(x), "y": text(y)})
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let header = json!({"alg": "ES256", "kid": "k1", "typ": "JWT"});
        let text = format!("{}.{}", part(&header), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What somebody agreed to at the issuer, to be redeemed once.
struct Consent {
    claims: Value,
    challenge: String,
    redirect_uri: String,
}

/// An issuer that can be discovered, and that checks what an issuer checks.
struct Issuer {
    base: String,
    signer: Arc<Signer>,
    consents: Arc<Mutex<HashMap<String, Consent>>>,
    task: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (signer, consents) = (Arc::new(Signer::new()), Arc::default());
        let served = (base.clone(), Arc::clone(&signer), Arc::clone(&consents));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (base, signer, consents) = served.clone();
                tokio::spawn(async move { serve(socket, &base, &signer, &consents).await });
            }
        });
        Self { base, signer, consents, task }
    }

    fn id_token(&self, claims: &Value) -> String {
        let mut all = json!({
            "iss": self.base, "aud": "app", "iat": seconds(), "exp": seconds() + 300,
        });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        self.signer.sign(&all)
    }

    /// Somebody agrees to what the browser was sent there with; the query that it comes back with.
    fn agree(&self, url: &str, claims: &Value) -> String {
        assert!(url.starts_with(&format!("{}/authorize?", self.base)), "{url}");
        let asked = query(url);
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["code_challenge_method"], "S256");
        assert_eq!(asked["client_id"], "app");
        let mut claims = claims.clone();
        claims["nonce"] = json!(asked["nonce"]);
        let code = format!("code-{}", self.consents.lock().len());
        let consent = Consent {
            claims,
            challenge: asked["code_challenge"].clone(),
            redirect_uri: asked["redirect_uri"].clone(),
        };
        self.consents.lock().insert(code.clone(), consent);
        let state = &asked["state"];
        format!("code={code}&state={state}")
    }
}

/// As pages read it: of two values the first.
fn query(url: &str) -> HashMap<String, String> {
    let text = url.split_once('?').map_or("", |(_, query)| query);
    let mut query = HashMap::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()).into_owned() {
        query.entry(name).or_insert(value);
    }
    query
}

async fn serve(
    mut socket: TcpStream,
    base: &str,
    signer: &Signer,
    consents: &Mutex<HashMap<String, Consent>>,
) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
        });
        if body.len() >= length.unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let path = head.split(' ').nth(1).unwrap();
    let (status, answer) = match path {
        "/.well-known/openid-configuration" => (
            200,
            json!({
                "issuer": base,
                "authorization_endpoint": format!("{base}/authorize"),
                "token_endpoint": format!("{base}/token"),
                "jwks_uri": format!("{base}/keys"),
            }),
        ),
        "/keys" => (200, json!({"keys": [signer.jwk()]})),
        "/token" => redeem(base, signer, consents, &body),
        _ => (404, json!({})),
    };
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status} S\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        answer.len()
    );
    let _ = socket.write_all(format!("{head}{answer}").as_bytes()).await;
}

fn redeem(
    base: &str,
    signer: &Signer,
    consents: &Mutex<HashMap<String, Consent>>,
    body: &str,
) -> (u16, Value) {
    let form: HashMap<String, String> =
        form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let refused = (400, json!({"error": "invalid_grant"}));
    let Some(consent) = consents.lock().remove(&form["code"]) else { return refused };
    let proof = BASE64URL_NOPAD.encode(&Sha256::digest(&form["code_verifier"]));
    if proof != consent.challenge || form["redirect_uri"] != consent.redirect_uri {
        return refused;
    }
    let mut claims = json!({
        "iss": base, "aud": "app", "iat": seconds(), "exp": seconds() + 300,
    });
    claims.as_object_mut().unwrap().extend(consent.claims.as_object().unwrap().clone());
    let id_token = signer.sign(&claims);
    (200, json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token}))
}

pub(super) async fn submit(rig: &Rig, body: Body) {
    let context = Context {
        project: ProjectId::new("p").unwrap(),
        actor: Actor::System,
        access: Access::PastRules,
        correlation_id: "test".into(),
        causation_id: None,
        depth: 0,
        traceparent: None,
        idempotency: None,
    };
    rig.shared.engine.submit(Command { context, body }).await.unwrap();
}

/// Says how people sign in to `p`, its secrets sealed as its server seals them.
pub(super) async fn configure(rig: &Rig, mut config: Config) {
    for secret in config.secrets_mut() {
        let keys = &rig.shared.people.server_keys;
        secret.0 = keys.seal_secret("sign-in/p", secret.0.as_bytes()).unwrap();
    }
    let config = Box::new(config);
    submit(rig, Body::Project(ProjectCommand::ConfigureSignIn { config })).await;
}

fn config(issuer: &Issuer) -> Config {
    let provider = Provider {
        kind: Preset::Oidc,
        issuer: Some(issuer.base.clone()),
        client_id: "app".to_owned(),
        client_secret: Some(Secret("secret".to_owned())),
        links_by_email: true,
        ..Provider::default()
    };
    Config {
        redirect_urls: vec![APP.to_owned()],
        providers: [("work".to_owned(), provider)].into(),
        ..Config::default()
    }
}

/// A project with one provider, and whoever asks without a key.
async fn rig(issuer: &Issuer, change: impl FnOnce(&mut Config)) -> Rig {
    let mut rig = Rig::new().await;
    let mut config = config(issuer);
    change(&mut config);
    configure(&rig, config).await;
    rig.token = String::new();
    rig
}

fn authorize() -> String {
    format!("auth/authorize?provider=work&redirectTo={APP}&codeChallenge={CHALLENGE}")
}

/// The cookie that a browser would send back.
fn cookie(reply: &Reply) -> String {
    let set = reply.header("set-cookie");
    assert!(set.contains("; HttpOnly; SameSite=Lax") && set.contains("Path=/"), "{set}");
    set.split(';').next().unwrap().to_owned()
}

async fn come_back(rig: &Rig, cookie: &str, query: &str) -> Reply {
    rig.ask("GET", &format!("auth/callback?{query}"), &[("Cookie", cookie)], "").await
}

/// All the way: what the app finds in the URL that the browser comes to.
async fn through(
    rig: &Rig,
    issuer: &Issuer,
    path: &str,
    person: &Value,
) -> HashMap<String, String> {
    let begun = rig.ask("GET", path, &[], "").await;
    assert_eq!(begun.status, 302, "{}", begun.text);
    let back = issuer.agree(begun.header("location"), person);
    let done = come_back(rig, &cookie(&begun), &back).await;
    assert_eq!(done.status, 302, "{}", done.text);
    assert!(done.header("set-cookie").contains("Max-Age=0"), "the cookie is used up");
    assert_eq!(done.header("cache-control"), "no-store");
    assert!(done.header("location").starts_with(APP), "{}", done.header("location"));
    query(done.header("location"))
}

async fn exchange(rig: &Rig, code: &str, verifier: &str) -> Reply {
    let body = json!({"code": code, "codeVerifier": verifier}).to_string();
    rig.ask("POST", "auth/token", &[], &body).await
}

async fn session(rig: &Rig, issuer: &Issuer, person: &Value) -> Value {
    let told = through(rig, issuer, &authorize(), person).await;
    let reply = exchange(rig, &told["code"], VERIFIER).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

async fn post(rig: &Rig, path: &str, body: Value) -> Reply {
    rig.ask("POST", path, &[], &body.to_string()).await
}

fn ann() -> Value {
    json!({
        "sub": "ann-1", "email": "Ann@example.org", "email_verified": true, "name": "Ann",
        "locale": "de", "picture": "https://pictures.example/ann.png",
    })
}

/// The user with this address is taken to read its mail.
async fn verify(rig: &Rig, user: &Value) {
    let id = UserId::new(user["id"].as_str().unwrap()).unwrap();
    let project = ProjectId::new("p").unwrap();
    let state = rig.shared.engine.user(&project, &id).await.unwrap().unwrap();
    let mut user = Box::new(state.user);
    for (key, identity) in &mut user.identities {
        identity.verified |= key.starts_with("email:");
    }
    let update = Step::Update { expected: None, user };
    submit(rig, Body::User(UserCommand { user: id, steps: vec![update] })).await;
}

async fn sign_up(rig: &Rig, email: &str) -> Value {
    let reply =
        post(rig, "auth/sign-up", json!({"email": email, "password": "tr0ub4dor&3 x"})).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.json()
}

#[actix_web::test]
async fn somebody_signs_in_through_an_issuer() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |_| ()).await;
    let told = through(&rig, &issuer, &authorize(), &ann()).await;
    let code = &told["code"];
    // Who read the URL has no verifier; trying does not use the code up.
    for wrong in [CHALLENGE, &VERIFIER.replace('d', "e")] {
        let reply = exchange(&rig, code, wrong).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "invalid-credentials"));
    }
    let reply = post(&rig, "auth/token", json!({"code": code})).await;
    assert_eq!(reply.status, 401, "{}", reply.text);
    let first = exchange(&rig, code, VERIFIER).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let again = exchange(&rig, code, VERIFIER).await;
    assert_eq!((again.status, again.code().as_str()), (401, "invalid-credentials"));

    let user = &first.json()["user"];
    assert_eq!(user["email"], "Ann@example.org");
    assert_eq!(user["emailVerified"], true);
    assert_eq!(user["name"], "Ann");
    assert_eq!(user["picture"], "https://pictures.example/ann.png");
    assert_eq!(user["identities"].as_array().unwrap().len(), 2);

    // The same person with another address is the same user.
    let mut later = ann();
    later["email"] = json!("ann@elsewhere.example");
    let session = session(&rig, &issuer, &later).await;
    assert_eq!(session["user"]["id"], user["id"]);
    assert_eq!(session["level"], "aal1");
    let token = session["accessToken"].as_str().unwrap();
    let listed = rig.ask_as(token, "GET", "auth/identities", &[], "").await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    let listed = listed.json();
    let of_issuer = |one: &&Value| one["kind"] == "oidc";
    let one = listed["identities"].as_array().unwrap().iter().find(of_issuer).unwrap().clone();
    assert_eq!(one["provider"], "work");
    assert_eq!(one["subject"], "ann-1");
    assert_eq!(one["email"], "ann@elsewhere.example");
}

#[actix_web::test]
async fn only_the_browser_that_began_comes_back() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |_| ()).await;
    let mine = rig.ask("GET", &authorize(), &[], "").await;
    let theirs = rig.ask("GET", &authorize(), &[], "").await;
    let back = issuer.agree(mine.header("location"), &ann());
    let (my_cookie, their_cookie) = (cookie(&mine), cookie(&theirs));
    let (name, ticket) = my_cookie.split_once('=').unwrap();
    let tampered = format!("{name}={}A", &ticket[..ticket.len() - 1]);
    let tampered = if tampered == my_cookie { format!("{name}={ticket}B") } else { tampered };
    for (cookie, query) in [
        ("", back.clone()),
        ("other=1", back.clone()),
        (their_cookie.as_str(), back.clone()),
        (tampered.as_str(), back.clone()),
        (my_cookie.as_str(), back.replace("state=", "state=x")),
        (my_cookie.as_str(), "code=code-0".to_owned()),
        (my_cookie.as_str(), format!("{back}&state=again")),
        (my_cookie.as_str(), String::new()),
    ] {
        let reply = come_back(&rig, cookie, &query).await;
        let found = (reply.status, reply.code());
        assert_eq!(found, (400, "invalid-parameter".to_owned()), "{cookie:.40} {query}");
    }
    // A form says the same as a query, and nothing of what was tried above has used it up.
    let form = [("Cookie", my_cookie.as_str()), FORM];
    let done = rig.ask("POST", "auth/callback", &form, &back).await;
    assert_eq!(done.status, 302, "{}", done.text);
    let told = query(done.header("location"));
    assert_eq!(exchange(&rig, &told["code"], VERIFIER).await.status, 200);
    // The issuer gives a person for a code once.
    let again = rig.ask("POST", "auth/callback", &form, &back).await;
    let told = query(again.header("location"));
    assert_eq!(told["error"], "invalid-credentials");
    assert!(!told.contains_key("code"));
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[actix_web::test]
async fn what_the_issuer_refuses_the_app_is_told() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |config| config.sign_up = false).await;
    let begun = rig.ask("GET", &authorize(), &[], "").await;
    let state = query(begun.header("location"))["state"].clone();
    let refused = format!("error=access_denied&state={state}");
    let reply = come_back(&rig, &cookie(&begun), &refused).await;
    let told = query(reply.header("location"));
    assert_eq!(told["error"], "invalid-credentials");
    assert!(told["error_description"].contains("access_denied"));
    // Another issuer's answer is none (RFC 9207).
    let begun = rig.ask("GET", &authorize(), &[], "").await;
    let back = issuer.agree(begun.header("location"), &ann());
    let back = format!("{back}&iss=https%3A%2F%2Fevil.example");
    let reply = come_back(&rig, &cookie(&begun), &back).await;
    assert_eq!(query(reply.header("location"))["error"], "invalid-credentials");
    // Nobody new may come.
    let told = through(&rig, &issuer, &authorize(), &ann()).await;
    assert_eq!(told["error"], "forbidden");
}

#[actix_web::test]
async fn nobody_is_sent_elsewhere() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |_| ()).await;
    let with = |redirect: &str| authorize().replace(APP, redirect);
    let plain = authorize() + "&codeChallengeMethod=plain";
    let none = authorize().replace(&format!("&redirectTo={APP}"), "");
    let bad = "invalid-parameter";
    rig.table(&[
        ("GET", &with("https://evil.example/back"), "", 400, bad),
        ("GET", &with("https://app.example.evil/back"), "", 400, bad),
        ("GET", &with("https://app.example/back%40evil.example"), "", 400, bad),
        ("GET", &with("https://app.example%2Fback@evil.example"), "", 400, bad),
        ("GET", &with("%2F%2Fevil.example"), "", 400, bad),
        ("GET", &with("javascript:alert(1)"), "", 400, bad),
        ("GET", &none, "", 400, bad),
        ("GET", &plain, "", 400, bad),
        ("GET", &authorize().replace(CHALLENGE, "short"), "", 400, bad),
        ("GET", "auth/authorize?provider=work", "", 400, bad),
        ("GET", &authorize().replace("work", "other"), "", 403, "forbidden"),
        ("GET", &(authorize() + "&linkTicket=forged"), "", 401, "invalid-credentials"),
        ("GET", &(authorize() + "&scopes=a%0Ab"), "", 400, bad),
    ])
    .await;
    // What is in the URL beforehand is not taken for what it will tell.
    let evil = with(&format!("{APP}%3Fcode%3Devil"));
    configure(&rig, Config { redirect_urls: vec![format!("{APP}?code=evil")], ..config(&issuer) })
        .await;
    assert_ne!(through(&rig, &issuer, &evil, &ann()).await["code"], "evil");
    configure(&rig, config(&issuer)).await;
    // Listed when it began, and no more.
    let begun = rig.ask("GET", &authorize(), &[], "").await;
    let back = issuer.agree(begun.header("location"), &ann());
    configure(&rig, Config { redirect_urls: Vec::new(), ..config(&issuer) }).await;
    let reply = come_back(&rig, &cookie(&begun), &back).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, bad));
    assert_eq!(reply.header("location"), "");
    // The project's site is where people go on who named nothing.
    let site_url = Some(APP.to_owned());
    configure(&rig, Config { redirect_urls: Vec::new(), site_url, ..config(&issuer) }).await;
    assert!(through(&rig, &issuer, &none, &ann()).await.contains_key("code"));
}

#[actix_web::test]
async fn an_address_opens_an_account_only_where_both_have_seen_it() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |_| ()).await;
    let own = sign_up(&rig, "ann@example.org").await["user"].clone();
    let unverified = json!({"sub": "ann-1", "email": "ann@example.org"});
    for person in [&ann(), &unverified] {
        let told = through(&rig, &issuer, &authorize(), person).await;
        assert_eq!(told["error"], "identity-taken", "before our side has seen it");
    }
    verify(&rig, &own).await;
    let told = through(&rig, &issuer, &authorize(), &unverified).await;
    assert_eq!(told["error"], "identity-taken", "the issuer has not seen it");
    let mut strict = config(&issuer);
    strict.providers.get_mut("work").unwrap().links_by_email = false;
    configure(&rig, strict).await;
    let told = through(&rig, &issuer, &authorize(), &ann()).await;
    assert_eq!(told["error"], "identity-taken", "the project does not want it");
    configure(&rig, config(&issuer)).await;
    assert_eq!(session(&rig, &issuer, &ann()).await["user"]["id"], own["id"]);
    // From here on it is the issuer's word that counts, whatever the address.
    assert_eq!(session(&rig, &issuer, &unverified).await["user"]["id"], own["id"]);
}

#[actix_web::test]
async fn an_address_that_nobody_vouches_for_is_nobodys_where_they_must_be_verified() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |config| config.email_verification = true).await;
    let unverified = json!({"sub": "bob", "email": "ann@example.org", "name": "Bob"});
    let bob = session(&rig, &issuer, &unverified).await["user"].clone();
    assert_eq!(bob["email"], Value::Null);
    let ann = session(&rig, &issuer, &ann()).await["user"].clone();
    assert_ne!(ann["id"], bob["id"]);
    assert_eq!(ann["email"], "Ann@example.org");
}

#[actix_web::test]
async fn a_user_links_and_unlinks() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |_| ()).await;
    let me = sign_up(&rig, "me@example.org").await;
    let eve = sign_up(&rig, "eve@example.org").await;
    let token = |session: &Value| session["accessToken"].as_str().unwrap().to_owned();
    let (me_token, eve_token) = (token(&me), token(&eve));
    let begin = json!({"provider": "work", "redirectTo": APP, "codeChallenge": CHALLENGE});
    let begin = begin.to_string();
    let reply = rig.ask_as(&me_token, "POST", "auth/identities/link", &[], &begin).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let url = reply.json()["url"].as_str().unwrap().replace("http://127.0.0.1", "");
    let told = through(&rig, &issuer, &url, &ann()).await;
    assert!(!told.contains_key("code"), "a link signs nobody in");
    let finish = |verifier: &str| {
        json!({"linkCode": told["linkCode"], "codeVerifier": verifier}).to_string()
    };
    let path = "auth/identities/link/finish";
    // The browser was another's: nobody gets its way in.
    let reply = rig.ask_as(&eve_token, "POST", path, &[], &finish(VERIFIER)).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"));
    let reply = rig.ask_as(&me_token, "POST", path, &[], &finish(CHALLENGE)).await;
    assert_eq!((reply.status, reply.code().as_str()), (401, "invalid-credentials"));
    let reply = rig.ask_as(&me_token, "POST", path, &[], &finish(VERIFIER)).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.json()["name"], Value::Null, "who has said who it is stays so");
    assert_eq!(session(&rig, &issuer, &ann()).await["user"]["id"], me["user"]["id"]);

    // Another user can't have it as well.
    let id_token = issuer.id_token(&ann());
    let body = json!({"provider": "work", "idToken": id_token}).to_string();
    let path = "auth/identities/link-id-token";
    let reply = rig.ask_as(&eve_token, "POST", path, &[], &body).await;
    assert_eq!((reply.status, reply.code().as_str()), (409, "identity-taken"));
    let reply = rig.ask_as(&me_token, "POST", path, &[], &body).await;
    assert_eq!(reply.status, 200, "what is there already is no error: {}", reply.text);

    let listed = rig.ask_as(&me_token, "GET", "auth/identities", &[], "").await.json();
    let id = |kind: &str| {
        let all = listed["identities"].as_array().unwrap();
        let one = all.iter().find(|one| one["kind"] == kind).unwrap();
        format!("auth/identities/{}", one["id"].as_str().unwrap())
    };
    let gone = |path: String| {
        let (rig, token) = (&rig, &me_token);
        async move { rig.ask_as(token, "DELETE", &path, &[], "").await }
    };
    let foreign = rig.ask_as(&eve_token, "DELETE", &id("oidc"), &[], "").await;
    assert_eq!((foreign.status, foreign.code().as_str()), (404, "not-found"));
    assert_eq!(gone(id("email")).await.status, 204);
    let last = gone(id("oidc")).await;
    assert_eq!((last.status, last.code().as_str()), (409, "last-way-in"));
    let me = rig.ask_as(&me_token, "GET", "auth/me", &[], "").await.json();
    assert_eq!(me["email"], Value::Null);
}

#[actix_web::test]
async fn nobody_becomes_somebody_by_linking() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |_| ()).await;
    let nobody = post(&rig, "auth/anonymous", json!({})).await.json();
    let token = nobody["accessToken"].as_str().unwrap();
    let body = json!({"provider": "work", "idToken": issuer.id_token(&ann())}).to_string();
    let reply = rig.ask_as(token, "POST", "auth/identities/link-id-token", &[], &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let user = reply.json();
    assert_eq!(user["id"], nobody["user"]["id"]);
    assert_eq!(user["isAnonymous"], false);
    assert_eq!((&user["email"], &user["emailVerified"]), (&json!("Ann@example.org"), &json!(true)));
}

#[actix_web::test]
async fn an_id_token_signs_in_for_its_app_and_its_nonce() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |_| ()).await;
    let sign_in = |id_token: String, nonce: Option<&'static str>| {
        let rig = &rig;
        let body = json!({"provider": "work", "idToken": id_token, "nonce": nonce});
        async move { post(rig, "auth/id-token", body).await }
    };
    let mut with_nonce = ann();
    with_nonce["nonce"] = json!("n-1");
    let token = issuer.id_token(&with_nonce);
    assert_eq!(sign_in(token.clone(), Some("n-1")).await.status, 201);
    assert_eq!(sign_in(token.clone(), Some("n-1")).await.status, 200);
    let mut elsewhere = ann();
    elsewhere["aud"] = json!("another-app");
    let mut old = ann();
    old["exp"] = json!(seconds() - 3600);
    let stranger = Signer::new().sign(&json!({
        "iss": issuer.base, "aud": "app", "iat": seconds(), "exp": seconds() + 300, "sub": "ann-1",
    }));
    for (token, nonce) in [
        (token.clone(), None),
        (token.clone(), Some("n-2")),
        (issuer.id_token(&elsewhere), None),
        (issuer.id_token(&old), None),
        (stranger, None),
        ("a.b.c".to_owned(), None),
    ] {
        let reply = sign_in(token, nonce).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, "invalid-credentials"));
    }
    let reply = post(&rig, "auth/id-token", json!({"provider": "no", "idToken": token})).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"));
}

#[actix_web::test]
async fn the_apps_own_server_says_who_somebody_is() {
    let signer = Signer::new();
    let mut rig = Rig::new().await;
    rig.token = String::new();
    let token = |changes: Value| {
        let mut claims = json!({
            "aud": "headwater:p", "sub": "u-17", "iat": seconds(), "exp": seconds() + 600,
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({"token": signer.sign(&claims)}).to_string()
    };
    let path = "auth/custom-token";
    rig.table(&[("POST", path, &token(json!({})), 403, "forbidden")]).await;
    let key = signer.jwk().as_object().unwrap().clone();
    let closed = Config { custom_token_keys: vec![key], sign_up: false, ..Config::default() };
    configure(&rig, closed).await;
    let first = token(json!({"claims": {"plan": "pro"}, "roles": ["editor"]}));
    let made = rig.ask("POST", path, &[], &first).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let user = made.json()["user"].clone();
    assert_eq!((&user["id"], &user["claims"]["plan"]), (&json!("u-17"), &json!("pro")));
    assert_eq!(user["roles"], json!(["editor"]));
    let again = rig.ask("POST", path, &[], &token(json!({"roles": []}))).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(again.json()["user"]["roles"], json!([]));
    assert_eq!(again.json()["user"]["claims"]["plan"], "pro");
    let large = json!({"claims": {"text": "x".repeat(4096)}});
    let wrong = "invalid-credentials";
    rig.table(&[
        ("POST", path, &token(json!({"aud": "headwater:other"})), 401, wrong),
        ("POST", path, &token(json!({"exp": seconds() + 7200})), 401, wrong),
        ("POST", path, &token(json!({"sub": "not an id"})), 400, "invalid-body"),
        ("POST", path, &token(large), 400, "invalid-body"),
        ("POST", path, r#"{"token":"x"}"#, 401, wrong),
    ])
    .await;
    let id = UserId::new("u-17").unwrap();
    submit(&rig, Body::User(UserCommand { user: id, steps: vec![Step::Delete] })).await;
    rig.table(&[("POST", path, &token(json!({})), 404, "user-not-found")]).await;
}

#[actix_web::test]
async fn a_sign_in_page_knows_what_to_show() {
    let issuer = Issuer::start().await;
    let rig = rig(&issuer, |config| config.magic_link = false).await;
    let shown = rig.ask("GET", "auth/providers", &[], "").await;
    assert_eq!(
        shown.json(),
        json!({
            "password": true, "magicLink": false, "emailCode": true, "phoneCode": false,
            "anonymous": true, "passkeys": false, "signUp": true,
            "providers": [{"name": "work", "kind": "oidc"}],
        })
    );
    assert!(!shown.text.contains("secret"));
}
