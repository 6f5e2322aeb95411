//! A bare producer, to measure the log beside: the library alone sends the same records, each by
//! itself and awaited, and nobody looks at where they land. Not for anything else.

use std::sync::Arc;
use std::time::Duration;

use domain::{Event, Offset, PartitionId};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::Options;
use super::record;
use crate::Error;

/// A connected producer.
#[derive(Clone)]
pub struct BareProducer {
    inner: FutureProducer,
    topic: Arc<str>,
    with_headers: bool,
}

impl BareProducer {
    /// Makes an idempotent producer that waits for all copies and for no further records, of a
    /// topic that is there. `with_headers` says whether a record carries the event's envelope, as
    /// the log's own records do, or its data only.
    ///
    /// Errors: [`Error::Open`] when the settings make no sense to the library.
    pub fn connect(options: &Options, with_headers: bool) -> Result<Self, Error> {
        let mut config = options.client()?;
        let promises = [("enable.idempotence", "true"), ("acks", "all"), ("linger.ms", "0")];
        options.set(&mut config, &promises);
        let inner = config.create().map_err(|error| options.cannot_open(error.to_string()))?;
        Ok(Self { inner, topic: options.topic.as_str().into(), with_headers })
    }

    /// Sends an event and waits until it is stored; its offset.
    ///
    /// Errors: [`Error::Unreachable`] with what the library says.
    pub async fn append(&self, partition: PartitionId, event: &Event) -> Result<Offset, Error> {
        let mut sent = FutureRecord::to(&self.topic)
            .partition(partition.0.cast_signed())
            .key(event.project.as_str())
            .payload(&event.data[..]);
        if self.with_headers {
            sent = sent.headers(record::headers(event, 1, 1));
        }
        let stored = self.inner.send(sent, Duration::ZERO).await;
        let stored =
            stored.map_err(|(error, _)| Error::Unreachable { reason: error.to_string() })?;
        Ok(stored.offset.cast_unsigned())
    }
}
