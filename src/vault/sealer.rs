//! Seals what belongs to a person under the person's own key.

use std::sync::Arc;

use domain::ProjectId;

use crate::sealed::{self, NONCE_BYTES, TAG_BYTES, from_text, to_text};
use crate::{Error, SubjectKeys};

/// Bytes sealed at once at most.
pub const SEALED_BYTES_MAX: usize = 64 << 10;

/// The form of what follows: the nonce, what was sealed, the tag.
const VERSION: u8 = 1;

/// Seals and opens by the keys of a store. Clones share it.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<dyn SubjectKeys>,
}

impl Sealer {
    /// By these keys; put a [`Cached`](crate::Cached) in front of a store that is asked often.
    pub fn new(keys: Arc<dyn SubjectKeys>) -> Self {
        Self { keys }
    }

    /// Seals one field of a subject, as text. It opens only as the same field of the same subject.
    ///
    /// Errors: [`Error::Destroyed`] for a subject that was erased, [`Error::TooLarge`] beyond
    /// [`SEALED_BYTES_MAX`], and those of [`SubjectKeys`].
    pub async fn seal(
        &self,
        project: &ProjectId,
        subject: &str,
        field: &str,
        plain: &[u8],
    ) -> Result<String, Error> {
        if plain.len() > SEALED_BYTES_MAX {
            return Err(Error::TooLarge { what: "the field", bytes_max: SEALED_BYTES_MAX });
        }
        let key = self.keys.get_or_create(project, subject).await?;
        let sealed =
            sealed::seal(key.bytes(), &[VERSION], &context(project, subject, field), plain)?;
        Ok(to_text(&sealed))
    }

    /// What [`Sealer::seal`] sealed; `None` when the subject has no key, for it was destroyed.
    ///
    /// Errors: [`Error::Unreadable`], and those of [`SubjectKeys`].
    pub async fn open(
        &self,
        project: &ProjectId,
        subject: &str,
        field: &str,
        text: &str,
    ) -> Result<Option<Vec<u8>>, Error> {
        let sealed = from_text(text, 1 + NONCE_BYTES + SEALED_BYTES_MAX + TAG_BYTES)?;
        if sealed.first() != Some(&VERSION) {
            return Err(Error::Unreadable);
        }
        let Some(key) = self.keys.get(project, subject).await? else { return Ok(None) };
        sealed::open(key.bytes(), 1, &context(project, subject, field), &sealed).map(Some)
    }

    /// The keys it seals by.
    pub fn keys(&self) -> &Arc<dyn SubjectKeys> {
        &self.keys
    }
}

fn context<'a>(project: &'a ProjectId, subject: &'a str, field: &'a str) -> [&'a [u8]; 4] {
    [b"field", project.as_str().as_bytes(), subject.as_bytes(), field.as_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;
    use proptest::prelude::*;

    fn sealer() -> Sealer {
        Sealer::new(Arc::new(memory::Keys::new()))
    }

    fn project(name: &str) -> ProjectId {
        ProjectId::new(name).unwrap()
    }

    #[tokio::test]
    async fn what_was_sealed_is_gone_with_the_key() {
        let (sealer, acme) = (sealer(), project("acme"));
        let sealed = sealer.seal(&acme, "ann", "email", b"ann@example.org").await.unwrap();
        let opened = sealer.open(&acme, "ann", "email", &sealed).await.unwrap();
        assert_eq!(opened.as_deref(), Some(&b"ann@example.org"[..]));
        sealer.keys().destroy(&acme, "ann").await.unwrap();
        assert_eq!(sealer.open(&acme, "ann", "email", &sealed).await.unwrap(), None);
        let refused = sealer.seal(&acme, "ann", "email", b"again").await;
        assert!(matches!(refused, Err(Error::Destroyed)));
    }

    #[tokio::test]
    async fn a_field_has_a_bound() {
        let (sealer, acme) = (sealer(), project("acme"));
        let largest = vec![1; SEALED_BYTES_MAX];
        let sealed = sealer.seal(&acme, "ann", "f", &largest).await.unwrap();
        assert_eq!(sealer.open(&acme, "ann", "f", &sealed).await.unwrap(), Some(largest));
        let refused = sealer.seal(&acme, "ann", "f", &vec![1; SEALED_BYTES_MAX + 1]).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
        let refused = sealer.open(&acme, "ann", "f", &"A".repeat(1 << 20)).await;
        assert!(matches!(refused, Err(Error::Unreadable)));
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        #[test]
        fn opens_only_where_it_was_sealed(
            plain in proptest::collection::vec(any::<u8>(), 0..60),
            bit in any::<proptest::sample::Index>(),
        ) {
            block_on(async {
                let (sealer, acme) = (sealer(), project("acme"));
                let sealed = sealer.seal(&acme, "ann", "email", &plain).await.unwrap();
                let opened = sealer.open(&acme, "ann", "email", &sealed).await.unwrap();
                assert_eq!(opened, Some(plain));
                // The same key, another field.
                let refused = sealer.open(&acme, "ann", "name", &sealed).await;
                assert!(matches!(refused, Err(Error::Unreadable)));
                // Other keys.
                for (name, subject) in [("acme", "bob"), ("other", "ann")] {
                    let other = project(name);
                    sealer.seal(&other, subject, "email", b"x").await.unwrap();
                    let refused = sealer.open(&other, subject, "email", &sealed).await;
                    assert!(matches!(refused, Err(Error::Unreadable)));
                }
                let mut altered = from_text(&sealed, 1000).unwrap();
                let bit = bit.index(altered.len() * 8);
                altered[bit / 8] ^= 1 << (bit % 8);
                let refused = sealer.open(&acme, "ann", "email", &to_text(&altered)).await;
                assert!(matches!(refused, Err(Error::Unreadable)));
            });
        }
    }
}
