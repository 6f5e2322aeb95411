//! An issuer for tests: a small HTTP server on loopback, and keys that sign.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::Timestamp;
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::algorithm::{Algorithm, NAMES};
use crate::jwk::Key;
use crate::jwt::Token;
use crate::{Client, Options};

/// The time that tests live at, in seconds.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(NOW * 1_000_000)
}

pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client that may ask loopback, and is patient for as long as `wait_max`.
pub(crate) fn client_with(wait_max: Duration, keys_again_after: Duration) -> Client {
    install_tls();
    Client::new(Options { allow_private: true, wait_max, keys_again_after }).unwrap()
}

pub(crate) fn client() -> Client {
    client_with(Duration::from_secs(5), Duration::from_secs(60))
}

/// A part of a token.
pub(crate) fn encode(value: &Value) -> String {
    encode_bytes(value.to_string().as_bytes())
}

/// Base64url, as everything in tokens and keys is written.
pub(crate) fn encode_bytes(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The same token with one letter of its signature changed.
pub(crate) fn tamper(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", &signature[1..])
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A private key.
pub(crate) struct Signer {
    id: String,
    pub(crate) algorithm: Algorithm,
    /// PKCS #8.
    pub(crate) der: Vec<u8>,
    pair: Pair,
}

impl Signer {
    pub(crate) fn es256(id: &str) -> Self {
        let (scheme, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let der = EcdsaKeyPair::generate_pkcs8(scheme, &random).unwrap().as_ref().to_vec();
        let pair = Pair::Ecdsa(EcdsaKeyPair::from_pkcs8(scheme, &der, &random).unwrap());
        Self { id: id.to_owned(), algorithm: Algorithm::Es256, der, pair }
    }

    pub(crate) fn ed25519(id: &str) -> Self {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).unwrap();
        // The fixed head of such a key in PKCS #8 (RFC 8410 section 7).
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend_from_slice(&seed);
        let pair = Pair::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap());
        Self { id: id.to_owned(), algorithm: Algorithm::EdDsa, der, pair }
    }

    /// Always the same key: making one takes long.
    pub(crate) fn rsa(id: &str) -> Self {
        let pem = include_bytes!("testing_rsa.pem");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap().secret_pkcs8_der().to_vec();
        let pair = Pair::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap());
        Self { id: id.to_owned(), algorithm: Algorithm::Rs256, der, pair }
    }

    pub(crate) fn with(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The public half, without `alg`.
    pub(crate) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let RsaPublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                let [n, e] = [n, e].map(|part| URL_SAFE_NO_PAD.encode(part));
                json!({ "kty": "RSA", "n": n, "e": e, "kid": self.id })
            }
            Pair::Ecdsa(pair) => {
                // After the byte that says that the point is not compressed.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.id })
            }
            Pair::Ed25519(pair) => {
                let x = URL_SAFE_NO_PAD.encode(pair.public_key());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.id })
            }
        }
    }

    pub(crate) fn pem(&self) -> String {
        pem(&self.der)
    }

    pub(crate) fn header(&self) -> Value {
        let named = NAMES.iter().find(|(_, algorithm)| *algorithm == self.algorithm);
        json!({ "alg": named.unwrap().0, "kid": self.id, "typ": "JWT" })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.signature(message.as_bytes())))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding = padding(self.algorithm);
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub(crate) fn verifies(&self, token: &str) -> bool {
        let key = Key::read(self.jwk().as_object().unwrap()).unwrap();
        key.verifies(&Token::read(token, token.len()).unwrap(), self.algorithm)
    }
}

/// A private key's text.
pub(crate) fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let lines = lines.join("\n");
    format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n")
}

fn padding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        other => panic!("{other:?} is not for RSA"),
    }
}

/// A token that uses something public as if it were a shared secret.
pub(crate) fn sign_hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What a server answers.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delay: Duration,
}

impl Reply {
    pub(crate) fn json(body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        let body = body.to_string().into_bytes();
        Self { status: 200, headers, body, delay: Duration::ZERO }
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// What a server was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) headers: HashMap<String, String>,
    pub(crate) form: HashMap<String, String>,
}

#[derive(Default)]
struct State {
    replies: HashMap<String, Reply>,
    seen: HashMap<String, Vec<Request>>,
}

/// A server on loopback that ends with its value.
pub(crate) struct Server {
    pub(crate) base: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        Self { base, state, task }
    }

    /// What is answered from here on to `GET /path` or the like.
    pub(crate) fn on(&self, route: &str, reply: Reply) {
        self.state.lock().replies.insert(route.to_owned(), reply);
    }

    /// What was asked so far.
    pub(crate) fn seen(&self, route: &str) -> Vec<Request> {
        self.state.lock().seen.get(route).cloned().unwrap_or_default()
    }
}

async fn serve(mut socket: TcpStream, state: Arc<Mutex<State>>) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap().split(' ');
    let route = format!("{} {}", words.next().unwrap(), words.next().unwrap());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + length {
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let form = form_urlencoded::parse(&bytes[end..]).into_owned().collect();
    let reply = {
        let mut state = state.lock();
        state.seen.entry(route.clone()).or_default().push(Request { headers, form });
        state.replies.get(&route).cloned()
    };
    let reply = reply.unwrap_or_else(|| Reply::json(&json!({"no": route})).status(404));
    tokio::time::sleep(reply.delay).await;
    let mut head = format!("HTTP/1.1 {} Status\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !reply.headers.iter().any(|(name, _)| *name == "transfer-encoding") {
        head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    let _ = socket.write_all(head.as_bytes()).await;
    let _ = socket.write_all(&reply.body).await;
    let _ = socket.shutdown().await;
}

/// An issuer with one key, of the kind that can be discovered.
pub(crate) struct Issuer {
    pub(crate) server: Server,
    pub(crate) signer: Signer,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        Self::start_with(Signer::es256("key-1")).await
    }

    pub(crate) async fn start_with(signer: Signer) -> Self {
        let issuer = Self { server: Server::start().await, signer };
        issuer.server.on("GET /.well-known/openid-configuration", Reply::json(&issuer.document()));
        issuer.publish(&[&issuer.signer]);
        issuer
    }

    pub(crate) fn name(&self) -> String {
        self.server.base.clone()
    }

    pub(crate) fn document(&self) -> Value {
        let base = &self.server.base;
        json!({
            "issuer": base,
            "authorization_endpoint": format!("{base}/authorize?kind=web"),
            "token_endpoint": format!("{base}/token"),
            "userinfo_endpoint": format!("{base}/userinfo"),
            "jwks_uri": format!("{base}/keys"),
        })
    }

    pub(crate) fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        self.server.on("GET /keys", Reply::json(&json!({ "keys": keys })));
    }
}
