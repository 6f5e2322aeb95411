//! Users: a row for each with its whole state, a row for each way in, and what a token that is
//! still good may tell wrong by now.

use bytes::Bytes;
use domain::{Offset, ProjectId, Timestamp, UserId};

use super::fields::{Fields, number, text, time};
use super::{CREATED_AT, ID, OFFSET, PROJECT, TIME, UPDATED_AT, VERSION, column};
use crate::table::{Kind, Row, Table, Value};
use crate::{Error, Reader, Scan, Write};

/// Every user that ever was. An erased one keeps its row, so that its id is not given again.
pub static USERS: Table = Table {
    number: 8,
    name: "users",
    partition_key: &[PROJECT],
    clustering_key: &[ID],
    columns: &[VERSION, CREATED_AT, UPDATED_AT, OFFSET, column("state", Kind::Json)],
    short_lived: false,
};

/// Whose each way in is. The key is a keyed hash: nobody's address can be read from it.
pub static IDENTITIES: Table = Table {
    number: 9,
    name: "identities",
    partition_key: &[PROJECT],
    clustering_key: &[column("key", Kind::Text)],
    columns: &[column("user_id", Kind::Text)],
    short_lived: false,
};

/// What changed about people so lately that access tokens made before it are still about, by when
/// none is any more.
pub static RECENT: Table = Table {
    number: 10,
    name: "recent",
    partition_key: &[PROJECT],
    clustering_key: &[TIME, column("subject", Kind::Text)],
    columns: &[column("state", Kind::Json)],
    short_lived: true,
};

/// A row of [`USERS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Version of the user's stream.
    pub version: u64,
    /// Time of its first event.
    pub created_at: Timestamp,
    /// Time of its newest event.
    pub updated_at: Timestamp,
    /// Offset of its newest event.
    pub offset: Offset,
    /// The user's whole state as JSON; opaque here.
    pub state: Bytes,
}

/// A row of [`RECENT`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentRow {
    /// Nothing needs it after this.
    pub until: Timestamp,
    /// `user/…` or `session/…`.
    pub subject: String,
    /// What to know of it, as JSON; opaque here.
    pub state: Bytes,
}

/// One user, erased or not.
pub async fn get_user(
    reader: &dyn Reader,
    project: &ProjectId,
    id: &UserId,
) -> Result<Option<UserRow>, Error> {
    let row = reader.get(&USERS, &[text(project.as_str()), text(id.as_str())]).await?;
    row.map(|row| user(Fields::from(&USERS, row, 2))).transpose()
}

/// One page of a project's users in order of id, after an id; erased ones have rows too.
pub async fn list_users(
    reader: &dyn Reader,
    project: &ProjectId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<(UserId, UserRow)>, Error> {
    let prefix = vec![text(project.as_str())];
    let after = after.map(|id| vec![text(project.as_str()), text(id.as_str())]);
    let rows = reader.scan(&USERS, Scan { prefix, after, reverse: false, limit }).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::from(&USERS, row, 1);
            Ok((fields.parsed(UserId::new)?, user(fields)?))
        })
        .collect()
}

/// Whose a way in is.
pub async fn get_identity(
    reader: &dyn Reader,
    project: &ProjectId,
    key: &str,
) -> Result<Option<UserId>, Error> {
    let row = reader.get(&IDENTITIES, &[text(project.as_str()), text(key)]).await?;
    row.map(|row| Fields::from(&IDENTITIES, row, 2).parsed(UserId::new)).transpose()
}

/// Up to `limit` rows of what changed lately, by when it may be forgotten.
pub async fn recent(
    reader: &dyn Reader,
    project: &ProjectId,
    after: Option<&RecentRow>,
    limit: usize,
) -> Result<Vec<RecentRow>, Error> {
    let prefix = vec![text(project.as_str())];
    let after = after.map(|row| recent_key(project, row.until, &row.subject));
    let rows = reader.scan(&RECENT, Scan { prefix, after, reverse: false, limit }).await?;
    rows.into_iter()
        .map(|row| {
            let mut fields = Fields::from(&RECENT, row, 1);
            let (until, subject) = (fields.time()?, fields.text()?.to_string());
            let state = fields.json()?.ok_or_else(|| fields.corrupt("a state"))?;
            Ok(RecentRow { until, subject, state })
        })
        .collect()
}

/// Stores a user.
pub fn put_user(project: &ProjectId, id: &UserId, user: &UserRow) -> Write {
    let row = vec![
        text(project.as_str()),
        text(id.as_str()),
        number(user.version),
        time(user.created_at),
        time(user.updated_at),
        number(user.offset),
        Value::Json(user.state.clone()),
    ];
    Write::Put { table: &USERS, row, offset: user.offset }
}

/// Stores whose a way in is, from the event at `offset` on.
pub fn put_identity(project: &ProjectId, key: &str, user: &UserId, offset: Offset) -> Write {
    let row = vec![text(project.as_str()), text(key), text(user.as_str())];
    Write::Put { table: &IDENTITIES, row, offset }
}

/// Gives a way in free, by the event at `offset`.
pub fn delete_identity(project: &ProjectId, key: &str, offset: Offset) -> Write {
    let key = vec![text(project.as_str()), text(key)];
    Write::Delete { table: &IDENTITIES, key, offset }
}

/// Stores what changed by the event at `offset`.
pub fn put_recent(project: &ProjectId, recent: &RecentRow, offset: Offset) -> Write {
    let mut row: Row = recent_key(project, recent.until, &recent.subject);
    row.push(Value::Json(recent.state.clone()));
    Write::Put { table: &RECENT, row, offset }
}

/// Forgets it, because of the event at `offset`.
pub fn delete_recent(project: &ProjectId, recent: &RecentRow, offset: Offset) -> Write {
    let key = recent_key(project, recent.until, &recent.subject);
    Write::Delete { table: &RECENT, key, offset }
}

fn recent_key(project: &ProjectId, until: Timestamp, subject: &str) -> Vec<Value> {
    vec![text(project.as_str()), time(until), text(subject)]
}

fn user(mut fields: Fields) -> Result<UserRow, Error> {
    Ok(UserRow {
        version: fields.number()?,
        created_at: fields.time()?,
        updated_at: fields.time()?,
        offset: fields.number()?,
        state: fields.json()?.ok_or_else(|| fields.corrupt("a state"))?,
    })
}
