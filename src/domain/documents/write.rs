//! One write of one document, as a client asks for it.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::transform::Transform;
use crate::ids::{CollectionName, DocumentId};
use crate::path::Path;

/// Which version a write is meant for. A version counts every change of the document, deletions
/// included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ExpectedVersion {
    /// Whatever is there, or nothing.
    #[default]
    Any,
    /// Nothing: the document must not exist (`If-None-Match: *`).
    NoStream,
    /// Nothing, and nobody needs to look: the server has just drawn the id, of which there are
    /// never two (UUIDv7, 74 random bits).
    Fresh,
    /// The document must exist (`If-Match: *`).
    Exists,
    /// Exactly this version (`If-Match: "n"`, `ifVersion`).
    Exact(u64),
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream | Self::Fresh => f.write_str("no document"),
            Self::Exists => f.write_str("a document"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

/// What to do. Data is compact JSON text of an object, checked by [`crate::json::compact_object`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Make it; refused when it exists.
    Create(Bytes),
    /// Make it or replace all of it.
    Replace(Bytes),
    /// Merge into it (RFC 7396); refused when it does not exist.
    Patch(Bytes),
    /// Delete it; refused when it does not exist.
    Delete,
    /// Make, replace or patch it, and then change some fields by what they hold.
    Transform {
        /// [`Op::Create`], [`Op::Replace`] or [`Op::Patch`].
        op: Box<Self>,
        /// In order.
        transforms: Vec<Transform>,
    },
    /// Make it what it was at an earlier version, whose data was read from history.
    Restore {
        /// That version.
        version: u64,
        /// Its data.
        data: Bytes,
    },
}

impl Op {
    /// The fields that it changes by what they hold.
    pub fn touched(&self) -> impl Iterator<Item = &Path> {
        let transforms = match self {
            Self::Transform { transforms, .. } => &transforms[..],
            _ => &[],
        };
        transforms.iter().map(|transform| &transform.field)
    }

    /// What it brings, in bytes: its data, and the operands of transforms.
    pub fn bytes(&self) -> usize {
        let transforms = match self {
            Self::Transform { transforms, .. } => transforms.iter().map(Transform::bytes).sum(),
            _ => 0,
        };
        self.data().map_or(0, Bytes::len) + transforms
    }

    /// The data that the write brings, if any.
    fn data(&self) -> Option<&Bytes> {
        match self {
            Self::Create(data) | Self::Replace(data) | Self::Patch(data) => Some(data),
            Self::Restore { data, .. } => Some(data),
            Self::Transform { op, .. } => op.data(),
            Self::Delete => None,
        }
    }
}

/// One write of one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Where.
    pub collection: CollectionName,
    /// Which.
    pub id: DocumentId,
    /// What.
    pub op: Op,
    /// On which condition.
    pub expected: ExpectedVersion,
}

/// A version that a transaction has read and that must still hold when it commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCheck {
    /// Where.
    pub collection: CollectionName,
    /// Which.
    pub id: DocumentId,
    /// The version read; 0 when there was no document.
    pub version: u64,
}
