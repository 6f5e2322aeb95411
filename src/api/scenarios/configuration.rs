//! How people sign in, roles, and signing keys: what a developer configures.

use domain::ProjectId;
use serde_json::{Value, json};

use super::{Reply, Rig};
use crate::caller::{self, Principal};

const HOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn sign_up(rig: &Rig, email: &str) -> Value {
    let body = json!({"email": email, "password": "long enough 1"}).to_string();
    let made = rig.ask_as("", "POST", "auth/sign-up", &[], &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

async fn put(rig: &Rig, config: &Value) -> Reply {
    rig.ask("PUT", "sign-in", &[], &config.to_string()).await
}

/// A configuration with a secret at every place but the one of an SMS webhook.
fn full() -> Value {
    let hook = json!({"url": "https://app.example/hook", "secret": HOOK_SECRET});
    json!({
        "siteUrl": "https://app.example/start",
        "redirectUrls": ["https://app.example/*", "https://app.example/done?x=1", "app.my:/cb"],
        "anonymous": false,
        "providers": {"hub": {
            "kind": "github", "clientId": "app", "clientSecret": "provider-secret",
        }},
        "issuers": [{"issuer": "https://issuer.example", "audiences": ["api"]}],
        "hooks": {
            "beforeSignUp": null, "beforeToken": null, "sendMail": hook, "sendSms": hook,
        },
        "mail": {
            "from": "App <no-reply@app.example>",
            "smtpUrl": "smtps://app@mail.example:465",
            "smtpPassword": "smtp-secret",
            "templates": {"magic-link": {"de": {"subject": "Los", "text": "{{ link }}"}}},
        },
        "sms": {
            "kind": "twilio", "accountSid": "AC1", "authToken": "sms-secret",
            "from": "+15005550006",
        },
        "captcha": {"verifyUrl": "https://captcha.example/verify", "secret": "captcha-secret"},
        "sessions": {"accessTokenSeconds": 60},
    })
}

const SECRETS: [&str; 5] =
    ["provider-secret", HOOK_SECRET, "smtp-secret", "sms-secret", "captcha-secret"];

#[actix_web::test]
async fn secrets_go_in_and_never_come_out() {
    let rig = Rig::new().await;
    let fresh = rig.ask("GET", "sign-in", &[], "").await;
    assert_eq!((fresh.status, &fresh.json()["signUp"]), (200, &json!(true)));
    let done = put(&rig, &full()).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let shown = rig.ask("GET", "sign-in", &[], "").await;
    assert_eq!(shown.json(), done.json());
    for (pointer, expected) in [
        ("/providers/hub/clientSecret", "********"),
        ("/hooks/sendMail/secret", "********"),
        ("/mail/smtpPassword", "********"),
        ("/sms/authToken", "********"),
        ("/captcha/secret", "********"),
        ("/siteUrl", "https://app.example/start"),
    ] {
        assert_eq!(shown.json().pointer(pointer), Some(&json!(expected)), "{pointer}");
    }
    let events = rig.ask("GET", "events", &[], "").await;
    let log = rig.log_text().await;
    for secret in SECRETS {
        for text in [&shown.text, &done.text, &events.text, &log] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
    // What is shown can be sent back.
    let back = put(&rig, &shown.json()).await;
    assert_eq!((back.status, back.json()), (200, shown.json()), "{}", back.text);
    let project = ProjectId::new("p").unwrap();
    let live = rig.shared.engine.catalog().project(&project).unwrap();
    let opened = &rig.shared.people.directory(&project, &live).unwrap().config;
    let mut opened = opened.clone();
    let mut found: Vec<String> = opened.secrets_mut().iter().map(|one| one.0.clone()).collect();
    found.dedup();
    let mut expected = SECRETS.to_vec();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    // And it is in force.
    let nobody = rig.ask_as("", "POST", "auth/anonymous", &[], "{}").await;
    assert_eq!((nobody.status, nobody.code().as_str()), (403, "forbidden"));
}

#[actix_web::test]
async fn a_kept_secret_stays_where_it_is() {
    let rig = Rig::new().await;
    assert_eq!(put(&rig, &full()).await.status, 200);
    let shown = rig.ask("GET", "sign-in", &[], "").await.json();
    for (place, value, field) in [
        ("/captcha/verifyUrl", json!("https://thief.example"), "/captcha/secret"),
        ("/mail/smtpUrl", json!("smtps://app@thief.example:465"), "/mail/smtpPassword"),
        ("/sms/baseUrl", json!("https://thief.example"), "/sms/authToken"),
        ("/sms/accountSid", json!("AC2"), "/sms/authToken"),
        ("/providers/hub/issuer", json!("https://thief.example"), "/providers/hub/clientSecret"),
    ] {
        let mut config = shown.clone();
        let (parent, name) = place.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[name] = value;
        let refused = put(&rig, &config).await;
        let answer = (refused.status, refused.code());
        assert_eq!(answer, (400, "invalid-body".to_owned()), "{place}: {}", refused.text);
        assert_eq!(refused.json()["field"], field, "{place}");
    }
    let mut config = shown.clone();
    let hub = config["providers"]["hub"].clone();
    config["providers"]["other"] = hub;
    let refused = put(&rig, &config).await;
    assert_eq!(refused.json()["field"], "/providers/other/clientSecret", "{}", refused.text);
    // Where a hook is called has nothing to do with what it is signed by.
    let mut config = shown;
    config["hooks"]["sendMail"]["url"] = json!("https://app.example/other");
    assert_eq!(put(&rig, &config).await.status, 200);
}

#[actix_web::test]
async fn what_can_not_be_used_is_refused_with_its_place() {
    let rig = Rig::new().await;
    let hook = |url: &str, secret: &str, wait: u32| {
        let hook = json!({"url": url, "secret": secret, "waitMsMax": wait});
        json!({"hooks": {"sendMail": hook}})
    };
    let link = json!({"subject": "s", "text": "no placeholder"});
    let many = |count: usize| vec!["https://app.example"; count];
    let provider = |name: &str, one: Value| json!({"providers": {name: one}});
    let oidc = json!({"kind": "oidc", "clientId": "a"});
    let github = json!({"kind": "github", "clientId": "a", "clientSecret": ""});
    let rows = [
        (json!({"siteUrl": "app.example"}), "/siteUrl"),
        (json!({"siteUrl": "javascript:alert(1)"}), "/siteUrl"),
        (json!({"siteUrl": "https://app.example/*"}), "/siteUrl"),
        (json!({"redirectUrls": ["https://a.example", "//a.example"]}), "/redirectUrls/1"),
        (json!({"redirectUrls": ["https://*.example/"]}), "/redirectUrls/0"),
        (json!({"redirectUrls": ["https://a.example*"]}), "/redirectUrls/0"),
        (json!({"redirectUrls": ["https://u:p@a.example/"]}), "/redirectUrls/0"),
        (json!({"redirectUrls": ["javascript:alert(1)"]}), "/redirectUrls/0"),
        (json!({"redirectUrls": many(101)}), "/redirectUrls"),
        (json!({"password": {"lengthMin": 5}}), "/password/lengthMin"),
        (json!({"password": {"lengthMin": 129}}), "/password/lengthMin"),
        (json!({"sessions": {"accessTokenSeconds": 59}}), "/sessions/accessTokenSeconds"),
        (json!({"sessions": {"accessTokenSeconds": 86_401}}), "/sessions/accessTokenSeconds"),
        (json!({"sessions": {"idleSecondsMax": 299}}), "/sessions/idleSecondsMax"),
        (json!({"sessions": {"ageSecondsMax": 1}}), "/sessions/ageSecondsMax"),
        (json!({"sessions": {"refreshGraceSeconds": 301}}), "/sessions/refreshGraceSeconds"),
        (provider("own", oidc), "/providers/own"),
        (provider("a b", json!({})), "/providers"),
        (provider("hub", github), "/providers/hub/clientSecret"),
        (json!({"issuers": [{"issuer": "x", "audiences": ["a"]}]}), "/issuers/0"),
        (json!({"customTokenKeys": [{"kty": "oct", "k": "AAAA"}]}), "/customTokenKeys/0"),
        (json!({"passkeys": {"enabled": true}}), "/passkeys"),
        (hook("http://app.example", HOOK_SECRET, 1), "/hooks/sendMail/url"),
        (hook("https://app.example", "whsec_short", 1), "/hooks/sendMail/secret"),
        (hook("https://app.example", HOOK_SECRET, 10_001), "/hooks/sendMail/waitMsMax"),
        (hook("https://app.example", "********", 1), "/hooks/sendMail/secret"),
        (json!({"mail": {"smtpUrl": "smtps://u:p@mail.example"}}), "/mail"),
        (json!({"mail": {"templates": {"invite": {"en": link}}}}), "/mail/templates/invite/en"),
        (json!({"mail": {"templates": {"spam": {}}}}), "/mail/templates"),
        (json!({"mail": {"language": "de_CH"}}), "/mail/language"),
        (
            json!({"captcha": {"verifyUrl": "http://c.example", "secret": "s"}}),
            "/captcha/verifyUrl",
        ),
        (json!({"signup": true}), "/signup"),
        (json!({"sessions": {"accessTokenSeconds": "1"}}), "/sessions/accessTokenSeconds"),
    ];
    for (config, field) in rows {
        let refused = put(&rig, &config).await;
        let answer = (refused.status, refused.code());
        assert_eq!(answer, (400, "invalid-body".to_owned()), "{config}: {}", refused.text);
        assert_eq!(refused.json()["field"], field, "{config}: {}", refused.text);
    }
    assert_eq!(put(&rig, &json!({"passkeys": {"rpId": "not checked"}})).await.status, 200);
}

#[actix_web::test]
async fn roles_and_groups_make_what_a_user_is() {
    let rig = Rig::new().await;
    let people = json!({
        "roles": {
            "editor": {"includes": ["viewer"], "description": "Writes"},
            "viewer": {"includes": ["editor"], "description": ""},
        },
        "groups": {"staff": {"roles": ["editor"], "description": ""}},
    });
    let done = rig.ask("PUT", "roles", &[], &people.to_string()).await;
    assert_eq!((done.status, done.json()), (200, people.clone()), "{}", done.text);
    assert_eq!(rig.ask("GET", "roles", &[], "").await.json(), people);

    let session = sign_up(&rig, "ann@app.example").await;
    let user = format!("users/{}", session["user"]["id"].as_str().unwrap());
    let token = session["accessToken"].as_str().unwrap();
    let roles = async || {
        let scope = caller::in_project(&rig.shared, token, "p").await.unwrap();
        let Principal::User(auth) = scope.principal else { panic!("not a user") };
        auth.roles.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(roles().await.is_empty());
    // The token that there is tells otherwise, and does not count.
    let put = rig.ask("PATCH", &user, &[], r#"{"groups":["staff"]}"#).await;
    assert_eq!(put.status, 200, "{}", put.text);
    assert_eq!(roles().await, ["editor", "viewer"]);

    let many = |count: usize| {
        let roles: serde_json::Map<_, _> =
            (0..count).map(|number| (format!("r{number}"), json!({}))).collect();
        json!({"roles": roles}).to_string()
    };
    rig.table(&[
        ("PUT", "roles", r#"{"roles":{"a b":{}}}"#, 400, "invalid-body"),
        ("PUT", "roles", r#"{"roles":{"a":{"includes":["_"]}}}"#, 400, "invalid-body"),
        ("PUT", "roles", r#"{"groups":{"g":{"roles":[7]}}}"#, 400, "invalid-body"),
        ("PUT", "roles", r#"{"rules":{}}"#, 400, "invalid-body"),
        ("PUT", "roles", &many(501), 400, "invalid-body"),
        ("PUT", "roles", &many(499), 200, ""),
        ("PUT", "roles", "{}", 200, ""),
    ])
    .await;
    assert!(roles().await.is_empty());
}

#[actix_web::test]
async fn a_retired_key_proves_tokens_until_it_is_gone() {
    let rig = Rig::new().await;
    let none = rig.ask("GET", "signing-keys", &[], "").await;
    assert_eq!(none.json(), json!({"signingKeys": []}));
    let first = sign_up(&rig, "ann@app.example").await;
    let old = first["accessToken"].as_str().unwrap();
    let me = async |token: &str| rig.ask_as(token, "GET", "auth/me", &[], "").await.status;
    assert_eq!(me(old).await, 200);

    let made = rig.ask("POST", "signing-keys", &[], r#"{"algorithm":"ES256"}"#).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let new_id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.json()["public"]["kty"], "EC");
    assert!(!made.text.contains("\"d\"") && made.json()["retiredAt"].is_null());
    let list = rig.ask("GET", "signing-keys", &[], "").await.json();
    let keys = list["signingKeys"].as_array().unwrap();
    let old_id = keys[0]["id"].as_str().unwrap();
    assert!(keys[0]["retiredAt"].is_string() && keys[1]["id"] == new_id.as_str());

    let body = r#"{"email":"ann@app.example","password":"long enough 1"}"#;
    let second = rig.ask_as("", "POST", "auth/sign-in", &[], body).await.json();
    let new = second["accessToken"].as_str().unwrap();
    assert_eq!((me(old).await, me(new).await), (200, 200));
    let (used, retired) = (format!("signing-keys/{new_id}"), format!("signing-keys/{old_id}"));
    rig.table(&[
        ("DELETE", &used, "", 404, "signing-key-not-found"),
        ("DELETE", "signing-keys/_none", "", 404, "signing-key-not-found"),
        ("DELETE", "signing-keys/a.b", "", 400, "invalid-id"),
        ("DELETE", &retired, "", 204, ""),
        ("DELETE", &retired, "", 404, "signing-key-not-found"),
        ("POST", "signing-keys", r#"{"algorithm":"HS256"}"#, 400, "invalid-body"),
    ])
    .await;
    assert_eq!((me(old).await, me(new).await), (401, 200));
    let published = rig.ask_as("", "GET", "auth/.well-known/jwks.json", &[], "").await.json();
    assert_eq!(published["keys"].as_array().unwrap().len(), 1);
    let key = [("Idempotency-Key", "k")];
    let once = rig.ask("POST", "signing-keys", &key, "{}").await.json();
    assert_eq!(rig.ask("POST", "signing-keys", &key, "{}").await.json(), once);
}
