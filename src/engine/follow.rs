//! Keeps a node level with a partition that another node writes: takes its events into the
//! catalog and moves on what subscribers and reads may see. Writes nothing.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Offset, PartitionId};
use eventlog::{EventLog, ReadLimit};
use parking_lot::RwLock;
use readmodel::Store;

use crate::catalog::Catalog;
use crate::consumer::read_whole;
use crate::error::Error;
use crate::partition::Partition;
use crate::unready::Unready;

/// One read of the tail.
const TAIL: ReadLimit = ReadLimit { events_max: 2048, bytes_max: 2 << 20 };
/// After a read that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two questions to the tables whether they are there.
const STORE_INTERVAL: Duration = Duration::from_secs(1);

/// Follows one partition for as long as the log is open. Stands aside while the partition is
/// written here, for then the writer does the same.
pub(crate) async fn follow(
    partition: Arc<Partition>,
    log: Arc<dyn EventLog>,
    catalog: Arc<Catalog>,
) {
    let mut end = log.watch_end(partition.id);
    loop {
        let advanced = {
            let _one = partition.advancing.lock().await;
            let until = *end.borrow_and_update();
            advance(&partition, &*log, &catalog, until).await
        };
        if let Err(error) = advanced {
            tracing::error!(partition = %partition.id, %error, "can't read the tail of the log");
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        if end.changed().await.is_err() {
            return;
        }
    }
}

/// Asks the tables now and then whether they can be reached, and writes down why not.
pub(crate) async fn watch_store(
    store: Arc<dyn Store>,
    consumer: &'static str,
    trouble: Arc<RwLock<Option<Unready>>>,
) {
    loop {
        tokio::time::sleep(STORE_INTERVAL).await;
        let asked = store.active(consumer, PartitionId(0)).await;
        let now = asked.err().map(|error| Unready::tables(&error));
        match (&now, &*trouble.read()) {
            (Some(now), None) => tracing::error!(error = now.detail, "the tables can't be reached"),
            (None, Some(_)) => tracing::info!("the tables can be reached again"),
            _ => {}
        }
        *trouble.write() = now;
    }
}

/// Looks now and then how far the tables are, until they hold everything before `next`.
pub(crate) async fn watch_filling(partition: Arc<Partition>, next: Offset) {
    loop {
        let until = Instant::now() + STORE_INTERVAL;
        if matches!(partition.wait_stored(next, until).await, Ok(true)) {
            tracing::info!(partition = %partition.id, "the tables are level");
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes events in up to `until`. Only for who holds `advancing`.
pub(crate) async fn advance(
    partition: &Partition,
    log: &dyn EventLog,
    catalog: &Catalog,
    until: Offset,
) -> Result<(), Error> {
    while partition.applied() < until {
        let from = partition.applied();
        let read = read_whole(log, partition.id, from, TAIL).await?;
        if read.next == from {
            break;
        }
        for recorded in &read.events {
            catalog.apply(&recorded.event);
        }
        if let Some(last) = read.events.last() {
            partition.set_newest(last.position.offset + 1);
        }
        partition.set_applied(read.next);
    }
    Ok(())
}

/// Takes users' events in that the tables hold, while what they changed lately may not be stored.
pub(crate) async fn recall(
    log: &dyn EventLog,
    id: PartitionId,
    offsets: Range<Offset>,
    catalog: &Catalog,
) -> Result<(), Error> {
    let mut next = offsets.start.max(log.start(id));
    while next < offsets.end {
        let read = read_whole(log, id, next, TAIL).await?;
        if read.next == next {
            break;
        }
        for recorded in &read.events {
            catalog.apply_user(&recorded.event);
        }
        next = read.next;
    }
    Ok(())
}
