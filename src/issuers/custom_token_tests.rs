use serde_json::json;

use super::*;
use crate::testing::{self, NOW, Signer, now};

fn key(signer: &Signer) -> Map<String, Value> {
    signer.jwk().as_object().unwrap().clone()
}

fn claims() -> Value {
    json!({
        "sub": "user-1", "aud": "headwater:project-1", "iat": NOW, "exp": NOW + 3600,
        "claims": {"plan": "gold"}, "roles": ["editor"], "jti": "token-1",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn take(signer: &Signer, claims: &Value) -> Result<Custom, Error> {
    verify(&[key(signer)], &signer.sign(claims), "project-1", now())
}

#[test]
fn a_token_of_the_apps_server_is_taken() {
    for signer in [
        Signer::ed25519("a"),
        Signer::es256("a"),
        Signer::rsa("a"),
        Signer::rsa("a").with(Algorithm::Ps256),
    ] {
        let custom = take(&signer, &claims()).unwrap();
        assert_eq!(custom.uid, "user-1");
        assert_eq!(Value::Object(custom.claims), json!({"plan": "gold"}));
        assert_eq!(custom.roles, Some(vec!["editor".to_owned()]));
        assert_eq!(custom.token_id.as_deref(), Some("token-1"));
        assert_eq!(custom.expires_at.as_micros(), (NOW + 3600) * 1_000_000);
    }
    let signer = Signer::ed25519("a");
    let bare = json!({
        "sub": "u", "aud": ["headwater:project-1"], "iat": NOW - 5, "exp": NOW + 5,
    });
    let custom = take(&signer, &bare).unwrap();
    assert_eq!((custom.roles, custom.token_id, custom.claims), (None, None, Map::new()));
}

#[test]
fn a_token_must_be_right_in_every_point() {
    let signer = Signer::ed25519("a");
    for claims in [
        with("aud", json!("headwater:project-2")),
        with("aud", json!(["headwater:project-1", "headwater:project-2"])),
        with("aud", json!(null)),
        with("exp", json!(null)),
        with("exp", json!(NOW + 3601)),
        with("exp", json!(NOW)),
        with("iat", json!(null)),
        with("sub", json!("")),
        with("sub", json!("a".repeat(256))),
        with("sub", json!("a\nb")),
        with("claims", json!([])),
        with("roles", json!("editor")),
        with("roles", json!([1])),
        with("roles", json!(vec!["a"; 101])),
        with("jti", json!("")),
    ] {
        let found = take(&signer, &claims);
        assert!(matches!(found, Err(Error::InvalidToken(_))), "{claims}: {found:?}");
    }
    let mut late = with("exp", json!(NOW - 30));
    late["iat"] = json!(NOW - 60);
    assert_eq!(take(&signer, &late), Err(Error::Expired));
    let mut early = with("exp", json!(NOW + 600));
    early["iat"] = json!(NOW + 31);
    assert_eq!(take(&signer, &early), Err(Error::NotYetValid));
}

#[test]
fn only_the_projects_keys_and_their_algorithms_count() {
    let (first, second) = (Signer::es256("a"), Signer::ed25519("b"));
    let keys = [key(&first), key(&second)];
    let verify = |token: &str| verify(&keys, token, "project-1", now());
    verify(&second.sign(&claims())).unwrap();
    verify(&second.sign_with(&json!({"alg": "EdDSA"}), &claims())).unwrap();
    let public = json!(keys[0]).to_string();
    for token in [
        Signer::es256("a").sign(&claims()),
        Signer::es256("c").sign(&claims()),
        testing::tamper(&first.sign(&claims())),
        testing::sign_hs256(public.as_bytes(), &json!({"alg": "HS256", "kid": "a"}), &claims()),
        format!("{}.{}.", testing::encode(&json!({"alg": "none"})), testing::encode(&claims())),
        first.sign_with(&json!({"alg": "EdDSA", "kid": "b"}), &claims()),
        "a".repeat(TOKEN_BYTES_MAX + 1),
    ] {
        assert!(matches!(verify(&token), Err(Error::InvalidToken(_))), "{token}");
    }
    let strong = Signer::rsa("a").with(Algorithm::Rs512);
    assert!(matches!(take(&strong, &claims()), Err(Error::InvalidToken(_))));
    let none = super::verify(&[], &first.sign(&claims()), "project-1", now());
    assert!(matches!(none, Err(Error::Configuration(_))));
}

#[test]
fn keys_that_must_not_be_named_are_refused() {
    let good = key(&Signer::es256("a"));
    check_key(&good).unwrap();
    let symmetric = json!({"kty": "oct", "k": "c2VjcmV0"});
    let mut private = good.clone();
    private.insert("d".to_owned(), json!("secret"));
    let mut strange = key(&Signer::rsa("a"));
    strange.insert("alg".to_owned(), json!("RS512"));
    for jwk in [symmetric.as_object().unwrap(), &private, &strange, &Map::new()] {
        assert!(matches!(check_key(jwk), Err(Error::Configuration(_))), "{jwk:?}");
    }
}
