//! A writer that repeats what it got no answer to, with the same idempotency key; or gives up and
//! looks whether it happened, which must be wholly or not at all.

use std::sync::Arc;

use serde_json::{Value, json};

use super::ledger::offset_of;
use super::work::{Change, Documents, Known, Operation, SHARED, Step};
use super::world::{Ack, World};
use harness::client::Request;
use harness::{Answer, Project};

/// Of a hundred requests without an answer, so many are not repeated.
const GIVES_UP_PERCENT: u8 = 30;
/// Of a hundred operations, so many are on the documents that all writers share.
const SHARED_PERCENT: u8 = 15;

/// One writer.
pub(super) struct Writer {
    number: usize,
    world: Arc<World>,
    rng: fastrand::Rng,
    documents: Documents,
    operations: usize,
}

impl Writer {
    pub(super) fn new(number: usize, world: Arc<World>, rng: fastrand::Rng) -> Self {
        Self { number, world, rng, documents: Documents::default(), operations: 0 }
    }

    /// Writes until it is told to stop.
    pub(super) async fn run(mut self) {
        while self.world.is_writing() {
            self.operations += 1;
            let name = format!("w{}-{}", self.number, self.operations);
            if self.rng.u8(..100) < SHARED_PERCENT {
                self.write_shared(&name).await;
            } else {
                self.write_own(&name).await;
            }
        }
    }

    async fn write_own(&mut self, name: &str) {
        let operation = self.documents.next(&mut self.rng, name);
        let make = |project: &Project| request(project, &operation).key(name);
        let Some(answer) = self.send(make).await else {
            if self.happened(&operation).await {
                self.documents.done(&operation);
            }
            return;
        };
        // Nobody else writes these documents and each request has its own key: it can't be refused.
        assert!(answer.is_ok(), "{operation:?}: {}: {}", answer.status, answer.text());
        self.documents.done(&operation);
        let last = offset_of(&answer.position());
        let first = last + 1 - operation.steps.len() as u64;
        let acks = operation.steps.iter().zip(first..);
        self.world.acknowledge(acks.map(|(step, offset)| ack(step, offset)).collect());
    }

    /// Sends a request until it is answered; `None` when it is left at that.
    async fn send(&mut self, make: impl Fn(&Project) -> Request) -> Option<Answer> {
        loop {
            let project = self.world.project().await;
            match make(&project).try_send().await {
                Ok(answer) if answer.status == 503 || answer.status == 504 => {
                    answer.any_problem();
                    tokio::task::yield_now().await;
                }
                Ok(answer) => return Some(answer),
                Err(error) => {
                    assert!(!error.is_timeout(), "a request hangs: {error:?}");
                    self.world.gone(project.client.base()).await;
                    if self.rng.u8(..100) < GIVES_UP_PERCENT {
                        return None;
                    }
                }
            }
        }
    }

    /// Whether an operation that was never answered was done: all of it or nothing.
    async fn happened(&self, operation: &Operation) -> bool {
        let mut done = Vec::new();
        for step in &operation.steps {
            let data = self.read(step).await;
            let known = self.documents.known.get(&step.key).cloned().unwrap_or_default();
            let (is_before, is_after) = (data == known.data, data == step.after.data);
            assert!(is_before != is_after, "{operation:?}: {:?} is neither: {data:?}", step.key);
            done.push(is_after);
        }
        assert!(done.iter().all(|one| *one == done[0]), "half of it was done: {operation:?}");
        done[0]
    }

    /// A document's data now, whenever the server is there to tell.
    async fn read(&self, step: &Step) -> Option<Value> {
        loop {
            let project = self.world.project().await;
            match project.get(step.key.0, &step.key.1).try_send().await {
                Ok(answer) if answer.status == 404 => return None,
                Ok(answer) => return Some(answer.expect(200)["data"].clone()),
                Err(_) => self.world.gone(project.client.base()).await,
            }
        }
    }

    /// Patches a document that others patch too: only one of those who saw a version may win.
    async fn write_shared(&mut self, name: &str) {
        let id = SHARED[self.rng.usize(..SHARED.len())];
        let read = self.send(|project| project.get("a", id)).await;
        let Some(read) = read.map(|answer| answer.expect(200)) else { return };
        let version = read["version"].as_u64().expect("a version");
        let patch = json!({"op": name, "n": version});
        let make = |project: &Project| project.patch("a", id, &patch).if_match(version).key(name);
        let Some(answer) = self.send(make).await else { return };
        if answer.status == 412 {
            answer.problem(412, "version-mismatch");
            return;
        }
        let after = Known { version: version + 1, data: Some(patch) };
        let step =
            Step { key: ("a", id.to_owned()), change: Change::Delete, if_version: version, after };
        assert!(answer.is_ok(), "{}: {}", answer.status, answer.text());
        assert_eq!(answer.json()["version"], version + 1);
        self.world.acknowledge(vec![ack(&step, offset_of(&answer.position()))]);
    }
}

fn ack(step: &Step, offset: u64) -> Ack {
    let (collection, id) = step.key.clone();
    let Known { version, data } = step.after.clone();
    Ack { collection: collection.to_owned(), id, version, data, offset }
}

fn request(project: &Project, operation: &Operation) -> Request {
    if operation.is_commit {
        let writes: Vec<Value> = operation.steps.iter().map(commit_write).collect();
        return project.commit(&json!(writes), &json!([]));
    }
    let step = &operation.steps[0];
    let (collection, id) = (step.key.0, &step.key.1);
    match &step.change {
        Change::Create(data) => project.put(collection, id, data).if_none(),
        Change::Patch(data) => project.patch(collection, id, data).if_match(step.if_version),
        Change::Delete => project.delete(collection, id).if_match(step.if_version),
    }
}

fn commit_write(step: &Step) -> Value {
    let (collection, id) = &step.key;
    let mut write = json!({"collection": collection, "id": id});
    let op = match &step.change {
        Change::Create(data) => {
            write["data"] = data.clone();
            "create"
        }
        Change::Patch(data) => {
            write["data"] = data.clone();
            write["ifVersion"] = json!(step.if_version);
            "patch"
        }
        Change::Delete => {
            write["ifVersion"] = json!(step.if_version);
            "delete"
        }
    };
    write["op"] = json!(op);
    write
}
