//! What collections say of their documents' data, as deciding asks for it: whoever decides hands it
//! in, with everything that it takes already compiled.

use crate::ids::CollectionName;
use crate::rejected::Reason;

/// What collections say of their documents. Must say the same of the same document every time.
pub trait Shapes {
    /// A new document's compact text with the defaults of fields that it does not have; `None` when
    /// there are none to fill in.
    fn filled(&self, collection: &CollectionName, data: &str) -> Option<String>;

    /// Whether a document may be so.
    ///
    /// Errors with what is wrong with it.
    fn check(&self, collection: &CollectionName, data: &[u8]) -> Result<(), Reason>;
}

/// No collection says anything.
pub struct Shapeless;

impl Shapes for Shapeless {
    fn filled(&self, _: &CollectionName, _: &str) -> Option<String> {
        None
    }

    fn check(&self, _: &CollectionName, _: &[u8]) -> Result<(), Reason> {
        Ok(())
    }
}

/// Only the defaults: whether a document may be so is asked elsewhere.
pub struct Filling<'a>(pub &'a dyn Shapes);

impl Shapes for Filling<'_> {
    fn filled(&self, collection: &CollectionName, data: &str) -> Option<String> {
        self.0.filled(collection, data)
    }

    fn check(&self, _: &CollectionName, _: &[u8]) -> Result<(), Reason> {
        Ok(())
    }
}
