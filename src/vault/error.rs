//! What can go wrong with keys and with what they seal, told apart by what the caller must do.
//! No text here ever holds a key or what was sealed.

use std::io;

/// A failure of the vault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's key can't be used: no key, a malformed one, or a file that others can read.
    /// An operator must act.
    #[error("the server's key: {reason}")]
    ServerKey {
        /// What was found, and what to do about it.
        reason: String,
    },
    /// Sealed under a server key that is not among the current and the earlier ones: an operator
    /// removed one too soon, or this is another server's data.
    #[error("sealed under the server key {id}, which is not known here")]
    UnknownServerKey {
        /// The id of the key that is missing, in hex.
        id: String,
    },
    /// The text was not sealed here, was altered, or was sealed for another place.
    #[error("this was not sealed here, was altered, or belongs elsewhere")]
    Unreadable,
    /// The ticket was good once; its time is over.
    #[error("the ticket has expired")]
    Expired,
    /// More than may be sealed or opened at once, or a name too long.
    #[error("{what} has more than {bytes_max} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The bound.
        bytes_max: usize,
    },
    /// A subject without a name.
    #[error("a subject must have a name")]
    NoSubject,
    /// The subject's key was destroyed, for good: nothing more is ever sealed for this subject.
    #[error("the key of this subject was destroyed")]
    Destroyed,
    /// Another process holds the keys open. It is alive: say so and stop.
    #[error("the keys at {path} are in use by another process")]
    Locked {
        /// The file.
        path: String,
    },
    /// Stored bytes are not what was written. Unlike a read model, keys can't be made again:
    /// restore them from a backup.
    #[error("the keys are corrupt: {what}")]
    Corrupt {
        /// What was read and how it failed, for an operator.
        what: String,
    },
    /// No room left. Nothing was written.
    #[error("no room left for keys: {what}")]
    Full {
        /// What was being done.
        what: String,
    },
    /// The operating system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The store of keys is not made ready for this version. An operator must act.
    #[error("the store of keys is not ready: {reason}")]
    Setup {
        /// What was found, and what to do about it.
        reason: String,
    },
    /// The store of keys does not answer. What was to be done may be done or not: repeat it.
    #[error("the store of keys is unavailable: {what}")]
    Unavailable {
        /// What was being done and what stood in the way, for an operator.
        what: String,
    },
    /// The store of keys was closed, or stopped after a disk that failed: open it again.
    #[error("the store of keys is closed")]
    Closed,
    /// The system has no random numbers to give.
    #[error("no random numbers: {reason}")]
    Random {
        /// The system's answer.
        reason: String,
    },
}

impl Error {
    /// From what the operating system said while `what` was done: [`Error::Full`] or
    /// [`Error::Io`].
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::WriteZero => Self::Full { what: format!("{}: {source}", what.into()) },
            _ => Self::Io { what: what.into(), source },
        }
    }
}
