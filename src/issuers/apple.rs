//! What Apple does its own way: the app proves itself with a token that it signs, and a person's
//! name comes beside the token, once.

use domain::Timestamp;
use domain::sign_in::Provider;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
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
    let key = EncodingKey::from_ec_pem(pem.0.trim().as_bytes()).map_err(|_| unfit())?;
    let now = now.as_micros() / 1_000_000;
    let claims = json!({
        "iss": team, "iat": now, "exp": now + PROOF_SECONDS, "aud": AUDIENCE,
        "sub": provider.client_id,
    });
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(key_id);
    jsonwebtoken::encode(&header, &claims, &key).map_err(|_| unfit())
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
    use crate::testing::Signer;

    #[test]
    fn the_proof_is_what_apple_asks_for() {
        let signer = Signer::es256("key");
        let mut provider = Provider {
            kind: Preset::Apple,
            client_id: "app.example.web".to_owned(),
            client_secret: Some(Secret(signer.pem())),
            team_id: Some("TEAM".to_owned()),
            key_id: Some("KEY".to_owned()),
            ..Provider::default()
        };
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

    #[test]
    fn a_name_is_put_together() {
        let user = r#"{"name":{"firstName":"Ada","lastName":"L."},"email":"evil@b.c"}"#;
        assert_eq!(name(user).as_deref(), Some("Ada L."));
        assert_eq!(name(r#"{"name":{"lastName":"L."}}"#).as_deref(), Some("L."));
        assert_eq!(name("{}"), None);
        assert_eq!(name("not JSON"), None);
    }
}
