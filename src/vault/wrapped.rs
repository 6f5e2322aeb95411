//! A key as engines store it: sealed under the server's key, bound to the name it belongs to.

use zeroize::Zeroizing;

use crate::sealed::{self, KEY_BYTES, NONCE_BYTES, TAG_BYTES, from_text, to_text};
use crate::server_key::ID_BYTES;
use crate::{Error, Key, Name, ServerKeys};

/// A key under the server's key: 64 bytes that may be stored anywhere. Without that key they say
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped([u8; Self::BYTES]);

impl Wrapped {
    /// Its length: id of the server's key, nonce, key, tag.
    pub const BYTES: usize = ID_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

    /// As it was stored.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// To be stored.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// To be stored as text: base64url.
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

impl ServerKeys {
    /// Wraps a subject's key under the current key.
    ///
    /// Errors: [`Error::Random`].
    pub fn wrap(&self, name: &Name, key: &Key) -> Result<Wrapped, Error> {
        self.wrap_bytes(&[b"subject", name.as_bytes()], key.bytes())
    }

    /// The subject's key that was wrapped for this name.
    ///
    /// Errors: [`Error::Unreadable`], [`Error::UnknownServerKey`].
    pub fn unwrap(&self, name: &Name, wrapped: &Wrapped) -> Result<Key, Error> {
        self.unwrap_bytes(&[b"subject", name.as_bytes()], wrapped).map(Key::from_bytes)
    }

    /// Whether a key lies under an earlier key of the server, so that it should be wrapped anew.
    pub fn is_outdated(&self, Wrapped(wrapped): &Wrapped) -> bool {
        wrapped.first_chunk() != Some(&self.current.id_bytes())
    }

    pub(crate) fn wrap_bytes(
        &self,
        context: &[&[u8]],
        key: &[u8; KEY_BYTES],
    ) -> Result<Wrapped, Error> {
        let head = self.current.id_bytes();
        let sealed = sealed::seal(self.current.wrapping(), &head, context, key)?;
        sealed.try_into().map(Wrapped).map_err(|_| Error::Unreadable)
    }

    pub(crate) fn unwrap_bytes(
        &self,
        context: &[&[u8]],
        Wrapped(wrapped): &Wrapped,
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
        let id = wrapped.first_chunk().ok_or(Error::Unreadable)?;
        self.open_by(*id, |key| {
            let opened = sealed::open(key.wrapping(), ID_BYTES, context, wrapped)?;
            let opened = Zeroizing::new(opened);
            let mut bytes = Zeroizing::new([0; KEY_BYTES]);
            if opened.len() != KEY_BYTES {
                return Err(Error::Unreadable);
            }
            bytes.copy_from_slice(&opened);
            Ok(bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Names, ServerKey};
    use domain::ProjectId;

    #[test]
    fn a_wrapped_key_belongs_to_one_name() {
        let keys = ServerKeys::new(ServerKey::generate().unwrap());
        let names = Names::generate().unwrap();
        let acme = ProjectId::new("acme").unwrap();
        let [ann, bob] = ["ann", "bob"].map(|subject| names.subject(&acme, subject));
        let key = Key::generate().unwrap();
        let wrapped = keys.wrap(&ann, &key).unwrap();
        let stored = Wrapped::parse(&wrapped.to_text()).unwrap();
        assert!(keys.unwrap(&ann, &stored).unwrap() == key);
        assert!(keys.unwrap(&bob, &stored).is_err());
        for bit in 0..Wrapped::BYTES * 8 {
            let mut altered = *wrapped.as_bytes();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.unwrap(&ann, &Wrapped::from_bytes(altered)).is_err(), "bit {bit}");
        }
        for text in ["", "A", &wrapped.to_text()[1..], &format!("{}AA", wrapped.to_text())] {
            assert!(Wrapped::parse(text).is_err(), "{text}");
        }
    }
}
