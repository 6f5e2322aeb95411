//! One line per thing that happened, to standard error: JSON for machines, text for people.
//! `RUST_LOG` wins over the configured level. Fields are those of docs/LOGGING.md.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Format, Logging};

/// Overrides the configured levels.
const LEVEL_VARIABLE: &str = "RUST_LOG";

/// Errors when `level` is not a filter.
pub(crate) fn check_level(level: &str) -> anyhow::Result<()> {
    filter(level).map(|_| ()).context("`logging.level`")
}

/// Starts logging for the life of the process.
pub(crate) fn init(logging: &Logging) -> anyhow::Result<()> {
    let filter = match std::env::var(LEVEL_VARIABLE) {
        Ok(level) if !level.is_empty() => filter(&level).context(LEVEL_VARIABLE)?,
        _ => filter(&logging.level).context("`logging.level`")?,
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match logging.format {
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init(),
        Format::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("logging: {error}"))
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    Ok(builder.parse(level)?)
}
