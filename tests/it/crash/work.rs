//! What a writer may do next: a create, a patch, a delete or a commit of several, of documents
//! that only it writes; so it knows what each must come to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The documents of collection `a` that all writers change.
pub(super) const SHARED: [&str; 3] = ["s0", "s1", "s2"];

/// Collection and id.
pub(super) type Key = (&'static str, String);

/// A document as its only writer knows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Known {
    pub(super) version: u64,
    pub(super) data: Option<Value>,
}

/// What one write of an operation does.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Create(Value),
    Patch(Value),
    Delete,
}

/// One write of an operation.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) key: Key,
    pub(super) change: Change,
    /// The version that it is meant for; 0 where there is no document.
    pub(super) if_version: u64,
    pub(super) after: Known,
}

/// A request with its idempotency key, and what it must come to.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) steps: Vec<Step>,
    pub(super) is_commit: bool,
}

/// A writer's documents.
#[derive(Default)]
pub(super) struct Documents {
    pub(super) known: BTreeMap<Key, Known>,
}

impl Documents {
    /// Makes up an operation; `name` is its own.
    pub(super) fn next(&self, rng: &mut fastrand::Rng, name: &str) -> Operation {
        let mut operation = Operation { steps: Vec::new(), is_commit: rng.u8(..100) < 25 };
        let wanted = if operation.is_commit { rng.usize(2..=6) } else { 1 };
        while operation.steps.len() < wanted {
            let step = self.step(rng, name, operation.steps.len());
            // Two writes of one document in a commit would need the state in between.
            if operation.steps.iter().all(|other| other.key != step.key) {
                operation.steps.push(step);
            }
        }
        operation
    }

    fn step(&self, rng: &mut fastrand::Rng, name: &str, index: usize) -> Step {
        let known = rng.choice(self.known.iter());
        match known {
            Some((key, known)) if rng.u8(..100) < 65 => change(rng, name, key, known),
            _ => {
                let collection = if rng.bool() { "a" } else { "b" };
                let key = (collection, format!("{name}-{index}"));
                create(rng, name, key, 0)
            }
        }
    }

    /// An operation was done.
    pub(super) fn done(&mut self, operation: &Operation) {
        for step in &operation.steps {
            self.known.insert(step.key.clone(), step.after.clone());
        }
    }
}

fn change(rng: &mut fastrand::Rng, name: &str, key: &Key, known: &Known) -> Step {
    let Some(data) = &known.data else {
        return create(rng, name, key.clone(), known.version);
    };
    let version = known.version + 1;
    let step = |change, data| Step {
        key: key.clone(),
        change,
        if_version: known.version,
        after: Known { version, data },
    };
    if rng.u8(..100) < 20 {
        return step(Change::Delete, None);
    }
    let patch = json!({"op": name, "n": rng.u32(..), "pad": null, "more": {"x": version}});
    let mut after = data.clone();
    let fields = after.as_object_mut().expect("a document is an object");
    fields.shift_remove("pad");
    for name in ["op", "n", "more"] {
        fields.insert(name.to_owned(), patch[name].clone());
    }
    step(Change::Patch(patch), Some(after))
}

/// `version` is that of the deletion, where there was such a document before.
fn create(rng: &mut fastrand::Rng, name: &str, key: Key, version: u64) -> Step {
    let pad = "x".repeat(rng.usize(..2_000));
    let data = json!({"op": name, "n": rng.u32(..), "pad": pad});
    let after = Known { version: version + 1, data: Some(data.clone()) };
    Step { key, change: Change::Create(data), if_version: 0, after }
}
