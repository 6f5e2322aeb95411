//! Public keys as authenticators hand them over (COSE, RFC 9052 and 9053, as Level 3 §5.8.5 and
//! §6.5.1.1 narrow it), and the check of what they signed.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use crate::Error;
use crate::cbor::{Invalid, Key, Reader};

/// ECDSA on P-256 with SHA-256.
pub(crate) const ES256: i64 = -7;
/// EdDSA, by §5.8.5 on Ed25519 only.
pub(crate) const EDDSA: i64 = -8;
/// RSASSA-PKCS1-v1_5 with SHA-256.
pub(crate) const RS256: i64 = -257;

/// What we ask for, best first.
pub(crate) const ALGORITHMS: [i64; 3] = [ES256, EDDSA, RS256];

/// The sizes of an RSA modulus, in bytes: 2048 to 4096 bits. Longer keys would only cost time.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// The longest RSA exponent, in bytes.
const EXPONENT_BYTES_MAX: usize = 4;

/// The parameters of a key, by label (RFC 9052 §7, RFC 9053 §7, RFC 8230 §4).
#[derive(Default)]
struct Parameters<'a> {
    kind: Option<i64>,
    algorithm: Option<i64>,
    /// −1: the curve; of RSA the modulus.
    curve: Option<i64>,
    modulus: Option<&'a [u8]>,
    /// −2: x; of RSA the exponent.
    second: Option<&'a [u8]>,
    /// −3: y.
    third: Option<&'a [u8]>,
}

/// A key of one of [`ALGORITHMS`]. Whether a point lies on its curve shows when it verifies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CoseKey<'a> {
    Es256 { x: &'a [u8; 32], y: &'a [u8; 32] },
    Ed25519 { x: &'a [u8; 32] },
    Rs256 { modulus: &'a [u8], exponent: &'a [u8] },
}

impl<'a> CoseKey<'a> {
    /// Reads a key that is all of the input.
    pub(crate) fn read(input: &'a [u8]) -> Result<Self, Error> {
        let parameters = parameters(input).map_err(|Invalid| Error::Malformed("public key"))?;
        let Parameters { kind, algorithm, curve, modulus, second, third } = parameters;
        // Of each kind all that it needs must be there, and nothing else (§6.5.1.1).
        match (kind, algorithm, curve, modulus, second, third) {
            (Some(2), Some(ES256), Some(1), None, Some(x), Some(y)) => {
                Ok(Self::Es256 { x: coordinate(x)?, y: coordinate(y)? })
            }
            (Some(1), Some(EDDSA), Some(6), None, Some(x), None) => {
                Ok(Self::Ed25519 { x: coordinate(x)? })
            }
            (Some(3), Some(RS256), None, Some(modulus), Some(exponent), None) => {
                let plain = |number: &[u8]| number.first().is_some_and(|byte| *byte != 0);
                let fits = MODULUS_BYTES.contains(&modulus.len())
                    && exponent.len() <= EXPONENT_BYTES_MAX
                    && plain(modulus)
                    && plain(exponent);
                let key = Self::Rs256 { modulus, exponent };
                if fits { Ok(key) } else { Err(Error::UnsupportedKey) }
            }
            _ => Err(Error::UnsupportedKey),
        }
    }

    /// Whether `signature` is this key's for `message`. ECDSA's comes in DER (§6.5.5).
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let verified = match self {
            Self::Es256 { x, y } => {
                // SEC 1 §2.3.3: 4 marks a point with both coordinates.
                let point = [&[4], &x[..], &y[..]].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::Ed25519 { x } => {
                UnparsedPublicKey::new(&ED25519, &x[..]).verify(message, signature)
            }
            Self::Rs256 { modulus, exponent } => RsaPublicKeyComponents { n: modulus, e: exponent }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
        };
        verified.map_err(|_| Error::BadSignature)
    }
}

fn parameters(input: &[u8]) -> Result<Parameters<'_>, Invalid> {
    let mut found = Parameters::default();
    let mut reader = Reader::new(input);
    reader.map(|key, value| {
        match key {
            Key::Int(1) => found.kind = Some(value.int()?),
            Key::Int(3) => found.algorithm = Some(value.int()?),
            // Keys come in any order, so the kind may not be known yet: the value tells.
            Key::Int(-1) => match value.clone().int() {
                Ok(_) => found.curve = Some(value.int()?),
                Err(Invalid) => found.modulus = Some(value.bytes()?),
            },
            Key::Int(-2) => found.second = Some(value.bytes()?),
            Key::Int(-3) => found.third = Some(value.bytes()?),
            _ => return Err(Invalid),
        }
        Ok(())
    })?;
    reader.end()?;
    Ok(found)
}

fn coordinate(bytes: &[u8]) -> Result<&[u8; 32], Error> {
    bytes.try_into().map_err(|_| Error::UnsupportedKey)
}
