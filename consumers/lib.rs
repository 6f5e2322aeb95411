//! What reacts to events: one folder per consumer, and the list of them all.
//! A projection here only folds events into rows; reading, storing and checkpoints are the
//! engine's.

mod documents;
mod idempotency;
#[cfg(test)]
mod testing;

use engine::Registration;

/// Folds documents and projects into the tables that answer reads.
pub const DOCUMENTS: Registration =
    Registration { name: "documents", version: 1, forgets: false, make: documents::make };

/// Remembers which events answered which idempotency key.
pub const IDEMPOTENCY: Registration =
    Registration { name: "idempotency", version: 1, forgets: true, make: idempotency::make };

/// Every consumer there is.
pub const ALL: [Registration; 2] = [DOCUMENTS, IDEMPOTENCY];
