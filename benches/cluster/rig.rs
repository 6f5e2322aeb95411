//! What the parts share: a folder, the binary, the engines once a part needs them, and what
//! earlier parts have measured.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use benches::load::{Figures, Span};
use benches::process::binary;
use tempfile::TempDir;

use super::arguments::Arguments;
use super::bare;
use super::engines::Engines;

/// What the parts share.
pub(crate) struct Rig {
    // Before the folder: fields are dropped in this order.
    engines: Option<Engines>,
    pub(crate) binary: PathBuf,
    pub(crate) folder: TempDir,
    pub(crate) span: Span,
    /// Creates on the embedded engines.
    pub(crate) embedded: Option<Figures>,
    /// Bare appends by how many were in flight.
    pub(crate) appends: BTreeMap<usize, Figures>,
    /// Bare inserts, in rows.
    pub(crate) inserts: Option<Figures>,
    /// The same with the rows of many partitions in one batch.
    pub(crate) inserts_batched: Option<Figures>,
}

impl Rig {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self> {
        Ok(Self {
            engines: None,
            binary: binary()?,
            folder: TempDir::with_prefix("headwater-bench-")?,
            span: arguments.span(),
            embedded: None,
            appends: BTreeMap::new(),
            inserts: None,
            inserts_batched: None,
        })
    }

    /// Kafka and Cassandra, started and warmed up when they are asked for first: their virtual
    /// machines compile what runs often.
    pub(crate) async fn engines(&mut self) -> Result<&Engines> {
        if self.engines.is_none() {
            let engines = Engines::start(self.folder.path())?;
            let long = Span { warm_up: self.span.run, run: self.span.run };
            eprintln!("   warming up");
            let appends = bare::Appends::prepare(&engines, "warm-up", 4).await?;
            appends.measure(64, long).await?;
            let inserts = bare::Inserts::prepare(&engines, "warm_up", 4).await?;
            inserts.measure(bare::Shape::ByPartition, long).await?;
            self.engines = Some(engines);
        }
        self.engines.as_ref().context("the engines run")
    }

    /// A span whose warm-up is as long as what it measures, for what runs for the first time.
    pub(crate) fn first_span(&self) -> Span {
        Span { warm_up: self.span.run.max(Duration::from_secs(2)), ..self.span }
    }
}
