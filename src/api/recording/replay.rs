//! Holds recorded requests against two sets of rules: those in force and a draft. Documents are
//! read as of the time of the request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use access::{Found, Lookup, Operation, Request, Rules, Unreadable, Unwritable, Verdict, strip};
use bytes::Bytes;
use domain::access::Auth;
use domain::documents::{self, DocumentState, ExpectedVersion, Filling, Live, Op, States, Write};
use domain::{CollectionName, DocumentId, Position, ProjectId, Timestamp, UserId};
use engine::{AsOf, Document, Engine, Error};

use super::{Recorded, What};

/// Changes that are told.
const CHANGES_MAX: usize = 1_000;
/// How long a replay may take; what is left then is skipped.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Two sets of rules, and where the documents are.
pub(crate) struct Replay<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) project: &'a ProjectId,
    pub(crate) collection: &'a CollectionName,
    /// The rules in force.
    pub(crate) current: &'a Rules,
    /// The others.
    pub(crate) draft: &'a Rules,
    /// Since when rules, roles and groups are what they are.
    pub(crate) changed_at: Timestamp,
}

/// What came of a replay. Each document of a page counts as a decision of its own.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// Decisions that were held against both.
    pub(crate) checked: usize,
    /// Those that come out alike.
    pub(crate) unchanged: usize,
    /// Decisions whose documents can't be had any more as they were, or that there was no time for.
    pub(crate) skipped: usize,
    /// The first 1,000 changes.
    pub(crate) changes: Vec<Change>,
}

/// A decision that comes out otherwise.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) time: Timestamp,
    pub(crate) operation: Operation,
    pub(crate) id: DocumentId,
    pub(crate) uid: Option<UserId>,
    pub(crate) was_allowed: bool,
    pub(crate) would_be_allowed: bool,
    /// The field that it is about, where it is not the whole document.
    pub(crate) field: Option<String>,
}

/// What rules say to a question.
struct Answer {
    is_allowed: bool,
    /// The fields that are taken out of what is read, or the one that may not be written.
    fields: Vec<String>,
}

/// A question to rules.
struct Question<'a> {
    operation: Operation,
    id: &'a DocumentId,
    auth: Option<&'a Auth>,
    before: Option<&'a Document>,
    after: Option<&'a Document>,
    /// What a write changes by what it holds.
    touched: Vec<&'a access::Path>,
    now: Timestamp,
    others: Position,
    /// The verdict when it was asked.
    was_allowed: bool,
}

/// Other documents, as they were.
#[derive(Default)]
struct Others(HashMap<(String, String), Option<Bytes>>);

impl Lookup for Others {
    fn get(&self, collection: &str, id: &str) -> Found<'_> {
        match self.0.get(&(collection.to_owned(), id.to_owned())) {
            Some(Some(data)) => Found::Document(data),
            Some(None) => Found::Nothing,
            None => Found::Unknown,
        }
    }
}

impl Recorded {
    /// How many decisions it was.
    fn count(&self) -> usize {
        match &self.what {
            What::Read { .. } | What::Write { .. } => 1,
            What::List { shown, hidden } => shown.len() + hidden.len(),
        }
    }
}

impl Replay<'_> {
    /// Replays all of them.
    pub(crate) async fn run(&self, requests: &[Arc<Recorded>]) -> Tried {
        let (mut tried, until) = (Tried::default(), Instant::now() + WAIT_MAX);
        for recorded in requests {
            if Instant::now() >= until {
                tried.skipped += recorded.count();
                continue;
            }
            match &recorded.what {
                What::Read { id, at, is_allowed } => {
                    self.read(recorded, (id, *at), *is_allowed, &mut tried).await;
                }
                What::List { shown, hidden } => {
                    for (ids, was_allowed) in [(shown, true), (hidden, false)] {
                        for id in ids {
                            self.listed(recorded, id, was_allowed, &mut tried).await;
                        }
                    }
                }
                What::Write { id, at, op, is_allowed } => {
                    self.write(recorded, (id, *at), op, *is_allowed, &mut tried).await;
                }
            }
            tokio::task::yield_now().await;
        }
        tried
    }

    async fn read(
        &self,
        recorded: &Recorded,
        (id, at): (&DocumentId, Position),
        was_allowed: bool,
        tried: &mut Tried,
    ) {
        match self.document(self.collection, id, at).await {
            Ok(before) => {
                let before = before.as_ref();
                let question =
                    question(recorded, (Operation::Read, id), (before, None), was_allowed);
                self.ask(&question, tried).await;
            }
            Err(_) => tried.skipped += 1,
        }
    }

    async fn listed(
        &self,
        recorded: &Recorded,
        id: &DocumentId,
        was_allowed: bool,
        tried: &mut Tried,
    ) {
        match self.document(self.collection, id, recorded.others).await {
            Ok(Some(before)) => {
                let (op, documents) = ((Operation::List, id), (Some(&before), None));
                self.ask(&question(recorded, op, documents, was_allowed), tried).await;
            }
            Ok(None) | Err(_) => tried.skipped += 1,
        }
    }

    async fn write(
        &self,
        recorded: &Recorded,
        (id, at): (&DocumentId, Position),
        op: &Op,
        was_allowed: bool,
        tried: &mut Tried,
    ) {
        let Ok(before) = self.document(self.collection, id, at).await else {
            tried.skipped += 1;
            return;
        };
        let Some(after) = self.after(recorded, id, before.as_ref(), op) else {
            tried.skipped += 1;
            return;
        };
        let operation = match (&before, &after) {
            (_, None) => Operation::Delete,
            (Some(_), Some(_)) => Operation::Update,
            (None, Some(_)) => Operation::Create,
        };
        let documents = (before.as_ref(), after.as_ref());
        self.ask(&question(recorded, (operation, id), documents, was_allowed), tried).await;
    }

    /// What a write makes of a document; `None` when it can't be made.
    fn after(
        &self,
        recorded: &Recorded,
        id: &DocumentId,
        before: Option<&Document>,
        op: &Op,
    ) -> Option<Option<Document>> {
        let mut states = States::new();
        let key = (self.collection.clone(), id.clone());
        if let Some(before) = before {
            let live = Live { created_at: before.created_at, data: before.data.clone() };
            let (version, changed_at) = (before.version, before.updated_at);
            states.insert(key.clone(), DocumentState { version, changed_at, live: Some(live) });
        }
        let write = Write {
            collection: self.collection.clone(),
            id: id.clone(),
            op: op.clone(),
            expected: ExpectedVersion::Any,
        };
        let limits = self.engine.options().document;
        let now = recorded.time;
        match self.engine.catalog().project(self.project) {
            // Rules see what a new document is filled in with.
            Some(live) => {
                let filling = Filling(&*live);
                documents::decide_shaped(&mut states, &[write], &[], limits, now, &filling)
            }
            None => documents::decide(&mut states, &[write], &[], limits, now),
        }
        .ok()?;
        let state = states.remove(&key)?;
        Some(state.live.map(|live| Document {
            id: id.clone(),
            version: state.version,
            created_at: live.created_at,
            updated_at: recorded.time,
            position: recorded.others,
            data: live.data,
        }))
    }

    async fn document(
        &self,
        collection: &CollectionName,
        id: &DocumentId,
        at: Position,
    ) -> Result<Option<Document>, Error> {
        self.engine.document(self.project, collection, id, Some(AsOf::Position(at))).await
    }

    /// Holds a question against both sets of rules.
    async fn ask(&self, question: &Question<'_>, tried: &mut Tried) {
        let mut others = Others::default();
        let was = self.answer(self.current, question, &mut others).await;
        let would = self.answer(self.draft, question, &mut others).await;
        let (Ok(was), Ok(would)) = (was, would) else {
            tried.skipped += 1;
            return;
        };
        // The rules are the same and said something else: the documents are not what they were.
        if question.now > self.changed_at && was.is_allowed != question.was_allowed {
            tried.skipped += 1;
            return;
        }
        tried.checked += 1;
        let changes = question.changes(&was, &would);
        tried.unchanged += usize::from(changes.is_empty());
        let room = CHANGES_MAX.saturating_sub(tried.changes.len());
        tried.changes.extend(changes.into_iter().take(room));
    }

    async fn answer(
        &self,
        rules: &Rules,
        question: &Question<'_>,
        others: &mut Others,
    ) -> Result<Answer, Error> {
        for _ in 0..=access::LOOKUPS_MAX + 1 {
            let needs = match question.answer(rules, self.collection, others) {
                Ok(answer) => return Ok(answer),
                Err(needs) => needs,
            };
            for (collection, id) in needs {
                let names = (CollectionName::new(&collection), DocumentId::new(&id));
                let data = match names {
                    (Ok(collection), Ok(id)) => {
                        let found = self.document(&collection, &id, question.others).await?;
                        found.map(|document| document.data)
                    }
                    _ => None,
                };
                others.0.insert((collection, id), data);
            }
        }
        Ok(Answer { is_allowed: false, fields: Vec::new() })
    }
}

fn question<'a>(
    recorded: &'a Recorded,
    (operation, id): (Operation, &'a DocumentId),
    (before, after): (Option<&'a Document>, Option<&'a Document>),
    was_allowed: bool,
) -> Question<'a> {
    Question {
        operation,
        id,
        auth: recorded.auth.as_deref(),
        before,
        after,
        touched: match &recorded.what {
            What::Write { op, .. } => op.touched().collect(),
            What::Read { .. } | What::List { .. } => Vec::new(),
        },
        now: recorded.time,
        others: recorded.others,
        was_allowed,
    }
}

impl Question<'_> {
    /// What rules say, as far as other documents are known; else which are missing.
    fn answer(
        &self,
        rules: &Rules,
        collection: &CollectionName,
        lookup: &Others,
    ) -> Result<Answer, Vec<(String, String)>> {
        let before = self.before.map(|document| as_rules_see(document, collection));
        let after = self.after.map(|document| as_rules_see(document, collection));
        let request = Request {
            operation: self.operation,
            auth: self.auth,
            before: before.as_ref(),
            after: after.as_ref(),
            now: self.now,
            lookup,
        };
        let denied = |fields| Answer { is_allowed: false, fields };
        match rules.check(&request) {
            Verdict::Allow => {}
            Verdict::Deny => return Ok(denied(Vec::new())),
            Verdict::Needs(needs) => return Err(needs),
        }
        let is_read = matches!(self.operation, Operation::Read | Operation::List);
        let fields = match (is_read, self.before) {
            (true, Some(document)) => match rules.unreadable(&request) {
                Unreadable::Fields(fields) => {
                    // One that the document has not got is not missed.
                    let is_there =
                        |path: &&&access::Path| *strip(&document.data, &[**path]) != *document.data;
                    let fields = fields.iter().filter(is_there);
                    fields.map(|path| path.as_str().to_owned()).collect()
                }
                Unreadable::Needs(needs) => return Err(needs),
            },
            (true, None) => Vec::new(),
            (false, _) => match rules.unwritable(&request, &self.touched) {
                Unwritable::Nothing => Vec::new(),
                Unwritable::Field(path) => return Ok(denied(vec![path.as_str().to_owned()])),
                Unwritable::Needs(needs) => return Err(needs),
            },
        };
        Ok(Answer { is_allowed: true, fields })
    }

    /// How two answers to it differ.
    fn changes(&self, was: &Answer, would: &Answer) -> Vec<Change> {
        let change = |was_allowed, would_be_allowed, field| Change {
            time: self.now,
            operation: self.operation,
            id: self.id.clone(),
            uid: self.auth.map(|auth| auth.uid.clone()),
            was_allowed,
            would_be_allowed,
            field,
        };
        match (was.is_allowed, would.is_allowed) {
            (false, false) => Vec::new(),
            // Which field of a write made the difference.
            (true, false) => vec![change(true, false, would.fields.first().cloned())],
            (false, true) => vec![change(false, true, was.fields.first().cloned())],
            (true, true) => {
                let now_hidden = would.fields.iter().filter(|field| !was.fields.contains(field));
                let now_shown = was.fields.iter().filter(|field| !would.fields.contains(field));
                let hidden = now_hidden.map(|field| change(true, false, Some(field.clone())));
                hidden
                    .chain(now_shown.map(|field| change(false, true, Some(field.clone()))))
                    .collect()
            }
        }
    }
}

fn as_rules_see<'a>(
    document: &'a Document,
    collection: &'a CollectionName,
) -> access::Document<'a> {
    let Document { id, version, created_at, updated_at, data, .. } = document;
    let (id, collection) = (id.as_str(), collection.as_str());
    access::Document::new(id, collection, *version, *created_at, *updated_at, data)
}
