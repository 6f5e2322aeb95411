//! A field of a document, as queries name it.

use std::borrow::Cow;

use domain::Timestamp;
use domain::path::{InvalidPath, Path};
use domain::raw::{Kind, Raw};

/// A document as queries see it: as much of its data as whoever asks may see.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// Its id.
    pub id: &'a str,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Compact JSON text of an object.
    pub data: &'a [u8],
}

/// Names a field: a path into the data, or something that is known of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    Data(Path),
    Id,
    CreatedAt,
    UpdatedAt,
}

/// Names of what is known of a document beside its data. A field of the data that has such a name
/// is written as a JSON Pointer: `/$id`.
const KNOWN: [(&str, Field); 3] =
    [("$id", Field::Id), ("$createdAt", Field::CreatedAt), ("$updatedAt", Field::UpdatedAt)];

impl Field {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPath> {
        match KNOWN.into_iter().find(|(name, _)| *name == text) {
            Some((_, known)) => Ok(known),
            None => Path::parse(text).map(Self::Data),
        }
    }

    /// As it was written.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Data(path) => path.as_str().to_owned(),
            Self::Id => "$id".to_owned(),
            Self::CreatedAt => "$createdAt".to_owned(),
            Self::UpdatedAt => "$updatedAt".to_owned(),
        }
    }

    /// Its value's JSON text; `None` where the document has none. A list on the way has no fields.
    pub(crate) fn of<'a>(&self, document: &Document<'a>) -> Option<Cow<'a, [u8]>> {
        let quoted = |text: &dyn std::fmt::Display| Cow::Owned(format!("\"{text}\"").into_bytes());
        match self {
            Self::Data(path) => {
                let mut value = Raw::new(document.data);
                for name in path.as_slice() {
                    if value.kind() != Ok(Kind::Object) {
                        return None;
                    }
                    value = value.field(name).ok()??;
                }
                Some(Cow::Borrowed(value.bytes()))
            }
            Self::Id => Some(quoted(&document.id)),
            Self::CreatedAt => Some(quoted(&document.created_at)),
            Self::UpdatedAt => Some(quoted(&document.updated_at)),
        }
    }
}
