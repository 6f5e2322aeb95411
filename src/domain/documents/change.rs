//! What a write changed: JSON Pointers (RFC 6901) to the fields, and what they were before.

use super::fields::{Fields, is_object};

/// The fields that differ between two states of a document.
#[derive(Default)]
pub(super) struct Changes {
    /// Pointers to what was added, removed or replaced, in document order. Arrays change as a
    /// whole.
    pub(super) changed: Vec<String>,
    /// The earlier value of each, by pointer; a field that was not there has none.
    pub(super) before: Fields,
}

impl Changes {
    /// Compares two documents, given as compact JSON text.
    pub(super) fn between(before: &str, after: &str) -> Self {
        let mut changes = Self::default();
        changes.walk(&mut String::new(), before, after);
        changes
    }

    fn walk(&mut self, pointer: &mut String, before: &str, after: &str) {
        if before == after {
            return;
        }
        if !(is_object(before) && is_object(after)) {
            self.note(pointer, Some(before));
            return;
        }
        let (old, new) = (Fields::of(before), Fields::of(after));
        for (name, value) in old.iter() {
            let length = pointer.len();
            push_name(pointer, name);
            match new.get(name) {
                Some(now) => self.walk(pointer, value, now),
                None => self.note(pointer, Some(value)),
            }
            pointer.truncate(length);
        }
        for (name, _) in new.iter().filter(|(name, _)| old.get(name).is_none()) {
            let length = pointer.len();
            push_name(pointer, name);
            self.note(pointer, None);
            pointer.truncate(length);
        }
    }

    fn note(&mut self, pointer: &str, before: Option<&str>) {
        self.changed.push(pointer.to_owned());
        if let Some(before) = before {
            self.before.set(pointer, before.to_owned());
        }
    }
}

/// Appends `/name`, escaped as RFC 6901 §3 says.
pub(crate) fn push_name(pointer: &mut String, name: &str) {
    pointer.push('/');
    for character in name.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
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
}
