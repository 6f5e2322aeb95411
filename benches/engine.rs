//! The engine without HTTP: durable creates, point reads, and replay into the documents
//! projection. Run with `cargo bench -p benches --bench engine -- [documents]`; prints one line a
//! figure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use benches::{collection, create_document, create_project, project, start};
use domain::DocumentId;
use engine::Engine;

const CLIENTS: usize = 64;

fn main() -> Result<()> {
    let argument = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let documents: usize = argument.unwrap_or(300_000);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let dir = tempfile::tempdir()?;
    runtime.block_on(async {
        let engine = start(dir.path()).await?;
        engine.submit(create_project()).await?;
        let ids = creates(&engine, documents).await?;
        gets(&engine, &ids).await?;
        replay(&engine, documents).await?;
        engine.stop().await?;
        drop(engine);
        let began = Instant::now();
        let engine = start(dir.path()).await?;
        println!("start after a clean stop: {:?}", began.elapsed());
        Ok(engine.stop().await?)
    })
}

fn report(what: &str, count: usize, took: Duration) {
    let rate = count as f64 / took.as_secs_f64();
    println!("{what}: {rate:.0}/s ({count} in {took:.2?})");
}

async fn creates(engine: &Arc<Engine>, documents: usize) -> Result<Vec<DocumentId>> {
    let began = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let engine = Arc::clone(engine);
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for n in (client..documents).step_by(CLIENTS) {
                let (id, command) = create_document(n);
                engine.submit(command).await?;
                ids.push(id);
            }
            anyhow::Ok(ids)
        })
    });
    let mut ids = Vec::with_capacity(documents);
    for client in clients.collect::<Vec<_>>() {
        ids.extend(client.await??);
    }
    report("durable creates, 64 clients", documents, began.elapsed());
    Ok(ids)
}

async fn gets(engine: &Arc<Engine>, ids: &[DocumentId]) -> Result<()> {
    let began = Instant::now();
    let (project, collection) = (project(), collection());
    // A fixed stride visits all documents in no order that a cache would like.
    let count = ids.len();
    for n in 0..count {
        let id = &ids[n * 7_919 % count];
        anyhow::ensure!(engine.document(&project, &collection, id, None).await?.is_some());
    }
    report("point reads, one thread", count, began.elapsed());
    Ok(())
}

async fn replay(engine: &Arc<Engine>, documents: usize) -> Result<()> {
    let began = Instant::now();
    let rebuilt = engine.rebuild("documents", false, &|_| ()).await?;
    report("replay into the documents projection", documents, began.elapsed());
    anyhow::ensure!(rebuilt.iter().map(|one| one.events).sum::<u64>() as usize > documents);
    Ok(())
}
