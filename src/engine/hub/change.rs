//! One change of one document, as subscribers see it.

use bytes::Bytes;
use domain::documents::DocumentEvent;
use domain::{Position, Recorded};
use uuid::Uuid;

use super::eye::Eye;
use crate::access::{Loaded, Sight};
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
    /// The event; `None` for what several came to.
    pub event: Option<Uuid>,
    /// Whether the next change belongs to this one: only with the last is all of a position told.
    pub more: bool,
}

/// What a change is to somebody who does not see everything.
pub(crate) enum Seen {
    /// This.
    Change(Box<Change>),
    /// Nothing.
    Nothing,
    /// Other documents decide.
    Needs(Vec<(String, String)>),
}

impl Change {
    /// What a document's event changed.
    ///
    /// Errors when the event is not a document's or does not decode.
    pub(crate) fn of(recorded: &Recorded) -> Result<Self, Error> {
        let (document, body) = Document::of(recorded)?;
        Ok(Self::new(recorded, document, &body))
    }

    fn new(recorded: &Recorded, document: Document, body: &DocumentEvent) -> Self {
        let kind = match body {
            DocumentEvent::Created { .. } => ChangeKind::Added,
            DocumentEvent::Updated { .. } => ChangeKind::Modified,
            DocumentEvent::Deleted { .. } => ChangeKind::Removed,
        };
        let (position, event) = (recorded.position, Some(recorded.event.id));
        Self { kind, document, position, event, more: false }
    }

    /// What it changed of what somebody sees: a document comes into its sight or leaves it as if
    /// it were made or deleted.
    ///
    /// Errors as [`Change::of`].
    pub(super) fn seen_by(eye: &Eye, recorded: &Recorded, loaded: &Loaded) -> Result<Seen, Error> {
        let (document, body) = Document::of(recorded)?;
        let is_live = !matches!(body, DocumentEvent::Deleted { .. });
        let earlier = body.data_before().map(|data| earlier(&document, data));
        let was_live = !matches!(body, DocumentEvent::Created { .. });
        let change = Self::new(recorded, document, &body);
        let before = match earlier {
            Some(earlier) => eye.look(earlier, loaded),
            // An old event does not tell what was: it may have been seen.
            None if was_live => {
                let data = Bytes::from_static(b"{}");
                Sight::Seen(Document { data, ..change.document.clone() })
            }
            None => Sight::Hidden,
        };
        let after = match is_live {
            true => eye.look(change.document.clone(), loaded),
            false => Sight::Hidden,
        };
        let (kind, document) = match (before, after) {
            (Sight::Needs(needs), _) | (_, Sight::Needs(needs)) => return Ok(Seen::Needs(needs)),
            (Sight::Hidden, Sight::Hidden) => return Ok(Seen::Nothing),
            (Sight::Hidden, Sight::Seen(after)) => (ChangeKind::Added, after),
            (Sight::Seen(_), Sight::Seen(after)) => (ChangeKind::Modified, after),
            (Sight::Seen(before), Sight::Hidden) => {
                // What was seen of it last, at the place of the event that took it away.
                let (version, position) = (change.document.version, change.document.position);
                (ChangeKind::Removed, Document { version, position, ..before })
            }
        };
        Ok(Seen::Change(Box::new(Self { kind, document, ..change })))
    }
}

/// The document before its newest event.
fn earlier(document: &Document, data: Bytes) -> Document {
    let version = document.version.saturating_sub(1);
    Document { version, data, ..document.clone() }
}
