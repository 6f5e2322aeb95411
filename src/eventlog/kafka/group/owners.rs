//! Who owns what: asks the brokers for the group's members, each of which carries its address as
//! its client id. Knows nothing of this node's own membership.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::PartitionId;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use tokio::sync::Mutex;

use super::Timing;
use crate::Error;
use crate::kafka::health;
use crate::kafka::options::Options;

/// Between two questions while the group shares its partitions out anew.
const PAUSE: Duration = Duration::from_millis(50);

/// What is known of the owners.
pub(super) struct Owners {
    asker: Arc<Asker>,
    /// Held while the brokers are asked, so that many who want to know ask once.
    known: Mutex<Option<Known>>,
    timing: Timing,
}

struct Known {
    /// When the brokers were asked.
    asked: Instant,
    /// Or why they did not answer.
    nodes: Result<HashMap<PartitionId, String>, String>,
}

impl Owners {
    /// Errors: [`Error::Open`].
    pub(super) fn new(options: &Options, timing: Timing) -> Result<Self, Error> {
        let consumer = options
            .client()?
            .create_with_context::<_, BaseConsumer<_>>(Context)
            .map_err(|e| options.cannot_open(e.to_string()))?;
        let (group, topic) = (options.group.clone(), options.topic.clone());
        let asker = Arc::new(Asker { consumer, group, topic });
        Ok(Self { asker, known: Mutex::new(None), timing })
    }

    pub(super) fn asker(&self) -> Arc<Asker> {
        Arc::clone(&self.asker)
    }

    /// Errors: [`Error::Unreachable`].
    pub(super) async fn owner(
        &self,
        partition: PartitionId,
        fresh: bool,
    ) -> Result<Option<String>, Error> {
        let called = Instant::now();
        let mut known = self.known.lock().await;
        let will_do = known.as_ref().is_some_and(|known| {
            // Asked while this call waited for its turn: as fresh as can be.
            let is_recent = known.asked.elapsed() < self.timing.owners_age_max;
            known.asked >= called || (!fresh && is_recent && known.nodes.is_ok())
        });
        if !will_do {
            *known = Some(self.ask().await);
        }
        match known.as_ref().map(|known| &known.nodes) {
            Some(Ok(nodes)) => Ok(nodes.get(&partition).cloned()),
            Some(Err(why)) => Err(unreachable(why)),
            None => Ok(None),
        }
    }

    /// Asks until the group has settled.
    async fn ask(&self) -> Known {
        let deadline = Instant::now() + self.timing.reach_wait;
        loop {
            let asked = Instant::now();
            let (asker, wait) = (self.asker(), deadline.saturating_duration_since(asked));
            let answer = tokio::task::spawn_blocking(move || asker.ask(wait)).await;
            // What is told to those who waited meanwhile was learnt at the end of the wait.
            let failed = |why: String| Known { asked: Instant::now(), nodes: Err(why) };
            match answer {
                Ok(Ok(Some(nodes))) => return Known { asked, nodes: Ok(nodes) },
                Ok(Ok(None)) if Instant::now() + PAUSE < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(Ok(None)) => return failed("the nodes share the partitions out".to_owned()),
                Ok(Err(error)) => return failed(error.to_string()),
                Err(error) => return failed(error.to_string()),
            }
        }
    }
}

fn unreachable(reason: &str) -> Error {
    Error::Unreachable { reason: format!("who writes what is not known: {reason}") }
}

/// A client that only asks.
pub(super) struct Asker {
    consumer: BaseConsumer<Context>,
    group: String,
    topic: String,
}

impl Asker {
    /// Takes what the client has to tell, so that it does not heap up.
    pub(super) fn serve(&self) {
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    /// Who owns what; `None` while that changes. Blocks.
    fn ask(&self, wait: Duration) -> Result<Option<HashMap<PartitionId, String>>, KafkaError> {
        let groups = self.consumer.fetch_group_list(Some(&self.group), wait)?;
        let mut nodes = HashMap::new();
        let Some(group) = groups.groups().iter().find(|group| group.name() == self.group) else {
            return Ok(Some(nodes));
        };
        match group.state() {
            "Stable" => {}
            "Empty" | "Dead" => return Ok(Some(nodes)),
            _ => return Ok(None),
        }
        for member in group.members() {
            for partition in assigned(member.assignment().unwrap_or_default(), &self.topic) {
                nodes.insert(partition, member.client_id().to_owned());
            }
        }
        Ok(Some(nodes))
    }
}

/// The callbacks of that client: errors come back as answers.
struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        health::log(level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Context {}

/// The partitions of `topic` in a member's assignment, as the consumer protocol has it; those up
/// to where the bytes make no sense.
pub(super) fn assigned(bytes: &[u8], topic: &str) -> Vec<PartitionId> {
    let mut partitions = Vec::new();
    let _ = read_assignment(&mut Bytes(bytes), topic, &mut partitions);
    partitions
}

/// `int16 version, [topic string, [int32 partition]], bytes of the user`, numbers big-endian,
/// lengths of strings int16, of arrays int32.
fn read_assignment(bytes: &mut Bytes<'_>, wanted: &str, out: &mut Vec<PartitionId>) -> Option<()> {
    let _version = bytes.i16()?;
    for _ in 0..bytes.i32()? {
        let length = usize::try_from(bytes.i16()?).ok()?;
        let is_wanted = bytes.take(length)? == wanted.as_bytes();
        for _ in 0..bytes.i32()? {
            let partition = bytes.i32()?;
            if is_wanted {
                out.push(PartitionId(u32::try_from(partition).ok()?));
            }
        }
    }
    Some(())
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn i16(&mut self) -> Option<i16> {
        Some(i16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
}
