//! Values while a rule is evaluated. What stands in a document, in `auth` or in the rule is
//! borrowed from there.

use std::rc::Rc;

use compact_str::CompactString;
use domain::access::Auth;
use jiff::{SignedDuration, Timestamp};

use crate::document::{Document, Request};
use domain::raw::Raw;

/// A value of the language.
#[derive(Clone)]
pub(crate) enum Value<'v> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Text<'v>),
    Bytes(Rc<[u8]>),
    Timestamp(Timestamp),
    Duration(SignedDuration),
    List(List<'v>),
    Map(Map<'v>),
}

/// A string, borrowed or made.
#[derive(Clone)]
pub(crate) enum Text<'v> {
    Borrowed(&'v str),
    Made(Rc<str>),
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Made(text) => text,
        }
    }
}

/// A list, by where it comes from.
#[derive(Clone)]
pub(crate) enum List<'v> {
    Made(Rc<[Value<'v>]>),
    /// An array in a document.
    Json(Raw<'v>),
    /// An array in a claim.
    Tree(&'v [serde_json::Value]),
    /// Roles, groups or methods.
    Names(&'v [CompactString]),
}

/// A map, by where it comes from.
#[derive(Clone)]
pub(crate) enum Map<'v> {
    Made(Rc<[(Value<'v>, Value<'v>)]>),
    /// An object in a document, or another document.
    Json(Raw<'v>),
    /// An object in a claim.
    Tree(&'v serde_json::Map<String, serde_json::Value>),
    Document(&'v Document<'v>),
    Auth(&'v Auth),
    Request(&'v Request<'v>),
    Meta(&'v Document<'v>),
}

impl<'v> Value<'v> {
    pub(crate) fn text(text: &'v str) -> Self {
        Self::Text(Text::Borrowed(text))
    }

    pub(crate) fn made_text(text: &str) -> Self {
        Self::Text(Text::Made(text.into()))
    }

    pub(crate) fn list(items: Vec<Value<'v>>) -> Self {
        Self::List(List::Made(items.into()))
    }

    /// Text where there is some, else null.
    pub(crate) fn text_or_null(text: Option<&'v str>) -> Self {
        text.map_or(Self::Null, Self::text)
    }
}
