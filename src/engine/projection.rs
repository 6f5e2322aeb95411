//! What a consumer is: code that folds events into rows of its own tables, and nothing else.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Offset, Recorded};
use readmodel::{Reader, Write};

/// Why a batch could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The store did not answer; the same batch may pass later.
    #[error("{0}")]
    Retry(readmodel::Error),
}

impl From<readmodel::Error> for Fault {
    fn from(error: readmodel::Error) -> Self {
        Self::Retry(error)
    }
}

/// Folds one partition's events into tables. Must give the same rows however the events are cut
/// into batches. May keep in memory what it has read or written; it is thrown away and loaded anew
/// after a failure.
#[async_trait]
pub trait Projection: Send + 'static {
    /// Reads what it keeps in memory.
    async fn load(&mut self, reader: &dyn Reader) -> Result<(), Fault>;

    /// Adds to `writes` what `events`, which come in order and never cut a transaction, make of
    /// the tables. `reader` shows the tables as they were before this batch.
    async fn apply(
        &mut self,
        events: &[Arc<Recorded>],
        reader: &dyn Reader,
        writes: &mut Vec<Write>,
    ) -> Result<(), Fault>;

    /// Whether there is something to do that no event asks for any more.
    fn has_work(&self) -> bool {
        false
    }

    /// A bounded part of that. `reader` shows the tables as all events up to the one at `newest`
    /// left them. In the end the rows must be the same, however much of it was done between which
    /// events.
    async fn work(&mut self, _reader: &dyn Reader, _newest: Offset) -> Result<Work, Fault> {
        Ok(Work::default())
    }
}

/// What is done beside events.
#[derive(Debug, Default)]
pub struct Work {
    /// Stored first.
    pub rows: Vec<Write>,
    /// What says so of those: not there before all of them are, whatever fails in between.
    pub progress: Vec<Write>,
}

/// A projection's entry in the list of consumers.
#[derive(Clone, Copy)]
pub struct Registration {
    /// Names the checkpoint, the tables and the metric label.
    pub name: &'static str,
    /// Raised when the tables change, so that they are built anew from the log.
    pub version: u16,
    /// Whether its tables only hold what is recent, so that it may begin where a trimmed log does.
    /// Any other projection needs every event: without them it is refused.
    pub forgets: bool,
    /// Makes one for a partition.
    pub make: fn() -> Box<dyn Projection>,
}

impl Registration {
    /// The generation that the `count`-th rebuild of this version gets.
    pub(crate) fn generation(&self, count: u16) -> u32 {
        u32::from(self.version) << 16 | u32::from(count)
    }

    /// Whether a generation was built by this version.
    pub(crate) fn made(&self, generation: u32) -> bool {
        generation >> 16 == u32::from(self.version)
    }
}
