//! Typed reads, over a space as it is or over a view of it: one row, or pages of bounded size.

use domain::{CollectionName, DocumentId, EventType, Offset, ProjectId, Timestamp};
use uuid::Uuid;

use super::fields::{Fields, text};
use super::write::{by_time_key, uuid};
use super::{
    ByTime, COLLECTIONS, DOCUMENTS, Document, HISTORY, HistoryEntry, IDEMPOTENCY,
    IDEMPOTENCY_BY_TIME, IDEMPOTENCY_EXPIRED, IdempotencyEntry, PROJECTS, Project,
};
use crate::table::{Row, Table, Value};
use crate::{Error, Reader, Scan};

/// Rows that one scan asks for at most, so that memory stays bounded however many rows there are.
const PAGE_ROWS_MAX: usize = 256;

/// One project.
pub async fn get_project(reader: &dyn Reader, id: &ProjectId) -> Result<Option<Project>, Error> {
    let row = reader.get(&PROJECTS, &[text(id.as_str())]).await?;
    row.map(|row| project(Fields::from(&PROJECTS, row, 1))).transpose()
}

/// Every project there is, in order of id. Reads the whole table: only for starting up.
pub async fn projects(reader: &dyn Reader) -> Result<Vec<(ProjectId, Project)>, Error> {
    // At once, for each such scan may have to look at all keys there are.
    let all = Scan { limit: usize::MAX, ..Scan::default() };
    let rows = reader.scan(&PROJECTS, all).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::from(&PROJECTS, row, 0);
            Ok((fields.parsed(ProjectId::new)?, project(fields)?))
        })
        .collect()
}

/// One document, live or deleted; `None` when there never was one.
pub async fn get_document(
    reader: &dyn Reader,
    project: &ProjectId,
    collection: &str,
    id: &str,
) -> Result<Option<Document>, Error> {
    let key = [text(project.as_str()), text(collection), text(id)];
    let row = reader.get(&DOCUMENTS, &key).await?;
    row.map(|row| document(Fields::from(&DOCUMENTS, row, 3))).transpose()
}

/// Up to `limit` entries of a document's history, newest first, below `before_version`.
pub async fn history(
    reader: &dyn Reader,
    project: &ProjectId,
    collection: &str,
    id: &str,
    before_version: Option<u64>,
    limit: usize,
) -> Result<Vec<HistoryEntry>, Error> {
    let prefix = vec![text(project.as_str()), text(collection), text(id)];
    let after = before_version.map(|version| with(&prefix, Value::Int(key_number(version))));
    let rows = reader.scan(&HISTORY, Scan { prefix, after, reverse: true, limit }).await?;
    rows.into_iter().map(history_entry).collect()
}

/// The newest entry of a document's history at or before a place in the log.
pub async fn version_at(
    reader: &dyn Reader,
    project: &ProjectId,
    collection: &str,
    id: &str,
    offset: Offset,
) -> Result<Option<HistoryEntry>, Error> {
    newest_where(reader, project, collection, id, |entry| entry.offset <= offset).await
}

/// The newest entry of a document's history at or before a time.
pub async fn version_at_time(
    reader: &dyn Reader,
    project: &ProjectId,
    collection: &str,
    id: &str,
    at: Timestamp,
) -> Result<Option<HistoryEntry>, Error> {
    newest_where(reader, project, collection, id, |entry| entry.time <= at).await
}

/// The newest entry that `holds`, which must hold for all versions up to some one and for none
/// after it. Halves the versions, so a long history costs only some twenty reads.
async fn newest_where(
    reader: &dyn Reader,
    project: &ProjectId,
    collection: &str,
    id: &str,
    holds: impl Fn(&HistoryEntry) -> bool,
) -> Result<Option<HistoryEntry>, Error> {
    let newest = history(reader, project, collection, id, None, 1).await?.pop();
    let Some(newest) = newest else { return Ok(None) };
    if holds(&newest) {
        return Ok(Some(newest));
    }
    let mut found = None;
    // Versions in low..high may still be the one; everything from `high` on is too new.
    let (mut low, mut high) = (0, newest.version);
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = history(reader, project, collection, id, Some(middle + 1), 1).await?.pop();
        match entry {
            Some(entry) if !holds(&entry) => high = entry.version,
            entry => {
                found = entry.or(found);
                low = middle + 1;
            }
        }
    }
    Ok(found)
}

/// One page of a collection's rows in order of id, after an id; deleted documents have rows too.
pub async fn list_rows(
    reader: &dyn Reader,
    project: &ProjectId,
    collection: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(DocumentId, Document)>, Error> {
    let prefix = vec![text(project.as_str()), text(collection)];
    let after = after.map(|id| with(&prefix, text(id)));
    let rows = reader.scan(&DOCUMENTS, Scan { prefix, after, reverse: false, limit }).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::from(&DOCUMENTS, row, 2);
            Ok((fields.parsed(DocumentId::new)?, document(fields)?))
        })
        .collect()
}

/// Every collection of a project that ever had a document, with the offset of its first event.
pub async fn collections(
    reader: &dyn Reader,
    project: &ProjectId,
) -> Result<Vec<(CollectionName, Offset)>, Error> {
    let rows = all_rows(reader, &COLLECTIONS, vec![text(project.as_str())]).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::from(&COLLECTIONS, row, 1);
            Ok((fields.parsed(CollectionName::new)?, fields.number()?))
        })
        .collect()
}

/// What a request led to, by the id of its first event.
pub async fn get_idempotency(
    reader: &dyn Reader,
    project: &ProjectId,
    event_id: Uuid,
) -> Result<Option<IdempotencyEntry>, Error> {
    let row = reader.get(&IDEMPOTENCY, &[text(project.as_str()), uuid(event_id)]).await?;
    let Some(row) = row else { return Ok(None) };
    let mut fields = Fields::from(&IDEMPOTENCY, row, 2);
    let (offset, count) = (fields.number()?, fields.number()?);
    Ok(Some(IdempotencyEntry {
        offset,
        count: u32::try_from(count).map_err(|_| fields.corrupt("a count"))?,
        fingerprint: fields.number()?,
        time: fields.time()?,
    }))
}

/// Up to `limit` requests decided before `before`, oldest first, as [`super::delete_idempotency`]
/// takes them. Looks at nothing up to `after`, which is to be the last one that has expired.
pub async fn expired_idempotency(
    reader: &dyn Reader,
    project: &ProjectId,
    after: Option<ByTime>,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<ByTime>, Error> {
    let prefix = vec![text(project.as_str())];
    let after = after.map(|after| by_time_key(project, after));
    let scan = Scan { prefix, after, limit, reverse: false };
    let mut expired = Vec::new();
    for row in reader.scan(&IDEMPOTENCY_BY_TIME, scan).await? {
        let mut fields = Fields::from(&IDEMPOTENCY_BY_TIME, row, 1);
        let time = fields.time()?;
        if time >= before {
            break;
        }
        expired.push(ByTime { time, event_id: fields.parsed(Uuid::try_parse)? });
    }
    Ok(expired)
}

/// The last request that [`super::put_expired`] has noted.
pub async fn get_expired(
    reader: &dyn Reader,
    project: &ProjectId,
) -> Result<Option<ByTime>, Error> {
    let row = reader.get(&IDEMPOTENCY_EXPIRED, &[text(project.as_str())]).await?;
    let Some(row) = row else { return Ok(None) };
    let mut fields = Fields::from(&IDEMPOTENCY_EXPIRED, row, 1);
    let last = fields.text()?;
    let last = last.split_once('/').and_then(|(time, event_id)| {
        let time = Timestamp::from_micros(time.parse().ok()?);
        Some(ByTime { time, event_id: Uuid::try_parse(event_id).ok()? })
    });
    Ok(Some(last.ok_or_else(|| fields.corrupt("a time and an id"))?))
}

/// All rows below a prefix, page by page.
pub(super) async fn all_rows(
    reader: &dyn Reader,
    table: &'static Table,
    prefix: Vec<Value>,
) -> Result<Vec<Row>, Error> {
    let mut all: Vec<Row> = Vec::new();
    loop {
        let after = all.last().map(|row| key_of(table, row));
        let scan = Scan { prefix: prefix.clone(), after, reverse: false, limit: PAGE_ROWS_MAX };
        let rows = reader.scan(table, scan).await?;
        let is_last = rows.len() < PAGE_ROWS_MAX;
        all.extend(rows);
        if is_last {
            return Ok(all);
        }
    }
}

fn key_of(table: &Table, row: &Row) -> Vec<Value> {
    row.iter().take(table.key_len()).cloned().collect()
}

/// A number to compare keys with: what no row can have stays above all of them.
fn key_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn with(prefix: &[Value], last: Value) -> Vec<Value> {
    let mut key = prefix.to_vec();
    key.push(last);
    key
}

fn project(mut fields: Fields) -> Result<Project, Error> {
    Ok(Project {
        version: fields.number()?,
        created_at: fields.time()?,
        updated_at: fields.time()?,
        state: fields.json()?.ok_or_else(|| fields.corrupt("a state"))?,
    })
}

fn document(mut fields: Fields) -> Result<Document, Error> {
    let (version, created_at, updated_at) = (fields.number()?, fields.time()?, fields.time()?);
    let (offset, live, data) = (fields.number()?, fields.boolean()?, fields.json()?);
    if live != data.is_some() {
        return Err(fields.corrupt("data where live, and only there"));
    }
    Ok(Document { version, created_at, updated_at, offset, data })
}

fn history_entry(row: Row) -> Result<HistoryEntry, Error> {
    let mut fields = Fields::from(&HISTORY, row, 3);
    Ok(HistoryEntry {
        version: fields.number()?,
        offset: fields.number()?,
        time: fields.time()?,
        kind: fields.parsed(EventType::parse)?,
    })
}
