//! One-time passwords by time (RFC 6238) as authenticator apps make them: HMAC-SHA1, six digits,
//! steps of 30 s. A code of the step before or after is taken too; a step is never taken twice.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use domain::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::random;

/// How long a code is shown, in seconds.
pub const STEP_SECONDS: u64 = 30;
const SECRET_BYTES: usize = 20;
const DIGITS: u32 = 6;
/// How many steps the clocks may be apart (RFC 6238, section 5.2).
const STEPS_APART: u64 = 1;

/// What the server and the app share: 160 bits, as RFC 4226 (section 4, R6) recommends. Text in
/// base 32 without padding.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

/// The text is not 20 bytes in base 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a TOTP secret: expected 32 characters of base 32")]
pub struct InvalidSecret;

impl Secret {
    /// A new secret.
    pub fn generate() -> Self {
        Self(Zeroizing::new(random::bytes()))
    }

    /// Reads what [`Secret::text`] gave.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        if text.len() != 32 {
            return Err(InvalidSecret);
        }
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_| InvalidSecret)?;
        bytes.try_into().map(|bytes| Self(Zeroizing::new(bytes))).map_err(|_| InvalidSecret)
    }

    /// The secret, for its owner and for a sealed store.
    pub fn text(&self) -> String {
        BASE32_NOPAD.encode(&*self.0)
    }

    /// What an app reads as a QR code: the `otpauth` URI of Google Authenticator's key URI format,
    /// with all parameters spelt out although they are the defaults.
    pub fn uri(&self, issuer: &str, account: &str) -> String {
        // A colon parts the two within the label.
        let [issuer, account] = [issuer, account].map(|text| escaped(&text.replace(':', " ")));
        let secret = self.text();
        format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}\
             &algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
        )
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("totp::Secret(…)")
    }
}

fn escaped(text: &str) -> String {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, PLAIN).to_string()
}

/// The step whose code this is, if it is of the step that `now` is in or the one before or after,
/// and later than `last_step_used`. The caller stores it as the last step used. Spaces within the
/// code don't count.
pub fn check(
    secret: &Secret,
    code: &str,
    now: Timestamp,
    last_step_used: Option<u64>,
) -> Option<u64> {
    if code.len() > 16 {
        return None;
    }
    let code: String = code.chars().filter(|c| *c != ' ').collect();
    let step = step_of(now);
    let mut found = None;
    // All three are computed in any case, so that the time does not tell which one it was.
    for candidate in step.saturating_sub(STEPS_APART)..=step + STEPS_APART {
        let expected = code_of(&*secret.0, candidate, DIGITS);
        let is_same: bool = expected.as_bytes().ct_eq(code.as_bytes()).into();
        let is_new = last_step_used.is_none_or(|last| candidate > last);
        if is_same && is_new && found.is_none() {
            found = Some(candidate);
        }
    }
    found
}

/// The code that an app shows at `now`: for tests and demonstrations.
pub fn code_at(secret: &Secret, now: Timestamp) -> String {
    code_of(&*secret.0, step_of(now), DIGITS)
}

fn step_of(now: Timestamp) -> u64 {
    u64::try_from(now.as_micros() / 1_000_000).unwrap_or(0) / STEP_SECONDS
}

/// HOTP (RFC 4226, section 5.3) of a step.
fn code_of(secret: &[u8], step: u64, digits: u32) -> String {
    // What RFC 6238 has apps do by default; HMAC does not lean on SHA-1's collision resistance.
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[tag.len() - 1] & 0x0f);
    let number =
        tag[offset..offset + 4].iter().fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte));
    format!("{:0width$}", (number & 0x7fff_ffff) % 10_u32.pow(digits), width = digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn rfc() -> Secret {
        Secret(Zeroizing::new(*b"12345678901234567890"))
    }

    /// RFC 6238, appendix B, the lines for SHA-1.
    #[test]
    fn makes_the_codes_of_the_rfc() {
        for (seconds, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(code_of(&*rfc().0, step_of(at(seconds)), 8), code);
            assert_eq!(code_at(&rfc(), at(seconds)), code[2..]);
        }
    }

    #[test]
    fn takes_the_steps_beside_but_none_twice() {
        let secret = rfc();
        let now = at(1_000_000);
        let step = step_of(now);
        for apart in [-1_i64, 0, 1] {
            let code = code_at(&secret, at(1_000_000 + apart * 30));
            let used = step.checked_add_signed(apart).unwrap();
            assert_eq!(check(&secret, &code, now, None), Some(used));
            assert_eq!(check(&secret, &code, now, Some(used - 1)), Some(used));
            assert_eq!(check(&secret, &code, now, Some(used)), None);
            assert_eq!(check(&secret, &code, now, Some(used + 1)), None);
        }
        for apart in [-2, 2] {
            let code = code_at(&secret, at(1_000_000 + apart * 30));
            assert_eq!(check(&secret, &code, now, None), None);
        }
    }

    #[test]
    fn wrong_texts_are_no_codes() {
        let now = at(59);
        assert_eq!(check(&rfc(), "287 082", now, None), Some(1));
        for bad in ["", "287083", "28708", "2870822", "94287082", "²87082", &" ".repeat(17)] {
            assert_eq!(check(&rfc(), bad, now, None), None, "{bad}");
        }
        // The clock before the epoch, or far ahead.
        check(&rfc(), "000000", Timestamp::from_micros(i64::MIN), None);
        check(&rfc(), "000000", Timestamp::from_micros(i64::MAX), Some(u64::MAX));
    }

    #[test]
    fn the_uri_is_escaped() {
        let uri = rfc().uri("A & B: Ünited", "ann+1@app.example?x=1");
        assert_eq!(
            uri,
            "otpauth://totp/A%20%26%20B%20%20%C3%9Cnited:ann%2B1%40app.example%3Fx%3D1\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=A%20%26%20B%20%20%C3%9Cnited\
             &algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(format!("{:?}", rfc()), "totp::Secret(…)");
    }

    proptest! {
        #[test]
        fn secrets_read_back(bytes: [u8; SECRET_BYTES]) {
            let secret = Secret(Zeroizing::new(bytes));
            prop_assert_eq!(&*Secret::parse(&secret.text()).unwrap().0, &bytes);
        }

        #[test]
        fn a_shown_code_is_taken_once(seconds in 0_i64..10_000_000_000) {
            let secret = Secret::generate();
            let code = code_at(&secret, at(seconds));
            let step = check(&secret, &code, at(seconds), None);
            prop_assert!(step.is_some());
            // Two steps may share a code by chance, but the step itself is used up.
            prop_assert_ne!(check(&secret, &code, at(seconds), step), step);
        }
    }

    #[test]
    fn other_texts_are_no_secrets() {
        for bad in [
            "",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJ1",
            "GEZDGNBVGY3TQOJQ",
            "gezdgnbvgy3tqojqgezdgnbvgy3tqojq",
        ] {
            assert_eq!(Secret::parse(bad).map(|_| ()), Err(InvalidSecret), "{bad}");
        }
    }
}
