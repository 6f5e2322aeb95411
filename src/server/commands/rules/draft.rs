//! Sends a draft of rules to a server, and prints which of its requests would come out otherwise.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::settings::Settings;
use crate::cli::Remote;
use crate::client::{Client, Request, Retry};

const TITLES: [&str; 7] = ["TIME", "OP", "DOCUMENT", "AS", "WAS", "WOULD BE", "FIELD"];

#[derive(Serialize)]
struct Draft<'a> {
    collection: &'a str,
    settings: &'a RawValue,
}

/// What the server says.
#[derive(Deserialize)]
struct Tried {
    checked: usize,
    unchanged: usize,
    skipped: usize,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    time: String,
    op: String,
    id: String,
    r#as: Option<String>,
    was: String,
    would: String,
    field: Option<String>,
}

/// With `exit_code`, 1 when something would change.
pub(super) async fn run(
    remote: &Remote,
    collection: &str,
    exit_code: bool,
    file: &Path,
) -> anyhow::Result<ExitCode> {
    // What is wrong with it is said with its place in the file, which the server can't know.
    let settings = Settings::read(file)?;
    let draft = Draft { collection, settings: settings.text.parse(&settings.text.text)? };
    let body = Bytes::from(serde_json::to_vec(&draft)?);
    let request = Request {
        method: Method::POST,
        path: &["rules", "try"],
        query: &[],
        headers: &[],
        body: Some(("application/json", body)),
        // Nothing is written.
        retry: Retry::Always,
    };
    let answer = Client::new(remote)?.send(&request).await?;
    let answer = answer.bytes().await.context("reading the answer")?;
    let tried: Tried =
        serde_json::from_slice(&answer).context("an answer that is not Headwater's")?;
    let mut out = std::io::stdout().lock();
    out.write_all(shown(&tried).as_bytes())?;
    let is_changed = tried.checked > tried.unchanged;
    Ok(if exit_code && is_changed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A table of the changes, and the sums.
fn shown(tried: &Tried) -> String {
    let mut rows = Vec::with_capacity(tried.changes.len() + 1);
    if !tried.changes.is_empty() {
        rows.push(TITLES);
    }
    rows.extend(tried.changes.iter().map(|change| {
        let somebody = change.r#as.as_deref().unwrap_or("nobody");
        let field = change.field.as_deref().unwrap_or("");
        let Change { time, op, id, was, would, .. } = change;
        [time, op, id, somebody, was, would, field]
    }));
    let mut widths = [0; TITLES.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    let Tried { checked, unchanged, skipped, changes } = tried;
    let changed = checked.saturating_sub(*unchanged);
    let sums = format!("{checked} checked, {changed} would change, {skipped} skipped\n");
    let more = match changes.len() < changed {
        true => format!("only the first {} are shown\n", changes.len()),
        false => String::new(),
    };
    text + &sums + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up() {
        let change = |id: &str, field: Option<&str>| Change {
            time: "t".to_owned(),
            op: "read".to_owned(),
            id: id.to_owned(),
            r#as: None,
            was: "allow".to_owned(),
            would: "deny".to_owned(),
            field: field.map(str::to_owned),
        };
        let changes = vec![change("a-long-name", Some("secret")), change("b", None)];
        let tried = Tried { checked: 5, unchanged: 2, skipped: 1, changes };
        let expected = "\
TIME  OP    DOCUMENT     AS      WAS    WOULD BE  FIELD
t     read  a-long-name  nobody  allow  deny      secret
t     read  b            nobody  allow  deny
5 checked, 3 would change, 1 skipped
only the first 2 are shown
";
        assert_eq!(shown(&tried), expected);
    }
}
