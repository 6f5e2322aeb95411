//! What the benches share: an engine on the embedded backends, documents of about 300 bytes to
//! write to it, the real binary as a process, and clients that measure what they call.

pub mod http;
pub mod load;
pub mod process;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use domain::command::{Body, Command, Context};
use domain::documents::{ExpectedVersion, Op, Write};
use domain::projects::ProjectCommand;
use domain::{Actor, CollectionName, DocumentId, ProjectId};
use engine::{Engine, Metrics, Options, Parts};
use eventlog::EventLog;
use readmodel::Store;

/// Starts an engine on `dir`, with one partition, as `headwater serve` does.
pub async fn start(dir: &Path) -> Result<Arc<Engine>> {
    let registry = prometheus::Registry::new();
    let log_options = eventlog::embedded::Options::new(dir.join("log"), "headwater.events", 1);
    let log_metrics = eventlog::metrics::Metrics::new(&registry)?;
    let log: Arc<dyn EventLog> =
        Arc::new(eventlog::embedded::Log::open(log_options, &log_metrics)?);
    let store_options = readmodel::embedded::Options::new(dir.join("tables"));
    let store: Arc<dyn Store> = Arc::new(readmodel::embedded::Store::open(store_options)?);
    let parts = Parts {
        log,
        store,
        documents: consumers::DOCUMENTS,
        idempotency: consumers::IDEMPOTENCY,
        sealer: vault::Sealer::new(Arc::new(vault::memory::Keys::new())),
        options: Options::default(),
        metrics: Arc::new(Metrics::register(&registry)?),
        cluster: None,
    };
    Ok(Engine::start(parts, &|_, _, _| ()).await?)
}

/// The project that every bench writes to.
pub fn project() -> ProjectId {
    ProjectId::new("bench").expect("a valid id")
}

/// The collection that every bench writes to.
pub fn collection() -> CollectionName {
    CollectionName::new("documents").expect("a valid name")
}

fn command(body: Body) -> Command {
    let context = Context {
        project: project(),
        actor: Actor::Admin,
        access: domain::access::Access::PastRules,
        correlation_id: "bench".into(),
        causation_id: None,
        depth: 0,
        traceparent: None,
        idempotency: None,
    };
    Command { context, body }
}

/// Makes the project.
pub fn create_project() -> Command {
    command(Body::Project(ProjectCommand::Create { name: "Bench".to_owned() }))
}

/// Configures the collection; `settings` is what its configuration event holds.
pub fn configure(settings: serde_json::Value) -> Command {
    let config = serde_json::from_value(settings).expect("a configuration");
    let collection = collection();
    command(Body::Project(ProjectCommand::ConfigureCollection { collection, config }))
}

/// The JSON of a document of about 300 bytes.
pub fn document(n: usize) -> String {
    let body = "the quick brown fox jumps over the lazy dog ".repeat(5);
    format!(
        "{{\"title\":\"document number {n:08}\",\"body\":\"{}\",\"num\":{},\"flag\":{}}}",
        &body[..200],
        n % 50,
        n.is_multiple_of(2)
    )
}

/// Makes one document of about 300 bytes under a new id.
pub fn create_document(n: usize) -> (DocumentId, Command) {
    let id = DocumentId::new(&uuid::Uuid::now_v7().to_string()).expect("a valid id");
    let write = Write {
        collection: collection(),
        id: id.clone(),
        op: Op::Create(Bytes::from(document(n))),
        expected: ExpectedVersion::NoStream,
    };
    (id, command(Body::Documents { writes: vec![write], reads: Vec::new() }))
}
