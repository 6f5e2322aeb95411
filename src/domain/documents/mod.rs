//! Documents: the writes that clients ask for, the events they become, and the state that events
//! fold into.

mod change;
mod decide;
mod events;
mod fields;
mod merge;
mod shape;
mod state;
#[cfg(test)]
mod tests;
mod transform;
mod write;

pub use decide::{COMMIT_BYTES_MAX, Key, States, decide, decide_shaped, key_of};
pub(crate) use events::schemas;
pub use events::{CREATED, DELETED, DocumentEvent, UPDATED, data_of, with_data};
pub use merge::merge_patch;
pub use shape::{Filling, Shapeless, Shapes};
pub use state::{DocumentState, Live};
pub use transform::{TRANSFORM_ELEMENTS_MAX, TRANSFORMS_MAX, Transform, TransformChange};
pub use write::{ExpectedVersion, Op, ReadCheck, Write};
