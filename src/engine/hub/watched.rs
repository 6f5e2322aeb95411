//! Feeds one subscriber of a live query: what it lacks of the query's answer, then its news. To one
//! that comes back, or that has fallen behind, what it holds is the answer as of where it was:
//! where that can't be told any more, it begins anew.

use std::rc::Rc;

use domain::{CollectionName, Position};
use query::{Keys, Order};

use super::feed::{Feed, Parts};
use super::group::Member;
use super::watch::Watch;
use super::{Shape, Start};
use crate::access::{Loaded, Sight};
use crate::error::Error;
use crate::read::{AsOf, Document, PAGE_BYTES_MAX};
use crate::rows::Rows;

/// Documents that may have changed since a subscriber was here: of each, what it was is read.
const CHANGED_MAX: usize = 1_000;
/// Bytes of documents that are looked at for that.
const LOOKED_BYTES_MAX: usize = 256 << 20;

impl Feed {
    /// Returns only by an error.
    pub(super) async fn feed_watched(&self, start: Start) -> Result<(), Error> {
        let watch = self.watch();
        let mut start = start;
        loop {
            let resumed = match start {
                Start::After(from) if from.partition != self.partition.id => {
                    return Err(Error::PositionElsewhere { position: from });
                }
                Start::After(from) if self.can_resume(from).await? => Some(from),
                _ => None,
            };
            // What a client has seen is never told back to it.
            watch.wait(resumed.map_or(0, |from| from.offset + 1)).await?;
            let turn = self.outgoing.turn().await;
            let held = match resumed {
                Some(from) => self.held_at(from).await?,
                None => None,
            };
            watch.wait(0).await?;
            let mut held = match held {
                Some(held) => held,
                None => self.send_shown(&watch, start != Start::Snapshot).await,
            };
            self.outgoing.room().await;
            watch.wait(0).await?;
            while watch.is_far_from(&held) && !self.outgoing.has_ended() {
                drop(held);
                held = self.send_shown(&watch, true).await;
                self.outgoing.room().await;
                watch.wait(0).await?;
            }
            watch.enter(&self.encoder, &held, self.member());
            drop((held, turn));
            let missed = self.fallen().await;
            if let Some(error) = watch.failure() {
                return Err(error);
            }
            self.outgoing.room().await;
            start = Start::After(self.position(missed.saturating_sub(1)));
        }
    }

    fn watch(&self) -> Rc<Watch> {
        let mut watches = self.shard.watches.borrow_mut();
        let watch = watches.enter(&self.shard, &self.project, &self.target, &self.eye);
        *self.watch.borrow_mut() = Some(Rc::clone(&watch));
        watch
    }

    fn member(&self) -> Member {
        Member {
            id: self.id,
            from: 0,
            outgoing: Rc::clone(&self.outgoing),
            fallen: Rc::clone(&self.fallen),
        }
    }

    /// Sends the documents that the query shows; what was sent.
    async fn send_shown(&self, watch: &Watch, reset: bool) -> Vec<Document> {
        let (shown, position) = watch.shown();
        if !matches!(self.target.shape(), Shape::Count) {
            let mut parts = Parts::new(self, position, reset);
            for document in &shown {
                parts.add(document.clone()).await;
            }
            parts.done().await;
        }
        shown
    }

    /// What the subscriber holds that was here at `from`; `None` where that is too much to find
    /// out, or no longer kept.
    async fn held_at(&self, from: Position) -> Result<Option<Vec<Document>>, Error> {
        match self.target.shape() {
            // A number is told whole.
            Shape::Count => Ok(Some(Vec::new())),
            Shape::All | Shape::Ordered(_) => Ok(None),
            Shape::First(order, limit) => {
                match self.window_at(from, self.target.collection(), (order, *limit)).await {
                    Err(Error::Trimmed { .. }) => Ok(None),
                    found => found,
                }
            }
        }
    }

    /// The window as it was, by today's sight: rules and roles are as they were then. Where other
    /// documents decide what is seen, nobody knows what was.
    async fn window_at(
        &self,
        from: Position,
        collection: &CollectionName,
        (order, limit): (&Order, usize),
    ) -> Result<Option<Vec<Document>>, Error> {
        let (engine, as_of) = (&self.shard.engine, AsOf::Position(from));
        engine.check_as_of(&self.partition, as_of).await?;
        let view = self.partition.documents().view().await?;
        let mut rows = Rows::new(&*view, &self.project, collection, None);
        let mut first = First { order, limit, found: Vec::new(), bytes: 0 };
        let (mut looked, mut bytes, mut changed) = (0, 0, 0);
        while let Some(chunk) = rows.next_chunk(usize::MAX).await? {
            for (id, row) in chunk {
                looked += 1;
                bytes += row.data.as_ref().map_or(0, |data| data.len());
                changed += usize::from(row.offset > from.offset);
                if looked > engine.options.query_documents_max
                    || bytes > LOOKED_BYTES_MAX
                    || changed > CHANGED_MAX
                {
                    return Ok(None);
                }
                let (key, partition) = ((collection, &id), &self.partition);
                let document = engine
                    .document_as_of(&*view, partition, &self.project, key, row, as_of)
                    .await?;
                let Some(document) = document else { continue };
                match self.eye.look(document, &Loaded::default()) {
                    Sight::Seen(document) => {
                        if !first.offer(document) {
                            return Ok(None);
                        }
                    }
                    Sight::Hidden => {}
                    Sight::Needs(_) => return Ok(None),
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(Some(first.done()))
    }
}

/// The first documents of an ordering, found among all.
struct First<'a> {
    order: &'a Order,
    limit: usize,
    found: Vec<(Keys, Document)>,
    bytes: usize,
}

impl First<'_> {
    /// Whether there is room for them.
    fn offer(&mut self, document: Document) -> bool {
        self.bytes += document.data.len();
        self.found.push((self.order.keys(&document.as_queried()), document));
        if self.found.len() > 2 * self.limit || self.bytes > PAGE_BYTES_MAX {
            self.cut();
        }
        self.bytes <= PAGE_BYTES_MAX || self.found.len() <= 1
    }

    fn cut(&mut self) {
        self.found.sort_by(|(one, _), (other, _)| self.order.compare(one, other));
        self.found.truncate(self.limit);
        self.bytes = self.found.iter().map(|(_, document)| document.data.len()).sum();
    }

    fn done(mut self) -> Vec<Document> {
        self.cut();
        self.found.into_iter().map(|(_, document)| document).collect()
    }
}
