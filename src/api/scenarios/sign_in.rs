//! Signing in by what is sent, and passwords, addresses and numbers that change: through the inbox
//! that a server without a mail server keeps.

use std::time::Duration;

use domain::access::Access;
use domain::command::{self, Command, Context};
use domain::users::{Issue, Step, UserCommand};
use domain::{Actor, ProjectId, UserId};
use serde_json::{Value, json};

use super::{Reply, Rig};

pub(super) const PASSWORD: &str = "correct horse battery";

impl Rig {
    /// A rig whose project signs people in like this.
    pub(super) async fn signing_in(config: Value) -> Self {
        let rig = Self::new().await;
        let put = rig.ask("PUT", "sign-in", &[], &config.to_string()).await;
        assert_eq!(put.status, 200, "{}", put.text);
        rig
    }

    /// One request to `auth/…` without a token.
    pub(super) async fn auth(&self, path: &str, body: Value) -> Reply {
        self.ask_as("", "POST", &format!("auth/{path}"), &[], &body.to_string()).await
    }

    /// One request to `auth/…` by a user.
    pub(super) async fn by(&self, token: &str, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask_as(token, method, &format!("auth/{path}"), &[], &body).await
    }

    /// The session of somebody new.
    pub(super) async fn sign_up(&self, email: &str) -> Value {
        let made = self.auth("sign-up", json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()
    }

    /// How many messages were kept for somebody.
    async fn kept(&self, to: &str) -> Vec<Value> {
        let to = to.replace('+', "%2B");
        let inbox = self.ask("GET", &format!("auth/inbox?to={to}"), &[], "").await;
        assert_eq!(inbox.status, 200, "{}", inbox.text);
        inbox.json()["messages"].as_array().unwrap().clone()
    }

    /// The newest of `count` messages to somebody, once there are so many.
    pub(super) async fn message(&self, to: &str, count: usize) -> Value {
        for _ in 0..200 {
            let kept = self.kept(to).await;
            if kept.len() >= count {
                assert_eq!(kept.len(), count, "{kept:?}");
                return kept[0].clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no message {count} to {to}");
    }

    /// Lets the time of a challenge run out.
    async fn expire(&self, user: &str, purpose: &str) {
        let (project, user) = (ProjectId::new("p").unwrap(), UserId::new(user).unwrap());
        let state = self.shared.engine.user(&project, &user).await.unwrap().unwrap();
        let challenge = state.challenges[purpose].clone();
        let issue = Issue { purpose: purpose.into(), challenge, seconds: 0 };
        let command = UserCommand { user, steps: vec![Step::Issue(issue)] };
        let context = Context {
            project,
            actor: Actor::System,
            access: Access::PastRules,
            correlation_id: "test".into(),
            causation_id: None,
            depth: 0,
            traceparent: None,
            idempotency: None,
        };
        let command = Command { context, body: command::Body::User(command) };
        self.shared.engine.submit(command).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    /// Where the log ends.
    async fn end_of_log(&self) -> String {
        self.ask("GET", "events?limit=1000", &[], "").await.text
    }

    async fn form(&self, fields: &[(&str, &str)]) -> Reply {
        let body: String =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        self.ask_as("", "POST", "auth/confirm", &form, &body).await
    }
}

/// `token` of a message's link.
pub(super) fn token(message: &Value) -> String {
    parameter(message["link"].as_str().unwrap(), "token")
}

fn parameter(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap_or_else(|| panic!("no query in {url}"));
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let found = pairs.find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn app() -> Value {
    json!({"siteUrl": "https://app.example", "redirectUrls": ["https://app.example/in/*"],
        "phoneCode": true})
}

#[actix_web::test]
async fn an_address_is_verified_before_anybody_comes_in() {
    let rig = Rig::signing_in(json!({"emailVerification": true})).await;
    let body = json!({"email": "ann@app.example", "password": PASSWORD});
    let made = rig.auth("sign-up", body.clone()).await;
    assert_eq!((made.status, text(&made.json(), "next")), (202, "verify-email"));
    let first = token(&rig.message("ann@app.example", 1).await);
    let early = rig.auth("sign-in", body.clone()).await;
    assert_eq!((early.status, early.code().as_str()), (403, "email-not-verified"));
    let again = rig.auth("send-verification", json!({"email": "Ann@App.example"})).await;
    assert_eq!(again.status, 202);
    let second = token(&rig.message("ann@app.example", 2).await);
    let old = rig.auth("confirm", json!({"token": first})).await;
    assert_eq!((old.status, old.code().as_str()), (401, "invalid-credentials"));
    let new = rig.auth("confirm", json!({"token": second})).await;
    assert_eq!((new.status, new.json()), (200, json!({"verified": true})));
    let used = rig.auth("confirm", json!({"token": second})).await;
    assert_eq!((used.status, used.code().as_str()), (401, "invalid-credentials"));
    let came = rig.auth("sign-in", body).await;
    assert_eq!((came.status, &came.json()["user"]["emailVerified"]), (200, &json!(true)));
    // There is nothing left to verify.
    rig.auth("send-verification", json!({"email": "ann@app.example"})).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.kept("ann@app.example").await.len(), 2);
}

#[actix_web::test]
async fn who_signs_up_again_is_told_by_mail_only() {
    let rig = Rig::signing_in(json!({"emailVerification": true})).await;
    let body = |password: &str| json!({"email": "ann@app.example", "password": password});
    let first = rig.auth("sign-up", body("password of a stranger")).await;
    rig.message("ann@app.example", 1).await;
    let second = rig.auth("sign-up", body(PASSWORD)).await;
    assert_eq!((first.status, &first.text), (second.status, &second.text));
    let link = token(&rig.message("ann@app.example", 2).await);
    assert_eq!(rig.auth("confirm", json!({"token": link})).await.status, 200);
    assert_eq!(rig.auth("sign-in", body("password of a stranger")).await.status, 401);
    assert_eq!(rig.auth("sign-in", body(PASSWORD)).await.status, 200);
    let third = rig.auth("sign-up", body("yet another password")).await;
    assert_eq!((first.status, &first.text), (third.status, &third.text));
    assert_eq!(rig.message("ann@app.example", 3).await["kind"], "magic-link");
    assert_eq!(rig.auth("sign-in", body("yet another password")).await.status, 401);
}

#[actix_web::test]
async fn a_link_that_is_opened_changes_nothing() {
    let rig = Rig::signing_in(app()).await;
    let ask = json!({"email": "ann@app.example", "redirectTo": "https://app.example/in/a?b=c"});
    assert_eq!(rig.auth("magic-link", ask).await.status, 202);
    let message = rig.message("ann@app.example", 1).await;
    let link = text(&message, "link").strip_prefix("http://127.0.0.1").unwrap().to_owned();
    let before = rig.end_of_log().await;
    for _ in 0..3 {
        let page = rig.ask_as("", "GET", &link, &[("Accept-Language", "de-CH")], "").await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(page.text.contains("<html lang=\"de\">") && page.text.contains("Anmelden"));
        assert!(page.text.contains("method=\"post\"") && !page.text.contains("<script"));
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'; style-src 'unsafe-inline'; "), "{policy}");
        assert!(policy.contains("form-action 'self' https://app.example; "), "{policy}");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("cache-control"), "no-store");
    }
    assert_eq!(before, rig.end_of_log().await);
    let secret = token(&message);
    let sent = rig.form(&[("token", &secret)]).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    let location = sent.header("location");
    assert!(location.starts_with("https://app.example/in/a?b=c&code="), "{location}");
    assert_eq!(sent.header("cache-control"), "no-store");
    let code = parameter(location, "code");
    let session = rig.auth("token", json!({"code": code})).await;
    assert_eq!(session.status, 200, "{}", session.text);
    assert_eq!(session.json()["user"]["email"], "ann@app.example");
    assert_eq!(session.json()["user"]["emailVerified"], true);
    let twice = rig.auth("token", json!({"code": code})).await;
    assert_eq!((twice.status, twice.code().as_str()), (401, "invalid-credentials"));
    let page = rig.form(&[("token", &secret)]).await;
    assert_eq!((page.status, page.header("content-type")), (401, "text/html; charset=utf-8"));
    let page = rig.ask_as("", "GET", &link, &[], "").await;
    assert_eq!(page.status, 401);
}

#[actix_web::test]
async fn nobody_is_sent_to_where_the_project_does_not_send_people() {
    let rig = Rig::signing_in(app()).await;
    for url in [
        "https://evil.example/",
        "https://app.example.evil.example/in/",
        "//evil.example",
        "javascript:alert(1)",
        "https://app.example/out",
    ] {
        for path in ["magic-link", "recover", "send-verification"] {
            let refused =
                rig.auth(path, json!({"email": "a@app.example", "redirectTo": url})).await;
            assert_eq!((refused.status, refused.code().as_str()), (400, "invalid-body"), "{url}");
        }
    }
    rig.auth("magic-link", json!({"email": "ann@app.example"})).await;
    let secret = token(&rig.message("ann@app.example", 1).await);
    let path = format!("auth/confirm?token={secret}&redirectTo=https://evil.example/");
    let page = rig.ask_as("", "GET", &path, &[], "").await;
    assert_eq!((page.status, page.text.contains("evil")), (400, false));
    let page = rig.form(&[("token", &secret), ("redirectTo", "https://evil.example/")]).await;
    assert_eq!((page.status, page.header("location")), (400, ""));
    // And the link is as good as before.
    let to = ("redirectTo", "https://app.example/in/x");
    let sent = rig.form(&[("token", &secret), to]).await;
    assert!(sent.header("location").starts_with("https://app.example/in/x?code="));
}

#[actix_web::test]
async fn only_the_app_that_began_ends_a_sign_in() {
    // RFC 7636, appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let rig = Rig::signing_in(app()).await;
    let ask = json!({"email": "ann@app.example", "codeChallenge": challenge});
    rig.auth("magic-link", ask.clone()).await;
    let secret = token(&rig.message("ann@app.example", 1).await);
    let sent = rig.form(&[("token", &secret)]).await;
    let code = parameter(sent.header("location"), "code");
    for body in [
        json!({"code": code}),
        json!({"code": code, "codeVerifier": verifier.replace('d', "e")}),
        json!({"code": code, "codeVerifier": challenge}),
        json!({"code": "nonsense", "codeVerifier": verifier}),
    ] {
        let refused = rig.auth("token", body).await;
        assert_eq!((refused.status, refused.code().as_str()), (401, "invalid-credentials"));
    }
    let session = rig.auth("token", json!({"code": code, "codeVerifier": verifier})).await;
    assert_eq!(session.status, 200, "{}", session.text);
    rig.auth("magic-link", ask).await;
    let secret = token(&rig.message("ann@app.example", 2).await);
    assert_eq!(rig.auth("confirm", json!({"token": secret})).await.status, 401);
    let body = json!({"token": secret, "codeVerifier": verifier});
    assert_eq!(rig.auth("confirm", body).await.status, 200);
    rig.auth("magic-link", json!({"email": "ann@app.example"})).await;
    let secret = token(&rig.message("ann@app.example", 3).await);
    let body = json!({"token": secret, "codeVerifier": verifier});
    assert_eq!(rig.auth("confirm", body).await.status, 401, "a challenge was taken out");
}

#[actix_web::test]
async fn the_answer_is_the_same_for_everybody() {
    let rig = Rig::signing_in(app()).await;
    for path in ["magic-link", "email-code", "send-verification", "recover"] {
        let [known, unknown, disabled] =
            ["known", "unknown", "disabled"].map(|who| format!("{who}-{path}@app.example"));
        rig.sign_up(&known).await;
        let id = rig.sign_up(&disabled).await["user"]["id"].as_str().unwrap().to_owned();
        let patch = rig.ask("PATCH", &format!("users/{id}"), &[], r#"{"disabled":true}"#).await;
        assert_eq!(patch.status, 200, "{}", patch.text);
        let mut answers = Vec::new();
        for email in [&known, &unknown, &disabled] {
            let mut body = json!({"email": email});
            if matches!(path, "magic-link" | "email-code") {
                body["createUser"] = json!(false);
            }
            let reply = rig.auth(path, body).await;
            assert_eq!(reply.status, 202, "{path} {email} {}", reply.text);
            answers.push(reply.text);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{path}: {answers:?}");
        rig.message(&known, 1).await;
        assert!(rig.kept(&unknown).await.is_empty());
        assert!(rig.kept(&disabled).await.is_empty());
    }
    rig.auth("email-code", json!({"email": "known-recover@app.example"})).await;
    rig.message("known-recover@app.example", 2).await;
    let mut answers = Vec::new();
    for email in ["known-recover@app.example", "unknown-recover@app.example"] {
        let since = std::time::Instant::now();
        let reply = rig.auth("verify-code", json!({"email": email, "code": "no code"})).await;
        assert!(since.elapsed() >= Duration::from_millis(250));
        let mut json = reply.json();
        json["correlationId"].take();
        answers.push((reply.status, json));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, 401);
}

#[actix_web::test]
async fn messages_to_one_address_are_few() {
    let rig = Rig::signing_in(app()).await;
    for known in ["ann@app.example", "bob@app.example"] {
        if known.starts_with("ann") {
            rig.sign_up(known).await;
        }
        let ask = json!({"email": known, "createUser": false});
        for _ in 0..3 {
            assert_eq!(rig.auth("magic-link", ask.clone()).await.status, 202);
        }
        let refused = rig.auth("magic-link", ask).await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "too-many-requests"));
    }
}

#[actix_web::test]
async fn a_code_takes_five_wrong_answers() {
    let rig = Rig::signing_in(app()).await;
    rig.auth("email-code", json!({"email": "ann@app.example", "data": {"a": 1}})).await;
    let message = rig.message("ann@app.example", 1).await;
    let code = text(&message, "code").to_owned();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let with = |code: &str| json!({"email": "ann@app.example", "code": code});
    for _ in 0..5 {
        assert_eq!(rig.auth("verify-code", with(wrong)).await.status, 401);
    }
    let sixth = rig.auth("verify-code", with(&code)).await;
    assert_eq!((sixth.status, sixth.code().as_str()), (429, "too-many-requests"));
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let sixth = rig.auth("verify-code", with(&code)).await;
    assert_eq!((sixth.status, sixth.code().as_str()), (401, "invalid-credentials"));
}

#[actix_web::test]
async fn codes_sign_in_once() {
    let rig = Rig::signing_in(app()).await;
    for (path, name, to, methods) in [
        ("email-code", "email", "ann@app.example", json!(["otp"])),
        ("phone-code", "phone", "+491701234567", json!(["otp", "sms"])),
    ] {
        assert_eq!(rig.auth(path, json!({name: to})).await.status, 202);
        let message = rig.message(to, 1).await;
        let code = text(&message, "code");
        let typed = format!(" {}-{} ", &code[..3], &code[3..]);
        let body = json!({name: to, "code": typed});
        let session = rig.auth("verify-code", body.clone()).await;
        assert_eq!(session.status, 200, "{}", session.text);
        let session = session.json();
        assert_eq!(session["user"][format!("{name}Verified")], true);
        let sessions = rig.by(text(&session, "accessToken"), "GET", "sessions", Value::Null).await;
        assert_eq!(sessions.json()["sessions"][0]["methods"], methods);
        assert_eq!(rig.auth("verify-code", body.clone()).await.status, 401);
        rig.auth(path, json!({name: to})).await;
        let message = rig.message(to, 2).await;
        let purpose = path.to_owned();
        rig.expire(text(&session["user"], "id"), &purpose).await;
        let late = json!({name: to, "code": text(&message, "code")});
        assert_eq!(rig.auth("verify-code", late).await.status, 401);
    }
    let both = json!({"email": "ann@app.example", "phone": "+491701234567", "code": "000000"});
    assert_eq!(rig.auth("verify-code", both).await.status, 400);
}

#[actix_web::test]
async fn who_owns_an_address_does_not_share_it_with_who_typed_it_in() {
    let rig = Rig::signing_in(app()).await;
    let stranger = rig.sign_up("ann@app.example").await;
    rig.auth("email-code", json!({"email": "ann@app.example"})).await;
    let message = rig.message("ann@app.example", 1).await;
    let body = json!({"email": "ann@app.example", "code": text(&message, "code")});
    let owner = rig.auth("verify-code", body).await.json();
    assert_eq!(owner["user"]["id"], stranger["user"]["id"]);
    assert_eq!(owner["user"]["hasPassword"], false);
    let old = json!({"email": "ann@app.example", "password": PASSWORD});
    assert_eq!(rig.auth("sign-in", old).await.status, 401);
    let old = json!({"refreshToken": stranger["refreshToken"]});
    assert_eq!(rig.auth("refresh", old).await.code(), "session-ended");
}

#[actix_web::test]
async fn a_forgotten_password_is_set_anew() {
    let rig = Rig::signing_in(app()).await;
    let session = rig.sign_up("ann@app.example").await;
    let ask = json!({"email": "ann@app.example", "redirectTo": "https://app.example/in/new"});
    assert_eq!(rig.auth("recover", ask).await.status, 202);
    let message = rig.message("ann@app.example", 1).await;
    let link = text(&message, "link").to_owned();
    assert!(link.starts_with("https://app.example/in/new?token="), "{link}");
    assert_eq!(parameter(&link, "type"), "reset-password");
    let secret = token(&message);
    let with = |password: &str| json!({"token": secret, "password": password});
    let weak = rig.auth("reset-password", with("short")).await;
    assert_eq!((weak.status, weak.code().as_str()), (400, "weak-password"));
    assert_eq!(rig.auth("confirm", json!({"token": secret})).await.status, 401);
    for bad in [
        "",
        "x",
        "reset-password~x~y",
        &secret.replace("reset-password", "magic-link"),
        &another(&secret),
    ] {
        let body = json!({"token": bad, "password": "another good one"});
        let refused = rig.auth("reset-password", body).await;
        assert_eq!(refused.status, 401, "{bad}");
    }
    assert_eq!(rig.auth("reset-password", with("another good one")).await.status, 204);
    assert_eq!(rig.auth("reset-password", with("one more try")).await.status, 401);
    let access = text(&session, "accessToken");
    assert_eq!(rig.by(access, "GET", "me", Value::Null).await.code(), "session-ended");
    let refresh = json!({"refreshToken": session["refreshToken"]});
    assert_eq!(rig.auth("refresh", refresh).await.code(), "session-ended");
    let sign_in = |password: &str| json!({"email": "ann@app.example", "password": password});
    assert_eq!(rig.auth("sign-in", sign_in(PASSWORD)).await.status, 401);
    let came = rig.auth("sign-in", sign_in("another good one")).await;
    assert_eq!((came.status, &came.json()["user"]["emailVerified"]), (200, &json!(true)));
    assert_eq!(rig.message("ann@app.example", 2).await["kind"], "password-changed");
    rig.auth("recover", json!({"email": "ann@app.example"})).await;
    let message = rig.message("ann@app.example", 3).await;
    assert!(text(&message, "link").starts_with("https://app.example/?token="));
    rig.expire(text(&session["user"], "id"), "reset-password").await;
    let body = json!({"token": token(&message), "password": "too late for it"});
    assert_eq!(rig.auth("reset-password", body).await.status, 401);
}

#[actix_web::test]
async fn a_password_is_set_on_our_page_where_the_app_has_none() {
    let rig = Rig::new().await;
    rig.sign_up("ann@app.example").await;
    rig.auth("recover", json!({"email": "ann@app.example"})).await;
    let message = rig.message("ann@app.example", 1).await;
    let link = text(&message, "link").strip_prefix("http://127.0.0.1").unwrap().to_owned();
    let page = rig.ask_as("", "GET", &link, &[], "").await;
    assert!(page.text.contains("type=\"password\""), "{}", page.text);
    let secret = token(&message);
    let weak = rig.form(&[("token", &secret), ("password", "short")]).await;
    assert_eq!(weak.status, 200);
    assert!(weak.text.contains("class=\"wrong\""), "{}", weak.text);
    let done = rig.form(&[("token", &secret), ("password", "another good one")]).await;
    assert_eq!((done.status, done.text.contains("Done")), (200, true), "{}", done.text);
    let body = json!({"email": "ann@app.example", "password": "another good one"});
    assert_eq!(rig.auth("sign-in", body).await.status, 200);
}

#[actix_web::test]
async fn who_is_signed_in_changes_its_password() {
    let rig = Rig::signing_in(app()).await;
    let here = rig.sign_up("ann@app.example").await;
    let sign_in = |password: &str| json!({"email": "ann@app.example", "password": password});
    let there = rig.auth("sign-in", sign_in(PASSWORD)).await.json();
    let access = text(&here, "accessToken");
    let body = json!({"currentPassword": "not it at all", "password": "another good one"});
    let refused = rig.by(access, "POST", "password", body).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "invalid-credentials"));
    let body = json!({"currentPassword": PASSWORD, "password": "another good one"});
    assert_eq!(rig.by(access, "POST", "password", body).await.status, 204);
    assert_eq!(rig.by(access, "GET", "me", Value::Null).await.status, 200);
    let refresh = json!({"refreshToken": there["refreshToken"]});
    assert_eq!(rig.auth("refresh", refresh).await.code(), "session-ended");
    assert_eq!(rig.auth("sign-in", sign_in("another good one")).await.status, 200);
    assert_eq!(rig.message("ann@app.example", 1).await["kind"], "password-changed");
    let body = json!({"password": "another good one"});
    assert_eq!(rig.by(access, "POST", "reauthenticate", body).await.status, 204);
    let body = json!({"password": "not it at all"});
    assert_eq!(rig.by(access, "POST", "reauthenticate", body).await.status, 401);
    let body = json!({"email": "ann@app.example", "createUser": false});
    rig.auth("email-code", body).await;
    let message = rig.message("ann@app.example", 2).await;
    let body = json!({"code": text(&message, "code")});
    assert_eq!(rig.by(access, "POST", "reauthenticate", body.clone()).await.status, 204);
    assert_eq!(rig.by(access, "POST", "reauthenticate", body).await.status, 401);
}

#[actix_web::test]
async fn a_new_address_counts_once_it_is_shown() {
    let rig = Rig::signing_in(app()).await;
    let session = rig.sign_up("ann@app.example").await;
    let access = text(&session, "accessToken");
    rig.auth("recover", json!({"email": "ann@app.example"})).await;
    let old_link = token(&rig.message("ann@app.example", 1).await);
    let changed = rig.by(access, "POST", "email", json!({"email": "ann@new.example"})).await;
    assert_eq!((changed.status, text(&changed.json(), "next")), (202, "change-email"));
    let me = rig.by(access, "GET", "me", Value::Null).await.json();
    assert_eq!(me["email"], "ann@app.example");
    let message = rig.message("ann@new.example", 1).await;
    assert_eq!(message["kind"], "verify-email");
    let sent = rig.form(&[("token", &token(&message))]).await;
    assert_eq!((sent.status, sent.header("location")), (303, "https://app.example/"));
    let me = rig.by(access, "GET", "me", Value::Null).await.json();
    assert_eq!((&me["email"], &me["emailVerified"]), (&json!("ann@new.example"), &json!(true)));
    assert_eq!(rig.message("ann@app.example", 2).await["kind"], "email-changed");
    let with = |email: &str| json!({"email": email, "password": PASSWORD});
    assert_eq!(rig.auth("sign-in", with("ann@app.example")).await.status, 401);
    assert_eq!(rig.auth("sign-in", with("ann@new.example")).await.status, 200);
    // What was sent to the address of before shows nothing any more.
    let body = json!({"token": old_link, "password": "another good one"});
    assert_eq!(rig.auth("reset-password", body).await.status, 401);
    // Nobody takes another's.
    let bob = rig.sign_up("bob@app.example").await;
    let bob = text(&bob, "accessToken");
    rig.by(bob, "POST", "email", json!({"email": "ann@new.example"})).await;
    let message = rig.message("ann@new.example", 2).await;
    let taken = rig.auth("confirm", json!({"token": token(&message)})).await;
    assert_eq!((taken.status, taken.code().as_str()), (409, "identity-taken"));
}

#[actix_web::test]
async fn a_new_number_counts_once_it_is_shown() {
    let rig = Rig::signing_in(app()).await;
    let session = rig.sign_up("ann@app.example").await;
    let access = text(&session, "accessToken");
    let sent = rig.by(access, "POST", "phone", json!({"phone": "+49 170 1234567"})).await;
    assert_eq!(sent.status, 202);
    let message = rig.message("+491701234567", 1).await;
    let code = text(&message, "code");
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let verify = |code: &str| rig.by(access, "POST", "phone/verify", json!({"code": code}));
    assert_eq!(verify(wrong).await.status, 401);
    let taken = verify(code).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
    assert_eq!(taken.json()["phone"], "+491701234567");
    assert_eq!(taken.json()["phoneVerified"], true);
    assert_eq!(verify(code).await.status, 401);
}

#[actix_web::test]
async fn nobody_becomes_somebody_and_stays_who_it_is() {
    let rig = Rig::signing_in(app()).await;
    let session = rig.auth("anonymous", json!({})).await.json();
    let access = text(&session, "accessToken");
    let body = json!({"email": "ann@app.example", "password": PASSWORD});
    let taken = rig.sign_up("bob@app.example").await;
    let bobs = json!({"email": "bob@app.example", "password": PASSWORD});
    assert_eq!(rig.by(access, "POST", "upgrade", bobs).await.code(), "identity-taken");
    let upgraded = rig.by(access, "POST", "upgrade", body.clone()).await;
    assert_eq!(upgraded.status, 200, "{}", upgraded.text);
    assert_eq!(upgraded.json()["id"], session["user"]["id"]);
    assert_eq!(upgraded.json()["isAnonymous"], false);
    assert_eq!(rig.by(access, "POST", "upgrade", body.clone()).await.status, 403);
    let refresh = json!({"refreshToken": session["refreshToken"]});
    assert_eq!(rig.auth("refresh", refresh).await.json()["user"]["isAnonymous"], false);
    assert_eq!(rig.auth("sign-in", body).await.json()["user"]["id"], session["user"]["id"]);
    let again = json!({"email": "c@app.example", "password": PASSWORD});
    let refused = rig.by(text(&taken, "accessToken"), "POST", "upgrade", again).await;
    assert_eq!(refused.status, 403);
}

#[actix_web::test]
async fn nobody_becomes_somebody_once_its_address_is_verified() {
    let rig = Rig::signing_in(json!({"emailVerification": true})).await;
    let session = rig.auth("anonymous", json!({})).await.json();
    let access = text(&session, "accessToken");
    let body = json!({"email": "ann@app.example", "password": PASSWORD});
    assert_eq!(rig.by(access, "POST", "upgrade", body.clone()).await.status, 202);
    assert_eq!(rig.by(access, "GET", "me", Value::Null).await.json()["isAnonymous"], true);
    assert_eq!(rig.auth("sign-in", body.clone()).await.status, 401);
    let message = rig.message("ann@app.example", 1).await;
    assert_eq!(rig.auth("confirm", json!({"token": token(&message)})).await.status, 200);
    let came = rig.auth("sign-in", body).await;
    assert_eq!((came.status, &came.json()["user"]["id"]), (200, &session["user"]["id"]));
}

#[actix_web::test]
async fn the_inbox_is_for_the_apps_own_server() {
    let mut rig = Rig::new().await;
    assert_eq!(rig.ask("GET", "auth/inbox", &[], "").await.json(), json!({"messages": []}));
    let session = rig.sign_up("ann@app.example").await;
    let access = text(&session, "accessToken");
    assert_eq!(rig.by(access, "GET", "inbox", Value::Null).await.status, 403);
    rig.token = rig.key("secret").await;
    assert_eq!(rig.ask("GET", "auth/inbox", &[], "").await.status, 200);
}

#[actix_web::test]
async fn what_a_project_has_not_is_refused() {
    let config = json!({"magicLink": false, "emailCode": false, "totp": false,
        "password": {"enabled": false}});
    let rig = Rig::signing_in(config).await;
    let email = json!({"email": "ann@app.example"});
    for path in ["magic-link", "email-code", "recover"] {
        assert_eq!(rig.auth(path, email.clone()).await.code(), "forbidden", "{path}");
    }
    let phone = json!({"phone": "+491701234567"});
    assert_eq!(rig.auth("phone-code", phone).await.code(), "forbidden");
    for (path, body) in [
        ("verify-code", json!({"email": "ann@app.example", "code": "000000"})),
        ("verify-code", json!({"phone": "+491701234567", "code": "000000"})),
    ] {
        assert_eq!(rig.auth(path, body).await.code(), "forbidden", "{path}");
    }
    let session = rig.auth("anonymous", json!({})).await.json();
    let made = rig.by(text(&session, "accessToken"), "POST", "factors", json!({})).await;
    assert_eq!(made.code(), "forbidden");
}

/// The same secret but for its last character.
fn another(secret: &str) -> String {
    let last = if secret.ends_with('A') { 'B' } else { 'A' };
    format!("{}{last}", &secret[..secret.len() - 1])
}
