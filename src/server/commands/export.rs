//! `export`: documents or the whole log of a project as lines of JSON.
//! A file appears under its name only when it is complete.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::Pages;
use super::progress;
use crate::cli::Export;
use crate::client::Client;

#[derive(Deserialize)]
struct Page {
    documents: Vec<Box<RawValue>>,
    cursor: Option<String>,
}

pub(super) async fn run(command: &Export) -> anyhow::Result<ExitCode> {
    match command {
        Export::Documents { remote, collection, out } => {
            let client = Client::new(remote)?;
            let mut out = Output::open(out.as_deref())?;
            documents(&client, collection, &mut out).await?;
            out.finish("documents")?;
        }
        Export::Log { remote, out } => {
            let client = Client::new(remote)?;
            let mut out = Output::open(out.as_deref())?;
            log(&client, &mut out).await?;
            out.finish("events")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn documents(client: &Client, collection: &str, out: &mut Output) -> anyhow::Result<()> {
    let path = ["collections", collection, "documents"];
    let mut cursor: Option<String> = None;
    loop {
        let query: Vec<_> =
            cursor.as_deref().map(|cursor| ("cursor", cursor)).into_iter().collect();
        let page: Page = client.page(&path, &query).await?;
        out.lines(&page.documents)?;
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

/// Up to where the log ended when it began, so that a busy project's export ends too.
async fn log(client: &Client, out: &mut Output) -> anyhow::Result<()> {
    let mut pages = Pages::new(client, None, None);
    let mut end = None;
    loop {
        let page = pages.next().await?;
        out.lines(&page.events)?;
        let end = end.get_or_insert(offset(&page.end)?);
        if offset(&page.next)? >= *end {
            return Ok(());
        }
    }
}

fn offset(position: &str) -> anyhow::Result<u64> {
    Ok(position.parse::<domain::Position>()?.offset)
}

/// Where the lines go.
struct Output {
    writer: Box<dyn Write>,
    /// What it is called until it is complete, and then.
    names: Option<(PathBuf, PathBuf)>,
    lines: u64,
    bar: indicatif::ProgressBar,
}

impl Output {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let bar = progress::open("export");
        let Some(path) = path else {
            let writer = Box::new(BufWriter::new(std::io::stdout()));
            return Ok(Self { writer, names: None, lines: 0, bar });
        };
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).with_context(|| partial.display().to_string())?;
        let writer = Box::new(BufWriter::new(file));
        Ok(Self { writer, names: Some((partial, path.to_owned())), lines: 0, bar })
    }

    fn lines(&mut self, lines: &[Box<RawValue>]) -> anyhow::Result<()> {
        for line in lines {
            self.writer.write_all(line.get().as_bytes())?;
            self.writer.write_all(b"\n")?;
        }
        self.lines += lines.len() as u64;
        self.bar.set_position(self.lines);
        Ok(())
    }

    fn finish(mut self, what: &str) -> anyhow::Result<()> {
        self.writer.flush()?;
        if let Some((partial, path)) = &self.names {
            std::fs::rename(partial, path).with_context(|| path.display().to_string())?;
        }
        progress::done(&self.bar, self.lines, what);
        Ok(())
    }
}
