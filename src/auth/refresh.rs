//! Refresh tokens: `hw_rt_<user>.<session>.<generation>.<secret>`. The names in it say where to
//! look; only its hash is stored. Which generation is good is the session's to know.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use domain::{SessionId, UserId};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::random;

const PREFIX: &str = "hw_rt_";
const SECRET_BYTES: usize = 32;
const SECRET_CHARACTERS: usize = 43;

/// The longest token, in bytes: the prefix, two ids of 128, a number of 20 digits, the secret and
/// the dots between them.
pub const TOKEN_BYTES_MAX: usize = PREFIX.len() + 128 + 1 + 128 + 1 + 20 + 1 + SECRET_CHARACTERS;

/// The text is no refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token")]
pub struct Malformed;

/// The session's id has a `.` in it, which would leave the token with two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session's id may have no '.' in it")]
pub struct UnfitSession;

/// A refresh token. Whoever has its text has the session.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    user: UserId,
    session: SessionId,
    generation: u64,
    secret: [u8; SECRET_BYTES],
}

impl RefreshToken {
    /// A new token with a secret of its own.
    pub fn generate(
        user: UserId,
        session: SessionId,
        generation: u64,
    ) -> Result<Self, UnfitSession> {
        if session.as_str().contains('.') {
            return Err(UnfitSession);
        }
        Ok(Self { user, session, generation, secret: random::bytes() })
    }

    /// Reads a token. Every token has one spelling: no padding, no leading zeros, no stray bits.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Malformed);
        }
        // From the end: a user's id may have dots in it.
        let mut parts = text.strip_prefix(PREFIX).ok_or(Malformed)?.rsplitn(4, '.');
        let (secret, generation, session, user) =
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(a), Some(b), Some(c), Some(d)) => (a, b, c, d),
                _ => return Err(Malformed),
            };
        if secret.len() != SECRET_CHARACTERS {
            return Err(Malformed);
        }
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).map_err(|_| Malformed)?;
        Ok(Self {
            user: UserId::new(user).map_err(|_| Malformed)?,
            session: SessionId::new(session).map_err(|_| Malformed)?,
            generation: number(generation)?,
            secret: secret.try_into().map_err(|_| Malformed)?,
        })
    }

    /// Whose it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Which session it refreshes.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// How many tokens the session had before it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The token itself, for its owner alone: never store or log it.
    pub fn text(&self) -> String {
        let Self { user, session, generation, secret } = self;
        format!("{PREFIX}{user}.{session}.{generation}.{}", BASE64URL_NOPAD.encode(secret))
    }

    /// What is stored of it: SHA-256 of its text, in hex. The secret has 256 random bits, so that
    /// nothing slower is called for.
    pub fn hash(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.text()))
    }

    /// Whether `stored` is this token's [`RefreshToken::hash`]. Takes as long whether or not it is.
    pub fn matches(&self, stored: &str) -> bool {
        self.hash().as_bytes().ct_eq(stored.as_bytes()).into()
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, session, generation, secret: _ } = self;
        write!(f, "RefreshToken({user}.{session}.{generation}.…)")
    }
}

fn number(text: &str) -> Result<u64, Malformed> {
    // `parse` would also take `+1` and `007`.
    let is_plain =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !is_plain {
        return Err(Malformed);
    }
    text.parse().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(user: &str, session: &str, generation: u64) -> RefreshToken {
        let user = UserId::new(user).unwrap();
        RefreshToken::generate(user, SessionId::new(session).unwrap(), generation).unwrap()
    }

    #[test]
    fn hides_its_secret() {
        let token = token("u1", "s1", 3);
        assert_eq!(format!("{token:?}"), "RefreshToken(u1.s1.3.…)");
        assert!(token.text().starts_with("hw_rt_u1.s1.3."));
    }

    #[test]
    fn is_known_by_its_hash() {
        let one = token("u1", "s1", 3);
        assert_eq!(one.hash().len(), 64);
        assert!(one.matches(&one.hash()));
        let same_names = token("u1", "s1", 3);
        assert!(!same_names.matches(&one.hash()));
        assert!(!one.matches("") && !one.matches(&one.hash()[1..]));
    }

    #[test]
    fn refuses_every_other_spelling() {
        let secret = "A".repeat(43);
        assert!(RefreshToken::parse(&format!("hw_rt_u.s.0.{secret}")).is_ok());
        for bad in [
            String::new(),
            "hw_rt_".into(),
            format!("hw_rt_u.s.{secret}"),
            format!("hw_pt_u.s.0.{secret}"),
            format!("u.s.0.{secret}"),
            format!("hw_rt_.s.0.{secret}"),
            format!("hw_rt_u..0.{secret}"),
            format!("hw_rt_u.s..{secret}"),
            format!("hw_rt_u.s.00.{secret}"),
            format!("hw_rt_u.s.+1.{secret}"),
            format!("hw_rt_u.s.-1.{secret}"),
            format!("hw_rt_u.s.18446744073709551616.{secret}"),
            format!("hw_rt_u.s.0.{secret}="),
            format!("hw_rt_u.s.0.{secret}A"),
            format!("hw_rt_u.s.0.{}", &secret[1..]),
            format!("hw_rt_u.s.0.{}B", &secret[1..]),
            format!("hw_rt_u.s.0.{}+", &secret[1..]),
            format!("hw_rt_u.s.0.{secret}\n"),
            format!(" hw_rt_u.s.0.{secret}"),
            format!("hw_rt_{}.s.0.{secret}", "u".repeat(129)),
        ] {
            assert_eq!(RefreshToken::parse(&bad), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn a_session_with_a_dot_gets_no_token() {
        let session = SessionId::new("s.1").unwrap();
        let made = RefreshToken::generate(UserId::new("u").unwrap(), session, 0);
        assert_eq!(made, Err(UnfitSession));
    }

    #[test]
    fn the_longest_fits() {
        let longest = token(&"u".repeat(128), &"s".repeat(128), u64::MAX);
        assert_eq!(longest.text().len(), TOKEN_BYTES_MAX);
        assert_eq!(RefreshToken::parse(&longest.text()), Ok(longest));
    }

    proptest! {
        #[test]
        fn text_reads_back(
            user in "[A-Za-z0-9-][A-Za-z0-9_.-]{0,30}",
            session in "[A-Za-z0-9-][A-Za-z0-9_-]{0,30}",
            generation: u64,
        ) {
            let token = token(&user, &session, generation);
            prop_assert_eq!(RefreshToken::parse(&token.text()), Ok(token));
        }

        #[test]
        fn any_change_changes_the_hash(place: prop::sample::Index, byte in 0x20_u8..0x7f) {
            let one = token("u.1", "s1", 42);
            let mut text = one.text().into_bytes();
            let place = place.index(text.len());
            prop_assume!(text[place] != byte);
            text[place] = byte;
            let changed = RefreshToken::parse(std::str::from_utf8(&text).unwrap());
            prop_assert!(changed.is_err() || !changed.unwrap().matches(&one.hash()));
        }

        #[test]
        fn any_text_is_borne(text in "(hw_rt_)?[A-Za-z0-9._-]{0,80}") {
            if let Ok(token) = RefreshToken::parse(&text) {
                prop_assert_eq!(token.text(), text);
            }
        }
    }
}
