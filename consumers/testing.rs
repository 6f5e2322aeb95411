//! An engine with both consumers on memory backends, for tests: it can be stopped short at any
//! commit of its tables and started again on what is left, as after a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::command::{Body, Command, Context, Idempotency};
use domain::documents::{ExpectedVersion, Op, Write};
use domain::projects::ProjectCommand;
use domain::{Actor, CollectionName, DocumentId, PartitionId, ProjectId};
use engine::{Committed, Engine, Error, Metrics, Options, Parts};
use readmodel::{Batch, Reader, Row, Scan, Space, SpaceId, Store, Table, Value};

/// What outlives a crash.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) log: Arc<eventlog::memory::Log>,
    pub(crate) store: Arc<FusedStore>,
    /// Short where a test waits for an answer that can't come.
    pub(crate) write_wait_max: Duration,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self::retaining(eventlog::Retention::default())
    }

    pub(crate) fn retaining(retention: eventlog::Retention) -> Self {
        Self {
            log: Arc::new(eventlog::memory::Log::new(2, retention)),
            store: Arc::new(FusedStore {
                inner: Arc::new(readmodel::memory::Store::default()),
                commits_left: Arc::new(AtomicI64::new(i64::MAX)),
                is_torn: Arc::default(),
            }),
            write_wait_max: Duration::from_secs(10),
        }
    }

    /// With short waits.
    pub(crate) fn hasty() -> Self {
        Self { write_wait_max: Duration::from_millis(300), ..Self::new() }
    }

    /// With tables that may hold rows whose checkpoint is not there yet: a commit that fails has
    /// stored its rows.
    pub(crate) fn torn() -> Self {
        let disk = Self::hasty();
        disk.store.is_torn.store(true, Ordering::SeqCst);
        disk
    }

    pub(crate) async fn start(&self) -> Arc<Engine> {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(&self) -> Result<Arc<Engine>, Error> {
        self.store.commits_left.store(i64::MAX, Ordering::SeqCst);
        let parts = Parts {
            log: Arc::clone(&self.log) as _,
            store: Arc::clone(&self.store) as _,
            documents: crate::DOCUMENTS,
            idempotency: crate::IDEMPOTENCY,
            sealer: vault::Sealer::new(Arc::new(vault::memory::Keys::new())),
            options: Options { write_wait_max: self.write_wait_max, ..Options::default() },
            metrics: Arc::new(Metrics::register(&prometheus::Registry::new()).unwrap()),
            cluster: None,
        };
        Engine::start(parts, &|_, _, _| ()).await
    }

    /// From now on the tables take so many commits more, and then none until the next start.
    pub(crate) fn fail_after(&self, commits: i64) {
        self.store.commits_left.store(commits, Ordering::SeqCst);
    }
}

/// A store whose commits fail from a chosen one on.
pub(crate) struct FusedStore {
    inner: Arc<readmodel::memory::Store>,
    commits_left: Arc<AtomicI64>,
    is_torn: Arc<AtomicBool>,
}

struct FusedSpace {
    inner: Arc<dyn Space>,
    commits_left: Arc<AtomicI64>,
    is_torn: Arc<AtomicBool>,
}

#[async_trait]
impl Store for FusedStore {
    async fn open(&self, id: &SpaceId) -> Result<Arc<dyn Space>, readmodel::Error> {
        let inner = self.inner.open(id).await?;
        Ok(Arc::new(FusedSpace {
            inner,
            commits_left: Arc::clone(&self.commits_left),
            is_torn: Arc::clone(&self.is_torn),
        }))
    }

    async fn list(&self, consumer: &'static str) -> Result<Vec<SpaceId>, readmodel::Error> {
        self.inner.list(consumer).await
    }

    async fn remove(&self, id: &SpaceId) -> Result<(), readmodel::Error> {
        self.inner.remove(id).await
    }

    async fn active(
        &self,
        consumer: &'static str,
        partition: PartitionId,
    ) -> Result<Option<u32>, readmodel::Error> {
        self.inner.active(consumer, partition).await
    }

    async fn activate(&self, id: &SpaceId) -> Result<(), readmodel::Error> {
        self.inner.activate(id).await
    }

    async fn close(&self) -> Result<(), readmodel::Error> {
        Ok(())
    }
}

#[async_trait]
impl Space for FusedSpace {
    async fn commit(&self, batch: Batch) -> Result<(), readmodel::Error> {
        if self.commits_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            if self.is_torn.load(Ordering::SeqCst) {
                let mut rows = batch;
                rows.checkpoint = self.inner.checkpoint().await?;
                self.inner.commit(rows).await?;
            }
            return Err(readmodel::Error::Closed);
        }
        self.inner.commit(batch).await
    }

    async fn view(&self) -> Result<Arc<dyn Reader>, readmodel::Error> {
        self.inner.view().await
    }
}

#[async_trait]
impl Reader for FusedSpace {
    async fn checkpoint(&self) -> Result<u64, readmodel::Error> {
        self.inner.checkpoint().await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &[Value],
    ) -> Result<Option<Row>, readmodel::Error> {
        self.inner.get(table, key).await
    }

    async fn scan(&self, table: &'static Table, scan: Scan) -> Result<Vec<Row>, readmodel::Error> {
        self.inner.scan(table, scan).await
    }

    async fn digest(&self) -> Result<[u8; 32], readmodel::Error> {
        self.inner.digest().await
    }

    fn is_exact(&self) -> bool {
        self.inner.is_exact() && !self.is_torn.load(Ordering::SeqCst)
    }
}

pub(crate) fn project() -> ProjectId {
    ProjectId::new("p").unwrap()
}

pub(crate) fn collection() -> CollectionName {
    CollectionName::new("c").unwrap()
}

pub(crate) fn id(text: &str) -> DocumentId {
    DocumentId::new(text).unwrap()
}

pub(crate) fn context(key: Option<(&str, u64)>) -> Context {
    Context {
        project: project(),
        actor: Actor::Admin,
        access: domain::access::Access::PastRules,
        correlation_id: "test".into(),
        causation_id: None,
        depth: 0,
        traceparent: None,
        idempotency: key.map(|(key, fingerprint)| Idempotency { key: key.into(), fingerprint }),
    }
}

pub(crate) async fn create_project(engine: &Engine) {
    let body = Body::Project(ProjectCommand::Create { name: "P".to_owned() });
    engine.submit(Command { context: context(None), body }).await.unwrap();
}

pub(crate) fn write(name: &str, op: Op) -> Write {
    Write { collection: collection(), id: id(name), op, expected: ExpectedVersion::Any }
}

pub(crate) async fn commit(
    engine: &Engine,
    writes: Vec<Write>,
    key: Option<(&str, u64)>,
) -> Result<Committed, Error> {
    let body = Body::Documents { writes, reads: Vec::new() };
    engine.submit(Command { context: context(key), body }).await
}
