//! How engines call a subject: by a keyed hash, so that who reads what they store learns neither
//! who there is nor who was erased. The key of the hash belongs to one store, lies in it wrapped,
//! and never changes: a new key of the server renames nobody.

use std::fmt;

use domain::ProjectId;
use zeroize::Zeroizing;

use crate::sealed::{KEY_BYTES, from_text, mac, random, to_text};
use crate::{Error, ServerKeys, Wrapped};

/// What the names' key is bound to.
const CONTEXT: &[&[u8]] = &[b"names"];

/// What one subject of one project is stored under.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name([u8; Self::BYTES]);

impl Name {
    /// Its length.
    pub const BYTES: usize = 20;

    /// As it was stored.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// To be stored.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// To be stored as text: 27 characters of base64url.
    pub fn to_text(&self) -> String {
        to_text(&self.0)
    }

    /// As it was stored as text.
    ///
    /// Errors: [`Error::Unreadable`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bytes = from_text(text, Self::BYTES)?;
        bytes.try_into().map(Self).map_err(|_| Error::Unreadable)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// What tells the subjects of one project from all others.
pub type ProjectTag = [u8; 12];

/// Names subjects. One per store.
#[derive(Clone)]
pub struct Names(Zeroizing<[u8; KEY_BYTES]>);

impl Names {
    /// For a new store.
    ///
    /// Errors: [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// To be stored.
    ///
    /// Errors: [`Error::Random`].
    pub fn wrap(&self, keys: &ServerKeys) -> Result<Wrapped, Error> {
        keys.wrap_bytes(CONTEXT, &self.0)
    }

    /// As they were stored.
    ///
    /// Errors: [`Error::Unreadable`], [`Error::UnknownServerKey`].
    pub fn unwrap(keys: &ServerKeys, wrapped: &Wrapped) -> Result<Self, Error> {
        keys.unwrap_bytes(CONTEXT, wrapped).map(Self)
    }

    /// The name of a subject.
    pub fn subject(&self, project: &ProjectId, subject: &str) -> Name {
        let parts = [b"subject", project.as_str().as_bytes(), subject.as_bytes()];
        Name(cut(mac(&self.0, &parts)))
    }

    /// The tag of a project.
    pub fn project(&self, project: &ProjectId) -> ProjectTag {
        cut(mac(&self.0, &[b"project", project.as_str().as_bytes()]))
    }
}

fn cut<const N: usize>(bytes: [u8; 32]) -> [u8; N] {
    std::array::from_fn(|i| bytes[i])
}
