//! Access rules: expressions in CEL that say who may do what with which document, compiled once,
//! with a bounded cost. Pure: what a rule needs of other documents is handed in. Whatever cannot
//! be decided is denied; nothing that a document, a client or a rule's author writes may panic.
//!
//! The language is <https://github.com/google/cel-spec/blob/master/doc/langdef.md>; the parser is
//! the `cel` crate's, the evaluation is ours, for it counts its steps and copies no document.

mod bounds;
mod compare;
mod compile;
mod convert;
mod document;
mod equality;
mod evaluate;
mod fields;
mod functions;
mod names;
mod node;
mod pattern;
mod required;
mod rules;
mod source;
mod spots;
mod strip;
mod time;
mod value;

#[cfg(test)]
mod agreement_tests;
#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod language_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod tests;

pub use cel::IdedExpr as Ast;

pub use document::{Document, Found, Lookup, NoDocuments, Request};
pub use domain::path::{InvalidPath, Path};
pub use evaluate::Fault;
pub use node::Uses;
pub use rules::{Rules, Unreadable, Unwritable, Verdict};
pub use source::{FieldSource, Invalid, Operation, Source};
pub use spots::{Spot, entries, find, splice};
pub use strip::strip;

/// Bytes of one expression at most.
pub const EXPRESSION_BYTES_MAX: usize = 10_000;
/// Bytes of all expressions of one set of rules at most.
pub const SOURCE_BYTES_MAX: usize = 100_000;
/// Memory for the patterns of one set of rules at most, in bytes.
pub const PATTERNS_BYTES_MAX: usize = 4 << 20;
/// Nodes of one expression at most: each name, literal, operator and call is one.
pub const NODES_MAX: usize = 1_000;
/// How deep an expression may nest. A chain of `&&` or of `||` counts as little as a balanced tree.
pub const DEPTH_MAX: usize = 32;
/// How deep `all`, `exists`, `map` and the like may stand in each other's bodies.
pub const COMPREHENSIONS_MAX: usize = 2;
/// Rules for fields in one set at most.
pub const FIELDS_MAX: usize = 200;
/// Steps that one question may take. A node is one step, and so are 64 bytes that are looked
/// through; what costs more is charged more.
pub const STEPS_MAX: u32 = 100_000;
/// Different documents that one question may look up with `get` and `exists`.
pub const LOOKUPS_MAX: usize = 10;
