//! Public keys of issuers (JWK, RFC 7517), each with the algorithms that it may verify. Symmetric
//! keys do not exist in here, so no token can be verified by something that is public.

use ring::signature::RsaPublicKeyComponents;
use serde_json::{Map, Value};

use crate::Error;
use crate::algorithm::{Algorithm, PublicKey};
use crate::jwt::Token;

/// How many keys of a set are looked at.
const KEYS_MAX: usize = 100;
/// How many keys a token is tried with.
const TRIES_MAX: usize = 8;
/// RSA keys that are strong enough, and those that can be used, by their modulus in bytes.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// How long an RSA key's exponent may be, in bytes.
const EXPONENT_BYTES_MAX: usize = 4;
/// What begins an uncompressed point (SEC 1 section 2.3.3).
const POINT_UNCOMPRESSED: u8 = 4;

const RSA: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

/// A public key.
pub(crate) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: PublicKey,
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
            (Some("EC"), Some("P-256")) => (&[Algorithm::Es256][..], ec(&text, 32)?),
            (Some("EC"), Some("P-384")) => (&[Algorithm::Es384][..], ec(&text, 48)?),
            (Some("OKP"), Some("Ed25519")) => (&[Algorithm::EdDsa][..], ed(text("x"))?),
            (Some("oct"), _) => return Err("the key is symmetric"),
            _ => return Err("the kind of key is not supported"),
        };
        let algorithms = match jwk.get("alg") {
            None => family.to_vec(),
            Some(named) => {
                let named = named.as_str().and_then(Algorithm::named);
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

    /// Whether the key signed the token by that algorithm, even if that is none of the key's.
    pub(crate) fn verifies(&self, token: &Token<'_>, algorithm: Algorithm) -> bool {
        bytes(Some(token.signature)).is_some_and(|signature| {
            self.key.verifies(algorithm, token.signed.as_bytes(), &signature)
        })
    }
}

fn bytes(text: Option<&str>) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text?).ok()
}

/// A number as RSA takes it. Some issuers put zeros before it, which RFC 7518 section 6.3.1 rules
/// out but which change nothing.
fn number(text: Option<&str>) -> Option<Vec<u8>> {
    let mut number = bytes(text)?;
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    Some(number)
}

fn rsa(n: Option<&str>, e: Option<&str>) -> Result<PublicKey, &'static str> {
    let (Some(n), Some(e)) = (number(n), number(e)) else {
        return Err("the key's parts are not base64url");
    };
    if !RSA_BYTES.contains(&n.len()) {
        return Err("an RSA key must have 2048 to 4096 bits");
    }
    // By 1, everything would be its own signature; even ones belong to no key.
    let is_odd = e.last().is_some_and(|last| last % 2 == 1);
    if !is_odd || e == [1] || e.len() > EXPONENT_BYTES_MAX {
        return Err("the RSA key's exponent can't be used");
    }
    Ok(PublicKey::Rsa(RsaPublicKeyComponents { n, e }))
}

fn ec<'a>(
    text: &impl Fn(&str) -> Option<&'a str>,
    length: usize,
) -> Result<PublicKey, &'static str> {
    let (Some(x), Some(y)) = (text("x"), text("y")) else { return Err("the key lacks x or y") };
    match (bytes(Some(x)), bytes(Some(y))) {
        (Some(x), Some(y)) if [&x, &y].iter().all(|part| part.len() == length) => {
            Ok(PublicKey::Curve([vec![POINT_UNCOMPRESSED], x, y].concat()))
        }
        _ => Err("the key's parts have the wrong length"),
    }
}

fn ed(x: Option<&str>) -> Result<PublicKey, &'static str> {
    match bytes(x) {
        Some(x) if x.len() == 32 => Ok(PublicKey::Curve(x)),
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
        let algorithm =
            Algorithm::named(&token.header.alg).ok_or(Error::InvalidToken(ALGORITHM))?;
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
        assert_eq!(read(&pinned).unwrap().algorithms, [Algorithm::Ps256]);
        for alg in ["HS256", "ES256", "none", "RSA-OAEP"] {
            pinned["alg"] = json!(alg);
            assert!(read(&pinned).is_err(), "{alg}");
        }
    }

    #[test]
    fn an_rsa_key_has_a_fit_size_however_it_is_written() {
        let padded = |text: &Value, zeros: usize| {
            let mut number = vec![0; zeros];
            number.extend(bytes(text.as_str()).unwrap());
            json!(testing::encode_bytes(&number))
        };
        let signer = Signer::rsa("a");
        let good = signer.jwk();
        let text = signer.sign(&json!({"sub": "me"}));
        let token = Token::read(&text, 4096).unwrap();
        let mut jwk = good.clone();
        jwk["n"] = padded(&good["n"], 1);
        jwk["e"] = padded(&good["e"], 1);
        assert!(read(&jwk).unwrap().verifies(&token, Algorithm::Rs256));
        let of = |first: u8, length: usize| {
            let mut number = vec![0xff; length];
            number[0] = first;
            json!(testing::encode_bytes(&number))
        };
        for (n, e, fits) in [
            (of(0xff, 256), of(3, 1), true),
            (of(0xff, 512), of(1, 4), true),
            (of(0xff, 255), of(3, 1), false),
            (of(0, 256), of(3, 1), false),
            (of(0xff, 513), of(3, 1), false),
            (of(0xff, 256), of(1, 5), false),
            (of(0xff, 256), of(0, 1), false),
            (of(0xff, 256), of(1, 1), false),
            (of(0xff, 256), of(4, 1), false),
            (of(0xfe, 256), json!(""), false),
        ] {
            let jwk = json!({"kty": "RSA", "n": n, "e": e});
            assert_eq!(read(&jwk).is_ok(), fits, "{jwk}");
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
