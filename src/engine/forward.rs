//! Commands and outcomes as nodes send them to each other: a version byte and MessagePack. Only
//! for nodes of one cluster, which trust each other; clients never see it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::command::Command;
use domain::{Position, Recorded, Rejected};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::writer::Committed;

/// Raised when nodes of two versions would not understand each other.
const VERSION: u8 = 3;

#[derive(Serialize, Deserialize)]
struct Forwarded<C> {
    command: C,
    wait_ms: u64,
}

#[derive(Serialize, Deserialize)]
enum Outcome {
    Committed { events: Vec<Recorded>, replayed: bool },
    Rejected(Rejected),
    NotOwner,
    Busy,
    StorageFull,
    Unavailable(String),
    Trimmed(Position),
    Unknown,
}

pub(crate) fn encode_command(command: &Command, wait_max: Duration) -> Result<Bytes, Error> {
    let wait_ms = u64::try_from(wait_max.as_millis()).unwrap_or(u64::MAX);
    encode(&Forwarded { command, wait_ms })
}

pub(crate) fn decode_command(body: &[u8]) -> Result<(Command, Duration), Error> {
    let Forwarded { command, wait_ms } = decode::<Forwarded<Command>>(body)?;
    Ok((command, Duration::from_millis(wait_ms)))
}

pub(crate) fn encode_outcome(outcome: &Result<Committed, Error>) -> Bytes {
    let outcome = match outcome {
        Ok(Committed { events, replayed }) => Outcome::Committed {
            events: events.iter().map(|event| Recorded::clone(event)).collect(),
            replayed: *replayed,
        },
        Err(Error::Rejected(rejected)) => Outcome::Rejected(rejected.clone()),
        Err(Error::NotOwner) => Outcome::NotOwner,
        Err(Error::Busy) => Outcome::Busy,
        Err(Error::StorageFull) => Outcome::StorageFull,
        Err(Error::OutcomeUnknown) => Outcome::Unknown,
        Err(Error::Trimmed { oldest }) => Outcome::Trimmed(*oldest),
        Err(error) => Outcome::Unavailable(error.to_string()),
    };
    // Nothing in it can fail to be encoded; were it so, the other node would not know the outcome.
    encode(&outcome).unwrap_or_default()
}

pub(crate) fn decode_outcome(body: &[u8]) -> Result<Committed, Error> {
    // Whatever can't be read may have been a success.
    match decode(body).map_err(|_| Error::OutcomeUnknown)? {
        Outcome::Committed { events, replayed } => {
            Ok(Committed { events: events.into_iter().map(Arc::new).collect(), replayed })
        }
        Outcome::Rejected(rejected) => Err(Error::Rejected(rejected)),
        Outcome::NotOwner => Err(Error::NotOwner),
        Outcome::Busy => Err(Error::Busy),
        Outcome::StorageFull => Err(Error::StorageFull),
        Outcome::Unavailable(why) => Err(Error::Unavailable(why)),
        Outcome::Trimmed(oldest) => Err(Error::Trimmed { oldest }),
        Outcome::Unknown => Err(Error::OutcomeUnknown),
    }
}

fn encode(value: &impl Serialize) -> Result<Bytes, Error> {
    let mut body = vec![VERSION];
    // With the names of fields: many leave fields out, and by their order alone nobody could tell.
    rmp_serde::encode::write_named(&mut body, value)
        .map_err(|error| Error::Corrupt(format!("a command that can't be sent: {error}")))?;
    Ok(Bytes::from(body))
}

fn decode<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Error> {
    let bad = |what: String| Error::Unavailable(format!("what another node sent: {what}"));
    match body.split_first() {
        Some((&VERSION, rest)) => rmp_serde::from_slice(rest).map_err(|e| bad(e.to_string())),
        Some((version, _)) => Err(bad(format!("version {version}, this node speaks {VERSION}"))),
        None => Err(bad("nothing".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use domain::access::{Access, Auth};
    use domain::command::{Body, Context, Idempotency};
    use domain::documents::{ExpectedVersion, Op, ReadCheck, Transform, TransformChange, Write};
    use domain::path::Path;
    use domain::projects::{CollectionConfig, FieldConfig, ProjectCommand};
    use domain::rejected::{Part, Reason};
    use domain::sign_in::{Config, Provider};
    use domain::users::{Session, Step, User, UserCommand};
    use domain::{Actor, CollectionName, DocumentId, Event, EventType, PartitionId, Position};
    use domain::{ProjectId, SessionId, StreamId, Timestamp, TransactionPart, UserId};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn context() -> Context {
        Context {
            project: ProjectId::new("p").unwrap(),
            actor: "key:k1".parse::<Actor>().unwrap(),
            access: domain::access::Access::PastRules,
            correlation_id: "c".into(),
            causation_id: Some(Uuid::from_u128(7)),
            depth: 3,
            traceparent: Some("00-ab-cd-01".into()),
            idempotency: Some(Idempotency { key: "k".into(), fingerprint: u64::MAX }),
        }
    }

    fn event() -> Event {
        Event {
            id: Uuid::from_u128(9),
            project: ProjectId::new("p").unwrap(),
            stream: StreamId::project(),
            stream_version: 4,
            kind: EventType::known("document.created"),
            schema_version: 2,
            time: Timestamp::from_micros(1_700_000_000_000_123),
            epoch: 12,
            actor: Actor::System,
            correlation_id: "c".into(),
            causation_id: None,
            depth: 0,
            transaction: Some(TransactionPart { id: Uuid::from_u128(1), index: 0, count: 2 }),
            fingerprint: Some(5),
            traceparent: None,
            data: Bytes::from_static(b"{\"n\":12345678901234567890.0}"),
        }
    }

    #[test]
    fn commands_arrive_as_they_were() {
        let collection = CollectionName::new("c").unwrap();
        let id = DocumentId::new("d").unwrap();
        let changes = [
            TransformChange::Increment("1".to_owned()),
            TransformChange::ArrayUnion(vec!["null".to_owned()]),
            TransformChange::ServerTime,
        ];
        let field = Path::parse("a.b").unwrap();
        let transforms = changes.map(|change| Transform { field: field.clone(), change }).into();
        let ops = [
            Op::Create(Bytes::from_static(b"{}")),
            Op::Delete,
            Op::Restore { version: 3, data: Bytes::from_static(b"{\"a\":1}") },
            Op::Transform { op: Box::new(Op::Patch(Bytes::from_static(b"{}"))), transforms },
        ];
        let writes = ops.map(|op| Write {
            collection: collection.clone(),
            id: id.clone(),
            op,
            expected: ExpectedVersion::Exact(7),
        });
        let reads = vec![ReadCheck { collection, id, version: 1 }];
        let imported = domain::command::Imported { event: event() };
        for body in [
            Body::Documents { writes: writes.to_vec(), reads },
            Body::Project(ProjectCommand::Create { name: "P".to_owned() }),
            Body::Import(vec![imported]),
        ] {
            let command = Command { context: context(), body };
            let wait = Duration::from_millis(1234);
            let sent = encode_command(&command, wait).unwrap();
            assert_eq!(decode_command(&sent).unwrap(), (command, wait));
        }
    }

    /// Most of what people and projects are configured with leaves out what is not there.
    #[test]
    fn what_leaves_fields_out_arrives_too() {
        let at = Timestamp::from_micros(1_700_000_000_000_123);
        let session = Session {
            created_at: at,
            refreshed_at: at,
            authenticated_at: at,
            generation: 1,
            token_hash: "t".to_owned(),
            sibling_hashes: Vec::new(),
            previous_hash: None,
            previous_at: None,
            level: 1,
            methods: vec!["pwd".to_owned()],
            client: None,
            impersonator: None,
        };
        let claims = json!({"plan": "pro", "n": [1, -2.5, {"a": null}]});
        let user = User { claims: claims.as_object().unwrap().clone(), ..User::default() };
        let id = SessionId::new("s").unwrap();
        let steps = vec![
            Step::Create(Box::new(user)),
            Step::StartSession { id, session: Box::new(session), is_single: false },
        ];
        let person = UserCommand { user: UserId::new("ann").unwrap(), steps };
        let public = json!({"kty": "OKP", "x": "y"}).as_object().unwrap().clone();
        let private = "sealed".to_owned();
        let key = ProjectCommand::AddSigningKey { id: "k".into(), public, private, is_first: true };
        let field = FieldConfig { personal: true, ..FieldConfig::default() };
        let config = CollectionConfig {
            fields: [("name".to_owned(), field)].into(),
            subject: Some("owner".to_owned()),
            ..CollectionConfig::default()
        };
        let collection = CollectionName::new("c").unwrap();
        let provider = Provider { client_id: "app".to_owned(), ..Provider::default() };
        let mut sign_in = Config::default();
        sign_in.providers.insert("google".to_owned(), provider);
        let auth = Auth {
            uid: UserId::new("ann").unwrap(),
            session: None,
            roles: vec!["editor".into()],
            groups: Vec::new(),
            claims: claims.as_object().unwrap().clone(),
            level: 2,
            methods: Vec::new(),
            email: None,
            email_verified: false,
            phone: None,
            is_anonymous: false,
            authenticated_at: at,
            impersonator: None,
        };
        for body in [
            Body::User(person),
            Body::Project(key),
            Body::Project(ProjectCommand::ConfigureCollection {
                collection,
                config: Box::new(config),
            }),
            Body::Project(ProjectCommand::ConfigureSignIn { config: Box::new(sign_in) }),
        ] {
            let access = Access::ByRules(Some(Box::new(auth.clone())));
            let command = Command { context: Context { access, ..context() }, body };
            let sent = encode_command(&command, Duration::ZERO).unwrap();
            assert_eq!(decode_command(&sent).unwrap().0, command);
        }
    }

    #[test]
    fn outcomes_arrive_as_they_were() {
        let position = Position { partition: PartitionId(3), offset: 18_421 };
        let recorded = Arc::new(Recorded { position, event: event() });
        let committed = Committed { events: vec![Arc::clone(&recorded)], replayed: true };
        let arrived = decode_outcome(&encode_outcome(&Ok(committed))).unwrap();
        assert_eq!((arrived.events, arrived.replayed), (vec![recorded], true));
        let reason = Reason::TooMany { what: "keys".into(), limit: 3 };
        let rejected = Rejected { reason, part: Some(Part::Write(2)) };
        let arrived = decode_outcome(&encode_outcome(&Err(Error::Rejected(rejected.clone()))));
        assert!(matches!(arrived, Err(Error::Rejected(one)) if one == rejected));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(decode_command(b"").is_err());
        assert!(decode_command(&[9, 1, 2]).is_err());
        assert!(decode_command(&[VERSION, 0xc1]).is_err());
        for bad in [&b""[..], &[VERSION], &[7], &[VERSION, 0xc1]] {
            assert!(matches!(decode_outcome(bad), Err(Error::OutcomeUnknown)));
        }
    }
}
