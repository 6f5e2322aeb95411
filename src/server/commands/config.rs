//! `config check`, `config show` and `openapi`: what can be known
//! without opening anything.

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::Config;

pub(super) fn run(command: &Config) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match command {
        Config::Check(file) => {
            super::configuration(file, Vec::new())?;
            writeln!(out, "the configuration is fine")?;
        }
        Config::Show(file) => {
            let loaded = super::configuration(file, Vec::new())?;
            out.write_all(loaded.to_toml().as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn openapi() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    out.write_all(crate::start::web::openapi()?.as_bytes())?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}
