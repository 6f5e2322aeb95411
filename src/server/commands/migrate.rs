//! `migrate`: makes the keyspace and the tables of a cluster, or brings them up to date. Nodes
//! apply no migration and do not start on a keyspace that lacks one, so this comes before them.

use std::process::ExitCode;

use anyhow::Context as _;
use readmodel::cql;

use crate::cli::ConfigFile;
use crate::start::table_options;

pub(super) fn run(file: &ConfigFile) -> anyhow::Result<ExitCode> {
    let flags = super::text_flags("migrate", Some("warn"));
    let config = super::configuration(file, flags)?.config;
    crate::logging::init(&config.logging)?;
    let options = table_options(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let migrated = runtime.context("starting the runtime")?.block_on(cql::migrate(&options))?;
    for (version, name) in &migrated.applied {
        println!("applied {version}: {name}");
    }
    for table in &migrated.tables {
        println!("made {table}");
    }
    println!("keyspace {} is at version {}", options.keyspace, migrated.to);
    Ok(ExitCode::SUCCESS)
}
