//! Public keys of issuers (JWK, RFC 7517), each with the algorithms that it may verify. Symmetric
//! keys do not exist in here, so no token can be verified by something that is public.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use crate::Error;
use crate::jwt::Token;

/// How many keys of a set are looked at.
const KEYS_MAX: usize = 100;
/// How many keys a token is tried with.
const TRIES_MAX: usize = 8;
/// RSA keys that are strong enough, and those that can be used, by their modulus in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A public key.
pub(crate) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
    /// Microsoft: the issuer, or its template, whose tokens the key signs.
    issuer: Option<String>,
}

impl Key {
    /// Reads a key that verifies signatures; the error says what is wrong with it.
    pub(crate) fn read(jwk: &Map<String, Value>) -> Result<Self, &'static str> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|usage| usage != "sig") {
            return Err("the key is not for signatures");
        }
        if let Some(operations) = jwk.get("key_ops").and_then(Value::as_array)
            && !operations.iter().any(|operation| operation == "verify")
        {
            return Err("the key is not for verifying");
        }
        let (family, key) = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => (&RSA[..], rsa(text("n"), text("e"))?),
            (Some("EC"), Some("P-256")) => (&[Algorithm::ES256][..], ec(&text, 32)?),
            (Some("EC"), Some("P-384")) => (&[Algorithm::ES384][..], ec(&text, 48)?),
            (Some("OKP"), Some("Ed25519")) => (&[Algorithm::EdDSA][..], ed(text("x"))?),
            (Some("oct"), _) => return Err("the key is symmetric"),
            _ => return Err("the kind of key is not supported"),
        };
        let algorithms = match jwk.get("alg") {
            None => family.to_vec(),
            Some(named) => {
                let named = named.as_str().and_then(algorithm);
                let named = named.filter(|algorithm| family.contains(algorithm));
                vec![named.ok_or("the key's alg does not fit it")?]
            }
        };
        let owned = |name: &str| text(name).map(str::to_owned);
        Ok(Self { id: owned("kid"), algorithms, key, issuer: owned("issuer") })
    }

    /// The same key for fewer algorithms; `None` when none is left.
    pub(crate) fn only(mut self, algorithms: &[Algorithm]) -> Option<Self> {
        self.algorithms.retain(|algorithm| algorithms.contains(algorithm));
        (!self.algorithms.is_empty()).then_some(self)
    }

    /// The issuer, or its template, whose tokens the key signs; only Microsoft says so.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    fn fits(&self, id: Option<&str>) -> bool {
        match (id, &self.id) {
            (Some(asked), Some(id)) => asked == id,
            _ => true,
        }
    }

    fn verifies(&self, token: &Token<'_>, algorithm: Algorithm) -> bool {
        let signed = token.signed.as_bytes();
        jsonwebtoken::crypto::verify(token.signature, signed, &self.key, algorithm).unwrap_or(false)
    }
}

/// An asymmetric signature algorithm by its name (RFC 7518 section 3.1, RFC 8037, RFC 9864).
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "Ed25519" => Some(Algorithm::EdDSA),
        "HS256" | "HS384" | "HS512" => None,
        name => name.parse().ok(),
    }
}

fn bytes(text: Option<&str>) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text?).ok()
}

fn rsa(n: Option<&str>, e: Option<&str>) -> Result<DecodingKey, &'static str> {
    let (Some(mut n), Some(e)) = (bytes(n), bytes(e)) else {
        return Err("the key's parts are not base64url");
    };
    let zeros = n.iter().take_while(|byte| **byte == 0).count();
    n.drain(..zeros);
    if !RSA_BYTES.contains(&n.len()) {
        return Err("an RSA key must have 2048 to 4096 bits");
    }
    if e.is_empty() || e.len() > 4 {
        return Err("the RSA key's exponent can't be used");
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn ec<'a>(
    text: &impl Fn(&str) -> Option<&'a str>,
    length: usize,
) -> Result<DecodingKey, &'static str> {
    let (Some(x), Some(y)) = (text("x"), text("y")) else { return Err("the key lacks x or y") };
    if [x, y].iter().any(|part| bytes(Some(part)).is_none_or(|part| part.len() != length)) {
        return Err("the key's parts have the wrong length");
    }
    DecodingKey::from_ec_components(x, y).map_err(|_| "the key's parts can't be read")
}

fn ed(x: Option<&str>) -> Result<DecodingKey, &'static str> {
    match bytes(x) {
        Some(x) if x.len() == 32 => Ok(DecodingKey::from_ed_der(&x)),
        _ => Err("the key's part has the wrong length"),
    }
}

/// The keys that an issuer publishes.
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

/// What keys say of a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One of them signed it.
    Signed,
    /// None of them is the one that it names, or it names none and none of them signed it.
    NoSuchKey,
}

impl KeySet {
    /// Keys that are already read.
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        Self { keys }
    }

    /// Reads a set, leaving out keys of kinds that are not known (RFC 7517 section 5). `None` when
    /// it is no set.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let set: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let keys = set.get("keys")?.as_array()?.iter().take(KEYS_MAX);
        let keys = keys.filter_map(|key| Key::read(key.as_object()?).ok());
        Some(Self { keys: keys.collect() })
    }

    /// Verifies a token's signature by those keys that `admits` lets through.
    ///
    /// Errors: [`Error::InvalidToken`] when its algorithm is none that a key of this issuer may
    /// verify, or when the key that it names did not sign it.
    pub(crate) fn verify(
        &self,
        token: &Token<'_>,
        admits: impl Fn(&Key) -> bool,
    ) -> Result<Verdict, Error> {
        let algorithm = algorithm(&token.header.alg).ok_or(Error::InvalidToken(ALGORITHM))?;
        let id = token.header.kid.as_deref();
        let named: Vec<&Key> = self.keys.iter().filter(|key| key.fits(id) && admits(key)).collect();
        let fitting = named.iter().filter(|key| key.algorithms.contains(&algorithm));
        if fitting.take(TRIES_MAX).any(|key| key.verifies(token, algorithm)) {
            return Ok(Verdict::Signed);
        }
        let certain = id.is_some() && named.iter().any(|key| key.id.is_some());
        match certain {
            true if named.iter().any(|key| key.algorithms.contains(&algorithm)) => {
                Err(Error::InvalidToken("its signature is wrong"))
            }
            true => Err(Error::InvalidToken(ALGORITHM)),
            false => Ok(Verdict::NoSuchKey),
        }
    }
}

const ALGORITHM: &str = "its signature algorithm is none that the key allows";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{self, Signer};

    fn read(jwk: &Value) -> Result<Key, &'static str> {
        Key::read(jwk.as_object().unwrap())
    }

    #[test]
    fn a_key_allows_only_algorithms_of_its_kind() {
        let keys = [Signer::es256("a"), Signer::ed25519("b"), Signer::rsa("c")];
        let allowed: Vec<_> =
            keys.iter().map(|key| read(&key.jwk()).unwrap().algorithms.len()).collect();
        assert_eq!(allowed, [1, 1, 6]);
        let mut pinned = keys[2].jwk();
        pinned["alg"] = json!("PS256");
        assert_eq!(read(&pinned).unwrap().algorithms, [Algorithm::PS256]);
        for alg in ["HS256", "ES256", "none", "RSA-OAEP"] {
            pinned["alg"] = json!(alg);
            assert!(read(&pinned).is_err(), "{alg}");
        }
    }

    #[test]
    fn keys_that_must_not_verify_are_left_out() {
        let good = Signer::es256("a").jwk();
        let with = |name: &str, value: Value| {
            let mut jwk = good.clone();
            jwk[name] = value;
            jwk
        };
        assert!(read(&with("key_ops", json!(["verify"]))).is_ok());
        let bad = vec![
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
            with("use", json!("enc")),
            with("key_ops", json!(["encrypt"])),
            with("x", json!("AA")),
            with("y", json!(1)),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
            json!({}),
        ];
        for jwk in &bad {
            assert!(read(jwk).is_err(), "{jwk}");
        }
        let all = bad.into_iter().chain([good]).collect::<Vec<_>>();
        let set = json!({ "keys": all });
        assert_eq!(KeySet::read(set.to_string().as_bytes()).unwrap().keys.len(), 1);
        assert!(KeySet::read(b"[]").is_none());
        assert!(KeySet::read(b"{}").is_none());
    }

    #[test]
    fn a_token_without_a_key_id_is_tried_with_every_fitting_key() {
        let signers = [Signer::ed25519("a"), Signer::es256("b"), Signer::es256("c")];
        let set = json!({ "keys": signers.iter().map(Signer::jwk).collect::<Vec<_>>() });
        let set = KeySet::read(set.to_string().as_bytes()).unwrap();
        let header = json!({"alg": "ES256"});
        let text = signers[2].sign_with(&header, &json!({"sub": "me"}));
        let token = Token::read(&text, 4096).unwrap();
        assert_eq!(set.verify(&token, |_| true), Ok(Verdict::Signed));
        let text = Signer::es256("d").sign_with(&header, &json!({"sub": "me"}));
        let token = Token::read(&text, 4096).unwrap();
        assert_eq!(set.verify(&token, |_| true), Ok(Verdict::NoSuchKey));
        let forged = testing::tamper(&signers[1].sign(&json!({"sub": "me"})));
        let token = Token::read(&forged, 4096).unwrap();
        assert!(set.verify(&token, |_| true).is_err());
    }
}
