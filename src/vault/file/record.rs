//! The bytes of a slot. A slot never crosses a disk's sector, so that a crash leaves it whole or
//! not written; its head has a checksum of its own, so that a spoilt key is still known to be
//! somebody's.
//!
//! ```text
//! header, slots 0 and 1   magic 8 | wrapped names' key 64 | zeros 52 | crc32c 4
//! key, from slot 2 on     magic 4 | state 1 | zeros 3 | name 20 | project 12 | zeros 4 | crc32c 4
//!                         wrapped key 64 | zeros 12 | crc32c 4
//! ```

use crate::{Name, ProjectTag, Wrapped};

/// Bytes of a slot.
pub(super) const SLOT_BYTES: usize = 128;
/// The first slot that is not the header: it has two copies, for without it no key is found.
pub(super) const FIRST: u32 = 2;

const HEADER_MAGIC: [u8; 8] = *b"HWSKEYS1";
const MAGIC: [u8; 4] = *b"HWSK";
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;
/// Bytes of the head with its checksum.
const HEAD_BYTES: usize = 48;

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// Nothing: an append that a crash has stopped, or a key that was wrapped anew elsewhere.
    Hole,
    /// A key.
    Live { name: Name, project: ProjectTag, wrapped: Wrapped },
    /// That there was one, or never may be.
    Destroyed { name: Name, project: ProjectTag },
}

/// What is wrong with a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Damage {
    /// Nobody can tell whose it is.
    Head,
    /// A key that is spoilt.
    Key { name: Name, project: ProjectTag },
    /// A key whose destruction was stopped half-way, or whose remains are spoilt.
    Remains { name: Name, project: ProjectTag },
}

/// The slot of a key.
pub(super) fn live(name: &Name, project: &ProjectTag, wrapped: &Wrapped) -> [u8; SLOT_BYTES] {
    let mut slot = head(LIVE, name, project);
    slot[HEAD_BYTES..HEAD_BYTES + Wrapped::BYTES].copy_from_slice(wrapped.as_bytes());
    let crc = crc32c::crc32c(&slot[HEAD_BYTES..SLOT_BYTES - 4]);
    slot[SLOT_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// What a key's slot is overwritten by: zeros where the key was.
pub(super) fn destroyed(name: &Name, project: &ProjectTag) -> [u8; SLOT_BYTES] {
    head(DESTROYED, name, project)
}

fn head(state: u8, name: &Name, project: &ProjectTag) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..4].copy_from_slice(&MAGIC);
    slot[4] = state;
    slot[8..28].copy_from_slice(name.as_bytes());
    slot[28..40].copy_from_slice(project);
    let crc = crc32c::crc32c(&slot[..HEAD_BYTES - 4]);
    slot[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// Reads a slot.
pub(super) fn decode(slot: &[u8; SLOT_BYTES]) -> Result<Record, Damage> {
    if slot.iter().all(|byte| *byte == 0) {
        return Ok(Record::Hole);
    }
    let (head, body) = slot.split_at(HEAD_BYTES);
    if head[..4] != MAGIC || !is_sound(head) {
        return Err(Damage::Head);
    }
    let name = Name::from_bytes(array(&head[8..28]));
    let project = array(&head[28..40]);
    match head[4] {
        LIVE if is_sound(body) => {
            let wrapped = Wrapped::from_bytes(array(&body[..Wrapped::BYTES]));
            Ok(Record::Live { name, project, wrapped })
        }
        LIVE => Err(Damage::Key { name, project }),
        DESTROYED if body.iter().all(|byte| *byte == 0) => Ok(Record::Destroyed { name, project }),
        DESTROYED => Err(Damage::Remains { name, project }),
        _ => Err(Damage::Head),
    }
}

/// One copy of the header.
pub(super) fn header(names: &Wrapped) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&HEADER_MAGIC);
    slot[8..8 + Wrapped::BYTES].copy_from_slice(names.as_bytes());
    let crc = crc32c::crc32c(&slot[..SLOT_BYTES - 4]);
    slot[SLOT_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// Reads a copy of the header; `None` when it is spoilt.
pub(super) fn decode_header(slot: &[u8]) -> Option<Wrapped> {
    let sound = slot.len() == SLOT_BYTES && slot[..8] == HEADER_MAGIC && is_sound(slot);
    sound.then(|| Wrapped::from_bytes(array(&slot[8..8 + Wrapped::BYTES])))
}

/// Whether these may be the first bytes of a header that was being written for the first time.
pub(super) fn is_begun(bytes: &[u8]) -> bool {
    let shared = bytes.len().min(HEADER_MAGIC.len());
    bytes.iter().all(|byte| *byte == 0) || bytes[..shared] == HEADER_MAGIC[..shared]
}

/// Whether a slot is one of which only the beginning reached the disk, zeros in place of the rest.
/// A whole one that is spoilt is none: its owner may be somebody who was erased.
pub(super) fn is_cut(slot: &[u8; SLOT_BYTES]) -> bool {
    slot[HEAD_BYTES - 1..].iter().all(|byte| *byte == 0)
}

/// Whether the last four bytes are the checksum of those before.
fn is_sound(bytes: &[u8]) -> bool {
    let checked = bytes.split_last_chunk::<4>();
    checked.is_some_and(|(bytes, crc)| crc32c::crc32c(bytes) == u32::from_le_bytes(*crc))
}

/// The first bytes of as many or more.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| bytes[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_gives_back_what_it_holds_and_notices_each_bit() {
        let (name, project) = (Name::from_bytes([7; 20]), [8; 12]);
        let wrapped = Wrapped::from_bytes([9; 64]);
        let slot = live(&name, &project, &wrapped);
        let live = Record::Live { name, project, wrapped };
        assert_eq!(decode(&slot).as_ref(), Ok(&live));
        let gone = destroyed(&name, &project);
        assert_eq!(decode(&gone), Ok(Record::Destroyed { name, project }));
        assert_eq!(decode(&[0; SLOT_BYTES]), Ok(Record::Hole));
        for bit in 0..SLOT_BYTES * 8 {
            for (slot, in_body) in
                [(&slot, Damage::Key { name, project }), (&gone, Damage::Remains { name, project })]
            {
                let mut altered = *slot;
                altered[bit / 8] ^= 1 << (bit % 8);
                let expected = if bit / 8 < HEAD_BYTES { Damage::Head } else { in_body };
                assert_eq!(decode(&altered), Err(expected), "bit {bit}");
            }
        }
        // Written over by half, from either end.
        for cut in 1..SLOT_BYTES {
            let half =
                |first: &[u8], second: &[u8]| array(&[&first[..cut], &second[cut..]].concat());
            for half in [half(&gone, &slot), half(&slot, &gone)] {
                assert!(half == slot || half == gone || decode(&half) != Ok(live.clone()));
            }
        }
    }

    #[test]
    fn a_header_notices_each_bit() {
        let wrapped = Wrapped::from_bytes([9; 64]);
        let slot = header(&wrapped);
        assert_eq!(decode_header(&slot), Some(wrapped));
        for bit in 0..SLOT_BYTES * 8 {
            let mut altered = slot;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_header(&altered), None, "bit {bit}");
        }
        for len in 0..SLOT_BYTES {
            assert!(is_begun(&slot[..len]) && decode_header(&slot[..len]).is_none());
        }
        assert!(!is_begun(b"# notes") && !is_begun(b"HWSx") && is_begun(&[0; 9]));
    }
}
