//! Signatures as Standard Webhooks 1.0.0 has them, with a shared secret: HMAC-SHA256 of id, time
//! and body, so that whoever is called knows who calls, and that nothing is played back.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use domain::sign_in::Secret;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::Error;

/// How far the clocks of both sides may be apart, in seconds.
pub const TOLERANCE_SECONDS: i64 = 300;
/// The prefix of a secret.
const PREFIX: &str = "whsec_";
/// Signatures that are looked at, where one side sends more than one while its secret changes.
const SIGNATURES_MAX: usize = 8;
/// Random bytes of a new secret; the specification asks for 24 to 64.
const SECRET_BYTES: usize = 32;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The three headers of a signed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`: seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`: one or more, with spaces between.
    pub signature: &'a str,
}

/// Why a signed call is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The secret is not `whsec_` and the base64 of 24 to 64 bytes.
    #[error("the secret is not `whsec_` and base64 of 24 to 64 bytes")]
    Secret,
    /// The time is no number, or more than five minutes from now.
    #[error("the time is more than five minutes from now")]
    Time,
    /// None of the signatures is right.
    #[error("the signature is wrong")]
    Signature,
}

/// A new secret, for a new hook. [`Error::Setting`] if the system has no randomness.
pub fn new_secret() -> Result<Secret, Error> {
    let mut bytes = [0; SECRET_BYTES];
    fill(&mut bytes)?;
    Ok(Secret(format!("{PREFIX}{}", BASE64.encode(bytes))))
}

/// Whether `secret` can sign.
pub fn check_secret(secret: &Secret) -> Result<(), Fault> {
    key(secret).map(|_| ())
}

/// What goes into `webhook-signature`; `seconds` since 1970.
pub fn sign(secret: &Secret, id: &str, seconds: i64, body: &[u8]) -> Result<String, Fault> {
    let mac = mac(secret, id, &seconds.to_string(), body)?;
    Ok(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
}

/// Checks a call that came in, in constant time; `now` in seconds since 1970. Whether the same id
/// was seen before is for the caller to know.
pub fn verify(secret: &Secret, headers: &Headers<'_>, body: &[u8], now: i64) -> Result<(), Fault> {
    let seconds: i64 = headers.timestamp.parse().map_err(|_| Fault::Time)?;
    if now.saturating_sub(seconds).saturating_abs() > TOLERANCE_SECONDS {
        return Err(Fault::Time);
    }
    let mac = mac(secret, headers.id, headers.timestamp, body)?;
    let mut given = headers.signature.split(' ').take(SIGNATURES_MAX);
    let is_right = given.any(|one| {
        let decoded = one.strip_prefix("v1,").and_then(|text| BASE64.decode(text).ok());
        decoded.is_some_and(|bytes| mac.clone().verify_slice(&bytes).is_ok())
    });
    if is_right { Ok(()) } else { Err(Fault::Signature) }
}

fn mac(secret: &Secret, id: &str, seconds: &str, body: &[u8]) -> Result<Hmac<Sha256>, Fault> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(secret)?).map_err(|_| Fault::Secret)?;
    for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        mac.update(part);
    }
    Ok(mac)
}

fn key(secret: &Secret) -> Result<Vec<u8>, Fault> {
    let text = secret.0.strip_prefix(PREFIX).filter(|text| text.len() <= 128);
    let key = text.and_then(|text| BASE64.decode(text).ok());
    key.filter(|key| (24..=64).contains(&key.len())).ok_or(Fault::Secret)
}

/// An id for a message, without dots: those part what is signed.
pub(crate) fn new_id() -> Result<String, Error> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(format!("msg_{:032x}", u128::from_be_bytes(bytes)))
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|_| Error::Setting("the system's randomness"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // The vector that the reference libraries of Standard Webhooks are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECONDS: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> Secret {
        Secret(SECRET.to_owned())
    }

    fn check(timestamp: &str, signature: &str, body: &[u8], now: i64) -> Result<(), Fault> {
        verify(&secret(), &Headers { id: ID, timestamp, signature }, body, now)
    }

    #[test]
    fn signs_as_the_reference_does() {
        assert_eq!(sign(&secret(), ID, SECONDS, BODY).unwrap(), SIGNATURE);
        check("1614265330", SIGNATURE, BODY, SECONDS).unwrap();
    }

    #[test]
    fn believes_only_what_is_signed_now() {
        let time = "1614265330";
        check(time, SIGNATURE, BODY, SECONDS + 300).unwrap();
        check(time, SIGNATURE, BODY, SECONDS - 300).unwrap();
        check(time, &format!("v1a,AAAA v1,AAAA {SIGNATURE}"), BODY, SECONDS).unwrap();
        assert_eq!(check(time, SIGNATURE, BODY, SECONDS + 301), Err(Fault::Time));
        assert_eq!(check(time, SIGNATURE, BODY, SECONDS - 301), Err(Fault::Time));
        assert_eq!(check(time, SIGNATURE, BODY, i64::MIN), Err(Fault::Time));
        assert_eq!(check("soon", SIGNATURE, BODY, SECONDS), Err(Fault::Time));
        assert_eq!(check("1614265331", SIGNATURE, BODY, SECONDS), Err(Fault::Signature));
        assert_eq!(check(time, SIGNATURE, b"{}", SECONDS), Err(Fault::Signature));
        assert_eq!(
            check(time, &SIGNATURE.replace("v1,", "v2,"), BODY, SECONDS),
            Err(Fault::Signature)
        );
        assert_eq!(check(time, "v1,", BODY, SECONDS), Err(Fault::Signature));
        assert_eq!(check(time, "", BODY, SECONDS), Err(Fault::Signature));
    }

    #[test]
    fn new_secrets_are_fit_and_others_are_not() {
        let one = new_secret().unwrap();
        check_secret(&one).unwrap();
        assert_ne!(one, new_secret().unwrap());
        let short = format!("whsec_{}", BASE64.encode([1; 23]));
        let long = format!("whsec_{}", BASE64.encode([1; 65]));
        for bad in ["", "whsec_", "whsec_!", SECRET.trim_start_matches(PREFIX), &short, &long] {
            assert_eq!(check_secret(&Secret(bad.to_owned())), Err(Fault::Secret), "{bad}");
        }
        let id = new_id().unwrap();
        assert!(id.len() == 36 && !id.contains('.'));
    }

    proptest! {
        #[test]
        fn a_signature_is_good_for_just_its_body(
            body in any::<Vec<u8>>(), other in any::<Vec<u8>>(), seconds in 0..=i64::MAX,
        ) {
            let signature = sign(&secret(), ID, seconds, &body).unwrap();
            let found = check(&seconds.to_string(), &signature, &other, seconds);
            prop_assert_eq!(found.is_ok(), body == other);
            prop_assert!(check(&seconds.to_string(), &signature, &body, seconds).is_ok());
        }
    }
}
