//! Users: who somebody is to a project, and its sessions; one stream a user. What is personal is
//! sealed before it comes here, so nothing in this folder can read it: texts of the type
//! [`Sealed`] are opaque, and whoever is looked up is looked up by an [`IdentityKey`], which only
//! who has the server's key can make.

mod command;
mod decide;
mod events;
mod recent;
mod state;
#[cfg(test)]
mod tests;

pub use command::{Issue, Refresh, Step, UserCommand};
pub use decide::{Claimed, decide};
pub(crate) use events::schemas;
pub use events::{DELETED, Ended, UserEvent};
pub use recent::{NewAccess, Recent, Subject};
pub use state::{
    Challenge, Factor, Identity, IdentityKey, Passkey, Sealed, Session, User, UserState,
};

/// The most sessions of a user; of more, the one that was used longest ago ends.
pub const SESSIONS_MAX: usize = 100;
/// The most refresh tokens that are good beside a session's newest: of more tabs that raced, the
/// slowest must sign in again.
pub const SIBLINGS_MAX: usize = 3;
/// The most ways in that a user may have.
pub const IDENTITIES_MAX: usize = 50;
/// The most second factors, and the most passkeys.
pub const FACTORS_MAX: usize = 20;
/// The most challenges that are open at a time, one a purpose.
pub const CHALLENGES_MAX: usize = 16;
/// The most roles, and the most groups.
pub const ROLES_MAX: usize = 100;
/// The most bytes that a user's state without its sessions may take.
pub const USER_BYTES_MAX: usize = 64 << 10;
