//! The server's key of today beside those of before: what was sealed under any of them opens,
//! and only the current one seals.

use crate::server_key::{ID_BYTES, id_text};
use crate::{Error, ServerKey};

/// The server's keys. To replace one: add the new key as an earlier one on every node, then make it
/// the current one and the old key an earlier one, and remove that only when nothing is left that
/// it sealed.
#[derive(Debug, Clone)]
pub struct ServerKeys {
    /// Seals.
    pub current: ServerKey,
    /// Only open, newest first.
    pub earlier: Vec<ServerKey>,
}

impl ServerKeys {
    /// One key, with none before it.
    pub fn new(current: ServerKey) -> Self {
        Self { current, earlier: Vec::new() }
    }

    /// All of them, the current one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ServerKey> {
        std::iter::once(&self.current).chain(&self.earlier)
    }

    /// Opens by the key that `id` names.
    ///
    /// Errors: [`Error::UnknownServerKey`]; that of `open`.
    pub(crate) fn open_by<T>(
        &self,
        id: [u8; ID_BYTES],
        open: impl Fn(&ServerKey) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut outcome = Err(Error::UnknownServerKey { id: id_text(id) });
        // Two keys may have one id, if hardly ever.
        for key in self.all().filter(|key| key.id_bytes() == id) {
            outcome = open(key);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}
