//! The member itself: a thread that polls, and what it shares with those who ask. It is assigned
//! nothing within the client, whatever the group says, so that no data ever flows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::PartitionId;
use parking_lot::{Condvar, Mutex};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::watch;

use super::Timing;
use super::owners::Asker;
use crate::Error;
use crate::kafka::health;
use crate::kafka::options::Options;

/// How long one poll waits: how soon a wish to leave is seen.
const POLL: Duration = Duration::from_millis(50);
/// Before the group is joined anew with a new client, because the old one is beyond repair.
const PAUSE: Duration = Duration::from_secs(1);

/// Beyond the time for releasing, how long a node that leaves waits for its last word to arrive.
const GOODBYE: Duration = Duration::from_secs(1);
/// Where a member stands still for so long when it leaves, the brokers don't answer.
const LAST_POLLS: u32 = 20;

/// What the thread and those who ask share.
pub(super) struct Shared {
    assigned: watch::Sender<BTreeSet<PartitionId>>,
    left: watch::Sender<bool>,
    state: Mutex<State>,
    /// Something was released, or this node wants to leave.
    changed: Condvar,
    timing: Timing,
}

struct State {
    /// What the group has given to this node and not taken back.
    granted: BTreeSet<PartitionId>,
    /// Left the set and not released yet.
    held: BTreeSet<PartitionId>,
    leaving: bool,
    /// When whoever waits for this node to have left goes on without.
    leave_by: Option<Instant>,
    joined: bool,
    /// Since when it is, or isn't.
    since: Instant,
    last_error: Option<String>,
}

impl Shared {
    pub(super) fn new(timing: Timing) -> Self {
        let state = State {
            granted: BTreeSet::new(),
            held: BTreeSet::new(),
            leaving: false,
            leave_by: None,
            joined: false,
            since: Instant::now(),
            last_error: None,
        };
        Self {
            assigned: watch::Sender::new(BTreeSet::new()),
            left: watch::Sender::new(false),
            state: Mutex::new(state),
            changed: Condvar::new(),
            timing,
        }
    }

    pub(super) fn assigned(&self) -> watch::Receiver<BTreeSet<PartitionId>> {
        self.assigned.subscribe()
    }

    pub(super) fn released(&self, partition: PartitionId) {
        self.state.lock().held.remove(&partition);
        self.changed.notify_all();
    }

    pub(super) fn start_leaving(&self) {
        let mut state = self.state.lock();
        state.leaving = true;
        state.leave_by.get_or_insert(Instant::now() + self.timing.release_wait + GOODBYE);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until this node has left, or should have: asked again, it does not wait anew.
    pub(super) async fn left(&self) {
        let mut left = self.left.subscribe();
        let by = self.state.lock().leave_by.unwrap_or_else(Instant::now);
        // The last word to the brokers may not get through; then they find out by themselves.
        let _ = tokio::time::timeout_at(by.into(), left.wait_for(|left| *left)).await;
    }

    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state.lock();
        let out = state.since.elapsed();
        let expected = state.leaving || state.joined;
        if expected || (state.last_error.is_none() && out < self.timing.session) {
            return None;
        }
        let why = state.last_error.as_deref().unwrap_or("the brokers have not answered yet");
        Some(format!("not in the group of writers for {} s: {why}", out.as_secs()))
    }

    fn is_leaving(&self) -> bool {
        self.state.lock().leaving
    }

    fn failed(&self, why: String) {
        tracing::debug!(error = why, "the group of writers reports an error");
        self.state.lock().last_error = Some(why);
    }

    fn joined(&self, joined: bool) {
        let mut state = self.state.lock();
        if state.joined != joined {
            (state.joined, state.since) = (joined, Instant::now());
        }
        if joined {
            state.last_error = None;
        }
    }

    fn add(&self, partitions: &BTreeSet<PartitionId>) {
        self.joined(true);
        let mut state = self.state.lock();
        state.granted.extend(partitions);
        if state.leaving || partitions.is_empty() {
            return;
        }
        state.held.retain(|held| !partitions.contains(held));
        self.assigned.send_modify(|assigned| assigned.extend(partitions));
    }

    /// Takes partitions out of the set and waits until all are released, or for too long.
    fn pass_on(&self, partitions: &BTreeSet<PartitionId>) {
        let mut state = self.state.lock();
        let before = self.assigned.borrow().clone();
        let leaving: BTreeSet<_> = before.intersection(partitions).copied().collect();
        if leaving.is_empty() {
            return;
        }
        // Where nobody watches the set, nobody writes.
        if self.assigned.receiver_count() > 0 {
            state.held.extend(&leaving);
        }
        self.assigned.send_modify(|assigned| assigned.retain(|one| !leaving.contains(one)));
        let deadline = Instant::now() + self.timing.release_wait;
        while !state.held.is_disjoint(&leaving) {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        let late: Vec<u32> = state.held.intersection(&leaving).map(|one| one.0).collect();
        if !late.is_empty() {
            tracing::warn!(partitions = ?late, "passed on although not released in time");
        }
        state.held.retain(|held| !leaving.contains(held));
    }

    /// Takes partitions out of the set that others may already have.
    fn lose(&self, partitions: &BTreeSet<PartitionId>, why: &str) {
        self.joined(false);
        self.state.lock().last_error = Some(why.to_owned());
        if !partitions.is_empty() {
            tracing::warn!(why, ?partitions, "fell out of the group of writers");
            self.assigned.send_modify(|assigned| assigned.retain(|one| !partitions.contains(one)));
        }
    }

    fn pause(&self, duration: Duration) {
        let mut state = self.state.lock();
        let deadline = Instant::now() + duration;
        while !state.leaving && !self.changed.wait_until(&mut state, deadline).timed_out() {}
    }
}

/// What the thread runs.
pub(super) struct Member {
    config: ClientConfig,
    topic: String,
    /// Whether it wants partitions.
    joins: bool,
    shared: Arc<Shared>,
    asker: Arc<Asker>,
}

impl Member {
    /// Starts the thread.
    ///
    /// Errors: [`Error::Open`].
    pub(super) fn start(
        options: &Options,
        timing: Timing,
        joins: bool,
        shared: Arc<Shared>,
        asker: Arc<Asker>,
    ) -> Result<(), Error> {
        let millis = |duration: Duration| duration.as_millis().to_string();
        // A thread that hangs in the hand-over is not to be thrown out for it.
        let poll_max = (timing.session + timing.release_wait * 2).max(Duration::from_secs(30));
        let mut config = options.client()?;
        config
            .set("client.id", &options.advertise)
            .set("group.id", &options.group)
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(timing.session))
            .set("heartbeat.interval.ms", millis(timing.heartbeat))
            .set("max.poll.interval.ms", millis(poll_max))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        let member = Self { config, topic: options.topic.clone(), joins, shared, asker };
        // Without a wish to join, nothing is missing.
        member.shared.joined(!joins);
        let first = member.consumer().map_err(|e| options.cannot_open(e.to_string()))?;
        std::thread::Builder::new()
            .name("kafka-group".to_owned())
            .spawn(move || member.run(first))
            .map(drop)
            .map_err(|source| Error::Io { what: "start a thread".to_owned(), source })
    }

    fn consumer(&self) -> KafkaResult<BaseConsumer<Context>> {
        let context = Context { shared: Arc::clone(&self.shared) };
        let consumer = self.config.create_with_context::<_, BaseConsumer<_>>(context)?;
        if self.joins {
            consumer.subscribe(&[&self.topic])?;
        }
        Ok(consumer)
    }

    fn run(self, first: BaseConsumer<Context>) {
        let mut consumer = Some(first);
        loop {
            if let Some(consumer) = consumer.take() {
                self.serve(&consumer);
                // Dropped here: that says goodbye to the brokers.
            }
            let all = self.shared.assigned.borrow().clone();
            if self.shared.is_leaving() {
                break;
            }
            self.shared.lose(&all, "the client has failed");
            self.shared.pause(PAUSE);
            match self.consumer() {
                Ok(new) => consumer = Some(new),
                Err(error) => self.shared.failed(error.to_string()),
            }
        }
        self.shared.left.send_replace(true);
    }

    /// Polls until this node wants to leave or the client is beyond repair.
    fn serve(&self, consumer: &BaseConsumer<Context>) {
        while !self.shared.is_leaving() {
            self.asker.serve();
            // Asks nothing: it wakes the client's own thread, which otherwise looks only twice a
            // second whether a heartbeat is due.
            let _ = consumer.subscription();
            match consumer.poll(POLL) {
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    self.shared.failed(code.to_string());
                    return;
                }
                Some(Err(error)) => self.shared.failed(error.to_string()),
                // Never an event: nothing is assigned.
                Some(Ok(_)) | None => {}
            }
        }
        let all = self.shared.assigned.borrow().clone();
        self.shared.pass_on(&all);
        self.shared.joined(false);
        // Closing alone would not do: a member that has no partitions is then not signed off, and
        // those who share out anew wait for it until its session ends.
        consumer.unsubscribe();
        for _ in 0..LAST_POLLS {
            if self.shared.state.lock().granted.is_empty() {
                break;
            }
            let _ = consumer.poll(POLL);
        }
    }
}

/// The callbacks of the member's client.
struct Context {
    shared: Arc<Shared>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        health::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.shared.failed(format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Context {
    /// Tells what the group has decided. The client itself is assigned nothing and has nothing to
    /// give back, but must be told so before it goes on.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let named = partitions.elements();
        let named = named.iter().filter_map(|one| u32::try_from(one.partition()).ok());
        let partitions: BTreeSet<PartitionId> = named.map(PartitionId).collect();
        let nothing = TopicPartitionList::new();
        let done = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(?partitions, "the group of writers assigns partitions");
            self.shared.add(&partitions);
            consumer.incremental_assign(&nothing)
        } else {
            if consumer.assignment_lost() {
                self.shared.lose(&partitions, "the brokers have not heard of this node in time");
            } else {
                tracing::info!(?partitions, "the group of writers takes partitions back");
                self.shared.pass_on(&partitions);
            }
            self.shared.state.lock().granted.retain(|one| !partitions.contains(one));
            consumer.incremental_unassign(&nothing)
        };
        if let Err(error) = done {
            tracing::error!(%error, "the group of writers can't go on");
            self.shared.failed(error.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The brokers answer nothing here, for there is no thread that asks them.
    #[tokio::test]
    async fn leaving_is_waited_for_once_and_not_for_long() {
        let release_wait = Duration::from_millis(100);
        let shared = Shared::new(Timing { release_wait, ..Timing::default() });
        shared.start_leaving();
        let begun = Instant::now();
        shared.left().await;
        let took = begun.elapsed();
        assert!(took > release_wait && took < GOODBYE * 3, "{took:?}");
        // A server that stops leaves first at the signal, and again when all is closed.
        shared.start_leaving();
        let again = Instant::now();
        shared.left().await;
        assert!(again.elapsed() < GOODBYE / 2, "{:?}", again.elapsed());
    }
}
