//! The same with a real browser and its authenticator: Chromium, driven by
//! `tests/foreign/browser.py`. Only where `FOREIGN_PYTHON` and `FOREIGN_BROWSER` name the two.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::Timestamp;
use domain::sign_in::Passkeys;
use serde_json::{Value, json};

use crate::cose::CoseKey;
use crate::tests::{NOW, USER, at, value};
use crate::*;

/// What the page does: with each algorithm it makes a passkey, is refused a second one beside it,
/// and signs in twice, unnamed and named. An answer that was used does not fit the next challenge.
const CEREMONIES: &str = "
    const post = async (path, body) =>
        (await fetch(path, {method: 'POST', body: JSON.stringify(body)})).json();
    const create = async (algorithm, exclude) => {
        const options = await post('/create/begin', exclude);
        const wanted = options.pubKeyCredParams.filter(one => one.alg === algorithm);
        options.pubKeyCredParams = wanted;
        const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
        return (await navigator.credentials.create({publicKey})).toJSON();
    };
    const get = async named => {
        const options = await post('/get/begin', named);
        const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
        return (await navigator.credentials.get({publicKey})).toJSON();
    };
    const told = [];
    for (const algorithm of args) {
        told.push(await post('/create/finish', await create(algorithm, false)));
        told.push(await create(algorithm, true).then(() => 'made twice', error => error.name));
        told.push(await post('/get/finish', await get(false)));
        const answer = await get(true);
        told.push(await post('/get/finish', answer));
        await post('/get/begin', false);
        told.push(await post('/get/finish', answer));
    }
    return told;
";

/// A server that knows one user with one passkey.
struct Server {
    passkeys: Passkeys,
    making: Option<RegistrationState>,
    showing: Option<SignInState>,
    credential: Option<Credential>,
}

impl Server {
    fn answer(&mut self, path: &str, body: &[u8]) -> Result<Value, Error> {
        let rp = RelyingParty::new(&self.passkeys).unwrap();
        let known = self.credential.as_ref();
        let ids = known.map(|known| known.id.clone()).filter(|_| body == b"true");
        let ids: Vec<_> = ids.into_iter().collect();
        let required = UserVerification::Required;
        let now = Timestamp::from_micros(NOW + 1);
        Ok(match path {
            "/create/begin" => {
                let (options, state) = begin_registration(&rp, &USER, &ids, required, at(NOW))?;
                self.making = Some(state);
                value(options)
            }
            "/create/finish" => {
                let state = self.making.take().unwrap();
                let made = finish_registration(&rp, &state, body, now)?;
                assert_eq!(made.transports, ["internal"]);
                let algorithm = match CoseKey::read(made.public_key.as_bytes())? {
                    CoseKey::Es256 { .. } => -7,
                    CoseKey::Ed25519 { .. } => -8,
                    CoseKey::Rs256 { .. } => -257,
                };
                let told = json!([algorithm, made.user_verified]);
                self.credential = Some(made);
                told
            }
            "/get/begin" => {
                let (options, state) = begin_sign_in(&rp, &ids, required, at(NOW))?;
                self.showing = Some(state);
                value(options)
            }
            "/get/finish" => {
                let state = self.showing.take().unwrap();
                let claimed = user_handle(body)?;
                let credential = self.credential.as_mut().unwrap();
                assert_eq!(claimed.credential_id, credential.id);
                let shown = finish_sign_in(&rp, &state, credential, body, now)?;
                let grown = shown.sign_count > credential.sign_count;
                credential.sign_count = shown.sign_count;
                json!([grown, shown.user_verified])
            }
            _ => value("<!doctype html><title>passkeys</title>"),
        })
    }
}

/// Reads one request and answers it; whatever else a browser opens is closed in time.
fn serve(server: &Mutex<Server>, stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(&stream);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| line != "\r\n") {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        lines.push(line);
    }
    let length = lines.iter().find_map(|line| {
        let (name, text) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| text.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let path = lines[0].split(' ').nth(1).unwrap();
    let answer = server.lock().unwrap().answer(path, &body);
    let (kind, text) = match answer {
        Ok(Value::String(page)) => ("text/html", page),
        Ok(told) => ("application/json", told.to_string()),
        Err(error) => ("application/json", json!(error.to_string()).to_string()),
    };
    let length = text.len();
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    )
}

/// Runs the ceremonies in a page of a server of ours, and returns what the page tells.
fn run(python: &std::ffi::OsStr, algorithms: &Value) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let origin = format!("http://localhost:{}", address.port());
    let server = Mutex::new(Server {
        passkeys: Passkeys {
            enabled: true,
            rp_id: "localhost".into(),
            rp_name: String::new(),
            origins: vec![origin.clone()],
        },
        making: None,
        showing: None,
        credential: None,
    });
    let script =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/foreign/browser.py");
    let is_over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        let (server, is_over) = (&server, &is_over);
        scope.spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                scope.spawn(move || serve(server, stream.unwrap()));
            }
        });
        let output = Command::new(python)
            .arg(script)
            .args(["--authenticator", "internal", "--args", &algorithms.to_string()])
            .args([&origin, CEREMONIES])
            .output();
        is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(address));
        output.unwrap()
    });
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_browser_makes_passkeys_and_signs_in() {
    let python = std::env::var_os("FOREIGN_PYTHON");
    let (Some(python), Some(_)) = (python, std::env::var_os("FOREIGN_BROWSER")) else {
        println!("left out: FOREIGN_PYTHON and FOREIGN_BROWSER are not set");
        return;
    };
    let algorithms = [-7, -8, -257];
    let told = run(&python, &json!(algorithms));
    let expected = algorithms.map(|algorithm| {
        let stale = Error::WrongChallenge.to_string();
        let shown = json!([true, true]);
        [json!([algorithm, true]), json!("InvalidStateError"), shown.clone(), shown, json!(stale)]
    });
    assert_eq!(told, value(expected.as_flattened()));
}
