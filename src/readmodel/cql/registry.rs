//! Which spaces there are, which generation serves, and how far each has read: rows of this
//! engine's own tables.

use domain::{Offset, PartitionId};
use scylla::statement::prepared::PreparedStatement;
use uuid::Uuid;

use super::client::Client;
use super::failure::corrupt;
use crate::{Error, SpaceId};

/// A space as it is recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) partition: PartitionId,
    pub(super) generation: u32,
    pub(super) tables_id: Uuid,
    /// Removed while others used its tables.
    pub(super) removed: bool,
}

/// The records, by statements prepared once.
pub(super) struct Registry {
    list: PreparedStatement,
    put: PreparedStatement,
    delete: PreparedStatement,
    active: PreparedStatement,
    activate: PreparedStatement,
    checkpoint: PreparedStatement,
    put_checkpoint: PreparedStatement,
    delete_checkpoint: PreparedStatement,
}

impl Registry {
    pub(super) async fn new(client: &Client) -> Result<Self, Error> {
        let [spaces, active, checkpoints] =
            ["spaces", "active", "checkpoints"].map(|name| client.qualified(name));
        let which = "consumer = ? AND \"partition\" = ?";
        let prepare = async |text: String| client.prepare("preparing a statement", &text).await;
        Ok(Self {
            list: prepare(format!(
                "SELECT \"partition\", generation, tables_id, removed FROM {spaces} \
                 WHERE consumer = ?"
            ))
            .await?,
            put: prepare(format!(
                "INSERT INTO {spaces} (consumer, \"partition\", generation, tables_id, removed) \
                 VALUES (?, ?, ?, ?, ?)"
            ))
            .await?,
            delete: prepare(format!("DELETE FROM {spaces} WHERE {which} AND generation = ?"))
                .await?,
            active: prepare(format!("SELECT generation FROM {active} WHERE {which}")).await?,
            activate: prepare(format!(
                "INSERT INTO {active} (consumer, \"partition\", generation) VALUES (?, ?, ?)"
            ))
            .await?,
            checkpoint: prepare(format!(
                "SELECT next_offset FROM {checkpoints} \
                 WHERE {which} AND generation = ? AND tables_id = ?"
            ))
            .await?,
            put_checkpoint: prepare(format!(
                "INSERT INTO {checkpoints} \
                 (consumer, \"partition\", generation, tables_id, next_offset) \
                 VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            delete_checkpoint: prepare(format!(
                "DELETE FROM {checkpoints} WHERE {which} AND generation = ? AND tables_id = ?"
            ))
            .await?,
        })
    }

    /// Every space of a consumer, removed ones too, in order.
    pub(super) async fn list(&self, client: &Client, consumer: &str) -> Result<Vec<Record>, Error> {
        const WHAT: &str = "listing spaces";
        let answer = client.execute(WHAT, &self.list, (consumer,)).await?;
        let answer = answer.into_rows_result().map_err(|e| corrupt(WHAT, e))?;
        let rows = answer.rows::<(i64, i64, Uuid, bool)>().map_err(|e| corrupt(WHAT, e))?;
        rows.map(|row| {
            let (partition, generation, tables_id, removed) = row.map_err(|e| corrupt(WHAT, e))?;
            let (Ok(partition), Ok(generation)) = (partition.try_into(), generation.try_into())
            else {
                return Err(corrupt(WHAT, "a number is out of range"));
            };
            Ok(Record { partition: PartitionId(partition), generation, tables_id, removed })
        })
        .collect()
    }

    /// Records a space.
    pub(super) async fn put(
        &self,
        client: &Client,
        consumer: &str,
        record: &Record,
    ) -> Result<(), Error> {
        let (partition, generation) = (i64::from(record.partition.0), i64::from(record.generation));
        let values = (consumer, partition, generation, record.tables_id, record.removed);
        client.execute("recording a space", &self.put, values).await.map(drop)
    }

    /// Forgets a space and how far it had read. Its checkpoint is of tables that are no more.
    pub(super) async fn delete(
        &self,
        client: &Client,
        consumer: &str,
        record: &Record,
    ) -> Result<(), Error> {
        let (partition, generation) = (i64::from(record.partition.0), i64::from(record.generation));
        let checkpoint = (consumer, partition, generation, record.tables_id);
        client.execute("forgetting a space", &self.delete_checkpoint, checkpoint).await?;
        let values = (consumer, partition, generation);
        client.execute("forgetting a space", &self.delete, values).await.map(drop)
    }

    /// The generation that serves.
    pub(super) async fn active(
        &self,
        client: &Client,
        consumer: &str,
        partition: PartitionId,
    ) -> Result<Option<u32>, Error> {
        let values = (consumer, i64::from(partition.0));
        let found = number(client, "reading the active generation", &self.active, values).await?;
        let generation = found.map(u32::try_from).transpose();
        generation.map_err(|_| corrupt("reading the active generation", "out of range"))
    }

    /// Makes a generation the one that serves.
    pub(super) async fn activate(&self, client: &Client, id: &SpaceId) -> Result<(), Error> {
        let values = (id.consumer, i64::from(id.partition.0), i64::from(id.generation));
        client.execute("activating a space", &self.activate, values).await.map(drop)
    }

    /// How far a space has read.
    pub(super) async fn checkpoint(
        &self,
        client: &Client,
        id: &SpaceId,
        tables_id: Uuid,
    ) -> Result<Offset, Error> {
        let (partition, generation) = (i64::from(id.partition.0), i64::from(id.generation));
        let values = (id.consumer, partition, generation, tables_id);
        let found = number(client, "reading a checkpoint", &self.checkpoint, values).await?;
        Ok(found.map_or(0, i64::cast_unsigned))
    }

    /// Stores how far a space has read; never further back.
    pub(super) async fn put_checkpoint(
        &self,
        client: &Client,
        id: &SpaceId,
        tables_id: Uuid,
        (next, timestamp): (Offset, i64),
    ) -> Result<(), Error> {
        let (partition, generation) = (i64::from(id.partition.0), i64::from(id.generation));
        let next = next.cast_signed();
        let values = (id.consumer, partition, generation, tables_id, next, timestamp);
        client.execute("storing a checkpoint", &self.put_checkpoint, values).await.map(drop)
    }
}

/// The one number that a statement answers, if any.
async fn number(
    client: &Client,
    what: &str,
    statement: &PreparedStatement,
    values: impl scylla::serialize::row::SerializeRow,
) -> Result<Option<i64>, Error> {
    let answer = client.execute(what, statement, values).await?;
    let answer = answer.into_rows_result().map_err(|e| corrupt(what, e))?;
    let row = answer.maybe_first_row::<(i64,)>().map_err(|e| corrupt(what, e))?;
    Ok(row.map(|(number,)| number))
}
