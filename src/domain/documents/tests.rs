//! Laws of deciding and evolving documents, held against a naive model over random commits.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Timestamp;
use crate::event::Event;
use crate::event::testing::event;
use crate::ids::{CollectionName, DocumentId, StreamId};
use crate::json::Limits;
use crate::rejected::{Part, Reason};

fn collection() -> CollectionName {
    CollectionName::new("c").unwrap()
}

fn write(id: u8, op: Op, expected: ExpectedVersion) -> Write {
    let id = DocumentId::new(&format!("d{id}")).unwrap();
    Write { collection: collection(), id, op, expected }
}

fn data(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn arbitrary_data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z\"\\\\~/]{0,4}".prop_map(Value::from),
    ];
    let nested = leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-c/~]{1,2}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::hash_map("[a-d]", nested, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn arbitrary_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        arbitrary_data().prop_map(|value| Op::Create(data(&value))),
        arbitrary_data().prop_map(|value| Op::Replace(data(&value))),
        arbitrary_data().prop_map(|value| Op::Patch(data(&value))),
        Just(Op::Delete),
        arbitrary_data().prop_map(|value| Op::Restore { version: 1, data: data(&value) }),
    ]
}

fn arbitrary_expected() -> impl Strategy<Value = ExpectedVersion> {
    prop_oneof![
        6 => Just(ExpectedVersion::Any),
        1 => Just(ExpectedVersion::NoStream),
        1 => Just(ExpectedVersion::Exists),
        2 => (1_u64..6).prop_map(ExpectedVersion::Exact),
    ]
}

fn arbitrary_commit() -> impl Strategy<Value = (Vec<Write>, Vec<ReadCheck>)> {
    let one = (0_u8..3, arbitrary_op(), arbitrary_expected())
        .prop_map(|(id, op, expected)| write(id, op, expected));
    let read = (0_u8..3, 0_u64..4).prop_map(|(id, version)| ReadCheck {
        collection: collection(),
        id: DocumentId::new(&format!("d{id}")).unwrap(),
        version,
    });
    (
        prop::collection::vec(one, 1..4),
        prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(read, 1..2)],
    )
}

/// A document as the naive model keeps it: how many events, and the value if it is there.
type Model = BTreeMap<String, (u64, Option<Value>)>;

/// Applies a commit to the model by the plain reading of the API; `None` when it must be refused.
fn apply_naively(model: &Model, writes: &[Write], reads: &[ReadCheck]) -> Option<Model> {
    let mut model = model.clone();
    for read in reads {
        let version = match model.get(read.id.as_str()) {
            Some((version, Some(_))) => *version,
            _ => 0,
        };
        if version != read.version {
            return None;
        }
    }
    for write in writes {
        let (version, value) = model.get(write.id.as_str()).cloned().unwrap_or_default();
        let held = match write.expected {
            ExpectedVersion::Any => true,
            ExpectedVersion::NoStream | ExpectedVersion::Fresh => value.is_none(),
            ExpectedVersion::Exists => value.is_some(),
            ExpectedVersion::Exact(exact) => value.is_some() && version == exact,
        };
        let parsed = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).unwrap();
        let after = match (&write.op, value) {
            _ if !held => return None,
            (Op::Create(_), Some(_)) | (Op::Patch(_) | Op::Delete, None) => return None,
            (Op::Create(bytes) | Op::Replace(bytes) | Op::Restore { data: bytes, .. }, _) => {
                Some(parsed(bytes))
            }
            (Op::Patch(bytes), Some(value)) => {
                let merged = merge_patch(&value.to_string(), std::str::from_utf8(bytes).unwrap());
                Some(serde_json::from_str(&merged).unwrap())
            }
            (Op::Delete, Some(_)) => None,
            (Op::Transform { .. }, _) => unreachable!("none is drawn"),
        };
        model.insert(write.id.to_string(), (version + 1, after));
    }
    Some(model)
}

/// Sets `pointer` to what it was; a missing earlier value removes it.
fn undo(document: &mut Value, pointer: &str, before: Option<&Value>) {
    if pointer.is_empty() {
        *document = before.unwrap().clone();
        return;
    }
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match before {
        Some(value) => parent.insert(name, value.clone()),
        None => parent.shift_remove(&name),
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a replacement changed, the event tells what was before.
    #[test]
    fn an_update_tells_what_was_before(before in arbitrary_data(), after in arbitrary_data()) {
        let key = (collection(), DocumentId::new("d1").unwrap());
        let live = Some(Live { created_at: Timestamp::default(), data: data(&before) });
        let state = DocumentState { version: 1, changed_at: Timestamp::default(), live };
        let mut states = States::from([(key, state)]);
        let one = [write(1, Op::Replace(data(&after)), ExpectedVersion::Any)];
        let decided = decide(&mut states, &one, &[], Limits::DOCUMENT, Timestamp::default());
        let recorded = event(decided.unwrap().remove(0), 1);
        let body = DocumentEvent::decode(&recorded).unwrap().unwrap();
        let told: Value = serde_json::from_slice(&body.data_before().unwrap()).unwrap();
        prop_assert_eq!(told, before);
    }

    /// Over any history: decisions agree with the model, stream versions have no hole, a refused
    /// commit leaves no trace, and folding the events from nothing gives what decide carried
    /// along, at every point of the past.
    #[test]
    fn decide_and_evolve_agree_with_the_model(
        commits in prop::collection::vec(arbitrary_commit(), 1..20),
    ) {
        let mut states = States::new();
        let mut model = Model::new();
        let mut log: Vec<Event> = Vec::new();
        let mut past: Vec<(usize, Model)> = vec![(0, Model::new())];
        for (time, (writes, reads)) in commits.iter().enumerate() {
            let now = Timestamp::from_micros(time as i64);
            let mut draft = states.clone();
            let decided = decide(&mut draft, writes, reads, Limits::DOCUMENT, now);
            match (decided, apply_naively(&model, writes, reads)) {
                (Ok(events), Some(after)) => {
                    prop_assert_eq!(events.len(), writes.len());
                    log.extend(events.into_iter().map(|decided| event(decided, time as i64)));
                    (states, model) = (draft, after);
                    past.push((log.len(), model.clone()));
                }
                (Err(_), None) => {}
                (decided, expected) => prop_assert!(false, "{decided:?} but {expected:?}"),
            }
        }
        // As of every point of the past, a fold of the log up to there is what the model was then.
        for (length, model) in past {
            let folded = fold(&log[..length]);
            for (id, (version, value)) in &model {
                let stream = format!("document/c/{id}");
                let state = folded.get(&stream).cloned().unwrap_or_default();
                prop_assert_eq!(state.version, *version);
                let parse = |data: &Bytes| serde_json::from_slice::<Value>(data).unwrap();
                prop_assert_eq!(&state.live.map(|live| parse(&live.data)), value);
            }
        }
        // And decide's own idea of now is the fold of everything.
        let folded = fold(&log);
        for ((_, id), state) in &states {
            let stream = format!("document/c/{id}");
            prop_assert_eq!(&folded.get(&stream).cloned().unwrap_or_default(), state);
        }
    }

    /// An update names exactly what changed: taking it back gives the document before.
    #[test]
    fn changes_can_be_taken_back(before in arbitrary_data(), after in arbitrary_data()) {
        let now = Timestamp::from_micros(1);
        let mut states = States::new();
        let create = write(0, Op::Create(data(&before)), ExpectedVersion::Any);
        decide(&mut states, &[create], &[], Limits::DOCUMENT, now).unwrap();
        let replace = write(0, Op::Replace(data(&after)), ExpectedVersion::Any);
        let events = decide(&mut states, &[replace], &[], Limits::DOCUMENT, now).unwrap();
        let stored: Value = serde_json::from_slice(&events[0].data).unwrap();
        prop_assert_eq!(&stored["data"], &after);
        let mut undone = after.clone();
        for pointer in stored["changed"].as_array().unwrap() {
            let pointer = pointer.as_str().unwrap();
            undo(&mut undone, pointer, stored["before"].get(pointer));
        }
        prop_assert_eq!(undone, before);
    }
}

/// Folds events from nothing, and checks on the way that no stream has a hole.
fn fold(log: &[Event]) -> BTreeMap<String, DocumentState> {
    let mut folded: BTreeMap<String, DocumentState> = BTreeMap::new();
    for event in log {
        let state = folded.remove(event.stream.as_str()).unwrap_or_default();
        assert_eq!(event.stream_version, state.version + 1, "{}", event.stream);
        let body = DocumentEvent::decode(event).unwrap().unwrap();
        folded.insert(event.stream.to_string(), state.evolve(event, &body));
    }
    folded
}

#[test]
fn a_refusal_names_the_write_and_the_actual_version() {
    let mut states = States::new();
    let now = Timestamp::from_micros(1);
    let writes = [
        write(0, Op::Create(data(&json!({"a": 1}))), ExpectedVersion::Any),
        write(0, Op::Patch(data(&json!({"a": 2}))), ExpectedVersion::Exact(7)),
    ];
    let refused = decide(&mut states, &writes, &[], Limits::DOCUMENT, now).unwrap_err();
    assert_eq!(refused.part, Some(Part::Write(1)));
    let expected = ExpectedVersion::Exact(7);
    assert_eq!(refused.reason, Reason::VersionMismatch { expected, actual: Some(1) });
    assert_eq!(refused.to_string(), "expected version 7, but the document is at version 1");
}

#[test]
fn a_patch_may_not_grow_a_document_over_its_limit() {
    let limits = Limits { bytes_max: 20, depth_max: 3 };
    let mut states = States::new();
    let now = Timestamp::from_micros(1);
    let create = write(0, Op::Create(data(&json!({"a": "12345678"}))), ExpectedVersion::Any);
    decide(&mut states, &[create], &[], limits, now).unwrap();
    let patch = write(0, Op::Patch(data(&json!({"b": "12345678"}))), ExpectedVersion::Any);
    let refused = decide(&mut states, &[patch], &[], limits, now).unwrap_err();
    assert!(matches!(refused.reason, Reason::DocumentInvalid(_)), "{refused}");
}

#[test]
fn a_version_counts_on_after_a_deletion() {
    let mut states = States::new();
    let now = Timestamp::from_micros(1);
    let one = json!({"a": 1});
    for (op, version, live) in [
        (Op::Create(data(&one)), 1, true),
        (Op::Delete, 2, false),
        (Op::Replace(data(&one)), 3, true),
        (Op::Delete, 4, false),
        (Op::Restore { version: 1, data: data(&one) }, 5, true),
    ] {
        let writes = [write(0, op, ExpectedVersion::Any)];
        let events = decide(&mut states, &writes, &[], Limits::DOCUMENT, now).unwrap();
        assert_eq!(events[0].stream_version, version);
        assert_eq!(events[0].stream, StreamId::parse("document/c/d0").unwrap());
        let key = (collection(), DocumentId::new("d0").unwrap());
        assert_eq!(states[&key].live.is_some(), live);
    }
}
