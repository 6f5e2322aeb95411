//! One change of one document, as subscribers see it.

use domain::documents::DocumentEvent;
use domain::{Position, Recorded};
use uuid::Uuid;

use crate::error::Error;
use crate::read::Document;

/// What a change did to the set of documents that a subscriber sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The document is new to it.
    Added,
    /// The document is another now.
    Modified,
    /// The document is gone.
    Removed,
}

/// One change of one document.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it did.
    pub kind: ChangeKind,
    /// The document after the change; as it was last, when it was removed.
    pub document: Document,
    /// Where the event stands.
    pub position: Position,
    /// The event.
    pub event: Uuid,
}

impl Change {
    /// What a document's event changed.
    ///
    /// Errors when the event is not a document's or does not decode.
    pub(crate) fn of(recorded: &Recorded) -> Result<Self, Error> {
        let (document, body) = Document::of(recorded)?;
        let kind = match body {
            DocumentEvent::Created { .. } => ChangeKind::Added,
            DocumentEvent::Updated { .. } => ChangeKind::Modified,
            DocumentEvent::Deleted { .. } => ChangeKind::Removed,
        };
        Ok(Self { kind, document, position: recorded.position, event: recorded.event.id })
    }
}
