//! What a live query comes to and how its answer changes: the first documents of an ordering, or
//! how many there are. Pure, as windows are.

use std::collections::HashSet;

use domain::DocumentId;

use super::window::{Changes, Step, Window, difference};
use crate::error::Error;
use crate::read::Document;

/// What a counted document takes in memory, about.
const COUNTED_BYTES: usize = 160;

/// The answer of a live query as of one position.
pub(super) enum Live {
    /// The first documents.
    Window(Window),
    /// Those that are counted, and how many there may be.
    Count(HashSet<DocumentId>, usize),
}

/// What is new of an answer.
pub(super) enum News {
    /// Documents.
    Changes(Changes),
    /// Their number.
    Count(u64),
}

/// What a document's change did to an answer.
pub(super) enum Taken {
    /// Nothing that anybody sees.
    Nothing,
    /// This.
    News(News),
    /// The tables must be asked again: nothing was done.
    Short,
}

impl Live {
    /// Takes what a document has become: `None` when it is not among those asked for any more.
    ///
    /// Errors when the answer has become too large.
    pub(super) fn take(
        &mut self,
        id: &DocumentId,
        after: Option<Document>,
    ) -> Result<Taken, Error> {
        match self {
            Self::Window(window) => match window.put(id, after) {
                Step::Changed(changes) if changes.is_empty() => Ok(Taken::Nothing),
                Step::Changed(changes) => Ok(Taken::News(News::Changes(changes))),
                Step::Short => Ok(Taken::Short),
                Step::TooLarge => Err(Error::WindowTooLarge),
            },
            Self::Count(ids, documents_max) => {
                let is_other = match after {
                    Some(_) => ids.insert(id.clone()),
                    None => ids.remove(id),
                };
                if ids.len() > *documents_max {
                    return Err(Error::QueryTooLarge {
                        documents_max: *documents_max,
                        index: None,
                    });
                }
                let count = ids.len() as u64;
                Ok(if is_other { Taken::News(News::Count(count)) } else { Taken::Nothing })
            }
        }
    }

    /// What somebody must hear who holds `earlier` of it and is to hold this.
    pub(super) fn since(&self, earlier: &Self) -> Option<News> {
        match (earlier, self) {
            (Self::Window(earlier), Self::Window(window)) => {
                let changes = difference(earlier.shown(), window.shown());
                (!changes.is_empty()).then_some(News::Changes(changes))
            }
            (Self::Count(earlier, _), Self::Count(ids, _)) if earlier.len() == ids.len() => None,
            _ => Some(self.news(&[])),
        }
    }

    /// What somebody must hear who holds these documents.
    pub(super) fn news(&self, held: &[Document]) -> News {
        match self {
            Self::Window(window) => News::Changes(difference(held.iter(), window.shown())),
            Self::Count(ids, _) => News::Count(ids.len() as u64),
        }
    }

    /// The documents that are shown.
    pub(super) fn shown(&self) -> Vec<Document> {
        match self {
            Self::Window(window) => window.shown().cloned().collect(),
            Self::Count(..) => Vec::new(),
        }
    }

    /// What it takes in memory, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Window(window) => window.weight(),
            Self::Count(ids, _) => ids.len() * COUNTED_BYTES,
        }
    }
}
