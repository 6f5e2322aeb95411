//! Tickets: what this server wants to be given back soon and unaltered, such as the state of a
//! sign-in that goes through another site. Whoever carries one can't read it.

use domain::Timestamp;
use zeroize::Zeroizing;

use crate::sealed::{self, KEY_BYTES, NONCE_BYTES, TAG_BYTES, from_text, mac, to_text};
use crate::server_key::ID_BYTES;
use crate::{Error, ServerKey, ServerKeys};

/// Characters of a ticket at most; all are safe in a URL. The payload may have 3,031 bytes.
pub const TICKET_BYTES_MAX: usize = 4096;
/// Bytes of a purpose at most.
pub const PURPOSE_BYTES_MAX: usize = 256;

/// The form of what follows.
const VERSION: u8 = 1;
/// The version, the id of the server's key, and when the ticket expires, in microseconds.
const HEAD_BYTES: usize = 1 + ID_BYTES + 8;
/// Bytes of the sealed form at most.
const SEALED_BYTES_MAX: usize = TICKET_BYTES_MAX / 4 * 3;
/// Bytes of a payload at most.
const PAYLOAD_BYTES_MAX: usize = SEALED_BYTES_MAX - HEAD_BYTES - NONCE_BYTES - TAG_BYTES;

const DAY_MICROS: i64 = 86_400_000_000;

impl ServerKeys {
    /// Seals a payload for `purpose`, to be opened before `expires_at`.
    ///
    /// Errors: [`Error::TooLarge`] for a payload or a purpose beyond its bound, [`Error::Random`].
    pub fn ticket(
        &self,
        purpose: &str,
        payload: &[u8],
        expires_at: Timestamp,
    ) -> Result<String, Error> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Error::TooLarge { what: "the ticket", bytes_max: PAYLOAD_BYTES_MAX });
        }
        let key = key_for(&self.current, purpose, expires_at)?;
        let mut head = vec![VERSION];
        head.extend_from_slice(&self.current.id_bytes());
        head.extend_from_slice(&expires_at.as_micros().to_be_bytes());
        sealed::seal(&key, &head, &[b"ticket", purpose.as_bytes()], payload)
            .map(|sealed| to_text(&sealed))
    }

    /// The payload of a ticket that [`ServerKeys::ticket`] made for the same purpose. A ticket may
    /// be opened any number of times: who must not accept one twice remembers it.
    ///
    /// Errors: [`Error::Unreadable`]; [`Error::Expired`] for a good ticket at or after its time;
    /// [`Error::UnknownServerKey`].
    pub fn open_ticket(&self, purpose: &str, text: &str, now: Timestamp) -> Result<Vec<u8>, Error> {
        let sealed = from_text(text, SEALED_BYTES_MAX)?;
        let rest = match sealed.split_first() {
            Some((&VERSION, rest)) => rest,
            _ => return Err(Error::Unreadable),
        };
        let (id, rest) = rest.split_first_chunk().ok_or(Error::Unreadable)?;
        let (expires_at, _) = rest.split_first_chunk().ok_or(Error::Unreadable)?;
        let expires_at = Timestamp::from_micros(i64::from_be_bytes(*expires_at));
        let payload = self.open_by(*id, |key| {
            let key = key_for(key, purpose, expires_at)?;
            sealed::open(&key, HEAD_BYTES, &[b"ticket", purpose.as_bytes()], &sealed)
        })?;
        if now >= expires_at {
            return Err(Error::Expired);
        }
        Ok(payload)
    }
}

/// The key of one purpose and one day: anybody may ask for tickets, and a key must not seal more
/// than 2^32 of them.
fn key_for(
    key: &ServerKey,
    purpose: &str,
    expires_at: Timestamp,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
    if purpose.len() > PURPOSE_BYTES_MAX {
        return Err(Error::TooLarge { what: "the purpose", bytes_max: PURPOSE_BYTES_MAX });
    }
    let day = expires_at.as_micros().div_euclid(DAY_MICROS).to_be_bytes();
    Ok(Zeroizing::new(mac(key.tickets(), &[purpose.as_bytes(), &day])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> ServerKeys {
        ServerKeys::new(ServerKey::generate().unwrap())
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_ticket_ends_at_its_time() {
        let keys = keys();
        let ticket = keys.ticket("oauth", b"state", at(1000)).unwrap();
        assert_eq!(keys.open_ticket("oauth", &ticket, at(999)).unwrap(), b"state");
        for now in [1000, 1001, i64::MAX] {
            let late = keys.open_ticket("oauth", &ticket, at(now));
            assert!(matches!(late, Err(Error::Expired)), "{late:?}");
        }
        // A stranger's ticket is not said to be late.
        let strange = keys.open_ticket("other", &ticket, at(1001));
        assert!(matches!(strange, Err(Error::Unreadable)), "{strange:?}");
    }

    #[test]
    fn a_ticket_fits_a_url() {
        let keys = keys();
        let largest = vec![0xff; PAYLOAD_BYTES_MAX];
        let ticket = keys.ticket("p", &largest, at(1)).unwrap();
        assert!(ticket.len() <= TICKET_BYTES_MAX && PAYLOAD_BYTES_MAX == 3031);
        assert!(ticket.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(keys.open_ticket("p", &ticket, at(0)).unwrap(), largest);
        let refused = keys.ticket("p", &vec![0; PAYLOAD_BYTES_MAX + 1], at(1));
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
        let refused = keys.ticket(&"p".repeat(PURPOSE_BYTES_MAX + 1), b"", at(1));
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
        let refused = keys.open_ticket("p", &"A".repeat(TICKET_BYTES_MAX + 4), at(0));
        assert!(matches!(refused, Err(Error::Unreadable)));
    }

    #[test]
    fn an_earlier_key_still_opens() {
        let old = keys();
        let ticket = old.ticket("p", b"state", at(1)).unwrap();
        let both = ServerKeys { earlier: vec![old.current], ..keys() };
        assert_eq!(both.open_ticket("p", &ticket, at(0)).unwrap(), b"state");
        let lost = keys().open_ticket("p", &ticket, at(0));
        assert!(matches!(lost, Err(Error::UnknownServerKey { .. })));
    }

    proptest! {
        #[test]
        fn opens_for_its_purpose_only(
            (purpose, other) in ("[a-z]{0,8}", "[a-z]{0,8}"),
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            micros: i64,
        ) {
            let (keys, expires_at) = (keys(), at(micros));
            let before = at(expires_at.as_micros().saturating_sub(1));
            prop_assume!(before < expires_at);
            let ticket = keys.ticket(&purpose, &payload, expires_at).unwrap();
            prop_assert_eq!(keys.open_ticket(&purpose, &ticket, before).unwrap(), payload);
            prop_assert!(purpose == other || keys.open_ticket(&other, &ticket, before).is_err());
        }

        #[test]
        fn any_flipped_bit_is_noticed(payload in proptest::collection::vec(any::<u8>(), 0..9)) {
            let keys = keys();
            let ticket = from_text(&keys.ticket("p", &payload, at(1)).unwrap(), 4096).unwrap();
            for bit in 0..ticket.len() * 8 {
                let mut altered = ticket.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(keys.open_ticket("p", &to_text(&altered), at(0)).is_err());
            }
        }

        #[test]
        fn any_text_is_taken_without_a_panic(text in "[A-Za-z0-9_-]{0,100}|.{0,40}") {
            prop_assert!(keys().open_ticket("p", &text, at(0)).is_err());
        }
    }
}
