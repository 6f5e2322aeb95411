//! `import documents`: every line is checked before the first is sent. A batch's idempotency key
//! derives from the file's content, so a repeat after an interruption writes nothing twice.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use domain::json::{self, Limits as JsonLimits};
use domain::{CollectionName, DocumentId};
use indicatif::ProgressBar;
use reqwest::Method;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::batches::{Batches, Limits, Unit};
use super::lines::{Line, Lines};
use crate::client::{Client, Refusal, Request, Retry};
use crate::commands::progress;

/// What a server takes in one commit by default, and half of what it takes in one body.
const LIMITS: Limits = Limits { lines_max: 500, bytes_max: 4 << 20 };
/// Requests under way at a time.
const IN_FLIGHT_MAX: usize = 4;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks the answer to a batch that was taken before.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Of a batch's hash, in its key.
const KEY_BYTES: usize = 16;

/// A line: what an export writes has more, which is passed over.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// What the first look at the file found.
struct Survey {
    bytes: u64,
    /// Of every line.
    digest: [u8; 32],
    /// Whether an id comes more than once; the last one must win.
    repeats: bool,
}

pub(super) async fn run(
    client: Client,
    collection: &str,
    again: bool,
    file: &Path,
) -> anyhow::Result<()> {
    let collection = CollectionName::new(collection).context("--collection")?;
    let mut survey = survey(file)?;
    if again {
        // Other keys, so that the server takes it for another import.
        survey.digest = Sha256::digest(Uuid::now_v7().as_bytes()).into();
    }
    let bar = progress::bytes("import", survey.bytes);
    let sender = Sender {
        client,
        bar: bar.clone(),
        in_flight: JoinSet::new(),
        in_flight_max: if survey.repeats { 1 } else { IN_FLIGHT_MAX },
        taken: Taken::default(),
    };
    let taken = send(sender, &collection, &survey, file).await?;
    progress::done(&bar, taken.documents, "documents");
    if taken.repeated > 0 {
        eprintln!(
            "{} of them were imported before and are left as they are; --again writes them anew",
            taken.repeated
        );
    }
    Ok(())
}

/// Reads the whole file once.
fn survey(file: &Path) -> anyhow::Result<Survey> {
    let mut lines = Lines::open(file)?;
    let (mut digest, mut repeats) = (Sha256::new(), false);
    let (hasher, mut seen) = (RandomState::new(), HashSet::new());
    while let Some(line) = lines.next()? {
        let document = parse(&line)?;
        if let Some(id) = &document.id {
            // Two ids of one hash cost speed and nothing else.
            repeats |= !seen.insert(hasher.hash_one(id));
        }
        digest.update(line.text);
        digest.update(b"\n");
    }
    Ok(Survey { bytes: lines.bytes(), digest: digest.finalize().into(), repeats })
}

fn parse<'a>(line: &Line<'a>) -> anyhow::Result<Document<'a>> {
    let at = || format!("line {}", line.number);
    let document: Document<'_> = serde_json::from_str(line.text)
        .with_context(at)
        .context("expected {\"id\":\"…\",\"data\":{…}}")?;
    if let Some(id) = &document.id {
        DocumentId::new(id).with_context(at)?;
    }
    json::compact_object(document.data.get().as_bytes(), JsonLimits::DOCUMENT)
        .context("data")
        .with_context(at)?;
    Ok(document)
}

async fn send(
    mut sender: Sender,
    collection: &CollectionName,
    survey: &Survey,
    file: &Path,
) -> anyhow::Result<Taken> {
    let mut lines = Lines::open(file)?;
    let mut batches = Batches::new(LIMITS, b',');
    while let Some(line) = lines.next()? {
        let write = write(&parse(&line)?, collection, survey, line.number);
        let mut unit = Unit::default();
        unit.push(b',', write.as_bytes(), line.number);
        if let Some(batch) = batches.push(unit) {
            sender.send(batch, key(survey, collection), lines.bytes()).await?;
        }
    }
    if let Some(batch) = batches.finish() {
        sender.send(batch, key(survey, collection), lines.bytes()).await?;
    }
    sender.wait_for_all().await?;
    Ok(sender.taken)
}

/// One entry of a commit. Without an id the document gets one that a repeat gives it again.
fn write(
    document: &Document<'_>,
    collection: &CollectionName,
    survey: &Survey,
    line: u64,
) -> String {
    let id = document.id.as_deref().map_or_else(
        || {
            let name = [survey.digest.as_slice(), &line.to_be_bytes()].concat();
            Cow::Owned(Uuid::new_v5(&Uuid::NAMESPACE_OID, &name).to_string())
        },
        Cow::Borrowed,
    );
    let data = document.data.get();
    // Names and ids have only characters that JSON does not escape.
    format!(r#"{{"op":"replace","collection":"{collection}","id":"{id}","data":{data}}}"#)
}

/// What the keys of all batches start from.
fn key(survey: &Survey, collection: &CollectionName) -> Sha256 {
    Sha256::new().chain_update(survey.digest).chain_update(collection.as_str())
}

/// Sends batches, several at a time.
struct Sender {
    client: Client,
    bar: ProgressBar,
    in_flight: JoinSet<anyhow::Result<Taken>>,
    in_flight_max: usize,
    /// What the server has taken.
    taken: Taken,
}

/// Documents that a server took, now or before.
#[derive(Default, Clone, Copy)]
struct Taken {
    documents: u64,
    /// Of these, how many an earlier import had brought.
    repeated: u64,
}

impl Sender {
    /// Sends a batch once there is room; `read` is how far the file was read for it.
    async fn send(&mut self, batch: Unit, key: Sha256, read: u64) -> anyhow::Result<()> {
        while self.in_flight.len() >= self.in_flight_max {
            self.wait_for_one().await?;
        }
        let lines = batch.lines.iter().flat_map(|line| line.to_be_bytes()).collect::<Vec<_>>();
        let digest = key.chain_update(lines).finalize();
        let hex: String = digest[..KEY_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        let client = self.client.clone();
        self.in_flight.spawn(commit(client, batch, format!("import-{hex}")));
        self.bar.set_position(read);
        Ok(())
    }

    async fn wait_for_all(&mut self) -> anyhow::Result<()> {
        while !self.in_flight.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    async fn wait_for_one(&mut self) -> anyhow::Result<()> {
        let Some(outcome) = self.in_flight.join_next().await else { return Ok(()) };
        match outcome.context("sending").and_then(|outcome| outcome) {
            Ok(taken) => {
                self.taken.documents += taken.documents;
                self.taken.repeated += taken.repeated;
                Ok(())
            }
            Err(error) => {
                self.bar.abandon();
                let taken = self.taken.documents;
                Err(error.context(format!("stopped after {taken} documents; it can be repeated")))
            }
        }
    }
}

/// Writes one batch.
async fn commit(client: Client, batch: Unit, key: String) -> anyhow::Result<Taken> {
    let body = [b"{\"writes\":[".as_slice(), &batch.body, b"]}"].concat();
    let request = Request {
        method: Method::POST,
        path: &["commit"],
        query: &[],
        headers: &[(IDEMPOTENCY_KEY, key)],
        body: Some(("application/json", Bytes::from(body))),
        retry: Retry::Always,
    };
    match client.send(&request).await {
        Ok(response) => {
            let documents = batch.lines.len() as u64;
            let repeated = response.headers().contains_key(IDEMPOTENCY_REPLAYED);
            Ok(Taken { documents, repeated: if repeated { documents } else { 0 } })
        }
        Err(error) => match error.downcast_ref::<Refusal>().and_then(|r| line_of(r, &batch)) {
            Some(line) => bail!("line {line}: {error:#}"),
            None => Err(error),
        },
    }
}

/// The line that a refusal points to: its field is `/writes/<index>/…`.
fn line_of(refusal: &Refusal, batch: &Unit) -> Option<u64> {
    let rest = refusal.field.as_deref()?.strip_prefix("/writes/")?;
    let index: usize = rest.split('/').next()?.parse().ok()?;
    batch.lines.get(index).copied()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use domain::CollectionName;
    use reqwest::StatusCode;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_bad_line_is_named_before_anything_is_sent() {
        let good = r#"{"id":"a","data":{"n":1}}"#;
        for (bad, why) in [
            ("nonsense", "line 3"),
            (r#"{"id":"b"}"#, "missing field `data`"),
            (r#"{"id":"_b","data":{}}"#, "line 3"),
            (r#"{"id":"b","data":[]}"#, "must be a JSON object"),
            (r#"{"id":"b","data":{"a":1,"a":2}}"#, "line 3"),
        ] {
            let file = file(&format!("{good}\n\n{bad}\n"));
            let error = format!("{:#}", survey(file.path()).err().unwrap());
            assert!(error.contains("line 3") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_survey_sees_repeats() {
        let one = file("{\"data\":{}}\n{\"id\":\"a\",\"data\":{}}\n{\"id\":\"b\",\"data\":{}}");
        let two = file("{\"id\":\"a\",\"data\":{}}\n{\"id\":\"a\",\"data\":{}}\n");
        let (one, two) = (survey(one.path()).unwrap(), survey(two.path()).unwrap());
        assert!(!one.repeats && two.repeats);
        assert_ne!(one.digest, two.digest);
    }

    #[test]
    fn a_line_without_an_id_gets_the_same_one_each_time() {
        let survey = Survey { bytes: 1, digest: [7; 32], repeats: false };
        let collection = CollectionName::new("c").unwrap();
        let render = |number| {
            let line = Line { text: r#"{"version":3,"data":{"a":1}}"#, number };
            let text = write(&parse(&line).unwrap(), &collection, &survey, number);
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        };
        let (one, two) = (render(1), render(2));
        assert_eq!(one, render(1));
        assert_ne!(one["id"], two["id"]);
        assert_eq!((&one["op"], &one["data"]["a"]), (&"replace".into(), &1.into()));
    }

    #[test]
    fn a_refusal_names_its_line() {
        let batch = Unit { body: Vec::new(), lines: vec![11, 12, 14] };
        let refusal = |field: &str| Refusal {
            status: StatusCode::BAD_REQUEST,
            code: "invalid-body".to_owned(),
            detail: String::new(),
            field: Some(field.to_owned()),
        };
        assert_eq!(line_of(&refusal("/writes/2/data"), &batch), Some(14));
        assert_eq!(line_of(&refusal("/writes/3"), &batch), None);
        assert_eq!(line_of(&refusal("/reads/0"), &batch), None);
    }
}
