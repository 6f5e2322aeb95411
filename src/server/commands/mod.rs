//! The commands, one file each.
//! A command returns its exit code, or the reason why it could not run.

mod config;
mod dev;
mod events;
mod export;
mod health;
mod import;
mod migrate;
mod progress;
mod rebuild;
mod rules;
mod serve;
mod verify;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use toml::Value;

use crate::cli::{Command, ConfigFile, Storage};
use crate::config::{Config, Flag, Inputs, Loaded, Location, load};
use crate::start::TOPIC;

/// Does what the command line says.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Dev(serve) => dev::run(&serve),
        Command::Rebuild { what } => rebuild::run(&what),
        Command::Migrate(file) => migrate::run(&file),
        Command::Verify(storage) => verify::run(&storage),
        Command::Events(events) => wait(events::run(&events)),
        Command::Export { what } => wait(export::run(&what)),
        Command::Import { what } => wait(import::run(&what)),
        Command::Health { server } => wait(health::run(&server)),
        Command::Rules { what } => rules::run(&what),
        Command::Config { what } => config::run(&what),
        Command::Openapi => config::openapi(),
    }
}

/// Runs a command that speaks to a server.
fn wait(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("starting the runtime")?.block_on(command)
}

/// Loads the configuration with what the command line says about it.
fn configuration(file: &ConfigFile, flags: Vec<Flag>) -> anyhow::Result<Loaded> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let env = std::env::vars_os().filter_map(text).collect();
    load(Inputs { file: file.config.clone(), env, flags })
}

/// The folder of a log that is there: a mistyped name must not make a new one.
fn log_folder(config: &Config) -> anyhow::Result<PathBuf> {
    let dir = match config.log.location() {
        Location::Folder(dir) => dir,
        Location::Kafka { .. } => bail!("this is for a log of this machine, not for one on Kafka"),
        _ => bail!("a log in memory is gone with its process"),
    };
    let folder = dir.join(TOPIC);
    ensure!(folder.is_dir(), "there is no log at {}", folder.display());
    Ok(folder)
}

/// Log lines for people, at the configured level or at `level`.
fn text_flags(name: &'static str, level: Option<&str>) -> Vec<Flag> {
    let flag = |key, value: &str| {
        let value = Value::String(value.to_owned());
        Flag { name, section: "logging", key, value }
    };
    let format = flag("format", "text");
    std::iter::once(format).chain(level.map(|level| flag("level", level))).collect()
}

/// `--data DIR` says where both log and tables are.
fn data_flags(storage: &Storage) -> anyhow::Result<Vec<Flag>> {
    let Some(dir) = &storage.data else { return Ok(Vec::new()) };
    let flag = |section, name| -> anyhow::Result<Flag> {
        let path = dir.join(name);
        let path = path.to_str().context("--data must be UTF-8")?;
        let value = Value::String(format!("file:{path}"));
        Ok(Flag { name: "--data", section, key: "url", value })
    };
    Ok(vec![flag("log", "log")?, flag("readmodel", "tables")?])
}
