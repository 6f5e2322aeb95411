use bytes::Bytes;
use compact_str::CompactString;
use domain::{Actor, Event, EventType, KeyId, ProjectId, StreamId, Timestamp, TransactionPart};
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use super::{HEADER_BYTES, Header, Invalid, check, claim, decode, encode};

fn uuids() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn actors() -> impl Strategy<Value = Actor> {
    prop_oneof![
        Just(Actor::System),
        Just(Actor::Admin),
        "[a-z0-9][a-z0-9_.-]{0,40}".prop_map(|id| Actor::Key(KeyId::new(&id).unwrap())),
        ".{0,40}".prop_map(|text| Actor::Other(CompactString::new(text))),
    ]
}

fn parts() -> impl Strategy<Value = TransactionPart> {
    (uuids(), any::<u32>(), 1..=u32::MAX).prop_map(|(id, index, count)| TransactionPart {
        id,
        index: index % count,
        count,
    })
}

fn events() -> impl Strategy<Value = Event> {
    let names = (
        uuids(),
        "[a-z0-9][a-zA-Z0-9_.-]{0,127}",
        "[!-~]{1,512}",
        any::<u64>(),
        "[a-z0-9.-]{1,128}",
        any::<u16>(),
        any::<i64>(),
        any::<u64>(),
    );
    let rest = (
        actors(),
        ".{0,60}",
        option::of(uuids()),
        any::<u16>(),
        option::of(parts()),
        option::of(any::<u64>()),
        option::of(".{0,60}"),
        proptest::collection::vec(any::<u8>(), 0..600),
    );
    (names, rest).prop_map(|(names, rest)| Event {
        id: names.0,
        project: ProjectId::new(&names.1).unwrap(),
        stream: StreamId::parse(&names.2).unwrap(),
        stream_version: names.3,
        kind: EventType::parse(&names.4).unwrap(),
        schema_version: names.5,
        time: Timestamp::from_micros(names.6),
        epoch: names.7,
        actor: rest.0,
        correlation_id: CompactString::new(rest.1),
        causation_id: rest.2,
        depth: rest.3,
        transaction: rest.4,
        fingerprint: rest.5,
        traceparent: rest.6.map(CompactString::new),
        data: Bytes::from(rest.7),
    })
}

fn header(offset: u64, within: u32, time: Timestamp) -> Header {
    let offset = offset.min(u64::MAX - (1 << 33));
    let batch_base = offset.saturating_sub(u64::from(within));
    Header { offset, batch_base, batch_count: within.saturating_add(1), time }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(event in events(), offset: u64, within: u32, tail: Vec<u8>) {
        let header = header(offset, within, event.time);
        let mut out = b"before".to_vec();
        let total = encode(header, &event, &mut out).unwrap();
        prop_assert_eq!(total, out.len() - 6);
        out.extend(tail);
        let bytes = Bytes::from(out).slice(6..);
        prop_assert_eq!(decode(&bytes).unwrap(), (header, event, total));
        prop_assert_eq!(claim(&bytes), Some((header, total)));
    }

    #[test]
    fn any_bytes_are_a_record_or_a_reason(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&Bytes::from(bytes.clone()));
        let _ = claim(&bytes);
    }

    /// Bytes behind a good frame and checksum: what a fuzzer would need luck to reach.
    #[test]
    fn any_event_bytes_are_an_event_or_a_reason(event in events(), at: u16, to: u8, cut: u16) {
        let mut out = Vec::new();
        encode(header(5, 0, event.time), &event, &mut out).unwrap();
        let inner = out.len() - HEADER_BYTES;
        out[HEADER_BYTES + usize::from(at) % inner] = to;
        out.truncate(HEADER_BYTES + usize::from(cut) % (inner + 1));
        seal(&mut out);
        let bytes = Bytes::from(out);
        if let Ok((header, event, total)) = decode(&bytes) {
            let mut again = Vec::new();
            prop_assert_eq!(encode(header, &event, &mut again), Ok(total));
            prop_assert_eq!(again, bytes, "an event has two spellings");
        }
    }

    #[test]
    fn one_changed_bit_is_seen(event in events(), at: u16, bit in 0..8) {
        let mut out = Vec::new();
        encode(header(5, 0, event.time), &event, &mut out).unwrap();
        let at = usize::from(at) % out.len();
        out[at] ^= 1_u8 << bit;
        prop_assert!(check(&out).is_err());
    }
}

/// Writes a good length and checksum over what `record` holds.
fn seal(record: &mut [u8]) {
    let length = u32::try_from(record.len() - 8).unwrap().to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length), &record[8..]);
    record[..4].copy_from_slice(&length);
    record[4..8].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let mut event = crate::conformance::event("p", 1, 10);
    let place = header(0, 0, event.time);
    let mut out = vec![1, 2, 3];
    event.transaction = Some(TransactionPart { id: Uuid::nil(), index: 2, count: 2 });
    assert_eq!(encode(place, &event, &mut out), Err(Invalid::Field("transaction")));
    event.transaction = None;
    event.kind = EventType::known("Not A Type");
    assert_eq!(encode(place, &event, &mut out), Err(Invalid::Field("type")));
    event.kind = EventType::known("a.b");
    event.data = vec![b'x'; super::BYTES_MAX].into();
    assert!(matches!(encode(place, &event, &mut out), Err(Invalid::Length(_))));
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn a_record_of_another_version_is_named() {
    let event = crate::conformance::event("p", 1, 10);
    let mut out = Vec::new();
    encode(header(0, 0, event.time), &event, &mut out).unwrap();
    out[8] = 2;
    seal(&mut out);
    assert_eq!(check(&out), Err(Invalid::Version(2)));
}

#[test]
fn lengths_out_of_range_are_refused_before_anything_is_read() {
    let mut bytes = vec![0_u8; 100];
    assert_eq!(check(&bytes), Err(Invalid::Length(8)));
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(check(&bytes), Err(Invalid::Length(_))));
    assert!(matches!(check(&bytes[..3]), Err(Invalid::Cut { .. })));
}

#[test]
fn data_shares_the_buffer_it_was_read_into() {
    let event = crate::conformance::event("p", 1, 100);
    let mut out = Vec::new();
    encode(header(0, 0, event.time), &event, &mut out).unwrap();
    let bytes = Bytes::from(out);
    let (_, event, _) = decode(&bytes).unwrap();
    assert!(bytes.as_ptr_range().contains(&event.data.as_ptr()));
}
