//! Signing in: what people call, without a key or with an access token of their own. What a wrong
//! answer tells is the same whether or not there is such a user, and takes as long.

pub(crate) mod challenges;
pub(crate) mod me;
pub(crate) mod password;
pub(crate) mod published;
pub(crate) mod sessions;
pub(crate) mod visit;
