//! Secrets of a project's configuration and keys that sign its tokens, sealed under the server's
//! key: they last as long as it does.

use crate::sealed::{self, NONCE_BYTES, TAG_BYTES, from_text, to_text};
use crate::server_key::ID_BYTES;
use crate::{Error, ServerKeys};

/// Bytes of one secret at most.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// The form of what follows.
const VERSION: u8 = 1;
/// The version, then the id of the server's key.
const HEAD_BYTES: usize = 1 + ID_BYTES;

impl ServerKeys {
    /// Seals a secret under the current key, as text. It opens only with the same `context`, which
    /// says where it belongs: a project and a setting, say.
    ///
    /// Errors: [`Error::TooLarge`] beyond [`SECRET_BYTES_MAX`], [`Error::Random`].
    pub fn seal_secret(&self, context: &str, plain: &[u8]) -> Result<String, Error> {
        if plain.len() > SECRET_BYTES_MAX {
            return Err(Error::TooLarge { what: "the secret", bytes_max: SECRET_BYTES_MAX });
        }
        let mut head = vec![VERSION];
        head.extend_from_slice(&self.current.id_bytes());
        let context = [b"secret", context.as_bytes()];
        sealed::seal(self.current.secrets(), &head, &context, plain).map(|sealed| to_text(&sealed))
    }

    /// The secret that [`ServerKeys::seal_secret`] sealed.
    ///
    /// Errors: [`Error::Unreadable`], also for another context; [`Error::UnknownServerKey`].
    pub fn open_secret(&self, context: &str, text: &str) -> Result<Vec<u8>, Error> {
        let sealed = from_text(text, HEAD_BYTES + NONCE_BYTES + SECRET_BYTES_MAX + TAG_BYTES)?;
        let id = match sealed.split_first() {
            Some((&VERSION, rest)) => rest.first_chunk().ok_or(Error::Unreadable)?,
            _ => return Err(Error::Unreadable),
        };
        let context = [b"secret", context.as_bytes()];
        self.open_by(*id, |key| sealed::open(key.secrets(), HEAD_BYTES, &context, &sealed))
    }

    /// Whether a sealed secret opens and was sealed under an earlier key, so that it should be
    /// sealed anew.
    pub fn is_outdated_secret(&self, text: &str) -> bool {
        let sealed = from_text(text, HEAD_BYTES + NONCE_BYTES + SECRET_BYTES_MAX + TAG_BYTES);
        sealed.is_ok_and(|sealed| {
            sealed.first() == Some(&VERSION)
                && sealed.get(1..HEAD_BYTES) != Some(&self.current.id_bytes()[..])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerKey;
    use proptest::prelude::*;

    fn keys() -> ServerKeys {
        ServerKeys::new(ServerKey::generate().unwrap())
    }

    #[test]
    fn an_earlier_key_still_opens() {
        let old = keys();
        let sealed = old.seal_secret("acme/smtp", b"hunter2").unwrap();
        let both = ServerKeys { earlier: vec![old.current.clone()], ..keys() };
        assert_eq!(both.open_secret("acme/smtp", &sealed).unwrap(), b"hunter2");
        assert!(both.is_outdated_secret(&sealed) && !old.is_outdated_secret(&sealed));
        let anew = both.seal_secret("acme/smtp", b"hunter2").unwrap();
        assert!(!both.is_outdated_secret(&anew));

        let only_new = ServerKeys::new(both.current.clone());
        assert_eq!(only_new.open_secret("acme/smtp", &anew).unwrap(), b"hunter2");
        let lost = only_new.open_secret("acme/smtp", &sealed);
        assert!(matches!(&lost, Err(Error::UnknownServerKey { id }) if *id == old.current.id()));
    }

    #[test]
    fn a_secret_has_a_bound() {
        let keys = keys();
        let largest = vec![7; SECRET_BYTES_MAX];
        let sealed = keys.seal_secret("", &largest).unwrap();
        assert_eq!(keys.open_secret("", &sealed).unwrap(), largest);
        let refused = keys.seal_secret("", &vec![7; SECRET_BYTES_MAX + 1]);
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
        let refused = keys.open_secret("", &"A".repeat(1 << 20));
        assert!(matches!(refused, Err(Error::Unreadable)));
    }

    proptest! {
        #[test]
        fn opens_where_it_belongs(
            context in ".{0,20}",
            other in ".{0,20}",
            plain in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let keys = keys();
            let sealed = keys.seal_secret(&context, &plain).unwrap();
            prop_assert_eq!(keys.open_secret(&context, &sealed).unwrap(), plain);
            prop_assert!(context == other || keys.open_secret(&other, &sealed).is_err());
        }

        #[test]
        fn any_altered_character_is_noticed(plain in proptest::collection::vec(any::<u8>(), 0..9)) {
            let keys = keys();
            let sealed = keys.seal_secret("here", &plain).unwrap();
            for (at, original) in sealed.char_indices() {
                for put in ['A', 'B', 'z', '_', '-', '=', '~'] {
                    let mut altered = sealed.clone();
                    altered.replace_range(at..=at, put.encode_utf8(&mut [0; 4]));
                    prop_assert!(put == original || keys.open_secret("here", &altered).is_err());
                }
            }
        }

        #[test]
        fn any_text_is_taken_without_a_panic(text in "[A-Za-z0-9_-]{0,100}|.{0,40}") {
            prop_assert!(keys().open_secret("here", &text).is_err());
        }
    }
}
