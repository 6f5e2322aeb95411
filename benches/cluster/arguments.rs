//! What the bench was told on its command line.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use benches::load::Span;

/// Seconds of one measurement by default.
const SECONDS: u64 = 8;

/// One part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Embedded,
    Kafka,
    Cql,
    Create,
    Projection,
    Failover,
    Curve,
}

impl Part {
    /// In the order in which they run: a part stands beside what earlier ones have measured.
    pub(crate) const ALL: [Self; 7] = [
        Self::Embedded,
        Self::Kafka,
        Self::Cql,
        Self::Create,
        Self::Projection,
        Self::Failover,
        Self::Curve,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Kafka => "kafka",
            Self::Cql => "cql",
            Self::Create => "create",
            Self::Projection => "projection",
            Self::Failover => "failover",
            Self::Curve => "curve",
        }
    }
}

/// What to measure, and for how long.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) parts: Vec<Part>,
    seconds: u64,
}

impl Arguments {
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments = Self { parts: Part::ALL.to_vec(), seconds: SECONDS };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                // Cargo says so to every bench.
                "--bench" => {}
                "--secs" => arguments.seconds = value()?.parse().context("--secs")?,
                "--parts" => arguments.parts = parts(&value()?)?,
                _ => bail!("what is {word}? There are --secs N and --parts A,B"),
            }
        }
        ensure!(arguments.seconds > 0, "--secs is at least 1");
        Ok(arguments)
    }

    /// How long one measurement takes.
    pub(crate) fn span(&self) -> Span {
        let run = Duration::from_secs(self.seconds);
        Span { warm_up: run / 4, run }
    }
}

fn parts(text: &str) -> Result<Vec<Part>> {
    let part = |name: &str| {
        let found = Part::ALL.into_iter().find(|part| part.name() == name);
        found.with_context(|| {
            let names = Part::ALL.map(Part::name).join(",");
            format!("there is no part {name}: choose among {names}")
        })
    };
    text.split(',').map(part).collect()
}
