//! One live query of a shard: its answer, kept once for all who asked the same and see the same.
//! It is a place in the log that moves on, as a subscriber is: part of the fan-out while it is
//! level with it; where something must be read first, it does that at its own pace, from the
//! tables as of a position and from the log after that. What its members hold is its answer, or
//! they have fallen out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::documents::DocumentEvent;
use domain::{DocumentId, Offset, Position, ProjectId, Recorded};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::change::{Change, ChangeKind};
use super::circles::{Circles, frame};
use super::eye::Eye;
use super::feed::CATCH_UP;
use super::group::{Member, Pushed};
use super::live::{Live, News, Taken};
use super::shard::{Shard, Tail};
use super::window::Window;
use super::{Encoder, Shape, Target};
use crate::access::{Loaded, Sight};
use crate::error::Error;
use crate::partition::Partition;
use crate::queries::{From, Paging, Wanted};
use crate::read::Document;

/// After asking the tables it rests, for this many times as long as that took: they are asked for
/// others, too. What happens meanwhile comes at once then.
const REST_TIMES: u32 = 2;
const REST_MIN: Duration = Duration::from_millis(2);
/// How often it waits for tables that are behind the log.
const WAITS_MAX: usize = 5;
/// Between two looks at how far the fan-out is.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A live query with its members.
pub(super) struct Watch {
    shard: Rc<Shard>,
    pub(super) project: ProjectId,
    pub(super) target: Target,
    pub(super) eye: Eye,
    pub(super) partition: Arc<Partition>,
    /// `None` before the first load.
    live: RefCell<Option<Live>>,
    /// The answer is as of just before this, or when it is level, of where the fan-out is.
    next: Cell<Offset>,
    is_level: Cell<bool>,
    /// Whether the tables must be asked, and what they must hold then.
    load_from: Cell<Option<Offset>>,
    circles: RefCell<Circles>,
    /// Feeds that have it.
    pub(super) users: Cell<usize>,
    weight: Cell<usize>,
    /// It has an answer, or has failed.
    moved: Notify,
    /// It is no longer level.
    behind: Notify,
    failed: RefCell<Option<Error>>,
    pub(super) task: Cell<Option<AbortHandle>>,
}

impl Watch {
    pub(super) fn new(shard: &Rc<Shard>, project: &ProjectId, target: &Target, eye: &Eye) -> Self {
        Self {
            shard: Rc::clone(shard),
            project: project.clone(),
            target: target.clone(),
            eye: eye.clone(),
            partition: Arc::clone(shard.engine.partition(project)),
            live: RefCell::default(),
            next: Cell::new(0),
            is_level: Cell::new(false),
            load_from: Cell::new(Some(0)),
            circles: RefCell::default(),
            users: Cell::new(0),
            weight: Cell::new(0),
            moved: Notify::new(),
            behind: Notify::new(),
            failed: RefCell::default(),
            task: Cell::default(),
        }
    }

    /// Whether it answers the same question with the same sight.
    pub(super) fn is_of(&self, target: &Target, eye: &Eye) -> bool {
        self.target == *target && self.eye.sees_as(eye)
    }

    fn tail(&self) -> &Tail {
        &self.shard.tails[self.partition.id.0 as usize]
    }

    /// The answer is as of just before this.
    fn reached(&self) -> Offset {
        match self.is_level.get() {
            true => self.next.get().max(self.tail().next.get()),
            false => self.next.get(),
        }
    }

    fn position(&self, next: Offset) -> Position {
        Position { partition: self.partition.id, offset: next.saturating_sub(1) }
    }

    /// Why it has ended.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failed.borrow().clone()
    }

    /// Keeps the answer until nobody has it any more, or it can't be kept.
    pub(super) async fn run(self: Rc<Self>) {
        if let Err(error) = self.keep().await {
            tracing::debug!(project.id = %self.project, %error, "a live query ended");
            *self.failed.borrow_mut() = Some(error);
            self.shard.watches.borrow_mut().forget(&self);
            self.release();
            self.moved.notify_waiters();
            self.circles.take().fall(self.next.get());
        }
    }

    /// Returns only by an error.
    async fn keep(&self) -> Result<(), Error> {
        let mut rest = None;
        loop {
            if let Some(from) = self.load_from.take() {
                if let Some(until) = rest {
                    tokio::time::sleep_until(until).await;
                }
                let begun = Instant::now();
                self.load(from).await?;
                let pause = (begun.elapsed() * REST_TIMES).max(REST_MIN);
                rest = Some((Instant::now() + pause).into());
            }
            match self.catch_up().await {
                Ok(()) => {}
                // Retention overtook it.
                Err(Error::Trimmed { .. }) => self.load_from.set(Some(self.next.get())),
                Err(error) => return Err(error),
            }
            if self.load_from.get().is_some() {
                continue;
            }
            // Nothing is awaited between the last look at the tail and this.
            self.is_level.set(true);
            self.moved.notify_waiters();
            self.behind.notified().await;
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
        }
    }

    /// Takes the answer from the tables, with every event before `from` in it.
    async fn load(&self, from: Offset) -> Result<(), Error> {
        let engine = &self.shard.engine;
        let mut waits = 0;
        let (live, position) = loop {
            let (live, position) = self.ask().await?;
            if position.offset + 1 >= from {
                break (live, position);
            }
            waits += 1;
            if waits > WAITS_MAX {
                return Err(Error::StaleRead { position: self.position(from) });
            }
            let until = Instant::now() + engine.options.read_wait_max;
            self.partition.wait_stored(from, until).await?;
        };
        let news = self.live.borrow().as_ref().and_then(|earlier| live.since(earlier));
        *self.live.borrow_mut() = Some(live);
        let before = self.next.replace(position.offset + 1);
        if before > 0 {
            engine.metrics.live_refills.inc();
        }
        self.weigh();
        // One that runs already goes on.
        if before == 0 && self.shard.live_bytes.get() > engine.options.hub.live_bytes_max {
            return Err(Error::LiveFull);
        }
        if let Some(news) = news {
            self.count(&self.push(&news, (position, None), before));
        }
        self.moved.notify_waiters();
        Ok(())
    }

    async fn ask(&self) -> Result<(Live, Position), Error> {
        let engine = &self.shard.engine;
        let filter = self.eye.filter.as_deref();
        let (project, collection) = (&self.project, self.target.collection());
        let wanted = Wanted { project, collection, viewer: &self.eye.viewer, filter, as_of: None };
        let Shape::First(order, limit) = self.target.shape() else {
            let (ids, position) = engine.ids(wanted).await?;
            return Ok((Live::Count(ids, engine.options.query_documents_max), position));
        };
        let count = Window::wanted(*limit);
        let paging =
            |is_counted| Paging { order, from: From::Start, limit: count, count: is_counted };
        let mut page = engine.page(wanted, paging(false)).await?;
        if order.is_by_id() && page.next.is_some() && page.documents.len() < *limit {
            // A page by id that ends early does not say what is behind it. Who counts looks at all.
            page = engine.page(wanted, paging(true)).await?;
        }
        let is_all = page.next.is_none();
        let window = Window::new(Arc::clone(order), *limit, page.documents, is_all);
        let window = window.map_err(|_| Error::WindowTooLarge)?;
        Ok((Live::Window(window), page.position))
    }

    /// Takes what the log has from its place on, until the fan-out would go on just there, or the
    /// tables must be asked.
    async fn catch_up(&self) -> Result<(), Error> {
        while self.next.get() < self.tail().next.get() && self.load_from.get().is_none() {
            let (next, until) = (self.next.get(), self.tail().next.get());
            let engine = &self.shard.engine;
            let read = engine.log.read(self.partition.id, next, CATCH_UP).await?;
            for recorded in read.events.iter().take_while(|one| one.position.offset < until) {
                let event = &recorded.event;
                if event.project != self.project || !self.target.takes(event.stream.as_str()) {
                    continue;
                }
                let recorded = engine.personal.open_event(recorded).await?;
                let (document, body) = Document::of(&recorded)?;
                let id = document.id.clone();
                let after = match body {
                    DocumentEvent::Deleted { .. } => None,
                    _ => self.see(document).await?,
                };
                let pushed = self.take(&id, after, &recorded)?;
                self.count(&pushed);
                if self.load_from.get().is_some() {
                    return Ok(());
                }
            }
            self.next.set(read.next.min(until).max(self.next.get()));
        }
        Ok(())
    }

    async fn see(&self, document: Document) -> Result<Option<Document>, Error> {
        let tables = self.partition.documents();
        let others = self.shard.engine.others(&*tables, &self.project);
        let seen = self.eye.viewer.see(&others, document).await?;
        Ok(seen.filter(|seen| self.eye.wants(seen)))
    }

    /// Shows it an event of the fan-out.
    pub(super) fn show(
        &self,
        recorded: &Recorded,
        Change { kind, document, .. }: &Change,
    ) -> Pushed {
        let offset = recorded.position.offset;
        if !self.is_level.get() || offset < self.next.get() {
            return Pushed::default();
        }
        let after = match kind {
            ChangeKind::Removed => None,
            ChangeKind::Added | ChangeKind::Modified => {
                match self.eye.look(document.clone(), &Loaded::default()) {
                    Sight::Seen(document) => Some(document),
                    Sight::Hidden => None,
                    Sight::Needs(_) => {
                        // There is no waiting in here: it looks for itself, from this event on.
                        self.put_out(offset);
                        return Pushed::default();
                    }
                }
            }
        };
        let pushed = self.take(&document.id, after, recorded).unwrap_or_else(|error| {
            *self.failed.borrow_mut() = Some(error);
            self.put_out(offset);
            Pushed::default()
        });
        if self.load_from.get().is_some() {
            self.put_out(offset);
        }
        pushed
    }

    /// Puts it out of the fan-out: `at` is the first event that it did not get.
    pub(super) fn put_out(&self, at: Offset) {
        if self.is_level.replace(false) {
            self.next.set(self.next.get().max(at));
            self.behind.notify_one();
        }
    }

    /// Asks the tables anew: they may show less than they did, without an event that says what.
    pub(super) fn ask_again(&self) {
        let from = self.reached();
        self.load_from.set(Some(from));
        self.put_out(from);
    }

    /// Takes what a document has become by an event, unless the tables must be asked.
    fn take(
        &self,
        id: &DocumentId,
        after: Option<Document>,
        recorded: &Recorded,
    ) -> Result<Pushed, Error> {
        let position = recorded.position;
        let taken = match &mut *self.live.borrow_mut() {
            Some(live) => live.take(id, after)?,
            None => Taken::Short,
        };
        if matches!(taken, Taken::Short) {
            self.load_from.set(Some(position.offset + 1));
            return Ok(Pushed::default());
        }
        let before = self.next.replace(position.offset + 1);
        self.weigh();
        match taken {
            Taken::News(news) => Ok(self.push(&news, (position, Some(recorded.event.id)), before)),
            Taken::Nothing | Taken::Short => Ok(Pushed::default()),
        }
    }

    fn push(&self, news: &News, at: (Position, Option<Uuid>), before: Offset) -> Pushed {
        self.circles.borrow_mut().push(news, at, before, self.lump_bytes_max())
    }

    fn count(&self, pushed: &Pushed) {
        let metrics = &self.shard.engine.metrics;
        metrics.hub_frames.inc_by(pushed.frames as u64);
        metrics.socket_resync.inc_by(pushed.fallen as u64);
    }

    fn weigh(&self) {
        let weight = self.live.borrow().as_ref().map_or(0, Live::weight);
        let before = self.weight.replace(weight);
        self.shard.live_bytes.update(|bytes| bytes + weight - before);
    }

    /// Forgets the answer, once nobody has it any more.
    pub(super) fn release(&self) {
        self.live.take();
        self.weigh();
    }

    /// Waits until it has an answer with every event before `next` in it.
    ///
    /// Errors with why it has ended.
    pub(super) async fn wait(&self, next: Offset) -> Result<(), Error> {
        loop {
            if let Some(error) = self.failure() {
                return Err(error);
            }
            if self.live.borrow().is_some() && self.reached() >= next {
                return Ok(());
            }
            // The fan-out goes on without a word.
            let _ = tokio::time::timeout(LOOK_INTERVAL, self.moved.notified()).await;
        }
    }

    /// The documents that it shows, and the position that they are of.
    pub(super) fn shown(&self) -> (Vec<Document>, Position) {
        let shown = self.live.borrow().as_ref().map(Live::shown).unwrap_or_default();
        (shown, self.position(self.reached()))
    }

    /// Whether whoever holds these documents lacks more than one frame should tell: then a snapshot
    /// does, in parts.
    pub(super) fn is_far_from(&self, held: &[Document]) -> bool {
        let news = self.live.borrow().as_ref().map(|live| live.news(held));
        let Some(News::Changes(changes)) = news else { return false };
        let bytes: usize = changes.iter().map(|(_, document)| document.data.len()).sum();
        bytes > self.lump_bytes_max()
    }

    /// More at once might look as if nobody reads what is sent.
    fn lump_bytes_max(&self) -> usize {
        2 * self.shard.engine.options.hub.queue_bytes_max
    }

    /// Lets a member in that holds these documents: it hears what is new, and that it is level.
    /// Only with an answer, see [`Watch::wait`].
    pub(super) fn enter(&self, encoder: &Rc<dyn Encoder>, held: &[Document], member: Member) {
        let position = self.position(self.reached());
        if let Some(live) = &*self.live.borrow() {
            let news = live.news(held);
            if !matches!(&news, News::Changes(changes) if changes.is_empty()) {
                member.outgoing.push(frame(&**encoder, &news, (position, None)));
            }
        }
        member.outgoing.push(encoder.live(position));
        self.circles.borrow_mut().enter(encoder, member);
    }

    pub(super) fn leave(&self, member: u64) {
        self.circles.borrow_mut().leave(member);
    }
}
