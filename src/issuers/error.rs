//! What can go wrong with another issuer, told apart by what the caller must do. No text in here
//! holds a secret, a code or a token.

/// A failure to sign in through another issuer, or to take its token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The project's configuration, or what the issuer publishes of itself, can't be used; somebody
    /// must change it.
    #[error("the issuer is not set up right: {0}")]
    Configuration(String),
    /// The issuer did not answer, or not in a way that can be understood. Another try may pass.
    #[error("the issuer can't be reached: {0}")]
    Unreachable(String),
    /// The issuer said no: its own `error` and `error_description`, cleaned, at most
    /// [`REASON_CHARS_MAX`] characters.
    #[error("the issuer refused: {0}")]
    Refused(String),
    /// A token, or a callback, is not what it should be.
    #[error("not acceptable: {0}")]
    InvalidToken(&'static str),
    /// The token was good once.
    #[error("the token has expired")]
    Expired,
    /// The token is not good yet, by this server's clock.
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// How much of an issuer's own words is kept, in characters.
pub const REASON_CHARS_MAX: usize = 300;

impl Error {
    /// An issuer's refusal in its own words. Whatever of `secrets` it repeats is left out.
    pub(crate) fn refused(code: &str, description: Option<&str>, secrets: &[&str]) -> Self {
        let mut text = code.to_owned();
        if let Some(description) = description.filter(|text| !text.is_empty()) {
            text.push_str(": ");
            text.push_str(description);
        }
        for secret in secrets.iter().filter(|secret| secret.len() >= SECRET_CHARS_MIN) {
            text = text.replace(secret, "…");
        }
        Self::Refused(clean(&text, REASON_CHARS_MAX))
    }
}

// Shorter ones are parts of ordinary words.
const SECRET_CHARS_MIN: usize = 6;

/// One line of at most `chars_max` characters, without control characters.
pub(crate) fn clean(text: &str, chars_max: usize) -> String {
    // Characters that change the direction of text could make one refusal read as another.
    let turns = |one| {
        ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}']
            .iter()
            .any(|range| range.contains(&one))
    };
    let visible = text.chars().map(|one| if one.is_control() || turns(one) { ' ' } else { one });
    let line: String = visible.take(chars_max).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_refusal_repeats_no_secret() {
        let error =
            Error::refused("bad", Some("you sent code-123456\r\nas code"), &["code-123456"]);
        assert_eq!(error, Error::Refused("bad: you sent …  as code".to_owned()));
    }

    proptest! {
        #[test]
        fn a_refusal_is_one_bounded_line(code in ".*", description in ".{0,600}") {
            let Error::Refused(text) = Error::refused(&code, Some(&description), &[]) else {
                return Err(TestCaseError::fail("another kind"));
            };
            prop_assert!(text.chars().count() <= REASON_CHARS_MAX);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
