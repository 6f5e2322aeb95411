//! What pages of JSON have in common, written by hand around items that are JSON already.

use crate::document::{write_position, write_string};
use domain::Position;

/// Appends `"name":[`, the items as `write` writes them, and `]`.
pub(crate) fn write_items<T>(
    out: &mut Vec<u8>,
    name: &str,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    write_string(out, name);
    out.extend_from_slice(b":[");
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Appends `,"name":"position"`.
pub(crate) fn write_position_field(out: &mut Vec<u8>, name: &str, position: Position) {
    out.push(b',');
    write_string(out, name);
    out.extend_from_slice(b":\"");
    write_position(out, position);
    out.push(b'"');
}
