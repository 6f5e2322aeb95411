//! Makes a keyspace ready for this version, or takes it there from an older one. Run by an
//! operator before the nodes start: nodes that serve apply no migration. They make, under the same
//! lock, a consumer's tables that are missing, and drop those of a generation that is removed;
//! after a migration only a rebuild needs that.

use super::Options;
use super::client::Client;
use super::failure::corrupt;
use super::schema::{self, Lock, MIGRATIONS};
use crate::Error;

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The schema's version before; 0 for a new keyspace.
    pub from: i32,
    /// Its version now.
    pub to: i32,
    /// What was applied: version and name of each step.
    pub applied: Vec<(i32, &'static str)>,
    /// The consumers' tables that were made.
    pub tables: Vec<String>,
}

/// Makes the keyspace and this engine's own tables, applies what is missing, and makes the tables
/// of `options.tables` in their current versions. Running it again changes nothing; two at once
/// wait for each other.
///
/// Errors: [`Error::Setup`] when the schema is newer than this code knows, or when fewer nodes are
/// up than `options.replication_factor`; [`Error::Unavailable`].
pub async fn migrate(options: &Options) -> Result<Migrated, Error> {
    let client = Client::connect(options).await?;
    // Another migration may be at the same point.
    let lock = schema::settled(|| lock(&client, options)).await?;
    let migrated = apply(&client, &lock, options).await;
    lock.release().await;
    migrated
}

/// Makes what the lock needs, and takes it.
async fn lock<'a>(client: &'a Client, options: &Options) -> Result<Lock<'a>, Error> {
    make_keyspace(client, options).await?;
    let keyspace = format!("\"{}\"", client.keyspace);
    let present = schema::tables(client).await?;
    if !present.contains_key(schema::LOCKS_TABLE) || !present.contains_key(schema::MIGRATIONS_TABLE)
    {
        for statement in schema::BASE {
            client.define(&statement.replacen("{}", &keyspace, 1)).await?;
        }
    }
    schema::version(client).await?;
    Lock::take(client).await
}

async fn apply(client: &Client, lock: &Lock<'_>, options: &Options) -> Result<Migrated, Error> {
    let from = schema::version(client).await?;
    if from > schema::VERSION {
        return Err(schema::newer(&client.keyspace, from));
    }
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        for statement in migration.statements {
            lock.define(statement).await?;
        }
        let text = format!(
            "INSERT INTO {} (scope, version, name, applied_at) \
             VALUES (?, ?, ?, toTimestamp(now()))",
            client.qualified(schema::MIGRATIONS_TABLE)
        );
        let values = (schema::SCOPE, migration.version, migration.name);
        client.query("recording a migration", &text, values).await?;
        applied.push((migration.version, migration.name));
    }
    let mut tables = Vec::new();
    for declared in &options.tables {
        let generation = u32::from(declared.version) << 16;
        tables.extend(lock.make(declared.tables, generation).await?);
    }
    Ok(Migrated { from, to: schema::VERSION, applied, tables })
}

/// Makes the keyspace, unless it is there: then its replication is the operator's.
async fn make_keyspace(client: &Client, options: &Options) -> Result<(), Error> {
    const WHAT: &str = "looking for the keyspace";
    let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let found = client.query(WHAT, text, (&client.keyspace,)).await?;
    if found.into_rows_result().map_err(|e| corrupt(WHAT, e))?.rows_num() > 0 {
        return Ok(());
    }
    let Some(data_center) = &client.data_center else {
        return Err(Error::Setup { reason: "the nodes name no data centre".to_owned() });
    };
    let state = client.session.get_cluster_state();
    let nodes = state.get_nodes_info().iter();
    let nodes = nodes.filter(|node| node.datacenter.as_ref() == Some(data_center)).count();
    let factor = options.replication_factor;
    if nodes < factor as usize {
        let reason = format!(
            "{factor} copies of each row are wanted, but data centre {data_center} has {nodes} \
             nodes"
        );
        return Err(Error::Setup { reason });
    }
    let data_center = data_center.replace('\'', "''");
    let text = format!(
        "CREATE KEYSPACE IF NOT EXISTS \"{}\" WITH replication = \
         {{'class': 'NetworkTopologyStrategy', '{data_center}': {factor}}}",
        client.keyspace
    );
    client.define(&text).await
}
