//! One change of one document, as subscribers see it.

use bytes::Bytes;
use domain::documents::DocumentEvent;
use domain::{Position, Recorded};
use query::Probe;
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
    pub(super) fn seen_by(eye: &Eye, told: &Told, loaded: &Loaded) -> Seen {
        let change = &told.change;
        let before = match &told.before {
            Before::Document(earlier) => eye.look(earlier.clone(), loaded),
            // An old event does not tell what was: it may have been seen.
            Before::Unknown => {
                let data = Bytes::from_static(b"{}");
                Sight::Seen(Document { data, ..change.document.clone() })
            }
            Before::Nothing => Sight::Hidden,
        };
        let after = match change.kind {
            ChangeKind::Removed => Sight::Hidden,
            ChangeKind::Added | ChangeKind::Modified => eye.look(change.document.clone(), loaded),
        };
        let (kind, document) = match (before, after) {
            (Sight::Needs(needs), _) | (_, Sight::Needs(needs)) => return Seen::Needs(needs),
            (Sight::Hidden, Sight::Hidden) => return Seen::Nothing,
            (Sight::Hidden, Sight::Seen(after)) => (ChangeKind::Added, after),
            (Sight::Seen(_), Sight::Seen(after)) => (ChangeKind::Modified, after),
            (Sight::Seen(before), Sight::Hidden) => {
                // What was seen of it last, at the place of the event that took it away.
                let (version, position) = (change.document.version, change.document.position);
                (ChangeKind::Removed, Document { version, position, ..before })
            }
        };
        Seen::Change(Box::new(Self { kind, document, ..change.clone() }))
    }
}

/// What a document's event tells, read once for all whom it may concern.
pub(super) struct Told {
    /// For whoever sees everything.
    pub(super) change: Change,
    before: Before,
    /// Whether what it was is what others were told.
    is_certain: bool,
}

/// The document before an event.
enum Before {
    /// It was not there.
    Nothing,
    /// This.
    Document(Document),
    /// The event does not say.
    Unknown,
}

impl Told {
    /// Errors as [`Change::of`].
    pub(super) fn of(recorded: &Recorded, is_certain: bool) -> Result<Self, Error> {
        let (document, body) = Document::of(recorded)?;
        let before = match (&body, body.data_before()) {
            (DocumentEvent::Created { .. }, _) => Before::Nothing,
            (_, Some(data)) => Before::Document(earlier(&document, data)),
            (_, None) => Before::Unknown,
        };
        Ok(Self { change: Change::new(recorded, document, &body), before, is_certain })
    }

    /// The values of a field that it has and had; `None` where that is not known.
    pub(super) fn values(&self, probe: &Probe) -> Option<Vec<String>> {
        let after = || probe.of(&self.change.document.as_queried());
        Some(match (&self.before, self.change.kind) {
            (Before::Unknown, _) => return None,
            _ if !self.is_certain => return None,
            (Before::Nothing, _) => vec![after()],
            (Before::Document(before), ChangeKind::Removed) => vec![probe.of(&before.as_queried())],
            (Before::Document(before), _) => {
                let (before, after) = (probe.of(&before.as_queried()), after());
                if before == after { vec![after] } else { vec![before, after] }
            }
        })
    }
}

/// The document before its newest event.
fn earlier(document: &Document, data: Bytes) -> Document {
    let version = document.version.saturating_sub(1);
    Document { version, data, ..document.clone() }
}
