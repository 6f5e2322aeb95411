//! Sign-in as software of others sees it: a certified client of OpenID Connect, and an
//! authenticator app. Each is left out where its variable does not say where it is.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use harness::{Person, Project, Setup, nobody, root};

/// Runs a program to its end; what it printed.
fn printed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the program can be run");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {stderr}");
    stdout.into_owned()
}

async fn sign_up(project: &Project, email: &str) -> Value {
    let body = json!({"email": email, "password": "correct horse battery staple"});
    nobody(project).post(&project.path("/auth/sign-up"), &body).expect(201).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certified_client_finds_our_keys_and_trusts_our_tokens() {
    let Some(folder) = std::env::var_os("FOREIGN_ISSUER") else {
        println!("left out: FOREIGN_ISSUER is not set");
        return;
    };
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("p").await;
    let session = sign_up(&project, "ann@example.com").await;
    let issuer = format!("{}{}", server.url, project.path("/auth"));
    let checked = |token: &str, audience: &str| {
        let script = Path::new(&folder).join("client.js");
        let mut command = Command::new("node");
        command.arg(script).args([&issuer, token, audience]).output().expect("node can be run")
    };
    let trusted = |session: &Value| -> Value {
        let token = session["accessToken"].as_str().expect("a token");
        let Output { status, stdout, stderr } = checked(token, "p");
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        serde_json::from_slice(&stdout).expect("a line of JSON")
    };
    let seen = trusted(&session);
    let claims = (&seen["claims"]["iss"], &seen["claims"]["sub"], &seen["claims"]["acr"]);
    assert_eq!(claims, (&json!(issuer), &session["user"]["id"], &json!("aal1")));
    assert_eq!(
        (&seen["user"]["sub"], &seen["user"]["email"]),
        (claims.1, &json!("ann@example.com"))
    );

    // A new key signs from now on, and the old one's tokens are good yet.
    project.client.post(&project.path("/signing-keys"), &json!({})).expect(201).await;
    let bob = sign_up(&project, "bob@example.com").await;
    assert_eq!(trusted(&bob)["user"]["email"], "bob@example.com");
    assert_eq!(trusted(&session)["user"]["email"], "ann@example.com");
    let token = bob["accessToken"].as_str().expect("a token");
    assert!(!checked(token, "another").status.success(), "a token for somebody else");
    let forged = format!("{}A{}", &token[..token.len() - 9], &token[token.len() - 8..]);
    assert!(!checked(&forged, "p").status.success(), "a token with another signature");
}

#[tokio::test]
async fn an_authenticator_app_makes_our_second_factors() {
    let Some(python) = std::env::var_os("FOREIGN_PYTHON") else {
        println!("left out: FOREIGN_PYTHON is not set");
        return;
    };
    let setup = Setup::new();
    let server = setup.start().await;
    let project = server.project("p").await;
    let ann = Person::sign_up(&project, "ann@example.com").await;
    let factors = project.path("/auth/factors");
    let made = ann.project.client.post(&factors, &json!({"name": "phone"})).expect(201).await;
    let app = || {
        let script = root().join("tests/foreign/authenticator.py");
        let uri = made["uri"].as_str().expect("what the QR code says");
        let text = printed(Command::new(&python).arg(script).arg(uri));
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let shown = app();
    assert_eq!(shown[..2], ["ann@example.com", "p"]);
    let confirm = format!("{factors}/{}/confirm", made["id"].as_str().expect("an id"));
    let wrong = json!({"code": if shown[3] == "000000" { "000001" } else { "000000" }});
    ann.project.client.post(&confirm, &wrong).refused(401, "invalid-credentials").await;
    // The step before: the present one is for the next sign-in.
    let code = json!({"code": shown[2]});
    ann.project.client.post(&confirm, &code).expect(200).await;
    let again = Person::sign_in(&project, "ann@example.com").await;
    let verify = project.path("/auth/factors/verify");
    let code = json!({"code": app()[3]});
    let raised = again.project.client.post(&verify, &code).expect(200).await;
    assert_eq!(raised["level"], "aal2");
    again.project.client.post(&verify, &code).refused(401, "invalid-credentials").await;
}
