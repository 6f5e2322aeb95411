//! Queries: the filter tree, orderings, cursors, aggregates, the choice of fields, and which places
//! of an index a query is about. Pure: what a query means for one document or for some, and nothing
//! of where they are. The one evaluator of filters, for pages and for live queries; its cases are
//! published under `schemas/query`. Nothing that a client writes may panic, and a query has a
//! bounded size.

mod aggregate;
mod cursor;
mod field;
mod filter;
mod index;
mod key;
mod order;
mod parse;
mod pick;
mod plan;
mod probe;

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use aggregate::{Aggregate, Aggregates, Group, TooManyGroups};
pub use cursor::{Cursor, InvalidCursor};
pub use field::Document;
pub use filter::Filter;
pub use index::{Definition, NotComparable};
pub use order::{Direction, Keys, Order};
pub use parse::Invalid;
pub use pick::{Selection, pick};
pub use plan::{Plan, Range, plans, suggestion};
pub use probe::Probe;

/// Bytes of a filter's JSON text at most.
pub const FILTER_BYTES_MAX: usize = 32 << 10;
/// How deep `and`, `or` and `not` may nest.
pub const FILTER_DEPTH_MAX: usize = 16;
/// Comparisons in one filter at most, each value of an `in` counted as one.
pub const FILTER_PARTS_MAX: usize = 100;
/// Orderings of one query at most.
pub const ORDERS_MAX: usize = 8;
/// Fields chosen at most.
pub const FIELDS_MAX: usize = 100;
/// Aggregates of one query at most.
pub const AGGREGATES_MAX: usize = 16;
/// Fields to group by at most.
pub const GROUP_FIELDS_MAX: usize = 4;
/// Groups that one query may come to.
pub const GROUPS_MAX: usize = 1_000;
/// Fields of one index at most.
pub const INDEX_FIELDS_MAX: usize = 8;
/// Bytes of a text that orderings tell apart: what is longer is ordered by its beginning.
pub const ORDERED_BYTES_MAX: usize = 1_500;
