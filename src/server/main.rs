//! Headwater's one binary: reads the command line, does it, and turns failures into one line.
//! Exit codes: 0 done, 1 a check says no, 2 it could not be done.

mod cli;
mod client;
mod commands;
mod config;
mod logging;
mod signals;
mod start;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser as _;

/// Memory goes from thread to thread here (workers parse, writers store), which glibc's allocator
/// pays for with locks: 18 % of a create's CPU was spent in it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// It could not be done.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli.command) {
        Ok(code) => code,
        // Whoever reads our output has had enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headwater: {}", one_line(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// The whole chain of reasons. Some say themselves what caused them: that is not said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("no room").context("writing f: no room").context("import");
        assert_eq!(super::one_line(&error), "import: writing f: no room");
    }
}
