//! The keys of subjects in a table beside the consumers' own. Which key comes first, and that none
//! comes after a destruction, is decided by conditional statements (Paxos); no event orders these
//! rows. Rebuilding the read model must never touch them: they exist nowhere else.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::ProjectId;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use vault::{Key, Name, Names, ServerKeys, SubjectKeys, Wrapped, check_subject};

use super::Shared;
use super::failure::corrupt;

/// What stands in the place of a key that was destroyed. No wrapped key looks like it.
const DESTROYED: &str = "destroyed";
/// Where the key of the names lies. No project is called so.
const NAMES: (&str, &str) = ("_", "names");
/// How often a conditional statement is tried, and the pause between.
const TRIES_MAX: u32 = 8;
const PAUSE: Duration = Duration::from_millis(20);
/// Rows read at once, where all are read.
const PAGE_ROWS: i32 = 1000;
/// Keys that are changed at once, where many are.
const AT_ONCE: usize = 16;

/// The keys of the subjects of a keyspace. Made by [`super::Store::subject_keys`].
///
/// A destroyed key can't be asked for from the moment that says so. The bytes that it was
/// overwritten by leave the disks when the database merges its files; until then, and in backups,
/// they lie there under the server's key.
pub struct Keys {
    shared: Arc<Shared>,
    server_keys: ServerKeys,
    names: Names,
    /// What all nodes have agreed on.
    get: PreparedStatement,
    /// The same, and ends what others have begun and not finished.
    settled: PreparedStatement,
    all: PreparedStatement,
    insert: String,
    replace: String,
}

impl Keys {
    pub(super) async fn open(
        shared: Arc<Shared>,
        server_keys: ServerKeys,
    ) -> Result<Self, vault::Error> {
        let client = &shared.client;
        let table = client.qualified("subject_keys");
        let prepare = async |text: &str| {
            let prepared = client.prepare("preparing a statement", text).await;
            prepared.map_err(failed)
        };
        let which = "project = ? AND subject = ?";
        let get = prepare(&format!("SELECT wrapped FROM {table} WHERE {which}")).await?;
        let mut settled = get.clone();
        settled.set_consistency(Consistency::LocalSerial);
        let mut all = prepare(&format!("SELECT project, subject, wrapped FROM {table}")).await?;
        all.set_page_size(PAGE_ROWS);
        let insert = format!(
            "INSERT INTO {table} (project, subject, wrapped) VALUES (?, ?, ?) IF NOT EXISTS"
        );
        let replace = format!("UPDATE {table} SET wrapped = ? WHERE {which} IF wrapped = ?");
        let names = Names::generate()?;
        let mut keys = Self { shared, server_keys, names, get, settled, all, insert, replace };
        keys.names = keys.stored_names().await?;
        Ok(keys)
    }

    /// The names of this keyspace; those that were made just now where there were none.
    async fn stored_names(&self) -> Result<Names, vault::Error> {
        let wrapped = match self.read(&self.get, NAMES).await? {
            Some(wrapped) => wrapped,
            None => {
                let wrapped = self.names.wrap(&self.server_keys)?.to_text();
                self.first(NAMES, &wrapped).await?
            }
        };
        let opened =
            Wrapped::parse(&wrapped).and_then(|wrapped| Names::unwrap(&self.server_keys, &wrapped));
        opened.map_err(|error| unreadable(error, "the key of the names"))
    }

    /// Wraps anew, under the current key of the server, what lies under an earlier one, so that the
    /// earlier one can be removed; how many keys there were. Every node must have the new key by
    /// then. May take long: reads the whole table.
    ///
    /// Errors: as of [`SubjectKeys`]. After an error repeat it.
    pub async fn rewrap(&self) -> Result<u64, vault::Error> {
        let mut count = 0;
        let mut state = Some(PagingState::start());
        while let Some(at) = state.take() {
            let (rows, next) = self.page(at).await?;
            state = next;
            let rows = rows.into_iter().map(|row| self.rewrap_one(row));
            let moved = stream::iter(rows).buffer_unordered(AT_ONCE);
            count += moved.try_fold(0, async |sum, moved| Ok(sum + u64::from(moved))).await?;
        }
        Ok(count)
    }

    /// Whether a key lay under an earlier key of the server.
    async fn rewrap_one(&self, (project, subject, text): Row) -> Result<bool, vault::Error> {
        let at = (project.as_str(), subject.as_str());
        if text == DESTROYED {
            return Ok(false);
        }
        let old = parse(&text)?;
        if !self.server_keys.is_outdated(&old) {
            return Ok(false);
        }
        let is_names = at == NAMES;
        let new = match is_names {
            true => self.names.wrap(&self.server_keys)?,
            false => {
                let name = Name::parse(&subject).map_err(|error| unreadable(error, "a name"))?;
                let key = self.key(&name, &text)?;
                self.server_keys.wrap(&name, &key)?
            }
        };
        // Where it was not applied, somebody else did this, or has destroyed the key.
        self.replaced(at, &text, &new.to_text()).await?;
        Ok(!is_names)
    }

    /// Puts `wrapped` where there is nothing; what is there then.
    async fn first(&self, at: (&str, &str), wrapped: &str) -> Result<String, vault::Error> {
        for _ in 0..TRIES_MAX {
            let values = (at.0, at.1, wrapped);
            if self.applied("storing a key", &self.insert, values).await? == Some(true) {
                return Ok(wrapped.to_owned());
            }
            // Not known to be applied may also be ours, so the row is asked.
            if let Some(found) = self.read(&self.settled, at).await? {
                return Ok(found);
            }
            pause().await;
        }
        Err(vault::Error::Unavailable { what: "storing a key: too many at once".to_owned() })
    }

    /// Replaces exactly `old`; `None` when that is not known.
    async fn replaced(
        &self,
        (project, subject): (&str, &str),
        old: &str,
        new: &str,
    ) -> Result<Option<bool>, vault::Error> {
        self.applied("replacing a key", &self.replace, (new, project, subject, old)).await
    }

    /// Leaves the mark of a destroyed key; whether there was a key.
    async fn destroy_at(&self, at: (&str, &str)) -> Result<bool, vault::Error> {
        let mut tried = false;
        for _ in 0..TRIES_MAX {
            match self.read(&self.settled, at).await? {
                Some(found) if found == DESTROYED => return Ok(tried),
                Some(found) => match self.replaced(at, &found, DESTROYED).await? {
                    Some(true) => return Ok(true),
                    Some(false) => {}
                    None => tried = true,
                },
                None => {
                    if self.first(at, DESTROYED).await? == DESTROYED {
                        return Ok(false);
                    }
                }
            }
            pause().await;
        }
        Err(vault::Error::Unavailable { what: "destroying a key: too many at once".to_owned() })
    }

    /// Whether a conditional statement was applied; `None` when the database does not know.
    async fn applied(
        &self,
        what: &str,
        text: &str,
        values: impl scylla::serialize::row::SerializeRow,
    ) -> Result<Option<bool>, vault::Error> {
        match self.shared.client.applied(what, text, values).await {
            Ok(applied) => Ok(Some(applied)),
            Err(crate::Error::Unavailable { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// What lies there.
    async fn read(
        &self,
        statement: &PreparedStatement,
        at: (&str, &str),
    ) -> Result<Option<String>, vault::Error> {
        const WHAT: &str = "reading a key";
        if self.shared.is_closed() {
            return Err(vault::Error::Closed);
        }
        let answer = self.shared.client.execute(WHAT, statement, at).await.map_err(failed)?;
        let bad = |reason: String| failed(corrupt(WHAT, reason));
        let answer = answer.into_rows_result().map_err(|e| bad(e.to_string()))?;
        let row = answer.maybe_first_row::<(Option<String>,)>().map_err(|e| bad(e.to_string()))?;
        // A row without a value is one that somebody else has meddled with.
        row.map(|(wrapped,)| wrapped.ok_or_else(|| bad("a row without a key".to_owned())))
            .transpose()
    }

    /// The next rows of the whole table, and where to go on.
    async fn page(&self, from: PagingState) -> Result<Page, vault::Error> {
        const WHAT: &str = "reading all keys";
        let client = &self.shared.client;
        let page = client
            .repeat(WHAT, || client.session.execute_single_page(&self.all, &[], from.clone()));
        let (answer, next) = page.await.map_err(failed)?;
        let bad = |reason: String| failed(corrupt(WHAT, reason));
        let answer = answer.into_rows_result().map_err(|e| bad(e.to_string()))?;
        let rows = answer.rows::<Row>().map_err(|e| bad(e.to_string()))?;
        let rows = rows.map(|row| row.map_err(|e| bad(e.to_string())));
        let rows = rows.collect::<Result<_, _>>()?;
        Ok(match next {
            PagingStateResponse::HasMorePages { state } => (rows, Some(state)),
            PagingStateResponse::NoMorePages => (rows, None),
        })
    }

    fn key(&self, name: &Name, text: &str) -> Result<Key, vault::Error> {
        let key = self.server_keys.unwrap(name, &parse(text)?);
        key.map_err(|error| unreadable(error, "a key"))
    }
}

/// Project, hashed subject, wrapped key.
type Row = (String, String, String);
/// Rows, and where the next ones begin.
type Page = (Vec<Row>, Option<PagingState>);

#[async_trait]
impl SubjectKeys for Keys {
    async fn get(&self, project: &ProjectId, subject: &str) -> Result<Option<Key>, vault::Error> {
        check_subject(subject)?;
        let name = self.names.subject(project, subject);
        match self.read(&self.get, (project.as_str(), &name.to_text())).await? {
            Some(found) if found != DESTROYED => self.key(&name, &found).map(Some),
            _ => Ok(None),
        }
    }

    async fn get_or_create(&self, project: &ProjectId, subject: &str) -> Result<Key, vault::Error> {
        check_subject(subject)?;
        let name = self.names.subject(project, subject);
        let text = name.to_text();
        let at = (project.as_str(), text.as_str());
        let found = match self.read(&self.get, at).await? {
            Some(found) => found,
            None => {
                let wrapped = self.server_keys.wrap(&name, &Key::generate()?)?;
                self.first(at, &wrapped.to_text()).await?
            }
        };
        match found == DESTROYED {
            true => Err(vault::Error::Destroyed),
            false => self.key(&name, &found),
        }
    }

    async fn destroy(&self, project: &ProjectId, subject: &str) -> Result<bool, vault::Error> {
        check_subject(subject)?;
        let name = self.names.subject(project, subject).to_text();
        self.destroy_at((project.as_str(), &name)).await
    }

    async fn wipe_project(&self, project: &ProjectId) -> Result<u64, vault::Error> {
        let mut count = 0;
        let mut state = Some(PagingState::start());
        while let Some(at) = state.take() {
            let (rows, next) = self.page(at).await?;
            state = next;
            let own = rows.into_iter();
            let own = own.filter(|row| row.0 == project.as_str() && row.2 != DESTROYED);
            let own = own.map(async |row| self.destroy_at((&row.0, &row.1)).await);
            let gone = stream::iter(own).buffer_unordered(AT_ONCE);
            count += gone.try_fold(0, async |sum, was| Ok(sum + u64::from(was))).await?;
        }
        Ok(count)
    }
}

fn parse(text: &str) -> Result<Wrapped, vault::Error> {
    Wrapped::parse(text).map_err(|error| unreadable(error, "a key"))
}

/// A stored text that does not open is no fault of the caller.
fn unreadable(error: vault::Error, what: &str) -> vault::Error {
    match error {
        vault::Error::Unreadable => {
            vault::Error::Corrupt { what: format!("{what} in the table subject_keys is spoilt") }
        }
        other => other,
    }
}

/// So that those who want the same do not meet again at once.
async fn pause() {
    tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
}

/// The same failure in the words of the vault.
fn failed(error: crate::Error) -> vault::Error {
    match error {
        crate::Error::Unavailable { what } => vault::Error::Unavailable { what },
        crate::Error::Corrupt { what } => vault::Error::Corrupt { what },
        crate::Error::Closed => vault::Error::Closed,
        other => vault::Error::Setup { reason: other.to_string() },
    }
}
