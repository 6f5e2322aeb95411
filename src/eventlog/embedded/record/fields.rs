//! The event within a record: its fields in order, optional ones announced by flags.
//! Owns their order and spelling; one event has one spelling. Knows nothing of places in the log.

use bytes::Bytes;
use compact_str::CompactString;
use domain::{Actor, Event, EventType, KeyId, ProjectId, StreamId, Timestamp, TransactionPart};
use uuid::Uuid;

use super::Invalid;

const CAUSATION: u8 = 1;
const TRANSACTION: u8 = 2;
const FINGERPRINT: u8 = 4;
const TRACEPARENT: u8 = 8;
const FLAGS: u8 = CAUSATION | TRANSACTION | FINGERPRINT | TRACEPARENT;

const ACTOR_SYSTEM: u8 = 0;
const ACTOR_ADMIN: u8 = 1;
const ACTOR_KEY: u8 = 2;
const ACTOR_OTHER: u8 = 3;

/// Refuses what types cannot rule out and `decode` would not take back.
pub(super) fn check(event: &Event) -> Result<(), Invalid> {
    if event.transaction.is_some_and(|part| part.index >= part.count) {
        return Err(Invalid::Field("transaction"));
    }
    EventType::parse(event.kind.as_str()).map(drop).map_err(|_| Invalid::Field("type"))
}

/// Appends the event's fields, all but its time.
pub(super) fn encode(event: &Event, out: &mut Vec<u8>) {
    let flag = |present: bool, bit: u8| if present { bit } else { 0 };
    out.push(
        flag(event.causation_id.is_some(), CAUSATION)
            | flag(event.transaction.is_some(), TRANSACTION)
            | flag(event.fingerprint.is_some(), FINGERPRINT)
            | flag(event.traceparent.is_some(), TRACEPARENT),
    );
    out.extend_from_slice(event.id.as_bytes());
    put_text(out, event.project.as_str());
    put_text(out, event.stream.as_str());
    put_varint(out, event.stream_version);
    put_text(out, event.kind.as_str());
    put_varint(out, u64::from(event.schema_version));
    put_varint(out, event.epoch);
    put_actor(out, &event.actor);
    put_text(out, &event.correlation_id);
    put_varint(out, u64::from(event.depth));
    if let Some(id) = event.causation_id {
        out.extend_from_slice(id.as_bytes());
    }
    if let Some(part) = event.transaction {
        out.extend_from_slice(part.id.as_bytes());
        put_varint(out, u64::from(part.index));
        put_varint(out, u64::from(part.count));
    }
    if let Some(fingerprint) = event.fingerprint {
        out.extend_from_slice(&fingerprint.to_le_bytes());
    }
    if let Some(traceparent) = &event.traceparent {
        put_text(out, traceparent);
    }
    out.extend_from_slice(&event.data);
}

/// Reads the fields of `record` from `start` on. The data is a slice of `record`.
pub(super) fn decode(time: Timestamp, record: &Bytes, start: usize) -> Result<Event, Invalid> {
    let mut fields = Fields { rest: &record[start..] };
    let flags = fields.byte("flags")?;
    if flags & !FLAGS != 0 {
        return Err(Invalid::Field("flags"));
    }
    let has = |bit: u8| flags & bit != 0;
    let id = fields.uuid("id")?;
    let project = fields.text("project")?;
    let project = ProjectId::new(project).map_err(|_| Invalid::Field("project"))?;
    let stream = fields.text("stream")?;
    let stream = StreamId::parse(stream).map_err(|_| Invalid::Field("stream"))?;
    let stream_version = fields.varint("stream version")?;
    let kind = EventType::parse(fields.text("type")?).map_err(|_| Invalid::Field("type"))?;
    let schema_version = fields.small("schema version")?;
    let epoch = fields.varint("epoch")?;
    let actor = fields.actor()?;
    let correlation_id = CompactString::new(fields.text("correlation id")?);
    let depth = fields.small("depth")?;
    let causation_id = if has(CAUSATION) { Some(fields.uuid("causation id")?) } else { None };
    let transaction = if has(TRANSACTION) { Some(fields.transaction()?) } else { None };
    let fingerprint = if has(FINGERPRINT) {
        Some(u64::from_le_bytes(fields.array("fingerprint")?))
    } else {
        None
    };
    let traceparent =
        if has(TRACEPARENT) { Some(CompactString::new(fields.text("traceparent")?)) } else { None };
    let data = record.slice(record.len() - fields.rest.len()..);
    Ok(Event {
        id,
        project,
        stream,
        stream_version,
        kind,
        schema_version,
        time,
        epoch,
        actor,
        correlation_id,
        causation_id,
        depth,
        transaction,
        fingerprint,
        traceparent,
        data,
    })
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        // The low seven bits, with the mark that more follow.
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_actor(out: &mut Vec<u8>, actor: &Actor) {
    match actor {
        Actor::System => out.push(ACTOR_SYSTEM),
        Actor::Admin => out.push(ACTOR_ADMIN),
        Actor::Key(id) => {
            out.push(ACTOR_KEY);
            put_text(out, id.as_str());
        }
        Actor::User { .. } => {
            out.push(ACTOR_OTHER);
            put_text(out, &actor.to_string());
        }
        Actor::Other(text) => {
            out.push(ACTOR_OTHER);
            put_text(out, text);
        }
    }
}

/// What is left to read.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize, name: &'static str) -> Result<&'a [u8], Invalid> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Invalid::Field(name))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], Invalid> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Invalid::Field(name))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self, name: &'static str) -> Result<u8, Invalid> {
        self.array::<1>(name).map(|[byte]| byte)
    }

    fn uuid(&mut self, name: &'static str) -> Result<Uuid, Invalid> {
        self.array(name).map(Uuid::from_bytes)
    }

    /// A number in its shortest spelling only, so that one event has one spelling.
    fn varint(&mut self, name: &'static str) -> Result<u64, Invalid> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(name)?;
            let bits = u64::from(byte & 0x7f);
            let fits = shift < 63 || bits <= 1;
            let shortest = byte != 0 || shift == 0;
            if !fits || !shortest {
                return Err(Invalid::Field(name));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Invalid::Field(name))
    }

    fn small<T: TryFrom<u64>>(&mut self, name: &'static str) -> Result<T, Invalid> {
        T::try_from(self.varint(name)?).map_err(|_| Invalid::Field(name))
    }

    fn text(&mut self, name: &'static str) -> Result<&'a str, Invalid> {
        let count = self.small(name)?;
        std::str::from_utf8(self.take(count, name)?).map_err(|_| Invalid::Field(name))
    }

    fn actor(&mut self) -> Result<Actor, Invalid> {
        let invalid = Invalid::Field("actor");
        match self.byte("actor")? {
            ACTOR_SYSTEM => Ok(Actor::System),
            ACTOR_ADMIN => Ok(Actor::Admin),
            ACTOR_KEY => KeyId::new(self.text("actor")?).map(Actor::Key).map_err(|_| invalid),
            ACTOR_OTHER => {
                let text = self.text("actor")?;
                let user = text.parse().ok().filter(|actor| matches!(actor, Actor::User { .. }));
                Ok(user.unwrap_or_else(|| Actor::Other(CompactString::new(text))))
            }
            _ => Err(invalid),
        }
    }

    fn transaction(&mut self) -> Result<TransactionPart, Invalid> {
        let id = self.uuid("transaction")?;
        let index: u32 = self.small("transaction")?;
        let count: u32 = self.small("transaction")?;
        if index < count {
            Ok(TransactionPart { id, index, count })
        } else {
            Err(Invalid::Field("transaction"))
        }
    }
}
