//! Answers reads: documents now and as of an earlier position or time, their history, and the log
//! itself.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use domain::documents::DocumentEvent;
use domain::{
    CollectionName, DocumentId, EventType, Offset, Position, ProjectId, Recorded, Timestamp, UserId,
};
use eventlog::ReadLimit;
use readmodel::{Reader, documents as tables};

use crate::Engine;
use crate::access::{Others, Viewer};
use crate::error::Error;
use crate::partition::Partition;

/// Events looked at for one page of the events route, whether they fit the question or not.
const EVENTS_SCANNED_MAX: usize = 20_000;
/// One read of the log for a page of events.
const EVENTS_READ: ReadLimit = ReadLimit { events_max: 2048, bytes_max: 2 << 20 };
/// Bytes of events or documents in one page, whatever its limit.
pub(crate) const PAGE_BYTES_MAX: usize = 8 << 20;

/// A moment in a project's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// Just after this event.
    Position(Position),
    /// With every event up to this time.
    Time(Timestamp),
}

/// A document as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// How often it was changed.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// The event that made it what it is.
    pub position: Position,
    /// Compact JSON text of an object.
    pub data: Bytes,
}

/// A page of events.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events that fit the question.
    pub events: Vec<Arc<Recorded>>,
    /// Where to go on.
    pub next: Position,
    /// The end of what there is: equal to `next` when the reader has caught up.
    pub end: Position,
}

impl Document {
    /// The document that an event left behind; `None` when it was deleted.
    ///
    /// Errors when the event's data does not decode.
    pub fn after(recorded: &Recorded) -> Result<Option<Self>, Error> {
        let (document, body) = Self::of(recorded)?;
        Ok((!matches!(body, DocumentEvent::Deleted { .. })).then_some(document))
    }

    /// The document that an event is about, as it was last if it was deleted, and whether it was.
    ///
    /// Errors when the event's data does not decode.
    pub fn about(recorded: &Recorded) -> Result<(Self, bool), Error> {
        let (document, body) = Self::of(recorded)?;
        Ok((document, matches!(body, DocumentEvent::Deleted { .. })))
    }

    /// The document that an event is about, as it was last if it was deleted, and what happened to
    /// it.
    pub(crate) fn of(recorded: &Recorded) -> Result<(Self, DocumentEvent), Error> {
        let event = &recorded.event;
        let corrupt = |detail: &str| Error::Corrupt(format!("{}: {detail}", recorded.position));
        let body = DocumentEvent::decode(event)
            .map_err(|e| Error::Corrupt(e.to_string()))?
            .ok_or_else(|| corrupt("not an event of a document"))?;
        let (created_at, data) = match &body {
            DocumentEvent::Created { data, .. } => (event.time, data),
            DocumentEvent::Updated { created_at, data, .. }
            | DocumentEvent::Deleted { created_at, data } => (*created_at, data),
        };
        let (_, id) = event.stream.as_document().ok_or_else(|| corrupt("not a document"))?;
        let document = Self {
            id: DocumentId::new(id).map_err(|_| corrupt("not a document's id"))?,
            version: event.stream_version,
            created_at,
            updated_at: event.time,
            position: recorded.position,
            data: data.clone(),
        };
        Ok((document, body))
    }
}

impl Partition {
    pub(crate) fn document(&self, id: DocumentId, stored: tables::Document) -> Option<Document> {
        Some(Document {
            id,
            version: stored.version,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            position: Position { partition: self.id, offset: stored.offset },
            data: stored.data?,
        })
    }
}

impl Engine {
    /// One document, now or as it was.
    ///
    /// Errors: [`Error::PositionElsewhere`], [`Error::PositionAhead`], [`Error::Trimmed`] for an
    /// `as_of`.
    pub async fn document(
        &self,
        project: &ProjectId,
        collection: &CollectionName,
        id: &DocumentId,
        as_of: Option<AsOf>,
    ) -> Result<Option<Document>, Error> {
        let partition = self.partition(project);
        partition.check_readable()?;
        if let Some(as_of) = as_of {
            self.check_as_of(partition, as_of).await?;
        }
        let space = partition.documents();
        let stored =
            tables::get_document(&*space, project, collection.as_str(), id.as_str()).await?;
        let Some(stored) = stored else { return Ok(None) };
        let as_of = match as_of {
            None => partition.unsure_from(&*space, stored.offset).await?,
            as_of => as_of,
        };
        match as_of {
            None => {
                let document = partition.document(id.clone(), stored);
                self.opened(project, collection, document).await
            }
            Some(as_of) => {
                self.document_as_of(&*space, partition, project, (collection, id), stored, as_of)
                    .await
            }
        }
    }

    /// What the viewer sees of a document; `None` when nothing.
    pub async fn see(
        &self,
        project: &ProjectId,
        viewer: &Viewer,
        document: Document,
    ) -> Result<Option<Document>, Error> {
        let space = self.partition(project).documents();
        viewer.see(&self.others(&*space, project), document).await
    }

    /// Whether the viewer may know that there is no such document.
    pub async fn may_know_of_none(
        &self,
        project: &ProjectId,
        viewer: &Viewer,
    ) -> Result<bool, Error> {
        let space = self.partition(project).documents();
        viewer.may_know_of_none(&self.others(&*space, project)).await
    }

    /// Where rules find other documents.
    pub(crate) fn others<'a>(
        &'a self,
        reader: &'a dyn Reader,
        project: &'a ProjectId,
    ) -> Others<'a> {
        Others { reader, personal: &self.personal, project }
    }

    /// A stored document as it was written.
    pub(crate) async fn opened(
        &self,
        project: &ProjectId,
        collection: &CollectionName,
        document: Option<Document>,
    ) -> Result<Option<Document>, Error> {
        match document {
            Some(document) => self.personal.open(project, collection, document).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether that moment has been; where another node writes the tables, waits until they hold
    /// what was before it.
    pub(crate) async fn check_as_of(
        &self,
        partition: &Partition,
        as_of: AsOf,
    ) -> Result<(), Error> {
        match as_of {
            AsOf::Position(position) => self.reach(partition, position).await?,
            AsOf::Time(_) if self.is_shared() => {
                partition.refresh(&*self.log, self.options.read_wait_max).await?;
            }
            AsOf::Time(_) => {}
        }
        if !self.is_shared() {
            return Ok(());
        }
        let newest = partition.newest();
        let next = match as_of {
            AsOf::Position(position) => newest.min(position.offset + 1),
            AsOf::Time(_) => newest,
        };
        let until = Instant::now() + self.options.read_wait_max;
        match partition.wait_stored(next, until).await? {
            true => Ok(()),
            false => {
                let offset = next.saturating_sub(1);
                Err(Error::StaleRead { position: Position { partition: partition.id, offset } })
            }
        }
    }

    /// Waits until this node has read the event at `position`, if there is one.
    ///
    /// Errors: [`Error::PositionElsewhere`], [`Error::PositionAhead`].
    pub(crate) async fn reach(
        &self,
        partition: &Partition,
        position: Position,
    ) -> Result<(), Error> {
        if position.partition != partition.id {
            return Err(Error::PositionElsewhere { position });
        }
        // Also where this node writes: it may have been paused and not know that another does now.
        if position.offset >= partition.applied() && self.is_shared() {
            partition.refresh(&*self.log, self.options.read_wait_max).await?;
        }
        let applied = partition.applied();
        if position.offset >= applied {
            let newest = Position { partition: partition.id, offset: applied.saturating_sub(1) };
            return Err(Error::PositionAhead { position, newest });
        }
        Ok(())
    }

    /// What a document was, from its row now and its history.
    pub(crate) async fn document_as_of(
        &self,
        reader: &dyn Reader,
        partition: &Partition,
        project: &ProjectId,
        (collection, id): (&CollectionName, &DocumentId),
        now: tables::Document,
        as_of: AsOf,
    ) -> Result<Option<Document>, Error> {
        let held = |offset: Offset, time: Timestamp| match as_of {
            AsOf::Position(position) => offset <= position.offset,
            AsOf::Time(at) => time <= at,
        };
        if held(now.offset, now.updated_at) {
            let document = partition.document(id.clone(), now);
            return self.opened(project, collection, document).await;
        }
        let name = (collection.as_str(), id.as_str());
        let entry = match as_of {
            AsOf::Position(position) => {
                tables::version_at(reader, project, name.0, name.1, position.offset).await?
            }
            AsOf::Time(at) => tables::version_at_time(reader, project, name.0, name.1, at).await?,
        };
        let document = match entry {
            Some(entry) => Document::after(&*self.event_at(partition, entry.offset).await?)?,
            None => None,
        };
        self.opened(project, collection, document).await
    }

    async fn event_at(
        &self,
        partition: &Partition,
        offset: Offset,
    ) -> Result<Arc<Recorded>, Error> {
        let limit = ReadLimit { events_max: 1, bytes_max: 1 };
        if self.is_shared() && offset >= self.log.end(partition.id) {
            // The tables may be ahead of what this node has read of the log.
            partition.refresh(&*self.log, self.options.read_wait_max).await?;
        }
        let read = self.log.read(partition.id, offset, limit).await?;
        read.events.into_iter().find(|event| event.position.offset == offset).ok_or_else(|| {
            Error::Corrupt(format!("the log has no event at {}-{offset}", partition.id))
        })
    }

    /// The events of one document, newest first, from just before `before` on.
    pub async fn history(
        &self,
        project: &ProjectId,
        collection: &CollectionName,
        id: &DocumentId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Arc<Recorded>>, Error> {
        let partition = self.partition(project);
        partition.check_readable()?;
        let space = partition.documents();
        let (collection, id) = (collection.as_str(), id.as_str());
        let newest = tables::history(&*space, project, collection, id, None, 1).await?.pop();
        let Some(newest) = newest else { return Ok(Vec::new()) };
        let before = match partition.unsure_from(&*space, newest.offset).await? {
            Some(AsOf::Position(last)) => {
                let last =
                    tables::version_at(&*space, project, collection, id, last.offset).await?;
                let next = last.map_or(0, |last| last.version + 1);
                Some(before.map_or(next, |before| before.min(next)))
            }
            _ => before,
        };
        let entries = tables::history(&*space, project, collection, id, before, limit).await?;
        let mut events = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        for entry in entries {
            let oldest = self.log.start(partition.id);
            if entry.offset < oldest && events.is_empty() {
                return Err(Error::Trimmed {
                    oldest: Position { partition: partition.id, offset: oldest },
                });
            }
            if entry.offset < oldest || bytes > PAGE_BYTES_MAX {
                break;
            }
            let event = self.event_at(partition, entry.offset).await?;
            bytes += event.event.weight();
            events.push(self.personal.open_event(&event).await?);
        }
        Ok(events)
    }

    /// The document that an event left behind or deleted, if there is something in the event that
    /// is personal of this user.
    pub async fn document_about(
        &self,
        recorded: &Arc<Recorded>,
        user: &UserId,
    ) -> Result<Option<Document>, Error> {
        if !self.personal.is_about(recorded, user) {
            return Ok(None);
        }
        let opened = self.personal.open_event(recorded).await?;
        Document::about(&opened).map(|(document, _)| Some(document))
    }

    /// The event that made version `version` of a document.
    pub async fn version(
        &self,
        project: &ProjectId,
        collection: &CollectionName,
        id: &DocumentId,
        version: u64,
    ) -> Result<Option<Arc<Recorded>>, Error> {
        let before = version.checked_add(1);
        let found = self.history(project, collection, id, before, 1).await?;
        Ok(found.into_iter().find(|event| event.event.stream_version == version))
    }

    /// Every collection that has or had a document.
    pub async fn collections(&self, project: &ProjectId) -> Result<Vec<CollectionName>, Error> {
        let partition = self.partition(project);
        partition.check_readable()?;
        let found = tables::collections(&*partition.documents(), project).await?;
        Ok(found.into_iter().map(|(name, _)| name).collect())
    }

    /// The project's events from `from` on (from the oldest kept, when `None`), of these types
    /// when any are named. Looks at a bounded part of the log: `next` tells where to go on,
    /// even when nothing was found.
    ///
    /// Errors: [`Error::PositionElsewhere`], [`Error::PositionAhead`], [`Error::Trimmed`].
    pub async fn events(
        &self,
        project: &ProjectId,
        from: Option<Position>,
        limit: usize,
        types: &[EventType],
    ) -> Result<EventPage, Error> {
        let partition = self.partition(project);
        partition.check_readable()?;
        if self.is_shared() && from.is_none_or(|from| from.offset >= partition.applied()) {
            partition.refresh(&*self.log, self.options.read_wait_max).await?;
        }
        let end = partition.applied();
        let position = |offset| Position { partition: partition.id, offset };
        let mut next = match from {
            None => self.log.start(partition.id),
            Some(from) if from.partition != partition.id => {
                return Err(Error::PositionElsewhere { position: from });
            }
            Some(from) if from.offset > end => {
                return Err(Error::PositionAhead { position: from, newest: position(end) });
            }
            Some(from) => from.offset,
        };
        let (mut events, mut scanned, mut bytes) = (Vec::new(), 0, 0);
        while next < end && scanned < EVENTS_SCANNED_MAX && bytes < PAGE_BYTES_MAX {
            let from = next;
            let read = self.log.read(partition.id, from, EVENTS_READ).await?;
            for recorded in read.events {
                if events.len() == limit || recorded.position.offset >= end {
                    return Ok(EventPage { events, next: position(next), end: position(end) });
                }
                next = recorded.position.offset + 1;
                scanned += 1;
                let event = &recorded.event;
                if event.project == *project && (types.is_empty() || types.contains(&event.kind)) {
                    bytes += event.weight();
                    events.push(recorded);
                }
            }
            if read.next == from {
                break;
            }
            next = read.next.min(end);
        }
        Ok(EventPage { events, next: position(next), end: position(end) })
    }
}
