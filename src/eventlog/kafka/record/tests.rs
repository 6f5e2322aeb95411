use bytes::Bytes;
use compact_str::CompactString;
use domain::{Actor, Event, EventType, Offset, PartitionId, ProjectId, StreamId, Timestamp};
use domain::{TransactionPart, writers::TookOver};
use proptest::option;
use proptest::prelude::*;
use rdkafka::message::{Header, Headers, OwnedHeaders, OwnedMessage};
use uuid::Uuid;

use super::{Entry, decode, headers, takeover_headers, takeover_payload};

fn uuids() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn actors() -> impl Strategy<Value = Actor> {
    prop_oneof![
        Just(Actor::System),
        Just(Actor::Admin),
        "key:[a-z0-9][a-z0-9_.-]{0,40}".prop_map(|text| text.parse().unwrap()),
        "[!-~]{1,256}".prop_map(|text| text.parse().unwrap()),
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

/// A record as a consumer gets it.
fn message(headers: Option<OwnedHeaders>, payload: Option<Vec<u8>>) -> OwnedMessage {
    let time = rdkafka::Timestamp::CreateTime(0);
    OwnedMessage::new(payload, None, "t".to_owned(), time, 0, 0, headers)
}

/// A plain event for tests.
pub(in super::super) fn plain() -> Event {
    Event {
        id: Uuid::from_u128(7),
        project: ProjectId::new("demo").unwrap(),
        stream: StreamId::parse("document/notes/n1").unwrap(),
        stream_version: 3,
        kind: EventType::known("document.updated"),
        schema_version: 2,
        time: "2026-01-31T12:00:00.123456Z".parse().unwrap(),
        epoch: 1,
        actor: Actor::Admin,
        correlation_id: "c".into(),
        causation_id: None,
        depth: 0,
        transaction: None,
        fingerprint: None,
        traceparent: None,
        data: Bytes::from_static(b"{}"),
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(event in events(), epoch: u64, expected: Offset) {
        let message = message(Some(headers(&event, epoch, expected)), Some(event.data.to_vec()));
        let event = Event { epoch, ..event };
        let transaction = event.transaction;
        prop_assert_eq!(decode(&message), Entry::Event { expected, event: Ok(event), transaction });
    }

    #[test]
    fn a_takeover_is_decoded(id in uuids(), micros: i64, partition: u32, node in ".{0,60}") {
        let time = Timestamp::from_micros(micros);
        let headers = takeover_headers(PartitionId(partition), id, time);
        let message = message(Some(headers), Some(takeover_payload(&node)));
        prop_assert_eq!(decode(&message), Entry::TookOver { node });
    }

    /// Headers of an event with some left out, spoilt or doubled.
    #[test]
    fn nothing_makes_it_panic(
        event in events(),
        changes in proptest::collection::vec((any::<usize>(), option::of(any::<Vec<u8>>())), 0..9),
        payload: Option<Vec<u8>>,
    ) {
        let good = headers(&event, 1, 1);
        let mut all: Vec<(String, Option<Vec<u8>>)> = good
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect();
        for (at, value) in changes {
            let at = at % all.len();
            match value {
                Some(value) if value.len() % 2 == 0 => all[at].1 = Some(value),
                Some(value) => all.push((all[at].0.clone(), Some(value))),
                None => all[at].1 = None,
            }
        }
        let headers = all.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_ref() })
        });
        decode(&message(Some(headers), payload));
    }

    #[test]
    fn random_headers_are_foreign(
        pairs in proptest::collection::vec(("[a-z_]{0,20}", any::<Vec<u8>>()), 0..20),
        payload: Option<Vec<u8>>,
    ) {
        let headers = pairs.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        prop_assert_eq!(decode(&message(Some(headers), payload)), Entry::Foreign);
    }
}

fn pairs(headers: &OwnedHeaders) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|header| (header.key, std::str::from_utf8(header.value.unwrap()).unwrap()))
        .collect()
}

/// The names and spellings that any consumer may rely on.
#[test]
fn headers_are_those_of_cloudevents() {
    let id = Uuid::from_u128(1).to_string();
    let event = Event {
        causation_id: Some(Uuid::from_u128(1)),
        transaction: Some(TransactionPart { id: Uuid::from_u128(1), index: 0, count: 2 }),
        fingerprint: Some(0xabc),
        traceparent: Some("00-1-2-01".into()),
        ..plain()
    };
    let common = |kind: &'static str, schema: &'static str| {
        vec![
            ("content-type", "application/json"),
            ("ce_specversion", "1.0"),
            ("ce_id", "00000000-0000-0000-0000-000000000007"),
            ("ce_source", "/projects/demo"),
            ("ce_type", kind),
            ("ce_subject", "document/notes/n1"),
            ("ce_time", "2026-01-31T12:00:00.123456Z"),
            ("ce_dataschema", schema),
        ]
    };
    let mut expected = common("document.updated", "/schemas/events/document.updated/v2.json");
    expected.extend([
        ("ce_epoch", "5"),
        ("ce_streamversion", "3"),
        ("ce_actor", "admin"),
        ("ce_correlationid", "c"),
        ("ce_causationid", &id),
        ("ce_depth", "0"),
        ("ce_transactionid", &id),
        ("ce_transactionindex", "0"),
        ("ce_transactioncount", "2"),
        ("ce_fingerprint", "0000000000000abc"),
        ("ce_traceparent", "00-1-2-01"),
        ("ce_expectedoffset", "9"),
    ]);
    assert_eq!(pairs(&headers(&event, 5, 9)), expected);

    let mut expected = common("writer.took-over", "/schemas/events/writer.took-over/v1.json");
    expected[3].1 = "/writers";
    expected[5].1 = "partition/4";
    let headers = takeover_headers(PartitionId(4), event.id, event.time);
    assert_eq!(pairs(&headers), expected);
    assert_eq!(takeover_payload("http://n1:8080"), br#"{"node":"http://n1:8080"}"#);
    let data = TookOver { node: "http://n1:8080".to_owned() };
    assert_eq!(serde_json::to_vec(&data).unwrap(), takeover_payload(&data.node));
}

#[test]
fn what_is_not_a_writers_is_foreign() {
    assert_eq!(decode(&message(None, Some(b"{}".to_vec()))), Entry::Foreign);
    for expected in ["", "x", "-1", "+1", "01", "1 "] {
        let headers =
            OwnedHeaders::new().insert(Header { key: "ce_expectedoffset", value: Some(expected) });
        assert_eq!(decode(&message(Some(headers), None)), Entry::Foreign, "{expected}");
    }
    // A takeover's type from elsewhere, or with data that is not its own.
    let good = takeover_headers(PartitionId(0), Uuid::nil(), Timestamp::default());
    assert_eq!(decode(&message(Some(good), Some(b"[]".to_vec()))), Entry::Foreign);
}

#[test]
fn an_undecodable_event_says_why() {
    let lone = |key| OwnedHeaders::new().insert(Header { key, value: Some("1") });
    for (headers, why) in [
        (lone("ce_expectedoffset"), "specversion"),
        (
            lone("ce_expectedoffset")
                .insert(Header { key: "ce_transactionindex", value: Some("0") }),
            "transactionid",
        ),
    ] {
        let Entry::Event { expected: 1, event: Err(found), transaction: None } =
            decode(&message(Some(headers), None))
        else {
            panic!("not an undecodable event")
        };
        assert!(found.contains(why), "{found}");
    }
    let Entry::Event { event: Err(found), .. } =
        decode(&message(Some(headers(&plain(), 1, 1)), None))
    else {
        panic!("not an undecodable event")
    };
    assert_eq!(found, "it has no data");
}
