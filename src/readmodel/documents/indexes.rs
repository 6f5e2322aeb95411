//! Indexes of collections, and the places that documents have in them. A place is a text whose
//! order is the index's; what it means is nothing to the tables.

use bytes::Bytes;
use compact_str::CompactString;
use domain::{CollectionName, DocumentId, Offset, ProjectId};

use super::fields::{Fields, number, text};
use super::read::all_rows;
use super::{COLLECTION, ID, PROJECT, column};
use crate::table::{Kind, Table, Value};
use crate::{Error, Reader, Scan, Write};

/// Every index there is, that is being built, or whose places are being removed. While one is
/// built, its columns only ever grow: of two writes because of the same event the greater one
/// stays.
pub static INDEXES: Table = Table {
    number: 11,
    name: "indexes",
    partition_key: &[PROJECT],
    clustering_key: &[COLLECTION, column("index_id", Kind::Text)],
    columns: &[
        column("definition", Kind::Json),
        column("since", Kind::Int),
        column("dropped", Kind::Int),
        column("built", Kind::Bool),
        column("after", Kind::Text),
        column("documents", Kind::Int),
    ],
    short_lived: false,
};

/// The places of documents in indexes.
pub static INDEX_ENTRIES: Table = Table {
    number: 12,
    name: "index_entries",
    partition_key: &[PROJECT, COLLECTION, column("index_id", Kind::Text)],
    clustering_key: &[column("place", Kind::Text)],
    columns: &[ID],
    short_lived: false,
};

/// A row of [`INDEXES`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Of which collection.
    pub collection: CollectionName,
    /// Names it among all that ever were: one that is configured again is another one.
    pub id: CompactString,
    /// What it is, as JSON; opaque here.
    pub definition: Bytes,
    /// Offset of the event that configured it.
    pub since: Offset,
    /// Offset of the event after which it is not used any more: its places are being removed.
    pub dropped: Option<Offset>,
    /// Whether it has the places of all documents.
    pub built: bool,
    /// While it is built: the last document, in the order of ids, that was looked at.
    pub after: Option<DocumentId>,
    /// While it is built: how many were looked at.
    pub documents: Option<u64>,
}

impl Index {
    /// Whether it has the places of all documents, and will have.
    pub fn is_usable(&self) -> bool {
        self.built && self.dropped.is_none()
    }
}

/// Stores an index as it is because of the event at `offset`.
pub fn put_index(project: &ProjectId, index: &Index, offset: Offset) -> Write {
    let row = vec![
        text(project.as_str()),
        text(index.collection.as_str()),
        text(&index.id),
        Value::Json(index.definition.clone()),
        number(index.since),
        index.dropped.map_or(Value::Null, number),
        Value::Bool(index.built),
        // Empty at first: of two writes because of the same event `Null` would stay.
        match index.built {
            true => Value::Null,
            false => text(index.after.as_ref().map_or("", DocumentId::as_str)),
        },
        index.documents.map_or(Value::Null, number),
    ];
    Write::Put { table: &INDEXES, row, offset }
}

/// Forgets an index that was dropped at `offset`.
pub fn delete_index(project: &ProjectId, index: &Index, offset: Offset) -> Write {
    let key = vec![text(project.as_str()), text(index.collection.as_str()), text(&index.id)];
    Write::Delete { table: &INDEXES, key, offset }
}

/// Every index of a project, those that are dropped included.
pub async fn all_indexes(reader: &dyn Reader, project: &ProjectId) -> Result<Vec<Index>, Error> {
    let rows = all_rows(reader, &INDEXES, vec![text(project.as_str())]).await?;
    rows.into_iter().map(|row| index(Fields::from(&INDEXES, row, 1))).collect()
}

/// Every index of a collection, those that are dropped included.
pub async fn indexes(
    reader: &dyn Reader,
    project: &ProjectId,
    collection: &str,
) -> Result<Vec<Index>, Error> {
    let prefix = vec![text(project.as_str()), text(collection)];
    let rows = all_rows(reader, &INDEXES, prefix).await?;
    rows.into_iter().map(|row| index(Fields::from(&INDEXES, row, 1))).collect()
}

/// Names an index.
#[derive(Debug, Clone, Copy)]
pub struct IndexKey<'a> {
    /// Whose.
    pub project: &'a ProjectId,
    /// Of which collection.
    pub collection: &'a str,
    /// Its id.
    pub id: &'a str,
}

impl IndexKey<'_> {
    fn prefix(&self) -> Vec<Value> {
        vec![text(self.project.as_str()), text(self.collection), text(self.id)]
    }

    fn with(&self, place: &str) -> Vec<Value> {
        let mut key = self.prefix();
        key.push(text(place));
        key
    }
}

/// Gives a document a place in an index.
pub fn put_entry(index: IndexKey<'_>, place: &str, id: &str, offset: Offset) -> Write {
    let mut row = index.with(place);
    row.push(text(id));
    Write::Put { table: &INDEX_ENTRIES, row, offset }
}

/// Takes a place out of an index.
pub fn delete_entry(index: IndexKey<'_>, place: &str, offset: Offset) -> Write {
    Write::Delete { table: &INDEX_ENTRIES, key: index.with(place), offset }
}

/// Up to `limit` places after `after` (before it, when `reverse`) with the documents that have
/// them; from the beginning (the end) when there is none.
pub async fn entries(
    reader: &dyn Reader,
    index: IndexKey<'_>,
    after: Option<&str>,
    reverse: bool,
    limit: usize,
) -> Result<Vec<(CompactString, DocumentId)>, Error> {
    let after = after.map(|after| index.with(after));
    let scan = Scan { prefix: index.prefix(), after, reverse, limit };
    let rows = reader.scan(&INDEX_ENTRIES, scan).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::from(&INDEX_ENTRIES, row, 3);
            Ok((fields.text()?, fields.parsed(DocumentId::new)?))
        })
        .collect()
}

fn index(mut fields: Fields) -> Result<Index, Error> {
    Ok(Index {
        collection: fields.parsed(CollectionName::new)?,
        id: fields.text()?,
        definition: fields.json()?.ok_or_else(|| fields.corrupt("a definition"))?,
        since: fields.number()?,
        dropped: fields.optional_number()?,
        built: fields.boolean()?,
        after: fields.optional_text()?.and_then(|id| DocumentId::new(&id).ok()),
        documents: fields.optional_number()?,
    })
}
