//! Lays file, environment and flags over the defaults and remembers who said what.
//! The defaults know every key and its type, so whatever does not fit is refused by name and
//! place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize as _;
use toml::{Table, Value};

use super::{Config, check};

/// Every key with its default, and what it means.
pub(super) const DEFAULTS: &str = include_str!("../../../deploy/default.toml");
/// Starts the name of each environment variable that sets a key: `HEADWATER__LOG__FSYNC`.
const ENV_PREFIX: &str = "HEADWATER__";

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File(PathBuf),
    Env(String),
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Env(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value given on the command line.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) section: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: Value,
}

/// Everything that may set a value.
#[derive(Default)]
pub(crate) struct Inputs {
    pub(crate) file: Option<PathBuf>,
    /// The environment, or those variables that matter.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) flags: Vec<Flag>,
}

/// The effective configuration.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    values: Table,
    sources: BTreeMap<(String, String), Source>,
}

impl Loaded {
    /// The effective configuration as TOML, in the order of the defaults, with each value's
    /// source.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for line in DEFAULTS.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let gap = if section.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}[{name}]\n"));
                section = name;
            } else if let Some((key, _)) = line.split_once(" = ")
                && let Some(value) = self.values.get(section).and_then(|values| values.get(key))
            {
                let at = (section.to_owned(), key.to_owned());
                let source = self.sources.get(&at).unwrap_or(&Source::Default);
                text.push_str(&format!("{key} = {value}  # {source}\n"));
            }
        }
        text
    }
}

/// Merges the inputs over the defaults and checks the whole.
pub(crate) fn load(inputs: Inputs) -> anyhow::Result<Loaded> {
    let defaults: Table = DEFAULTS.parse().context("the compiled-in defaults")?;
    let mut merge = Merge { values: defaults, sources: BTreeMap::new() };
    if let Some(path) = &inputs.file {
        merge.file(path)?;
    }
    merge.env(inputs.env)?;
    for flag in inputs.flags {
        merge.set(flag.section, flag.key, flag.value, Source::Flag(flag.name))?;
    }
    let Merge { values, sources } = merge;
    let config = Config::deserialize(Value::Table(values.clone()))
        .map_err(|error| anyhow::anyhow!("configuration: {}", error.message()))?;
    check::check(&config)?;
    Ok(Loaded { config, values, sources })
}

struct Merge {
    values: Table,
    sources: BTreeMap<(String, String), Source>,
}

impl Merge {
    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let at = || format!("configuration file {}", path.display());
        let text = std::fs::read_to_string(path).with_context(at)?;
        let table: Table = text.parse().with_context(at)?;
        for (section, values) in table {
            let Value::Table(values) = values else {
                bail!("unknown key `{section}` in {}: keys stand in sections", path.display());
            };
            for (key, value) in values {
                self.set(&section, &key, value, Source::File(path.to_owned()))?;
            }
        }
        Ok(())
    }

    fn env(&mut self, variables: Vec<(String, String)>) -> anyhow::Result<()> {
        for (name, text) in variables {
            let Some(path) = name.strip_prefix(ENV_PREFIX) else { continue };
            let path = path.to_ascii_lowercase();
            let (section, key) = path.split_once("__").unwrap_or((&path, ""));
            let value = self.typed(section, key, text);
            self.set(section, key, value, Source::Env(name))?;
        }
        Ok(())
    }

    /// A variable is text; it becomes what the default is, where it can.
    fn typed(&self, section: &str, key: &str, text: String) -> Value {
        let typed = match self.values.get(section).and_then(|values| values.get(key)) {
            Some(Value::Integer(_)) => text.replace('_', "").parse().ok().map(Value::Integer),
            Some(Value::Boolean(_)) => text.parse().ok().map(Value::Boolean),
            _ => None,
        };
        typed.unwrap_or(Value::String(text))
    }

    fn set(&mut self, section: &str, key: &str, value: Value, by: Source) -> anyhow::Result<()> {
        let values = self.values.get_mut(section).and_then(Value::as_table_mut);
        let Some(slot) = values.and_then(|values| values.get_mut(key)) else {
            let name = if key.is_empty() { section.to_owned() } else { format!("{section}.{key}") };
            bail!("unknown key `{name}` in {by}");
        };
        if !slot.same_type(&value) {
            let (wanted, given) = (slot.type_str(), value.type_str());
            bail!("`{section}.{key}` in {by} must be of type {wanted}, not {given}");
        }
        if value.as_integer().is_some_and(|number| number < 0) {
            bail!("`{section}.{key}` in {by} must not be negative");
        }
        *slot = value;
        self.sources.insert((section.to_owned(), key.to_owned()), by);
        Ok(())
    }
}
