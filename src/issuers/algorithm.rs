//! Algorithms of signatures (RFC 7518 section 3.1, RFC 8037) and public keys that verify by them.
//! Symmetric ones have no name in here, so nothing can ask for them.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// How something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    /// Ed25519 only.
    EdDsa,
}

/// What an algorithm asks of its key.
enum Scheme {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

/// Their names in headers and in JWKs.
pub(crate) const NAMES: [(&str, Algorithm); 10] = [
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
    // What RFC 9864 calls it.
    ("Ed25519", Algorithm::EdDsa),
];

impl Algorithm {
    /// The algorithm of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    fn scheme(self) -> Scheme {
        match self {
            Self::Rs256 => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Scheme::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Scheme::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Scheme::Rsa(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Scheme::Curve(&ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Scheme::Curve(&ECDSA_P384_SHA384_FIXED),
            Self::EdDsa => Scheme::Curve(&ED25519),
        }
    }
}

/// What verifies a signature.
pub(crate) enum PublicKey {
    /// Modulus and exponent, without leading zeros.
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    /// A point: uncompressed (SEC 1 section 2.3.3) or, on Ed25519, as RFC 8032 writes it.
    Curve(Vec<u8>),
}

impl PublicKey {
    /// Whether the signature, in bytes, is the key's own by that algorithm.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm.scheme()) {
            (Self::Rsa(key), Scheme::Rsa(parameters)) => {
                key.verify(parameters, message, signature).is_ok()
            }
            (Self::Curve(point), Scheme::Curve(scheme)) => {
                UnparsedPublicKey::new(scheme, point).verify(message, signature).is_ok()
            }
            (Self::Rsa(_), Scheme::Curve(_)) | (Self::Curve(_), Scheme::Rsa(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::jwk::{Key, KeySet, Verdict};
    use crate::jwt::Token;
    use crate::testing;

    /// Keys, and a token by each algorithm, that OpenSSL signed.
    const FOREIGN: &str = include_str!("testing_tokens.json");

    #[test]
    fn what_others_signed_is_verified() {
        let keys = KeySet::read(FOREIGN.as_bytes()).unwrap();
        let foreign: Value = serde_json::from_str(FOREIGN).unwrap();
        let mut seen = Vec::new();
        for text in foreign["tokens"].as_array().unwrap() {
            let text = text.as_str().unwrap();
            let token = Token::read(text, 4096).unwrap();
            assert_eq!(keys.verify(&token, |_| true), Ok(Verdict::Signed), "{text}");
            seen.push(Algorithm::named(&token.header.alg).unwrap());

            let forged = testing::tamper(text);
            let forged = Token::read(&forged, 4096).unwrap();
            assert!(keys.verify(&forged, |_| true).is_err(), "{text}");
        }
        assert!(NAMES.iter().all(|(_, algorithm)| seen.contains(algorithm)));
    }

    #[test]
    fn a_signature_counts_by_its_own_algorithm_only() {
        let foreign: Value = serde_json::from_str(FOREIGN).unwrap();
        let keys: Vec<_> = foreign["keys"].as_array().unwrap().iter().collect();
        for text in foreign["tokens"].as_array().unwrap() {
            let token = Token::read(text.as_str().unwrap(), 4096).unwrap();
            let own = Algorithm::named(&token.header.alg).unwrap();
            let verifying = keys.iter().flat_map(|jwk| {
                let key = Key::read(jwk.as_object().unwrap()).unwrap();
                let token = &token;
                let all = NAMES[..9].iter().map(|(_, algorithm)| *algorithm);
                all.filter(move |algorithm| key.verifies(token, *algorithm))
            });
            assert_eq!(verifying.collect::<Vec<_>>(), [own], "{}", token.header.alg);
        }
    }

    #[test]
    fn symmetric_and_unknown_algorithms_have_no_name() {
        for name in ["HS256", "HS384", "HS512", "none", "RS1", "ES512", "es256", "RSA-OAEP", ""] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
