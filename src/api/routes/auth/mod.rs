//! Signing in: what people call, without a key or with an access token of their own. What a wrong
//! answer tells is the same whether or not there is such a user, and takes as long.

pub(crate) mod authorize;
pub(crate) mod callback;
pub(crate) mod challenges;
pub(crate) mod codes;
pub(crate) mod confirm;
pub(crate) mod confirm_page;
pub(crate) mod contact;
pub(crate) mod custom_token;
pub(crate) mod exchange;
pub(crate) mod id_token;
pub(crate) mod identities;
pub(crate) mod inbox;
pub(crate) mod me;
pub(crate) mod mfa;
pub(crate) mod own;
pub(crate) mod passkeys;
pub(crate) mod password;
pub(crate) mod published;
pub(crate) mod recipients;
pub(crate) mod recover;
pub(crate) mod sessions;
pub(crate) mod visit;
