//! One record of the topic: how an event becomes headers and a value, by CloudEvents' binary mode
//! for Kafka, and is taken back from them. Any headers may be decoded: the answer is an entry or
//! a reason, never a panic. Whether the record counts is the sieve's business.
//! Source: CloudEvents 1.0.2 (bindings/kafka-protocol-binding.md).

#[cfg(test)]
pub(super) mod tests;

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use compact_str::{CompactString, ToCompactString};
use domain::event::cloudevents as attribute;
use domain::writers::TookOver;
use domain::{Event, EventType, Offset, PartitionId, StreamId, Timestamp, TransactionPart};
use rdkafka::Message;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use uuid::Uuid;

/// Where the records of writers come from.
const WRITERS: &str = "/writers";

/// What a stored record says, before the rule was applied.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly every entry is an event")]
pub(super) enum Entry {
    /// An event of a writer.
    Event {
        /// The offset that its writer expected.
        expected: Offset,
        /// The event, or why it can't be decoded.
        event: Result<Event, String>,
        /// Its place in a transaction, where that can be decoded.
        transaction: Option<TransactionPart>,
    },
    /// A writer has taken the partition over.
    TookOver {
        /// Where it can be reached.
        node: String,
    },
    /// Nothing that a writer of ours has written.
    Foreign,
}

/// The headers of an event that is to get the offset `expected`. Its key is the project's id, its
/// value the data.
pub(super) fn headers(event: &Event, epoch: u64, expected: Offset) -> OwnedHeaders {
    let schema = attribute::dataschema(event.kind.as_str(), event.schema_version);
    let source = attribute::source(&event.project);
    let common =
        Common { id: event.id, source: &source, kind: &event.kind, schema: &schema, more: 14 };
    let mut headers = common.headers(event.stream.as_str(), event.time);
    headers = put(headers, "ce_epoch", epoch);
    headers = put(headers, "ce_streamversion", event.stream_version);
    headers = put(headers, "ce_actor", &event.actor);
    headers = put(headers, "ce_correlationid", &event.correlation_id);
    headers = put_some(headers, "ce_causationid", event.causation_id);
    headers = put(headers, "ce_depth", event.depth);
    headers = put_some(headers, "ce_transactionid", event.transaction.map(|part| part.id));
    headers = put_some(headers, "ce_transactionindex", event.transaction.map(|part| part.index));
    headers = put_some(headers, "ce_transactioncount", event.transaction.map(|part| part.count));
    let fingerprint = event.fingerprint.map(attribute::fingerprint_text);
    headers = put_some(headers, "ce_fingerprint", fingerprint);
    headers = put_some(headers, "ce_traceparent", event.traceparent.as_ref());
    put(headers, "ce_expectedoffset", expected)
}

/// The headers of the record by which a writer takes a partition over. It has no key.
pub(super) fn takeover_headers(partition: PartitionId, id: Uuid, time: Timestamp) -> OwnedHeaders {
    let kind = TookOver::event_type();
    let schema = attribute::dataschema(kind.as_str(), TookOver::SCHEMA_VERSION);
    let common = Common { id, source: WRITERS, kind: &kind, schema: &schema, more: 0 };
    common.headers(&format!("partition/{partition}"), time)
}

/// The value of that record.
pub(super) fn takeover_payload(node: &str) -> Vec<u8> {
    serde_json::to_vec(&TookOver { node: node.to_owned() }).unwrap_or_default()
}

/// Reads a record.
pub(super) fn decode(message: &impl Message) -> Entry {
    let mut fields = Fields::default();
    if let Some(headers) = message.headers() {
        for header in headers.iter() {
            fields.take(header);
        }
    }
    fields.entry(message.payload())
}

/// The attributes that every record of ours has.
struct Common<'a> {
    id: Uuid,
    source: &'a str,
    kind: &'a EventType,
    schema: &'a str,
    /// How many headers will follow.
    more: usize,
}

impl Common<'_> {
    fn headers(&self, subject: &str, time: Timestamp) -> OwnedHeaders {
        let mut headers = OwnedHeaders::new_with_capacity(8 + self.more);
        headers = put(headers, "content-type", "application/json");
        headers = put(headers, "ce_specversion", "1.0");
        headers = put(headers, "ce_id", self.id);
        headers = put(headers, "ce_source", self.source);
        headers = put(headers, "ce_type", self.kind);
        headers = put(headers, "ce_subject", subject);
        headers = put(headers, "ce_time", time);
        put(headers, "ce_dataschema", self.schema)
    }
}

fn put(headers: OwnedHeaders, key: &str, value: impl Display) -> OwnedHeaders {
    let value = value.to_compact_string();
    headers.insert(Header { key, value: Some(value.as_str()) })
}

fn put_some(headers: OwnedHeaders, key: &str, value: Option<impl Display>) -> OwnedHeaders {
    match value {
        Some(value) => put(headers, key, value),
        None => headers,
    }
}

/// The headers that we know, as they were found.
#[derive(Default)]
struct Fields<'a> {
    spec_version: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    subject: Option<&'a [u8]>,
    time: Option<&'a [u8]>,
    schema: Option<&'a [u8]>,
    epoch: Option<&'a [u8]>,
    stream_version: Option<&'a [u8]>,
    actor: Option<&'a [u8]>,
    correlation_id: Option<&'a [u8]>,
    causation_id: Option<&'a [u8]>,
    depth: Option<&'a [u8]>,
    transaction_id: Option<&'a [u8]>,
    transaction_index: Option<&'a [u8]>,
    transaction_count: Option<&'a [u8]>,
    fingerprint: Option<&'a [u8]>,
    traceparent: Option<&'a [u8]>,
    expected: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, header: Header<'a, &'a [u8]>) {
        let field = match header.key {
            "ce_specversion" => &mut self.spec_version,
            "ce_id" => &mut self.id,
            "ce_source" => &mut self.source,
            "ce_type" => &mut self.kind,
            "ce_subject" => &mut self.subject,
            "ce_time" => &mut self.time,
            "ce_dataschema" => &mut self.schema,
            "ce_epoch" => &mut self.epoch,
            "ce_streamversion" => &mut self.stream_version,
            "ce_actor" => &mut self.actor,
            "ce_correlationid" => &mut self.correlation_id,
            "ce_causationid" => &mut self.causation_id,
            "ce_depth" => &mut self.depth,
            "ce_transactionid" => &mut self.transaction_id,
            "ce_transactionindex" => &mut self.transaction_index,
            "ce_transactioncount" => &mut self.transaction_count,
            "ce_fingerprint" => &mut self.fingerprint,
            "ce_traceparent" => &mut self.traceparent,
            "ce_expectedoffset" => &mut self.expected,
            _ => return,
        };
        *field = header.value;
    }

    fn entry(&self, payload: Option<&[u8]>) -> Entry {
        let expected = match self.expected {
            // One spelling only, as for positions: "+7" and "007" were not written by us.
            Some(text) => parse::<Offset>("expectedoffset", text)
                .ok()
                .filter(|offset| offset.to_compact_string().as_bytes() == text),
            None => return self.took_over(payload).unwrap_or(Entry::Foreign),
        };
        let Some(expected) = expected else { return Entry::Foreign };
        match self.transaction() {
            Ok(transaction) => {
                Entry::Event { expected, event: self.event(payload, transaction), transaction }
            }
            Err(why) => Entry::Event { expected, event: Err(why), transaction: None },
        }
    }

    fn took_over(&self, payload: Option<&[u8]>) -> Option<Entry> {
        let ours = self.source == Some(WRITERS.as_bytes())
            && self.kind == Some(TookOver::event_type().as_str().as_bytes());
        let data: TookOver = serde_json::from_slice(payload.filter(|_| ours)?).ok()?;
        Some(Entry::TookOver { node: data.node })
    }

    fn transaction(&self) -> Result<Option<TransactionPart>, String> {
        let id = optional("transactionid", self.transaction_id)?;
        let index = optional("transactionindex", self.transaction_index)?;
        let count = optional("transactioncount", self.transaction_count)?;
        attribute::transaction_of(id, index, count).map_err(|e| e.to_string())
    }

    fn event(
        &self,
        payload: Option<&[u8]>,
        transaction: Option<TransactionPart>,
    ) -> Result<Event, String> {
        if self.spec_version != Some(b"1.0") {
            return Err("specversion: expected 1.0".to_owned());
        }
        let schema = text("dataschema", required("dataschema", self.schema)?)?;
        let source = text("source", required("source", self.source)?)?;
        let kind = text("type", required("type", self.kind)?)?;
        let subject = text("subject", required("subject", self.subject)?)?;
        let fingerprint = match self.fingerprint {
            Some(hex) => Some(
                attribute::parse_fingerprint(text("fingerprint", hex)?)
                    .map_err(|e| e.to_string())?,
            ),
            None => None,
        };
        let traceparent = match self.traceparent {
            Some(traceparent) => Some(CompactString::new(text("traceparent", traceparent)?)),
            None => None,
        };
        let correlation_id = required("correlationid", self.correlation_id)?;
        let data = payload.ok_or("it has no data")?;
        Ok(Event {
            id: parse("id", required("id", self.id)?)?,
            project: attribute::project_of(source).map_err(|e| e.to_string())?,
            stream: StreamId::parse(subject).map_err(|e| format!("subject: {e}"))?,
            stream_version: parse(
                "streamversion",
                required("streamversion", self.stream_version)?,
            )?,
            kind: EventType::parse(kind).map_err(|e| format!("type: {e}"))?,
            schema_version: attribute::schema_version(schema)
                .ok_or("dataschema: expected /schemas/events/<type>/v<n>.json")?,
            time: parse("time", required("time", self.time)?)?,
            epoch: parse("epoch", required("epoch", self.epoch)?)?,
            actor: parse("actor", required("actor", self.actor)?)?,
            correlation_id: CompactString::new(text("correlationid", correlation_id)?),
            causation_id: optional("causationid", self.causation_id)?,
            depth: parse("depth", required("depth", self.depth)?)?,
            transaction,
            fingerprint,
            traceparent,
            data: Bytes::copy_from_slice(data),
        })
    }
}

fn required<'a>(what: &str, value: Option<&'a [u8]>) -> Result<&'a [u8], String> {
    value.ok_or_else(|| format!("it has no {what}"))
}

fn text<'a>(what: &str, value: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(value).map_err(|e| format!("{what}: {e}"))
}

fn parse<T: FromStr<Err: Display>>(what: &str, value: &[u8]) -> Result<T, String> {
    text(what, value)?.parse().map_err(|e| format!("{what}: {e}"))
}

fn optional<T: FromStr<Err: Display>>(
    what: &str,
    value: Option<&[u8]>,
) -> Result<Option<T>, String> {
    value.map(|value| parse(what, value)).transpose()
}
