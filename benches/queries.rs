//! Queries by index, on collections of several sizes: what a page costs beside the same number of
//! point reads, how fast an index is built, and what indexes cost a write. Run with
//! `cargo bench -p benches --bench queries -- [largest collection]`; prints one line a figure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use benches::{collection, configure, create_document, create_project, project, start};
use domain::DocumentId;
use engine::Engine;
use engine::access::Viewer;
use engine::queries::{By, From, IndexState, Paging, Wanted};
use query::{Filter, Order};
use serde_json::json;

const CLIENTS: usize = 64;
const PAGE: usize = 20;
const PAGES: usize = 2_000;
/// Creates with indexes and without, in turns.
const ROUNDS: usize = 4;
const ROUND: usize = 20_000;

fn main() -> Result<()> {
    let argument = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let largest: usize = argument.unwrap_or(1_000_000);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for documents in [10_000, 100_000, 1_000_000] {
        if documents <= largest {
            let dir = tempfile::tempdir()?;
            runtime.block_on(pages(dir.path(), documents))?;
        }
    }
    let dir = tempfile::tempdir()?;
    runtime.block_on(writes(dir.path()))
}

async fn pages(dir: &std::path::Path, documents: usize) -> Result<()> {
    let engine = start(dir).await?;
    engine.submit(create_project()).await?;
    let ids = creates(&engine, 0, documents).await?;
    let began = Instant::now();
    let fields = json!([{"field": "num"}, {"field": "title", "direction": "desc"}]);
    engine.submit(configure(json!({"indexes": [{ "fields": fields }]}))).await?;
    while engine.indexes(&project(), &collection()).await?[0].state != IndexState::Ready {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let rate = documents as f64 / began.elapsed().as_secs_f64();
    println!("{documents} documents: index built at {rate:.0}/s");
    // In turns, so that both see the same machine.
    let (mut by_page, mut by_point) = (Duration::ZERO, Duration::ZERO);
    for round in 0..10 {
        by_page += query_pages(&engine, round).await?;
        by_point += point_reads(&engine, &ids, round).await?;
    }
    let micros = |all: Duration| all.as_secs_f64() * 1e6 / (PAGES * 10) as f64;
    println!(
        "{documents} documents: a page of {PAGE} by index, in order: {:.0} µs; {PAGE} point \
         reads: {:.0} µs; ratio {:.2}",
        micros(by_page),
        micros(by_point),
        by_page.as_secs_f64() / by_point.as_secs_f64()
    );
    engine.stop().await?;
    Ok(())
}

async fn query_pages(engine: &Engine, round: usize) -> Result<Duration> {
    let (project, collection, viewer) = (project(), collection(), Viewer::default());
    let order = Order::of(&json!([{"field": "title", "direction": "desc"}]))?;
    let began = Instant::now();
    for n in 0..PAGES {
        let value = (n * 7 + round) % 50;
        let filter = Filter::of(&json!({"field": "num", "op": "==", "value": value}))?;
        let (filter, as_of) = (Some(&filter), None);
        let wanted =
            Wanted { project: &project, collection: &collection, viewer: &viewer, filter, as_of };
        let paging = Paging { order: &order, from: From::Start, limit: PAGE, count: false };
        let page = engine.page(wanted, paging).await?;
        ensure!(page.documents.len() == PAGE);
        ensure!(matches!(page.explanation.by, By::Index { is_ordered: true, .. }));
    }
    Ok(began.elapsed())
}

async fn point_reads(engine: &Engine, ids: &[DocumentId], round: usize) -> Result<Duration> {
    let (project, collection) = (project(), collection());
    let began = Instant::now();
    for n in 0..PAGES * PAGE {
        let id = &ids[(n * 7_919 + round) % ids.len()];
        ensure!(engine.document(&project, &collection, id, None).await?.is_some());
    }
    Ok(began.elapsed())
}

async fn creates(engine: &Arc<Engine>, from: usize, count: usize) -> Result<Vec<DocumentId>> {
    let clients = (0..CLIENTS).map(|client| {
        let engine = Arc::clone(engine);
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for n in (from + client..from + count).step_by(CLIENTS) {
                let (id, command) = create_document(n);
                engine.submit(command).await?;
                ids.push(id);
            }
            anyhow::Ok(ids)
        })
    });
    let mut ids = Vec::with_capacity(count);
    for client in clients.collect::<Vec<_>>() {
        ids.extend(client.await??);
    }
    Ok(ids)
}

/// Creates with five indexes and with none, in turns in one run.
async fn writes(dir: &std::path::Path) -> Result<()> {
    let plain = start(&dir.join("plain")).await?;
    let indexed = start(&dir.join("indexed")).await?;
    for engine in [&plain, &indexed] {
        engine.submit(create_project()).await?;
    }
    let fields = ["title", "num", "flag", "body", "$createdAt"];
    let indexes: Vec<_> = fields.map(|name| json!({"fields": [{"field": name}]})).into();
    indexed.submit(configure(json!({ "indexes": indexes }))).await?;
    let (mut without, mut with) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let began = Instant::now();
        creates(&plain, round * ROUND, ROUND).await?;
        without += began.elapsed();
        let began = Instant::now();
        creates(&indexed, round * ROUND, ROUND).await?;
        with += began.elapsed();
    }
    let rate = |all: Duration| (ROUNDS * ROUND) as f64 / all.as_secs_f64();
    println!(
        "durable creates, {CLIENTS} clients: {:.0}/s without an index, {:.0}/s with five; {:.0} %",
        rate(without),
        rate(with),
        100.0 * without.as_secs_f64() / with.as_secs_f64()
    );
    plain.stop().await?;
    indexed.stop().await?;
    Ok(())
}
