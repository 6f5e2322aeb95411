//! What people prove themselves with: passwords, codes, one-time passwords, and the tokens that
//! they get for it; and what keeps others from guessing them. Knows neither the log nor the HTTP
//! server, and stores nothing. Times are handed in, but for rates ([`limits`]) and waits
//! ([`password`]).

pub mod access_token;
pub mod address;
pub mod code;
pub mod limits;
pub mod lockout;
pub mod password;
mod random;
pub mod recovery;
pub mod redirect;
pub mod refresh;
pub mod totp;

/// Too many tries: the next one is looked at after this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many tries: the next one is possible in {} s", self.seconds())]
pub struct RetryAfter(pub std::time::Duration);

impl RetryAfter {
    /// The wait in whole seconds, rounded up, at least 1: what `Retry-After` says (RFC 9110,
    /// section 10.2.3).
    pub fn seconds(self) -> u64 {
        let whole = self.0.as_secs();
        (if self.0.subsec_nanos() > 0 { whole.saturating_add(1) } else { whole }).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn waits_are_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(RetryAfter(Duration::from_millis(millis)).seconds(), seconds);
        }
    }
}
