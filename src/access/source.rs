//! Rules as they are written, and what may be wrong with them.

use std::fmt;

/// What somebody wants to do with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// See one document by its id.
    Read,
    /// See documents of a query, a page or a subscription; asked for each.
    List,
    /// Write a document that does not exist.
    Create,
    /// Write a document that exists.
    Update,
    /// Take a document away.
    Delete,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::List, Self::Create, Self::Update, Self::Delete];

    /// The name in rules: what `request.op` is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The rules of a collection as text. An operation without a rule is denied to everybody.
#[derive(Debug, Clone, Default)]
pub struct Source<'a> {
    /// Who may read a document.
    pub read: Option<&'a str>,
    /// Who may see a document among others.
    pub list: Option<&'a str>,
    /// Who may create a document.
    pub create: Option<&'a str>,
    /// Who may change a document.
    pub update: Option<&'a str>,
    /// Who may delete a document.
    pub delete: Option<&'a str>,
    /// Rules for fields, by [`Path`](crate::Path) as text. A rule covers the field and everything
    /// below it.
    pub fields: Vec<(&'a str, FieldSource<'a>)>,
}

impl<'a> Source<'a> {
    pub(crate) fn of(&self, operation: Operation) -> Option<&'a str> {
        match operation {
            Operation::Read => self.read,
            Operation::List => self.list,
            Operation::Create => self.create,
            Operation::Update => self.update,
            Operation::Delete => self.delete,
        }
    }
}

/// The rules of a field. `None` leaves it to the document's rule.
#[derive(Debug, Clone, Copy, Default)]
pub struct FieldSource<'a> {
    /// Who may see the field.
    pub read: Option<&'a str>,
    /// Who may change the field, or set it at a create.
    pub write: Option<&'a str>,
}

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}:{line}:{column}: {message}")]
pub struct Invalid {
    /// Which: an operation (`create`), or a field with the way (`fields/a.b/read`).
    pub rule: String,
    /// What is wrong.
    pub message: String,
    /// The line, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
}
