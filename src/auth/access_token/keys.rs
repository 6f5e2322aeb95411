//! Keys that sign tokens and keys that check them. A key's id is its thumbprint (RFC 7638), so that
//! one id never stands for two keys.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::random;

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4), for those who can't check Ed25519.
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    /// The name in a header and in a JWK.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

/// The bytes or the JWK are no key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 or P-256 signing key")]
pub struct InvalidKey;

/// What comes before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// The uncompressed form of a point on P-256 (SEC 1, section 2.3.3).
const POINT_UNCOMPRESSED: u8 = 4;

enum Pair {
    EdDsa(Ed25519KeyPair),
    Es256(Box<EcdsaKeyPair>, SystemRandom),
}

/// A key that signs. Clones are the same key.
#[derive(Clone)]
pub struct SigningKey {
    pair: Arc<Pair>,
    public: PublicKey,
}

impl SigningKey {
    /// A new key: its private half as PKCS #8 (DER), to be stored sealed, and its public half.
    ///
    /// # Panics
    /// When the system has no random bytes to give.
    pub fn generate(algorithm: Algorithm) -> (Zeroizing<Vec<u8>>, PublicKey) {
        let private = match algorithm {
            // Written by hand: what `ring` writes has the public half in a form that others can't
            // read.
            Algorithm::EdDsa => {
                let seed = Zeroizing::new(random::bytes::<32>());
                [&ED25519_PKCS8[..], &seed[..]].concat()
            }
            Algorithm::Es256 => {
                let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let made = EcdsaKeyPair::generate_pkcs8(scheme, &SystemRandom::new());
                made.expect("the system gives random bytes").as_ref().to_vec()
            }
        };
        let private = Zeroizing::new(private);
        let key = Self::from_pkcs8(algorithm, &private).expect("what was just made is a key");
        (private, key.public)
    }

    /// A key from its private half, PKCS #8 (DER).
    pub fn from_pkcs8(algorithm: Algorithm, private: &[u8]) -> Result<Self, InvalidKey> {
        let pair = match algorithm {
            Algorithm::EdDsa => Pair::EdDsa(
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(private).map_err(|_| InvalidKey)?,
            ),
            Algorithm::Es256 => {
                let random = SystemRandom::new();
                let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_pkcs8(scheme, private, &random);
                Pair::Es256(Box::new(pair.map_err(|_| InvalidKey)?), random)
            }
        };
        let public = match &pair {
            Pair::EdDsa(pair) => pair.public_key().as_ref(),
            Pair::Es256(pair, _) => pair.public_key().as_ref(),
        };
        let public = PublicKey::new(algorithm, public)?;
        Ok(Self { pair: Arc::new(pair), public })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature as a JWS has it, in bytes. `None` when there are no random bytes.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &*self.pair {
            Pair::EdDsa(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Pair::Es256(pair, random) => {
                pair.sign(random, message).ok().map(|signature| signature.as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", self.public.algorithm.name(), self.public.id)
    }
}

/// A key that checks. Prints and reads as a JWK (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Jwk", into = "Value")]
pub struct PublicKey {
    algorithm: Algorithm,
    bytes: Box<[u8]>,
    id: Box<str>,
}

impl PublicKey {
    fn new(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, InvalidKey> {
        let is_fit = match algorithm {
            Algorithm::EdDsa => bytes.len() == 32,
            Algorithm::Es256 => bytes.len() == 65 && bytes[0] == POINT_UNCOMPRESSED,
        };
        if !is_fit {
            return Err(InvalidKey);
        }
        let id = BASE64URL_NOPAD.encode(&Sha256::digest(canonical(algorithm, bytes)));
        Ok(Self { algorithm, bytes: bytes.into(), id: id.into() })
    }

    /// The one algorithm that the key is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's id, `kid`: its thumbprint (RFC 7638) by SHA-256.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key as a JWK, with `kid`, `alg` and `use`.
    pub fn jwk(&self) -> Value {
        let (kid, alg) = (&self.id, self.algorithm.name());
        match self.algorithm {
            Algorithm::EdDsa => {
                let x = BASE64URL_NOPAD.encode(&self.bytes);
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x,
                    "kid": kid, "alg": alg, "use": "sig" })
            }
            Algorithm::Es256 => {
                let [x, y] = coordinates(&self.bytes);
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y,
                    "kid": kid, "alg": alg, "use": "sig" })
            }
        }
    }

    /// A key from a JWK as [`PublicKey::jwk`] makes it. A `kid` that is not the key's own
    /// thumbprint is refused, as are a private key and a use other than signatures.
    pub fn from_jwk(jwk: Value) -> Result<Self, InvalidKey> {
        serde_json::from_value(jwk).map_err(|_| InvalidKey)
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::EdDsa => {
                UnparsedPublicKey::new(&ED25519, &*self.bytes).verify(message, signature)
            }
            Algorithm::Es256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &*self.bytes)
                .verify(message, signature),
        }
        .is_ok()
    }
}

/// What a thumbprint is taken of: the required members in the order of the alphabet (RFC 7638,
/// section 3.2; RFC 8037, section 2).
fn canonical(algorithm: Algorithm, bytes: &[u8]) -> String {
    match algorithm {
        Algorithm::EdDsa => {
            let x = BASE64URL_NOPAD.encode(bytes);
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
        }
        Algorithm::Es256 => {
            let [x, y] = coordinates(bytes);
            format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
    }
}

fn coordinates(point: &[u8]) -> [String; 2] {
    let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len().saturating_sub(1) / 2);
    [x, y].map(|coordinate| BASE64URL_NOPAD.encode(coordinate))
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: Option<String>,
    /// The private half.
    d: Option<serde::de::IgnoredAny>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
}

impl TryFrom<Jwk> for PublicKey {
    type Error = InvalidKey;

    fn try_from(jwk: Jwk) -> Result<Self, InvalidKey> {
        let decode = |text: &str| {
            let is_fit = text.len() == 43;
            is_fit.then(|| BASE64URL_NOPAD.decode(text.as_bytes()).ok()).flatten().ok_or(InvalidKey)
        };
        let key = match (jwk.kty.as_str(), jwk.crv.as_str(), &jwk.y) {
            ("OKP", "Ed25519", None) => Self::new(Algorithm::EdDsa, &decode(&jwk.x)?)?,
            ("EC", "P-256", Some(y)) => {
                let point = [&[POINT_UNCOMPRESSED][..], &decode(&jwk.x)?, &decode(y)?].concat();
                Self::new(Algorithm::Es256, &point)?
            }
            _ => return Err(InvalidKey),
        };
        let is_ours = jwk.d.is_none()
            && jwk.kid.is_none_or(|kid| kid == *key.id)
            && jwk.alg.is_none_or(|alg| alg == key.algorithm.name())
            && jwk.usage.is_none_or(|usage| usage == "sig");
        if is_ours { Ok(key) } else { Err(InvalidKey) }
    }
}

impl From<PublicKey> for Value {
    fn from(key: PublicKey) -> Self {
        key.jwk()
    }
}
