//! Schemas of collections: JSON Schema 2020-12, compiled once, held against documents, and the
//! defaults that it has for fields. Pure. A schema is checked before it is taken: it fetches
//! nothing, its size and depth are bounded, and what it asks of one document takes a bounded number
//! of steps, on a bounded stack.

mod defaults;
mod graph;
mod metered;
#[cfg(test)]
mod tests;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use defaults::Defaults;
use metered::{Costs, Metered, Node, metered};

/// Bytes of a schema's compact text at most.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// How deep a schema's JSON may nest.
pub const SCHEMA_DEPTH_MAX: usize = 48;
/// Regular expressions in a schema at most.
pub const PATTERNS_MAX: usize = 100;
/// Steps that holding one document against a schema may take: a look at a value is one, and texts
/// cost by their length.
pub const STEPS_MAX: u64 = 4_000_000;

/// Steps that finding out what is wrong may take: each may leave an error in memory.
const STEPS_EXPLAINED_MAX: u64 = 200_000;
/// Bytes of memory for a regular expression's program, and the steps that 64 bytes of text then
/// cost. The smallest that all of a schema's fit is taken.
const SIZES: [(usize, u64); 3] = [(4 << 10, 32), (16 << 10, 128), (64 << 10, 512)];
/// The steps that 64 bytes of text cost where no regular expression is.
const WEIGHT_PLAIN: u64 = 2;
/// Bytes that a regular expression may take while it runs.
const CACHE_BYTES_MAX: usize = 256 << 10;

/// Why a schema is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    /// JSON Pointer into the schema.
    pub at: String,
    /// What is wrong there.
    pub detail: String,
}

impl Invalid {
    fn new(at: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { at: at.into(), detail: detail.into() }
    }
}

/// Where a document is not as its schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON Pointer into the document's data.
    pub field: String,
    /// What was expected there. Never says what was found.
    pub detail: String,
}

/// A schema, compiled.
#[derive(Debug)]
pub struct Schema {
    validator: Validator<Metered>,
    costs: Costs,
    defaults: Defaults,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// Errors with the place in it that can't be used.
    pub fn compile(schema: &Map<String, Value>) -> Result<Self, Invalid> {
        let whole = Value::Object(schema.clone());
        if depth(&whole) > SCHEMA_DEPTH_MAX {
            return Err(Invalid::new("", format!("nests deeper than {SCHEMA_DEPTH_MAX} levels")));
        }
        if whole.to_string().len() > SCHEMA_BYTES_MAX {
            return Err(Invalid::new("", format!("has more than {SCHEMA_BYTES_MAX} bytes")));
        }
        let graph = graph::Graph::of(&whole)?;
        // Its name is nothing that anybody could ask for.
        let mut nameless = schema.clone();
        nameless.shift_remove("$id");
        nameless.shift_remove("$schema");
        let defaults = Defaults::of(&graph)?;
        let (validator, weight) = build(&Value::Object(nameless), graph.has_patterns())?;
        let costs = Costs { weight, names: graph.name_patterns() };
        Ok(Self { validator, costs, defaults })
    }

    /// Holds a document's compact text against the schema.
    ///
    /// Errors with the first thing that is not as it should be.
    pub fn check(&self, data: &[u8]) -> Result<(), Mismatch> {
        match self.mismatches(data, 1).pop() {
            Some(mismatch) => Err(mismatch),
            None => Ok(()),
        }
    }

    /// What is not as it should be in a document, up to so many of all.
    pub fn mismatches(&self, data: &[u8], max: usize) -> Vec<Mismatch> {
        let of_all =
            |detail: &str| vec![Mismatch { field: String::new(), detail: detail.to_owned() }];
        // Checked before; should it not be JSON, nothing is said of it.
        let value: Value = match serde_json::from_slice(data) {
            Ok(value) => value,
            Err(_) => return of_all("expected JSON"),
        };
        let (is_valid, taken) =
            metered(STEPS_MAX, self.costs, || guarded(|| self.validator.is_valid(Node(&value))));
        let Some(taken) = taken else {
            return of_all("expected less: to check it against the schema takes too many steps");
        };
        match is_valid {
            Some(true) => return Vec::new(),
            Some(false) if taken <= STEPS_EXPLAINED_MAX => {}
            Some(false) | None => return of_all("expected what the schema says"),
        }
        // What is wrong takes memory, too; where all of it is too much, the first will do.
        let all = || -> Vec<Mismatch> {
            let errors = self.validator.iter_errors(Node(&value)).take(max);
            errors.map(|error| words::of(&error)).collect()
        };
        let first = || -> Vec<Mismatch> {
            self.validator.validate(Node(&value)).err().iter().map(words::of).collect()
        };
        let explained = if max > 1 { self.explained(all) } else { None };
        let explained = explained.or_else(|| self.explained(first));
        explained.unwrap_or_else(|| of_all("expected what the schema says"))
    }

    fn explained(&self, run: impl FnOnce() -> Vec<Mismatch>) -> Option<Vec<Mismatch>> {
        let (found, taken) = metered(STEPS_EXPLAINED_MAX, self.costs, || guarded(run));
        taken.and(found).filter(|found| !found.is_empty())
    }

    /// A document's compact text with the defaults of fields that it does not have; `None` when
    /// there are none to fill in.
    pub fn filled(&self, data: &str) -> Option<String> {
        self.defaults.fill(data)
    }
}

/// Whatever goes wrong in code that is not ours stays with the one document.
fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

fn build(schema: &Value, has_patterns: bool) -> Result<(Validator<Metered>, u64), Invalid> {
    let sizes = if has_patterns { &SIZES[..] } else { &[(SIZES[0].0, WEIGHT_PLAIN)] };
    let mut invalid = Invalid::new("", "can't be used");
    for &(bytes_max, weight) in sizes {
        let patterns =
            PatternOptions::regex().size_limit(bytes_max).dfa_size_limit(CACHE_BYTES_MAX);
        let built = jsonschema::options_for::<Metered>()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_pattern_options(patterns)
            .offline()
            .build(schema);
        match built {
            Ok(validator) => return Ok((validator, weight)),
            Err(error) => {
                let Mismatch { field, detail } = words::of(&error);
                invalid = Invalid::new(field, detail);
            }
        }
    }
    Err(invalid)
}

/// Recursion is as deep as the parser let it be.
fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or(0)
}
