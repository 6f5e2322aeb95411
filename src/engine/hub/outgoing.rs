//! The frames that wait for one socket: bounded, filled by its subscriptions, emptied by its
//! connection. Lives on one thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::Options;

/// Frames are joined into chunks of about this size, each one system call of the connection.
const CHUNK_BYTES: usize = 64 << 10;

/// The queue of one socket.
pub struct Outgoing {
    frames: RefCell<VecDeque<Bytes>>,
    bytes: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    drained: Notify,
    /// Held by whoever holds many documents for the socket.
    turn: Mutex<()>,
    ended: Cell<bool>,
    frames_max: usize,
    bytes_max: usize,
}

/// The queue is full.
#[derive(Debug)]
pub(super) struct Full;

impl Outgoing {
    /// An empty queue.
    pub fn new(options: &Options) -> Rc<Self> {
        Rc::new(Self {
            frames: RefCell::new(VecDeque::new()),
            bytes: Cell::new(0),
            waker: RefCell::new(None),
            drained: Notify::new(),
            turn: Mutex::new(()),
            ended: Cell::new(false),
            frames_max: options.queue_frames_max,
            bytes_max: options.queue_bytes_max,
        })
    }

    /// Adds a frame of the shared fan-out, if there is room.
    pub(super) fn offer(&self, frame: &Bytes) -> Result<(), Full> {
        let full = self.frames.borrow().len() >= self.frames_max
            || self.bytes.get() + frame.len() > self.bytes_max;
        if full && self.bytes.get() > 0 {
            return Err(Full);
        }
        self.push(frame.clone());
        Ok(())
    }

    /// Adds a frame whatever is queued: for answers, of which there is one per request of the
    /// client, and for those who have waited for [`Outgoing::room`].
    pub fn push(&self, frame: Bytes) {
        if self.ended.get() {
            return;
        }
        self.bytes.set(self.bytes.get() + frame.len());
        self.frames.borrow_mut().push_back(frame);
        self.wake();
    }

    /// Waits until the queue is at most half full, or the socket has ended.
    pub async fn room(&self) {
        while !self.ended.get()
            && (self.frames.borrow().len() > self.frames_max / 2
                || self.bytes.get() > self.bytes_max / 2)
        {
            self.drained.notified().await;
        }
    }

    /// Waits for [`Outgoing::room`] and until no other subscription holds many documents for this
    /// socket: whoever collects some holds this from before that until they are queued.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        self.room().await;
        turn
    }

    /// Takes no more frames; the connection ends once those queued are sent.
    pub fn end(&self) {
        self.ended.set(true);
        self.wake();
        self.drained.notify_waiters();
    }

    /// Waits until the socket has ended.
    pub async fn closed(&self) {
        while !self.ended.get() {
            self.drained.notified().await;
        }
    }

    /// Whether [`Outgoing::end`] was called.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether far more waits than any subscription would queue: answers that nobody reads.
    pub fn is_overfull(&self) -> bool {
        self.bytes.get() > 4 * self.bytes_max || self.frames.borrow().len() > 4 * self.frames_max
    }

    /// Bytes that wait.
    pub fn queued_bytes(&self) -> usize {
        self.bytes.get()
    }

    /// The next frames, joined; `None` after the last one.
    pub fn poll_take(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut frames = self.frames.borrow_mut();
        let Some(first) = frames.pop_front() else {
            if self.ended.get() {
                return Poll::Ready(None);
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        };
        let fits = |joined: usize, next: Option<&Bytes>| {
            next.is_some_and(|next| joined + next.len() <= CHUNK_BYTES)
        };
        let chunk = if fits(first.len(), frames.front()) {
            let mut joined = BytesMut::with_capacity(self.bytes.get().min(CHUNK_BYTES));
            joined.extend_from_slice(&first);
            while fits(joined.len(), frames.front())
                && let Some(next) = frames.pop_front()
            {
                joined.extend_from_slice(&next);
            }
            joined.freeze()
        } else {
            first
        };
        if frames.is_empty() && frames.capacity() > 64 {
            // A burst must not leave every idle socket with a large empty queue.
            frames.shrink_to(8);
        }
        self.bytes.set(self.bytes.get() - chunk.len());
        self.drained.notify_waiters();
        Poll::Ready(Some(chunk))
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_at_a_time_has_its_turn_and_only_while_there_is_room() {
        let outgoing = Outgoing::new(&Options { queue_bytes_max: 8, ..Options::default() });
        let first = outgoing.turn().now_or_never();
        assert!(first.is_some() && outgoing.turn().now_or_never().is_none());
        drop(first);
        outgoing.push(Bytes::from_static(b"12345678"));
        assert!(outgoing.turn().now_or_never().is_none());
        let mut context = Context::from_waker(Waker::noop());
        assert!(outgoing.poll_take(&mut context).is_ready());
        assert!(outgoing.turn().now_or_never().is_some());
    }
}
