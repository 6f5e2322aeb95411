use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{self, NOW, Reply, Signer, client, now};

fn named(issuer: &testing::Issuer) -> Issuer {
    Issuer {
        issuer: issuer.name(),
        jwks_url: None,
        audiences: vec!["api".to_owned()],
        roles_claim: Some("realm_access.roles".to_owned()),
    }
}

fn claims(issuer: &testing::Issuer) -> Value {
    json!({
        "iss": issuer.name(), "sub": "person-1", "aud": ["account", "api"], "exp": NOW + 600,
        "iat": NOW, "auth_time": NOW - 60, "realm_access": {"roles": ["editor", "author"]},
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

#[tokio::test]
async fn a_token_of_another_issuer_is_taken() {
    let issuer = testing::Issuer::start().await;
    let token = issuer.signer.sign(&claims(&issuer));
    let foreign = client().verify_foreign(&[named(&issuer)], &token, now()).await.unwrap();
    assert_eq!(foreign.issuer, issuer.name());
    assert_eq!(foreign.subject, "person-1");
    assert_eq!(foreign.roles, ["editor", "author"]);
    assert_eq!(foreign.expires_at, at(NOW + 600));
    assert_eq!(foreign.issued_at, Some(at(NOW)));
    assert_eq!(foreign.auth_time, Some(at(NOW - 60)));
    assert_eq!(peek_issuer(&token), Some(issuer.name()));
}

#[tokio::test]
async fn keys_may_be_elsewhere() {
    let issuer = testing::Issuer::start_with(Signer::rsa("key")).await;
    let keys = Some(format!("{}/keys", issuer.name()));
    let elsewhere = Issuer { issuer: "urn:other".to_owned(), jwks_url: keys, ..named(&issuer) };
    let claims = with(claims(&issuer), "iss", json!("urn:other"));
    let token = issuer.signer.sign(&claims);
    client().verify_foreign(&[named(&issuer), elsewhere], &token, now()).await.unwrap();
    assert!(issuer.server.seen("GET /.well-known/openid-configuration").is_empty());
}

#[tokio::test]
async fn a_token_must_be_right_in_every_point() {
    let issuer = testing::Issuer::start().await;
    let (client, issuers) = (client(), [named(&issuer)]);
    let good = claims(&issuer);
    for claims in [
        with(good.clone(), "iss", json!("https://evil.example")),
        with(good.clone(), "iss", json!(null)),
        with(good.clone(), "aud", json!("other")),
        with(good.clone(), "aud", json!(null)),
        with(good.clone(), "exp", json!(null)),
        with(good.clone(), "sub", json!(null)),
        with(good.clone(), "padding", json!("a".repeat(TOKEN_BYTES_MAX))),
    ] {
        let found = client.verify_foreign(&issuers, &issuer.signer.sign(&claims), now()).await;
        assert!(matches!(found, Err(Error::InvalidToken(_))), "{claims}: {found:?}");
    }
    let late = issuer.signer.sign(&with(good.clone(), "exp", json!(NOW - 30)));
    assert_eq!(client.verify_foreign(&issuers, &late, now()).await, Err(Error::Expired));
    let early = issuer.signer.sign(&with(good.clone(), "nbf", json!(NOW + 31)));
    assert_eq!(client.verify_foreign(&issuers, &early, now()).await, Err(Error::NotYetValid));
    let edge = issuer.signer.sign(&with(good.clone(), "exp", json!(NOW - 29)));
    client.verify_foreign(&issuers, &edge, now()).await.unwrap();

    let jwk = issuer.signer.jwk().to_string();
    let hmac = json!({"alg": "HS256", "kid": "key-1"});
    let none = json!({"alg": "none", "kid": "key-1"});
    for token in [
        testing::sign_hs256(jwk.as_bytes(), &hmac, &good),
        format!("{}.{}.", testing::encode(&none), testing::encode(&good)),
        Signer::es256("key-1").sign(&good),
        testing::tamper(&issuer.signer.sign(&good)),
    ] {
        let found = client.verify_foreign(&issuers, &token, now()).await;
        assert!(matches!(found, Err(Error::InvalidToken(_))), "{found:?}");
    }
}

#[tokio::test]
async fn a_verified_token_is_remembered_but_not_for_others_or_for_long() {
    let issuer = testing::Issuer::start().await;
    let client = testing::client_with(Duration::from_secs(5), Duration::ZERO);
    let ours = named(&issuer);
    let token = issuer.signer.sign(&claims(&issuer));
    client.verify_foreign(std::slice::from_ref(&ours), &token, now()).await.unwrap();
    // The issuer takes its key back, and the client knows.
    let other = Signer::es256("key-2");
    issuer.publish(&[&other]);
    let news = other.sign(&claims(&issuer));
    client.verify_foreign(std::slice::from_ref(&ours), &news, now()).await.unwrap();

    client.verify_foreign(std::slice::from_ref(&ours), &token, at(NOW + 299)).await.unwrap();
    let found = client.verify_foreign(std::slice::from_ref(&ours), &token, at(NOW + 300)).await;
    assert!(matches!(found, Err(Error::InvalidToken(_))));
    let theirs = Issuer { roles_claim: None, ..ours.clone() };
    let found = client.verify_foreign(&[theirs], &token, now()).await;
    assert!(matches!(found, Err(Error::InvalidToken(_))));
    let strange = Issuer { audiences: vec!["other".to_owned()], ..ours.clone() };
    let found = client.verify_foreign(&[strange], &token, now()).await;
    assert_eq!(found, Err(Error::InvalidToken("it is meant for somebody else")));
}

#[tokio::test]
async fn a_remembered_token_expires_all_the_same() {
    let issuer = testing::Issuer::start().await;
    let (client, issuers) = (client(), [named(&issuer)]);
    let token = issuer.signer.sign(&with(claims(&issuer), "exp", json!(NOW + 10)));
    client.verify_foreign(&issuers, &token, now()).await.unwrap();
    let found = client.verify_foreign(&issuers, &token, at(NOW + 41)).await;
    assert_eq!(found, Err(Error::Expired));
}

#[tokio::test]
async fn an_issuer_that_is_away_is_told_from_a_bad_token() {
    let issuer = testing::Issuer::start().await;
    issuer.server.on("GET /keys", Reply::json(&json!({})).status(500));
    let token = issuer.signer.sign(&claims(&issuer));
    let found = client().verify_foreign(&[named(&issuer)], &token, now()).await;
    assert!(matches!(found, Err(Error::Unreachable(_))));
}

#[test]
fn the_cache_of_tokens_is_bounded() {
    let verified = Verified::default();
    let by =
        Issuer { issuer: "a".to_owned(), jwks_url: None, audiences: Vec::new(), roles_claim: None };
    let claims = json!({"sub": "me", "exp": NOW}).as_object().unwrap().clone();
    let one = Arc::new(foreign(&by, claims, now()).unwrap());
    let digest = |number: usize| <[u8; 32]>::from(Sha256::digest(number.to_le_bytes()));
    for number in 0..3 * VERIFIED_MAX {
        verified.keep(digest(number), &by, &one, now());
    }
    let halves = verified.halves.lock();
    assert_eq!(halves.0.len() + halves.1.len(), 2 * VERIFIED_MAX);
    drop(halves);
    assert!(verified.get(&digest(0), &by, now()).is_none());
    assert!(verified.get(&digest(3 * VERIFIED_MAX - 1), &by, now()).is_some());
}

#[test]
fn roles_are_found_by_path_or_by_name() {
    let claims = json!({
        "roles": ["a", 1, "", "b"], "scope": "read write", "deep": {"er": {"roles": ["c"]}},
        "https://app.example/roles": ["d"], "many": vec!["x"; 500], "flag": true,
    });
    let of = |path: &str| roles(claims.as_object().unwrap(), path);
    assert_eq!(of("roles"), ["a", "b"]);
    assert_eq!(of("scope"), ["read", "write"]);
    assert_eq!(of("deep.er.roles"), ["c"]);
    assert_eq!(of("https://app.example/roles"), ["d"]);
    assert_eq!(of("many").len(), ROLES_MAX);
    for path in ["flag", "deep", "deep.er.none", "none", "", "."] {
        assert!(of(path).is_empty(), "{path}");
    }
}

proptest! {
    #[test]
    fn peeking_never_panics(text in "[A-Za-z0-9_.-]{0,300}") {
        let _ = peek_issuer(&text);
    }

    #[test]
    fn an_issuer_is_peeked_as_it_is(name in "\\PC{0,50}") {
        let claims = testing::encode(&json!({ "iss": name.clone() }));
        prop_assert_eq!(peek_issuer(&format!("e30.{claims}.AA")), Some(name));
    }
}
