//! What must not be read by whoever reads the log or the tables: the server's key, a key per
//! person, and what is sealed with them. Destroying a person's key erases all that was sealed with
//! it, wherever copies lie. Never logs or prints a key, nor what was sealed.

mod cached;
pub mod conformance;
mod error;
pub mod file;
mod index;
pub mod memory;
mod names;
mod sealed;
mod sealer;
mod secrets;
mod server_key;
mod server_keys;
mod subjects;
mod tickets;
mod wrapped;

pub use cached::Cached;
pub use error::Error;
pub use names::{Name, Names, ProjectTag};
pub use sealer::{SEALED_BYTES_MAX, Sealer};
pub use secrets::SECRET_BYTES_MAX;
pub use server_key::ServerKey;
pub use server_keys::ServerKeys;
pub use subjects::{Key, SUBJECT_BYTES_MAX, SubjectKeys, check_subject};
pub use tickets::{PURPOSE_BYTES_MAX, TICKET_BYTES_MAX};
pub use wrapped::Wrapped;
