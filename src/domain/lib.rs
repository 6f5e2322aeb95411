//! What can happen in Headwater: ids, positions, events, commands, and the pure rules that turn
//! one into the other. Owns no I/O, no async and no clock: times and ids arrive as values, so
//! every function here can be replayed.

pub mod access;
mod actor;
pub mod command;
pub mod documents;
pub mod event;
pub mod ids;
pub mod json;
pub mod number;
pub mod path;
mod position;
pub mod projects;
pub mod raw;
pub mod rejected;
pub mod schema;
pub mod sign_in;
mod time;
pub mod upcast;
pub mod users;
pub mod writers;

pub use actor::{Actor, InvalidActor};
pub use command::Command;
pub use event::{Event, EventType, NewEvent, Recorded, TransactionPart};
pub use ids::{
    ChannelName, CollectionName, DocumentId, KeyId, ProjectId, SessionId, StreamId, UserId,
};
pub use position::{InvalidPosition, Offset, PartitionId, Position, partition_of};
pub use rejected::Rejected;
pub use time::{InvalidTime, Timestamp};
