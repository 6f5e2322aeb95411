//! One thread's part of the hub: a tail of the log per partition, and the subscribers that live on
//! the thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Offset, PartitionId, ProjectId, partition_of};
use eventlog::{Read, ReadLimit};

use super::feed::{Feed, Subscription};
use super::group::Groups;
use super::watches::Watches;
use super::{Encoder, Interest, Outgoing};
use crate::Engine;
use crate::error::Error;

/// One read of the tail.
const TAIL: ReadLimit = ReadLimit { events_max: 1024, bytes_max: 1 << 20 };
/// Sleeps shorter than this are not worth a timer.
const PACE_MIN: Duration = Duration::from_millis(1);

/// A destroyed key opens nothing any more on any node after this long.
const KEYS_HELD: Duration = Duration::from_secs(6);
/// The longest that erasures, one after the other, put it off.
const ERASED_WAIT_MAX: Duration = Duration::from_secs(30);

/// How far the fan-out of one partition is.
#[derive(Default)]
pub(super) struct Tail {
    /// The next offset to fan out.
    pub(super) next: Cell<Offset>,
    /// Subscribers in the fan-out or on their way into it.
    pub(super) subscribers: Cell<usize>,
}

/// The hub's part for one thread.
pub struct Shard {
    pub(super) engine: Arc<Engine>,
    pub(super) groups: RefCell<Groups>,
    pub(super) watches: RefCell<Watches>,
    /// What windows and counts take in memory.
    pub(super) live_bytes: Cell<usize>,
    pub(super) tails: Vec<Tail>,
    next_id: Cell<u64>,
    /// Projects whose live queries are about to ask again, for somebody was erased: when.
    erased: RefCell<HashMap<ProjectId, Instant>>,
}

impl Shard {
    /// Makes the shard of this thread and starts its tails, as local tasks of the current
    /// `LocalSet`.
    pub fn start(engine: Arc<Engine>) -> Rc<Self> {
        let tails: Vec<Tail> = engine.partitions.iter().map(|_| Tail::default()).collect();
        for (tail, partition) in tails.iter().zip(&engine.partitions) {
            tail.next.set(partition.applied());
        }
        let shard = Rc::new(Self {
            engine,
            groups: RefCell::default(),
            watches: RefCell::default(),
            live_bytes: Cell::new(0),
            tails,
            next_id: Cell::new(0),
            erased: RefCell::default(),
        });
        for partition in 0..shard.tails.len() {
            tokio::task::spawn_local(Rc::clone(&shard).follow(partition));
        }
        shard
    }

    /// Starts a subscription that feeds `outgoing` until the handle is dropped.
    pub fn subscribe(
        self: &Rc<Self>,
        interest: Interest,
        outgoing: Rc<Outgoing>,
        encoder: Rc<dyn Encoder>,
    ) -> Subscription {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        Feed::start(Rc::clone(self), id, interest, outgoing, encoder)
    }

    /// Fans one partition out, for as long as the engine runs. Follows what was applied and not the
    /// log's end: where this node writes the partition, the tables show that much already. Where
    /// another does, it is what was read of the log, and the tables may follow a moment later.
    async fn follow(self: Rc<Self>, index: usize) {
        let partition = Arc::clone(&self.engine.partitions[index]);
        let mut applied = partition.watch_applied();
        // What was applied before this task ran for the first time is news, too.
        applied.mark_changed();
        while applied.changed().await.is_ok() {
            loop {
                let (tail, end) = (&self.tails[index], *applied.borrow_and_update());
                if tail.subscribers.get() == 0 {
                    tail.next.set(end);
                }
                if tail.next.get() >= end {
                    break;
                }
                let round = Instant::now();
                let pushed = match self.read(partition.id, tail.next.get(), end).await {
                    Ok(read) => self.dispatch(tail, &read, end),
                    Err(error) => {
                        tracing::error!(partition = %partition.id, %error, "can't read the tail");
                        // Each subscriber finds out for itself what it can still get.
                        let count = self.engine.partitions.len() as u32;
                        let here =
                            |project: &ProjectId| partition_of(project, count) == partition.id;
                        self.groups.borrow_mut().put_out(here, tail.next.get());
                        self.watches.borrow().put_out(partition.id, tail.next.get());
                        tail.next.set(end);
                        0
                    }
                };
                self.pace(round, pushed).await;
            }
        }
    }

    /// Reads on, and opens what is sealed.
    async fn read(&self, partition: PartitionId, from: Offset, end: Offset) -> Result<Read, Error> {
        let mut read = self.engine.log.read(partition, from, TAIL).await?;
        for event in read.events.iter_mut().take_while(|one| one.position.offset < end) {
            *event = self.engine.personal.open_event(event).await?;
        }
        Ok(read)
    }

    /// No await in here: the groups and the tail's place move together.
    fn dispatch(self: &Rc<Self>, tail: &Tail, read: &Read, end: Offset) -> usize {
        let (mut groups, mut watches) = (self.groups.borrow_mut(), self.watches.borrow_mut());
        let (mut frames, mut fallen) = (0, 0);
        for recorded in read.events.iter().take_while(|one| one.position.offset < end) {
            if recorded.event.kind == domain::users::DELETED && watches.has(&recorded.event.project)
            {
                self.note_erased(&recorded.event.project);
            }
            // What it was may read as `null` by now, whatever a live query knows of it.
            let is_certain = !self.engine.personal.may_have_sealed(&recorded.event);
            let told = (&**recorded, is_certain);
            for pushed in [groups.dispatch(told), watches.dispatch(told)] {
                frames += pushed.frames;
                fallen += pushed.fallen;
            }
        }
        // Also past what does not count.
        tail.next.set(read.next.min(end).max(tail.next.get()));
        let metrics = &self.engine.metrics;
        metrics.hub_events.inc_by(read.events.len() as u64);
        metrics.hub_frames.inc_by(frames as u64);
        metrics.socket_resync.inc_by(fallen as u64);
        frames
    }

    /// Lets live queries ask again once no node holds the key of who was erased. Those who are
    /// erased meanwhile put it off.
    fn note_erased(self: &Rc<Self>, project: &ProjectId) {
        let is_first = self.erased.borrow_mut().insert(project.clone(), Instant::now()).is_none();
        if is_first {
            let (shard, project) = (Rc::clone(self), project.clone());
            tokio::task::spawn_local(async move { shard.after_erasure(&project).await });
        }
    }

    async fn after_erasure(&self, project: &ProjectId) {
        let mut begun = Instant::now();
        loop {
            let last = self.erased.borrow().get(project).copied();
            let Some(last) = last else { return };
            let is_over = last.elapsed() >= KEYS_HELD;
            if !is_over && begun.elapsed() < ERASED_WAIT_MAX {
                tokio::time::sleep_until((last + KEYS_HELD).into()).await;
                continue;
            }
            if let Some(personal) = self.engine.personal.by_collection(project) {
                self.watches.borrow().ask_again(project, &personal);
            }
            if is_over {
                self.erased.borrow_mut().remove(project);
            }
            begun = Instant::now();
        }
    }

    async fn pace(&self, round: Instant, pushed: usize) {
        let options = &self.engine.options.hub;
        let pushed = u32::try_from(pushed).unwrap_or(u32::MAX);
        let pause = options.pace_each.saturating_mul(pushed).min(options.pace_max);
        if pause >= PACE_MIN {
            tokio::time::sleep_until((round + pause).into()).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}
