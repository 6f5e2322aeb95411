//! Documents with those that they refer to: each seen as its asker sees it, by the rules of its own
//! collection, and loaded once for an answer. What is hidden or not there is left out, so that
//! nobody can tell one from the other. The size of an answer is bounded.

use std::collections::{HashMap, HashSet};

use ::access::find;
use domain::access::Access;
use domain::path::Path;
use domain::raw::{Kind, Raw};
use domain::{CollectionName, DocumentId, ProjectId};
use futures_util::{StreamExt as _, stream};

use crate::Engine;
use crate::access::Viewer;
use crate::catalog::Project;
use crate::error::Error;
use crate::read::{AsOf, Document, PAGE_BYTES_MAX};

/// Ways that one answer may go at most.
pub const PATHS_MAX: usize = 10;
/// References after each other at most.
pub const DEPTH_MAX: usize = 3;
/// Documents that one answer may have beside those asked for, and that may be looked for.
pub const DOCUMENTS_MAX: usize = 1_000;
/// Reads that are on their way at a time.
const IN_FLIGHT: usize = 32;

/// Which references to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expand(Vec<Hop>);

/// One reference, and what to follow from there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hop {
    /// The field, as the collection names it.
    field: String,
    path: Path,
    collection: CollectionName,
    inner: Expand,
}

/// A way that can't be gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct InvalidExpand {
    /// Which of those asked for.
    pub index: usize,
    /// What is wrong with it.
    pub detail: String,
}

/// What one document refers to, by field.
pub type Expanded = Vec<(String, Referred)>;

/// What a field refers to.
#[derive(Debug, Clone)]
pub enum Referred {
    /// It holds one id.
    One(Box<(Document, Expanded)>),
    /// It holds a list of them, or is in one.
    Many(Vec<(Document, Expanded)>),
}

impl Expand {
    /// Reads ways like `author` or `room.owner`. A field's name may have dots itself: of two that
    /// begin a way the longer one counts.
    pub fn of<'a>(
        project: &Project,
        collection: &CollectionName,
        ways: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidExpand> {
        let mut expand = Self::default();
        for (index, way) in ways.into_iter().enumerate() {
            let invalid = |detail: String| InvalidExpand { index, detail };
            if index == PATHS_MAX {
                return Err(invalid(format!("at most {PATHS_MAX} ways")));
            }
            let path = Path::parse(way).map_err(|error| invalid(error.to_string()))?;
            expand.add(project, collection, path.as_slice(), DEPTH_MAX).map_err(invalid)?;
        }
        Ok(expand)
    }

    fn add(
        &mut self,
        project: &Project,
        collection: &CollectionName,
        names: &[Box<str>],
        depth: usize,
    ) -> Result<(), String> {
        if names.is_empty() {
            return Ok(());
        }
        if depth == 0 {
            return Err(format!("at most {DEPTH_MAX} references after each other"));
        }
        let config = project.state.collections.get(collection).map(|one| &one.config);
        let fields = config.into_iter().flat_map(|config| &config.fields);
        let references = fields.filter_map(|(name, field)| {
            let path = Path::parse(name).ok()?;
            let to = field.references.clone()?;
            names.starts_with(path.as_slice()).then_some((name, path, to))
        });
        let longest = references.max_by_key(|(_, path, _)| path.as_slice().len());
        let (field, path, to) = longest.ok_or_else(|| {
            format!("no field of {collection} that this begins with refers to a collection")
        })?;
        let rest = names.get(path.as_slice().len()..).unwrap_or_default();
        let at = match self.0.iter().position(|hop| hop.field == *field) {
            Some(at) => at,
            None => {
                let (field, inner) = (field.clone(), Self::default());
                self.0.push(Hop { field, path, collection: to.clone(), inner });
                self.0.len() - 1
            }
        };
        self.0[at].inner.add(project, &to, rest, depth - 1)
    }
}

/// The ids that a field holds.
enum Ids {
    One(DocumentId),
    Many(Vec<DocumentId>),
}

impl Ids {
    /// `None` where it holds none.
    fn of(data: &[u8], path: &Path) -> Option<Self> {
        let id = |raw: Raw<'_>| DocumentId::new(&raw.text().ok()?).ok();
        let mut straight = Some(Raw::new(data));
        for name in path.names() {
            straight = straight.and_then(|raw| raw.field(name).ok().flatten());
        }
        if let Some(raw) = straight
            && raw.kind() == Ok(Kind::String)
        {
            return id(raw).map(Self::One);
        }
        let spots = find(data, &[], std::slice::from_ref(path));
        let mut ids = Vec::new();
        for spot in &spots {
            let raw = Raw::new(&data[spot.at.clone()]);
            if raw.kind() != Ok(Kind::Array) {
                ids.extend(id(raw));
                continue;
            }
            let mut elements = raw.elements();
            while let Ok(Some(element)) = elements.try_next() {
                ids.extend(id(element));
                if ids.len() > DOCUMENTS_MAX {
                    break;
                }
            }
        }
        (!spots.is_empty()).then_some(Self::Many(ids))
    }

    fn as_slice(&self) -> &[DocumentId] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// Who asks, of which moment, and what was found so far.
struct Run<'a> {
    engine: &'a Engine,
    project: (&'a ProjectId, &'a Project),
    access: &'a Access,
    as_of: Option<AsOf>,
    found: HashMap<(CollectionName, DocumentId), Option<Document>>,
    documents: usize,
    bytes: usize,
}

impl Engine {
    /// What documents refer to, as far as who has this access sees it: for each of them, in order.
    /// They must be what is shown of them, so that hidden fields lead nowhere.
    ///
    /// Errors: [`Error::ExpandTooLarge`], and those of [`Engine::document`].
    pub async fn expand(
        &self,
        project: (&ProjectId, &Project),
        access: &Access,
        documents: &[Document],
        expand: &Expand,
        as_of: Option<AsOf>,
    ) -> Result<Vec<Expanded>, Error> {
        let (found, documents_so_far, bytes) = (HashMap::new(), 0, 0);
        let engine = self;
        let mut run =
            Run { engine, project, access, as_of, found, documents: documents_so_far, bytes };
        run.level(documents, expand).await
    }
}

impl Run<'_> {
    /// Recursion is as deep as there are references after each other.
    async fn level(
        &mut self,
        documents: &[Document],
        expand: &Expand,
    ) -> Result<Vec<Expanded>, Error> {
        let mut all: Vec<Expanded> = documents.iter().map(|_| Vec::new()).collect();
        for Hop { field, path, collection, inner } in &expand.0 {
            let ids: Vec<_> = documents.iter().map(|one| Ids::of(&one.data, path)).collect();
            self.load(collection, &ids).await?;
            let mut referred = Vec::new();
            let mut counts = Vec::with_capacity(ids.len());
            for ids in &ids {
                let before = referred.len();
                for id in ids.as_ref().map_or(&[][..], Ids::as_slice) {
                    let found = self.found.get(&(collection.clone(), id.clone()));
                    if let Some(Some(document)) = found {
                        self.documents += 1;
                        self.bytes += document.data.len();
                        referred.push(document.clone());
                    }
                    self.check()?;
                }
                counts.push(referred.len() - before);
            }
            let below = Box::pin(self.level(&referred, inner)).await?;
            let mut referred = referred.into_iter().zip(below);
            for ((expanded, ids), count) in all.iter_mut().zip(ids).zip(counts) {
                let mut own = referred.by_ref().take(count);
                let referred = match ids {
                    None => continue,
                    Some(Ids::One(_)) => match own.next() {
                        Some(one) => Referred::One(Box::new(one)),
                        None => continue,
                    },
                    Some(Ids::Many(_)) => Referred::Many(own.collect()),
                };
                expanded.push((field.clone(), referred));
            }
        }
        Ok(all)
    }

    fn check(&self) -> Result<(), Error> {
        let is_within = self.documents <= DOCUMENTS_MAX
            && self.found.len() <= DOCUMENTS_MAX
            && self.bytes <= PAGE_BYTES_MAX;
        if is_within { Ok(()) } else { Err(Error::ExpandTooLarge) }
    }

    /// Loads those of a collection that were not looked for yet.
    async fn load(
        &mut self,
        collection: &CollectionName,
        ids: &[Option<Ids>],
    ) -> Result<(), Error> {
        let ids = ids.iter().flatten().flat_map(Ids::as_slice);
        let new =
            ids.filter(|id| !self.found.contains_key(&(collection.clone(), DocumentId::clone(id))));
        // A few more than there may be tell that there are too many.
        let mut wanted = HashSet::new();
        for id in new {
            wanted.insert(id.clone());
            if self.found.len() + wanted.len() > DOCUMENTS_MAX {
                return Err(Error::ExpandTooLarge);
            }
        }
        let viewer = Viewer::of_documents(self.project.1, self.access, collection);
        if viewer.sees_nothing() {
            self.found.extend(wanted.into_iter().map(|id| ((collection.clone(), id), None)));
            return Ok(());
        }
        let (this, viewer) = (&*self, &viewer);
        let reads = stream::iter(wanted).map(|id| async move {
            let seen = this.see(viewer, collection, &id).await;
            (id, seen)
        });
        let mut reads = reads.buffer_unordered(IN_FLIGHT);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some((id, seen)) = reads.next().await {
            let seen = seen?;
            bytes += seen.as_ref().map_or(0, |document| document.data.len());
            if bytes > PAGE_BYTES_MAX {
                return Err(Error::ExpandTooLarge);
            }
            found.push(((collection.clone(), id), seen));
        }
        drop(reads);
        self.found.extend(found);
        Ok(())
    }

    /// What the viewer sees of a document; what was is shown to nobody who may not see what is.
    async fn see(
        &self,
        viewer: &Viewer,
        collection: &CollectionName,
        id: &DocumentId,
    ) -> Result<Option<Document>, Error> {
        let (engine, project) = (self.engine, self.project.0);
        let Some(document) = engine.document(project, collection, id, self.as_of).await? else {
            return Ok(None);
        };
        if self.as_of.is_some()
            && !viewer.is_past_rules()
            && let Some(now) = engine.document(project, collection, id, None).await?
            && engine.see(project, viewer, now).await?.is_none()
        {
            return Ok(None);
        }
        engine.see(project, viewer, document).await
    }
}
