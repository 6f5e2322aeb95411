//! The tables of one generation with their statements, prepared once and shared by the spaces of
//! all partitions.

use std::collections::HashMap;

use futures_util::future;
use parking_lot::RwLock;
use scylla::statement::prepared::PreparedStatement;
use uuid::Uuid;

use super::client::Client;
use super::names::{self, Shape};
use super::schema;
use crate::Error;
use crate::table::Table;

/// One table of one generation.
pub(super) struct Prepared {
    pub(super) table: &'static Table,
    /// Qualified and quoted.
    name: String,
    pub(super) put: PreparedStatement,
    pub(super) delete: PreparedStatement,
    pub(super) get: PreparedStatement,
    pub(super) partitions: PreparedStatement,
    selects: RwLock<HashMap<Shape, PreparedStatement>>,
}

impl Prepared {
    async fn new(client: &Client, table: &'static Table, generation: u32) -> Result<Self, Error> {
        let name = client.qualified(&names::table_name(table, generation));
        let texts = [
            names::put(table, &name),
            names::delete(table, &name),
            names::get(table, &name),
            names::partitions(table, &name),
        ];
        let prepared = texts.iter().map(|text| client.prepare("preparing a statement", text));
        let prepared = future::try_join_all(prepared).await?;
        let [put, delete, get, partitions] =
            prepared.try_into().unwrap_or_else(|_| unreachable!("as many as there are texts"));
        let selects = RwLock::default();
        Ok(Self { table, name, put, delete, get, partitions, selects })
    }

    /// The statement that selects rows in this way.
    pub(super) async fn select(
        &self,
        client: &Client,
        shape: Shape,
    ) -> Result<PreparedStatement, Error> {
        if let Some(prepared) = self.selects.read().get(&shape) {
            return Ok(prepared.clone());
        }
        let text = names::select(self.table, &self.name, shape);
        let prepared = client.prepare("preparing a scan", &text).await?;
        self.selects.write().insert(shape, prepared.clone());
        Ok(prepared)
    }
}

/// One generation of one consumer's tables.
pub(super) struct Generation {
    /// The database's own name for this making of the tables.
    pub(super) tables_id: Uuid,
    tables: Vec<Prepared>,
}

impl Generation {
    /// `None` unless all its tables are there.
    pub(super) async fn find(
        client: &Client,
        tables: &'static [&'static Table],
        generation: u32,
    ) -> Result<Option<Self>, Error> {
        let present = schema::tables(client).await?;
        let mut tables_id = None;
        for table in tables {
            let Some(id) = present.get(&names::table_name(table, generation)) else {
                return Ok(None);
            };
            tables_id.get_or_insert(*id);
        }
        let Some(tables_id) = tables_id else { return Ok(None) };
        let prepared = tables.iter().map(|table| Prepared::new(client, table, generation));
        Ok(Some(Self { tables_id, tables: future::try_join_all(prepared).await? }))
    }

    /// A table with its statements. Errors when it isn't one of the consumer's.
    pub(super) fn of(&self, table: &'static Table) -> Result<&Prepared, Error> {
        let found = self.tables.iter().find(|prepared| prepared.table.name == table.name);
        found.ok_or_else(|| Error::Invalid {
            table: table.name,
            reason: "not declared as a table of this consumer".to_owned(),
        })
    }

    /// Every table, by number.
    pub(super) fn by_number(&self) -> Vec<&Prepared> {
        let mut all: Vec<_> = self.tables.iter().collect();
        all.sort_by_key(|prepared| prepared.table.number);
        all
    }
}
