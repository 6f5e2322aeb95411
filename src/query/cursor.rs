//! Cursors: a place in an ordering, as clients carry it from page to page.

use data_encoding::BASE64URL_NOPAD;
use domain::DocumentId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ORDERED_BYTES_MAX;
use crate::order::{Key, Keys, Order};

/// Bytes of a cursor's text at most: a text of each ordered field, escaped, and the id.
const BYTES_MAX: usize = (ORDERED_BYTES_MAX * 6 * 2 + 1_000) * crate::ORDERS_MAX;

/// What the text begins with, unless it is an id: no id has it. It needs no escape in a URL
/// (RFC 3986, section 2.3).
const MARK: char = '~';

/// A place in an ordering: just before or after a document, which need not be there any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(Keys);

/// The text is no cursor of this query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this query: use what a page of the same orderBy gave")]
pub struct InvalidCursor;

#[derive(Serialize, Deserialize)]
struct Text {
    k: Vec<Value>,
    i: String,
    o: u32,
}

impl Cursor {
    /// At this place.
    pub fn of(keys: Keys) -> Self {
        Self(keys)
    }

    /// The place.
    pub fn keys(&self) -> &Keys {
        &self.0
    }

    /// Just after a document, in the order of ids.
    pub fn of_id(id: &DocumentId) -> Self {
        Self(Keys { fields: Vec::new(), id: id.as_str().to_owned() })
    }

    /// The document's id.
    pub fn id(&self) -> Option<DocumentId> {
        DocumentId::new(&self.0.id).ok()
    }

    /// Its text, for a client: in the order of ids it is the id.
    pub fn text(&self, order: &Order) -> String {
        let Keys { fields, id } = &self.0;
        if order.is_by_id() {
            return id.clone();
        }
        let k = fields.iter().map(Key::to_json).collect();
        let text = Text { k, i: id.clone(), o: order.fingerprint() };
        // Texts, numbers and lists: there is nothing that could fail.
        let json = serde_json::to_vec(&text).unwrap_or_default();
        format!("{MARK}{}", BASE64URL_NOPAD.encode(&json))
    }

    /// Reads what [`Cursor::text`] gave for the same ordering.
    ///
    /// Errors with [`InvalidCursor`].
    pub fn parse(text: &str, order: &Order) -> Result<Self, InvalidCursor> {
        if order.is_by_id() {
            let id = DocumentId::new(text).map_err(|_| InvalidCursor)?;
            return Ok(Self::of_id(&id));
        }
        if text.len() > BYTES_MAX {
            return Err(InvalidCursor);
        }
        let text = text.strip_prefix(MARK).ok_or(InvalidCursor)?;
        let json = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| InvalidCursor)?;
        domain::json::check_names(&json).map_err(|_| InvalidCursor)?;
        let Text { k, i, o } = serde_json::from_slice(&json).map_err(|_| InvalidCursor)?;
        if o != order.fingerprint() || k.len() != order.len() {
            return Err(InvalidCursor);
        }
        domain::ids::check_id(&i).map_err(|_| InvalidCursor)?;
        let fields: Option<Vec<Key>> = k.iter().map(Key::from_json).collect();
        Ok(Self(Keys { fields: fields.ok_or(InvalidCursor)?, id: i }))
    }
}
