//! Ways in: what a person types or brings, as the key that the user is found by. Only who has the
//! server's key can make one, so that nobody's address can be read from log or tables.

use domain::ProjectId;
use domain::users::IdentityKey;

use super::People;
use crate::error::Problem;

/// A way in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'a> {
    /// A mail address, as it was typed.
    Email(&'a str),
    /// A phone number, as it was typed.
    Phone(&'a str),
    /// A person as another issuer names it.
    Issuer {
        /// The issuer.
        issuer: &'a str,
        /// The person.
        subject: &'a str,
    },
    /// A passkey's id.
    Passkey(&'a str),
}

impl People {
    /// The key of a way in.
    ///
    /// Errors with `invalid-body` for what is no address or no number.
    pub(crate) fn key(&self, project: &ProjectId, way: Way<'_>) -> Result<IdentityKey, Problem> {
        let (kind, normalized) = match way {
            Way::Email(text) => {
                let email = auth::address::email(text)
                    .map_err(|error| Problem::body("/email", error.to_string()))?;
                ("email", email.lookup.to_string())
            }
            Way::Phone(text) => {
                let phone = auth::address::phone(text)
                    .map_err(|error| Problem::body("/phone", error.to_string()))?;
                ("phone", phone.to_string())
            }
            // A space stands in no URL.
            Way::Issuer { issuer, subject } => ("oidc", format!("{issuer} {subject}")),
            Way::Passkey(id) => ("passkey", id.to_owned()),
        };
        Ok(format!("{kind}:{}", self.index(project, kind, &normalized)))
    }

    /// A keyed hash of something, under the oldest key of the server: what was stored by it is
    /// found for as long as that key is known, however often the server's key was replaced.
    pub(crate) fn index(&self, project: &ProjectId, kind: &str, text: &str) -> String {
        self.server_keys.indexes(project, kind, text).pop().unwrap_or_default()
    }
}
