//! Rules about the files themselves: sizes, lists that must be complete, and calls that only one
//! place may make.

use std::path::{Path, PathBuf};

use harness::{files_below, root};

const FILE_LINES_MAX: usize = 800;
const LINE_CHARS_MAX: usize = 100;

/// Files that may be longer, and why.
const LONGER: [(&str, &str); 0] = [];
/// Files that may have longer lines, and why.
const WIDER: [(&str, &str); 0] = [];

/// Every Rust file of ours as path from the root and text.
fn sources() -> Vec<(String, String)> {
    let folders = ["src", "consumers", "tests", "benches", "fuzz/targets"];
    let folders = folders.map(|folder| root().join(folder)).into_iter().filter(|f| f.is_dir());
    let files = folders.flat_map(|folder| files_below(&folder));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(read)
        .collect()
}

fn read(path: PathBuf) -> (String, String) {
    let name = path.strip_prefix(root()).expect("below the root").display().to_string();
    (name, std::fs::read_to_string(&path).expect("a source is text"))
}

/// Whether a file holds tests or what only they use.
fn is_test(name: &str) -> bool {
    let words = ["tests/", "tests.rs", "_tests.rs", "conformance", "benches/", "fuzz/"];
    words.iter().any(|word| name.contains(word))
}

/// The lines of a file that run, with their numbers: no comments, no tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate();
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(n, line)| (n + 1, line))
}

/// Places that contain `call` although they are none of `allowed`.
fn strangers(call: &str, allowed: &[&str]) -> Vec<String> {
    let sources = sources();
    let others = sources
        .iter()
        .filter(|(name, _)| !is_test(name) && !allowed.iter().any(|place| name.starts_with(place)));
    let found = others.flat_map(|(name, text)| {
        let lines = code(text).filter(|(_, line)| line.contains(call));
        lines.map(move |(number, line)| format!("{name}:{number}: {}", line.trim()))
    });
    found.collect()
}

#[test]
fn files_and_lines_stay_readable() {
    let mut bad = Vec::new();
    for (name, text) in sources() {
        let count = text.lines().count();
        if count > FILE_LINES_MAX && !LONGER.iter().any(|(longer, _)| *longer == name) {
            bad.push(format!("{name} has {count} lines"));
        }
        if WIDER.iter().any(|(wider, _)| *wider == name) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let chars = line.chars().count();
            if chars > LINE_CHARS_MAX {
                bad.push(format!("{name}:{} has {chars} characters", number + 1));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn nothing_is_left_to_do_later() {
    for call in ["todo!(", "unimplemented!(", "dbg!("] {
        assert_eq!(strangers(call, &[]), Vec::<String>::new());
    }
}

#[test]
fn every_consumer_is_in_the_list() {
    let list = std::fs::read_to_string(root().join("consumers/lib.rs")).expect("the list");
    let all = list.split("pub const ALL").nth(1).expect("the list of all consumers");
    for entry in root().join("consumers").read_dir().expect("the folder of consumers") {
        let path = entry.expect("a folder can be listed").path();
        if !path.join("mod.rs").is_file() {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        assert!(list.contains(&format!("mod {name};")), "{name} is not compiled");
        assert!(all.contains(&name.to_uppercase()), "{name} is not in ALL");
    }
}

/// Fails when a call is made outside of its place, or not even there any more.
fn only_in(place: &str, call: &str, definition: &str) {
    assert_eq!(strangers(call, &[place, definition]), Vec::<String>::new());
    let is_made = sources().iter().any(|(name, text)| {
        name.starts_with(place) && code(text).any(|(_, line)| line.contains(call))
    });
    assert!(is_made, "this rule guards nothing: {place} has no {call}");
}

#[test]
fn only_the_writer_appends_to_the_log() {
    only_in("src/engine/writer/", "log.append(", "src/eventlog/");
}

#[test]
fn only_a_consumer_writes_the_read_model() {
    only_in("src/engine/consumer.rs", "space.commit(", "src/readmodel/");
    only_in("src/engine/consumer.rs", "Batch {", "src/readmodel/");
}

#[test]
fn a_projection_does_nothing_but_fold() {
    let sources = sources();
    let consumers = sources.iter().filter(|(name, _)| name.starts_with("consumers/"));
    for (name, text) in consumers.filter(|(name, _)| !is_test(name)) {
        for word in ["std::fs", "std::net", "tokio::", "reqwest", "SystemTime", "Instant::now"] {
            let found = code(text).find(|(_, line)| line.contains(word));
            assert!(found.is_none(), "{name} uses {word}");
        }
    }
}

/// Names of event types in the domain's code: `EventType::new("document.created")` and the like.
fn event_types() -> Vec<String> {
    let mut types = Vec::new();
    for (name, text) in sources() {
        if !name.starts_with("src/domain/") || !name.ends_with("/events.rs") {
            continue;
        }
        for (_, line) in code(&text).filter(|(_, line)| line.contains("EventType")) {
            types.extend(line.split('"').nth(1).map(str::to_owned));
        }
    }
    types
}

#[test]
fn every_event_type_has_its_schema_and_an_example() {
    let types = event_types();
    assert!(types.contains(&"document.created".to_owned()), "found only {types:?}");
    for kind in &types {
        let folder = root().join("schemas/events").join(kind);
        assert!(folder.join("v1.json").is_file(), "{kind} has no schema");
        let files = files_below(&folder);
        let schemas = files.iter().filter(|path| is_schema(path));
        for schema in schemas {
            let example = schema.with_extension("example.json");
            assert!(example.is_file(), "{} has no example", schema.display());
        }
    }
    for entry in root().join("schemas/events").read_dir().expect("schemas") {
        let name = entry.expect("a folder can be listed").file_name();
        let known = types.iter().any(|kind| *name == **kind);
        assert!(known, "a schema of no event type: {}", name.display());
    }
}

fn is_schema(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".json") && !name.contains("example")
}
