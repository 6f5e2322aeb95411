//! What Apple does its own way: the app proves itself with a token that it signs, and a person's
//! name comes beside the token, once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::Timestamp;
use domain::sign_in::Provider;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::{Error, person};

/// What the proof is meant for, whatever the issuer is called here.
const AUDIENCE: &str = "https://appleid.apple.com";
/// How long the proof is good. Apple takes up to six months; it is made anew for every use.
const PROOF_SECONDS: i64 = 300;

/// The proof: a token signed with the app's private key (ES256), as Apple's "Creating a client
/// secret" says.
///
/// Errors: [`Error::Configuration`] when something is missing, or the key is none.
pub(crate) fn client_secret(provider: &Provider, now: Timestamp) -> Result<String, Error> {
    let missing = |what: &str| Error::Configuration(format!("Apple needs the {what}"));
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let team = given(&provider.team_id).ok_or_else(|| missing("team id"))?;
    let key_id = given(&provider.key_id).ok_or_else(|| missing("key id"))?;
    let pem = provider.client_secret.as_ref().ok_or_else(|| missing("private key"))?;
    let unfit =
        || Error::Configuration("the private key must be an EC key (P-256, PEM)".to_owned());
    let now = now.as_micros() / 1_000_000;
    let claims = json!({
        "iss": team, "iat": now, "exp": now + PROOF_SECONDS, "aud": AUDIENCE,
        "sub": provider.client_id,
    });
    let header = json!({ "alg": "ES256", "kid": key_id, "typ": "JWT" });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = sign(pem.0.trim(), signed.as_bytes()).ok_or_else(unfit)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// An ES256 signature by a key in PKCS #8 that has its public half with it, as Apple's do. `None`
/// when it is no such key.
fn sign(pem: &str, message: &[u8]) -> Option<Vec<u8>> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (scheme, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let key = EcdsaKeyPair::from_pkcs8(scheme, key.secret_pkcs8_der(), &random).ok()?;
    Some(key.sign(&random, message).ok()?.as_ref().to_vec())
}

/// The name in the `user` field that comes with somebody's first sign-in. The browser brings it
/// and nobody signs it, so nothing else in there is taken.
pub(crate) fn name(user: &str) -> Option<String> {
    let user: Value = serde_json::from_str(user).ok()?;
    let part = |part: &str| user.get("name")?.get(part)?.as_str();
    let parts = [part("firstName"), part("lastName")];
    person::name(Some(&parts.into_iter().flatten().collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use domain::sign_in::{Preset, Secret};

    use super::*;
    use crate::jwt::Token;
    use crate::testing::{Signer, pem};

    fn provider(key: String) -> Provider {
        Provider {
            kind: Preset::Apple,
            client_id: "app.example.web".to_owned(),
            client_secret: Some(Secret(key)),
            team_id: Some("TEAM".to_owned()),
            key_id: Some("KEY".to_owned()),
            ..Provider::default()
        }
    }

    #[test]
    fn the_proof_is_what_apple_asks_for() {
        let signer = Signer::es256("key");
        let mut provider = provider(signer.pem());
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let secret = client_secret(&provider, now).unwrap();
        let token = Token::read(&secret, 4096).unwrap();
        assert_eq!(token.header.alg, "ES256");
        assert_eq!(token.header.kid.as_deref(), Some("KEY"));
        let expected = json!({
            "iss": "TEAM", "iat": 1_700_000_000, "exp": 1_700_000_300,
            "aud": "https://appleid.apple.com", "sub": "app.example.web",
        });
        assert_eq!(Value::Object(token.claims.clone()), expected);
        assert!(signer.verifies(&secret));

        provider.client_secret = Some(Secret("-----BEGIN secret text".to_owned()));
        let error = client_secret(&provider, now).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("secret text"));
        provider.key_id = None;
        assert!(matches!(client_secret(&provider, now), Err(Error::Configuration(_))));
    }

    fn der(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).unwrap();
        let long: &[u8] = if length < 0x80 { &[] } else { &[0x81] };
        [&[tag], long, &[length], body].concat()
    }

    /// The number that P-256 is known by (RFC 5480 section 2.1.1.1).
    const CURVE: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

    /// The key in PKCS #8, with `rest` after its private number (RFC 5915).
    fn with_rest(signer: &Signer, rest: &[u8]) -> String {
        let kind = [&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..], &CURVE].concat();
        let number = der(4, &signer.der[36..68]);
        let inner = der(0x30, &[&[2, 1, 1][..], &number, rest].concat());
        let outer = [&[2, 1, 0][..], &der(0x30, &kind), &der(4, &inner)];
        pem(&der(0x30, &outer.concat()))
    }

    #[test]
    fn a_key_is_taken_as_apple_writes_it() {
        let signer = Signer::es256("key");
        let point = &signer.der[signer.der.len() - 65..];
        let public = der(0xa1, &der(3, &[&[0][..], point].concat()));
        // Apple names the curve a second time, inside.
        let text = with_rest(&signer, &[der(0xa0, &CURVE), public.clone()].concat());
        assert!(text.contains("MIGTAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBHkwdwIBAQQg"));
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        for text in [
            text.clone(),
            with_rest(&signer, &public),
            text.replace('\n', "\r\n"),
            format!("\n {}", text.trim()),
        ] {
            let secret = client_secret(&provider(text), now).unwrap();
            assert!(signer.verifies(&secret));
        }
        for text in [
            with_rest(&signer, &[]),
            text.replace("PRIVATE KEY", "EC PRIVATE KEY"),
            Signer::ed25519("key").pem(),
            Signer::rsa("key").pem(),
            text.replace("-----END PRIVATE KEY-----", ""),
            String::new(),
        ] {
            let found = client_secret(&provider(text), now);
            assert!(matches!(found, Err(Error::Configuration(_))), "{found:?}");
        }
    }

    #[test]
    fn a_name_is_put_together() {
        let user = r#"{"name":{"firstName":"Ada","lastName":"L."},"email":"evil@b.c"}"#;
        assert_eq!(name(user).as_deref(), Some("Ada L."));
        assert_eq!(name(r#"{"name":{"lastName":"L."}}"#).as_deref(), Some("L."));
        assert_eq!(name("{}"), None);
        assert_eq!(name("not JSON"), None);
    }
}
