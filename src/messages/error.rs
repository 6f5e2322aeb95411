//! What can go wrong on the way out, told apart by what the caller must do. Carries no address, no
//! text and no secret, so that it can be logged as it is.

/// A message did not go out, or a call was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration is not usable: says which part.
    #[error("not usable: {0}")]
    Setting(&'static str),
    /// The recipient is no address, or no number.
    #[error("the recipient is not an address that a message can be sent to")]
    Recipient,
    /// What was to be sent can't be made: says why.
    #[error("the message can't be made: {0}")]
    Message(#[from] crate::template::Fault),
    /// Nobody is set up to send it.
    #[error("nobody is set up to send {0}")]
    Unset(&'static str),
    /// The URL or what its name resolves to may not be called from here.
    #[error("may not be called: {0}")]
    Forbidden(&'static str),
    /// No answer in time. A later try may pass.
    #[error("no answer in time")]
    TimedOut,
    /// No connection, or it broke. A later try may pass.
    #[error("can't be reached: {0}")]
    Unreachable(&'static str),
    /// Turned down for now: an SMTP reply 4yz (RFC 5321 §4.2.1), or HTTP 408, 425, 429 or 5xx.
    #[error("turned down for now with {0}")]
    Later(u16),
    /// Turned down for good, by SMTP or HTTP status.
    #[error("turned down with {0}")]
    Refused(u16),
    /// The other side took it badly and said why; at most 300 characters, of the app's own server.
    #[error("refused by the app's server")]
    RefusedBy(String),
    /// The answer can't be understood, or is too large.
    #[error("the answer is not understood: {0}")]
    Answer(&'static str),
    /// The queue has no room left. A later try may pass.
    #[error("too many messages are waiting")]
    Busy,
    /// The queue takes no more: the server is stopping.
    #[error("no more messages are taken")]
    Closed,
}

impl Error {
    /// Whether the same may pass if it is tried again.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Unreachable(_) | Self::Later(_) | Self::Busy)
    }

    /// What an HTTP status outside 200–299 means.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            408 | 425 | 429 | 500..=599 => Self::Later(status),
            _ => Self::Refused(status),
        }
    }
}
