//! `import log`: a project's events as they were exported, in order, a transaction always whole.
//! What the project has already must be the file's beginning; the rest is sent.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::batches::{Batches, Limits, Unit};
use super::lines::Lines;
use crate::client::{Client, Refusal, Request, Retry};
use crate::commands::events::Pages;
use crate::commands::progress;

/// Half of what a server takes in one body by default.
const LIMITS: Limits = Limits { lines_max: 2000, bytes_max: 4 << 20 };
const NDJSON: &str = "application/x-ndjson";

/// What must be known of an event to send it.
#[derive(Deserialize)]
struct Event {
    id: Uuid,
    transactionid: Option<Uuid>,
    transactioncount: Option<usize>,
}

pub(super) async fn run(client: &Client, file: &Path) -> anyhow::Result<()> {
    let bytes = file.metadata().with_context(|| file.display().to_string())?.len();
    let mut units = Units::new(Lines::open(file)?);
    let there = skip_what_is_there(client, &mut units).await?;
    if there > 0 {
        eprintln!("{there} events are there already");
    }
    let bar = progress::bytes("import", bytes);
    let mut batches = Batches::new(LIMITS, b'\n');
    let mut sent = 0;
    while let Some((unit, _)) = units.next()? {
        if let Some(batch) = batches.push(unit) {
            sent += send(client, batch).await?;
            bar.set_position(units.lines.bytes());
        }
    }
    if let Some(batch) = batches.finish() {
        sent += send(client, batch).await?;
    }
    progress::done(&bar, sent, "events");
    Ok(())
}

async fn send(client: &Client, batch: Unit) -> anyhow::Result<u64> {
    let (first, count) = (batch.lines.first().copied().unwrap_or(0), batch.lines.len() as u64);
    let request = Request {
        method: Method::POST,
        path: &["import"],
        query: &[],
        headers: &[],
        body: Some((NDJSON, Bytes::from(batch.body))),
        retry: Retry::Unwritten,
    };
    let sent = client.send(&request).await;
    sent.with_context(|| format!("lines from {first} on not imported; it can be repeated"))?;
    Ok(count)
}

/// Passes over the units that the project has, so that an interrupted import goes on.
async fn skip_what_is_there<R: BufRead>(
    client: &Client,
    units: &mut Units<R>,
) -> anyhow::Result<u64> {
    let mut pages = Pages::new(client, None, None);
    let (mut there, mut expected) = (0, Vec::new().into_iter());
    loop {
        let page = match pages.next().await {
            Ok(page) => page,
            Err(error) if is_unknown_project(&error) => return Ok(0),
            Err(error) => return Err(error),
        };
        for event in &page.events {
            if expected.len() == 0 {
                let unit = units.next()?;
                expected = unit.map(|(_, ids)| ids).unwrap_or_default().into_iter();
            }
            let same = expected.next() == Some(id(event)?);
            ensure!(same, "the project has other events than the file: import into a new project");
            there += 1;
        }
        if page.next == page.end {
            ensure!(expected.len() == 0, "the project has only a part of a transaction");
            return Ok(there);
        }
    }
}

fn is_unknown_project(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref::<Refusal>();
    refusal.is_some_and(|refusal| refusal.status == StatusCode::NOT_FOUND)
}

fn id(event: &RawValue) -> anyhow::Result<Uuid> {
    Ok(serde_json::from_str::<Event>(event.get())?.id)
}

/// Reads events that belong together: one, or those of a transaction.
struct Units<R> {
    lines: Lines<R>,
    /// The event that ended the unit before.
    ahead: Option<(Event, String, u64)>,
}

impl<R: BufRead> Units<R> {
    fn new(lines: Lines<R>) -> Self {
        Self { lines, ahead: None }
    }

    /// The next unit and the ids of its events.
    fn next(&mut self) -> anyhow::Result<Option<(Unit, Vec<Uuid>)>> {
        let Some((first, text, line)) = self.next_event()? else { return Ok(None) };
        let mut unit = Unit::default();
        unit.push(b'\n', text.as_bytes(), line);
        let mut ids = vec![first.id];
        if first.transactionid.is_some() {
            while let Some((event, text, line)) = self.next_event()? {
                if event.transactionid != first.transactionid {
                    self.ahead = Some((event, text, line));
                    break;
                }
                unit.push(b'\n', text.as_bytes(), line);
                ids.push(event.id);
            }
            if first.transactioncount != Some(ids.len()) {
                bail!("line {line}: the transaction that starts here is not whole");
            }
        }
        Ok(Some((unit, ids)))
    }

    fn next_event(&mut self) -> anyhow::Result<Option<(Event, String, u64)>> {
        if let Some(event) = self.ahead.take() {
            return Ok(Some(event));
        }
        let Some(line) = self.lines.next()? else { return Ok(None) };
        let event = serde_json::from_str(line.text)
            .with_context(|| format!("line {}: not an event", line.number))?;
        Ok(Some((event, line.text.to_owned(), line.number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u32, transaction: Option<(u128, usize)>) -> String {
        let id = Uuid::from_u128(number.into());
        let part = transaction.map_or_else(String::new, |(id, count)| {
            let id = Uuid::from_u128(id);
            format!(r#","transactionid":"{id}","transactioncount":{count}"#)
        });
        format!(r#"{{"id":"{id}"{part},"data":{{}}}}"#)
    }

    fn units(lines: &[String]) -> anyhow::Result<Vec<Vec<u64>>> {
        let text = lines.join("\n");
        let mut units = Units::new(Lines::new(text.as_bytes()));
        let mut all = Vec::new();
        while let Some((unit, ids)) = units.next()? {
            assert_eq!(unit.lines.len(), ids.len());
            all.push(unit.lines);
        }
        Ok(all)
    }

    #[test]
    fn a_transaction_is_one_unit() {
        let lines = [
            event(1, None),
            event(2, Some((7, 2))),
            event(3, Some((7, 2))),
            event(4, Some((8, 1))),
            event(5, None),
            event(6, Some((9, 2))),
            event(7, Some((9, 2))),
        ];
        let expected = [vec![1], vec![2, 3], vec![4], vec![5], vec![6, 7]];
        assert_eq!(units(&lines).unwrap(), expected);
    }

    #[test]
    fn a_cut_transaction_is_named_by_its_line() {
        let lines = [event(1, None), event(2, Some((7, 3))), event(3, Some((7, 3)))];
        let error = units(&lines).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let error = units(&[event(1, None), "{}".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
