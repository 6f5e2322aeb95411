//! What the engine answers when it can't do what was asked, told apart by what the caller should
//! do.

use domain::{Position, Rejected};

/// A failure of the engine, or a refusal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The command was refused; nothing was written.
    #[error(transparent)]
    Rejected(Rejected),
    /// The writer's queue is full; nothing was written. Try again soon.
    #[error("too many writes are waiting")]
    Busy,
    /// The disk is full; nothing was written.
    #[error("the disk has no room left for writes")]
    StorageFull,
    /// This node does not write the partition; nothing was written. Another may, or soon will.
    #[error("this node does not write the project's partition now")]
    NotOwner,
    /// The partition takes no writes or reads; nothing was written.
    #[error("{0}")]
    Unavailable(String),
    /// The wait was over before the answer came: the command may or may not have been written.
    #[error("it is not known whether this was written; repeat it with the same idempotency key")]
    OutcomeUnknown,
    /// The read model does not show that position yet.
    #[error("position {position} is not readable yet")]
    StaleRead {
        /// What the client has seen.
        position: Position,
    },
    /// A position of another partition than the project's.
    #[error("position {position} is not of this project")]
    PositionElsewhere {
        /// What the client gave.
        position: Position,
    },
    /// A position after the newest event.
    #[error("position {position} is after the newest event, {newest}")]
    PositionAhead {
        /// What the client gave.
        position: Position,
        /// The newest position.
        newest: Position,
    },
    /// The log no longer keeps that far back.
    #[error("history before position {oldest} is no longer kept")]
    Trimmed {
        /// The oldest position that is kept.
        oldest: Position,
    },
    /// The query would have to look at more documents than one may.
    #[error(
        "the query would look at more than {documents_max} documents: {}",
        too_large(.index.as_deref())
    )]
    QueryTooLarge {
        /// The limit.
        documents_max: usize,
        /// The index that would serve it, as JSON.
        index: Option<String>,
    },
    /// What is unique can't be decided before the index has all documents.
    #[error("the index that keeps values unique is still being built")]
    IndexNotBuilt,
    /// The query comes to more groups than one may.
    #[error("the query comes to more than {} groups", query::GROUPS_MAX)]
    TooManyGroups,
    /// The documents of a live query have more bytes than it may hold.
    #[error("the documents have more than 8 MiB together: give a limit, or a smaller one")]
    WindowTooLarge,
    /// Live queries hold as much as they may, in all.
    #[error("live windows and counts hold as much as they may: try again later")]
    LiveFull,
    /// What documents refer to is more than one answer may have.
    #[error(
        "what is referred to is more than {} documents or {} bytes: ask for fewer at a time",
        crate::expand::DOCUMENTS_MAX,
        crate::read::PAGE_BYTES_MAX
    )]
    ExpandTooLarge,
    /// What was asked for does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The store is ahead of its log: one of them was replaced or cut.
    #[error(
        "the read model of partition {partition} has applied {checkpoint} events but the log has \
         only {end}: \
         the log lost acknowledged events or belongs to another store; not starting"
    )]
    AheadOfLog {
        /// The partition.
        partition: u32,
        /// What the read model has applied.
        checkpoint: u64,
        /// What the log has.
        end: u64,
    },
    /// The tables need events that retention has taken.
    #[error(
        "the tables have applied events up to {checkpoint}, but the log begins at {oldest}: \
         retention took what they need; restore the tables from a copy, or the log"
    )]
    BehindTrimmed {
        /// The oldest position that is kept.
        oldest: Position,
        /// The next offset that the tables need.
        checkpoint: u64,
    },
    /// The read model failed.
    #[error("read model: {0}")]
    ReadModel(String),
    /// Something stored is not what it must be.
    #[error("{0}")]
    Corrupt(String),
}

fn too_large(index: Option<&str>) -> String {
    match index {
        Some(index) => format!("this index would serve it: {index}"),
        None => "narrow it, or page by id (no orderBy, count or aggregate)".to_owned(),
    }
}

impl From<eventlog::Error> for Error {
    fn from(error: eventlog::Error) -> Self {
        match error {
            eventlog::Error::Full { .. } => Self::StorageFull,
            eventlog::Error::Trimmed { partition, start, .. } => {
                Self::Trimmed { oldest: Position { partition, offset: start } }
            }
            eventlog::Error::Corrupt { .. } => Self::Corrupt(error.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<readmodel::Error> for Error {
    fn from(error: readmodel::Error) -> Self {
        match error {
            // It may be back soon; whatever was to be stored stands in the log.
            readmodel::Error::Unavailable { .. } => Self::Unavailable(error.to_string()),
            error => Self::ReadModel(error.to_string()),
        }
    }
}
