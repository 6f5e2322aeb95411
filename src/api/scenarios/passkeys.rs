//! Passkeys: a software authenticator makes them and signs in by them, and what is answered twice,
//! late, by a copy or by somebody else shows nothing.

use data_encoding::BASE64URL_NOPAD;
use domain::command::Body;
use domain::sign_in::{Config, Passkeys};
use domain::users::{Factor, Step, UserCommand};
use domain::{ProjectId, Timestamp, UserId};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::oauth::{configure, submit};
use super::{Reply, Rig};

const ORIGIN: &str = "https://app.example";
/// The user was there; the user was verified; a credential follows (Level 3, section 6.1).
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;

/// One credential, and the browser around it.
struct Authenticator {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    handle: String,
    flags: u8,
    count: u32,
    origin: &'static str,
}

fn text(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// A byte string of 24 to 255 bytes as CBOR.
fn cbor(content: &[u8]) -> Vec<u8> {
    [&[0x58, u8::try_from(content.len()).unwrap()], content].concat()
}

impl Authenticator {
    fn new(id: u8) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self {
            key: EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap(),
            id: vec![id; 32],
            handle: String::new(),
            flags: PRESENT | VERIFIED,
            count: 1,
            origin: ORIGIN,
        }
    }

    fn page(&self, kind: &str, options: &Value) -> Vec<u8> {
        let page = json!({
            "type": kind, "challenge": options["challenge"], "origin": self.origin,
            "crossOrigin": false,
        });
        page.to_string().into_bytes()
    }

    fn data(&self, flags: u8, attested: &[u8]) -> Vec<u8> {
        let hash = Sha256::digest("app.example");
        [&hash[..], &[flags], &self.count.to_be_bytes(), attested].concat()
    }

    fn answer(&self, response: Value) -> Value {
        let id = text(&self.id);
        json!({"id": id, "rawId": id, "type": "public-key", "response": response})
    }

    fn create(&mut self, options: &Value) -> Value {
        self.handle = options["user"]["id"].as_str().unwrap().to_owned();
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21];
        let cose = [&head, &cbor(x)[..], &[0x22], &cbor(y)].concat();
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let attested = [&[0; 16], &length[..], &self.id, &cose].concat();
        let data = self.data(self.flags | ATTESTED, &attested);
        let statement = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData";
        self.answer(json!({
            "clientDataJSON": text(&self.page("webauthn.create", options)),
            "attestationObject": text(&[&statement[..], &cbor(&data)].concat()),
        }))
    }

    fn get(&mut self, options: &Value) -> Value {
        // One that does not count says so by none, for ever.
        self.count += u32::from(self.count > 0);
        let (page, data) = (self.page("webauthn.get", options), self.data(self.flags, &[]));
        let signed = [&data[..], &Sha256::digest(&page)].concat();
        let signature = self.key.sign(&SystemRandom::new(), &signed).unwrap();
        self.answer(json!({
            "clientDataJSON": text(&page),
            "authenticatorData": text(&data),
            "signature": text(signature.as_ref()),
            "userHandle": self.handle,
        }))
    }
}

/// A project with passkeys.
async fn rig() -> Rig {
    let mut rig = Rig::new().await;
    let passkeys = Passkeys {
        enabled: true,
        rp_id: "app.example".to_owned(),
        rp_name: "App".to_owned(),
        origins: vec![ORIGIN.to_owned()],
    };
    configure(&rig, Config { passkeys, ..Config::default() }).await;
    rig.token = String::new();
    rig
}

async fn post(rig: &Rig, token: &str, path: &str, body: Value) -> Reply {
    rig.ask_as(token, "POST", &format!("auth/passkeys/{path}"), &[], &body.to_string()).await
}

async fn begin(rig: &Rig, token: &str, path: &str) -> (String, Value) {
    let reply = post(rig, token, path, json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let json = reply.json();
    (json["ticket"].as_str().unwrap().to_owned(), json["options"].clone())
}

async fn sign_up(rig: &Rig, email: &str) -> (String, Value) {
    let body = json!({"email": email, "password": "tr0ub4dor&3 x"}).to_string();
    let reply = rig.ask("POST", "auth/sign-up", &[], &body).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let json = reply.json();
    (json["accessToken"].as_str().unwrap().to_owned(), json["user"].clone())
}

async fn register(rig: &Rig, token: &str, device: &mut Authenticator) -> Reply {
    let (ticket, options) = begin(rig, token, "register/begin").await;
    let body = json!({"ticket": ticket, "response": device.create(&options), "name": "Laptop"});
    post(rig, token, "register/finish", body).await
}

async fn sign_in(rig: &Rig, device: &mut Authenticator) -> Reply {
    let (ticket, options) = begin(rig, "", "sign-in/begin").await;
    let body = json!({"ticket": ticket, "response": device.get(&options)});
    post(rig, "", "sign-in/finish", body).await
}

fn refused(reply: &Reply) {
    let found = (reply.status, reply.code());
    assert_eq!(found, (401, "invalid-credentials".to_owned()), "{}", reply.text);
}

#[actix_web::test]
async fn a_passkey_signs_its_user_in() {
    let rig = rig().await;
    let (token, user) = sign_up(&rig, "ann@example.org").await;
    let mut device = Authenticator::new(7);
    let (_, options) = begin(&rig, &token, "register/begin").await;
    assert_eq!(options["user"]["name"], "ann@example.org");
    assert_eq!(options["rp"], json!({"id": "app.example", "name": "App"}));
    let made = register(&rig, &token, &mut device).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.json()["name"], "Laptop");
    let id = made.json()["id"].as_str().unwrap().to_owned();

    let session = sign_in(&rig, &mut device).await;
    assert_eq!(session.status, 200, "{}", session.text);
    let session = session.json();
    assert_eq!(session["user"]["id"], user["id"]);
    assert_eq!(session["level"], "aal2", "it has a device, and showed a PIN or finger");
    device.flags = PRESENT;
    let session = sign_in(&rig, &mut device).await.json();
    assert_eq!(session["level"], "aal1", "it has a device only");

    let (_, options) = begin(&rig, &token, "register/begin").await;
    assert_eq!(options["excludeCredentials"][0]["id"], text(&device.id));
    let path = format!("auth/passkeys/{id}");
    let shown = rig.ask_as(&token, "GET", &path, &[], "").await.json();
    assert!(shown["usedAt"].is_string(), "{shown}");
    let renamed = rig.ask_as(&token, "PATCH", &path, &[], r#"{"name":"Phone"}"#).await;
    assert_eq!(renamed.json()["name"], "Phone");
    let listed = rig.ask_as(&token, "GET", "auth/passkeys", &[], "").await.json();
    assert_eq!(listed["passkeys"].as_array().unwrap().len(), 1);
    let (other, _) = sign_up(&rig, "eve@example.org").await;
    for method in ["GET", "DELETE"] {
        let reply = rig.ask_as(&other, method, &path, &[], "").await;
        assert_eq!((reply.status, reply.code().as_str()), (404, "not-found"));
    }
    assert_eq!(rig.ask_as(&token, "DELETE", &path, &[], "").await.status, 204);
    refused(&sign_in(&rig, &mut device).await);
}

#[actix_web::test]
async fn no_answer_is_taken_twice() {
    let rig = rig().await;
    let (token, _) = sign_up(&rig, "ann@example.org").await;
    let mut device = Authenticator::new(7);
    let (ticket, options) = begin(&rig, &token, "register/begin").await;
    let (newer, newer_options) = begin(&rig, &token, "register/begin").await;
    let body = json!({"ticket": ticket, "response": device.create(&options)});
    refused(&post(&rig, &token, "register/finish", body).await);
    let body = json!({"ticket": newer, "response": device.create(&newer_options)});
    let made = post(&rig, &token, "register/finish", body.clone()).await;
    assert_eq!(made.status, 201, "the newest counts: {}", made.text);
    let again = post(&rig, &token, "register/finish", body).await;
    assert_eq!((again.status, again.code().as_str()), (409, "identity-taken"));
    let mut other = Authenticator::new(8);
    let body = json!({"ticket": newer, "response": other.create(&newer_options)});
    refused(&post(&rig, &token, "register/finish", body).await);

    // An authenticator that does not count leaves it to us to see that it was there before.
    let mut uncounted = Authenticator::new(9);
    uncounted.count = 0;
    assert_eq!(register(&rig, &token, &mut uncounted).await.status, 201);
    let (ticket, options) = begin(&rig, "", "sign-in/begin").await;
    let body = json!({"ticket": ticket, "response": uncounted.get(&options)});
    let first = post(&rig, "", "sign-in/finish", body.clone()).await;
    assert_eq!(first.status, 200, "{}", first.text);
    refused(&post(&rig, "", "sign-in/finish", body).await);
}

#[actix_web::test]
async fn what_shows_nothing_is_refused_alike() {
    let rig = rig().await;
    let (token, user) = sign_up(&rig, "ann@example.org").await;
    let mut device = Authenticator::new(7);
    assert_eq!(register(&rig, &token, &mut device).await.status, 201);
    // Nobody's, and somebody's by a key that is not theirs.
    let mut stranger = Authenticator::new(8);
    stranger.handle = text(b"nobody");
    refused(&sign_in(&rig, &mut stranger).await);
    stranger.handle.clone_from(&device.handle);
    refused(&sign_in(&rig, &mut stranger).await);
    stranger.id.clone_from(&device.id);
    refused(&sign_in(&rig, &mut stranger).await);
    // From another site.
    device.origin = "https://evil.example";
    refused(&sign_in(&rig, &mut device).await);
    device.origin = ORIGIN;
    // By a copy, which has counted less.
    device.count = 10;
    assert_eq!(sign_in(&rig, &mut device).await.status, 200);
    device.count = 5;
    refused(&sign_in(&rig, &mut device).await);
    device.count = 20;
    let session = sign_in(&rig, &mut device).await.json();
    assert_eq!(session["user"]["id"], user["id"]);
    // To another ceremony.
    let (_, options) = begin(&rig, "", "sign-in/begin").await;
    let (ticket, _) = begin(&rig, "", "sign-in/begin").await;
    let body = json!({"ticket": ticket, "response": device.get(&options)});
    refused(&post(&rig, "", "sign-in/finish", body).await);
    let body = json!({"ticket": "forged", "response": device.get(&options)});
    refused(&post(&rig, "", "sign-in/finish", body).await);
}

#[actix_web::test]
async fn a_passkey_is_made_by_its_user_only() {
    let rig = rig().await;
    let (ann, _) = sign_up(&rig, "ann@example.org").await;
    let (eve, _) = sign_up(&rig, "eve@example.org").await;
    let mut device = Authenticator::new(7);
    let (ticket, options) = begin(&rig, &ann, "register/begin").await;
    let body = json!({"ticket": ticket, "response": device.create(&options)});
    let reply = post(&rig, &eve, "register/finish", body).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"));
    assert_eq!(register(&rig, &ann, &mut device).await.status, 201);
    let reply = register(&rig, &eve, &mut device).await;
    assert_eq!((reply.status, reply.code().as_str()), (409, "identity-taken"));
    // A bad answer uses its challenge up.
    let mut other = Authenticator::new(8);
    let (ticket, options) = begin(&rig, &eve, "register/begin").await;
    other.origin = "https://evil.example";
    let body = json!({"ticket": ticket, "response": other.create(&options)});
    let reply = post(&rig, &eve, "register/finish", body).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "invalid-body"));
    other.origin = ORIGIN;
    let body = json!({"ticket": ticket, "response": other.create(&options)});
    refused(&post(&rig, &eve, "register/finish", body).await);
}

#[actix_web::test]
async fn the_last_way_in_stays() {
    let rig = rig().await;
    let nobody = rig.ask("POST", "auth/anonymous", &[], "{}").await.json();
    let token = nobody["accessToken"].as_str().unwrap();
    let mut device = Authenticator::new(7);
    let made = register(&rig, token, &mut device).await.json();
    let session = sign_in(&rig, &mut device).await.json();
    assert_eq!(session["user"]["isAnonymous"], false);
    let path = format!("auth/passkeys/{}", made["id"].as_str().unwrap());
    let reply = rig.ask_as(token, "DELETE", &path, &[], "").await;
    assert_eq!((reply.status, reply.code().as_str()), (409, "last-way-in"));
}

#[actix_web::test]
async fn without_passkeys_there_are_no_ceremonies() {
    let mut rig = Rig::new().await;
    rig.token = String::new();
    let (token, _) = sign_up(&rig, "ann@example.org").await;
    for (token, path) in [("", "sign-in/begin"), (token.as_str(), "register/begin")] {
        let reply = post(&rig, token, path, json!({})).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"), "{path}");
    }
}

/// A passkey would show two factors from then on: who has shown one adds none.
#[actix_web::test]
async fn a_second_factor_comes_first() {
    let rig = rig().await;
    let (token, user) = sign_up(&rig, "ann@example.org").await;
    let (ticket, options) = begin(&rig, &token, "register/begin").await;
    let id = UserId::new(user["id"].as_str().unwrap()).unwrap();
    let project = ProjectId::new("p").unwrap();
    let mut state = rig.shared.engine.user(&project, &id).await.unwrap().unwrap();
    let factor = Factor {
        name: "app".to_owned(),
        secret: String::new(),
        confirmed: true,
        last_step: 0,
        added_at: Timestamp::default(),
    };
    state.user.factors.insert("f1".to_owned(), factor);
    let update = Step::Update { expected: None, user: Box::new(state.user) };
    submit(&rig, Body::User(UserCommand { user: id, steps: vec![update] })).await;
    let reply = post(&rig, &token, "register/begin", json!({})).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "second-factor-needed"));
    let response = Authenticator::new(7).create(&options);
    let body = json!({"ticket": ticket, "response": response});
    let reply = post(&rig, &token, "register/finish", body).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "second-factor-needed"));
    let link = json!({"provider": "work", "idToken": "x"}).to_string();
    let path = "auth/identities/link-id-token";
    let reply = rig.ask_as(&token, "POST", path, &[], &link).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "second-factor-needed"));
}
