//! What can go wrong with a log, told apart by what the caller must do.

use domain::{Offset, PartitionId};

/// A failure of the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No room for the batch. Nothing was written; the partition goes on serving and a later
    /// append may pass.
    #[error("the disk has no room left for partition {partition}: {detail}")]
    Full {
        /// The partition.
        partition: PartitionId,
        /// What was found, for an operator.
        detail: String,
    },
    /// The batch can't be stored as it is: an event or all of them are too large, or make no
    /// sense. Nothing was written; the partition goes on serving.
    #[error("partition {partition} can't take the batch: {reason}")]
    Unfit {
        /// The partition.
        partition: PartitionId,
        /// What is wrong with it.
        reason: String,
    },
    /// The partition refuses to serve until somebody has looked: a failed fsync, or a corrupt
    /// record.
    #[error("partition {partition} refuses to serve: {reason}")]
    Refused {
        /// The partition.
        partition: PartitionId,
        /// Why, for an operator.
        reason: String,
    },
    /// A stored record is not what was written.
    #[error("partition {partition} has a corrupt record at offset {offset}: {detail}")]
    Corrupt {
        /// The partition.
        partition: PartitionId,
        /// Which record.
        offset: Offset,
        /// File, place and what was found.
        detail: String,
    },
    /// Retention has taken what was asked for.
    #[error("offset {asked} of partition {partition} is no longer kept; the oldest is {start}")]
    Trimmed {
        /// The partition.
        partition: PartitionId,
        /// What was asked for.
        asked: Offset,
        /// The oldest offset that is kept.
        start: Offset,
    },
    /// The offset does not exist yet.
    #[error("offset {asked} of partition {partition} is past its end {end}")]
    BeyondEnd {
        /// The partition.
        partition: PartitionId,
        /// What was asked for.
        asked: Offset,
        /// The offset that the next event will get.
        end: Offset,
    },
    /// The topic does not fit what was asked for: another partition count, an unknown format, a
    /// lock held, settings that would lose events.
    #[error("cannot open the log at {path}: {reason}")]
    Open {
        /// The folder, or the topic and its brokers.
        path: String,
        /// Why.
        reason: String,
    },
    /// Another node has taken the partition over: what became of the batch is not known, and
    /// nothing more may be appended before taking over again.
    #[error("another node writes partition {partition} now")]
    Fenced {
        /// The partition.
        partition: PartitionId,
    },
    /// It is not known what became of the batch; nothing more may be appended before taking over
    /// again.
    #[error("it is not known whether partition {partition} has the batch: {reason}")]
    Unsure {
        /// The partition.
        partition: PartitionId,
        /// What happened, for an operator.
        reason: String,
    },
    /// The brokers that hold the log can't be reached, or don't answer in time. Nothing was
    /// written; a later try may pass.
    #[error("the log can't be reached: {reason}")]
    Unreachable {
        /// What was tried and what happened, for an operator.
        reason: String,
    },
    /// The operating system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, to which file.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
}
