//! What access costs: a token check, a typical rule, creates with rules beside creates past them,
//! and sign-ins. Run with `cargo bench -p benches --bench access`, after
//! `cargo build --release --bin headwater`; prints one line a figure.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use access::{Document, Operation, Request, Rules, Source, Verdict};
use anyhow::{Context as _, Result, ensure};
use auth::access_token::{Algorithm, Cache, Claims, Issuer, Level, SigningKey, Verifier};
use auth::password::{Hasher, Options};
use benches::http::{Connection, ask, request};
use benches::load::{Caller, Span, closed_loop};
use benches::process::{ADMIN_KEY, Process, binary, command, free_address};
use domain::{Timestamp, UserId};
use serde_json::Value;

const CLIENTS: usize = 64;
const ROUNDS: usize = 5;
const SPAN: Span = Span { warm_up: Duration::from_millis(500), run: Duration::from_secs(3) };
const RULE: &str = concat!(
    "auth != null && (resource.owner == auth.uid",
    " || auth.uid in resource.members || hasRole('admin'))",
);

fn main() -> Result<()> {
    token()?;
    rule()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(served())
}

/// The mean of many runs.
fn each(what: &str, runs: u32, mut run: impl FnMut() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    for _ in 0..runs {
        run()?;
    }
    println!("{what}: {:.2} us", began.elapsed().as_secs_f64() * 1e6 / f64::from(runs));
    Ok(())
}

fn claims() -> Result<Claims> {
    Ok(Claims {
        iss: "http://127.0.0.1:8080/v1/projects/bench/auth".into(),
        sub: UserId::new("01a1ff42-366b-703f-9a65-e5a3f35c664a")?,
        aud: "bench".into(),
        iat: 1_000,
        exp: 2_000,
        nbf: None,
        jti: "01a1ff42-36c4-7249-b80c-227ec99a6343".into(),
        sid: None,
        roles: vec!["editor".into()],
        groups: Vec::new(),
        claims: serde_json::Map::new(),
        acr: Level::One,
        amr: vec!["pwd".into()],
        auth_time: 1_000,
        email: Some("ann@example.com".into()),
        email_verified: true,
        phone_number: None,
        is_anonymous: false,
        act: None,
    })
}

fn token() -> Result<()> {
    let now = Timestamp::from_micros(1_500 * 1_000_000);
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let (private, public) = SigningKey::generate(algorithm);
        let issuer = Issuer::new(SigningKey::from_pkcs8(algorithm, &private)?);
        let claims = claims()?;
        let token = issuer.sign(&claims)?;
        let name = algorithm.name();
        each(&format!("token signed, {name}"), 2_000, || {
            black_box(issuer.sign(&claims)?);
            Ok(())
        })?;
        // Without room for what was found good, each is looked at anew.
        for (how, cache) in [("anew", Cache::new(0)), ("again", Cache::new(1 << 20))] {
            let verifier = Verifier::new([public.clone()], &claims.iss, &claims.aud, &cache);
            each(&format!("token checked {how}, {name}"), 2_000, || {
                black_box(verifier.verify(&token, now)?);
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn rule() -> Result<()> {
    let mut fields: Vec<String> =
        (0..30).map(|n| format!("\"field{n}\":\"some text {n}\"")).collect();
    let members: Vec<String> = (0..20).map(|n| format!("\"member-{n:030}\"")).collect();
    fields.push(format!("\"members\":[{}]", members.join(",")));
    fields.push("\"owner\":\"somebody else\"".to_owned());
    let data = format!("{{{}}}", fields.join(","));
    let rules = Rules::compile(&Source { read: Some(RULE), ..Source::default() })?;
    let mut auth = claims()?.auth();
    auth.uid = UserId::new(&format!("member-{:030}", 19))?;
    let time = Timestamp::default();
    each("a typical rule, with the document's text", 20_000, || {
        let document = Document::new("a", "notes", 1, time, time, data.as_bytes());
        let verdict = rules.check(&Request {
            operation: Operation::Read,
            auth: Some(&auth),
            before: Some(&document),
            after: None,
            now: time,
            lookup: &access::NoDocuments,
        });
        ensure!(verdict == Verdict::Allow, "not allowed");
        Ok(())
    })
}

/// Sends the same request again and again.
struct Repeat {
    connection: Connection,
    request: String,
    status: u16,
}

impl Caller for Repeat {
    async fn call(&mut self) -> Result<usize> {
        let status = self.connection.call(&self.request).await?;
        ensure!(status == self.status, "{status}");
        Ok(1)
    }
}

async fn rate(address: SocketAddr, clients: usize, request: &str, status: u16) -> Result<f64> {
    let mut callers = Vec::with_capacity(clients);
    for _ in 0..clients {
        let connection = Connection::open(address).await?;
        callers.push(Repeat { connection, request: request.to_owned(), status });
    }
    Ok(closed_loop(callers, SPAN).await?.rate)
}

async fn served() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let address = free_address()?;
    let (listen, data) = (address.to_string(), dir.path().display().to_string());
    let env = [
        ("HEADWATER_ADMIN_KEY", ADMIN_KEY),
        ("HEADWATER__AUTH__SIGN_INS_PER_MINUTE", "0"),
        ("HEADWATER__AUTH__SIGN_UPS_PER_HOUR", "0"),
    ];
    let args = ["serve", "--listen", &listen, "--data", &data];
    let server = Process::start(command(&binary()?, &args, &env), None)?;
    while ask(address, &request("GET", "/readyz", "", "")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let admin = |method: &str, path: &str, body: &str| request(method, path, ADMIN_KEY, body);
    told(address, &admin("POST", "/v1/projects", r#"{"id":"bench","name":"B"}"#)).await?;
    let keys = "/v1/projects/bench/keys";
    let key = told(address, &admin("POST", keys, r#"{"kind":"secret","name":"b"}"#)).await?;
    let key = key["key"].as_str().context("no key")?.to_owned();
    let rules = serde_json::json!({"rules": {
        "create": "auth != null && request.resource.owner == auth.uid",
        "read": "resource.owner == auth.uid",
    }});
    told(address, &admin("PUT", "/v1/projects/bench/collections/notes", &rules.to_string()))
        .await?;
    let sign_up = r#"{"email":"ann@example.com","password":"correct horse battery"}"#;
    let session =
        told(address, &request("POST", "/v1/projects/bench/auth/sign-up", "", sign_up)).await?;
    let token = session["accessToken"].as_str().context("no token")?.to_owned();
    let owner = session["user"]["id"].as_str().context("no user")?;

    let path = "/v1/projects/bench/collections/notes/documents";
    let body = format!("{{\"owner\":\"{owner}\",\"text\":\"{}\"}}", "x".repeat(300));
    let (past, ruled) = (request("POST", path, &key, &body), request("POST", path, &token, &body));
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let without = rate(address, CLIENTS, &past, 201).await?;
        let with = rate(address, CLIENTS, &ruled, 201).await?;
        rates.push((without, with));
        ratios.push(with / without);
    }
    ratios.sort_by(f64::total_cmp);
    let [.., (without, with)] = rates[..] else { return Ok(()) };
    println!("creates past the rules: {without:.0}/s, by them: {with:.0}/s (last round)");
    println!("creates by the rules over past them: {:.2} (median of {ROUNDS})", ratios[ROUNDS / 2]);
    sign_ins(address, &request("POST", "/v1/projects/bench/auth/sign-in", "", sign_up)).await?;
    server.stop()
}

/// One after the other, and fewer than one identity may try in a minute.
async fn sign_ins(address: SocketAddr, sign_in: &str) -> Result<()> {
    const COUNT: u32 = 8;
    let hasher = Hasher::new(&Options::default())?;
    let stored = hasher.hash("correct horse battery").await?;
    let (mut signing_in, mut hashing) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..COUNT {
        let began = Instant::now();
        told(address, sign_in).await?;
        signing_in += began.elapsed();
        let began = Instant::now();
        ensure!(hasher.verify("correct horse battery", Some(&stored)).await?, "not verified");
        hashing += began.elapsed();
    }
    let (signing_in, hashing) = (signing_in / COUNT, hashing / COUNT);
    println!("a sign-in: {signing_in:.1?}, of it for argon2id: {hashing:.1?}");
    Ok(())
}

/// One request that must succeed; its answer.
async fn told(address: SocketAddr, request: &str) -> Result<Value> {
    let (status, body) = ask(address, request).await?;
    ensure!((200..300).contains(&status), "{status}: {body}");
    Ok(serde_json::from_str(&body)?)
}
