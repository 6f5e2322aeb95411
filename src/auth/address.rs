//! Where people are written to, in the one spelling that is stored and looked up.

use compact_str::CompactString;

/// The longest mail address, in bytes (RFC 5321, section 4.5.3.1.3, less its angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;
/// What comes before the `@` (RFC 5321, section 4.5.3.1.1).
const LOCAL_BYTES_MAX: usize = 64;
/// The longest text that is looked at, for either kind.
const TEXT_BYTES_MAX: usize = 1_024;

/// The text is no mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mail address: expected name@host, at most {EMAIL_BYTES_MAX} bytes")]
pub struct InvalidEmail;

/// The text is no phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a phone number: expected + and 8 to 15 digits, country code first")]
pub struct InvalidPhone;

/// A mail address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email {
    /// What mail is sent to: the name as it was written, for its host may tell cases apart.
    pub address: CompactString,
    /// What the user is found by: all in lower case.
    pub lookup: CompactString,
}

/// Reads a mail address: blanks around it are dropped, the host is in lower case and ASCII
/// (IDNA, UTS 46). The name may have what an HTML form lets through (HTML, "valid e-mail
/// address"): neither quotes nor letters outside ASCII, whose look-alikes would make two addresses
/// of one.
pub fn email(text: &str) -> Result<Email, InvalidEmail> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(InvalidEmail);
    }
    let (name, host) = text.trim().split_once('@').ok_or(InvalidEmail)?;
    let is_name = !name.is_empty() && name.len() <= LOCAL_BYTES_MAX && name.bytes().all(is_in_name);
    if !is_name {
        return Err(InvalidEmail);
    }
    let host = idna::domain_to_ascii_strict(host).map_err(|_| InvalidEmail)?;
    let is_host = !host.is_empty() && !host.ends_with('.');
    let address = CompactString::from(format!("{name}@{host}"));
    if !is_host || address.len() > EMAIL_BYTES_MAX {
        return Err(InvalidEmail);
    }
    Ok(Email { lookup: address.to_ascii_lowercase(), address })
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

/// Reads a phone number into E.164: `+` and 8 to 15 digits, the first of which is not 0. Spaces,
/// hyphens, dots, slashes and parentheses between them are dropped.
pub fn phone(text: &str) -> Result<CompactString, InvalidPhone> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(InvalidPhone);
    }
    let digits = text.trim().strip_prefix('+').ok_or(InvalidPhone)?;
    let mut number = CompactString::const_new("+");
    for c in digits.chars() {
        match c {
            '0'..='9' => number.push(c),
            ' ' | '\u{a0}' | '-' | '.' | '/' | '(' | ')' => {}
            _ => return Err(InvalidPhone),
        }
    }
    let is_e164 = (9..=16).contains(&number.len()) && !number.starts_with("+0");
    if is_e164 { Ok(number) } else { Err(InvalidPhone) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mail_addresses_get_one_spelling() {
        for (text, address, lookup) in [
            ("ann@app.example", "ann@app.example", "ann@app.example"),
            (" Ann.B+x@App.EXAMPLE\t", "Ann.B+x@app.example", "ann.b+x@app.example"),
            ("a@MÜNCHEN.example", "a@xn--mnchen-3ya.example", "a@xn--mnchen-3ya.example"),
            ("a@xn--mnchen-3ya.example", "a@xn--mnchen-3ya.example", "a@xn--mnchen-3ya.example"),
            ("a@app\u{3002}example", "a@app.example", "a@app.example"),
            ("root@localhost", "root@localhost", "root@localhost"),
        ] {
            let email = email(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!((email.address.as_str(), email.lookup.as_str()), (address, lookup));
        }
    }

    #[test]
    fn other_texts_are_no_mail_addresses() {
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a\n@b",
            "a@b\0",
            "a@b\r\nBcc: c@d",
            "a,b@c",
            "<a@b>",
            "\"a b\"@c",
            "ä@b",
            "a@b.",
            "a@.b",
            "a@b..c",
            "a@-b.c",
            "a@b_c",
            "a@[127.0.0.1]",
            "a(comment)@b",
            &format!("{}@b", "a".repeat(65)),
            &format!("a@{}", "b".repeat(64)),
            &format!("{}@{}.example", "a".repeat(64), ["b".repeat(60).as_str(); 3].join(".")),
            &format!("a@{}", "b.".repeat(600)),
        ] {
            assert_eq!(email(bad), Err(InvalidEmail), "{bad}");
        }
    }

    #[test]
    fn phone_numbers_get_one_spelling() {
        for text in ["+4930123456", " +49 30 123456 ", "+49 (30) 12-34.56", "+49/30/123\u{a0}456"] {
            assert_eq!(phone(text).unwrap(), "+4930123456", "{text}");
        }
        for bad in [
            "",
            "+",
            "030123456",
            "004930123456",
            "+0930123456",
            "+1234567",
            "+1234567890123456",
            "+49 30 12345a",
            "++4930123456",
            "+4930\n123456",
            "+٤٩٣٠١٢٣٤٥٦",
            &format!("+{}", " ".repeat(2_000)),
        ] {
            assert_eq!(phone(bad), Err(InvalidPhone), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_spelling_stays(text in "[ A-Za-z0-9.+_-]{1,20}@[A-Za-z0-9.äß-]{1,20} ?") {
            if let Ok(once) = email(&text) {
                prop_assert!(once.address.len() <= EMAIL_BYTES_MAX && once.address.is_ascii());
                prop_assert_eq!(&email(&once.address).unwrap(), &once);
                let lookup = email(&once.lookup).unwrap();
                prop_assert_eq!(&lookup.lookup, &once.lookup);
            }
        }

        #[test]
        fn any_text_is_borne(text in any::<String>()) {
            let _ = email(&text);
            if let Ok(number) = phone(&text) {
                prop_assert_eq!(phone(&number), Ok(number));
            }
        }
    }
}
