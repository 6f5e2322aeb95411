//! The blind index: finds what was sealed by its value without storing the value. Equal values of
//! one project and kind give equal texts; without the server's key nobody can try values.

use domain::ProjectId;

use crate::ServerKeys;
use crate::sealed::{mac, to_text};

/// Bytes of an index before they become text.
const INDEX_BYTES: usize = 20;

impl ServerKeys {
    /// What a value is found by: HMAC-SHA256 of it under the current key, cut to 20 bytes, as 27
    /// characters that are safe in a URL. `kind` keeps apart what may have equal values, such as
    /// `email` and `phone`; `normalized` is the value in its one form, of a length that the caller
    /// has bounded.
    pub fn index(&self, project: &ProjectId, kind: &str, normalized: &str) -> String {
        index_under(self.current.index_key(), project, kind, normalized)
    }

    /// What the value may be stored as: by the current key first, then by each earlier one. Who
    /// looks for a value tries all of them.
    pub fn indexes(&self, project: &ProjectId, kind: &str, normalized: &str) -> Vec<String> {
        self.all().map(|key| index_under(key.index_key(), project, kind, normalized)).collect()
    }
}

fn index_under(key: &[u8; 32], project: &ProjectId, kind: &str, normalized: &str) -> String {
    let parts = [project.as_str().as_bytes(), kind.as_bytes(), normalized.as_bytes()];
    to_text(&mac(key, &parts)[..INDEX_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerKey;

    #[test]
    fn a_value_has_one_index_per_project_and_kind() {
        let keys = ServerKeys::new(ServerKey::generate().unwrap());
        let [acme, other] = ["acme", "other"].map(|name| ProjectId::new(name).unwrap());
        let index = keys.index(&acme, "email", "ann@example.org");
        assert_eq!(index.len(), 27);
        assert_eq!(index, keys.clone().index(&acme, "email", "ann@example.org"));
        for different in [
            keys.index(&other, "email", "ann@example.org"),
            keys.index(&acme, "phone", "ann@example.org"),
            keys.index(&acme, "email", "bob@example.org"),
            keys.index(&acme, "emaila", "nn@example.org"),
            ServerKeys::new(ServerKey::generate().unwrap()).index(
                &acme,
                "email",
                "ann@example.org",
            ),
        ] {
            assert_ne!(index, different);
        }
    }

    #[test]
    fn a_value_of_before_is_found_after_the_key_was_replaced() {
        let old = ServerKeys::new(ServerKey::generate().unwrap());
        let acme = ProjectId::new("acme").unwrap();
        let stored = old.index(&acme, "email", "ann@example.org");
        let current = ServerKey::generate().unwrap();
        let both = ServerKeys { current, earlier: vec![old.current] };
        let tried = both.indexes(&acme, "email", "ann@example.org");
        assert_eq!(tried, [both.index(&acme, "email", "ann@example.org"), stored]);
    }
}
