//! `health`: one question to a server, for containers and scripts.
//! Exit code 0 or 1, nothing else: container engines know no other.

use std::process::ExitCode;
use std::time::Duration;

use crate::client;

/// Shorter than what container engines wait for the command.
const WAIT_MAX: Duration = Duration::from_secs(2);

pub(super) async fn run(server: &str) -> anyhow::Result<ExitCode> {
    match client::ready(server, WAIT_MAX).await {
        Ok(()) => {
            println!("ready");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("headwater: {}", crate::one_line(&error));
            Ok(ExitCode::FAILURE)
        }
    }
}
