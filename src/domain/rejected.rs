//! Why a command was refused. A refusal writes nothing and is an answer to the client, not a
//! fault.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::documents::ExpectedVersion;
use crate::ids::{CollectionName, DocumentId, KeyId, UserId};
use crate::json;
use crate::projects::ChannelPattern;

/// The reason of a refusal, and which write of a commit it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    /// What is in the way.
    pub reason: Reason,
    /// Index into the commit's `writes` or `reads`, where there are several.
    pub part: Option<Part>,
}

/// A part of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// `writes[i]`.
    Write(usize),
    /// `reads[i]`.
    Read(usize),
}

/// What stands in a command's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    /// No such project, or it was deleted.
    #[error("the project does not exist")]
    ProjectNotFound,
    /// The id is taken, perhaps by a deleted project: ids are never given twice.
    #[error("a project with this id exists already or has existed")]
    ProjectExists,
    /// No such key, or it was revoked.
    #[error("the key {0} does not exist")]
    KeyNotFound(KeyId),
    /// The collection was never configured.
    #[error("the collection {0} is not configured")]
    CollectionNotFound(CollectionName),
    /// Nothing was said of this channel, or of names that begin so.
    #[error("the channel {0} is not configured")]
    ChannelNotFound(ChannelPattern),
    /// A project may have only so many of something.
    #[error("the project has {limit} {what} already, which is the limit")]
    TooMany {
        /// Of what.
        what: Cow<'static, str>,
        /// The limit.
        limit: usize,
    },
    /// No such document, or it was deleted.
    #[error("the document {0}/{1} does not exist")]
    DocumentNotFound(CollectionName, DocumentId),
    /// Create was asked for, but the document is there.
    #[error("the document exists already, at version {actual}")]
    DocumentExists {
        /// Its version.
        actual: u64,
    },
    /// The precondition does not hold.
    #[error("expected {expected}, but {}", actual_text(.actual))]
    VersionMismatch {
        /// What the client expected.
        expected: ExpectedVersion,
        /// The version there is; `None` when the document does not exist.
        actual: Option<u64>,
    },
    /// The project signs access tokens already.
    #[error("the project has a signing key already")]
    SigningKeyExists,
    /// No such key, or it is the one that signs.
    #[error("there is no retired signing key {0}")]
    SigningKeyNotFound(String),
    /// No such user, or it was erased.
    #[error("the user {0} does not exist")]
    UserNotFound(UserId),
    /// The id was given before.
    #[error("a user with this id exists already or has existed")]
    UserExists,
    /// Somebody has changed the user meanwhile.
    #[error("the user was changed meanwhile, to version {actual}")]
    UserChanged {
        /// Its version.
        actual: u64,
    },
    /// A way in is another user's.
    #[error("another user signs in this way")]
    IdentityTaken,
    /// The user may not sign in.
    #[error("the user is disabled")]
    UserDisabled,
    /// No such session, or it has ended.
    #[error("the session does not exist or has ended")]
    SessionNotFound,
    /// Nothing of the kind was asked, or it is too late to answer.
    #[error("nothing is open that this could answer")]
    ChallengeNotFound,
    /// No access rule allows it.
    #[error("no rule allows this")]
    Denied,
    /// An access rule does not allow to write this field.
    #[error("no rule allows to write {0}")]
    FieldDenied(String),
    /// A patch would make the document too large or too deep.
    #[error("the document after the patch {0}")]
    DocumentInvalid(json::Invalid),
    /// The events of one command would take more room than the log gives it.
    #[error("the events of this request would take more than {bytes_max} bytes; split it")]
    CommitTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// An imported event does not fit what is here.
    #[error("event {0} can't be imported: {1}")]
    ImportInvalid(uuid::Uuid, String),
    /// A personal field, and nothing says whose it is.
    #[error("the field {0} is personal, and the document does not say by a user's id whose it is")]
    SubjectMissing(String),
    /// A personal field of somebody who was erased.
    #[error("the user {0} was erased: nothing personal can be written about it")]
    SubjectErased(UserId),
    /// More personal values than are sealed in one document.
    #[error("the document has more than {limit} personal values")]
    PersonalTooMany {
        /// The limit.
        limit: usize,
    },
    /// A personal field too large to be sealed.
    #[error("the personal field {field} has more than {bytes_max} bytes")]
    PersonalTooLarge {
        /// The field.
        field: String,
        /// The limit.
        bytes_max: usize,
    },
    /// A field that is to be in an index is or was personal: what was written then is sealed.
    #[error("the field {0} is or was personal, and so can't be in an index")]
    IndexPersonal(String),
    /// Another document has the same values in fields that are unique.
    #[error("another document has the same {}", .0.join(", "))]
    NotUnique(Vec<String>),
    /// A list, an object or a long text where values must be unique.
    #[error(
        "the field {0} is unique: it may hold null, a boolean, a number or a text of up to 1,496 \
         bytes"
    )]
    NotComparable(String),
    /// More elements than an index takes of one document.
    #[error("the list {field} is in an index, and has more than {limit} elements")]
    ElementsTooMany {
        /// The list.
        field: String,
        /// The limit.
        limit: usize,
    },
    /// More bytes in an index than one document may have there.
    #[error("with the elements of {field} the index would have more than {bytes_max} bytes of it")]
    PlacesTooLarge {
        /// The list.
        field: String,
        /// The limit.
        bytes_max: usize,
    },
    /// The document would not be as its collection's schema says.
    #[error("{detail}")]
    SchemaMismatch {
        /// JSON Pointer into the document's data.
        field: String,
        /// What was expected there.
        detail: String,
    },
    /// The idempotency key was used before, with another request.
    #[error("this idempotency key was used for another request")]
    IdempotencyKeyReused,
}

fn actual_text(actual: &Option<u64>) -> String {
    match actual {
        Some(version) => format!("the document is at version {version}"),
        None => "the document does not exist".to_owned(),
    }
}

impl From<Reason> for Rejected {
    fn from(reason: Reason) -> Self {
        Self { reason, part: None }
    }
}
