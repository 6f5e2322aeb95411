//! Holds the document to the list of routes, and `schemas/openapi.json` to the document.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::*;

fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

#[test]
fn every_route_is_documented_and_every_documented_route_is_there() {
    let routes: BTreeSet<(String, &str)> =
        ROUTES.iter().map(|route| (route.method.as_str().to_lowercase(), route.pattern)).collect();
    let document = document();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert((method.clone(), path.as_str()));
        }
    }
    assert_eq!(documented, routes);
}

#[test]
fn operations_have_names_of_their_own_and_references_lead_somewhere() {
    let document = document();
    let mut names = BTreeSet::new();
    for item in document["paths"].as_object().unwrap().values() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{name} twice");
            assert!(operation["summary"].is_string(), "{name} has no summary");
            let has_body = !operation["requestBody"].is_null();
            assert_eq!(has_body, ["post", "put", "patch"].contains(&method.as_str()), "{name}");
        }
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

/// The file is for people and tools that have no server at hand. A change of the API changes it,
/// for all to see.
#[test]
fn the_stored_document_does_not_drift() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/openapi.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    match std::fs::read_to_string(&path) {
        Ok(stored) => {
            if stored != text {
                let new = path.with_extension("new.json");
                std::fs::write(&new, &text).unwrap();
                panic!("{} has changed: review and rename {}", path.display(), new.display());
            }
        }
        Err(_) => {
            std::fs::write(&path, text).unwrap();
            panic!("{} was new and has been written: review and commit it", path.display());
        }
    }
}
