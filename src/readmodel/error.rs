//! What can go wrong with a read model, told apart by what the caller must do.
//! Nothing here is ever lost for good: the log holds the truth, and a rebuild makes the rows
//! again.

use std::io;

use crate::SpaceId;

/// A failure of the read model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store on disk cannot be opened. Wipe it and rebuild it from the log.
    #[error("cannot open the read model at {path}: {reason}")]
    Unopenable {
        /// The folder.
        path: String,
        /// What was found, for an operator.
        reason: String,
    },
    /// Somebody holds the store open. It is alive: never wipe it; say so and stop.
    #[error("the read model at {path} is in use by another process")]
    Locked {
        /// The folder.
        path: String,
    },
    /// The database is not made ready for this version: no keyspace, another schema version, no
    /// right to it, a limit too low. Trying again does not help: an operator must act.
    #[error("the read model's database is not ready: {reason}")]
    Setup {
        /// What was found, and what to do about it.
        reason: String,
    },
    /// The space was removed while others went on using its tables, so its rows are still there.
    /// Build under another generation.
    #[error("space {space} was removed, and its rows are still there; use another generation")]
    Removed {
        /// The space.
        space: SpaceId,
    },
    /// Stored bytes are not what was written. Drop the space and rebuild it from the log.
    #[error("the read model is corrupt: {what}")]
    Corrupt {
        /// What was read and how it failed, for an operator.
        what: String,
    },
    /// No room left. The batch may be missing: make room, then open the store again.
    #[error("no room left for the read model: {what}")]
    Full {
        /// What was being done.
        what: String,
    },
    /// The operating system said no. After a failed commit open the store again before going on.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The store does not answer: not reachable, too slow, or too few replicas. What was to be
    /// written may be there or not. The same call may pass later: repeat it.
    #[error("the read model is unavailable: {what}")]
    Unavailable {
        /// What was being done and what stood in the way, for an operator.
        what: String,
    },
    /// The store was closed, or its space dropped: shutdown or a rebuild has overtaken the caller.
    #[error("the read model is closed")]
    Closed,
    /// A row, key or scan that does not fit its table: a bug of ours.
    #[error("table {table}: {reason}")]
    Invalid {
        /// The table.
        table: &'static str,
        /// What does not fit.
        reason: String,
    },
}

impl Error {
    /// From what the operating system said while `what` was done: [`Error::Full`] or
    /// [`Error::Io`].
    pub(crate) fn io(what: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { what: format!("{what}: {source}") }
            }
            _ => Self::Io { what: what.to_owned(), source },
        }
    }
}
