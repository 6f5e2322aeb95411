//! Mail by a mail server of somebody else's making (aiosmtpd). Runs where FOREIGN_PYTHON names a
//! Python that has it.

use std::path::Path;
use std::process::Stdio;

use domain::sign_in::{Mail, Secret};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::letter::tests::letter;
use crate::mail::Route;
use crate::{Error, Kind, Mailer, SmtpOptions};

struct Server {
    port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    // Ends when its stdin closes, or is killed when this is dropped.
    _child: Child,
}

impl Server {
    /// None where there is no such Python.
    async fn start(arguments: &[&str]) -> Option<Self> {
        let Some(python) = std::env::var_os("FOREIGN_PYTHON") else {
            println!("left out: FOREIGN_PYTHON is not set");
            return None;
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/foreign/smtp.py");
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("a port").parse().unwrap();
        Some(Self { port, lines, _child: child })
    }

    async fn next(&mut self) -> Value {
        let line = self.lines.next_line().await.unwrap().expect("a mail");
        serde_json::from_str(&line).unwrap()
    }

    fn options(&self, scheme: &str) -> SmtpOptions {
        SmtpOptions {
            url: format!("{scheme}://ann%40app.example@localhost:{}", self.port),
            password: Some(Secret("pass:word".into())),
            from: "Tíde <no-reply@app.example>".into(),
            hello_name: Some("headwater.app.example".into()),
            root_pem: None,
        }
    }
}

const AUTH: [&str; 3] = ["--auth", "ann@app.example", "pass:word"];

#[tokio::test]
async fn a_mail_arrives_as_it_was_written_and_connections_are_used_again() {
    let Some(mut server) = Server::start(&AUTH).await else { return };
    let mailer = Mailer::new(Some(server.options("smtp")), None, false).unwrap();
    let mut letter = letter("p1", Kind::MagicLink, "ann@app.example");
    letter.message.subject = "Grüße – Tide".into();
    letter.message.text += ".\n.dots at the start\nand ünïcode\n";
    mailer.send(&letter, &Route::default()).await.unwrap();
    let first = server.next().await;
    assert_eq!(first["from"], "no-reply@app.example");
    assert_eq!(first["to"], serde_json::json!(["ann@app.example"]));
    assert_eq!(first["hello"], "headwater.app.example");
    assert_eq!(first["user"], "ann@app.example");
    assert_eq!(first["tls"], false);
    assert_eq!(first["headers"]["Subject"], "Grüße – Tide");
    assert_eq!(first["headers"]["From"], "Tíde <no-reply@app.example>");
    assert_eq!(first["headers"]["Auto-Submitted"], "auto-generated");
    let id = format!("<{}@app.example>", letter.id);
    assert_eq!(first["headers"]["Message-ID"], id);
    let text = first["text"].as_str().unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end(), letter.message.text.trim_end());
    let html = first["html"].as_str().unwrap().replace("\r\n", "\n");
    assert_eq!(html.trim_end(), letter.message.html.as_deref().unwrap().trim_end());
    for _ in 0..3 {
        mailer.send(&letter, &Route::default()).await.unwrap();
        assert_eq!(server.next().await["connection"], first["connection"]);
    }
}

#[tokio::test]
async fn tells_what_the_mail_server_says() {
    let Some(mut server) = Server::start(&AUTH).await else { return };
    let mailer = Mailer::new(Some(server.options("smtp")), None, false).unwrap();
    for (to, wanted) in [
        ("gone@app.example", Err(Error::Refused(550))),
        ("later@app.example", Err(Error::Later(451))),
        ("ann@app.example", Ok(())),
    ] {
        let letter = letter("p1", Kind::EmailCode, to);
        assert_eq!(mailer.send(&letter, &Route::default()).await, wanted, "{to}");
    }
    assert_eq!(server.next().await["to"][0], "ann@app.example");
    let mut options = server.options("smtp");
    options.password = Some(Secret("wrong".into()));
    let mailer = Mailer::new(Some(options), None, false).unwrap();
    let letter = letter("p1", Kind::EmailCode, "ann@app.example");
    assert_eq!(mailer.send(&letter, &Route::default()).await, Err(Error::Refused(535)));
}

#[tokio::test]
async fn a_projects_own_mail_server_goes_first() {
    let Some(mut own) = Server::start(&[]).await else { return };
    let settings = Mail {
        from: Some("Own <own@app.example>".into()),
        smtp_url: Some(format!("smtp://127.0.0.1:{}", own.port)),
        ..Mail::default()
    };
    let mut options = own.options("smtp");
    options.url = "smtp://127.0.0.1:1".into();
    options.password = None;
    let mailer = Mailer::new(Some(options), None, true).unwrap();
    let letter = letter("p1", Kind::PasswordChanged, "ann@app.example");
    mailer.send(&letter, &Route::of(&settings)).await.unwrap();
    assert_eq!(own.next().await["from"], "own@app.example");
    let found = mailer.send(&letter, &Route::default()).await;
    assert!(found.unwrap_err().is_passing());
}

#[tokio::test]
async fn believes_only_known_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let [root, cert, key] = certificates();
    let [cert_path, key_path] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&cert_path, cert).unwrap();
    std::fs::write(&key_path, key).unwrap();
    let paths = [cert_path.to_str().unwrap(), key_path.to_str().unwrap()];
    let letter = letter("p1", Kind::MagicLink, "ann@app.example");
    for (scheme, mode) in [("smtp", "starttls"), ("smtps", "wrapped")] {
        let tls = ["--tls", mode, paths[0], paths[1]];
        let Some(mut server) = Server::start(&[&AUTH[..], &tls].concat()).await else { return };
        let mut options = server.options(scheme);
        let mailer = Mailer::new(Some(options.clone()), None, false).unwrap();
        let found = mailer.send(&letter, &Route::default()).await;
        assert_eq!(found, Err(Error::Unreachable("no connection to the mail server")), "{mode}");
        options.root_pem = Some(root.clone());
        let mailer = Mailer::new(Some(options.clone()), None, false).unwrap();
        mailer.send(&letter, &Route::default()).await.unwrap();
        assert_eq!(server.next().await["tls"], true, "{mode}");
        // The certificate is localhost's, and not just anybody's at this address.
        options.url = options.url.replace("localhost", "127.0.0.1");
        let mailer = Mailer::new(Some(options), None, false).unwrap();
        assert!(mailer.send(&letter, &Route::default()).await.is_err(), "{mode}");
    }
}

/// An authority's certificate, and a certificate by it for `localhost` with its key, as PEM.
fn certificates() -> [String; 3] {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &root).unwrap();
    [root.pem(), cert.pem(), key.serialize_pem()]
}
