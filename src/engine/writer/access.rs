//! Decides writes of those whom access rules apply to: each is held against the rules of its
//! collection, with the document before and after. Who may not read a document is told nothing
//! else than that it may not write it.

use std::sync::Arc;

use access::{Operation, Request, Rules, Unwritable, Verdict};
use bytes::Bytes;
use domain::access::Auth;
use domain::command::Context;
use domain::documents::{self, DocumentState, Filling, Key, ReadCheck, Shapes, States, Write};
use domain::path::Path;
use domain::rejected::{Part, Reason};
use domain::{NewEvent, ProjectId, Rejected, Timestamp};

use super::Writer;
use super::draft::Draft;
use crate::access::{Loaded, compile};
use crate::error::Error;

/// What a question to the rules is about.
struct Question<'a> {
    rules: &'a Rules,
    operation: Operation,
    auth: Option<&'a Auth>,
    key: &'a Key,
    before: &'a DocumentState,
    after: Option<&'a DocumentState>,
    /// What it changes by what it holds.
    touched: Vec<&'a Path>,
    now: Timestamp,
}

/// What one of them comes to.
enum Answer {
    Allowed,
    Denied(Reason),
    Needs(Vec<(String, String)>),
}

impl Writer {
    /// As [`documents::decide`], write by write.
    pub(super) async fn decide_by_rules(
        &self,
        draft: &Draft,
        context: &Context,
        auth: Option<&Auth>,
        states: &mut States,
        (writes, reads, shapes): (&[Write], &[ReadCheck], &dyn Shapes),
    ) -> Result<Vec<NewEvent>, Error> {
        let (project, now) = (&context.project, draft.now);
        for (index, read) in reads.iter().enumerate() {
            let key = (read.collection.clone(), read.id.clone());
            let before = states.get(&key).cloned().unwrap_or_default();
            let rules = self.rules(draft, project, &key);
            let (operation, after) = (Operation::Read, None);
            let (key, before, touched) = (&key, &before, Vec::new());
            let question =
                Question { rules: &rules, operation, auth, key, before, after, touched, now };
            let asked = self.ask(draft, project, &question).await?;
            asked.map_err(|reason| refused(reason, Part::Read(index)))?;
        }
        // Only the reads: an empty commit has nothing else to decide.
        documents::decide(states, &[], reads, self.limits, now).map_err(Error::Rejected)?;
        let (mut decided, mut bytes) = (Vec::with_capacity(writes.len()), 0);
        for (index, write) in writes.iter().enumerate() {
            let part = Part::Write(index);
            let key = (write.collection.clone(), write.id.clone());
            let before = states.get(&key).cloned().unwrap_or_default();
            let rules = self.rules(draft, project, &key);
            let mut question = Question {
                rules: &rules,
                operation: Operation::Read,
                auth,
                key: &key,
                before: &before,
                after: None,
                touched: write.op.touched().collect(),
                now,
            };
            let one = std::slice::from_ref(write);
            // Rules come first: who may not write it is not told what it should be like.
            let filling = Filling(shapes);
            let limits = self.limits;
            let decided_one = documents::decide_shaped(states, one, &[], limits, now, &filling);
            let events = match decided_one {
                Ok(events) => events,
                Err(Rejected { reason, part: _ }) => {
                    let may_read = self.ask(draft, project, &question).await?;
                    return Err(refused(may_read.err().unwrap_or(reason), part));
                }
            };
            let after = states.get(&key).cloned().unwrap_or_default();
            question.operation = match (before.live.is_some(), after.live.is_some()) {
                (_, false) => Operation::Delete,
                (true, true) => Operation::Update,
                (false, true) => Operation::Create,
            };
            question.after = Some(&after).filter(|after| after.live.is_some());
            let asked = self.ask(draft, project, &question).await?;
            asked.map_err(|reason| refused(reason, part))?;
            if let Some(live) = &after.live {
                shapes.check(&key.0, &live.data).map_err(|reason| refused(reason, part))?;
            }
            bytes += events.iter().map(|event| event.data.len()).sum::<usize>();
            if bytes > documents::COMMIT_BYTES_MAX {
                let bytes_max = documents::COMMIT_BYTES_MAX;
                return Err(refused(Reason::CommitTooLarge { bytes_max }, part));
            }
            decided.extend(events);
        }
        Ok(decided)
    }

    /// The collection's rules as the batch so far has them.
    fn rules(&self, draft: &Draft, project: &ProjectId, (collection, _): &Key) -> Arc<Rules> {
        match draft.project(project) {
            // Configured in this very batch: nobody has compiled it yet.
            Some(state) => match state.collections.get(collection) {
                Some(collection) => compile(&collection.config),
                None => Arc::default(),
            },
            None => {
                let live = self.catalog.project(project);
                live.map_or_else(Arc::default, |live| live.rules(collection))
            }
        }
    }

    /// Asks the rules, and loads what they ask for. What they see of other documents is as before
    /// this commit.
    async fn ask(
        &self,
        draft: &Draft,
        project: &ProjectId,
        question: &Question<'_>,
    ) -> Result<Result<(), Reason>, Error> {
        let mut loaded = Loaded::default();
        for _ in 0..=access::LOOKUPS_MAX {
            match question.answer(&loaded) {
                Answer::Allowed => return Ok(Ok(())),
                Answer::Denied(reason) => return Ok(Err(reason)),
                Answer::Needs(needs) => {
                    for (collection, id) in needs {
                        let data = self.other(draft, project, &collection, &id).await?;
                        loaded.put((collection, id), data);
                    }
                }
            }
        }
        Ok(Err(Reason::Denied))
    }

    async fn other(
        &self,
        draft: &Draft,
        project: &ProjectId,
        collection: &str,
        id: &str,
    ) -> Result<Option<Bytes>, Error> {
        let names = (domain::CollectionName::new(collection), domain::DocumentId::new(id));
        let (Ok(collection), Ok(id)) = names else { return Ok(None) };
        let state = self.document_state(draft, project, &(collection, id)).await?;
        Ok(state.live.map(|live| live.data))
    }
}

impl Question<'_> {
    fn answer(&self, loaded: &Loaded) -> Answer {
        let before = self.document(self.before, self.before.changed_at);
        let after = self.after.and_then(|after| self.document(after, self.now));
        let request = Request {
            operation: self.operation,
            auth: self.auth,
            before: before.as_ref(),
            after: after.as_ref(),
            now: self.now,
            lookup: loaded,
        };
        match self.rules.check(&request) {
            Verdict::Deny => return Answer::Denied(Reason::Denied),
            Verdict::Needs(needs) => return Answer::Needs(needs),
            Verdict::Allow => {}
        }
        if !self.rules.has_field_write_rules() {
            return Answer::Allowed;
        }
        match self.rules.unwritable(&request, &self.touched) {
            Unwritable::Nothing => Answer::Allowed,
            Unwritable::Field(field) => {
                Answer::Denied(Reason::FieldDenied(field.as_str().to_owned()))
            }
            Unwritable::Needs(needs) => Answer::Needs(needs),
        }
    }

    fn document<'a>(
        &'a self,
        state: &'a DocumentState,
        updated_at: Timestamp,
    ) -> Option<access::Document<'a>> {
        let live = state.live.as_ref()?;
        let (collection, id) = self.key;
        Some(access::Document::new(
            id.as_str(),
            collection.as_str(),
            state.version,
            live.created_at,
            updated_at,
            &live.data,
        ))
    }
}

fn refused(reason: Reason, part: Part) -> Error {
    Error::Rejected(Rejected { reason, part: Some(part) })
}
