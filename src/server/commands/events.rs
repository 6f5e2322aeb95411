//! `events`: a project's log for people, one line an event.
//! Goes to the end, or on for as long as they look; asks again only when it has caught up.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::Events;
use crate::client::Client;

/// Between two looks at a log that has nothing new.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

/// A part of the log.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) events: Vec<Box<RawValue>>,
    pub(super) next: String,
    pub(super) end: String,
}

/// What a line shows.
#[derive(Deserialize)]
struct Shown {
    position: String,
    time: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    actor: String,
}

/// Reads a project's log, page by page.
pub(super) struct Pages<'a> {
    client: &'a Client,
    types: Option<&'a str>,
    from: Option<String>,
}

impl<'a> Pages<'a> {
    /// From a position on, or from the oldest event.
    pub(super) fn new(client: &'a Client, from: Option<&str>, types: Option<&'a str>) -> Self {
        Self { client, types, from: from.map(str::to_owned) }
    }

    /// The next page; may be empty before the end, where it equals `next`.
    pub(super) async fn next(&mut self) -> anyhow::Result<Page> {
        let mut query = Vec::new();
        query.extend(self.from.as_deref().map(|from| ("from", from)));
        query.extend(self.types.map(|types| ("types", types)));
        let page: Page = self.client.page(&["events"], &query).await?;
        self.from = Some(page.next.clone());
        Ok(page)
    }
}

pub(super) async fn run(command: &Events) -> anyhow::Result<ExitCode> {
    let client = Client::new(&command.remote)?;
    let from = Some(command.from.as_str()).filter(|from| *from != "start");
    let mut pages = Pages::new(&client, from, command.types.as_deref());
    let mut out = std::io::stdout().lock();
    loop {
        let page = pages.next().await?;
        for event in &page.events {
            if command.json {
                writeln!(out, "{event}")?;
            } else {
                writeln!(out, "{}", line(event)?)?;
            }
        }
        out.flush()?;
        if page.next != page.end {
            continue;
        }
        if !command.follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

fn line(event: &RawValue) -> anyhow::Result<String> {
    let Shown { position, time, kind, subject, actor } = serde_json::from_str(event.get())?;
    Ok(format!("{position:<10} {time:<27} {kind:<20} {subject:<40} {actor}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_shows_where_when_what_and_who() {
        let text = r#"{"position":"0-7","time":"2026-01-02T03:04:05.000006Z","type":
            "document.created","subject":"document/c/d","actor":"key:k","data":{}}"#;
        let event: Box<serde_json::value::RawValue> = serde_json::from_str(text).unwrap();
        let line = super::line(&event).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        let time = "2026-01-02T03:04:05.000006Z";
        assert_eq!(words, ["0-7", time, "document.created", "document/c/d", "key:k"]);
    }
}
