//! Holds `schemas/events/` to the code: frozen files, valid examples, and everything ever
//! published still decodes.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;

use super::{Published, published};
use crate::documents::DocumentEvent;
use crate::event::NewEvent;
use crate::event::testing::event;
use crate::projects::ProjectEvent;
use crate::users::UserEvent;
use crate::writers::TookOver;
use crate::{StreamId, upcast};

fn folder(one: &Published) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/events");
    root.join(one.kind.as_str())
}

/// Compares a file with what the code says. A new file is written, so that it can be reviewed and
/// committed.
fn check_file(path: &Path, value: &Value) {
    let text = format!("{}\n", serde_json::to_string_pretty(value).unwrap());
    match std::fs::read_to_string(path) {
        Ok(stored) => assert_eq!(
            stored,
            text,
            "{} is published and must not change: raise the version and add an upcaster",
            path.display()
        ),
        Err(_) => {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            panic!("{} was new and has been written: review and commit it", path.display());
        }
    }
}

#[test]
fn published_files_do_not_drift() {
    let mut missing = Vec::new();
    for one in published() {
        let example = folder(&one).join(format!("v{}.example.json", one.version));
        let schema = folder(&one).join(format!("v{}.json", one.version));
        for (path, value) in [(example, Some(&one.example)), (schema, one.schema.as_ref())] {
            let Some(value) = value else { continue };
            if std::panic::catch_unwind(|| check_file(&path, value)).is_err() {
                missing.push(path);
            }
        }
    }
    assert!(missing.is_empty(), "changed or new: {missing:#?}");
}

#[test]
fn every_file_belongs_to_a_published_version() {
    let known: Vec<PathBuf> = published()
        .iter()
        .flat_map(|one| {
            let folder = folder(one);
            [format!("v{}.json", one.version), format!("v{}.example.json", one.version)]
                .map(|name| folder.join(name))
        })
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/events");
    for kind in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(kind.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            assert!(known.contains(&path), "{} is of no known version", path.display());
        }
    }
}

fn schema_of(one: &Published) -> jsonschema::Validator {
    let path = folder(one).join(format!("v{}.json", one.version));
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn examples_fit_their_schema() {
    for one in published() {
        let errors: Vec<String> =
            schema_of(&one).iter_errors(&one.example).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{} v{}: {errors:?}", one.kind, one.version);
    }
}

/// The golden test of upcasting: every example ever published decodes, and what it is brought to
/// fits today's schema.
#[test]
fn every_published_example_still_decodes() {
    let all = published();
    for one in &all {
        let stream = match one.kind.as_str().split_once('.').unwrap().0 {
            "document" => StreamId::parse("document/c/d").unwrap(),
            "user" | "session" | "challenge" => StreamId::parse("user/u").unwrap(),
            _ => StreamId::project(),
        };
        let stored = NewEvent {
            stream,
            stream_version: 1,
            kind: one.kind.clone(),
            schema_version: one.version,
            data: Bytes::from(one.example.to_string()),
        };
        let event = event(stored, 0);
        let decoded = DocumentEvent::decode(&event).unwrap().is_some()
            || ProjectEvent::decode(&event).unwrap().is_some()
            || UserEvent::decode(&event).unwrap().is_some()
            || (one.kind == TookOver::event_type()
                && serde_json::from_slice::<TookOver>(&event.data).is_ok());
        assert!(decoded, "{} v{} is decoded by nobody", one.kind, one.version);

        let newest = all.iter().rev().find(|other| other.kind == one.kind).unwrap();
        let data: Value = serde_json::from_slice(&upcast::newest(&event).unwrap()).unwrap();
        let errors: Vec<String> =
            schema_of(newest).iter_errors(&data).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{} v{} upcast: {errors:?}", one.kind, one.version);
    }
}

/// The one step there is, against a file written by hand.
#[test]
fn document_updated_v1_becomes_v2() {
    let path = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../schemas/events/document.updated")
            .join(name)
    };
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
    };
    let old = published().into_iter().find(|p| p.kind.as_str() == "document.updated").unwrap();
    assert_eq!(old.version, 1);
    assert_eq!(old.example, read("v1.example.json"));
    let mut expected = old.example.clone();
    expected["changed"] = serde_json::json!(["/title", "/a~1b"]);
    expected["before"] = serde_json::json!({});
    let mut event_data = old.example;
    event_data = (upcast::step_for_test("document.updated", 1))(event_data);
    assert_eq!(event_data, expected);
}
