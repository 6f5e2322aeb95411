//! What the keyspace holds beside rows: the tables of this engine's own records, which version of
//! them there is, and one lock for all who change the schema.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::client::Client;
use super::failure::corrupt;
use super::names;
use crate::Error;
use crate::table::Table;

/// One step from a schema version to the next. Each of its statements may run twice.
pub(super) struct Migration {
    /// The version that it makes.
    pub(super) version: i32,
    /// What it does, for people.
    pub(super) name: &'static str,
    /// Its statements. `{}` stands for the keyspace.
    pub(super) statements: &'static [&'static str],
}

/// Every step, oldest first. What was ever released stays as it is: add to the end.
pub(super) const MIGRATIONS: [Migration; 2] = [
    Migration {
        version: 1,
        name: "spaces, active generations, checkpoints",
        statements: &[
            "CREATE TABLE IF NOT EXISTS {}.spaces (consumer text, \"partition\" bigint, \
         generation bigint, tables_id uuid, removed boolean, \
         PRIMARY KEY (consumer, \"partition\", generation))",
            "CREATE TABLE IF NOT EXISTS {}.active (consumer text, \"partition\" bigint, \
         generation bigint, PRIMARY KEY (consumer, \"partition\"))",
            // `tables_id` is the database's own name for one making of the tables. A checkpoint
            // says nothing about tables that were dropped and made again, and no late write can
            // claim it.
            "CREATE TABLE IF NOT EXISTS {}.checkpoints (consumer text, \"partition\" bigint, \
         generation bigint, tables_id uuid, next_offset bigint, \
         PRIMARY KEY ((consumer, \"partition\"), generation, tables_id))",
        ],
    },
    Migration {
        version: 2,
        name: "keys of subjects",
        // Levels are merged soon, and with that a key that was overwritten leaves the disk.
        statements: &["CREATE TABLE IF NOT EXISTS {}.subject_keys (project text, subject text, \
         wrapped text, PRIMARY KEY ((project, subject))) \
         WITH compaction = {'class': 'LeveledCompactionStrategy'}"],
    },
];

/// The schema version of this code.
pub(super) const VERSION: i32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// What there must be before anything can be recorded or locked.
pub(super) const BASE: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS {}.schema_migrations (scope text, version int, name text, \
     applied_at timestamp, PRIMARY KEY (scope, version))",
    "CREATE TABLE IF NOT EXISTS {}.locks (name text PRIMARY KEY, holder uuid)",
];

/// How often the lock is given back, where the database does not answer, and after what pause.
const UNLOCK_TRIES: u32 = 6;
const UNLOCK_PAUSE: Duration = Duration::from_millis(500);
/// The one partition of `schema_migrations`.
pub(super) const SCOPE: &str = "readmodel";
/// The table of versions.
pub(super) const MIGRATIONS_TABLE: &str = "schema_migrations";
/// The table of locks.
pub(super) const LOCKS_TABLE: &str = "locks";
/// The one lock.
const LOCK: &str = "schema";
/// Who holds the lock and dies keeps the others waiting for this long.
const LOCK_SECONDS: i32 = 120;
/// How long to wait for a lock that somebody else holds.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(180);
/// How often to try what is listed but not there.
const SETTLE_ATTEMPTS: usize = 100;
/// The pause between.
const SETTLE_PAUSE: Duration = Duration::from_millis(50);
/// How often to look whether it is free.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Tries again while there is not what is listed already: a database lists a new keyspace or table
/// a moment before it can be used. [`Error::Unavailable`] when it does not come.
pub(super) async fn settled<T, F>(attempt: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 0..SETTLE_ATTEMPTS {
        match attempt().await {
            Err(Error::Closed) => tokio::time::sleep(SETTLE_PAUSE).await,
            other => return other,
        }
    }
    Err(Error::Unavailable { what: "tables that are listed are not there".to_owned() })
}

/// Every table of the keyspace with the database's own id of it; empty without a keyspace.
pub(super) async fn tables(client: &Client) -> Result<HashMap<String, Uuid>, Error> {
    const WHAT: &str = "listing tables";
    let text = "SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = ?";
    let answer = client.query(WHAT, text, (&client.keyspace,)).await?;
    let answer = answer.into_rows_result().map_err(|e| corrupt(WHAT, e))?;
    let rows = answer.rows::<(String, Uuid)>().map_err(|e| corrupt(WHAT, e))?;
    rows.map(|row| row.map_err(|e| corrupt(WHAT, e))).collect()
}

/// The schema's version; 0 when nothing was ever migrated. The table of versions must be there.
pub(super) async fn version(client: &Client) -> Result<i32, Error> {
    const WHAT: &str = "reading the schema's version";
    let table = client.qualified(MIGRATIONS_TABLE);
    let text = format!("SELECT version FROM {table} WHERE scope = ?");
    let answer = client.query(WHAT, &text, (SCOPE,)).await?;
    let answer = answer.into_rows_result().map_err(|e| corrupt(WHAT, e))?;
    let mut newest = 0;
    for row in answer.rows::<(i32,)>().map_err(|e| corrupt(WHAT, e))? {
        newest = newest.max(row.map_err(|e| corrupt(WHAT, e))?.0);
    }
    Ok(newest)
}

/// [`Error::Setup`] unless this code can serve from the keyspace as it is.
pub(super) async fn check(client: &Client) -> Result<(), Error> {
    let found = match tables(client).await?.contains_key(MIGRATIONS_TABLE) {
        true => version(client).await?,
        false => 0,
    };
    let keyspace = &client.keyspace;
    if found > VERSION {
        return Err(newer(keyspace, found));
    }
    if found < VERSION {
        let reason = match found {
            0 => format!("keyspace {keyspace} has no tables yet: run `headwater migrate`"),
            _ => format!(
                "the schema of keyspace {keyspace} has version {found}, and this program needs \
                 {VERSION}: run `headwater migrate`"
            ),
        };
        return Err(Error::Setup { reason });
    }
    Ok(())
}

/// The refusal of a schema that a newer program has made.
pub(super) fn newer(keyspace: &str, found: i32) -> Error {
    let reason = format!(
        "the schema of keyspace {keyspace} has version {found}, and this program knows only \
         {VERSION}: use the program that migrated it, or a newer one"
    );
    Error::Setup { reason }
}

/// The right to change the schema. It runs out by itself if its holder dies.
pub(super) struct Lock<'a> {
    client: &'a Client,
    holder: Uuid,
}

impl<'a> Lock<'a> {
    /// Waits for it. [`Error::Unavailable`] when it does not become free.
    pub(super) async fn take(client: &'a Client) -> Result<Self, Error> {
        let lock = Self { client, holder: Uuid::now_v7() };
        let taken = tokio::time::timeout(LOCK_WAIT_MAX, lock.wait()).await;
        taken.map_err(|_| Error::Unavailable {
            what: "somebody else is changing the schema".to_owned(),
        })??;
        Ok(lock)
    }

    async fn wait(&self) -> Result<(), Error> {
        let table = self.table();
        let text = format!(
            "INSERT INTO {table} (name, holder) VALUES (?, ?) IF NOT EXISTS \
             USING TTL {LOCK_SECONDS}"
        );
        loop {
            match self.client.applied("locking the schema", &text, (LOCK, self.holder)).await {
                Ok(true) => return Ok(()),
                // An attempt that timed out may have been applied all the same.
                Ok(false) | Err(Error::Unavailable { .. }) if self.is_ours().await? => {
                    return Ok(());
                }
                Ok(false) | Err(Error::Unavailable { .. }) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(LOCK_PAUSE.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    async fn is_ours(&self) -> Result<bool, Error> {
        const WHAT: &str = "reading the schema's lock";
        let text = format!("SELECT holder FROM {} WHERE name = ?", self.table());
        let answer = self.client.query(WHAT, &text, (LOCK,)).await?;
        let answer = answer.into_rows_result().map_err(|e| corrupt(WHAT, e))?;
        let row = answer.maybe_first_row::<(Option<Uuid>,)>().map_err(|e| corrupt(WHAT, e))?;
        Ok(row.is_some_and(|(holder,)| holder == Some(self.holder)))
    }

    /// Changes the schema. `{}` in `statement` stands for the keyspace.
    pub(super) async fn define(&self, statement: &str) -> Result<(), Error> {
        let text = format!(
            "UPDATE {} USING TTL {LOCK_SECONDS} SET holder = ? WHERE name = ? IF holder = ?",
            self.table()
        );
        let values = (self.holder, LOCK, self.holder);
        if !self.client.applied("keeping the schema's lock", &text, values).await? {
            let what = "the lock on the schema ran out".to_owned();
            return Err(Error::Unavailable { what });
        }
        let keyspace = format!("\"{}\"", self.client.keyspace);
        self.client.define(&statement.replacen("{}", &keyspace, 1)).await
    }

    /// Makes those of a generation's tables that are not there; their names.
    pub(super) async fn make(
        &self,
        tables: &[&'static Table],
        generation: u32,
    ) -> Result<Vec<String>, Error> {
        let present = self::tables(self.client).await?;
        let mut made = Vec::new();
        for table in tables {
            let name = names::table_name(table, generation);
            if !present.contains_key(&name) {
                self.define(&names::create(table, &self.client.qualified(&name))).await?;
                made.push(name);
            }
        }
        Ok(made)
    }

    /// Lets others in. Should that fail, the lock runs out by itself.
    pub(super) async fn release(self) {
        let text = format!("DELETE FROM {} WHERE name = ? IF holder = ?", self.table());
        let values = (LOCK, self.holder);
        for tries_left in (0..UNLOCK_TRIES).rev() {
            // Whether it was this try or one that seemed to fail does not matter.
            match self.client.applied("unlocking the schema", &text, values).await {
                Ok(_) => return,
                Err(_) if tries_left > 0 => tokio::time::sleep(UNLOCK_PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, "the schema stays locked for {LOCK_SECONDS} seconds");
                }
            }
        }
    }

    fn table(&self) -> String {
        self.client.qualified(LOCKS_TABLE)
    }
}
