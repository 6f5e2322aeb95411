//! What a project asks of a new password. Passwords that are already in use are never held to it.

use domain::sign_in;
use unicode_normalization::UnicodeNormalization;

use super::PASSWORD_BYTES_MAX;
use super::common::is_common;

/// What is wrong with a new password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Fewer characters than the project asks for.
    #[error("needs at least {0} characters")]
    TooShort(u32),
    /// More than [`PASSWORD_BYTES_MAX`] bytes.
    #[error("may have at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// Has no lower-case letter.
    #[error("needs a lower-case letter")]
    NoLower,
    /// Has no upper-case letter.
    #[error("needs an upper-case letter")]
    NoUpper,
    /// Has no digit.
    #[error("needs a digit")]
    NoDigit,
    /// Has no character beside letters and digits.
    #[error("needs a character that is no letter and no digit")]
    NoSymbol,
    /// One of those that everybody tries first.
    #[error("is among the most common passwords")]
    Common,
}

/// Everything that is wrong with a new password. Length counts characters (code points) of the
/// password as it is hashed, in NFKC; letters and digits are those of any script.
pub fn check(password: &str, asked: &sign_in::Password) -> Result<(), Vec<Weakness>> {
    // Looked at first, so that nothing below is done for a huge text.
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(vec![Weakness::TooLong]);
    }
    let password: Vec<char> = password.nfkc().collect();
    let has = |is: fn(char) -> bool| password.iter().any(|c| is(*c));
    // Even a project that asks for nothing gets no empty password.
    let length_min = asked.length_min.max(1);
    let is_short = password.len() < usize::try_from(length_min).unwrap_or(usize::MAX);
    let wrong = [
        (is_short, Weakness::TooShort(length_min)),
        (asked.needs_lower && !has(char::is_lowercase), Weakness::NoLower),
        (asked.needs_upper && !has(char::is_uppercase), Weakness::NoUpper),
        (asked.needs_digit && !has(char::is_numeric), Weakness::NoDigit),
        (asked.needs_symbol && !has(|c| !c.is_alphanumeric()), Weakness::NoSymbol),
        (is_common(&password), Weakness::Common),
    ];
    let wrong: Vec<Weakness> =
        wrong.into_iter().filter_map(|(is_so, weakness)| is_so.then_some(weakness)).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> sign_in::Password {
        sign_in::Password {
            length_min: 8,
            needs_lower: true,
            needs_upper: true,
            needs_digit: true,
            needs_symbol: true,
            ..sign_in::Password::default()
        }
    }

    #[test]
    fn says_all_that_is_wrong() {
        use Weakness::{Common, NoDigit, NoLower, NoSymbol, NoUpper, TooLong, TooShort};
        for (password, wrong) in [
            ("", vec![TooShort(8), NoLower, NoUpper, NoDigit, NoSymbol]),
            ("Abc1!", vec![TooShort(8)]),
            ("abcdefgh", vec![NoUpper, NoDigit, NoSymbol, Common]),
            ("PASSWORD1", vec![NoLower, NoSymbol, Common]),
            ("ABCDEFG!7", vec![NoLower]),
            (&"x".repeat(1_025), vec![TooLong]),
        ] {
            assert_eq!(check(password, &all()), Err(wrong), "{password}");
        }
        assert_eq!(check("Tr0ub4dor&3", &all()), Ok(()));
        assert_eq!(check("Ünïcödé9 ß", &all()), Ok(()));
    }

    #[test]
    fn the_default_asks_for_eight_characters_that_are_not_common() {
        let asked = sign_in::Password::default();
        assert_eq!(check("correct horse battery staple", &asked), Ok(()));
        assert_eq!(check("ünïcödé!", &asked), Ok(()));
        assert_eq!(check("1234567", &asked), Err(vec![Weakness::TooShort(8), Weakness::Common]));
        for common in ["password", "PassWord123", "12345678", "aaaaaaaa", "\u{ff11}2345678"] {
            assert_eq!(check(common, &asked), Err(vec![Weakness::Common]), "{common}");
        }
        // Eight characters in four: what counts is what is hashed.
        assert_eq!(check("\u{fb03}\u{fb03}xy", &asked), Ok(()));
    }

    #[test]
    fn nobody_gets_an_empty_password() {
        let asked = sign_in::Password { length_min: 0, ..sign_in::Password::default() };
        assert_eq!(check("", &asked), Err(vec![Weakness::TooShort(1)]));
        assert_eq!(check("q", &asked), Ok(()));
    }

    proptest! {
        #[test]
        fn asking_for_more_never_lets_more_through(password in any::<String>()) {
            let lax = sign_in::Password { length_min: 4, ..sign_in::Password::default() };
            if check(&password, &all()).is_ok() {
                prop_assert_eq!(check(&password, &lax), Ok(()));
            }
        }
    }
}
