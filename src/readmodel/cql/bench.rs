//! Bare inserts, to measure the store beside: the driver alone sends the same rows by prepared
//! statements, with no order, no repeats and no checkpoint. Not for anything else.

use scylla::errors::ExecutionError;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::client::Client;
use super::failure::failed;
use super::values::{Bound, Extra};
use super::{Options, names};
use crate::{Error, Table, Write};

/// A connection with the statements of some tables.
pub struct BareInserts {
    client: Client,
    statements: Vec<(&'static Table, PreparedStatement)>,
}

impl BareInserts {
    /// Connects to a keyspace that was migrated, and prepares inserts into the tables of the
    /// consumers' current versions.
    ///
    /// Errors: [`Error::Unavailable`] when no node answers, [`Error::Setup`] without the tables.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        let client = Client::connect(options).await?;
        let mut statements = Vec::new();
        for declared in &options.tables {
            let generation = u32::from(declared.version) << 16;
            for table in declared.tables {
                let name = client.qualified(&names::table_name(table, generation));
                let text = names::put(table, &name);
                statements.push((*table, client.prepare("preparing an insert", &text).await?));
            }
        }
        Ok(Self { client, statements })
    }

    /// Inserts rows by one request: as one unlogged batch where there are several. Nothing else
    /// than puts is sent.
    ///
    /// Errors: [`Error::Invalid`] for a table that was not declared; what the database says.
    pub async fn insert(&self, rows: &[Write]) -> Result<(), Error> {
        let mut statements = Vec::with_capacity(rows.len());
        let mut values = Vec::with_capacity(rows.len());
        for write in rows {
            let Write::Put { table, row, offset } = write else { continue };
            statements.push(self.statement(table)?);
            let timestamp = offset.cast_signed() + 1;
            values.push(Bound { values: row, extra: Extra::Last(timestamp) });
        }
        let session = &self.client.session;
        let sent: Result<_, ExecutionError> = match (&statements[..], &values[..]) {
            ([], _) | (_, []) => return Ok(()),
            ([statement], [values]) => session.execute_unpaged(statement, values).await,
            (several, values) => {
                let several = several.iter().map(|one| BatchStatement::from((*one).clone()));
                let batch = Batch::new_with_statements(BatchType::Unlogged, several.collect());
                session.batch(&batch, values).await
            }
        };
        sent.map(drop).map_err(|error| failed("inserting rows", &error))
    }

    fn statement(&self, table: &'static Table) -> Result<&PreparedStatement, Error> {
        let known = self.statements.iter().find(|(known, _)| known.name == table.name);
        known
            .map(|(_, statement)| statement)
            .ok_or_else(|| Error::Invalid { table: table.name, reason: "not declared".to_owned() })
    }
}
