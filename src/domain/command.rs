//! A command: a request that may be refused, with everything its decision needs but the current
//! state. Nodes hand commands to each other, so all of it can be serialised.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::Access;
use crate::actor::Actor;
use crate::documents::{ReadCheck, Write};
use crate::ids::ProjectId;
use crate::projects::ProjectCommand;
use crate::users::UserCommand;

/// The namespace of event ids that derive from an idempotency key (UUIDv5, RFC 9562 §5.5).
const IDEMPOTENCY_NAMESPACE: Uuid = Uuid::from_u128(0x6f0f_2f5c_7f0b_5c0e_9d5b_1a5f_3c8e_7a21);

/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Names the event at `index` of what a client asked for under its idempotency key.
pub fn event_id_for_key(project: &ProjectId, key: &str, index: usize) -> Uuid {
    // NUL can stand in neither part, so no two different triples give one name.
    let name = format!("{project}\0{key}\0{index}");
    Uuid::new_v5(&IDEMPOTENCY_NAMESPACE, name.as_bytes())
}

/// Who asks, in which conversation, and under which name for a repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Whose data.
    pub project: ProjectId,
    /// Who asks.
    pub actor: Actor,
    /// Whether access rules are to be asked, and what they see of who asks.
    pub access: Access,
    /// Names the conversation.
    pub correlation_id: CompactString,
    /// The event that caused the request, if one did.
    pub causation_id: Option<Uuid>,
    /// The depth of the events to come.
    pub depth: u16,
    /// W3C Trace Context of the request.
    pub traceparent: Option<CompactString>,
    /// What a repeat is told by.
    pub idempotency: Option<Idempotency>,
}

/// A client's name for one intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The client's key.
    pub key: CompactString,
    /// Hash of method, path and body: the same key with another request is refused.
    pub fingerprint: u64,
}

/// A request that may be refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Who and whence.
    pub context: Context,
    /// What.
    pub body: Body,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "a configuration is large, and rare")]
pub enum Body {
    /// Change the project's configuration.
    Project(ProjectCommand),
    /// Write documents, all or none. One write makes a plain event, several make a transaction.
    Documents {
        /// In order; a later write sees an earlier one.
        writes: Vec<Write>,
        /// Versions that must still hold.
        reads: Vec<ReadCheck>,
    },
    /// Change a user, or its sessions.
    User(UserCommand),
    /// Append events of an exported project as they are (ids, times and data), after what is
    /// there.
    Import(Vec<Imported>),
}

/// One event of an export, taken over with its own id, time, actor and causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The event; its project, epoch and transaction are set anew.
    pub event: crate::event::Event,
}

impl Command {
    /// Bytes that the command takes in a queue, near enough for limits.
    pub fn weight(&self) -> usize {
        512 + match &self.body {
            Body::Project(_) => 1024,
            Body::User(_) => 4096,
            Body::Documents { writes, .. } => {
                writes.iter().map(|write| 256 + write.op.bytes()).sum()
            }
            Body::Import(events) => events.iter().map(|one| one.event.weight()).sum(),
        }
    }
}
