//! The house rules that a reader can rely on, checked against the manifests and the files.

mod files;
mod metrics;

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

use harness::root;

/// What each of our crates may know of the others, tests left out.
const KNOWS: [(&str, &[&str]); 17] = [
    ("domain", &[]),
    ("access", &["domain"]),
    ("query", &["domain"]),
    ("schema", &["domain"]),
    ("vault", &["domain"]),
    ("auth", &["domain"]),
    ("issuers", &["domain"]),
    ("passkeys", &["domain"]),
    ("messages", &["domain"]),
    ("eventlog", &["domain"]),
    ("readmodel", &["domain", "vault"]),
    ("engine", &["access", "domain", "eventlog", "query", "readmodel", "schema", "vault"]),
    (
        "api",
        &[
            "access", "auth", "domain", "engine", "issuers", "messages", "passkeys", "query",
            "schema", "vault",
        ],
    ),
    ("consumers", &["domain", "engine", "query", "readmodel"]),
    (
        "server",
        &[
            "access",
            "api",
            "auth",
            "consumers",
            "domain",
            "engine",
            "eventlog",
            "issuers",
            "messages",
            "readmodel",
            "vault",
        ],
    ),
    ("tests", &[]),
    (
        "benches",
        &[
            "access",
            "auth",
            "api",
            "consumers",
            "domain",
            "engine",
            "eventlog",
            "query",
            "readmodel",
            "server",
            "vault",
        ],
    ),
];

/// Heavy dependencies by the start of their names, and the only crates that may name them.
const DRIVERS: [(&str, &[&str]); 5] = [
    ("fjall", &["readmodel"]),
    ("actix", &["api", "server"]),
    ("utoipa", &["api"]),
    ("clap", &["server"]),
    ("jsonschema", &["schema"]),
];

/// What `domain` never depends on: whatever waits, runs, or speaks to the outside.
const NOT_PURE: [&str; 9] =
    ["tokio", "actix", "async", "futures", "reqwest", "fjall", "tracing", "prometheus", "rustix"];

/// Each of our crates with the names of what it depends on to run.
fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo knows the workspace");
    let of_package = |package: &cargo_metadata::Package| {
        let normal = package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal);
        (package.name.to_string(), normal.map(|one| one.name.clone()).collect())
    };
    metadata.packages.iter().map(of_package).collect()
}

#[test]
fn imports_go_only_downwards() {
    let manifests = manifests();
    let known: BTreeMap<_, _> = KNOWS.into_iter().collect();
    for (name, dependencies) in &manifests {
        let may = known.get(&**name).unwrap_or_else(|| panic!("{name} has no place in the house"));
        for dependency in dependencies.iter().filter(|one| manifests.contains_key(*one)) {
            assert!(may.contains(&&**dependency), "{name} must not know {dependency}");
        }
    }
    assert_eq!(manifests.len(), KNOWS.len(), "a crate is gone: {manifests:?}");
}

#[test]
fn the_domain_is_pure() {
    for dependency in &manifests()["domain"] {
        let impure = NOT_PURE.iter().find(|start| dependency.starts_with(*start));
        assert!(impure.is_none(), "domain must not depend on {dependency}");
    }
}

#[test]
fn each_driver_is_named_in_its_room_only() {
    for (name, dependencies) in manifests() {
        for dependency in dependencies {
            let driver = DRIVERS.iter().find(|(start, _)| dependency.starts_with(start));
            if let Some((_, rooms)) = driver {
                assert!(rooms.contains(&&*name), "{name} must not name {dependency}");
            }
        }
    }
}
