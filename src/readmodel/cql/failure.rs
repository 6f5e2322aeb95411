//! What went wrong at the database, told apart by what the caller must do: wait and try again, or
//! call an operator.

use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};

use crate::Error;

/// How databases name a table that is not there: either, and by Cassandra also both.
const NO_SUCH_TABLE: [&str; 2] = ["unconfigured table", "does not exist"];

/// Whether the same request may pass later. All of ours are safe to repeat.
pub(super) fn is_transient(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::EmptyPlan
        | ExecutionError::ConnectionPoolError(_)
        | ExecutionError::RequestTimeout(_)
        | ExecutionError::SchemaAgreementError(_)
        | ExecutionError::MetadataError(_)
        | ExecutionError::PrepareError(PrepareError::ConnectionPoolError(_)) => true,
        ExecutionError::LastAttemptError(attempt)
        | ExecutionError::PrepareError(PrepareError::AllAttemptsFailed {
            first_attempt: attempt,
        }) => is_transient_attempt(attempt),
        _ => false,
    }
}

fn is_transient_attempt(attempt: &RequestAttemptError) -> bool {
    match attempt {
        RequestAttemptError::BrokenConnectionError(_)
        | RequestAttemptError::UnableToAllocStreamId => true,
        RequestAttemptError::DbError(answer, _) => matches!(
            answer,
            DbError::Unavailable { .. }
                | DbError::Overloaded
                | DbError::IsBootstrapping
                | DbError::ReadTimeout { .. }
                | DbError::WriteTimeout { .. }
                | DbError::ReadFailure { .. }
                | DbError::WriteFailure { .. }
                | DbError::ServerError
                | DbError::TruncateError
                | DbError::RateLimitReached { .. }
        ),
        _ => false,
    }
}

/// What failed while `what` was done.
pub(super) fn failed(what: &str, error: &ExecutionError) -> Error {
    if is_transient(error) {
        return Error::Unavailable { what: format!("{what}: {error}") };
    }
    let (ExecutionError::LastAttemptError(attempt)
    | ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt: attempt })) =
        error
    else {
        return corrupt(what, error);
    };
    match attempt {
        // The space was removed, its tables with it.
        RequestAttemptError::DbError(DbError::Invalid, reason)
            if NO_SUCH_TABLE.iter().any(|text| reason.contains(text)) =>
        {
            Error::Closed
        }
        RequestAttemptError::DbError(..) => Error::Setup { reason: format!("{what}: {attempt}") },
        _ => corrupt(what, attempt),
    }
}

/// An answer that makes no sense.
pub(super) fn corrupt(what: &str, reason: impl std::fmt::Display) -> Error {
    Error::Corrupt { what: format!("{what}: {reason}") }
}
