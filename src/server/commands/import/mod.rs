//! `import`: sends a file of JSON lines to a server in batches. May be interrupted at any point
//! and run again: what was taken is not taken twice.

mod batches;
mod documents;
mod lines;
mod log;

use std::process::ExitCode;

use crate::cli::Import;
use crate::client::Client;

pub(super) async fn run(command: &Import) -> anyhow::Result<ExitCode> {
    match command {
        Import::Documents { remote, collection, again, file } => {
            let client = Client::new(remote)?;
            documents::run(client, collection, *again, file).await?;
        }
        Import::Log { remote, file } => log::run(&Client::new(remote)?, file).await?,
    }
    Ok(ExitCode::SUCCESS)
}
