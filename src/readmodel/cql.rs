//! The store over CQL, for several nodes: Apache Cassandra or ScyllaDB. Each declared table is an
//! ordinary typed table that all partitions of the log share, so that a person can query it.
//! There are no transactions and no snapshots: rows come first and their checkpoint after, each
//! write ordered by its event's offset, and a view may show rows newer than its checkpoint.

#[cfg(feature = "bench")]
pub mod bench;
mod client;
mod failure;
mod keys;
mod migrate;
mod names;
mod read;
mod registry;
mod schema;
mod space;
mod tables;
mod values;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::PartitionId;
use parking_lot::Mutex;

use crate::{Declared, Error, SpaceId, Table};
use client::Client;
pub use keys::Keys;
pub use migrate::{Migrated, migrate};
use registry::{Record, Registry};
use schema::Lock;
use space::Space;
use tables::Generation;

/// Whether a row whose first key column has this text belongs to a partition of the log.
pub type Belongs = Arc<dyn Fn(&str, PartitionId) -> bool + Send + Sync>;

/// Who we are to the database.
#[derive(Clone)]
pub struct Login {
    /// The role's name.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// How connections are secured. The certificate of every node is checked, also for its address.
#[derive(Debug, Clone)]
pub struct Tls {
    /// A PEM file with the certificates of those who may have signed the nodes' own.
    pub ca_file: PathBuf,
}

/// Where the database is and how to use it.
#[derive(Clone)]
pub struct Options {
    /// Nodes to ask first, as `host:port`; the others are found through them.
    pub nodes: Vec<String>,
    /// The keyspace: 1 to 48 lower-case letters, digits and underscores, a letter first.
    pub keyspace: String,
    /// None where the database asks for none.
    pub login: Option<Login>,
    /// None for connections in the clear.
    pub tls: Option<Tls>,
    /// The data centre whose nodes to use. Needed only where there are several.
    pub data_center: Option<String>,
    /// Copies of each row in the data centre, when [`migrate`] makes the keyspace.
    pub replication_factor: u32,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long one attempt of a request may take.
    pub request_timeout: Duration,
    /// How often a request is tried again before it is [`Error::Unavailable`].
    pub retries_max: u32,
    /// The longest pause between attempts; the first is 20 ms, and each is twice the one before.
    pub retry_pause_max: Duration,
    /// Requests of one commit that are under way at once; at least 1.
    pub in_flight_max: usize,
    /// The tables of every consumer. No two may have one name.
    pub tables: Vec<Declared>,
    /// Which rows belong to which partition of the log.
    pub belongs: Belongs,
}

impl Options {
    /// The defaults: three copies, and some seconds of patience with a database that fails.
    pub fn new(
        nodes: Vec<String>,
        keyspace: impl Into<String>,
        tables: impl Into<Vec<Declared>>,
        belongs: Belongs,
    ) -> Self {
        Self {
            nodes,
            keyspace: keyspace.into(),
            login: None,
            tls: None,
            data_center: None,
            replication_factor: 3,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            retries_max: 6,
            retry_pause_max: Duration::from_secs(1),
            in_flight_max: 128,
            tables: tables.into(),
            belongs,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("nodes", &self.nodes)
            .field("keyspace", &self.keyspace)
            .field("user", &self.login.as_ref().map(|login| &login.user))
            .field("tls", &self.tls)
            .field("data_center", &self.data_center)
            .finish_non_exhaustive()
    }
}

/// What spaces share.
struct Shared {
    client: Client,
    registry: Registry,
    tables: Vec<Declared>,
    belongs: Belongs,
    in_flight_max: usize,
    closed: AtomicBool,
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn tables_of(&self, consumer: &str) -> Result<&'static [&'static Table], Error> {
        let declared = self.tables.iter().find(|declared| declared.consumer == consumer);
        declared.map(|declared| declared.tables).ok_or_else(|| Error::Setup {
            reason: format!("no tables are declared for the consumer {consumer}"),
        })
    }
}

/// A connected store. Reconnects by itself.
pub struct Store {
    shared: Arc<Shared>,
    spaces: Mutex<HashMap<SpaceId, Arc<Space>>>,
    generations: Mutex<HashMap<(&'static str, u32), Arc<Generation>>>,
}

impl Store {
    /// Connects, and checks that the schema is this version's.
    ///
    /// Errors: [`Error::Unavailable`] when no node answers; [`Error::Setup`] when the keyspace was
    /// not migrated, or by a newer program.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let mut names = std::collections::HashSet::new();
        for table in options.tables.iter().flat_map(|declared| declared.tables) {
            if !names.insert(table.name) {
                let reason = "declared by two consumers".to_owned();
                return Err(Error::Invalid { table: table.name, reason });
            }
        }
        let client = Client::connect(&options).await?;
        schema::check(&client).await?;
        let registry = Registry::new(&client).await?;
        let shared = Shared {
            client,
            registry,
            tables: options.tables,
            belongs: options.belongs,
            in_flight_max: options.in_flight_max.max(1),
            closed: AtomicBool::new(false),
        };
        Ok(Self {
            shared: Arc::new(shared),
            spaces: Mutex::default(),
            generations: Mutex::default(),
        })
    }

    /// The keys of subjects, which all nodes of this keyspace share. They are no read model:
    /// nothing makes them again.
    ///
    /// Errors: [`vault::Error::UnknownServerKey`] when the keys belong to another key of the
    /// server; [`vault::Error::Unavailable`], [`vault::Error::Setup`].
    pub async fn subject_keys(&self, server_keys: vault::ServerKeys) -> Result<Keys, vault::Error> {
        Keys::open(Arc::clone(&self.shared), server_keys).await
    }

    /// The record of a space that may be opened; `None` when there is none.
    async fn record(&self, id: &SpaceId) -> Result<Option<Record>, Error> {
        let Shared { client, registry, .. } = &*self.shared;
        let records = registry.list(client, id.consumer).await?;
        let mut records = records.into_iter();
        let record = records
            .find(|record| (record.partition, record.generation) == (id.partition, id.generation));
        match record {
            Some(record) if record.removed => Err(Error::Removed { space: id.clone() }),
            record => Ok(record),
        }
    }

    /// The tables of a space's generation with their statements; `None` when they are not there.
    async fn generation(&self, id: &SpaceId) -> Result<Option<Arc<Generation>>, Error> {
        let key = (id.consumer, id.generation);
        if let Some(known) = self.generations.lock().get(&key) {
            return Ok(Some(Arc::clone(known)));
        }
        let tables = self.shared.tables_of(id.consumer)?;
        let client = &self.shared.client;
        let find = || Generation::find(client, tables, id.generation);
        let found = schema::settled(find).await?;
        let Some(found) = found.map(Arc::new) else { return Ok(None) };
        self.generations.lock().insert(key, Arc::clone(&found));
        Ok(Some(found))
    }

    /// Makes a space's tables where they are not there, and records the space.
    async fn register(&self, lock: &Lock<'_>, id: &SpaceId) -> Result<Arc<Generation>, Error> {
        let Shared { client, registry, .. } = &*self.shared;
        self.record(id).await?;
        // Others may have dropped what we know.
        self.generations.lock().remove(&(id.consumer, id.generation));
        lock.make(self.shared.tables_of(id.consumer)?, id.generation).await?;
        let generation = self.generation(id).await?.ok_or_else(|| Error::Unavailable {
            what: format!("the tables of space {id} are not there yet"),
        })?;
        let record = Record {
            partition: id.partition,
            generation: id.generation,
            tables_id: generation.tables_id,
            removed: false,
        };
        registry.put(client, id.consumer, &record).await?;
        Ok(generation)
    }

    /// Drops the tables of a removed space with all their records, unless another partition uses
    /// them.
    async fn unregister(&self, lock: &Lock<'_>, id: &SpaceId) -> Result<(), Error> {
        let Shared { client, registry, .. } = &*self.shared;
        let mut records = registry.list(client, id.consumer).await?;
        records.retain(|record| record.generation == id.generation);
        let own = records.iter_mut().find(|record| record.partition == id.partition);
        let Some(own) = own else { return Ok(()) };
        own.removed = true;
        if records.iter().any(|record| !record.removed) {
            let own = records.iter().find(|record| record.partition == id.partition);
            if let Some(own) = own {
                registry.put(client, id.consumer, own).await?;
            }
            return Ok(());
        }
        self.generations.lock().remove(&(id.consumer, id.generation));
        for table in self.shared.tables_of(id.consumer)? {
            let name = client.qualified(&names::table_name(table, id.generation));
            lock.define(&format!("DROP TABLE IF EXISTS {name}")).await?;
        }
        for record in &records {
            registry.delete(client, id.consumer, record).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl crate::Store for Store {
    async fn open(&self, id: &SpaceId) -> Result<Arc<dyn crate::Space>, Error> {
        if let Some(space) = self.spaces.lock().get(id) {
            return Ok(Arc::<Space>::clone(space));
        }
        let recorded = self.record(id).await?;
        let generation = match recorded {
            Some(record) => self.generation(id).await?.filter(|g| g.tables_id == record.tables_id),
            None => None,
        };
        let generation = match generation {
            Some(generation) => generation,
            None => {
                let lock = Lock::take(&self.shared.client).await?;
                let registered = self.register(&lock, id).await;
                lock.release().await;
                registered?
            }
        };
        let space = Arc::new(Space::new(Arc::clone(&self.shared), id.clone(), generation));
        let mut spaces = self.spaces.lock();
        Ok(Arc::<Space>::clone(spaces.entry(id.clone()).or_insert(space)))
    }

    async fn list(&self, consumer: &'static str) -> Result<Vec<SpaceId>, Error> {
        let Shared { client, registry, .. } = &*self.shared;
        let records = registry.list(client, consumer).await?;
        let present = records.into_iter().filter(|record| !record.removed);
        Ok(present
            .map(|Record { partition, generation, .. }| SpaceId { consumer, partition, generation })
            .collect())
    }

    async fn remove(&self, id: &SpaceId) -> Result<(), Error> {
        if let Some(space) = self.spaces.lock().remove(id) {
            space.mark_removed();
        }
        let lock = Lock::take(&self.shared.client).await?;
        let removed = self.unregister(&lock, id).await;
        lock.release().await;
        removed
    }

    async fn active(
        &self,
        consumer: &'static str,
        partition: PartitionId,
    ) -> Result<Option<u32>, Error> {
        self.shared.registry.active(&self.shared.client, consumer, partition).await
    }

    async fn activate(&self, id: &SpaceId) -> Result<(), Error> {
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        self.shared.registry.activate(&self.shared.client, id).await
    }

    async fn close(&self) -> Result<(), Error> {
        // Everything that was committed is in the database.
        self.shared.closed.store(true, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
