use std::time::Duration;

use domain::sign_in::Secret;
use serde_json::json;

use super::*;
use crate::testing::{self, Issuer, NOW, Reply, Server, Signer, client, now};

const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier";
const ATTEMPT: Attempt<'static> = Attempt {
    redirect_uri: "https://app.example/callback",
    state: "the-state",
    nonce: "the-nonce",
    verifier: VERIFIER,
};

fn provider(kind: Preset, issuer: &str) -> Provider {
    Provider {
        kind,
        issuer: Some(issuer.to_owned()),
        client_id: "app".to_owned(),
        client_secret: Some(Secret("app-secret".to_owned())),
        ..Provider::default()
    }
}

fn claims(issuer: &Issuer) -> Value {
    json!({
        "iss": issuer.name(), "sub": "person-1", "aud": "app", "exp": NOW + 600, "iat": NOW,
        "nonce": "the-nonce", "email": "ada@app.example", "email_verified": true, "name": "Ada",
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn gives(issuer: &Issuer, id_token: &str) {
    let body = json!({"access_token": "access-1", "token_type": "Bearer", "id_token": id_token});
    issuer.server.on("POST /token", Reply::json(&body));
}

async fn come_back(client: &Client, provider: &Provider, query: &str) -> Result<Person, Error> {
    client.exchange(provider, &ATTEMPT, &Callback::read(query).unwrap(), now()).await
}

const GOOD: &str = "code=code-123&state=the-state";

/// Signs in with these claims.
async fn sign_in(issuer: &Issuer, claims: &Value) -> Result<Person, Error> {
    gives(issuer, &issuer.signer.sign(claims));
    come_back(&client(), &provider(Preset::Oidc, &issuer.name()), GOOD).await
}

fn query(url: &str) -> Vec<(String, String)> {
    reqwest::Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

fn value(url: &str, name: &str) -> Option<String> {
    query(url).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

#[tokio::test]
async fn people_are_sent_with_state_nonce_and_challenge() {
    let issuer = Issuer::start().await;
    let provider = provider(Preset::Oidc, &issuer.name());
    let url = client().begin(&provider, &ATTEMPT, &[]).await.unwrap();
    assert!(url.starts_with(&format!("{}/authorize?kind=web&", issuer.name())), "{url}");
    // Of this verifier, by `printf %s … | openssl dgst -sha256 -binary | basenc --base64url`.
    let challenge = "fD3GLJ_KzCDB0w6uDOSFNNdflrHwtv8Cizh6P5pJkfQ";
    for (name, expected) in [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", "https://app.example/callback"),
        ("scope", "openid email profile"),
        ("state", "the-state"),
        ("nonce", "the-nonce"),
        ("code_challenge_method", "S256"),
        ("code_challenge", challenge),
    ] {
        assert_eq!(value(&url, name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(value(&url, "response_mode"), None);
    for bad in [
        Attempt { verifier: "short", ..ATTEMPT },
        Attempt { state: "", ..ATTEMPT },
        Attempt { nonce: "", ..ATTEMPT },
        Attempt { redirect_uri: "/callback", ..ATTEMPT },
    ] {
        let refused = client().begin(&provider, &bad, &[]).await;
        assert!(matches!(refused, Err(Error::Configuration(_))));
    }
}

#[tokio::test]
async fn somebody_signs_in() {
    let issuer = Issuer::start().await;
    let person = sign_in(&issuer, &claims(&issuer)).await.unwrap();
    assert_eq!(person.issuer, issuer.name());
    assert_eq!(person.subject, "person-1");
    assert_eq!(person.email.as_deref(), Some("ada@app.example"));
    assert!(person.email_verified);
    assert_eq!(person.name.as_deref(), Some("Ada"));
    let asked = &issuer.server.seen("POST /token")[0];
    assert_eq!(asked.headers["authorization"], "Basic YXBwOmFwcC1zZWNyZXQ=");
    assert_eq!(asked.form["grant_type"], "authorization_code");
    assert_eq!(asked.form["code"], "code-123");
    assert_eq!(asked.form["code_verifier"], VERIFIER);
    assert_eq!(asked.form["redirect_uri"], "https://app.example/callback");
    assert!(!asked.form.contains_key("client_secret"));
    // The address was in the token.
    assert!(issuer.server.seen("GET /userinfo").is_empty());
}

#[tokio::test]
async fn every_kind_of_key_can_sign() {
    use crate::algorithm::Algorithm;
    for signer in [
        Signer::ed25519("key"),
        Signer::rsa("key"),
        Signer::rsa("key").with(Algorithm::Ps256),
        Signer::rsa("key").with(Algorithm::Rs512),
    ] {
        let algorithm = signer.algorithm;
        let issuer = Issuer::start_with(signer).await;
        let person = sign_in(&issuer, &claims(&issuer)).await;
        assert!(person.is_ok(), "{algorithm:?}: {person:?}");
    }
}

#[tokio::test]
async fn a_callback_must_belong_to_the_attempt() {
    let issuer = Issuer::start().await;
    gives(&issuer, &issuer.signer.sign(&claims(&issuer)));
    let (client, provider) = (client(), provider(Preset::Oidc, &issuer.name()));
    for query in [
        "code=code-123&state=another",
        "code=code-123",
        "state=the-state",
        "code=&state=the-state",
        "code=code-123&state=the-state&iss=https%3A%2F%2Fevil.example",
        "error=access_denied&state=another",
    ] {
        let found = come_back(&client, &provider, query).await;
        assert!(matches!(found, Err(Error::InvalidToken(_))), "{query}: {found:?}");
    }
    assert!(issuer.server.seen("POST /token").is_empty());
    let named = format!("{GOOD}&iss={}", issuer.name());
    come_back(&client, &provider, &named).await.unwrap();
    assert!(Callback::read("code=1&code=2").is_err());
    assert!(Callback::read(&"a".repeat(CALLBACK_BYTES_MAX + 1)).is_err());
}

#[tokio::test]
async fn an_issuer_that_promised_to_name_itself_must() {
    let issuer = Issuer::start().await;
    let document =
        with(issuer.document(), "authorization_response_iss_parameter_supported", json!(true));
    issuer.server.on("GET /.well-known/openid-configuration", Reply::json(&document));
    let found = sign_in(&issuer, &claims(&issuer)).await;
    assert_eq!(found, Err(Error::InvalidToken("the callback is another issuer's")));
}

#[tokio::test]
async fn a_refusal_comes_in_the_issuers_words() {
    let issuer = Issuer::start().await;
    let (client, provider) = (client(), provider(Preset::Oidc, &issuer.name()));
    let denied = "error=access_denied&error_description=Not%0Anow&state=the-state";
    let found = come_back(&client, &provider, denied).await;
    assert_eq!(found, Err(Error::Refused("access_denied: Not now".to_owned())));

    let replayed = json!({
        "error": "invalid_grant", "error_description": "code-123 was used, app-secret!",
    });
    issuer.server.on("POST /token", Reply::json(&replayed).status(400));
    let found = come_back(&client, &provider, GOOD).await;
    assert_eq!(found, Err(Error::Refused("invalid_grant: … was used, …!".to_owned())));

    issuer.server.on("POST /token", Reply::json(&json!("no")).status(418));
    let found = come_back(&client, &provider, GOOD).await;
    assert_eq!(found, Err(Error::Refused("status 418".to_owned())));
    issuer.server.on("POST /token", Reply::json(&json!("no")).status(503));
    let found = come_back(&client, &provider, GOOD).await;
    assert!(matches!(found, Err(Error::Unreachable(_))));
}

#[tokio::test]
async fn a_client_that_one_way_does_not_prove_tries_the_other() {
    let issuer = Issuer::start().await;
    let methods = json!(["client_secret_basic", "client_secret_post"]);
    let document = with(issuer.document(), "token_endpoint_auth_methods_supported", methods);
    issuer.server.on("GET /.well-known/openid-configuration", Reply::json(&document));
    let no = json!({"error": "invalid_client", "error_description": "not so"});
    issuer.server.on("POST /token", Reply::json(&no).status(401));
    let (client, provider) = (client(), provider(Preset::Oidc, &issuer.name()));
    let found = come_back(&client, &provider, GOOD).await;
    assert_eq!(found, Err(Error::Refused("invalid_client: not so".to_owned())));
    let asked = issuer.server.seen("POST /token");
    assert_eq!(asked.len(), 2);
    assert!(asked[0].headers.contains_key("authorization"));
    assert_eq!(asked[1].form["client_secret"], "app-secret");
    assert!(!asked[1].headers.contains_key("authorization"));

    let no = json!({"error": "invalid_grant"});
    issuer.server.on("POST /token", Reply::json(&no).status(400));
    assert!(come_back(&client, &provider, GOOD).await.is_err());
    assert_eq!(issuer.server.seen("POST /token").len(), 3);
}

#[tokio::test]
async fn an_id_token_must_be_right_in_every_point() {
    let issuer = Issuer::start().await;
    let good = claims(&issuer);
    let invalid = [
        with(good.clone(), "nonce", json!("another")),
        with(good.clone(), "nonce", json!(null)),
        with(good.clone(), "aud", json!("other")),
        with(good.clone(), "aud", json!(["app", "other"])),
        with(good.clone(), "azp", json!("other")),
        with(good.clone(), "iss", json!("https://evil.example")),
        with(good.clone(), "exp", json!(null)),
        with(good.clone(), "iat", json!(null)),
        with(good.clone(), "sub", json!("")),
        with(good.clone(), "at_hash", json!("AAAA")),
    ];
    for claims in &invalid {
        let found = sign_in(&issuer, claims).await;
        assert!(matches!(found, Err(Error::InvalidToken(_))), "{claims}: {found:?}");
    }
    let late = with(good.clone(), "exp", json!(NOW - 31));
    assert_eq!(sign_in(&issuer, &late).await, Err(Error::Expired));
    let early = with(good.clone(), "nbf", json!(NOW + 31));
    assert_eq!(sign_in(&issuer, &early).await, Err(Error::NotYetValid));

    let both = with(with(good.clone(), "aud", json!(["app", "x"])), "azp", json!("app"));
    sign_in(&issuer, &both).await.unwrap();
    // The left half of the SHA-256 of `access-1`.
    let hash = URL_SAFE_NO_PAD.encode(&Sha256::digest("access-1")[..16]);
    sign_in(&issuer, &with(good, "at_hash", json!(hash))).await.unwrap();
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let issuer = Issuer::start_with(Signer::rsa("key-1")).await;
    let claims = claims(&issuer);
    let none = json!({"alg": "none", "typ": "JWT"});
    let hmac = json!({"alg": "HS256", "kid": "key-1"});
    let jwk = issuer.signer.jwk();
    let modulus = jwk["n"].as_str().unwrap().as_bytes();
    let other = Signer::es256("key-1");
    let embedded = with(other.header(), "jwk", other.jwk());
    let (encoded, signed) = (testing::encode(&claims), issuer.signer.sign(&claims));
    let bare = signed.rsplit_once('.').unwrap().0;
    for token in [
        format!("{}.{encoded}.", testing::encode(&none)),
        format!("{}.{encoded}.AAAA", testing::encode(&none)),
        format!("{bare}."),
        testing::sign_hs256(modulus, &hmac, &claims),
        testing::sign_hs256(jwk.to_string().as_bytes(), &hmac, &claims),
        testing::tamper(&signed),
        other.sign(&claims),
        other.sign_with(&embedded, &claims),
        "not a token".to_owned(),
        "A".repeat(40_000),
    ] {
        gives(&issuer, &token);
        let provider = provider(Preset::Oidc, &issuer.name());
        let found = come_back(&client(), &provider, GOOD).await;
        assert!(matches!(found, Err(Error::InvalidToken(_))), "{token}: {found:?}");
    }
}

#[tokio::test]
async fn a_new_key_is_found_while_the_old_is_kept() {
    let issuer = Issuer::start().await;
    let provider = provider(Preset::Oidc, &issuer.name());
    let client = testing::client_with(Duration::from_secs(5), Duration::from_secs(60));
    gives(&issuer, &issuer.signer.sign(&claims(&issuer)));
    come_back(&client, &provider, GOOD).await.unwrap();
    assert_eq!(issuer.server.seen("GET /keys").len(), 1);

    let next = Signer::es256("key-2");
    gives(&issuer, &next.sign(&claims(&issuer)));
    issuer.publish(&[&issuer.signer, &next]);
    come_back(&client, &provider, GOOD).await.unwrap();
    assert_eq!(issuer.server.seen("GET /keys").len(), 2);

    // Unknown keys do not make it ask again and again.
    gives(&issuer, &Signer::es256("key-3").sign(&claims(&issuer)));
    for _ in 0..3 {
        let found = come_back(&client, &provider, GOOD).await;
        assert!(matches!(found, Err(Error::InvalidToken(_))));
    }
    assert_eq!(issuer.server.seen("GET /keys").len(), 2);
    assert_eq!(issuer.server.seen("GET /.well-known/openid-configuration").len(), 1);
}

#[tokio::test]
async fn userinfo_tells_what_the_token_leaves_out() {
    let issuer = Issuer::start().await;
    let mut bare = claims(&issuer);
    bare.as_object_mut().unwrap().retain(|name, _| !name.starts_with("email"));
    let info = json!({
        "sub": "person-1", "email": "b@app.example", "email_verified": true, "name": "Other",
    });
    issuer.server.on("GET /userinfo", Reply::json(&info));
    let person = sign_in(&issuer, &bare).await.unwrap();
    assert_eq!(person.email.as_deref(), Some("b@app.example"));
    assert!(person.email_verified);
    assert_eq!(person.name.as_deref(), Some("Ada"));
    let asked = &issuer.server.seen("GET /userinfo")[0];
    assert_eq!(asked.headers["authorization"], "Bearer access-1");

    issuer.server.on("GET /userinfo", Reply::json(&with(info, "sub", json!("person-2"))));
    let found = sign_in(&issuer, &bare).await;
    assert_eq!(found, Err(Error::InvalidToken("userinfo is about somebody else")));
    issuer.server.on("GET /userinfo", Reply::json(&json!({})).status(500));
    assert!(matches!(sign_in(&issuer, &bare).await, Err(Error::Unreachable(_))));
}

#[tokio::test]
async fn apple_gets_a_signed_secret_and_posts_a_form() {
    let issuer = Issuer::start_with(Signer::rsa("key")).await;
    let key = Signer::es256("apple-key");
    let provider = Provider {
        client_secret: Some(Secret(key.pem())),
        team_id: Some("TEAM".to_owned()),
        key_id: Some("KEY".to_owned()),
        ..provider(Preset::Apple, &issuer.name())
    };
    let client = client();
    client.check(&provider).unwrap();
    let url = client.begin(&provider, &ATTEMPT, &[]).await.unwrap();
    assert_eq!(value(&url, "response_mode").as_deref(), Some("form_post"));
    let url = client.begin(&provider, &ATTEMPT, &["openid".to_owned()]).await.unwrap();
    assert_eq!(value(&url, "response_mode"), None);

    let mut claims = with(claims(&issuer), "email_verified", json!("true"));
    claims.as_object_mut().unwrap().remove("name");
    gives(&issuer, &issuer.signer.sign(&claims));
    let user = "%7B%22name%22%3A%7B%22firstName%22%3A%22Ada%22%2C%22lastName%22%3A%22L%22%7D%7D";
    let person = come_back(&client, &provider, &format!("{GOOD}&user={user}")).await.unwrap();
    assert_eq!(person.name.as_deref(), Some("Ada L"));
    assert!(person.email_verified);
    let asked = &issuer.server.seen("POST /token")[0];
    assert_eq!(asked.form["client_id"], "app");
    assert!(key.verifies(&asked.form["client_secret"]));
    assert!(!asked.headers.contains_key("authorization"));
}

#[tokio::test]
async fn microsoft_answers_for_each_tenant() {
    const TENANT: &str = "11111111-2222-3333-4444-555555555555";
    const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let issuer = Issuer::start().await;
    let base = issuer.name();
    let template = format!("{base}/{{tenantid}}/v2.0");
    let document = with(issuer.document(), "issuer", json!(template));
    let path = "GET /common/v2.0/.well-known/openid-configuration";
    issuer.server.on(path, Reply::json(&document));
    let personal = Signer::es256("personal");
    let keys = [
        with(issuer.signer.jwk(), "issuer", json!(template)),
        with(personal.jwk(), "issuer", json!(format!("{base}/{PERSONAL}/v2.0"))),
    ];
    issuer.server.on("GET /keys", Reply::json(&json!({ "keys": keys })));
    let provider = provider(Preset::Microsoft, &format!("{base}/common/v2.0"));
    let tenant = format!("{base}/{TENANT}/v2.0");
    let claims = with(with(claims(&issuer), "iss", json!(tenant)), "tid", json!(TENANT));

    gives(&issuer, &issuer.signer.sign(&claims));
    let person = come_back(&client(), &provider, GOOD).await.unwrap();
    assert_eq!(person.issuer, tenant);
    assert_eq!(person.email.as_deref(), Some("ada@app.example"));
    assert!(!person.email_verified);

    // The key for personal accounts, and a tenant that is not the one in the name.
    gives(&issuer, &personal.sign(&claims));
    assert!(come_back(&client(), &provider, GOOD).await.is_err());
    gives(&issuer, &issuer.signer.sign(&with(claims, "tid", json!(PERSONAL))));
    assert!(come_back(&client(), &provider, GOOD).await.is_err());
}

#[tokio::test]
async fn github_is_asked_who_it_is() {
    let server = Server::start().await;
    let provider = provider(Preset::Github, &server.base);
    let client = client();
    let url = client.begin(&provider, &ATTEMPT, &[]).await.unwrap();
    assert!(url.starts_with(&format!("{}/login/oauth/authorize?", server.base)), "{url}");
    assert_eq!(value(&url, "scope").as_deref(), Some("read:user user:email"));
    assert_eq!(value(&url, "code_challenge_method").as_deref(), Some("S256"));

    let token = json!({"access_token": "gho_1", "token_type": "bearer", "scope": "user:email"});
    server.on("POST /login/oauth/access_token", Reply::json(&token));
    let user = json!({
        "id": 583_231, "login": "ada", "name": null, "email": "public@app.example",
        "avatar_url": "https://pictures.example/1", "total_private_repos": 5,
    });
    server.on("GET /api/v3/user", Reply::json(&user));
    let emails = json!([
        {"email": "other@app.example", "primary": false, "verified": true, "visibility": null},
        {"email": "ada@app.example", "primary": true, "verified": true, "visibility": "private"},
    ]);
    server.on("GET /api/v3/user/emails", Reply::json(&emails));
    let person = come_back(&client, &provider, GOOD).await.unwrap();
    assert_eq!((person.issuer.as_str(), person.subject.as_str()), (&*server.base, "583231"));
    assert_eq!(person.email.as_deref(), Some("ada@app.example"));
    assert!(person.email_verified);
    assert_eq!(person.name.as_deref(), Some("ada"));
    assert_eq!(person.picture.as_deref(), Some("https://pictures.example/1"));
    assert!(!person.claims.contains_key("total_private_repos"));
    let asked = &server.seen("GET /api/v3/user")[0];
    assert_eq!(asked.headers["authorization"], "Bearer gho_1");
    assert_eq!(asked.headers["user-agent"], "headwater");

    let unverified = json!([{"email": "ada@app.example", "primary": true, "verified": false}]);
    server.on("GET /api/v3/user/emails", Reply::json(&unverified));
    assert!(!come_back(&client, &provider, GOOD).await.unwrap().email_verified);
    server.on("GET /api/v3/user/emails", Reply::json(&json!({})).status(403));
    let person = come_back(&client, &provider, GOOD).await.unwrap();
    assert_eq!(
        (person.email.as_deref(), person.email_verified),
        (Some("public@app.example"), false)
    );

    let replayed = json!({"error": "bad_verification_code", "error_description": "It expired."});
    server.on("POST /login/oauth/access_token", Reply::json(&replayed));
    let found = come_back(&client, &provider, GOOD).await;
    assert_eq!(found, Err(Error::Refused("bad_verification_code: It expired.".to_owned())));
}

#[tokio::test]
async fn an_app_brings_an_id_token_of_its_platform() {
    let issuer = Issuer::start().await;
    let mut provider = provider(Preset::Oidc, &issuer.name());
    provider.audiences = vec!["app.ios".to_owned()];
    let client = client();
    let hash: String =
        Sha256::digest("raw-nonce").iter().map(|byte| format!("{byte:02x}")).collect();
    let claims = with(with(claims(&issuer), "aud", json!("app.ios")), "nonce", json!(hash));
    let token = issuer.signer.sign(&claims);
    let verify =
        |nonce: Option<&'static str>| client.verify_id_token(&provider, &token, nonce, now());
    assert_eq!(verify(Some("raw-nonce")).await.unwrap().subject, "person-1");
    assert!(verify(None).await.is_err());
    assert!(verify(Some("another")).await.is_err());

    let other = issuer.signer.sign(&with(claims.clone(), "aud", json!("other")));
    let found = client.verify_id_token(&provider, &other, Some("raw-nonce"), now()).await;
    assert_eq!(found, Err(Error::InvalidToken("it is meant for somebody else")));
    let later = Timestamp::from_micros((NOW + 3600) * 1_000_000);
    let found = client.verify_id_token(&provider, &token, Some("raw-nonce"), later).await;
    assert_eq!(found, Err(Error::Expired));
    // What has expired is only said of a token that was once good.
    let forged = testing::tamper(&token);
    let found = client.verify_id_token(&provider, &forged, Some("raw-nonce"), later).await;
    assert!(matches!(found, Err(Error::InvalidToken(_))));
}
