//! Recovery codes: for people who have lost their second factor. Each is good once; that it is
//! gone then is the caller's to record.

use domain::UserId;

use crate::{code, random};

/// How many codes a user gets at a time.
pub const CODES: usize = 10;

/// Crockford's base 32: no `i`, `l`, `o` and `u`, which people take for other characters.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const CHARACTERS: usize = 10;
const PURPOSE: &str = "recovery";

/// New codes, as people write them down: `xxxxx-xxxxx`, 50 random bits each.
pub fn generate() -> Vec<String> {
    (0..CODES).map(|_| shown(&random::bytes())).collect()
}

fn shown(bytes: &[u8; CHARACTERS]) -> String {
    let mut text = String::with_capacity(CHARACTERS + 1);
    for (place, byte) in bytes.iter().enumerate() {
        if place == CHARACTERS / 2 {
            text.push('-');
        }
        // 32 divides 256: every character is as likely.
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    text
}

/// A code as it was shown, from what somebody typed: case, spaces and hyphens don't count, and
/// `o`, `i` and `l` are taken for the digits they look like. `None` when it is no such code.
pub fn normalise(typed: &str) -> Option<String> {
    if typed.len() > code::CODE_BYTES_MAX {
        return None;
    }
    let mut text = String::with_capacity(CHARACTERS + 1);
    let mut count = 0;
    for c in typed.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let c = match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            c => c,
        };
        if !c.is_ascii() || !ALPHABET.contains(&(c as u8)) || count == CHARACTERS {
            return None;
        }
        if count == CHARACTERS / 2 {
            text.push('-');
        }
        text.push(c);
        count += 1;
    }
    (count == CHARACTERS).then_some(text)
}

/// What is stored of a code as [`generate`] made it: HMAC-SHA256 under a key of the server's.
pub fn hash(key: &[u8], user: &UserId, code: &str) -> String {
    code::hash(key, PURPOSE, user, code)
}

/// Which of the stored hashes is of what somebody typed. Looks at every one, so that the time
/// tells nothing.
pub fn find<S: AsRef<str>>(key: &[u8], user: &UserId, typed: &str, stored: &[S]) -> Option<usize> {
    let code = normalise(typed)?;
    let mut found = None;
    for (place, stored) in stored.iter().enumerate() {
        if code::matches(key, PURPOSE, user, &code, stored.as_ref()) {
            found = Some(place);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn ten_different_codes_without_look_alikes() {
        let codes: HashSet<String> = generate().into_iter().collect();
        assert_eq!(codes.len(), CODES);
        for code in codes {
            assert!(code.len() == 11 && code.as_bytes()[5] == b'-', "{code}");
            assert!(!code.contains(['i', 'l', 'o', 'u']), "{code}");
        }
    }

    #[test]
    fn what_people_type_is_understood() {
        let same = ["01abc-defgh", "O1ABC DEFGH", " oiabcdefgh ", "0l-ab-cd-ef-gh"];
        for typed in same {
            assert_eq!(normalise(typed).as_deref(), Some("01abc-defgh"), "{typed}");
        }
        for bad in ["", "01abc-defg", "01abc-defghj", "01abc-defgu", "01abc-defgé"] {
            assert_eq!(normalise(bad), None, "{bad}");
        }
        assert_eq!(normalise(&"-".repeat(1_000)), None);
    }

    #[test]
    fn a_code_is_found_among_its_users() {
        let user = UserId::new("u1").unwrap();
        let codes = generate();
        let stored: Vec<String> = codes.iter().map(|code| hash(b"key", &user, code)).collect();
        for (place, code) in codes.iter().enumerate() {
            let typed = code.to_uppercase().replace('-', " ");
            assert_eq!(find(b"key", &user, &typed, &stored), Some(place));
        }
        let other = UserId::new("u2").unwrap();
        assert_eq!(find(b"key", &other, &codes[0], &stored), None);
        assert_eq!(find(b"other", &user, &codes[0], &stored), None);
        assert_eq!(find(b"key", &user, &generate()[0], &stored), None);
    }

    proptest! {
        #[test]
        fn a_shown_code_stays_as_it_is(bytes: [u8; CHARACTERS]) {
            let code = shown(&bytes);
            prop_assert_eq!(normalise(&code), Some(code));
        }

        #[test]
        fn any_text_is_borne(text in any::<String>()) {
            if let Some(code) = normalise(&text) {
                prop_assert_eq!(normalise(&code), Some(code));
            }
        }
    }
}
