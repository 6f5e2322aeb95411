//! What a write changed: JSON Pointers (RFC 6901) to the fields, and what they were before.

use super::fields::{Fields, is_object};
use crate::path::push_name;

/// The fields that differ between two states of a document.
#[derive(Default)]
pub(super) struct Changes {
    /// Pointers to what was added, removed or replaced, in document order. Arrays change as a
    /// whole.
    pub(super) changed: Vec<String>,
    /// The earlier value of each, by pointer; a field that was not there has none.
    pub(super) before: Fields,
    /// Bytes that may still be noted.
    room: usize,
}

/// Room that even the changes of a small document get.
const ROOM_BYTES_MIN: usize = 4 << 10;

impl Changes {
    /// Compares two documents, given as compact JSON text. A pointer repeats the names above it,
    /// so many small changes below a long name could take any amount of room: past the size of
    /// the document before, the change is noted as one of the whole document (pointer `""`).
    pub(super) fn between(before: &str, after: &str) -> Self {
        let mut changes = Self { room: before.len().max(ROOM_BYTES_MIN), ..Self::default() };
        if !changes.walk(&mut String::new(), before, after) {
            changes = Self::default();
            changes.changed.push(String::new());
            changes.before.set("", before.to_owned());
        }
        changes
    }

    /// Notes what differs below `pointer`; false when there is no room for it.
    fn walk(&mut self, pointer: &mut String, before: &str, after: &str) -> bool {
        if before == after {
            return true;
        }
        if !(is_object(before) && is_object(after)) {
            return self.note(pointer, Some(before));
        }
        let (old, new) = (Fields::of(before), Fields::of(after));
        for (name, value) in old.iter() {
            let length = pointer.len();
            push_name(pointer, name);
            let noted = match new.get(name) {
                Some(now) => self.walk(pointer, value, now),
                None => self.note(pointer, Some(value)),
            };
            pointer.truncate(length);
            if !noted {
                return false;
            }
        }
        for (name, _) in new.iter().filter(|(name, _)| old.get(name).is_none()) {
            let length = pointer.len();
            push_name(pointer, name);
            let noted = self.note(pointer, None);
            pointer.truncate(length);
            if !noted {
                return false;
            }
        }
        true
    }

    fn note(&mut self, pointer: &str, before: Option<&str>) -> bool {
        let bytes = 2 * escaped_len(pointer) + before.map_or(0, str::len) + 8;
        let Some(room) = self.room.checked_sub(bytes) else { return false };
        self.room = room;
        self.changed.push(pointer.to_owned());
        if let Some(before) = before {
            self.before.set(pointer, before.to_owned());
        }
        true
    }
}

/// Bytes that text takes as a JSON string, without its quotes.
fn escaped_len(text: &str) -> usize {
    let each = |byte: u8| match byte {
        0..=0x1f => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    text.bytes().map(each).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_differs_and_what_it_was() {
        let before = r#"{"a":1,"b":{"c":[1],"d":2},"gone":null,"x/y~":1.0}"#;
        let after = r#"{"a":1,"b":{"c":[1,2],"d":2},"new":{},"x/y~":2}"#;
        let changes = Changes::between(before, after);
        assert_eq!(changes.changed, ["/b/c", "/gone", "/x~1y~0", "/new"]);
        assert_eq!(changes.before.to_json(), r#"{"/b/c":[1],"/gone":null,"/x~1y~0":1.0}"#);
        assert!(Changes::between(after, after).changed.is_empty());
    }

    #[test]
    fn many_changes_below_a_long_name_are_one_of_the_whole() {
        let document = |value: u32| {
            let fields: Vec<String> = (0..5_000).map(|n| format!("\"{n}\":{value}")).collect();
            format!("{{\"{}\":{{{}}}}}", "x".repeat(500), fields.join(","))
        };
        let (before, after) = (document(1), document(2));
        let changes = Changes::between(&before, &after);
        assert_eq!(changes.changed, [""]);
        assert_eq!(changes.before.get(""), Some(before.as_str()));
    }
}
