//! Through what a subscriber looks at documents: what it may see, and of that what it asked for.

use std::sync::Arc;

use query::Filter;

use crate::access::{Loaded, Sight, Viewer};
use crate::read::Document;

/// A viewer with a filter. Subscribers with equal ones share each frame.
#[derive(Debug, Clone)]
pub(super) struct Eye {
    pub(super) viewer: Viewer,
    pub(super) filter: Option<Arc<Filter>>,
}

impl Eye {
    /// Whether it sees all of everything.
    pub(super) fn sees_all(&self) -> bool {
        self.filter.is_none() && self.viewer.is_past_rules()
    }

    /// Whether both see the same of everything.
    pub(super) fn sees_as(&self, other: &Self) -> bool {
        self.filter == other.filter && self.viewer.sees_as(&other.viewer)
    }

    /// What it sees of a document, as far as `loaded` tells.
    pub(super) fn look(&self, document: Document, loaded: &Loaded) -> Sight {
        match self.viewer.look(document, loaded) {
            Sight::Seen(document) if !self.wants(&document) => Sight::Hidden,
            sight => sight,
        }
    }

    /// Whether what is seen of a document is asked for.
    pub(super) fn wants(&self, seen: &Document) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(&seen.as_queried()))
    }
}
