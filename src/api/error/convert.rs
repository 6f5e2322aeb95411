//! Engine and domain errors as problems, written out one by one: a new error must choose its code
//! here.

use access::Path;
use domain::json;
use domain::rejected::{Part, Reason, Rejected};

use super::{Code, Problem};

impl From<engine::Error> for Problem {
    fn from(error: engine::Error) -> Self {
        use engine::Error;
        let text = error.to_string();
        match error {
            Error::Rejected(rejected) => rejected.into(),
            Error::Busy | Error::LiveFull => Self::new(Code::Busy, text),
            Error::StorageFull => Self::new(Code::StorageFull, text),
            Error::OutcomeUnknown => Self::new(Code::OutcomeUnknown, text),
            Error::StaleRead { .. } => Self::new(Code::StaleRead, text),
            Error::PositionElsewhere { .. } => Self::new(Code::PositionElsewhere, text),
            Error::PositionAhead { .. } => Self::new(Code::PositionAhead, text),
            Error::Trimmed { .. } => Self::new(Code::HistoryTrimmed, text),
            Error::QueryTooLarge { .. }
            | Error::TooManyGroups
            | Error::WindowTooLarge
            | Error::ExpandTooLarge => Self::new(Code::QueryTooLarge, text),
            Error::IndexNotBuilt => Self::new(Code::IndexNotBuilt, text),
            Error::NotFound(_) => Self::new(Code::NotFound, text),
            // Paths, offsets and the like are for the operator.
            Error::NotOwner
            | Error::Unavailable(_)
            | Error::AheadOfLog { .. }
            | Error::BehindTrimmed { .. }
            | Error::ReadModel(_)
            | Error::Corrupt(_) => {
                Self::new(Code::Unavailable, "this part can't be served now; see the server's log")
                    .because(text)
            }
        }
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        let problem = Self::from(rejected.reason);
        match rejected.part {
            None => problem,
            Some(Part::Write(index)) => {
                let within = problem.place().map(|field| format!("/data{field}"));
                problem.field(format!("/writes/{index}{}", within.unwrap_or_default()))
            }
            Some(Part::Read(index)) => problem.field(format!("/reads/{index}")),
        }
    }
}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        let text = reason.to_string();
        match reason {
            Reason::ProjectNotFound => Self::new(Code::ProjectNotFound, text),
            Reason::ProjectExists => Self::new(Code::ProjectExists, text),
            Reason::KeyNotFound(_) => Self::new(Code::KeyNotFound, text),
            Reason::CollectionNotFound(_) => Self::new(Code::CollectionNotFound, text),
            Reason::ChannelNotFound(_) => Self::new(Code::ChannelNotFound, text),
            Reason::TooMany { .. } => Self::new(Code::TooMany, text),
            Reason::SigningKeyExists => Self::new(Code::SigningKeyExists, text),
            Reason::SigningKeyNotFound(_) => Self::new(Code::SigningKeyNotFound, text),
            Reason::UserNotFound(_) => Self::new(Code::UserNotFound, text),
            Reason::UserExists => Self::new(Code::UserExists, text),
            Reason::UserChanged { .. } => Self::new(Code::UserChanged, text),
            Reason::IdentityTaken => Self::new(Code::IdentityTaken, text),
            Reason::UserDisabled => Self::new(Code::UserDisabled, text),
            Reason::SessionNotFound => Self::new(Code::SessionEnded, text),
            Reason::ChallengeNotFound => Self::new(Code::InvalidCredentials, text),
            Reason::Denied => Self::new(Code::Forbidden, text),
            Reason::FieldDenied(ref field) => {
                Self::new(Code::Forbidden, text).field(pointer_to(field))
            }
            Reason::SubjectMissing(ref field) => {
                Self::new(Code::SubjectMissing, text).field(pointer_to(field))
            }
            Reason::SchemaMismatch { field, detail } => {
                Self::new(Code::SchemaMismatch, detail).field(field)
            }
            Reason::SubjectErased(_) => Self::new(Code::SubjectErased, text),
            Reason::PersonalTooMany { .. } => Self::new(Code::DocumentTooLarge, text),
            Reason::PersonalTooLarge { ref field, .. } => {
                Self::new(Code::DocumentTooLarge, text).field(pointer_to(field))
            }
            Reason::IndexPersonal(_) => Self::new(Code::InvalidBody, text).field("/indexes"),
            Reason::NotUnique(ref fields) => {
                let problem = Self::new(Code::NotUnique, text);
                match fields.first() {
                    Some(field) => problem.field(pointer_to(field)),
                    None => problem,
                }
            }
            Reason::NotComparable(ref field)
            | Reason::ElementsTooMany { ref field, .. }
            | Reason::PlacesTooLarge { ref field, .. } => {
                Self::new(Code::NotIndexable, text).field(pointer_to(field))
            }
            Reason::DocumentNotFound(..) => Self::new(Code::DocumentNotFound, text),
            Reason::DocumentExists { actual } => {
                Self::new(Code::DocumentExists, text).actual_version(Some(actual))
            }
            Reason::VersionMismatch { actual, .. } => {
                Self::new(Code::VersionMismatch, text).actual_version(actual)
            }
            Reason::DocumentInvalid(invalid) => Self::of_json(&invalid, "the document after it"),
            Reason::CommitTooLarge { .. } => Self::new(Code::CommitTooLarge, text),
            Reason::ImportInvalid(..) => Self::new(Code::ImportInvalid, text),
            Reason::IdempotencyKeyReused => {
                Self::new(Code::IdempotencyKeyReused, text).field("Idempotency-Key")
            }
        }
    }
}

/// A field's JSON Pointer, from its name in a collection's configuration.
fn pointer_to(field: &str) -> String {
    Path::parse(field).map_or_else(|_| format!("/{field}"), |path| path.pointer())
}

impl Problem {
    /// JSON that can't be taken; `what` begins the sentence.
    pub(crate) fn of_json(invalid: &json::Invalid, what: &str) -> Self {
        let code = match invalid {
            json::Invalid::Syntax(_) => Code::InvalidJson,
            json::Invalid::NotAnObject => Code::InvalidBody,
            json::Invalid::TooLarge { .. } => Code::DocumentTooLarge,
            json::Invalid::TooDeep { .. } => Code::TooDeep,
        };
        Self::new(code, format!("{what} {invalid}"))
    }
}

impl Problem {
    /// Too many passwords are being looked at.
    pub(crate) fn of_busy(busy: auth::password::Busy) -> Self {
        Self::new(Code::Busy, busy.to_string())
    }

    /// A password that can't be hashed.
    pub(crate) fn of_password(error: auth::password::Error) -> Self {
        match error {
            auth::password::Error::Busy(busy) => Self::of_busy(busy),
            error => Self::body("/password", error.to_string()),
        }
    }

    /// A hook's refusal is the app's own word; its failure is told without a reason.
    pub(crate) fn of_hook(error: messages::hooks::Error) -> Self {
        match error {
            messages::hooks::Error::Refused(message) => Self::new(Code::Forbidden, message),
            error @ messages::hooks::Error::Failed(_) => {
                Self::new(Code::Unavailable, "a hook of the app did not answer").because(error)
            }
        }
    }
}
