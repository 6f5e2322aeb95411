//! A message of a channel, its place, and what nodes tell each other.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use domain::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A place among the messages of a channel: comparable with others of the same epoch, printed
/// `epoch-offset` in hexadecimal and decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of which start of the server; 0 where nodes share the order.
    pub epoch: u64,
    /// Everything up to here.
    pub offset: u64,
}

/// Not a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no offset of a channel")]
pub struct InvalidPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.offset)
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let (epoch, offset) = text.split_once('-').ok_or(InvalidPlace)?;
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| InvalidPlace)?;
        let place = Self { epoch, offset: offset.parse().map_err(|_| InvalidPlace)? };
        // One way to write each, so no sign and no leading zeros.
        if place.to_string() == text { Ok(place) } else { Err(InvalidPlace) }
    }
}

/// A message as subscribers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Names it.
    pub id: Uuid,
    /// Its place among the others.
    pub offset: u64,
    /// What was said: compact JSON.
    pub data: Bytes,
    /// The user who said it, if it was one.
    pub user: Option<UserId>,
    /// When it was sent.
    pub time: Timestamp,
    /// The connection that does not want to hear it, for it sent it.
    pub(super) origin: Option<Uuid>,
}

/// Somebody who is present in a channel: one connection of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Names the entry.
    pub key: Uuid,
    /// The user, if it is one.
    pub user: Option<UserId>,
    /// What it says of itself: compact JSON.
    pub state: Bytes,
    /// Since when.
    pub since: Timestamp,
    /// Where its connection is.
    pub(super) node: Uuid,
}

/// What a record of the bus says. New variants go at the end; what is not known is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// A message for all in the channel.
    Message { id: Uuid, data: Bytes, user: Option<UserId>, time: Timestamp, origin: Option<Uuid> },
    /// Somebody is present in the channel, or has another state.
    Here { node: Uuid, key: Uuid, user: Option<UserId>, state: Bytes, since: Timestamp },
    /// Somebody has left the channel.
    Gone { node: Uuid, key: Uuid },
    /// The node lives.
    Beat { node: Uuid },
    /// The node stops.
    Bye { node: Uuid },
    /// The node wants to hear again who is where.
    Who { node: Uuid },
}

/// Stands before each record, for others to come.
const VERSION: u8 = 1;

impl Said {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        // Strings, numbers and bytes only: this can't fail.
        if let Err(error) = rmp_serde::encode::write(&mut bytes, self) {
            tracing::error!(%error, "a record can't be written");
        }
        Bytes::from(bytes)
    }

    /// `None` for what another version says.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let said = (*version == VERSION).then(|| rmp_serde::from_slice(rest));
        said?.inspect_err(|error| tracing::debug!(%error, "a record is not understood")).ok()
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::sync::Arc;

    use super::*;

    /// A message at an offset, sent so many microseconds after the beginning of time.
    pub(in super::super) fn message(offset: u64, data: &'static str) -> Arc<Message> {
        Arc::new(Message {
            id: Uuid::from_u128(offset.into()),
            offset,
            data: Bytes::from(data),
            user: None,
            time: Timestamp::from_micros(i64::try_from(offset).unwrap()),
            origin: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_printed_and_in_no_other_way() {
        for (epoch, offset) in [(0, 0), (0, 18_421), (0x6_3f2a, 7), (u64::MAX, u64::MAX)] {
            let place = Place { epoch, offset };
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in ["", "-", "1", "1-", "-1", "01-1", "1-01", "+1-1", "A-1", "1-1-1", "1-x"] {
            assert_eq!(bad.parse::<Place>(), Err(InvalidPlace), "{bad}");
        }
    }

    #[test]
    fn records_arrive_as_they_were_and_others_are_passed_over() {
        let node = Uuid::from_u128(7);
        let said = Said::Message {
            id: Uuid::from_u128(1),
            data: Bytes::from_static(b"{\"a\":\"\xc3\xa4\"}"),
            user: UserId::new("ann").ok(),
            time: Timestamp::from_micros(5),
            origin: Some(node),
        };
        for said in [said, Said::Beat { node }, Said::Gone { node, key: node }] {
            assert_eq!(Said::decode(&said.encode()), Some(said));
        }
        for bad in [&b""[..], &[VERSION], &[9, 1], &[VERSION, 0xc1], &[VERSION, 0x81, 0xa1, b'X']] {
            assert_eq!(Said::decode(bad), None);
        }
    }
}
