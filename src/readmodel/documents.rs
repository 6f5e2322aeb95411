//! The tables of the documents consumer, declared once, and their rows as types.
//! The writer, the API and the hub all read and write through here, so a column has one meaning.
//! Rows are whole values: a put replaces everything, so that replay gives the same rows again.

mod fields;
mod indexes;
mod people;
mod read;
mod write;

use bytes::Bytes;
use domain::{EventType, Offset, Timestamp};
use uuid::Uuid;

use crate::table::{Column, Kind, Table};

pub use indexes::{
    INDEX_ENTRIES, INDEXES, Index, IndexKey, all_indexes, delete_entry, delete_index, entries,
    indexes, put_entry, put_index,
};
pub use people::{
    IDENTITIES, RECENT, RecentRow, USERS, UserRow, delete_identity, delete_recent, get_identity,
    get_user, list_users, put_identity, put_recent, put_user, recent,
};
pub use read::{
    collections, expired_idempotency, get_document, get_expired, get_idempotency, get_project,
    history, list_rows, projects, version_at, version_at_time,
};
pub use write::{
    delete_idempotency, put_collection, put_document, put_expired, put_history, put_idempotency,
    put_project,
};

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

const PROJECT: Column = column("project", Kind::Text);
const COLLECTION: Column = column("collection", Kind::Text);
const ID: Column = column("id", Kind::Text);
const EVENT_ID: Column = column("event_id", Kind::Text);
const VERSION: Column = column("version", Kind::Int);
const OFFSET: Column = column("offset", Kind::Int);
const TIME: Column = column("time", Kind::Time);
const CREATED_AT: Column = column("created_at", Kind::Time);
const UPDATED_AT: Column = column("updated_at", Kind::Time);

/// Every project, with its state for deciding.
pub static PROJECTS: Table = Table {
    number: 1,
    name: "projects",
    partition_key: &[PROJECT],
    clustering_key: &[],
    columns: &[VERSION, CREATED_AT, UPDATED_AT, column("state", Kind::Json)],
    short_lived: false,
};

/// Every document that ever was. A deleted one keeps its row, so that its versions go on counting.
pub static DOCUMENTS: Table = Table {
    number: 2,
    name: "documents",
    partition_key: &[PROJECT, COLLECTION],
    clustering_key: &[ID],
    columns: &[
        VERSION,
        CREATED_AT,
        UPDATED_AT,
        OFFSET,
        column("live", Kind::Bool),
        column("data", Kind::Json),
    ],
    short_lived: false,
};

/// Every event of every document: where in the log each version came from. A collection's share a
/// partition, as its documents do: stored row by row, new documents took twice as long by CQL.
pub static HISTORY: Table = Table {
    number: 3,
    name: "history",
    partition_key: &[PROJECT, COLLECTION],
    clustering_key: &[ID, VERSION],
    columns: &[OFFSET, TIME, column("kind", Kind::Text)],
    short_lived: false,
};

/// Every collection that ever had a document.
pub static COLLECTIONS: Table = Table {
    number: 4,
    name: "collections",
    partition_key: &[PROJECT],
    clustering_key: &[COLLECTION],
    columns: &[column("first_offset", Kind::Int)],
    short_lived: false,
};

/// Requests that came with an idempotency key, by the id of their first event.
pub static IDEMPOTENCY: Table = Table {
    number: 5,
    name: "idempotency",
    partition_key: &[PROJECT],
    clustering_key: &[EVENT_ID],
    columns: &[OFFSET, column("count", Kind::Int), column("fingerprint", Kind::Int), TIME],
    short_lived: true,
};

/// The same by time, to find what has expired. A request that is older than what has expired
/// already stands right after that, so that it is found, too.
pub static IDEMPOTENCY_BY_TIME: Table = Table {
    number: 6,
    name: "idempotency_by_time",
    partition_key: &[PROJECT],
    clustering_key: &[TIME, EVENT_ID],
    columns: &[],
    short_lived: true,
};

/// The last row of [`IDEMPOTENCY_BY_TIME`] that was deleted for its age: those before it are gone,
/// and none is put there any more. So nobody who looks for old rows has to start at the front,
/// where some engines keep what says that rows were deleted.
pub static IDEMPOTENCY_EXPIRED: Table = Table {
    number: 7,
    name: "idempotency_expired",
    partition_key: &[PROJECT],
    clustering_key: &[],
    // Time and id in one, for two columns could come from two writes of the same offset.
    columns: &[column("last", Kind::Text)],
    short_lived: false,
};

/// Every table of the documents consumer.
pub static TABLES: [&Table; 8] =
    [&PROJECTS, &DOCUMENTS, &HISTORY, &COLLECTIONS, &USERS, &IDENTITIES, &INDEXES, &INDEX_ENTRIES];

/// Every table of the idempotency consumer.
pub static IDEMPOTENCY_TABLES: [&Table; 4] =
    [&IDEMPOTENCY, &IDEMPOTENCY_BY_TIME, &IDEMPOTENCY_EXPIRED, &RECENT];

/// A row of [`PROJECTS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Version of the project's stream.
    pub version: u64,
    /// Time of its first event.
    pub created_at: Timestamp,
    /// Time of its newest event.
    pub updated_at: Timestamp,
    /// The project's whole state as JSON; opaque here.
    pub state: Bytes,
}

/// A row of [`DOCUMENTS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Version of the document's stream.
    pub version: u64,
    /// Time of the newest creation.
    pub created_at: Timestamp,
    /// Time of the newest event.
    pub updated_at: Timestamp,
    /// Offset of the newest event.
    pub offset: Offset,
    /// The document's JSON; `None` once it is deleted. Shares memory with a block of the store, so
    /// copy what is to be kept for long.
    pub data: Option<Bytes>,
}

impl Document {
    /// Whether it exists now, rather than only counting on.
    pub fn is_live(&self) -> bool {
        self.data.is_some()
    }
}

/// A row of [`HISTORY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The version that the event made.
    pub version: u64,
    /// Where the event stands.
    pub offset: Offset,
    /// When it was decided.
    pub time: Timestamp,
    /// What happened.
    pub kind: EventType,
}

/// A row of [`IDEMPOTENCY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyEntry {
    /// Offset of the request's first event.
    pub offset: Offset,
    /// How many events the request made.
    pub count: u32,
    /// Hash of the request, to tell a repeat from a misuse.
    pub fingerprint: u64,
    /// When it was decided.
    pub time: Timestamp,
}

/// A place in [`IDEMPOTENCY_BY_TIME`]: its clustering key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByTime {
    /// The request's time, or one shortly after the last expired row if that is later.
    pub time: Timestamp,
    /// The request's first event.
    pub event_id: Uuid,
}

#[cfg(test)]
mod tests;
