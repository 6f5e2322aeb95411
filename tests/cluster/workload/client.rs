//! A client: asks one thing after the other, of a node that it changes at random, and never sees
//! anything older than what it has seen. Some repeat what they got no answer to, with the same
//! idempotency key, until there is one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::world::World;
use super::{ACCOUNTS, HOT, Plan, UNIQUE, balance, requests};
use crate::history::{Attempt, Change, Doc, Expected, Operation, Outcome, Request, Shown, Write};

/// Of a hundred operations, a client goes to another node before so many.
const MOVES_PERCENT: u8 = 10;
/// Of a hundred reads, so many ask for all that the client has seen.
const AFTER_PERCENT: u8 = 60;
/// The longest pause before an operation is sent again.
const AGAIN_MS_MAX: u64 = 300;
/// What an account has at first.
const BALANCE: i64 = 100;

/// One client.
pub(super) struct Client {
    name: String,
    world: Arc<World>,
    plan: Plan,
    rng: fastrand::Rng,
    http: harness::Client,
    node: usize,
    repeats: bool,
    operations: usize,
    /// The newest offset that it has seen of each project.
    newest: HashMap<usize, u64>,
    /// What it last knew of documents; 0 for none.
    versions: HashMap<Doc, u64>,
}

impl Client {
    pub(super) fn new(
        name: String,
        world: &Arc<World>,
        plan: &Plan,
        mut rng: fastrand::Rng,
    ) -> Self {
        Self {
            name,
            plan: plan.clone(),
            http: harness::Client::limited("", "", plan.request_max),
            node: rng.usize(..world.nodes.len()),
            repeats: rng.u8(..100) < plan.retry_percent,
            world: Arc::clone(world),
            rng,
            operations: 0,
            newest: HashMap::new(),
            versions: HashMap::new(),
        }
    }

    /// Works until it is told to stop.
    pub(super) async fn run(mut self) {
        while self.world.is_working() {
            let tenant = self.rng.usize(..self.world.tenants.len());
            match self.rng.u8(..100) {
                0..25 => self.make_unique(tenant).await,
                25..55 => self.write_hot(tenant).await,
                55..80 => self.read(tenant).await,
                80..84 => self.list(tenant).await,
                84..94 => self.transfer(tenant).await,
                _ => self.write_many(tenant).await,
            }
            let pause = self.plan.pause_max.mul_f64(self.rng.f64());
            tokio::time::sleep(pause).await;
        }
    }

    /// Makes the accounts of all projects.
    pub(super) async fn open_accounts(&mut self) {
        for tenant in 0..self.world.tenants.len() {
            for number in 0..self.plan.accounts {
                let doc = doc(tenant, ACCOUNTS, &format!("a{number}"));
                let data = json!({"op": self.next_name(), "balance": BALANCE});
                let write = Write { doc, change: Change::Create(data), expected: Expected::Any };
                let outcome = self.ask_stable(Request::Write(write)).await;
                assert!(matches!(outcome, Outcome::Written { .. }), "no account: {outcome:?}");
            }
        }
    }

    /// Reads every hot document and account at one node.
    pub(super) async fn look_at_all(&mut self, node: usize) {
        for tenant in 0..self.world.tenants.len() {
            for (collection, letter, count) in
                [(HOT, 'h', self.plan.hot), (ACCOUNTS, 'a', self.plan.accounts)]
            {
                for number in 0..count {
                    self.node = node;
                    let doc = doc(tenant, collection, &format!("{letter}{number}"));
                    self.ask_stable(Request::Read { doc, after: None }).await;
                }
            }
        }
    }

    /// One document, written and then read at a node; both must succeed in the end.
    pub(super) async fn write_at(&mut self, node: usize, tenant: usize) {
        self.node = node;
        let doc = doc(tenant, UNIQUE, &self.next_name());
        let data = self.data();
        let write =
            Write { doc: doc.clone(), change: Change::Create(data), expected: Expected::Any };
        let outcome = self.ask_stable(Request::Write(write)).await;
        assert!(matches!(outcome, Outcome::Written { .. }), "{doc:?} at {node}: {outcome:?}");
        let after = self.newest.get(&tenant).copied();
        let outcome = self.ask_stable(Request::Read { doc, after }).await;
        assert!(matches!(outcome, Outcome::Found(_)), "at node {node}: {outcome:?}");
    }

    async fn make_unique(&mut self, tenant: usize) {
        let doc = doc(tenant, UNIQUE, &self.next_name());
        let data = self.data();
        let (change, expected) = match self.rng.bool() {
            true => (Change::Create(data), Expected::Any),
            false => (Change::Replace(data), Expected::Nothing),
        };
        self.ask(Request::Write(Write { doc, change, expected })).await;
    }

    async fn write_hot(&mut self, tenant: usize) {
        let doc = self.hot(tenant);
        let write = self.change(doc);
        self.ask(Request::Write(write)).await;
    }

    /// A write of a hot document that makes sense after what the client last knew of it, mostly.
    fn change(&mut self, doc: Doc) -> Write {
        let known = self.versions.get(&doc).copied().unwrap_or(0);
        let data = self.data();
        let exact = Expected::Version(known);
        let (change, expected) = match (known, self.rng.u8(..100)) {
            (0, 0..50) => (Change::Create(data), Expected::Any),
            (0, _) => (Change::Replace(data), Expected::Nothing),
            (_, 0..50) => (Change::Patch(data), exact),
            (_, 50..60) => (Change::Patch(data), Expected::Any),
            (_, 60..75) => (Change::Replace(data), exact),
            (_, 75..85) => (Change::Replace(data), Expected::Any),
            (_, 85..93) => (Change::Delete, exact),
            (_, 93..95) => (Change::Delete, Expected::Any),
            _ => (Change::Create(data), Expected::Any),
        };
        Write { doc, change, expected }
    }

    async fn read(&mut self, tenant: usize) {
        let doc = match self.rng.u8(..100) {
            0..75 => self.hot(tenant),
            _ => self.account(tenant),
        };
        let after = self.after(tenant);
        self.ask(Request::Read { doc, after }).await;
    }

    async fn list(&mut self, tenant: usize) {
        let collection = if self.rng.bool() { HOT } else { ACCOUNTS };
        let after = self.after(tenant);
        self.ask(Request::List { tenant, collection, after }).await;
    }

    /// Moves something from one account to another, if both are still as they were read.
    async fn transfer(&mut self, tenant: usize) {
        let (from, to) = (self.account(tenant), self.account(tenant));
        if from == to {
            return;
        }
        let mut writes = Vec::new();
        let amount = self.rng.i64(1..20);
        for (doc, change) in [(from, -amount), (to, amount)] {
            let after = self.after(tenant);
            let read = self.ask(Request::Read { doc: doc.clone(), after }).await;
            let Outcome::Found(Shown { version, data, .. }) = read else { return };
            let Some(balance) = balance(&data) else { return };
            let data = json!({"op": "", "balance": balance + change});
            let (change, expected) = (Change::Patch(data), Expected::Version(version));
            writes.push(Write { doc, change, expected });
        }
        // Both documents carry the name of the transaction.
        let name = self.next_name();
        for write in &mut writes {
            if let Change::Patch(data) = &mut write.change {
                data["op"] = json!(name);
            }
        }
        self.ask(Request::Commit { writes, reads: Vec::new() }).await;
    }

    /// A transaction over hot documents and new ones, which may rely on what it has read.
    async fn write_many(&mut self, tenant: usize) {
        let wanted = self.rng.usize(2..=4);
        let mut writes: Vec<Write> = Vec::new();
        while writes.len() < wanted {
            let write = match self.rng.u8(..100) {
                0..70 => {
                    let doc = self.hot(tenant);
                    self.change(doc)
                }
                _ => {
                    let id = format!("{}-{}", self.next_name(), writes.len());
                    let (doc, data) = (doc(tenant, UNIQUE, &id), self.data());
                    Write { doc, change: Change::Create(data), expected: Expected::Nothing }
                }
            };
            if writes.iter().all(|other| other.doc != write.doc) {
                writes.push(write);
            }
        }
        let read = self.hot(tenant);
        let is_written = writes.iter().any(|write| write.doc == read);
        let reads = match self.versions.get(&read) {
            Some(version) if !is_written => vec![(read, *version)],
            _ => Vec::new(),
        };
        self.ask(Request::Commit { writes, reads }).await;
    }

    /// Sends an operation, again if need be, and puts down what came of it.
    async fn ask(&mut self, request: Request) -> Outcome {
        if self.rng.u8(..100) < MOVES_PERCENT {
            self.node = self.rng.usize(..self.world.nodes.len());
        }
        self.send(request, false).await
    }

    /// Like `ask`, at the same node all the time, until there is a definite answer.
    async fn ask_stable(&mut self, request: Request) -> Outcome {
        self.send(request, true).await
    }

    async fn send(&mut self, request: Request, stays: bool) -> Outcome {
        let name: Arc<str> = self.next_name().into();
        self.operations += 1;
        let is_keyed = (self.repeats || stays) && !request.writes().is_empty();
        let mut operation = Operation { name, is_keyed, request, attempts: Vec::new() };
        loop {
            let attempt = self.attempt(&operation).await;
            let outcome = attempt.outcome.clone();
            operation.attempts.push(attempt);
            let again = stays || is_keyed;
            if outcome.is_definite() || !again {
                self.learn(&operation.request, &outcome);
                self.world.history.record(operation);
                if !outcome.is_definite() {
                    self.look_elsewhere().await;
                }
                return outcome;
            }
            self.world.history.repeat(&operation);
            let node = self.node;
            self.look_elsewhere().await;
            if stays {
                self.node = node;
            }
        }
    }

    async fn look_elsewhere(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(..AGAIN_MS_MAX))).await;
        self.node = self.rng.usize(..self.world.nodes.len());
    }

    async fn attempt(&self, operation: &Operation) -> Attempt {
        let tenant = &self.world.tenants[operation.request.tenant()];
        let client = self.http.at(&self.world.nodes[self.node]);
        let client = client.with_token(tenant.project.client.token());
        let project = harness::Project { id: tenant.project.id.clone(), client };
        let correlation = format!("{}.{}", operation.name, operation.attempts.len() + 1);
        let sending = requests::sending(&project, tenant, &operation.request);
        let mut sending = sending.header("x-correlation-id", correlation);
        if operation.is_keyed {
            sending = sending.key(&operation.name);
        }
        let start = self.world.history.now();
        let sent = sending.try_send().await;
        let end = self.world.history.now();
        let outcome = requests::outcome(&operation.request, sent);
        Attempt { node: self.node, start, end, outcome }
    }

    /// What it knows now.
    fn learn(&mut self, request: &Request, outcome: &Outcome) {
        let tenant = request.tenant();
        let mut newest = 0;
        match (request, outcome) {
            (Request::Read { doc, .. }, Outcome::Found(shown)) => {
                newest = shown.offset;
                self.versions.insert(doc.clone(), shown.version);
            }
            (Request::Read { doc, .. }, Outcome::Absent) => {
                self.versions.insert(doc.clone(), 0);
            }
            (_, Outcome::Listed { offset, .. }) => newest = *offset,
            (_, Outcome::Written { last, versions, .. }) => {
                newest = *last;
                for (write, version) in request.writes().iter().zip(versions) {
                    let is_gone = write.change == Change::Delete;
                    let version = if is_gone { 0 } else { version.unwrap_or(0) };
                    self.versions.insert(write.doc.clone(), version);
                }
            }
            (Request::Write(write), Outcome::Refused { actual, .. }) => {
                self.versions.insert(write.doc.clone(), actual.unwrap_or(0));
            }
            _ => {}
        }
        let known = self.newest.entry(tenant).or_default();
        *known = newest.max(*known);
    }

    /// The newest position that it has seen, if it asks for that this time.
    fn after(&mut self, tenant: usize) -> Option<u64> {
        let asks = self.rng.u8(..100) < AFTER_PERCENT;
        self.newest.get(&tenant).copied().filter(|newest| asks && *newest > 0)
    }

    fn hot(&mut self, tenant: usize) -> Doc {
        doc(tenant, HOT, &format!("h{}", self.rng.usize(..self.plan.hot)))
    }

    fn account(&mut self, tenant: usize) -> Doc {
        doc(tenant, ACCOUNTS, &format!("a{}", self.rng.usize(..self.plan.accounts)))
    }

    /// The name that the next operation will have.
    fn next_name(&self) -> String {
        format!("{}-{}", self.name, self.operations + 1)
    }

    /// New contents of a document, by the next operation.
    fn data(&mut self) -> Value {
        let pad = "x".repeat(self.rng.usize(..200));
        json!({"op": self.next_name(), "n": self.rng.u32(..), "pad": pad})
    }
}

fn doc(tenant: usize, collection: &'static str, id: &str) -> Doc {
    Doc { tenant, collection, id: id.into() }
}
