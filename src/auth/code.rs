//! One-time codes that people type, and tokens of links that they follow. What is stored is an
//! HMAC under a key of the server's, so that whoever reads the store can't try all million codes.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use domain::UserId;
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::random;

/// The longest code or token that is looked at, in bytes.
pub const CODE_BYTES_MAX: usize = 128;

/// A new code of six decimal digits, each of the million as likely as any other.
pub fn digits() -> String {
    format!("{:06}", random::below(1_000_000))
}

/// A new token for a link: 32 random bytes as base64url (RFC 4648, section 5), 43 characters.
pub fn link() -> String {
    BASE64URL_NOPAD.encode(&random::bytes::<32>())
}

/// What is stored of a code: HMAC-SHA256 under `key` over what it is for, whose it is and what it
/// is, in hex. A code for one purpose is none for another.
pub fn hash(key: &[u8], purpose: &str, user: &UserId, code: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in [purpose, user.as_str(), code] {
        // With its length before it, no part can pass for the end of another.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    HEXLOWER.encode(context.sign().as_ref())
}

/// Whether `stored`, made by [`hash`], is of this code. Spaces and hyphens that people put between
/// digits don't count. Takes as long whether or not it is.
pub fn matches(key: &[u8], purpose: &str, user: &UserId, code: &str, stored: &str) -> bool {
    if code.len() > CODE_BYTES_MAX {
        return false;
    }
    let code = typed(code);
    let hash = hash(key, purpose, user, &code);
    hash.as_bytes().ct_eq(stored.as_bytes()).into()
}

/// A code of digits without what people put between them; anything else as it is.
fn typed(code: &str) -> String {
    let digits: String = code.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return digits;
    }
    code.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn codes_and_links_have_their_form() {
        for _ in 0..1_000 {
            let code = digits();
            assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
        }
        assert_eq!(BASE64URL_NOPAD.decode(link().as_bytes()).unwrap().len(), 32);
        assert_ne!(link(), link());
    }

    #[test]
    fn a_code_is_good_for_its_key_purpose_and_user_only() {
        let stored = hash(b"key", "email-code", &user("u1"), "012345");
        assert_eq!(stored.len(), 64);
        let is = |key: &[u8], purpose, id, code| matches(key, purpose, &user(id), code, &stored);
        assert!(is(b"key", "email-code", "u1", "012345"));
        assert!(is(b"key", "email-code", "u1", " 012-345 "));
        assert!(!is(b"other", "email-code", "u1", "012345"));
        assert!(!is(b"key", "phone-code", "u1", "012345"));
        assert!(!is(b"key", "email-code", "u2", "012345"));
        assert!(!is(b"key", "email-code", "u1", "012346"));
        assert!(!is(b"key", "email-code", "u1", "12345"));
        assert!(!is(b"key", "email-code", "u1", ""));
        assert!(!is(b"key", "email-code", "u1", &"0".repeat(CODE_BYTES_MAX + 1)));
        assert!(!matches(b"key", "email-code", &user("u1"), "012345", ""));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash(b"k", "ab", &user("c"), "1"), hash(b"k", "a", &user("bc"), "1"));
        assert_ne!(hash(b"k", "a", &user("b1"), "2"), hash(b"k", "a", &user("b"), "12"));
    }

    #[test]
    fn a_link_is_taken_as_it_is() {
        let token = "-abc-def";
        let stored = hash(b"key", "magic-link", &user("u1"), token);
        assert!(matches(b"key", "magic-link", &user("u1"), token, &stored));
        assert!(!matches(b"key", "magic-link", &user("u1"), "abcdef", &stored));
    }
}
