//! Lets messages wait in memory until they are sent, so that no request waits for a mail server.
//! Bounded in all and by project: one whose mail server hangs can't hold up the others. What still
//! waits when the process ends is lost; whoever waits for it asks again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::ProjectId;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::{Error, Letter, Outgoing};

/// Messages that may wait, of all projects.
const ALL_MAX: usize = 1000;
/// Messages that may wait, of one project.
const OF_PROJECT_MAX: usize = 250;
/// Text that may wait, of all projects, in KiB.
const KIB_MAX: usize = 64 * 1024;
/// Messages that are being sent at the same time.
const SENDING_MAX: usize = 16;
/// The same, of one project.
const SENDING_OF_PROJECT_MAX: usize = 4;
/// How long to wait before each further try.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

/// Who brings messages on their way.
#[async_trait]
pub trait Deliver: Send + Sync + 'static {
    /// Sends one, within a time of its own. May be called again with the same if the error is
    /// passing.
    async fn deliver(&self, outgoing: &Outgoing) -> Result<(), Error>;
}

/// What became of messages since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Sent, or kept in the inbox.
    pub sent: AtomicU64,
    /// Given up after the last try, or for good.
    pub failed: AtomicU64,
    /// Further tries.
    pub retried: AtomicU64,
    /// Not taken, for there was no room, or lost at the end.
    pub dropped: AtomicU64,
}

/// The queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    courier: Arc<dyn Deliver>,
    runtime: Handle,
    pauses: [Duration; 3],
    places: Arc<Semaphore>,
    room: Arc<Semaphore>,
    sending: Semaphore,
    lanes: Mutex<HashMap<ProjectId, Arc<Lane>>>,
    counts: Counts,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Takes no more.
    Closing,
    /// Drops what waits.
    Closed,
}

struct Lane {
    places: Arc<Semaphore>,
    sending: Semaphore,
}

impl Queue {
    /// A queue before `courier`. Must be called within the runtime that is to do the sending; it
    /// has to live as long as the queue does.
    pub fn new(courier: Arc<dyn Deliver>) -> Self {
        Self::with_pauses(courier, PAUSES)
    }

    fn with_pauses(courier: Arc<dyn Deliver>, pauses: [Duration; 3]) -> Self {
        let inner = Inner {
            courier,
            runtime: Handle::current(),
            pauses,
            places: Arc::new(Semaphore::new(ALL_MAX)),
            room: Arc::new(Semaphore::new(KIB_MAX)),
            sending: Semaphore::new(SENDING_MAX),
            lanes: Mutex::default(),
            counts: Counts::default(),
            state: watch::Sender::new(State::Open),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes a message; it is sent later, with up to three further tries after 1, 5 and 25 s where
    /// the error is passing. [`Error::Busy`] if 1,000 or 64 MiB wait, or 250 of the project;
    /// [`Error::Closed`] after [`Queue::close`].
    pub fn push(&self, outgoing: Outgoing) -> Result<(), Error> {
        let taken = self.inner.take(&outgoing.letter);
        let (lane, places) = taken.inspect_err(|_| Inner::count(&self.inner.counts.dropped))?;
        let inner = Arc::clone(&self.inner);
        self.inner.runtime.spawn(async move {
            let mut state = inner.state.subscribe();
            tokio::select! {
                () = inner.bring(&lane, &outgoing) => {}
                _ = state.wait_for(|state| *state == State::Closed) => {
                    Inner::count(&inner.counts.dropped);
                }
            }
            inner.leave(&outgoing.letter.project, lane, places);
        });
        Ok(())
    }

    /// What became of messages so far.
    pub fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    /// How many wait or are being sent.
    pub fn waiting(&self) -> usize {
        ALL_MAX - self.inner.places.available_permits()
    }

    /// Takes no more, gives those that wait up to `wait` to be sent, and drops the rest.
    pub async fn close(&self, wait: Duration) {
        self.inner.state.send_replace(State::Closing);
        let all = u32::try_from(ALL_MAX).unwrap_or(u32::MAX);
        let _ = timeout(wait, self.inner.places.acquire_many(all)).await;
        self.inner.state.send_replace(State::Closed);
        // Those that were stopped still have to say so.
        let _ = timeout(Duration::from_secs(1), self.inner.places.acquire_many(all)).await;
    }
}

type Places = [OwnedSemaphorePermit; 3];

impl Inner {
    fn take(&self, letter: &Letter) -> Result<(Arc<Lane>, Places), Error> {
        if *self.state.borrow() != State::Open {
            return Err(Error::Closed);
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Error::Busy)?;
        let kib = u32::try_from(letter.weight() / 1024 + 1).map_err(|_| Error::Busy)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(kib).map_err(|_| Error::Busy)?;
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(letter.project.clone()).or_insert_with(|| {
            let places = Arc::new(Semaphore::new(OF_PROJECT_MAX));
            Arc::new(Lane { places, sending: Semaphore::new(SENDING_OF_PROJECT_MAX) })
        });
        let lane = Arc::clone(lane);
        let of_project = Arc::clone(&lane.places).try_acquire_owned().map_err(|_| Error::Busy)?;
        Ok((lane, [place, room, of_project]))
    }

    /// Gives the places back, and forgets the lane of a project that has nothing waiting.
    fn leave(&self, project: &ProjectId, lane: Arc<Lane>, places: Places) {
        let mut lanes = self.lanes.lock();
        drop(places);
        if lane.places.available_permits() == OF_PROJECT_MAX {
            lanes.remove(project);
        }
    }

    async fn bring(&self, lane: &Lane, outgoing: &Outgoing) {
        let mut pauses = self.pauses.iter();
        loop {
            let Err(error) = self.attempt(lane, outgoing).await else {
                return Self::count(&self.counts.sent);
            };
            let pause = pauses.next().filter(|_| error.is_passing());
            let Some(pause) = pause else {
                let letter = &outgoing.letter;
                let (project, kind) = (letter.project.as_str(), letter.kind.as_str());
                tracing::warn!(project.id = project, kind, %error, "message not sent");
                return Self::count(&self.counts.failed);
            };
            Self::count(&self.counts.retried);
            sleep(*pause).await;
        }
    }

    async fn attempt(&self, lane: &Lane, outgoing: &Outgoing) -> Result<(), Error> {
        let _of_project = lane.sending.acquire().await.map_err(|_| Error::Closed)?;
        let _of_all = self.sending.acquire().await.map_err(|_| Error::Closed)?;
        self.courier.deliver(outgoing).await
    }

    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
