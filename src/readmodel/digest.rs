//! The fingerprint of a space: equal rows give equal digests, whichever engine holds them.
//! Rows must be fed in key order.

use sha2::{Digest, Sha256};

/// SHA-256 over rows in their stored form.
#[derive(Default)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds one row. `key` starts with the table's number.
    pub(crate) fn add(&mut self, key: &[u8], row: &[u8]) {
        // With both lengths before them no two lists of rows give the same bytes.
        self.0.update((key.len() as u64).to_be_bytes());
        self.0.update((row.len() as u64).to_be_bytes());
        self.0.update(key);
        self.0.update(row);
    }

    /// The digest of every row added.
    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
