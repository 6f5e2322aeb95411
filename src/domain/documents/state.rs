//! What a document's events fold into.

use bytes::Bytes;

use super::events::DocumentEvent;
use crate::event::Event;
use crate::time::Timestamp;

/// A document as its events left it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DocumentState {
    /// How many events the document has had; 0 for one that never was.
    pub version: u64,
    /// When its newest event was; the epoch for one that never was.
    pub changed_at: Timestamp,
    /// The document, unless it was deleted or never made.
    pub live: Option<Live>,
}

/// A document that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// When it was made (last made, where it was deleted in between).
    pub created_at: Timestamp,
    /// Compact JSON text of an object.
    pub data: Bytes,
}

impl DocumentState {
    /// The version that preconditions are compared with: none for a document that does not exist.
    pub fn live_version(&self) -> Option<u64> {
        self.live.as_ref().map(|_| self.version)
    }

    /// The state after one more event. Never fails and has no rules in it.
    #[must_use]
    pub fn evolve(self, event: &Event, body: &DocumentEvent) -> Self {
        let live = match body {
            DocumentEvent::Created { data, .. } => {
                Some(Live { created_at: event.time, data: data.clone() })
            }
            DocumentEvent::Updated { created_at, data, .. } => {
                Some(Live { created_at: *created_at, data: data.clone() })
            }
            DocumentEvent::Deleted { .. } => None,
        };
        Self { version: event.stream_version, changed_at: event.time, live }
    }
}
