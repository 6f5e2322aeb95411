//! The hub: live subscribers, fed from the log's tail. One shard per API worker thread, each with
//! its own tail of the log, so that a subscriber's queue is touched by one thread only.
//! A subscriber never misses an event and never gets one twice: it is a place in the log that
//! moves on. It takes part in the shared fan-out while it keeps up, and reads the log at its own
//! pace when it does not. Windows and counts have an answer of their own that is kept up to date
//! once for all who ask the same.

mod change;
mod circles;
mod eye;
mod feed;
mod group;
mod live;
mod outgoing;
mod shard;
mod sorted;
mod watch;
mod watched;
mod watches;
mod window;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{CollectionName, DocumentId, Position, ProjectId};
use query::{Filter, Order};

use crate::access::Viewer;
use crate::error::Error;
use crate::read::Document;

pub use change::{Change, ChangeKind};
pub use feed::Subscription;
pub use outgoing::Outgoing;
pub use shard::Shard;

/// Limits of live subscriptions.
#[derive(Debug, Clone)]
pub struct Options {
    /// Frames that may wait for one socket before it falls back to reading the log.
    pub queue_frames_max: usize,
    /// Bytes that may wait for one socket before it falls back to reading the log.
    pub queue_bytes_max: usize,
    /// Rounds of fan-out start at least this far apart for each subscriber written to: under load
    /// a socket then gets several frames by one system call. One subscriber waits for nothing
    /// that could be measured.
    pub pace_each: Duration,
    /// The longest that pacing holds a round back.
    pub pace_max: Duration,
    /// Documents in one frame of a snapshot.
    pub snapshot_documents: usize,
    /// What the windows and counts of one shard may take in memory together, in bytes; beyond,
    /// new ones are refused.
    pub live_bytes_max: usize,
}

/// Documents in one window.
pub const WINDOW_DOCUMENTS_MAX: usize = 1_000;

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_frames_max: 4096,
            queue_bytes_max: 4 << 20,
            pace_each: Duration::from_micros(40),
            pace_max: Duration::from_millis(50),
            snapshot_documents: 50,
            live_bytes_max: 256 << 20,
        }
    }
}

/// What a subscription is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The documents of a collection that the filter holds of; all, without one.
    Collection(CollectionName, Option<Arc<Filter>>, Shape),
    /// One document.
    Document(CollectionName, DocumentId),
}

/// What a subscription wants of the documents that it is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// All of them.
    All,
    /// All of them, and the snapshot in this order.
    Ordered(Arc<Order>),
    /// The first ones of this order, at most so many.
    First(Arc<Order>, usize),
    /// How many there are.
    Count,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With a snapshot.
    Snapshot,
    /// Just after this position, or where that can't be, with a snapshot that says so.
    After(Position),
    /// With a snapshot that says that what the client holds must be thrown away.
    Anew,
}

/// What somebody wants to follow.
#[derive(Debug, Clone)]
pub struct Interest {
    /// Whose documents.
    pub project: ProjectId,
    /// Which.
    pub target: Target,
    /// As far as it may see them.
    pub viewer: Viewer,
    /// From where on.
    pub start: Start,
}

impl Target {
    /// The collection that it is about.
    pub fn collection(&self) -> &CollectionName {
        match self {
            Self::Collection(collection, ..) | Self::Document(collection, _) => collection,
        }
    }

    fn filter(&self) -> Option<Arc<Filter>> {
        match self {
            Self::Collection(_, filter, _) => filter.clone(),
            Self::Document(..) => None,
        }
    }

    fn shape(&self) -> &Shape {
        match self {
            Self::Collection(_, _, shape) => shape,
            Self::Document(..) => &Shape::All,
        }
    }

    /// What the streams of its documents start with, or are.
    fn subject(&self) -> String {
        match self {
            Self::Collection(collection, ..) => format!("document/{collection}"),
            Self::Document(collection, id) => format!("document/{collection}/{id}"),
        }
    }

    /// Whether an event of this stream is for it.
    fn takes(&self, stream: &str) -> bool {
        match self {
            Self::Collection(collection, ..) => {
                let name = stream.strip_prefix("document/").and_then(|rest| rest.split_once('/'));
                name.is_some_and(|(name, _)| name == collection.as_str())
            }
            Self::Document(..) => stream == self.subject(),
        }
    }
}

/// A part of a target's documents as they are at one position.
#[derive(Debug)]
pub struct Snapshot {
    /// The documents.
    pub documents: Vec<Document>,
    /// Every event up to this one is in the snapshot.
    pub position: Position,
    /// Whether the client asked to resume and can't: what it holds must be thrown away.
    pub reset: bool,
    /// Whether more parts follow.
    pub more: bool,
}

/// Turns what happens into frames of one wire protocol. Subscribers whose encoders have the same
/// name share each frame.
pub trait Encoder {
    /// Equal names mean equal frames.
    fn name(&self) -> &str;
    /// A change.
    fn change(&self, change: &Change) -> Bytes;
    /// How many there are.
    fn count(&self, count: u64, position: Position) -> Bytes;
    /// A part of a snapshot.
    fn snapshot(&self, snapshot: &Snapshot) -> Bytes;
    /// Everything up to this position has been sent.
    fn live(&self, position: Position) -> Bytes;
    /// Whether the connection has no other subscription, and so ends with it.
    fn is_alone(&self) -> bool {
        false
    }
    /// The subscription has ended by this error.
    fn failed(&self, error: &Error) -> Bytes;
}
