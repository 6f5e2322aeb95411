//! fjall's errors as ours, told apart by what the caller must do.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::Error;

/// For `map_err`: what failed while `what` was done on an open store.
pub(super) fn while_(what: &'static str) -> impl Fn(fjall::Error) -> Error {
    move |error| match error {
        fjall::Error::Io(e) | fjall::Error::Storage(fjall::LsmError::Io(e)) => match e.kind() {
            // A file that ends too soon or makes no sense is no fault of the disk's.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => {
                Error::Corrupt { what: format!("{what}: {e}") }
            }
            _ => Error::io(what, e),
        },
        fjall::Error::Poisoned => Error::Io {
            what: what.to_owned(),
            source: io::Error::other("an earlier write failed; open the store again"),
        },
        fjall::Error::KeyspaceDeleted => Error::Closed,
        other => Error::Corrupt { what: format!("{what}: {other}") },
    }
}

/// What failed while the store in `dir` was opened.
pub(super) fn opening(dir: &Path, error: &fjall::Error) -> Error {
    let path = dir.display().to_string();
    match error {
        fjall::Error::Locked => Error::Locked { path },
        other => Error::Unopenable { path, reason: other.to_string() },
    }
}
