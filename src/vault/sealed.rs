//! The one way in which bytes are sealed here: AES-256-GCM (NIST SP 800-38D) with a random 96-bit
//! nonce, bound to a head that stays readable and to a context that is not stored. A key may seal
//! at most 2^32 times (SP 800-38D, 8.3), so each use has a key of its own.

use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroize as _;

use crate::Error;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of the tag behind what was sealed.
pub(crate) const TAG_BYTES: usize = 16;

/// Seals `plain`: head, nonce, ciphertext, tag.
///
/// Errors: [`Error::Random`].
pub(crate) fn seal(
    key: &[u8; KEY_BYTES],
    head: &[u8],
    context: &[&[u8]],
    plain: &[u8],
) -> Result<Vec<u8>, Error> {
    let nonce: [u8; NONCE_BYTES] = random()?;
    let start = head.len() + NONCE_BYTES;
    let mut sealed = Vec::with_capacity(start + plain.len() + TAG_BYTES);
    sealed.extend_from_slice(head);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let cipher = Aes256Gcm::new(key.into());
    let bound_to = bound_to(head, context);
    let tag = cipher.encrypt_in_place_detached((&nonce).into(), &bound_to, &mut sealed[start..]);
    let Ok(tag) = tag else {
        sealed.zeroize();
        // Only beyond 64 GiB, far above every bound here.
        return Err(Error::TooLarge { what: "what is to be sealed", bytes_max: u32::MAX as usize });
    };
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens what [`seal`] made with the same key and context; the first `head_len` bytes are its
/// head.
///
/// Errors: [`Error::Unreadable`].
pub(crate) fn open(
    key: &[u8; KEY_BYTES],
    head_len: usize,
    context: &[&[u8]],
    sealed: &[u8],
) -> Result<Vec<u8>, Error> {
    let (head, rest) = sealed.split_at_checked(head_len).ok_or(Error::Unreadable)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(Error::Unreadable)?;
    let (cipher_text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Error::Unreadable)?;
    let mut plain = cipher_text.to_vec();
    let cipher = Aes256Gcm::new(key.into());
    let bound_to = bound_to(head, context);
    cipher
        .decrypt_in_place_detached(nonce.into(), &bound_to, &mut plain, tag.into())
        .map_err(|_| Error::Unreadable)?;
    Ok(plain)
}

/// The additional data: the head, then the context, each part behind its length, so that no two
/// lists of parts give the same bytes.
fn bound_to(head: &[u8], context: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    for part in std::iter::once(&head).chain(context) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// HMAC-SHA256 (RFC 2104) over parts, each behind its length.
pub(crate) fn mac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; 32] {
    // Explicit, for the AEAD crate has a `KeyInit` of the same method.
    let mut mac = match <Hmac<Sha256> as Mac>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC takes keys of any length"),
    };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Random { reason: e.to_string() })?;
    Ok(bytes)
}

/// As text that fits a URL, a JSON string and a file name: base64url without padding (RFC 4648,
/// 5).
pub(crate) fn to_text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What [`to_text`] made, of at most `bytes_max` bytes.
///
/// Errors: [`Error::Unreadable`], also for a text longer than anything made here.
pub(crate) fn from_text(text: &str, bytes_max: usize) -> Result<Vec<u8>, Error> {
    if text.len() > text_len(bytes_max) {
        return Err(Error::Unreadable);
    }
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Unreadable)
}

/// Characters of a text of so many bytes.
const fn text_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(mac(&[7; 32], &[]), mac(&[7; 32], &[b""]));
        assert_ne!(mac(&[7; 32], &[b"ab", b"c"]), mac(&[7; 32], &[b"a", b"bc"]));
    }

    proptest! {
        #[test]
        fn opens_only_as_it_was_sealed(
            key: [u8; 32],
            head in proptest::collection::vec(any::<u8>(), 0..8),
            plain in proptest::collection::vec(any::<u8>(), 0..300),
            (place, field) in ("[a-z]{0,4}", "[a-z]{0,4}"),
        ) {
            let context: [&[u8]; 2] = [place.as_bytes(), field.as_bytes()];
            let sealed = seal(&key, &head, &context, &plain).unwrap();
            prop_assert_eq!(&open(&key, head.len(), &context, &sealed).unwrap(), &plain);
            let again = seal(&key, &head, &context, &plain).unwrap();
            prop_assert_ne!(&again, &sealed, "a nonce was used twice");

            let joined = format!("{place}{field}");
            for other in [&[place.as_bytes()][..], &[joined.as_bytes()], &[joined.as_bytes(), b""]]
            {
                if other != context {
                    prop_assert!(open(&key, head.len(), other, &sealed).is_err());
                }
            }
            let mut other_key = key;
            other_key[0] ^= 1;
            prop_assert!(open(&other_key, head.len(), &context, &sealed).is_err());
        }

        #[test]
        fn any_flipped_bit_is_noticed(
            plain in proptest::collection::vec(any::<u8>(), 0..40),
            cut in any::<proptest::sample::Index>(),
        ) {
            let sealed = seal(&[1; 32], b"head", &[b"here"], &plain).unwrap();
            for bit in 0..sealed.len() * 8 {
                let mut altered = sealed.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(open(&[1; 32], 4, &[b"here"], &altered).is_err(), "bit {}", bit);
            }
            let cut = cut.index(sealed.len());
            prop_assert!(open(&[1; 32], 4, &[b"here"], &sealed[..cut]).is_err());
        }

        #[test]
        fn any_text_is_taken_without_a_panic(text in ".{0,200}") {
            let _ = from_text(&text, 64);
        }
    }

    #[test]
    fn texts_have_one_form() {
        for len in 0..40 {
            let bytes = vec![0xff; len];
            let text = to_text(&bytes);
            assert_eq!(text.len(), text_len(len));
            assert_eq!(from_text(&text, len).unwrap(), bytes);
            assert!(len == 0 || from_text(&text, len - 1).is_err());
            assert!(from_text(&format!("{text}="), 64).is_err());
        }
        // The last character has bits that mean nothing; they must be zero.
        assert!(from_text("AA", 1).is_ok() && from_text("AB", 1).is_err());
    }
}
