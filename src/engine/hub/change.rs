//! One change of one document, as subscribers see it.

use domain::documents::DocumentEvent;
use domain::{DocumentId, Position, Recorded};
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
        let event = &recorded.event;
        let corrupt = |detail: &str| Error::Corrupt(format!("{}: {detail}", recorded.position));
        let body = DocumentEvent::decode(event).map_err(|e| Error::Corrupt(e.to_string()))?;
        let (kind, created_at, data) = match body {
            Some(DocumentEvent::Created { data, .. }) => (ChangeKind::Added, event.time, data),
            Some(DocumentEvent::Updated { created_at, data, .. }) => {
                (ChangeKind::Modified, created_at, data)
            }
            Some(DocumentEvent::Deleted { created_at, data }) => {
                (ChangeKind::Removed, created_at, data)
            }
            None => return Err(corrupt("not an event of a document")),
        };
        let (_, id) = event.stream.as_document().ok_or_else(|| corrupt("not a document"))?;
        let document = Document {
            id: DocumentId::new(id).map_err(|_| corrupt("not a document's id"))?,
            version: event.stream_version,
            created_at,
            updated_at: event.time,
            position: recorded.position,
            data,
        };
        Ok(Self { kind, document, position: recorded.position, event: event.id })
    }
}
