//! A key for each person, and what every store of them must do. Who holds the key can read what
//! was sealed for the person; once it is destroyed, nobody can.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::ProjectId;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::Error;
use crate::sealed::{KEY_BYTES, random};

/// Bytes of a subject's name at most.
pub const SUBJECT_BYTES_MAX: usize = 256;

/// A subject's key: 32 random bytes. Clones share them; the last one wipes them.
#[derive(Clone)]
pub struct Key(Arc<Zeroizing<[u8; KEY_BYTES]>>);

impl Key {
    /// Makes a new key.
    ///
    /// Errors: [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(Arc::new(Zeroizing::new(random()?))))
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(Arc::new(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

impl Eq for Key {}

/// Shows nothing.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Checks what stores of keys take as a subject: 1 to [`SUBJECT_BYTES_MAX`] bytes.
///
/// Errors: [`Error::NoSubject`], [`Error::TooLarge`].
pub fn check_subject(subject: &str) -> Result<(), Error> {
    match subject.len() {
        0 => Err(Error::NoSubject),
        1..=SUBJECT_BYTES_MAX => Ok(()),
        _ => Err(Error::TooLarge { what: "the subject", bytes_max: SUBJECT_BYTES_MAX }),
    }
}

/// The keys of subjects, shared by all nodes.
///
/// Every call may fail by [`Error::NoSubject`] and [`Error::TooLarge`] for a name that
/// [`check_subject`] refuses, by [`Error::Unavailable`], [`Error::Io`], [`Error::Full`],
/// [`Error::Closed`], [`Error::Corrupt`], and by [`Error::UnknownServerKey`] for a key that was
/// wrapped under a key of the server that is not known any more.
#[async_trait]
pub trait SubjectKeys: Send + Sync + 'static {
    /// The key; `None` when there never was one, or when it was destroyed.
    async fn get(&self, project: &ProjectId, subject: &str) -> Result<Option<Key>, Error>;

    /// The key, made and durable on return if there was none. All who ask at once, on any node, get
    /// the same one.
    ///
    /// Errors: [`Error::Destroyed`], and then for ever.
    async fn get_or_create(&self, project: &ProjectId, subject: &str) -> Result<Key, Error>;

    /// Destroys the key for good, durably on return; whether there was one. A subject that had none
    /// gets none from here on either. After an error repeat it: it may be done or not.
    async fn destroy(&self, project: &ProjectId, subject: &str) -> Result<bool, Error>;

    /// Destroys every key of a project as [`SubjectKeys::destroy`] does; how many there were. What
    /// others make meanwhile may stay: the project must take no writes any more. May take long.
    async fn wipe_project(&self, project: &ProjectId) -> Result<u64, Error>;
}

#[async_trait]
impl<K: SubjectKeys + ?Sized> SubjectKeys for Arc<K> {
    async fn get(&self, project: &ProjectId, subject: &str) -> Result<Option<Key>, Error> {
        (**self).get(project, subject).await
    }

    async fn get_or_create(&self, project: &ProjectId, subject: &str) -> Result<Key, Error> {
        (**self).get_or_create(project, subject).await
    }

    async fn destroy(&self, project: &ProjectId, subject: &str) -> Result<bool, Error> {
        (**self).destroy(project, subject).await
    }

    async fn wipe_project(&self, project: &ProjectId) -> Result<u64, Error> {
        (**self).wipe_project(project).await
    }
}
