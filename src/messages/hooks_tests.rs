//! What a hook is sent, and what its answers mean.

use domain::sign_in::Secret;

use super::*;
use crate::fake::{Reply, Server, install_tls};
use crate::letter::tests::letter;
use crate::{Error as Cause, Kind};

fn caller() -> Caller {
    install_tls();
    Caller::new(Outbound::new(true).unwrap())
}

fn hook(url: String, on_failure: OnFailure) -> Hook {
    let secret = signing::new_secret().unwrap();
    Hook { url, secret, wait_ms_max: 1_000, on_failure }
}

async fn server(status: u16, body: &str) -> Server {
    Server::start(vec![Reply::json(status, body)]).await
}

#[tokio::test]
async fn is_signed_as_its_receiver_checks_it() {
    let server = server(200, r#"{"a": 1}"#).await;
    let hook = hook(server.url("/hook"), OnFailure::Refuse);
    let answer = caller().call(&hook, "before_token", &json!({ "id": "u1" })).await.unwrap();
    assert_eq!(answer.get("a"), Some(&json!(1)));
    let asked = server.requests().remove(0);
    assert_eq!(asked.line, "POST /hook HTTP/1.1");
    assert_eq!(asked.header("content-type"), "application/json");
    let headers = signing::Headers {
        id: asked.header("webhook-id"),
        timestamp: asked.header("webhook-timestamp"),
        signature: asked.header("webhook-signature"),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    signing::verify(&hook.secret, &headers, &asked.body, now).unwrap();
    let other = signing::new_secret().unwrap();
    assert!(signing::verify(&other, &headers, &asked.body, now).is_err());
    let body = asked.json();
    assert_eq!(body["type"], "before_token");
    assert_eq!(body["data"], json!({ "id": "u1" }));
    body["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap();
}

#[tokio::test]
async fn tells_refusals_from_failures() {
    let refusal = r#"{"error": {"message": "not\nyou"}}"#;
    let long = format!(r#"{{"error": {{"message": "{}"}}}}"#, "é".repeat(301));
    let cases: [(u16, &str, Result<(), Error>); 11] = [
        (204, "", Ok(())),
        (200, " ", Ok(())),
        (200, "{}", Ok(())),
        (200, "[]", Err(Cause::Answer("not a JSON object").into())),
        (200, "<p>", Err(Cause::Answer("not a JSON object").into())),
        (403, refusal, Err(Error::Refused("not you".into()))),
        (422, &long, Err(Error::Refused("é".repeat(300)))),
        (403, "{}", Err(Cause::Refused(403).into())),
        (429, "", Err(Cause::Later(429).into())),
        (500, refusal, Err(Cause::Later(500).into())),
        (302, "", Err(Cause::Refused(302).into())),
    ];
    let caller = caller();
    for (status, body, wanted) in cases {
        let server = server(status, body).await;
        let mut hook = hook(server.url("/"), OnFailure::Refuse);
        let found = caller.call(&hook, "any", &json!({})).await;
        assert_eq!(found.map(|_| ()), wanted, "{status} {body}");

        let server = self::server(status, body).await;
        hook.url = server.url("/");
        hook.on_failure = OnFailure::Continue;
        let found = caller.call(&hook, "any", &json!({})).await;
        let is_refused = matches!(wanted, Err(Error::Refused(_)));
        assert_eq!(found.is_err(), is_refused, "{status} {body}");
    }
}

#[tokio::test]
async fn waits_no_longer_than_it_may() {
    let server = Server::start(vec![Reply::silence()]).await;
    let mut hook = hook(server.url("/"), OnFailure::Refuse);
    hook.wait_ms_max = 100;
    let began = std::time::Instant::now();
    let found = caller().call(&hook, "any", &json!({})).await;
    assert_eq!(found, Err(Cause::TimedOut.into()));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_bad_secret_or_url_is_a_failure() {
    let mut hook = hook("http://127.0.0.1:1/".into(), OnFailure::Refuse);
    let found = caller().call(&hook, "any", &json!({})).await;
    assert_eq!(found, Err(Cause::Unreachable("no connection").into()));
    install_tls();
    let far = Caller::new(Outbound::new(false).unwrap());
    let found = far.call(&hook, "any", &json!({})).await;
    assert!(matches!(found, Err(Error::Failed(Cause::Forbidden(_)))));
    hook.secret = Secret("short".into());
    let found = far.call(&hook, "any", &json!({})).await;
    assert_eq!(found, Err(Cause::Setting("the hook's secret").into()));
}

#[tokio::test]
async fn decides_on_a_sign_up() {
    let server = server(200, r#"{"roles": ["editor"], "claims": {"plan": "pro"}}"#).await;
    let hook = hook(server.url("/"), OnFailure::Refuse);
    let found = caller().before_sign_up(&hook, &json!({ "email": "a@b.example" })).await.unwrap();
    assert_eq!(found.roles, ["editor"]);
    assert_eq!(Value::Object(found.claims), json!({ "plan": "pro" }));
    assert_eq!(server.requests()[0].json()["data"]["email"], "a@b.example");
}

#[tokio::test]
async fn refuses_claims_that_are_not_the_apps_to_set() {
    let caller = caller();
    for name in RESERVED_CLAIMS {
        let body = json!({ "claims": { name: "x" } }).to_string();
        let server = server(200, &body).await;
        let hook = hook(server.url("/"), OnFailure::Refuse);
        let found = caller.before_token(&hook, &json!({})).await;
        let wanted = Cause::Answer("a claim that only the server sets");
        assert_eq!(found, Err(wanted.into()), "{name}");
    }
    let server = server(200, r#"{"claims": {"sub": "x"}}"#).await;
    let lenient = hook(server.url("/"), OnFailure::Continue);
    assert!(caller.before_token(&lenient, &json!({})).await.unwrap().is_empty());
}

#[test]
fn bounds_what_a_hook_may_add() {
    let sign_up = |answer: Value| {
        let Value::Object(answer) = answer else { panic!("not an object") };
        sign_up_decision(answer)
    };
    sign_up(json!({})).unwrap();
    sign_up(json!({ "roles": vec!["r"; 32] })).unwrap();
    let many: Map<_, _> = (0..65).map(|i| (format!("c{i}"), json!(1))).collect();
    for bad in [
        json!({ "roles": vec!["r"; 33] }),
        json!({ "roles": ["no role"] }),
        json!({ "roles": "admin" }),
        json!({ "role": ["admin"] }),
        json!({ "claims": many }),
        json!({ "claims": { "long": "x".repeat(4096) } }),
        json!({ "claims": { "roles": ["admin"] } }),
    ] {
        assert!(matches!(sign_up(bad.clone()), Err(Error::Failed(Cause::Answer(_)))), "{bad}");
    }
}

#[tokio::test]
async fn hands_letters_over_under_their_id() {
    let server =
        Server::start(vec![Reply::json(204, ""), Reply::json(200, "{}"), Reply::json(500, "")])
            .await;
    let caller = caller();
    let mut hook = hook(server.url("/"), OnFailure::Refuse);
    let mail = letter("p1", Kind::MagicLink, "ann@app.example");
    let sms = letter("p1", Kind::PhoneCode, "+491701234567");
    assert!(caller.send_mail(&hook, &mail).await.unwrap());
    assert!(caller.send_sms(&hook, &sms).await.unwrap());
    hook.on_failure = OnFailure::Continue;
    assert!(!caller.send_mail(&hook, &mail).await.unwrap());
    let asked = server.requests();
    assert_eq!(asked[0].header("webhook-id"), mail.id);
    assert_eq!(asked[2].header("webhook-id"), mail.id);
    let data = &asked[0].json()["data"];
    assert_eq!(data["kind"], "magic-link");
    assert_eq!(data["to"], "ann@app.example");
    assert_eq!(data["link"], "https://app.example/go?token=secret-token");
    let data = &asked[1].json()["data"];
    assert_eq!(data["text"], sms.message.text);
    assert_eq!(data["code"], "042193");
}
