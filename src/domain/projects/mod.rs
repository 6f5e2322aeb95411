//! A project's configuration: its name, keys, collections and channels; one stream, `project`,
//! and one state.

mod channels;
mod decide;
mod events;
mod state;
#[cfg(test)]
mod tests;

pub use channels::{ChannelConfig, ChannelHistory, ChannelPattern, ChannelRules, ChannelState};
pub use decide::{ProjectCommand, decide};
pub(crate) use events::{COLLECTION_CONFIGURED, KEY_CREATED, schemas};
pub use events::{ProjectEvent, event_types};
pub use state::{
    CollectionConfig, CollectionState, Direction, FieldConfig, Group, Index, IndexField, Key,
    KeyKind, People, ProjectState, Role, Rules, SUBJECT_ID, SigningKey,
};
