//! What reacts to events: one folder per consumer, and the list of them all.
//! A projection here only folds events into rows; reading, storing and checkpoints are the
//! engine's.

mod documents;
mod idempotency;
#[cfg(test)]
mod testing;

use engine::Registration;
use readmodel::{Declared, documents as tables};

/// Folds documents and projects into the tables that answer reads.
pub const DOCUMENTS: Registration =
    Registration { name: "documents", version: 3, forgets: false, make: documents::make };

/// Remembers for a while which events answered which idempotency key, and what changed of users.
pub const IDEMPOTENCY: Registration =
    Registration { name: "idempotency", version: 3, forgets: true, make: idempotency::make };

/// The tables of every consumer, for stores that make them beforehand.
pub const TABLES: [Declared; 2] = [
    Declared { consumer: DOCUMENTS.name, version: DOCUMENTS.version, tables: &tables::TABLES },
    Declared {
        consumer: IDEMPOTENCY.name,
        version: IDEMPOTENCY.version,
        tables: &tables::IDEMPOTENCY_TABLES,
    },
];

/// Every consumer there is.
pub const ALL: [Registration; 2] = [DOCUMENTS, IDEMPOTENCY];
