//! Finds the server's binary beside the test's own, and has cargo bring it up to date first: a
//! test against an old build would prove nothing.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The server's binary. `HEADWATER_BIN` names another one, which is then taken as it is.
pub fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("HEADWATER_BIN") {
        Some(path) => path.into(),
        None => built(),
    })
}

fn built() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its own path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps/it");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "--bin", "headwater"]).current_dir(super::root());
    if let Some(target) = profile.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(name) => drop(cargo.args(["--profile", name])),
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "the server does not build");
    profile.join("headwater")
}
