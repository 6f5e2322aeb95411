//! Feeds one subscriber: a snapshot or a resume, then what it missed from the log, then the shared
//! fan-out; and back to the log whenever its socket can't keep up.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use domain::{CollectionName, DocumentId, Offset, Position, ProjectId, Recorded};
use eventlog::ReadLimit;
use query::Order;
use readmodel::{Reader, documents as tables};
use tokio::task::JoinHandle;

use super::change::{Change, Seen, Told};
use super::eye::Eye;
use super::group::{Fallen, Member};
use super::shard::{Shard, Tail};
use super::watch::Watch;
use super::{Encoder, Interest, Outgoing, Shape, Snapshot, Start, Target};
use crate::access::{Loaded, ROUNDS_MAX};
use crate::error::Error;
use crate::partition::Partition;
use crate::read::{AsOf, Document, PAGE_BYTES_MAX};
use crate::rows::Rows;

/// One read of a subscriber that catches up.
pub(super) const CATCH_UP: ReadLimit = ReadLimit { events_max: 512, bytes_max: 512 << 10 };

/// A frame of a snapshot is closed when its documents reach this many bytes.
const SNAPSHOT_BYTES: usize = 256 << 10;

/// A running subscription; dropping it ends it.
pub struct Subscription {
    task: JoinHandle<()>,
    feed: Rc<Feed>,
}

impl Subscription {
    /// Whether it has ended by an error.
    pub fn has_failed(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
        self.feed.leave();
        self.feed.tail().subscribers.update(|count| count - 1);
        self.feed.shard.engine.metrics.subscriptions.dec();
    }
}

pub(super) struct Feed {
    pub(super) shard: Rc<Shard>,
    pub(super) id: u64,
    pub(super) project: ProjectId,
    pub(super) target: Target,
    pub(super) eye: Eye,
    pub(super) partition: Arc<Partition>,
    pub(super) outgoing: Rc<Outgoing>,
    pub(super) encoder: Rc<dyn Encoder>,
    pub(super) fallen: Rc<Fallen>,
    /// The live query that it is fed from.
    pub(super) watch: RefCell<Option<Rc<Watch>>>,
}

impl Feed {
    pub(super) fn start(
        shard: Rc<Shard>,
        id: u64,
        Interest { project, target, viewer, start }: Interest,
        outgoing: Rc<Outgoing>,
        encoder: Rc<dyn Encoder>,
    ) -> Subscription {
        let partition = Arc::clone(shard.engine.partition(&project));
        let fallen = Rc::default();
        let feed = Rc::new(Self {
            shard,
            id,
            project,
            eye: Eye { viewer, filter: target.filter() },
            target,
            partition,
            outgoing,
            encoder,
            fallen,
            watch: RefCell::default(),
        });
        feed.tail().subscribers.update(|count| count + 1);
        feed.shard.engine.metrics.subscriptions.inc();
        let task = tokio::task::spawn_local(Rc::clone(&feed).run(start));
        Subscription { task, feed }
    }

    fn tail(&self) -> &Tail {
        &self.shard.tails[self.partition.id.0 as usize]
    }

    pub(super) fn position(&self, offset: Offset) -> Position {
        Position { partition: self.partition.id, offset }
    }

    async fn run(self: Rc<Self>, start: Start) {
        let fed = match self.target.shape() {
            Shape::All | Shape::Ordered(_) => self.feed(start).await,
            Shape::First(..) | Shape::Count => self.feed_watched(start).await,
        };
        if let Err(error) = fed {
            tracing::debug!(project.id = %self.project, %error, "subscription ended");
            self.outgoing.push(self.encoder.failed(&error));
            if self.encoder.is_alone() {
                self.outgoing.end();
            }
        }
    }

    /// Returns only by an error.
    async fn feed(&self, start: Start) -> Result<(), Error> {
        let mut next = match start {
            Start::After(from) if from.partition != self.partition.id => {
                return Err(Error::PositionElsewhere { position: from });
            }
            Start::After(from) if self.can_resume(from).await? => from.offset + 1,
            Start::After(_) | Start::Anew => self.snapshot(true).await?,
            Start::Snapshot => self.snapshot(false).await?,
        };
        loop {
            match self.catch_up(next).await {
                Ok(reached) => next = reached,
                // Retention overtook a subscriber that was too slow.
                Err(Error::Trimmed { .. }) => next = self.snapshot(true).await?,
                Err(error) => return Err(error),
            }
            // Nothing is awaited between the last look at the tail and this.
            self.join(next);
            self.outgoing.push(self.encoder.live(self.position(next.saturating_sub(1))));
            next = self.fallen().await;
            self.outgoing.room().await;
        }
    }

    /// Waits until the socket can't keep up; the first event that it did not get.
    pub(super) async fn fallen(&self) -> Offset {
        loop {
            self.fallen.notify.notified().await;
            if let Some(missed) = self.fallen.at.take() {
                return missed;
            }
        }
    }

    /// Whether everything after `last` is still kept, and `last` exists.
    pub(super) async fn can_resume(&self, last: Position) -> Result<bool, Error> {
        let engine = &self.shard.engine;
        match engine.reach(&self.partition, last).await {
            Ok(()) if last.offset + 1 < engine.log.start(self.partition.id) => Ok(false),
            Ok(()) => Ok(!self.eye.viewer.has_changed_since(engine, &self.project, last).await?),
            Err(Error::PositionAhead { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends what the log has from `next` on, until the fan-out would go on just there.
    async fn catch_up(&self, mut next: Offset) -> Result<Offset, Error> {
        while next < self.tail().next.get() && !self.outgoing.has_ended() {
            self.outgoing.room().await;
            let until = self.tail().next.get();
            let read = self.shard.engine.log.read(self.partition.id, next, CATCH_UP).await?;
            for recorded in read.events.iter().take_while(|one| one.position.offset < until) {
                let event = &recorded.event;
                if event.project != self.project || !self.target.takes(event.stream.as_str()) {
                    continue;
                }
                let recorded = self.shard.engine.personal.open_event(recorded).await?;
                if let Some(change) = self.change(&recorded).await? {
                    self.outgoing.push(self.encoder.change(&change));
                }
            }
            next = read.next.min(until);
        }
        Ok(next)
    }

    /// What the event is to the viewer, with what rules ask for loaded.
    async fn change(&self, recorded: &Recorded) -> Result<Option<Box<Change>>, Error> {
        if self.eye.sees_all() {
            return Change::of(recorded).map(|change| Some(Box::new(change)));
        }
        let (told, mut loaded) = (Told::of(recorded, true)?, Loaded::default());
        for _ in 0..ROUNDS_MAX {
            match Change::seen_by(&self.eye, &told, &loaded) {
                Seen::Change(change) => return Ok(Some(change)),
                Seen::Nothing => return Ok(None),
                Seen::Needs(needs) => {
                    let documents = self.partition.documents();
                    let others = self.shard.engine.others(&*documents, &self.project);
                    others.load(needs, &mut loaded).await?;
                }
            }
        }
        Ok(None)
    }

    fn join(&self, from: Offset) {
        let member = Member {
            id: self.id,
            from,
            outgoing: Rc::clone(&self.outgoing),
            fallen: Rc::clone(&self.fallen),
        };
        let mut groups = self.shard.groups.borrow_mut();
        let whom = (&self.encoder, &self.eye);
        groups.join(&self.project, self.target.subject(), whom, member);
    }

    fn leave(&self) {
        let mut groups = self.shard.groups.borrow_mut();
        let filter = self.eye.filter.as_deref();
        groups.leave(&self.project, &self.target.subject(), filter, self.id);
        if let Some(watch) = self.watch.take() {
            watch.leave(self.id);
            self.shard.watches.borrow_mut().leave(&watch);
        }
    }

    /// Sends the target's documents as they are now; returns the offset to go on from.
    async fn snapshot(&self, reset: bool) -> Result<Offset, Error> {
        self.partition.check_readable()?;
        let _turn = match self.target.shape() {
            Shape::Ordered(_) => Some(self.outgoing.turn().await),
            _ => None,
        };
        let view = self.partition.documents().view().await?;
        let next = view.checkpoint().await?;
        let position = self.position(next.saturating_sub(1));
        match &self.target {
            Target::Document(collection, id) => {
                self.outgoing.room().await;
                let stored =
                    tables::get_document(&*view, &self.project, collection.as_str(), id.as_str());
                let document = match stored.await? {
                    Some(stored) => {
                        self.document(&*view, position, (collection, id.clone()), stored).await?
                    }
                    None => None,
                };
                let documents = document.into_iter().collect();
                self.send(Snapshot { documents, position, reset, more: false });
            }
            Target::Collection(collection, _, shape) => {
                let order = match shape {
                    Shape::Ordered(order) => Some(&**order),
                    _ => None,
                };
                let parts = Parts::new(self, position, reset);
                self.snapshot_all(&*view, collection, order, parts).await?;
            }
        }
        Ok(next)
    }

    /// In an order, all are held in memory for a moment: the caller has the socket's turn.
    async fn snapshot_all(
        &self,
        view: &dyn Reader,
        collection: &CollectionName,
        order: Option<&Order>,
        mut parts: Parts<'_>,
    ) -> Result<(), Error> {
        let mut rows = Rows::new(view, &self.project, collection, None);
        let documents_max = self.shard.engine.options.query_documents_max;
        let (mut held, mut bytes) = (Vec::new(), 0);
        while let Some(chunk) = rows.next_chunk(usize::MAX).await? {
            for (id, row) in chunk {
                let document = self.document(view, parts.position, (collection, id), row).await?;
                let Some(document) = document else { continue };
                let Some(order) = order else {
                    parts.add(document).await;
                    continue;
                };
                bytes += document.data.len();
                held.push((order.keys(&document.as_queried()), document));
                if bytes > PAGE_BYTES_MAX {
                    return Err(Error::WindowTooLarge);
                }
                if held.len() > documents_max {
                    return Err(Error::QueryTooLarge { documents_max, index: None });
                }
            }
            if self.outgoing.has_ended() {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
        if let Some(order) = order {
            held.sort_by(|(one, _), (other, _)| order.compare(one, other));
        }
        for (_, document) in held {
            parts.add(document).await;
        }
        parts.done().await;
        Ok(())
    }

    /// What the viewer sees of the document as it was at the snapshot's position: its row may be
    /// newer.
    async fn document(
        &self,
        view: &dyn Reader,
        position: Position,
        (collection, id): (&CollectionName, DocumentId),
        stored: tables::Document,
    ) -> Result<Option<Document>, Error> {
        let (engine, key) = (&self.shard.engine, (collection, &id));
        let as_of = AsOf::Position(position);
        let document =
            engine.document_as_of(view, &self.partition, &self.project, key, stored, as_of).await?;
        match document {
            Some(document) => {
                let documents = self.partition.documents();
                let others = engine.others(&*documents, &self.project);
                let seen = self.eye.viewer.see(&others, document).await?;
                Ok(seen.filter(|seen| self.eye.wants(seen)))
            }
            None => Ok(None),
        }
    }

    fn send(&self, snapshot: Snapshot) {
        self.outgoing.push(self.encoder.snapshot(&snapshot));
    }
}

/// A snapshot on its way, frame by frame.
pub(super) struct Parts<'a> {
    feed: &'a Feed,
    position: Position,
    reset: bool,
    documents: Vec<Document>,
    bytes: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(feed: &'a Feed, position: Position, reset: bool) -> Self {
        Self { feed, position, reset, documents: Vec::new(), bytes: 0 }
    }

    pub(super) async fn add(&mut self, document: Document) {
        let limit = self.feed.shard.engine.options.hub.snapshot_documents;
        // Only once there is more, so that no snapshot ends with an empty part.
        if self.documents.len() == limit || self.bytes > SNAPSHOT_BYTES {
            self.send(true).await;
        }
        self.bytes += document.data.len();
        self.documents.push(document);
    }

    pub(super) async fn done(mut self) {
        self.send(false).await;
    }

    async fn send(&mut self, more: bool) {
        self.feed.outgoing.room().await;
        self.bytes = 0;
        let documents = std::mem::take(&mut self.documents);
        let (position, reset) = (self.position, self.reset);
        self.feed.send(Snapshot { documents, position, reset, more });
    }
}
