//! What a stranger sends to sign in. A token that nobody signed is never good; a signed one, with
//! whatever header (the input's first line) and claims (the rest), is good only if it says what it
//! must. A refresh token has one spelling. A redirect stays where the project listed it.
#![no_main]

use std::sync::LazyLock;

use auth::access_token::{Algorithm, Cache, Issuer, SigningKey, Verifier};
use auth::redirect::checked;
use auth::refresh::RefreshToken;
use data_encoding::BASE64URL_NOPAD;
use domain::Timestamp;
use libfuzzer_sys::fuzz_target;
use ring::signature::Ed25519KeyPair;

const ISSUER: &str = "https://hw.example";
const PROJECT: &str = "p1";
const NOW_SECONDS: i64 = 1_800_000_000;

struct Signed {
    pair: Ed25519KeyPair,
    issuer: Issuer,
    verifier: Verifier,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    // A key of zeros, so that the seeds can name it.
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let private = [&prefix[..], &[0; 32]].concat();
    let key = SigningKey::from_pkcs8(Algorithm::EdDsa, &private).expect("a key");
    let keys = [key.public().clone()];
    Signed {
        pair: Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private).expect("a key"),
        issuer: Issuer::new(key),
        verifier: Verifier::new(keys, ISSUER, PROJECT, &Cache::new(1 << 16)),
    }
});

fuzz_target!(|text: &str| {
    let now = Timestamp::from_micros(NOW_SECONDS * 1_000_000);
    assert!(SIGNED.verifier.verify(text, now).is_err(), "nobody signed it");
    let (header, claims) = text.split_once('\n').unwrap_or(("", text));
    signed(header, claims, now);
    refresh(text);
    redirect(text);
});

fn signed(header: &str, claims: &str, now: Timestamp) {
    let kid = SIGNED.issuer.key().id();
    let right = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#);
    for header in [header, &right] {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = BASE64URL_NOPAD.encode(SIGNED.pair.sign(message.as_bytes()).as_ref());
        let token = format!("{message}.{signature}");
        let Ok(claims) = SIGNED.verifier.verify(&token, now) else { continue };
        assert_eq!((claims.iss.as_str(), claims.aud.as_str()), (ISSUER, PROJECT));
        assert!(claims.exp > NOW_SECONDS - 60 && claims.iat < NOW_SECONDS + 60);
        let header: serde_json::Value = serde_json::from_str(header).expect("a header");
        assert_eq!(header["alg"], "EdDSA");
        assert_eq!(header["kid"], kid);
        let _ = claims.auth();
        if let Ok(again) = SIGNED.issuer.sign(&claims) {
            assert_eq!(SIGNED.verifier.verify(&again, now).as_ref(), Ok(&claims));
        }
    }
}

fn refresh(text: &str) {
    if let Ok(token) = RefreshToken::parse(text) {
        assert_eq!(token.text(), text);
        assert!(token.matches(&token.hash()));
    }
}

fn redirect(text: &str) {
    let listed = ["https://app.example/auth/*", "http://127.0.0.1:3000/cb", "myapp://callback"];
    let Some(url) = checked(text, &listed.map(str::to_owned), None) else { return };
    assert_eq!(checked(url.as_str(), &listed.map(str::to_owned), None), Some(url.clone()));
    let is_listed = url.as_str().starts_with("https://app.example/auth/")
        || url.as_str() == "http://127.0.0.1:3000/cb"
        || text == "myapp://callback";
    assert!(is_listed, "{text} is {url}");
}
